"""GET /api/ui/audit/verify: what the walk found, in its own words."""

from __future__ import annotations

from typing import Any

from propbot.domain.events import JournalCheck


async def test_a_whole_journal_is_ok(client: Any) -> None:
    answer = await client.get("/api/ui/audit/verify")
    assert (answer.status_code, answer.json()) == (
        200, {"ok": True, "rows": 17, "head": "ab" * 32, "first_bad": None},
    )  # fmt: skip


async def test_a_bad_row_is_named_and_is_no_failed_request(client: Any, desk: Any) -> None:
    desk.journal = JournalCheck(False, 3, "cd" * 32, 4, "row 4 is not what was written: it was edited")
    answer = await client.get("/api/ui/audit/verify")
    assert answer.status_code == 200
    assert answer.json() == {
        "ok": False, "rows": 3, "head": "cd" * 32, "first_bad": 4,
        "reason": "row 4 is not what was written: it was edited",
    }  # fmt: skip


async def test_a_journal_that_is_too_long_for_a_request_names_the_other_way(
    client: Any, desk: Any, autojump_clock: Any
) -> None:
    desk.ledger_hangs = True
    answer = await client.get("/api/ui/audit/verify")
    assert answer.status_code == 503
    assert "propbot audit verify" in answer.json()["error"]["message"]
