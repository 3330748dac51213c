"""What is asked of the ledger: synchronous, on the connection, in the worker like every other call.

Lists for people are pages, newest first; lists for accounts are whole, oldest first, and leave simulated rows out
unless asked for them. A cursor is the `seq` of the last row of the page before.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeVar

from attrs import define, field, frozen

from propbot.domain.approvals import Approval
from propbot.domain.events import EventRow, Head
from propbot.domain.instruments import VenueId
from propbot.domain.lots import FillRow, Lot, OrderRow
from propbot.domain.money import parse_amount
from propbot.domain.news import News, Place
from propbot.domain.orders import Fill, Funding
from propbot.domain.status import Incident, IncidentStep
from propbot.ledger import rows

T = TypeVar("T")
Page = tuple[tuple[T, ...], str | None]
"""Items, newest first, and the cursor of the next page (None after the last)."""

PAGE_ROWS_MAX = 1000
SEARCH_SLICE_ROWS = 5000
"""A millisecond or two of the worker where few rows pass."""


@frozen
class EventFilter:
    """Which events; None is "any". Times are inclusive, wall nanoseconds."""

    since_ns: int | None = None
    until_ns: int | None = None
    level: str | None = None
    kind: str | None = None
    venue: str | None = None
    symbol: str | None = None

    def clauses(self) -> list[tuple[str, Any]]:
        all_clauses = [
            ("ts_ns >= ?", self.since_ns),
            ("ts_ns <= ?", self.until_ns),
            ("level = ?", self.level),
            ("kind = ?", self.kind),
            ("venue = ?", self.venue),
            ("symbol = ?", self.symbol),
        ]
        return [(clause, value) for clause, value in all_clauses if value is not None]


def check_limit(limit: int) -> None:
    if not 1 <= limit <= PAGE_ROWS_MAX:
        raise ValueError(f"limit must be 1..{PAGE_ROWS_MAX}, not {limit}")


def parse_cursor(cursor: str | None) -> int | None:
    """ValueError for what no page has given out."""
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise ValueError(f"not a cursor: {cursor!r}")
    return int(cursor)


def page(
    connection: sqlite3.Connection,
    table: str,
    read: Callable[[sqlite3.Row], T],
    limit: int,
    cursor: str | None,
    *,
    key: str = "seq",
) -> Page[T]:
    """Up to `limit` rows older than the cursor; one more is looked at to know whether a next page exists."""
    check_limit(limit)
    last = parse_cursor(cursor)
    where = "" if last is None else f"WHERE {key} < ?"
    sql = f"SELECT * FROM {table} {where} ORDER BY {key} DESC LIMIT ?"  # noqa: S608 (our own names; values bound)
    found = connection.execute(sql, (*(() if last is None else (last,)), limit + 1)).fetchall()
    next_cursor = str(found[limit - 1][key]) if len(found) > limit else None
    return tuple(read(row) for row in found[:limit]), next_cursor


def order(connection: sqlite3.Connection, client_order_id: str) -> OrderRow | None:
    row = connection.execute("SELECT * FROM orders WHERE client_order_id = ?", (client_order_id,)).fetchone()
    return None if row is None else rows.read_order(row)


def order_by_venue_id(connection: sqlite3.Connection, venue: str, symbol: str, order_id: str) -> OrderRow | None:
    row = connection.execute(
        "SELECT * FROM orders WHERE venue = ? AND order_id = ? AND symbol = ? AND simulated = 0",
        (venue, order_id, symbol),
    ).fetchone()
    return None if row is None else rows.read_order(row)


def booked_qty(connection: sqlite3.Connection, client_order_id: str) -> Decimal:
    """The sum of the order's fills that we have."""
    row = connection.execute("SELECT booked_qty FROM orders WHERE client_order_id = ?", (client_order_id,)).fetchone()
    return parse_amount(row["booked_qty"])


def unfinished_orders(connection: sqlite3.Connection, simulated: bool) -> tuple[OrderRow, ...]:
    found = connection.execute(
        "SELECT * FROM orders WHERE state IN ('INTENT', 'SENT', 'WORKING', 'UNKNOWN') AND simulated = ? ORDER BY seq",
        (simulated,),
    )
    return tuple(rows.read_order(row) for row in found.fetchall())


