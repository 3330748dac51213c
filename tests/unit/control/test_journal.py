"""The journal: said at once, written in order, and bounded however long the ledger does not answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import structlog
import trio
from attrs import define, field

from propbot.control import journal as journal_module
from propbot.control.journal import Journal
from propbot.domain.errors import LedgerError
from propbot.domain.events import Detail, EventRow


@define(eq=False)
class Written:
    """An `EventLedger` that can be out of order."""

    rows: list[EventRow] = field(factory=list)
    broken: bool = False
    hanging: trio.Event | None = None

    async def append_event(
        self, level: str, kind: str, message: str, *, venue: str = "", symbol: str = "", source: str = "",
        details: Mapping[str, Detail] | None = None,
    ) -> EventRow:  # fmt: skip
        await trio.lowlevel.checkpoint()
        if self.hanging is not None:
            await self.hanging.wait()
        if self.broken:
            raise LedgerError("disk full")
        row = EventRow(len(self.rows) + 1, 0, level, kind, message, venue, symbol, source, dict(details or {}))
        self.rows.append(row)
        return row

    @property
    def messages(self) -> list[str]:
        return [row.message for row in self.rows]


async def test_what_is_said_is_logged_at_once_and_written_in_order(nursery: Any, autojump_clock: Any) -> None:
    journal, ledger = Journal(), Written()
    with structlog.testing.capture_logs() as logged:
        journal.say("INFO", "venue", "met", venue="binance-um", taker_fee_bps="1.7")
        journal.say("ERROR", "crash", "task ended", source="crash:trading")
    assert [(row["log_level"], row["event"]) for row in logged] == [("info", "met"), ("error", "task ended")]
    nursery.start_soon(journal.run, ledger)
    await trio.sleep(1)
    first, second = ledger.rows
    assert (first.level, first.kind, first.venue, first.details) == (
        "INFO", "venue", "binance-um", {"taker_fee_bps": "1.7"},
    )  # fmt: skip
    assert (second.level, second.source) == ("ERROR", "crash:trading")
    journal.say("WARN", "feed", "later")
    await trio.sleep(1)
    assert ledger.messages == ["met", "task ended", "later"]


async def test_a_ledger_that_fails_is_tried_again_and_nothing_is_lost(nursery: Any, autojump_clock: Any) -> None:
    journal, ledger = Journal(), Written(broken=True)
    nursery.start_soon(journal.run, ledger)
    for number in range(5):
        journal.say("INFO", "x", str(number))
    await trio.sleep(10)
    assert ledger.rows == []
    ledger.broken = False
    await trio.sleep(1)
    assert ledger.messages == list("01234")


async def test_a_hung_ledger_costs_the_oldest_entries_and_their_number_is_told(
    nursery: Any, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "QUEUE_MAX", 3)
    journal, ledger = Journal(), Written(hanging=trio.Event())
    for number in range(10):
        journal.say("INFO", "x", str(number))
    nursery.start_soon(journal.run, ledger)
    await trio.sleep(1)
    assert ledger.hanging is not None
    ledger.hanging.set()
    await trio.sleep(1)
    assert ledger.messages == ["7", "8", "9", "7 entries were lost while the ledger did not answer"]
    assert (journal.lost, journal.queued) == (7, 0)


async def test_an_entry_is_written_once_though_the_queue_overflows_while_it_is_being_written(
    nursery: Any, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "QUEUE_MAX", 3)
    journal, ledger = Journal(), Written(hanging=trio.Event())
    nursery.start_soon(journal.run, ledger)
    journal.say("INFO", "x", "first")
    await trio.sleep(1)
    for number in range(3):
        journal.say("INFO", "x", str(number))
    assert ledger.hanging is not None
    ledger.hanging.set()
    await trio.sleep(1)
    assert ledger.messages[:4] == ["first", "0", "1", "2"]
