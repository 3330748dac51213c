"""The journal's hash chain, and pages: newest first, each row on exactly one of them."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from attrs import evolve

from propbot.domain.errors import LedgerError
from propbot.domain.events import EventRow, event_hash, first_bad
from propbot.ledger import EventFilter, Ledger
from propbot.ledger.store import LOOK_BACKLOG_MAX


async def _journal(ledger: Ledger, count: int) -> list[EventRow]:
    """`count` events, oldest first, as they stand in the ledger."""
    for number in range(count):
        await ledger.append_event(
            "WARN" if number % 2 else "INFO",
            "tick",
            f"number {number} – «ж»",
            venue="binance-um" if number % 3 == 0 else "",
            source="test",
            details={"n": number, "b": True, "none": None},
        )
    return list(reversed((await ledger.events_page(1000))[0]))


async def test_the_journal_is_a_chain_without_gaps(ledger: Ledger) -> None:
    events = await _journal(ledger, 5)
    assert [event.id for event in events] == [1, 2, 3, 4, 5]
    assert first_bad(events) is None
    assert first_bad([]) is None


async def test_the_chain_goes_on_after_opening_again(open_at: Any) -> None:
    async with open_at() as first:
        await _journal(first, 2)
    async with open_at() as second:
        assert first_bad(await _journal(second, 2)) is None


async def test_an_edited_removed_or_reordered_row_is_named(ledger: Ledger) -> None:
    events = await _journal(ledger, 4)
    edited = [*events[:1], evolve(events[1], message="nothing happened"), *events[2:]]
    assert first_bad(edited) == 2
    resealed = evolve(edited[1], hash=event_hash(edited[1]))
    assert first_bad([events[0], resealed, *events[2:]]) == 3
    assert first_bad([events[0], *events[2:]]) == 3
    assert first_bad([events[1], events[0]]) == 2


async def test_details_that_are_no_json_are_refused_and_leave_no_row(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        await ledger.append_event("INFO", "tick", "nan", details={"x": float("nan")})  # type: ignore[dict-item]
    assert (await ledger.events_page(10))[0] == ()


async def test_pages_show_each_row_once_newest_first(ledger: Ledger) -> None:
    events = await _journal(ledger, 7)
    seen: list[EventRow] = []
    cursor: str | None = None
    sizes = []
    while True:
        items, cursor = await ledger.events_page(3, cursor)
        seen += items
        sizes.append(len(items))
        if cursor is None:
            break
        await ledger.append_event("INFO", "later", "a row that comes in between moves no page")
    assert (seen, sizes) == (events[::-1], [3, 3, 1])


async def test_a_page_that_ends_exactly_is_the_last(ledger: Ledger) -> None:
    await _journal(ledger, 4)
    assert (await ledger.events_page(4))[1] is None


async def test_events_are_filtered_by_any_field(ledger: Ledger) -> None:
    events = await _journal(ledger, 6)

    async def ids(**wanted: Any) -> list[int]:
        return [event.id for event in (await ledger.events_page(10, None, EventFilter(**wanted)))[0]]

    assert await ids(level="WARN") == [6, 4, 2]
    assert await ids(venue="binance-um") == [4, 1]
    assert await ids(kind="other") == []
    assert await ids(since_ns=events[3].ts_ns, until_ns=events[4].ts_ns) == [5, 4]
    assert await ids(symbol="BTCUSDT") == []


async def test_a_filter_finds_the_same_pages_whatever_slices_it_looks_through(
    ledger: Ledger, monkeypatch: Any
) -> None:
    await _journal(ledger, 13)
    for slice_rows in (1, 2, 3, 5, 13, 100):
        monkeypatch.setattr("propbot.ledger.reads.SEARCH_SLICE_ROWS", slice_rows)
        pages, cursor = [], None
        while True:
            items, cursor = await ledger.events_page(2, cursor, EventFilter(venue="binance-um"))
            pages.append([event.id for event in items])
            if cursor is None:
                break
        assert pages == [[13, 10], [7, 4], [1]]
        assert await ledger.events_page(5, None, EventFilter(venue="binance-um")) == (
            (await ledger.events_page(5, "14", EventFilter(venue="binance-um")))[0], None
        )


async def test_writes_go_on_while_a_whole_journal_is_searched(
    ledger: Ledger, monkeypatch: Any, autojump_clock: Any
) -> None:
    """Seen with 300 000 rows: a search held the ledger for two seconds, an intent waited, and its guard tripped."""
    monkeypatch.setattr("propbot.ledger.reads.SEARCH_SLICE_ROWS", 1)
    monkeypatch.setattr("propbot.ledger.store.LOOK_PAUSE_S", 1.0)
    await _journal(ledger, 5)
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(ledger.events_page, 10, None, EventFilter(kind="other"))
        await trio.sleep(0.5)
        asked_s = trio.current_time()
        await ledger.append_event("INFO", "tick", "meanwhile")
        written_s = trio.current_time()
        assert written_s - asked_s < 0.1
    assert trio.current_time() - written_s > 90, "one slice at a time, whoever asks"


async def test_an_intent_waits_behind_one_reader_however_many_read(open_at: Any, make: Any, faults: Any) -> None:
    async with open_at(threaded=True, open_connection=faults.open) as ledger:
        faults.hang, faults.fail_only, faults.fail_at = threading.Event(), "SELECT", faults.count + 1
        async with trio.open_nursery() as nursery:
            try:
                for _ in range(50):
                    nursery.start_soon(ledger.orders_page, 10)
                await trio.testing.wait_all_tasks_blocked(0.05)
                assert ledger.backlog == 1, "the one that hangs; the others are not handed in"
            finally:
                faults.hang.set()
            await ledger.commit_intent(make.intent())


async def test_readers_that_go_away_leave_no_queue_before_the_writes(open_at: Any, faults: Any) -> None:
    async with open_at(threaded=True, open_connection=faults.open) as ledger:
        faults.hang, faults.fail_only, faults.fail_at = threading.Event(), "SELECT", faults.count + 1
        try:
            for _ in range(LOOK_BACKLOG_MAX + 1):
                with trio.move_on_after(0.001):
                    await ledger.orders_page(10)
            for _ in range(3):
                with pytest.raises(LedgerError, match="ask again"):
                    await ledger.orders_page(10)
            assert ledger.backlog == LOOK_BACKLOG_MAX + 1
        finally:
            faults.hang.set()
        await ledger.probe()
        await ledger.orders_page(10)


async def test_orders_and_fills_come_in_pages_too(ledger: Ledger, make: Any) -> None:
    for number in range(3):
        await ledger.commit_intent(make.intent(make.order(f"pb{number}")))
        await ledger.book_fills([make.fill(str(number), client_order_id=f"pb{number}", order_id=f"9{number}")])
    orders, cursor = await ledger.orders_page(2)
    assert ([row.request.client_order_id for row in orders], cursor) == (["pb2", "pb1"], "2")
    assert [row.request.client_order_id for row in (await ledger.orders_page(2, cursor))[0]] == ["pb0"]
    assert [row.fill.trade_id for row in (await ledger.fills_page(2))[0]] == ["2", "1"]


@pytest.mark.parametrize("cursor", ["", "-1", "x", "1.5", "٣", "9" * 30])
async def test_a_cursor_that_no_page_gave_out_is_refused(ledger: Ledger, cursor: str) -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        await ledger.orders_page(5, cursor)


@pytest.mark.parametrize("limit", [0, -1, 1001])
async def test_a_limit_out_of_range_is_refused(ledger: Ledger, limit: int) -> None:
    with pytest.raises(ValueError, match="limit"):
        await ledger.orders_page(limit)


async def test_amounts_lie_in_the_file_as_plain_text(open_at: Any, make: Any, tmp_path: Path) -> None:
    async with open_at() as ledger:
        await ledger.commit_intent(make.intent())
    connection = sqlite3.connect(tmp_path / "ledger.db")
    try:
        row = connection.execute("SELECT qty, limit_price, filled_qty FROM orders").fetchone()
    finally:
        connection.close()
    assert row == ("0.01", "60000.1", "0")
