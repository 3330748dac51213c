"""/docs and /openapi.json, and the page at / that says where to look. All assets are local: no CDN is ever asked.

Swagger UI's files come with flask-swagger-ui, which is only looked up, never imported: importing it needs Flask.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from quart import Quart, Response
from quart_schema import HttpSecurityScheme, Info, QuartSchema, hide

from propbot.api.describe import Provider
from propbot.api.replies import ApiError

OPEN_ENDPOINTS = ("home", "docs_asset", "openapi", "swagger_ui")
HEALTH_ENDPOINT = "looks.healthz"
METRICS_ENDPOINT = "metrics.metrics"
_FILES = ("swagger-ui-bundle.js", "swagger-ui.css")
_START_NAME = "start.js"
_START = b"""window.ui = SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, docExpansion: "list",
  defaultModelsExpandDepth: 0, validatorUrl: null,
});
"""
"""Of its own, since the page's policy runs no script that stands in a page."""
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>PropBot API</title><link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/assets/swagger-ui.css"></head><body>
<div id="swagger-ui"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/assets/start.js"></script>
</body></html>
"""
_PAGE_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; object-src 'none'"
)
"""Swagger UI sets styles at its elements and has pictures in its style sheet."""
_ABOUT = """Look, and change what may be changed. Reading changes nothing.

Every error has one shape, `{"error": {"code", "message", "fields"?}}`, also what never became a request: 431 for a
head larger than 16 KiB, 501 for a transfer encoding other than chunked, 505 for another protocol than HTTP/1.1; and 405
names the methods of a path in `Allow`. Lists come newest first as `{"items", "next_cursor"}`. Times are ISO 8601 in
UTC, amounts of money are strings, settings and ratios numbers.

Roles: *viewer* looks, *operator* changes, *approver* also decides on proposals, *admin* does everything."""
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


class _Provider(Provider):
    open_endpoints = frozenset({HEALTH_ENDPOINT})


class _ProviderWithScraper(_Provider):
    schemes: ClassVar = {METRICS_ENDPOINT: ("metrics", "bearer")}


def install_docs(app: Quart, version: str, *, with_token: bool, with_metrics_token: bool) -> None:
    """The last to be installed: the document has the routes that are there by now."""
    assets = {name: (_assets_folder() / name).read_bytes() for name in _FILES}
    assets[_START_NAME] = _START
    home_page = _HOME.format(version=version)

    @app.get("/docs/assets/<name>")
    @hide
    async def docs_asset(name: str) -> Response:
        if name not in assets:
            raise ApiError(404, "no such asset")
        kind = "text/css" if name.endswith(".css") else "text/javascript"
        return Response(assets[name], content_type=f"{kind}; charset=utf-8")

    @app.get("/docs")
    @hide
    async def swagger_ui() -> Response:
        headers = {"Content-Security-Policy": _PAGE_POLICY}
        return Response(_PAGE, content_type="text/html; charset=utf-8", headers=headers)

    @app.get("/")
    @hide
    async def home() -> Response:
        return Response(home_page, content_type="text/html; charset=utf-8")

    with_scraper = with_token and with_metrics_token  # where no token is needed, the scraper's is none either
    names = ("bearer", "metrics") if with_scraper else ("bearer",)
    schema = QuartSchema(
        app,
        redoc_ui_path=None,
        scalar_ui_path=None,
        swagger_ui_path=None,
        info=Info(title="PropBot", version=version, description=_ABOUT),
        security_schemes={name: HttpSecurityScheme(scheme="bearer") for name in names} if with_token else None,
        security=[{"bearer": []}] if with_token else None,
        openapi_provider_class=_ProviderWithScraper if with_scraper else _Provider,
    )
    # made once, here: QuartSchema makes it at each request, and 40 ms are long in the loop that trades
    document = app.json.dumps(schema.openapi_provider.schema()).encode()

    @hide
    async def openapi() -> Response:
        return Response(document, content_type="application/json")

    app.view_functions["openapi"] = openapi


def _assets_folder() -> Path:
    spec = find_spec("flask_swagger_ui")
    assert spec is not None, "flask-swagger-ui is a dependency; its assets make /docs"
    assert spec.origin is not None
    return Path(spec.origin).parent / "dist"
