"""The journal has a row for each change, in the change's own transaction, and the walk names the first bad one."""

from __future__ import annotations

import json
import shutil
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve

from propbot.domain.errors import LedgerError
from propbot.domain.events import EventRow, Head
from propbot.domain.instruments import BINANCE_UM
from propbot.domain.lots import LotState
from propbot.domain.orders import Funding, OrderState
from propbot.ledger import Ledger
from propbot.ledger.audit import SLICE_ROWS
from propbot.ledger.beside import open_beside, verify_file


async def _events(ledger: Ledger) -> list[EventRow]:
    """Oldest first."""
    return list(reversed((await ledger.events_page(1000))[0]))


async def _fill_up(ledger: Ledger, count: int) -> None:
    for number in range(count):
        await ledger.append_event("INFO", "tick", f"number {number}", details={"n": number})


def _edit(path: Path, sql: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(sql)
    connection.commit()
    connection.close()


# --- one row a change


async def test_each_change_leaves_one_row_that_names_what_changed(ledger: Ledger, make: Any) -> None:
    lot = make.lot()
    await ledger.commit_intent(make.intent(), lot)
    await ledger.record_order("pb1", OrderState.WORKING, order_id="900")
    await ledger.book_fills([make.fill("7"), make.fill("8", client_order_id="web", order_id="5")])
    await ledger.record_order("pb1", OrderState.PARTIAL)
    await ledger.save_lot(evolve(lot, state=LotState.CLOSED, realised=Decimal("0.311")))
    await ledger.book_funding(Funding(BINANCE_UM, "BTCUSDT", "USDT", Decimal("-0.5"), "i1", 17))
    await ledger.record_baselines({(BINANCE_UM, "USDT"): Decimal(100)})
    events = await _events(ledger)
    kinds = ["intent", "order", "fill", "fill", "order", "lot", "funding", "baseline"]
    assert [event.kind for event in events] == kinds
    intent, working, ours, foreign, partial, closed, funding, baseline = events
    assert (intent.details["intent_id"], intent.details["lot_id"]) == ("intent-pb1", "lot-1")
    assert json.loads(str(intent.details["legs"])) == ["pb1 binance-um BTCUSDT BUY 0.01 60000.1"]
    assert (working.details["client_order_id"], working.details["order_id"]) == ("pb1", "900")
    assert (working.details["from"], working.details["to"], partial.details["to"]) == ("INTENT", "WORKING", "PARTIAL")
    assert (ours.details["trade_id"], ours.details["qty"], ours.details["foreign"]) == ("7", "0.004", False)
    assert (foreign.details["trade_id"], foreign.details["foreign"], foreign.details["lot_id"]) == ("8", True, None)
    assert (closed.details["state"], closed.details["realised"]) == ("CLOSED", "0.311")
    assert (funding.details["amount"], baseline.details["qty"]) == ("-0.5", "100")
    assert {event.level for event in events} == {"INFO"}


async def test_what_changes_nothing_leaves_no_row(ledger: Ledger, make: Any) -> None:
    await ledger.commit_intent(make.intent())
    await ledger.record_order("pb1", OrderState.WORKING, order_id="900")
    await ledger.book_fills([make.fill("7")])
    funding = Funding(BINANCE_UM, "BTCUSDT", "USDT", Decimal("-0.5"), "i1", 17)
    await ledger.book_funding(funding)
    before = ledger.head
    await ledger.record_order("pb1", OrderState.WORKING, order_id="900")
    await ledger.record_order("pb1", OrderState.SENT)
    await ledger.book_fills([make.fill("7")])
    await ledger.book_funding(funding)
    await ledger.probe()
    assert ledger.head == before


async def test_the_head_is_the_last_row_that_is_durable(open_at: Any, make: Any, faults: Any) -> None:
    async with open_at(open_connection=faults.open) as ledger:
        assert ledger.head is None
        await _fill_up(ledger, 2)
        second = ledger.head
        assert second == Head(2, (await _events(ledger))[-1].hash)
        faults.fail_only, faults.count, faults.fail_at = "COMMIT", 0, 1
        with pytest.raises(LedgerError):
            await ledger.commit_intent(make.intent())
        assert ledger.head == second
        faults.fail_at = None
        await ledger.commit_intent(make.intent())
        third = ledger.head
    async with open_at() as ledger:
        assert ledger.head == third == Head(3, third.hash)


# --- the walk

FORGERIES = [
    ("UPDATE events SET message = 'nothing happened' WHERE id = 3", None, 3, "edited"),
    ("UPDATE events SET details = '{\"n\": 2}' WHERE id = 3", None, 3, "edited"),  # the same, in another spelling
    ("UPDATE events SET ts_ns = ts_ns + 1 WHERE id = 1", None, 1, "edited"),
    ("DELETE FROM events WHERE id = 3", None, 4, "missing"),
    ("DELETE FROM events WHERE id = 1", None, 2, "missing"),
    ("UPDATE events SET prev_hash = hash WHERE id = 5", None, 5, "does not belong"),
    ("DELETE FROM events WHERE id > 4", None, None, ""),  # nobody knows
    ("DELETE FROM events WHERE id > 4", 6, 5, "was known outside"),
    ("DELETE FROM events", 6, 1, "ends at row 0"),
]


@pytest.mark.parametrize(("sql", "known_id", "first_bad", "said"), FORGERIES, ids=range(len(FORGERIES)))
async def test_the_first_bad_row_is_named_online_and_offline(
    open_at: Any, tmp_path: Path, sql: str, known_id: int | None, first_bad: int | None, said: str
) -> None:
    path = tmp_path / "ledger.db"
    async with open_at() as ledger:
        await _fill_up(ledger, 6)
        known = ledger.head if known_id is not None else None
    _edit(path, sql)
    found = verify_file(path, known)
    assert (found.ok, found.first_bad) == (first_bad is None, first_bad)
    assert said in found.reason
    assert found.rows == (first_bad - 1 if first_bad is not None and said != "missing" else found.rows)
    if known is None:
        async with open_at() as ledger:
            assert await ledger.verify_journal() == found


async def test_a_journal_that_was_rewritten_as_a_whole_shows_against_the_head_outside(
    open_at: Any, tmp_path: Path
) -> None:
    async with open_at() as ledger:
        await _fill_up(ledger, 3)
        known = ledger.head
    (tmp_path / "ledger.db").unlink()
    async with open_at() as ledger:
        for number in range(4):
            await ledger.append_event("INFO", "tick", f"another number {number}")
    found = verify_file(tmp_path / "ledger.db", known)
    assert (found.first_bad, "rewritten" in found.reason) == (3, True)


@pytest.mark.parametrize("rows", [0, 1, SLICE_ROWS - 1, SLICE_ROWS, SLICE_ROWS + 1])
async def test_a_journal_of_any_length_is_walked_to_its_end(open_at: Any, tmp_path: Path, rows: int) -> None:
    async with open_at() as ledger:
        await _fill_up(ledger, rows)
        found = await ledger.verify_journal()
        assert (found.ok, found.rows) == (True, rows)
        assert found.head == (None if ledger.head is None else ledger.head.hash)
    assert verify_file(tmp_path / "ledger.db", None) == found


async def test_a_tail_that_is_cut_under_a_running_service_shows(open_at: Any, tmp_path: Path) -> None:
    async with open_at() as ledger:
        await _fill_up(ledger, 6)
        _edit(tmp_path / "ledger.db", "DELETE FROM events WHERE id > 4")
        found = await ledger.verify_journal()
        assert (found.ok, found.first_bad) == (False, 5)


async def test_writes_go_on_between_the_slices(open_at: Any, autojump_clock: Any) -> None:
    async with open_at() as ledger:
        await _fill_up(ledger, 3 * SLICE_ROWS)
        async with trio.open_nursery() as nursery:
            found: list[Any] = []

            async def verify() -> None:
                found.append(await ledger.verify_journal(pause_s=1.0))

            nursery.start_soon(verify)
            await trio.sleep(1.5)
            await ledger.append_event("INFO", "tick", "meanwhile")
        assert (found[0].ok, found[0].rows) == (True, 3 * SLICE_ROWS + 1)


async def test_a_walk_can_be_cancelled_and_begun_again(open_at: Any, autojump_clock: Any) -> None:
    async with open_at() as ledger:
        await _fill_up(ledger, 2 * SLICE_ROWS)
        with trio.move_on_after(0.5) as scope:
            await ledger.verify_journal(pause_s=1.0)
        assert scope.cancelled_caught
        assert (await ledger.verify_journal()).ok


# --- from beside


async def test_a_running_ledger_is_read_from_beside_and_nothing_of_it_changes(open_at: Any, tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    async with open_at() as ledger:
        await _fill_up(ledger, 5)
        before = path.read_bytes(), path.with_name("ledger.db-wal").read_bytes()
        assert verify_file(path, ledger.head).rows == 5
        assert (path.read_bytes(), path.with_name("ledger.db-wal").read_bytes()) == before
        await _fill_up(ledger, 1)
        assert verify_file(path, ledger.head).rows == 6


async def test_a_copy_is_read_without_its_neighbours(open_at: Any, tmp_path: Path) -> None:
    async with open_at() as ledger:
        await _fill_up(ledger, 5)
    (tmp_path / "copy").mkdir()
    shutil.copy(tmp_path / "ledger.db", tmp_path / "copy" / "ledger.db")
    assert verify_file(tmp_path / "copy" / "ledger.db", None).rows == 5


async def test_what_a_killed_process_left_in_its_wal_is_read_as_well(open_at: Any, tmp_path: Path) -> None:
    async with open_at() as ledger:
        await _fill_up(ledger, 5)
        (tmp_path / "left").mkdir()
        for name in ("ledger.db", "ledger.db-wal"):
            shutil.copy(tmp_path / name, tmp_path / "left" / name)
    assert verify_file(tmp_path / "left" / "ledger.db", None).rows == 5


def test_what_is_no_ledger_is_named(tmp_path: Path) -> None:
    for name, content, said in (
        ("none.db", None, "there is no ledger"), ("text.db", b"a text, no database" * 50, "cannot be read"),
    ):  # fmt: skip
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(LedgerError, match=said):
            verify_file(tmp_path / name, None)
    _edit(tmp_path / "theirs.db", "CREATE TABLE theirs (x)")
    with pytest.raises(LedgerError, match="no ledger of PropBot"):
        verify_file(tmp_path / "theirs.db", None)


async def test_a_connection_from_beside_cannot_write(open_at: Any, tmp_path: Path) -> None:
    async with open_at() as ledger:
        await _fill_up(ledger, 1)
    with pytest.raises(LedgerError, match="readonly"), open_beside(tmp_path / "ledger.db") as connection:
        connection.execute("DELETE FROM events")


