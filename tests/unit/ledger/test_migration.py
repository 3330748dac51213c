"""A ledger of version 1 becomes one of this version whole or not at all, and a copy of what it was is kept.

`v1.sql` is the dump of a ledger that the code of version 1 wrote.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import structlog

from propbot.domain.errors import LedgerError
from propbot.domain.orders import OrderState
from propbot.ledger.beside import verify_file
from propbot.ledger.schema import SCHEMA_VERSION, TABLES

V1 = (Path(__file__).parent / "v1.sql").read_text()
NEW_TABLES = {"incidents", "incident_steps", "approvals"}
COPY = "ledger.db.v1-before-migration"


class Killed(BaseException):
    """A process that ends: nothing of what follows happens."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A whole ledger of version 1."""
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        connection.executescript(V1)
        connection.execute("PRAGMA journal_mode = WAL")
    return tmp_path / "ledger.db"


def _content(path: Path) -> tuple[int, dict[str, list[tuple[Any, ...]]]]:
    """Version, and each table with its rows; events apart from the one that tells of the migration."""
    with closing(sqlite3.connect(path)) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in names}
        rows["events"] = [row for row in rows["events"] if row[3] != "migration"]
        return connection.execute("PRAGMA user_version").fetchone()[0], rows


async def test_everything_is_still_there_and_new_things_can_be_written(open_at: Any, path: Path) -> None:
    before = _content(path)[1]
    async with open_at() as ledger:
        assert [(fill.fill.trade_id, fill.fill.qty) for fill in await ledger.all_fills()] == [
            ("70", Decimal("0.016")), ("71", Decimal("0.016")),
        ]  # fmt: skip
        (lot,) = await ledger.live_lots()
        order = await ledger.order("pb1")
        assert order is not None
        assert (lot.id, order.state) == ("lot-1", OrderState.FILLED)
        await ledger.append_event("INFO", "tick", "after the migration")
        assert (await ledger.verify_journal()).ok
        kinds = [event.kind for event in (await ledger.events_page(10))[0]]
        assert kinds == ["tick", "migration", "feed", "startup"]
    version, after = _content(path)
    assert version == SCHEMA_VERSION
    assert {name: rows for name, rows in after.items() if name not in NEW_TABLES} == {
        **before, "events": after["events"],
    }  # fmt: skip
    assert {name: after[name] for name in NEW_TABLES} == {name: [] for name in NEW_TABLES}
    assert verify_file(path, None).ok


async def test_what_it_was_is_kept_as_one_file_and_said_in_the_log(open_at: Any, path: Path) -> None:
    before = _content(path)
    with structlog.testing.capture_logs() as logged:
        async with open_at():
            pass
    assert _content(path.with_name(COPY)) == before
    assert [row["kept"] for row in logged] == [str(path.with_name(COPY))]
    assert {each.name for each in path.parent.iterdir()} == {"ledger.db", COPY}
    with structlog.testing.capture_logs() as logged:
        async with open_at():
            pass
    assert logged == [], "the second opening finds nothing to do"


def _open_killed_at(k: int, seen: list[str]) -> Callable[[Path], sqlite3.Connection]:
    """Dies before its k-th statement or commit, and rolls nothing back by itself any more."""

    class Mortal(sqlite3.Connection):
        def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
            self.pass_by(sql)
            return super().execute(sql, *args)

        def commit(self) -> None:
            self.pass_by("COMMIT")
            super().commit()

        def rollback(self) -> None:
            if len(seen) < k:
                super().rollback()

        def pass_by(self, sql: str) -> None:
            seen.append(sql)
            if len(seen) >= k:
                raise Killed(sql)

    return lambda path: sqlite3.connect(path, check_same_thread=False, isolation_level=None, factory=Mortal)


async def test_killed_at_any_statement_it_is_the_old_one_or_the_new_one(
    open_at: Any, path: Path, tmp_path: Path
) -> None:
    old, content = _content(path), path.read_bytes()
    ended: list[str] = []
    for k in range(1, 300):
        path = tmp_path / str(k) / "ledger.db"
        path.parent.mkdir()
        path.write_bytes(content)
        seen: list[str] = []
        try:
            async with open_at(path=path, open_connection=_open_killed_at(k, seen)):
                break
        except* Killed:
            pass
        version, rows = _content(path)
        ended.append(f"{version}")
        if version == 1:
            assert (version, rows) == old
        else:
            assert rows.keys() == TABLES.keys()
        async with open_at(path=path) as ledger:  # the next start goes on from either
            assert (await ledger.verify_journal()).ok
    else:
        pytest.fail("the migration never completed")
    assert "1" in ended
    assert sum(sql.startswith("CREATE") for sql in seen) >= len(NEW_TABLES), "each step of it was met"


async def test_a_disk_without_room_for_the_copy_refuses_and_changes_nothing(open_at: Any, path: Path) -> None:
    old = _content(path)
    path.with_name(COPY + ".partial").mkdir()
    with pytest.raises(LedgerError, match=r"ledger\.db"):
        async with open_at():
            pass
    assert _content(path) == old


@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, 99])
async def test_a_newer_one_is_refused_with_what_to_do_and_left_alone(open_at: Any, path: Path, version: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    before = _content(path)
    with pytest.raises(LedgerError, match=f"schema version {version}, this PropBot knows 1 to") as told:
        async with open_at():
            pass
    assert "Start the PropBot that wrote it" in str(told.value)
    assert _content(path) == before
    assert not path.with_name(COPY).exists()


async def test_one_that_lacks_a_table_of_its_version_is_refused(open_at: Any, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE lots")
    with pytest.raises(LedgerError, match="damaged: no table lots"):
        async with open_at():
            pass