def orders_missing_fills(connection: sqlite3.Connection) -> tuple[OrderRow, ...]:
    """Both sums are written by `amount_text`, so that equal amounts are equal text."""
    found = connection.execute("SELECT * FROM orders WHERE filled_qty != booked_qty AND simulated = 0 ORDER BY seq")
    return tuple(rows.read_order(row) for row in found.fetchall())


def all_fills(connection: sqlite3.Connection, simulated: bool) -> tuple[FillRow, ...]:
    found = connection.execute("SELECT * FROM fills WHERE simulated = ? ORDER BY seq", (simulated,))
    return tuple(rows.read_fill(row) for row in found.fetchall())


def lot_fills(connection: sqlite3.Connection, lot_id: str) -> tuple[FillRow, ...]:
    found = connection.execute("SELECT * FROM fills WHERE lot_id = ? ORDER BY seq", (lot_id,))
    return tuple(rows.read_fill(row) for row in found.fetchall())


def foreign_fills(connection: sqlite3.Connection) -> tuple[Fill, ...]:
    found = connection.execute("SELECT * FROM foreign_fills WHERE adopted = 0 ORDER BY seq")
    return tuple(rows.read_bare_fill(row) for row in found.fetchall())


def all_funding(connection: sqlite3.Connection) -> tuple[Funding, ...]:
    found = connection.execute("SELECT * FROM funding ORDER BY ts_ms, rowid")
    return tuple(rows.read_funding(row) for row in found.fetchall())


def live_lots(connection: sqlite3.Connection, simulated: bool) -> tuple[Lot, ...]:
    found = connection.execute(
        "SELECT * FROM lots WHERE state IN ('OPENING', 'OPEN', 'CLOSING') AND simulated = ? ORDER BY opened_ns, seq",
        (simulated,),
    )
    return tuple(rows.read_lot(row) for row in found.fetchall())


def last_trade_id(connection: sqlite3.Connection, venue: VenueId, symbol: str) -> int | None:
    row = connection.execute(
        "SELECT max(trade_no) AS last FROM ("
        " SELECT trade_no FROM fills WHERE venue = :venue AND symbol = :symbol AND simulated = 0"
        " UNION ALL SELECT trade_no FROM foreign_fills WHERE venue = :venue AND symbol = :symbol)",
        {"venue": venue, "symbol": symbol},
    ).fetchone()
    last: int | None = row["last"]
    return last


def baselines(connection: sqlite3.Connection) -> dict[tuple[VenueId, str], Decimal]:
    found = connection.execute("SELECT * FROM baselines ORDER BY venue, asset").fetchall()
    return {(VenueId(row["venue"]), row["asset"]): parse_amount(row["qty"]) for row in found}


def meta_get(connection: sqlite3.Connection, key: str) -> str | None:
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row["value"])


def has_event(connection: sqlite3.Connection, head: Head) -> bool:
    row = connection.execute("SELECT hash FROM events WHERE id = ?", (head.id,)).fetchone()
    return row is not None and row["hash"] == head.hash


def orders_page(connection: sqlite3.Connection, limit: int, cursor: str | None) -> Page[OrderRow]:
    return page(connection, "orders", rows.read_order, limit, cursor)


def fills_page(connection: sqlite3.Connection, limit: int, cursor: str | None) -> Page[FillRow]:
    return page(connection, "fills", rows.read_fill, limit, cursor)


def lots_page(connection: sqlite3.Connection, limit: int, cursor: str | None) -> Page[Lot]:
    return page(connection, "lots", rows.read_lot, limit, cursor)


@define
class EventSearch:
    """A page of the events that `wanted` lets pass: `take_slice` until it is `done`, then `page`.

    Few may pass of the many that there are, and a whole journal takes seconds in which nothing else is written: hence
    slices. Ids have no gaps (the chain), so that a slice is a range of them. ValueError for a bad limit or cursor.
    """

    limit: int = field(validator=lambda _, __, limit: check_limit(limit))
    cursor: str | None
    wanted: EventFilter
    done: bool = False
    _below: int | None = field(init=False, default=None)
    _found: list[EventRow] = field(init=False, factory=list)

    def __attrs_post_init__(self) -> None:
        self._below = parse_cursor(self.cursor)

    def take_slice(self, connection: sqlite3.Connection) -> None:
        top = _newest_event(connection) + 1 if self._below is None else self._below
        clauses = self.wanted.clauses()
        low = top - SEARCH_SLICE_ROWS if clauses else 0
        chosen = [("id < ?", top), ("id >= ?", low), *clauses]
        where = " AND ".join(clause for clause, _ in chosen)
        sql = f"SELECT * FROM events WHERE {where} ORDER BY id DESC LIMIT ?"  # noqa: S608 (our own names; values bound)
        missing = self.limit + 1 - len(self._found)
        found = connection.execute(sql, (*(value for _, value in chosen), missing)).fetchall()
        self._found += [rows.read_event(row) for row in found]
        self._below = low
        self.done = low <= 1 or len(self._found) > self.limit

    def page(self) -> Page[EventRow]:
        more = len(self._found) > self.limit
        return tuple(self._found[: self.limit]), str(self._found[self.limit - 1].id) if more else None


