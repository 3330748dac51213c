"""GET /api/ui/audit/verify: whether the journal is the one that was written. It walks every row and changes nothing."""

from __future__ import annotations

import trio
from quart import Blueprint, Response
from quart_schema import document_response

from propbot.api import models
from propbot.api.describe import describe
from propbot.api.replies import ApiError, json_reply
from propbot.status.desk import Desk

VERIFY_S_MAX = 50.0
"""Some million rows; what is longer is for the command that works beside the service."""


def audit_routes(desk: Desk) -> Blueprint:
    routes = Blueprint("audit", __name__)

    @routes.get("/api/ui/audit/verify")
    @describe(answers={200: {"ok": True, "rows": 17, "head": "ab" * 32, "first_bad": None}}, refuses=(503,))
    @document_response(models.JournalChecked)
    async def verify() -> Response:
        """Walk the journal's hash chain from its first row to its last.

        `first_bad` is the first row that breaks it, `reason` says how."""
        try:
            with trio.fail_after(VERIFY_S_MAX):
                found = await desk.verify_journal()
        except trio.TooSlowError:
            raise ApiError(
                503, f"the journal is too long for {VERIFY_S_MAX:g} s: run `propbot audit verify --data-dir DIR` there"
            ) from None
        answer = {"ok": found.ok, "rows": found.rows, "head": found.head, "first_bad": found.first_bad}
        return json_reply(answer if found.ok else {**answer, "reason": found.reason})

    return routes
