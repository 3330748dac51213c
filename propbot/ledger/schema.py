"""The ledger's file: its tables, how it is opened, and when it is refused.

Amounts are text in plain digits, timestamps integers (`_ns` of our wall clock, `_ms` of the venue's). `seq` numbers
rows in the order of writing and is what pages are cut by. Nothing is ever deleted.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Literal

import structlog
from sqlite_utils import Database

from propbot.domain.errors import LedgerError
from propbot.kit.disk import OpenSqlite, copy_sqlite
from propbot.ledger import chain

Sync = Literal["full", "normal"]

APPLICATION_ID = 0x50426F74
SCHEMA_VERSION = 2

_FILL = {
    "seq": int,
    "venue": str,
    "symbol": str,
    "order_id": str,
    "trade_id": str,
    "client_order_id": str,
    "side": str,
    "qty": str,
    "price": str,
    "fee": str,
    "fee_asset": str,
    "liquidity": str,
    "ts_ms": int,
    "booked_ns": int,
    "trade_no": int,  # trade_id as a number where it is one: the watermark
}
_FILL_KEY = ("venue", "symbol", "order_id", "trade_id")

TABLES: dict[str, tuple[str | tuple[str, ...], dict[str, type]]] = {
    "intents": (
        "id",
        {
            "id": str,
            "pair": str,
            "purpose": str,
            "lot_id": str,
            "created_ns": int,
            "edge_bps": str,
            "decided_on": str,
            "simulated": int,
        },
    ),
    "orders": (
        "seq",
        {
            "seq": int,
            "client_order_id": str,
            "intent_id": str,
            "lot_id": str,
            "venue": str,
            "symbol": str,
            "side": str,
            "purpose": str,
            "qty": str,
            "limit_price": str,
            "time_in_force": str,
            "reduce_only": int,
            "state": str,
            "order_id": str,
            "filled_qty": str,  # what the venue reported, never below booked_qty
            "booked_qty": str,  # the sum of the fills that we have
            "created_ns": int,
            "updated_ns": int,
            "reason": str,
            "simulated": int,
        },
    ),
    "fills": ("seq", {**_FILL, "lot_id": str, "purpose": str, "simulated": int}),
    "foreign_fills": ("seq", {**_FILL, "adopted": int}),
    "lots": (
        "seq",
        {
            "seq": int,
            "id": str,
            "pair": str,
            "state": str,
            "buy_venue": str,
            "sell_venue": str,
            "qty": str,
            "opened_ns": int,
            "edge_bps": str,
            "reference_bps": str,
            "entry_bps": str,
            "closed_ns": int,
            "realised": str,
            "exit_reason": str,
            "simulated": int,
        },
    ),
    "events": (
        "id",
        {
            "id": int,
            "ts_ns": int,
            "level": str,
            "kind": str,
            "message": str,
            "venue": str,
            "symbol": str,
            "source": str,
            "details": str,
            "prev_hash": str,
            "hash": str,
        },
    ),
    "funding": (
        ("venue", "income_id"),
        {"venue": str, "income_id": str, "symbol": str, "asset": str, "amount": str, "ts_ms": int, "booked_ns": int},
    ),
    "baselines": (("venue", "asset"), {"venue": str, "asset": str, "qty": str, "recorded_ns": int}),
    "meta": ("key", {"key": str, "value": str}),
    "incidents": (
        "id",
        {
            "id": int,
            "ts_ns": int,
            "severity": str,
            "kind": str,
            "component_id": str,
            "summary": str,
            "details": str,
            "acknowledged_by": str,
            "acknowledged_ns": int,
            "note": str,
            "resolved_ns": int,
        },
    ),
    "incident_steps": (
        "seq",
        {"seq": int, "incident_id": int, "ts_ns": int, "step": str, "text": str, "details": str},
    ),
    "approvals": (
        "seq",
        {
            "seq": int,
            "id": str,
            "change": str,  # canonical JSON: the exact change that is asked for
            "digest": str,  # of the change and the risk settings when it was proposed
            "proposer": str,
            "proposed_ns": int,
            "expires_ns": int,
            "state": str,  # PENDING, APPROVED, REJECTED, EXPIRED, VOID
            "decided_by": str,
            "decided_ns": int,
            "reason": str,  # why it is in this state, where that needs saying
            "applied_ns": int,  # when an approved change was in force and durable
        },
    ),
}
_NULLABLE = frozenset(
    {
        "seq", "edge_bps", "limit_price", "closed_ns", "realised", "trade_no",
        "acknowledged_by", "acknowledged_ns", "resolved_ns", "decided_by", "decided_ns", "applied_ns",
    }
)

_INDEXES: tuple[tuple[str, tuple[str, ...], bool], ...] = (
    ("orders", ("client_order_id",), True),
    ("orders", ("venue", "order_id"), False),
    ("orders", ("state",), False),
    ("fills", _FILL_KEY, True),
    ("fills", ("venue", "symbol", "trade_no"), False),
    ("fills", ("lot_id",), False),
    ("foreign_fills", _FILL_KEY, True),
    ("foreign_fills", ("venue", "symbol", "trade_no"), False),
    ("lots", ("id",), True),
    ("lots", ("state",), False),
    ("incident_steps", ("incident_id",), False),
    ("approvals", ("id",), True),
    ("approvals", ("state",), False),
)
_SINCE_VERSION = {"incidents": 2, "incident_steps": 2, "approvals": 2}
"""Tables that older ledgers do not have; all others are there since version 1."""

_RESTORE = (
    "PropBot does not start on it. Bring back the newest backup with `propbot restore FILE --data-dir DIR --force`, "
    "which keeps the file and its -wal and -shm neighbours for examination (without a backup move them out of the data "
    "directory: the start makes an empty ledger, and open positions at the venues are then yours to close)"
)


def open_checked(path: Path, open_connection: OpenSqlite, synchronous: Sync) -> sqlite3.Connection:
    """A connection to the whole and sound ledger at `path`, made there if there is none; blocks.

    LedgerError says what is wrong and what to do; nothing of the file was changed then.
    """
    try:
        connection = open_connection(path)
    except (sqlite3.Error, OSError) as error:
        raise LedgerError(f"the ledger {path} cannot be opened: {error}") from error
    try:
        _prepare(connection, path, synchronous)
    except (sqlite3.OperationalError, OSError) as error:
        connection.close()
        raise LedgerError(f"the ledger {path} cannot be used: {error}") from error
    except sqlite3.DatabaseError as error:
        connection.close()
        raise LedgerError(f"the ledger {path} is damaged or no ledger: {error}. {_RESTORE}") from error
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, synchronous: Sync) -> None:
    version = _require_ours(connection, path)
    connection.row_factory = sqlite3.Row
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise LedgerError(
            f"the ledger {path} lies on a file system without WAL (journal mode {mode}); use a local disk"
        )
    connection.execute("PRAGMA synchronous = FULL" if synchronous == "full" else "PRAGMA synchronous = NORMAL")
    if version < SCHEMA_VERSION:
        kept = _keep_before_migration(connection, path, version) if version else None
        _migrate(connection, version)
        if kept is not None:
            structlog.get_logger("propbot").warning(
                f"the ledger {path} was migrated from schema {version} to {SCHEMA_VERSION}", kept=str(kept)
            )


def _require_ours(connection: sqlite3.Connection, path: Path) -> int:
    """The schema version of a sound ledger that we can take up, 0 for an empty file; LedgerError for anything else."""
    complaints = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)")]
    if complaints != ["ok"]:
        raise LedgerError(f"the ledger {path} is damaged: {'; '.join(complaints)}. {_RESTORE}")
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables and application_id == 0:
        return 0
    if application_id != APPLICATION_ID:
        raise LedgerError(f"{path} is a database of another program. Name another DATA_DIR, or move the file away")
    if not 1 <= version <= SCHEMA_VERSION:
        raise LedgerError(
            f"the ledger {path} has schema version {version}, this PropBot knows 1 to {SCHEMA_VERSION}. "
            "Start the PropBot that wrote it, or restore a backup of that version"
        )
    if missing := {name for name in TABLES if _SINCE_VERSION.get(name, 1) <= version} - tables:
        raise LedgerError(f"the ledger {path} is damaged: no table {', '.join(sorted(missing))}. {_RESTORE}")
    return version


def _keep_before_migration(connection: sqlite3.Connection, path: Path, version: int) -> Path:
    """What an older PropBot can go on with. A disk that has no room for it refuses the migration."""
    target = path.with_name(f"{path.name}.v{version}-before-migration")
    copy_sqlite(connection, target)
    return target


def _migrate(connection: sqlite3.Connection, version: int) -> None:
    """From `version` (0: an empty file) to ours, all or nothing: a kill in between leaves what was there before."""
    database = Database(connection, recursive_triggers=False, execute_plugins=False)
    new = [name for name in TABLES if _SINCE_VERSION.get(name, 1) > version]
    connection.execute("BEGIN IMMEDIATE")
    try:
        for name in new:
            key, columns = TABLES[name]
            needed = set(columns) - _NULLABLE
            database.create_table(name, columns, pk=key, not_null=needed, strict=True)
        for table, names, unique in _INDEXES:
            if table in new:
                database.table(table).create_index(list(names), unique=unique)
        if version:
            told = f"schema {version} -> {SCHEMA_VERSION}"
            chain.note(connection, time.time_ns(), "migration", told, {"from": version, "to": SCHEMA_VERSION})
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