def newest_place(connection: sqlite3.Connection) -> Place:
    """Everything that is there is known."""
    fills = int(connection.execute("SELECT coalesce(max(seq), 0) FROM fills").fetchone()[0])
    return find_place(connection, _newest_event(connection), fills) or Place()


def find_place(connection: sqlite3.Connection, event_id: int, fill_seq: int) -> Place | None:
    """None where this ledger does not reach so far."""
    newest_fill = int(connection.execute("SELECT coalesce(max(seq), 0) FROM fills").fetchone()[0])
    if fill_seq > newest_fill:
        return None
    if event_id == 0:
        return Place(fill_seq=fill_seq)
    row = connection.execute("SELECT hash, ts_ns FROM events WHERE id = ?", (event_id,)).fetchone()
    return None if row is None else Place(event_id, row["hash"], row["ts_ns"], fill_seq)


def news(connection: sqlite3.Connection, after: Place, limit: int) -> News:
    """Up to `limit` of each, oldest first. Both are asked for in one go: what was committed together is seen together,
    as far as it fits."""
    events = connection.execute("SELECT * FROM events WHERE id > ? ORDER BY id LIMIT ?", (after.event_id, limit))
    fills = connection.execute("SELECT * FROM fills WHERE seq > ? ORDER BY seq LIMIT ?", (after.fill_seq, limit))
    return News(
        tuple(rows.read_event(row) for row in events.fetchall()),
        tuple((row["seq"], rows.read_fill(row)) for row in fills.fetchall()),
    )


def _newest_event(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()[0])


def _steps_of(connection: sqlite3.Connection, incident_id: int) -> list[IncidentStep]:
    found = connection.execute("SELECT * FROM incident_steps WHERE incident_id = ? ORDER BY seq", (incident_id,))
    return [rows.read_step(row) for row in found.fetchall()]


def incidents_page(connection: sqlite3.Connection, limit: int, cursor: str | None) -> Page[Incident]:
    """With their timelines."""
    return page(
        connection, "incidents", lambda row: rows.read_incident(row, _steps_of(connection, row["id"])), limit, cursor,
        key="id",
    )


def last_incidents(connection: sqlite3.Connection, count: int) -> tuple[tuple[Incident, ...], int]:
    """The open ones and the newest, `count` at most, oldest first; and the highest id ever given."""
    found = connection.execute(
        "SELECT * FROM incidents ORDER BY resolved_ns IS NULL DESC, id DESC LIMIT ?", (count,)
    ).fetchall()
    last: int | None = connection.execute("SELECT max(id) FROM incidents").fetchone()[0]
    kept = sorted(found, key=lambda row: int(row["id"]))
    return tuple(rows.read_incident(row, _steps_of(connection, row["id"])) for row in kept), last or 0


def approval(connection: sqlite3.Connection, id: str) -> Approval | None:
    row = connection.execute("SELECT * FROM approvals WHERE id = ?", (id,)).fetchone()
    return None if row is None else rows.read_approval(row)


def open_approvals(connection: sqlite3.Connection) -> tuple[Approval, ...]:
    """Oldest first: those that nobody decided, and those that were approved and never took effect."""
    found = connection.execute(
        "SELECT * FROM approvals WHERE state = 'PENDING' OR (state = 'APPROVED' AND applied_ns IS NULL) ORDER BY seq"
    )
    return tuple(rows.read_approval(row) for row in found.fetchall())


def approvals_page(connection: sqlite3.Connection, limit: int, cursor: str | None) -> Page[Approval]:
    return page(connection, "approvals", rows.read_approval, limit, cursor)
