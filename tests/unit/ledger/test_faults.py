"""A disk that fails, delays or hangs: whole changes or none, an error that says so, and nobody waits for ever."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from propbot.domain.errors import LedgerError
from propbot.domain.orders import OrderState
from propbot.kit.disk import open_sqlite
from propbot.ledger import Ledger
from propbot.ledger.schema import TABLES

Census = dict[str, int]


def _census(path: Path) -> Census:
    """Rows of each table, as a stranger sees the file; empty for a file without tables."""
    connection = sqlite3.connect(path)
    try:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names}
    finally:
        connection.close()


def _plus(before: Census, **more: int) -> Census:
    return {name: count + more.get(name, 0) for name, count in before.items()}


async def _open_failing(opening: AbstractAsyncContextManager[Ledger]) -> LedgerError | None:
    """How the opening failed; None if it did not."""
    try:
        async with opening:
            return None
    except LedgerError as error:
        return error


async def _journal_without_end(ledger: Ledger) -> None:
    while True:
        await ledger.append_event("INFO", "fill the disk", "x" * 5000)


async def _commit_intent(ledger: Ledger, make: Any) -> None:
    await ledger.commit_intent(make.intent(make.order("pb2"), make.order("pb3"), id="second"), make.lot("lot-2"))


async def _book_fills(ledger: Ledger, make: Any) -> None:
    await ledger.book_fills([make.fill("1"), make.fill("2"), make.fill("3", client_order_id="web", order_id="5")])


async def _append_event(ledger: Ledger, make: Any) -> None:
    await ledger.append_event("INFO", "kind", "message")


async def _correct_order(ledger: Ledger, make: Any) -> None:
    await ledger.record_order("pb0", OrderState.FILLED, correction=True)


CHANGES: list[tuple[Callable[[Ledger, Any], Awaitable[None]], dict[str, int]]] = [
    (_commit_intent, {"intents": 1, "orders": 2, "lots": 1, "events": 1}),
    (_book_fills, {"fills": 2, "foreign_fills": 1, "events": 3}),
    (_append_event, {"events": 1}),
    (_correct_order, {"events": 1}),
]


@pytest.mark.parametrize("after_effect", [False, True], ids=["fails", "answer lost"])
@pytest.mark.parametrize(("change", "adds"), CHANGES, ids=[change.__name__ for change, _ in CHANGES])
async def test_whichever_operation_fails_a_change_is_there_whole_or_not_at_all(
    open_at: Any, make: Any, faults: Any, tmp_path: Path, change: Any, adds: dict[str, int], after_effect: bool
) -> None:
    faults.after_effect = after_effect
    for k in range(1, 200):
        path = tmp_path / f"{k}.db"
        async with open_at(path=path, open_connection=faults.open) as ledger:
            await ledger.commit_intent(make.intent())
            await ledger.commit_intent(make.intent(make.order("pb0")))
            await ledger.record_order("pb0", OrderState.NEVER_SENT)
            before = _census(path)
            faults.fail_at = faults.count + k
            try:
                await change(ledger, make)
            except LedgerError:
                failed = True
                assert "disk I/O error" in (ledger.health.failed or "")
            else:
                failed = False
            fired = faults.count >= faults.fail_at
            now = _census(path)
            assert now in ((before, _plus(before, **adds)) if failed else (_plus(before, **adds),))
            faults.fail_at = None
            await ledger.meta_put("next", "write")
            assert ledger.health.failed is None
        async with open_at(path=path) as again:
            assert await again.meta_get("next") == "write"
        if not fired:
            assert k > 4
            return
    pytest.fail("the change never completed")


async def test_whichever_operation_of_opening_fails_the_next_opening_works(
    open_at: Any, faults: Any, tmp_path: Path
) -> None:
    for k in range(1, 400):
        path = tmp_path / f"{k}.db"
        faults.fail_at = faults.count + k
        error = await _open_failing(open_at(path=path, open_connection=faults.open))
        if error is not None:
            assert str(path) in str(error)
            assert _census(path).keys() in (set(), TABLES.keys())
        fired = faults.count >= faults.fail_at
        faults.fail_at = None
        async with open_at(path=path) as ledger:
            await ledger.probe()
        if not fired:
            assert k > len(TABLES)
            return
    pytest.fail("the opening never completed")


async def test_a_disk_that_is_gone_fails_every_write_and_reads_go_on_if_they_can(
    open_at: Any, make: Any, faults: Any
) -> None:
    async with open_at(open_connection=faults.open) as ledger:
        await ledger.commit_intent(make.intent())
        faults.fail_only, faults.fail_at, faults.stick = "BEGIN", faults.count + 1, True
        for _ in range(3):
            with pytest.raises(LedgerError, match="disk I/O error"):
                await ledger.probe()
        assert len(await ledger.unfinished_orders()) == 1


async def test_one_failing_job_does_not_undo_its_neighbours(open_at: Any, make: Any) -> None:
    refused: list[LedgerError] = []

    async def commit(ledger: Ledger, name: str) -> None:
        try:
            await ledger.commit_intent(make.intent(make.order(name), id=name))
        except LedgerError as error:
            refused.append(error)

    async with open_at(threaded=True) as ledger:
        await ledger.commit_intent(make.intent(make.order("pb1")))
        async with trio.open_nursery() as nursery:
            for name in ("pb0", "pb1", "pb2", "pb3"):
                nursery.start_soon(commit, ledger, name)
        rows = await ledger.unfinished_orders()
        assert {row.request.client_order_id for row in rows} == {"pb0", "pb1", "pb2", "pb3"}
        assert len(refused) == 1
        assert await ledger.order("pb1") is not None


async def test_what_waits_together_is_committed_together_and_fails_together(
    open_at: Any, make: Any, faults: Any
) -> None:
    failures: list[LedgerError] = []

    async def probe(ledger: Ledger, key: str) -> None:
        try:
            await ledger.meta_put(key, "x")
        except LedgerError as error:
            failures.append(error)

    async with open_at(open_connection=faults.open, threaded=True) as ledger:
        faults.count, faults.fail_only, faults.hang = 0, "BEGIN", threading.Event()
        faults.fail_at = 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(probe, ledger, "first")
            await trio.to_thread.run_sync(faults.hanging.wait)
            for number in range(10):
                nursery.start_soon(probe, ledger, f"k{number}")
            await trio.testing.wait_all_tasks_blocked()
            hang, faults.hang = faults.hang, None
            faults.count, faults.fail_only, faults.fail_at = 0, "COMMIT", 2
            hang.set()
        assert faults.count == 2
        assert len(failures) == 10
        assert len({id(error) for error in failures}) == 10
        assert await ledger.meta_get("first") == "x"
        assert [await ledger.meta_get(f"k{number}") for number in range(10)] == [None] * 10


async def test_waiting_for_a_hanging_disk_can_be_cancelled_and_closing_gives_up(
    open_at: Any, make: Any, faults: Any
) -> None:
    hang = threading.Event()
    try:
        with trio.fail_after(3):
            async with open_at(open_connection=faults.open, threaded=True) as ledger:
                faults.hang, faults.fail_at = hang, faults.count + 1
                with trio.move_on_after(0.02) as scope:
                    await ledger.commit_intent(make.intent())
                assert scope.cancelled_caught
                assert ledger.backlog == 1
                assert ledger.waiting_s == 0.0
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(ledger.probe)
                    await trio.sleep(0.02)
                    assert ledger.waiting_s >= 0.02
                    nursery.cancel_scope.cancel()
    finally:
        hang.set()


async def test_a_cancelled_wait_still_records(open_at: Any, make: Any) -> None:
    async with open_at(threaded=True) as ledger:
        with trio.CancelScope() as scope:
            scope.cancel()
            await ledger.commit_intent(make.intent())
        assert scope.cancelled_caught
        assert len(await ledger.unfinished_orders()) == 1


async def test_what_was_handed_in_is_finished_at_closing_even_when_all_is_cancelled(open_at: Any, make: Any) -> None:
    with trio.CancelScope() as scope:
        async with open_at(threaded=True) as ledger:
            scope.cancel()
            await ledger.commit_intent(make.intent())
    async with open_at() as again:
        assert len(await again.unfinished_orders()) == 1


async def test_another_writer_that_holds_the_file_is_a_bounded_error(open_at: Any, faults: Any, tmp_path: Path) -> None:
    async with open_at(open_connection=faults.open) as ledger:
        other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(LedgerError, match="locked"):
                await ledger.probe()
            other.execute("ROLLBACK")
        finally:
            other.close()
        await ledger.probe()
        assert ledger.health.failed is None


async def test_a_full_disk_is_an_error_and_the_ledger_stays_sound(open_at: Any, make: Any, tmp_path: Path) -> None:
    def open_small(path: Path) -> sqlite3.Connection:
        connection = open_sqlite(path)
        connection.execute("PRAGMA max_page_count = 60")
        return connection

    async with open_at(open_connection=open_small) as ledger:
        with pytest.raises(LedgerError, match="full"):
            await _journal_without_end(ledger)
        assert ledger.health.failed is not None
        assert "full" in ledger.health.failed
        assert len((await ledger.events_page(5))[0]) == 5


async def test_a_file_that_is_no_ledger_is_refused_and_left_alone(open_at: Any, tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    content = b"this is no database, it is a text that somebody put here" * 30
    path.write_bytes(content)
    with pytest.raises(LedgerError, match="damaged or no ledger") as caught:
        async with open_at():
            pass
    assert "newest backup" in str(caught.value)
    assert path.read_bytes() == content


async def test_an_empty_file_becomes_a_ledger(open_at: Any, tmp_path: Path) -> None:
    (tmp_path / "ledger.db").touch()
    async with open_at() as ledger:
        await ledger.probe()


async def test_a_database_of_another_program_is_refused(open_at: Any, tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "ledger.db")
    connection.execute("CREATE TABLE theirs (x)")
    connection.commit()
    connection.close()
    with pytest.raises(LedgerError, match="another program"):
        async with open_at():
            pass
    assert _census(tmp_path / "ledger.db") == {"theirs": 0}


async def test_a_ledger_of_a_later_version_is_refused(open_at: Any, tmp_path: Path) -> None:
    async with open_at():
        pass
    connection = sqlite3.connect(tmp_path / "ledger.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(LedgerError, match="schema version 99"):
        async with open_at():
            pass


async def test_a_damaged_page_is_refused_whichever_it_is(open_at: Any, make: Any, tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    async with open_at() as ledger:
        for number in range(50):
            await ledger.commit_intent(make.intent(make.order(f"pb{number}")))
    whole = path.read_bytes()
    for page in range(len(whole) // 4096):
        damaged = bytearray(whole)
        damaged[page * 4096 : page * 4096 + 64] = b"\xff" * 64
        path.write_bytes(damaged)
        error = await _open_failing(open_at())
        assert error is not None
        assert str(path) in str(error)


async def test_a_folder_that_is_missing_is_named(open_at: Any, tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="nowhere"):
        async with open_at(path=tmp_path / "nowhere" / "ledger.db"):
            pass


async def test_nothing_leaks_when_the_opening_is_cancelled(open_at: Any, faults: Any) -> None:
    hang = threading.Event()
    faults.hang, faults.fail_at = hang, 1
    with trio.move_on_after(0.02) as scope:
        async with open_at(open_connection=faults.open, threaded=True):
            pytest.fail("it cannot be open")
    hang.set()
    assert scope.cancelled_caught


async def test_an_error_that_undoes_the_whole_transaction_fails_the_whole_group(open_at: Any, make: Any) -> None:
    """SQLite rolls back by itself on a full disk or an I/O error; the jobs before were not recorded either."""

    class Undoing(sqlite3.Connection):
        def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
            if sql.startswith("INSERT INTO intents") and args[0][0] == "bad":
                super().execute("ROLLBACK")
                raise sqlite3.OperationalError("database or disk is full")
            return super().execute(sql, *args)

    def open_undoing(path: Path) -> sqlite3.Connection:
        return sqlite3.connect(path, check_same_thread=False, isolation_level=None, factory=Undoing)

    errors: list[str] = []

    async def commit(ledger: Ledger, name: str) -> None:
        try:
            await ledger.commit_intent(make.intent(make.order(f"pb{name}"), id=name))
        except LedgerError as error:
            errors.append(str(error))

    async with open_at(open_connection=open_undoing, threaded=True) as ledger:
        async with trio.open_nursery() as nursery:
            for name in ("good", "bad", "later"):
                nursery.start_soon(commit, ledger, name)
        recorded = len(await ledger.unfinished_orders())
        assert recorded == 3 - len(errors)
        assert errors
        assert all("disk is full" in error for error in errors)
        await ledger.probe()


async def test_closing_in_the_middle_of_a_cancellation_hides_no_error(open_at: Any) -> None:
    async def fail_while_cancelled() -> None:
        with trio.CancelScope() as scope:
            async with open_at():
                scope.cancel()
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_while_cancelled()
