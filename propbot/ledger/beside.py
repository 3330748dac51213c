"""Looking at a ledger from beside the service that writes it, or while none does: read-only, by its own connection.

The bug of this SQLite generation (WAL-reset, up to 3.51.2) needs two connections that both write or run checkpoints
(sqlite.org/wal.html, March 2026). A connection opened with `mode=ro` does neither, and neither does its closing, so
that it may stand beside the ledger's one writer. What it reads is one moment's state: it runs in one read transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from propbot.domain.errors import LedgerError
from propbot.domain.events import Head, JournalCheck
from propbot.kit.disk import copy_sqlite
from propbot.ledger.audit import verify_at_once
from propbot.ledger.schema import APPLICATION_ID, SCHEMA_VERSION


@contextmanager
def open_beside(path: Path) -> Iterator[sqlite3.Connection]:
    """LedgerError for what is no ledger, or can't be read. Inside, errors of SQLite become LedgerErrors as well."""
    if not path.is_file():
        raise LedgerError(f"there is no ledger at {path}")
    try:
        connection = _connect(path)
    except sqlite3.Error as error:
        raise LedgerError(f"the ledger {path} cannot be read: {error}") from error
    try:
        require_ledger(connection, path)
        yield connection
    except sqlite3.Error as error:
        raise LedgerError(f"the ledger {path} cannot be read: {error}") from error
    finally:
        connection.close()


def require_ledger(connection: sqlite3.Connection, path: Path) -> int:
    """The schema's version; LedgerError for another program's file and for versions that we do not know."""
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise LedgerError(f"{path} is no ledger of PropBot")
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if not 1 <= version <= SCHEMA_VERSION:
        raise LedgerError(f"the ledger {path} has schema version {version}, this PropBot knows 1 to {SCHEMA_VERSION}")
    return version


def verify_file(path: Path, known: Head | None) -> JournalCheck:
    """The whole journal of the ledger at `path`, held against the head that is known outside of it."""
    with open_beside(path) as connection:
        connection.execute("BEGIN")  # one state, whatever is written meanwhile
        return verify_at_once(connection, known)


def _connect(path: Path) -> sqlite3.Connection:
    """A copy without its -wal in a folder that can't be written is taken as it lies there."""
    last: sqlite3.Error | None = None
    for options in ("mode=ro", "mode=ro&immutable=1"):
        if "immutable" in options and path.with_name(path.name + "-wal").exists():
            break
        connection = sqlite3.connect(
            f"file:{quote(str(path.resolve()))}?{options}", uri=True, isolation_level=None, timeout=2.0
        )
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error as error:
            connection.close()
            if not isinstance(error, sqlite3.OperationalError):
                raise
            last = error
        else:
            return connection
    assert last is not None
    raise last


def copy_ledger(path: Path, target: Path) -> None:
    """The ledger at `path`, as it is at one moment, as one file without neighbours; LedgerError if it is damaged."""
    with open_beside(path) as connection:
        copy_sqlite(connection, target)
    require_sound(target)


def require_sound(path: Path) -> int:
    """The schema's version of a ledger that is whole; LedgerError says what is wrong with another."""
    with open_beside(path) as connection:
        complaints = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)")]
        if complaints != ["ok"]:
            raise LedgerError(f"the ledger {path} is damaged: {'; '.join(complaints)}")
        return require_ledger(connection, path)


def count_rows(path: Path) -> dict[str, int]:
    with open_beside(path) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        counts = {name: connection.execute(f"SELECT count(*) FROM {name}") for name in sorted(tables)}  # noqa: S608
        return {name: cursor.fetchone()[0] for name, cursor in counts.items()}
