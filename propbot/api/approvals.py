"""/api/ui/approvals: what waits for another person, and that person's word.

    GET  /api/ui/approvals                 newest first
    POST /api/ui/approvals/<id>/approve    200, or 403 (the proposer, or the role), 404, 409 (decided, expired, void)
    POST /api/ui/approvals/<id>/reject     the same; with a reason, if one is given
"""

from __future__ import annotations

import trio
from quart import Blueprint, Response, g, request
from quart_schema import document_querystring, document_request, document_response

from propbot.api import models, present, rows
from propbot.api.bodies import ApproveBody, PageArgs, RejectBody
from propbot.api.describe import describe
from propbot.api.inputs import read_input
from propbot.api.query import read_page
from propbot.api.replies import ApiError, json_reply
from propbot.api.samples import APPROVAL, CONTROL
from propbot.control.operators import Role
from propbot.domain.errors import LedgerError
from propbot.status.desk import ApprovalOutcome, Conflict, Decided, Desk, Forbidden, Unknown

APPROVER_ENDPOINTS = {"approvals.approve": Role.APPROVER, "approvals.reject": Role.APPROVER}
_ID = {"id": ("Of the approval, as GET /api/ui/approvals lists it", "7f3c19a0b2d4")}
_DECIDED = {**APPROVAL, "decided_by": "bob", "decided_at": "2026-11-23T03:21:30.000Z"}
READ_S_MAX = 5.0
DECIDE_S_MAX = 9.0
"""Shielded from the client's going away: an approval is never half waited for; and bounded, for a hung disk. The checks
before it (preflight) have deadlines of their own."""


def approval_routes(desk: Desk) -> Blueprint:
    routes = Blueprint("approvals", __name__)

    @routes.get("/api/ui/approvals")
    @describe(answers={200: {"items": [APPROVAL], "next_cursor": None}}, refuses=(503,))
    @document_querystring(PageArgs)
    @document_response(models.Approvals)
    async def approvals() -> Response:
        """What was proposed under the Two-Man Rule, newest first."""
        page = read_page(request.args)
        with trio.fail_after(READ_S_MAX):
            found, next_cursor = await desk.approvals(page.limit, page.cursor)
        return json_reply(rows.page(map(present.approval, found), next_cursor))

    @routes.post("/api/ui/approvals/<id>/approve")
    @describe(
        request={},
        answers={200: {
            "approval": {**_DECIDED, "state": "APPROVED"},
            "control": {**CONTROL, "mode": "RUN", "reason": None, "safe_mode": False, "hold": None},
            "changes": {"mode": {"old": "HOLD", "new": "RUN"}},
            "warnings": [],
        }},
        refuses=(404, 409, 503),
        path=_ID,
    )
    @document_request(ApproveBody)
    @document_response(models.ApprovedAnswer)
    async def approve(id: str) -> Response:
        """Let a proposal take effect.

        Another person than the proposer, once, before it expires. Needs the role approver."""
        await read_input(ApproveBody)
        try:
            with trio.fail_after(DECIDE_S_MAX, shield=True):
                decided = _decided(await desk.approve(id, g.operator))
        except (LedgerError, trio.TooSlowError) as error:
            raise _not_durable(error) from None
        answer = {
            "approval": present.approval(decided.approval),
            "control": present.control(desk),
            "changes": present.changes(decided.done.changes),
            "warnings": list(decided.done.warnings),
        }
        return json_reply(answer)

    @routes.post("/api/ui/approvals/<id>/reject")
    @describe(
        request={"reason": "not before the funding hour"},
        answers={200: {"approval": {**_DECIDED, "state": "REJECTED", "reason": "not before the funding hour"}}},
        refuses=(404, 409, 503),
        path=_ID,
    )
    @document_request(RejectBody)
    @document_response(models.RejectedAnswer)
    async def reject(id: str) -> Response:
        """Refuse a proposal.

        Who proposed it may withdraw it so. Needs the role approver."""
        body = await read_input(RejectBody)
        try:
            with trio.fail_after(DECIDE_S_MAX, shield=True):
                decided = _decided(await desk.reject(id, g.operator, (body.reason or "").strip()))
        except (LedgerError, trio.TooSlowError) as error:
            raise _not_durable(error) from None
        return json_reply({"approval": present.approval(decided.approval)})

    return routes


def _decided(outcome: ApprovalOutcome) -> Decided:
    match outcome:
        case Decided():
            return outcome
        case Conflict(reasons=reasons):
            raise ApiError(409, "not possible: " + "; ".join(reasons), extra={"reasons": list(reasons)})
        case Forbidden(message=message):
            raise ApiError(403, message)
        case Unknown(message=message):
            raise ApiError(404, message)


def _not_durable(error: Exception) -> ApiError:
    why = "no answer in time" if isinstance(error, trio.TooSlowError) else str(error)
    where = "look at /api/ui/approvals and /api/ui/control-state for what became of it"
    return ApiError(503, f"the decision could not be made durable ({why}); {where}")
