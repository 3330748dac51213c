"""POST /api/ui/baseline: accept what an account holds. In HOLD only, audited, never alone under the Two-Man Rule."""

from __future__ import annotations

import trio
from quart import Blueprint, Response, g
from quart_schema import document_request, document_response

from propbot.api import models, present
from propbot.api.bodies import BaselineBody
from propbot.api.describe import describe
from propbot.api.inputs import read_input
from propbot.api.present import money
from propbot.api.replies import ApiError, json_reply, said_of
from propbot.api.samples import APPROVAL
from propbot.domain.instruments import VenueId
from propbot.status.desk import BaselineMoved, Conflict, Desk, Pending, Unusable

ACCEPT_S_MAX = 9.0


def baseline_routes(desk: Desk) -> Blueprint:
    routes = Blueprint("baseline", __name__)

    @routes.post("/api/ui/baseline")
    @describe(
        request={"venue": "binance-spot", "asset": "BTC", "reason": "deposit of 23 November"},
        answers={
            200: {"venue": "binance-spot", "asset": "BTC", "old": "2", "new": "2.5", "written_off": []},
            202: {
                "status": "pending_approval",
                "approval": {**APPROVAL, "change": {"baseline": {
                    "venue": "binance-spot", "asset": "BTC", "reason": "deposit of 23 November",
                }}},
                "ignored_fields": [],
                "warnings": [],
            },
        },
        refuses=(409, 503),
    )
    @document_request(BaselineBody)
    @document_response(models.BaselineAnswer)
    @document_response(models.PendingAnswer, 202)
    async def accept() -> Response:
        """Move the baseline of one asset so that the ledger equals the venue.

        In HOLD only; the old value stays in the journal. After a restore with lots open, `lots` says what became of
        them: those that are kept will be closed by orders, those that are written off are closed in the ledger alone.
        Under the Two-Man Rule another person has to approve."""
        asked = await read_input(BaselineBody)
        with trio.fail_after(ACCEPT_S_MAX, shield=True):  # never half waited for, and bounded
            outcome = await desk.accept_baseline(
                VenueId(asked.venue), asked.asset, asked.reason, g.operator, asked.lots
            )
        match outcome:
            case BaselineMoved(venue=venue, asset=asset, old=old, new=new, written_off=gone):
                moved = {"venue": venue, "asset": asset, "old": money(old), "new": money(new)}
                return json_reply({**moved, "written_off": list(gone)})
            case Pending(approval=approval):
                waits = {"status": "pending_approval", "approval": present.approval(approval)}
                return json_reply({**waits, "ignored_fields": [], "warnings": []}, 202)  # as PATCH answers
            case Conflict(reasons=reasons):
                raise ApiError(409, "not possible now: " + "; ".join(reasons), extra={"reasons": list(reasons)})
            case Unusable(fields=fields):
                raise ApiError(422, f"nothing was changed: {said_of(fields)}", fields=fields)

    return routes
