"""The routes that only look: status, state and whether the service lives. Memory only, but for the health check."""

from __future__ import annotations

import trio
from quart import Blueprint, Response
from quart_schema import document_response

from propbot.api import models, present
from propbot.api.replies import json_reply
from propbot.domain.mode import Mode
from propbot.status.desk import Desk

LEDGER_ANSWER_S_MAX = 2.0


def look_routes(desk: Desk) -> Blueprint:
    routes = Blueprint("looks", __name__)

    @routes.get("/healthz")
    @document_response(models.Healthy)
    @document_response(models.Failing, 503)
    async def healthz() -> Response:
        """Whether the process does its work: the event loop turns and the ledger answers. A HOLD is healthy."""
        reasons = [] if desk.alive() else ["the engine's tasks do not turn"]
        if not await _ledger_answers(desk):
            reasons.append("the ledger does not answer")
        if reasons:
            return json_reply({"status": "failing", "reasons": reasons}, 503)
        return json_reply({"status": "ok"})

    @routes.get("/live-readiness")
    @document_response(models.Readiness)
    @document_response(models.Readiness, 503)
    async def live_readiness() -> Response:
        """Whether it may trade now; never in HOLD."""
        record = desk.hold()
        held = [record.line() if record is not None else "HOLD"] if desk.mode() is Mode.HOLD else []
        reasons = [*held, *desk.unready_reasons()]
        return json_reply({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    @routes.get("/api/ui/status/overview")
    @document_response(models.Overview)
    async def overview() -> Response:
        """The whole service at a glance; `overall` is HOLD over ERROR over WARN over OK."""
        return json_reply(present.overview(desk))

    @routes.get("/api/ui/status/components")
    @document_response(models.Components)
    async def components() -> Response:
        """Every component with what it measured, and the incidents."""
        return json_reply(present.components(desk))

    @routes.get("/api/ui/status/slo")
    @document_response(models.Slo)
    async def slo() -> Response:
        """Each service level: what was measured over its window, against its threshold."""
        return json_reply(present.slo(desk))

    @routes.get("/api/ui/state")
    @document_response(models.State)
    async def state() -> Response:
        """Flags, risk, positions, loop, P&L and venues."""
        return json_reply(present.state(desk))

    @routes.get("/api/ui/control-state")
    @document_response(models.Control)
    async def control_state() -> Response:
        """The parameters in force, under the names that PATCH /api/ui/control takes."""
        return json_reply(present.control(desk))

    return routes


async def _ledger_answers(desk: Desk) -> bool:
    with trio.move_on_after(LEDGER_ANSWER_S_MAX):
        return await desk.ledger_answers()
    return False
