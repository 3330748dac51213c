"""/docs and /openapi.json, and the page at / that says where to look. All assets are local: no CDN is ever asked.

Swagger UI's files come with flask-swagger-ui, which is only looked up, never imported: importing it needs Flask.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from quart import Quart, Response
from quart_schema import HttpSecurityScheme, Info, QuartSchema, hide

from propbot.api.replies import ApiError

OPEN_ENDPOINTS = ("home", "docs_asset", "openapi", "swagger_ui")
_CONTENT_TYPES = {
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
}
_HOME = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>PropBot</title></head><body>
<h1>PropBot {version}</h1>
<ul>
<li><a href="/docs">/docs</a>: every path, with its shape</li>
<li><a href="/healthz">/healthz</a>: whether the process does its work</li>
<li><code>propbotctl status</code>, or <code>/api/ui/status/overview</code>: how it is</li>
<li><code>propbotctl components</code>, or <code>/api/ui/status/components</code>: and why</li>
<li><code>propbotctl pause</code>, or <code>PATCH /api/ui/control {{"mode": "HOLD"}}</code>: stop orders at once</li>
</ul></body></html>
"""


def install_docs(app: Quart, version: str, *, with_token: bool) -> None:
    """The last to be installed: the document has the routes that are there by now."""
    app.config["QUART_SCHEMA_SWAGGER_JS_URL"] = "/docs/assets/swagger-ui-bundle.js"
    app.config["QUART_SCHEMA_SWAGGER_CSS_URL"] = "/docs/assets/swagger-ui.css"
    assets = {name: (_assets_folder() / name).read_bytes() for name in _CONTENT_TYPES}
    home_page = _HOME.format(version=version)

    @app.get("/docs/assets/<name>")
    @hide
    async def docs_asset(name: str) -> Response:
        if name not in assets:
            raise ApiError(404, "no such asset")
        return Response(assets[name], content_type=_CONTENT_TYPES[name])

    @app.get("/")
    @hide
    async def home() -> Response:
        return Response(home_page, content_type="text/html; charset=utf-8")

    schema = QuartSchema(
        app,
        redoc_ui_path=None,
        scalar_ui_path=None,
        info=Info(title="PropBot", version=version, description="Look, and change what may be changed."),
        security_schemes={"bearer": HttpSecurityScheme(scheme="bearer")} if with_token else None,
        security=[{"bearer": []}] if with_token else None,
    )
    # made once, here: QuartSchema makes it at each request, and 40 ms are long in the loop that trades
    document = app.json.dumps(schema.openapi_provider.schema()).encode()

    async def openapi() -> Response:
        return Response(document, content_type="application/json")

    app.view_functions["openapi"] = openapi


def _assets_folder() -> Path:
    spec = find_spec("flask_swagger_ui")
    assert spec is not None, "flask-swagger-ui is a dependency; its assets make /docs"
    assert spec.origin is not None
    return Path(spec.origin).parent / "dist"
