"""What the embedded venues remember when the bot, or they themselves, die: accounts, orders, trades, counters.

One SQLite file (`simvenue.db`) for every venue of a host; each engine call that changes anything is one transaction,
committed before the call returns. WAL with synchronous=NORMAL: a committed transaction survives any death of the
process, which is what a venue's memory is for here; it may not survive a power cut, and play money need not (FULL
would cost every simulated fill an fsync on the event loop). Amounts are text.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from attrs import field, frozen

from propbot.domain.instruments import VenueId
from propbot.domain.orders import Side
from propbot.kit.disk import OpenSqlite, open_sqlite
from propbot.simvenue.records import FundingRow, NewOrder, SimOrder, SimStatus, SimTif, SimTrade, SimType

_SCHEMA = """
CREATE TABLE IF NOT EXISTS accounts (venue TEXT PRIMARY KEY, next_order_id INTEGER NOT NULL,
  next_trade_id INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS balances (venue TEXT, asset TEXT, total TEXT NOT NULL, PRIMARY KEY (venue, asset)) STRICT;
CREATE TABLE IF NOT EXISTS positions (venue TEXT, symbol TEXT, qty TEXT NOT NULL, cost TEXT NOT NULL,
  PRIMARY KEY (venue, symbol)) STRICT;
CREATE TABLE IF NOT EXISTS orders (venue TEXT, order_id INTEGER, client_order_id TEXT NOT NULL, symbol TEXT NOT NULL,
  side TEXT NOT NULL, type TEXT NOT NULL, tif TEXT NOT NULL, qty TEXT NOT NULL, limit_price TEXT,
  reduce_only INTEGER NOT NULL, status TEXT NOT NULL, created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL,
  filled_qty TEXT NOT NULL, quote_qty TEXT NOT NULL, PRIMARY KEY (venue, order_id)) STRICT;
CREATE INDEX IF NOT EXISTS orders_by_client_id ON orders (venue, client_order_id);
CREATE INDEX IF NOT EXISTS orders_open ON orders (venue) WHERE status IN ('NEW', 'PARTIALLY_FILLED');
CREATE TABLE IF NOT EXISTS trades (venue TEXT, trade_id INTEGER, order_id INTEGER NOT NULL,
  client_order_id TEXT NOT NULL, symbol TEXT NOT NULL, side TEXT NOT NULL, qty TEXT NOT NULL, price TEXT NOT NULL,
  fee TEXT NOT NULL, fee_asset TEXT NOT NULL, maker INTEGER NOT NULL, realised TEXT NOT NULL, ts_ms INTEGER NOT NULL,
  PRIMARY KEY (venue, trade_id)) STRICT;
CREATE INDEX IF NOT EXISTS trades_by_order ON trades (venue, order_id);
CREATE TABLE IF NOT EXISTS fundings (venue TEXT, id INTEGER, symbol TEXT NOT NULL, asset TEXT NOT NULL,
  amount TEXT NOT NULL, ts_ms INTEGER NOT NULL, PRIMARY KEY (venue, id)) STRICT;
"""

_SAVE_ORDER = """INSERT INTO orders VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (venue, order_id) DO UPDATE SET
  status = excluded.status, updated_ms = excluded.updated_ms, filled_qty = excluded.filled_qty,
  quote_qty = excluded.quote_qty"""


@frozen
class StoredAccount:
    """What `load` found for one venue."""

    next_order_id: int
    next_trade_id: int
    balances: Mapping[str, Decimal]
    positions: Mapping[str, tuple[Decimal, Decimal]]
    """symbol → (signed quantity, cost)."""


@frozen
class Change:
    """All that one engine call changed."""

    next_order_id: int
    next_trade_id: int
    orders: Sequence[SimOrder] = ()
    trades: Sequence[SimTrade] = ()
    balances: Mapping[str, Decimal] = field(factory=dict)
    positions: Mapping[str, tuple[Decimal, Decimal]] = field(factory=dict)
    fundings: Sequence[FundingRow] = ()


class VenueStore:
    """The tables behind every engine of one host. Synchronous; one connection, one thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=2000"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.executescript(_SCHEMA)

    def load(self, venue: VenueId) -> StoredAccount | None:
        """The venue's account, None if it never had one."""
        row = self._db.execute("SELECT next_order_id, next_trade_id FROM accounts WHERE venue = ?", (venue,)).fetchone()
        if row is None:
            return None
        balances = self._db.execute("SELECT asset, total FROM balances WHERE venue = ?", (venue,))
        positions = self._db.execute("SELECT symbol, qty, cost FROM positions WHERE venue = ?", (venue,))
        return StoredAccount(
            next_order_id=row[0],
            next_trade_id=row[1],
            balances={asset: Decimal(total) for asset, total in balances},
            positions={symbol: (Decimal(qty), Decimal(cost)) for symbol, qty, cost in positions},
        )

    def save(self, venue: VenueId, change: Change) -> None:
        """All of `change`, or (sqlite3.Error) nothing."""
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            db.execute(
                "INSERT OR REPLACE INTO accounts VALUES (?,?,?)", (venue, change.next_order_id, change.next_trade_id)
            )
            db.executemany(_SAVE_ORDER, [_order_row(venue, order) for order in change.orders])
            db.executemany(
                "INSERT INTO trades VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
                [_trade_row(venue, trade) for trade in change.trades],
            )
            db.executemany(
                "INSERT OR REPLACE INTO balances VALUES (?,?,?)",
                [(venue, asset, str(total)) for asset, total in change.balances.items()],
            )
            db.executemany(
                "INSERT OR REPLACE INTO positions VALUES (?,?,?,?)",
                [(venue, symbol, str(qty), str(cost)) for symbol, (qty, cost) in change.positions.items()],
            )
            db.executemany(
                "INSERT INTO fundings VALUES (?,?,?,?,?,?)",
                [(venue, row.id, row.symbol, row.asset, str(row.amount), row.ts_ms) for row in change.fundings],
            )
            db.execute("COMMIT")
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")

    def open_orders(self, venue: VenueId) -> list[SimOrder]:
        """By order id."""
        return self._orders("venue = ? AND status IN ('NEW', 'PARTIALLY_FILLED') ORDER BY order_id", (venue,))

    def order_by_id(self, venue: VenueId, symbol: str, order_id: int) -> SimOrder | None:
        return _first(self._orders("venue = ? AND order_id = ? AND symbol = ?", (venue, order_id, symbol)))

    def order_by_client_id(self, venue: VenueId, symbol: str, client_order_id: str) -> SimOrder | None:
        """The newest of that id."""
        where = "venue = ? AND client_order_id = ? AND symbol = ? ORDER BY order_id DESC LIMIT 1"
        return _first(self._orders(where, (venue, client_order_id, symbol)))

    def orders(self, venue: VenueId, symbol: str, from_order_id: int | None, limit: int) -> list[SimOrder]:
        """Oldest first: from an id on, or the newest `limit`."""
        if from_order_id is not None:
            where = "venue = ? AND symbol = ? AND order_id >= ? ORDER BY order_id LIMIT ?"
            return self._orders(where, (venue, symbol, from_order_id, limit))
        return self._orders("venue = ? AND symbol = ? ORDER BY order_id DESC LIMIT ?", (venue, symbol, limit))[::-1]

    def trades(
        self, venue: VenueId, symbol: str, from_trade_id: int | None, order_id: int | None, limit: int
    ) -> list[SimTrade]:
        """Oldest first: from an id on, or the newest `limit`."""
        where = "venue = ? AND symbol = ?"
        values: list[str | int] = [venue, symbol]
        if order_id is not None:
            where, values = f"{where} AND order_id = ?", [*values, order_id]
        if from_trade_id is not None:
            return self._trades(f"{where} AND trade_id >= ? ORDER BY trade_id LIMIT ?", [*values, from_trade_id, limit])
        return self._trades(f"{where} ORDER BY trade_id DESC LIMIT ?", [*values, limit])[::-1]

    def fundings(self, venue: VenueId, symbol: str | None, limit: int) -> list[FundingRow]:
        """Oldest first, the newest `limit`."""
        rows = self._db.execute(
            "SELECT id, symbol, asset, amount, ts_ms FROM fundings WHERE venue = ? AND symbol = ifnull(?, symbol)"
            " ORDER BY id DESC LIMIT ?",
            (venue, symbol, limit),
        ).fetchall()
        return [FundingRow(id_, sym, asset, Decimal(amount), ts_ms) for id_, sym, asset, amount, ts_ms in rows[::-1]]

    def _orders(self, where: str, values: Sequence[Any]) -> list[SimOrder]:
        """`values` begins with the venue."""
        found = [_read_order(row) for row in self._db.execute(f"SELECT * FROM orders WHERE {where}", values)]  # noqa: S608
        for order in found:
            if order.filled_qty:
                mine = "venue = ? AND order_id = ? ORDER BY trade_id"
                order.trades.extend(self._trades(mine, (values[0], order.order_id)))
        return found

    def _trades(self, where: str, values: Sequence[Any]) -> list[SimTrade]:
        return [_read_trade(row) for row in self._db.execute(f"SELECT * FROM trades WHERE {where}", values)]  # noqa: S608


def _first(orders: Sequence[SimOrder]) -> SimOrder | None:
    return orders[0] if orders else None


def _order_row(venue: VenueId, order: SimOrder) -> tuple[Any, ...]:
    asked = order.request
    limit_price = None if asked.limit_price is None else str(asked.limit_price)
    return (
        *(venue, order.order_id, asked.client_order_id, asked.symbol, asked.side, asked.type, asked.tif),
        *(str(asked.qty), limit_price, int(asked.reduce_only), order.status, order.created_ms, order.updated_ms),
        *(str(order.filled_qty), str(order.quote_qty)),
    )


def _read_order(row: Sequence[Any]) -> SimOrder:
    _, order_id, client_id, symbol, side, type_, tif, qty, price, reduce, status, created, updated, filled, quote = row
    limit_price = None if price is None else Decimal(price)
    request = NewOrder(
        client_id, symbol, Side(side), SimType(type_), SimTif(tif), Decimal(qty), limit_price, bool(reduce)
    )
    return SimOrder(order_id, request, SimStatus(status), created, updated, Decimal(filled), Decimal(quote))


def _trade_row(venue: VenueId, trade: SimTrade) -> tuple[Any, ...]:
    return (
        *(venue, trade.trade_id, trade.order_id, trade.client_order_id, trade.symbol, trade.side),
        *(str(trade.qty), str(trade.price), str(trade.fee), trade.fee_asset, int(trade.maker)),
        *(str(trade.realised), trade.ts_ms),
    )


def _read_trade(row: Sequence[Any]) -> SimTrade:
    _, trade_id, order_id, client_id, symbol, side, qty, price, fee, fee_asset, maker, realised, ts_ms = row
    return SimTrade(
        *(trade_id, order_id, client_id, symbol, Side(side), Decimal(qty), Decimal(price)),
        *(Decimal(fee), fee_asset, bool(maker), Decimal(realised), ts_ms),
    )


@contextmanager
def open_store(path: Path | None, open_connection: OpenSqlite = open_sqlite) -> Iterator[VenueStore]:
    """The store in `path` (its folder must exist), or in memory alone (None); closed at the end."""
    connection = open_connection(Path(":memory:") if path is None else path)
    try:
        yield VenueStore(connection)
    finally:
        connection.close()
