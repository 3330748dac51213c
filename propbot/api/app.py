"""The API as one ASGI application, made from a desk. It holds no state of its own and starts nothing."""

from __future__ import annotations

from functools import partial

import trio
from quart import Response, g
from quart.wrappers.response import DataBody
from quart_trio import QuartTrio

from propbot.api.approvals import APPROVER_ENDPOINTS, approval_routes
from propbot.api.audit import audit_routes
from propbot.api.auth import Auth, install_auth
from propbot.api.baseline import baseline_routes
from propbot.api.control import CONTROL_ENDPOINT, control_routes
from propbot.api.docs import HEALTH_ENDPOINT, METRICS_ENDPOINT, OPEN_ENDPOINTS, install_docs
from propbot.api.export import export_routes
from propbot.api.gate import Door, install_gate
from propbot.api.incidents import incident_routes
from propbot.api.lists import list_routes
from propbot.api.long_answers import CuttableAnswer
from propbot.api.looks import look_routes
from propbot.api.metrics import is_scraper, metrics_digest, metrics_routes
from propbot.api.replies import BODY_BYTES_MAX, install_error_replies
from propbot.api.secrets import ADMIN_ENDPOINTS, secret_routes
from propbot.api.series import series_routes
from propbot.api.stream import Slots, stream_routes
from propbot.status.desk import Desk

BODY_S_MAX = 10


def make_api(
    desk: Desk, *, auth: Auth, door: Door | None = None, closing: trio.Event | None = None,
    metrics_token: str | None = None,
) -> QuartTrio:
    """Every path of the REST contract. Served by `server.run_api`, or called in memory by tests and simulations.
    `closing` is set when the server ends: answers that go on and on end themselves then."""
    closing = trio.Event() if closing is None else closing
    app = QuartTrio("propbot.api", static_folder=None)
    app.asgi_http_class = CuttableAnswer
    app.config["MAX_CONTENT_LENGTH"] = BODY_BYTES_MAX
    app.config["BODY_TIMEOUT"] = BODY_S_MAX
    app.url_map.merge_slashes = False  # //api is a 404 in our form, no redirect in HTML to wherever Host says
    install_error_replies(app)
    install_auth(
        app, auth, needs={**APPROVER_ENDPOINTS, **ADMIN_ENDPOINTS}, asks_itself={CONTROL_ENDPOINT},
        on_refused=desk.note_refused,
    )
    for make in (
        look_routes, list_routes, series_routes, audit_routes, control_routes, incident_routes, approval_routes,
        baseline_routes, secret_routes,
    ):
        app.register_blueprint(make(desk))
    app.register_blueprint(export_routes(desk, closing))
    slots = Slots()
    app.register_blueprint(stream_routes(desk, auth, closing, slots))
    app.register_blueprint(metrics_routes(desk, slots))
    install_docs(app, desk.version, with_token=not auth.off, with_metrics_token=metrics_token is not None)
    _redact(app, desk)
    _measure(app, desk)
    install_gate(
        app, auth, door or Door(), open_endpoints={HEALTH_ENDPOINT, *OPEN_ENDPOINTS},
        other_keys={METRICS_ENDPOINT: partial(is_scraper, digest=metrics_digest(metrics_token))},
    )
    return app


def _measure(app: QuartTrio, desk: Desk) -> None:
    """How long each answer took to make; what the gate refuses is none of ours, and would flatter the figure."""

    async def begin() -> None:
        g.began_mono_s = trio.current_time()

    async def end(response: Response) -> Response:
        if "began_mono_s" in g:
            desk.note_request((trio.current_time() - g.began_mono_s) * 1000)
        return response

    app.before_request_funcs.setdefault(None, []).insert(0, begin)  # before the one that looks at the role
    app.after_request(end)


def _redact(app: QuartTrio, desk: Desk) -> None:
    """The last look at an answer: whatever brought a secret into it, it does not leave. Streams are not read here; what
    they say comes from the journal, which has none."""

    async def redact(response: Response) -> Response:
        if response.mimetype == "application/json" and isinstance(response.response, DataBody):
            text = await response.get_data(as_text=True)
            cleaned = desk.clean(text)
            if cleaned is not text:
                response.set_data(cleaned)
        return response

    app.after_request(redact)
