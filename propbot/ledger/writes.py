"""What changes the ledger: synchronous, on the connection, each call one whole change inside the group's transaction.

An order's row may move, but only forward (`transitions`); fills, events and funding are only ever added. Each
function takes the wall clock's time from its caller: none of them has a clock. Each change leaves its row in the
journal (`chain`) in the same transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cache

from attrs import evolve, frozen

from propbot.domain.approvals import Approval
from propbot.domain.errors import LedgerError, TransitionRefused
from propbot.domain.events import Detail, EventRow
from propbot.domain.lots import FillRow, Intent, Lot, OrderRow
from propbot.domain.money import amount_text
from propbot.domain.orders import Fill, Funding, OrderState
from propbot.domain.status import Incident
from propbot.ledger import chain, reads, rows
from propbot.ledger.transitions import Step, judge_transition

_UNFILLED = frozenset({OrderState.CANCELED, OrderState.REJECTED, OrderState.NEVER_SENT})


@frozen
class Booked:
    """What a batch of fills brought that the ledger did not have yet; what is repeated is in none of these."""

    new: tuple[FillRow, ...] = ()
    foreign: tuple[Fill, ...] = ()
    """Fills of orders that are not ours: kept apart, each reported once."""
    unplaced: tuple[Fill, ...] = ()
    """Fills without a client id while an order of ours there has no venue id yet: they may be its. Nothing was
    recorded; they are asked for again once that order is acknowledged."""


@frozen
class OrderNews:
    """What is to be recorded of an order; None and empty mean "nothing new"."""

    client_order_id: str
    state: OrderState
    order_id: str = ""
    filled_qty: Decimal | None = None
    reason: str = ""
    correction: bool = False


def insert(connection: sqlite3.Connection, table: str, row: rows.Row, *, or_ignore: bool = False) -> bool:
    """Whether the row is new; with `or_ignore` one that is there already stays as it is."""
    return connection.execute(_insert_sql(table, tuple(row), or_ignore), tuple(row.values())).rowcount == 1


@cache
def _insert_sql(table: str, columns: tuple[str, ...], or_ignore: bool) -> str:
    """Table and column names are this package's own, never input, and few; values are bound."""
    verb = "INSERT OR IGNORE" if or_ignore else "INSERT"
    return f"{verb} INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"


def commit_intent(connection: sqlite3.Connection, intent: Intent, lot: Lot | None) -> None:
    insert(connection, "intents", rows.intent_row(intent))
    for leg in intent.legs:
        insert(connection, "orders", rows.order_row(leg, intent))
    if lot is not None:
        _put_lot(connection, lot)
    chain.note_intent(connection, intent, lot)


def save_lot(connection: sqlite3.Connection, lot: Lot, now_ns: int) -> None:
    _put_lot(connection, lot)
    chain.note_lot(connection, lot, now_ns)


def _put_lot(connection: sqlite3.Connection, lot: Lot) -> None:
    row = rows.lot_row(lot)
    if insert(connection, "lots", row, or_ignore=True):
        return
    settings = ", ".join(f"{name} = :{name}" for name in row if name != "id")
    connection.execute(f"UPDATE lots SET {settings} WHERE id = :id", row)  # noqa: S608 (our own column names)


def record_order(connection: sqlite3.Connection, news: OrderNews, now_ns: int) -> OrderRow:
    """The order as it is afterwards. A venue id that becomes known adopts the fills that waited for it."""
    before = reads.order(connection, news.client_order_id)
    if before is None:
        raise TransitionRefused(f"no order {news.client_order_id} in the ledger")
    step = judge_transition(before.state, news.state, correction=news.correction)
    after = _after_news(before, news, step)
    if step is Step.CORRECT:
        _journal_correction(connection, before, after, now_ns)
    elif after != before:
        chain.note_order(connection, before, after, now_ns)
    if after != before:
        _update_order(connection, evolve(after, updated_ns=now_ns))
    if after.order_id != before.order_id:
        _adopt_fills(connection, after, now_ns)
    return _need_order(connection, news.client_order_id)


def _after_news(before: OrderRow, news: OrderNews, step: Step) -> OrderRow:
    if news.order_id and before.order_id and news.order_id != before.order_id:
        raise TransitionRefused(
            f"order {news.client_order_id} is {before.order_id} at {before.request.venue}, not {news.order_id}"
        )
    filled_qty = before.filled_qty if news.filled_qty is None else news.filled_qty
    if step is not Step.CORRECT:  # old news may say less than we know
        filled_qty = max(filled_qty, before.filled_qty)
    moved = step is not Step.STAY
    return evolve(
        before,
        state=news.state if moved else before.state,
        order_id=before.order_id or news.order_id,
        filled_qty=filled_qty,
        reason=(news.reason or before.reason) if moved else before.reason,
    )


def _update_order(connection: sqlite3.Connection, order: OrderRow) -> None:
    connection.execute(
        "UPDATE orders SET state = ?, order_id = ?, filled_qty = ?, reason = ?, updated_ns = ?"
        " WHERE client_order_id = ?",
        (
            order.state.value,
            order.order_id,
            amount_text(order.filled_qty),
            order.reason,
            order.updated_ns,
            order.request.client_order_id,
        ),
    )


def _journal_correction(connection: sqlite3.Connection, before: OrderRow, after: OrderRow, now_ns: int) -> None:
    details: dict[str, Detail] = {
        "client_order_id": before.request.client_order_id,
        "from": before.state.value,
        "to": after.state.value,
        "filled_qty_from": amount_text(before.filled_qty),
        "filled_qty_to": amount_text(after.filled_qty),
        "reason": after.reason,
    }
    _note_of(connection, after, now_ns, "WARN", "order_correction", "order state corrected", details)


def _note_of(
    connection: sqlite3.Connection, order: OrderRow, now_ns: int, level: str, kind: str, message: str,
    details: Mapping[str, Detail],
) -> None:
    venue, symbol = order.request.venue, order.request.symbol
    chain.note(connection, now_ns, kind, message, details, level=level, venue=venue, symbol=symbol)


def _adopt_fills(connection: sqlite3.Connection, order: OrderRow, now_ns: int) -> list[FillRow]:
    """Fills that were foreign as long as nobody knew the venue's id of this order."""
    key = (order.request.venue, order.request.symbol, order.order_id)
    found = connection.execute(
        "SELECT * FROM foreign_fills WHERE venue = ? AND symbol = ? AND order_id = ? AND adopted = 0 ORDER BY seq", key
    ).fetchall()
    adopted: list[FillRow] = []
    for row in found:
        connection.execute("UPDATE foreign_fills SET adopted = 1 WHERE seq = ?", (row["seq"],))
        current = _need_order(connection, order.request.client_order_id)
        adopted += _book_ours(connection, rows.read_bare_fill(row), current, now_ns)
    return adopted


def book_fills(connection: sqlite3.Connection, fills: Sequence[Fill], now_ns: int) -> Booked:
    new: list[FillRow] = []
    foreign: list[Fill] = []
    unplaced: list[Fill] = []
    for fill in fills:
        order = _owner(connection, fill)
        if order is not None:
            new += _book_ours(connection, fill, order, now_ns)
        elif not fill.client_order_id and _may_be_ours(connection, fill):
            unplaced.append(fill)
        elif insert(connection, "foreign_fills", {**rows.fill_columns(fill, now_ns), "adopted": 0}, or_ignore=True):
            foreign.append(fill)
            chain.note_fill(connection, fill, None, now_ns)
    return Booked(tuple(new), tuple(foreign), tuple(unplaced))


def book_simulated(
    connection: sqlite3.Connection, intent: Intent, fills: Sequence[Fill], lot: Lot, now_ns: int
) -> tuple[FillRow, ...]:
    """A dry run's intent with its whole outcome: every leg FILLED by `fills`, `lot` as it is afterwards."""
    assert intent.simulated, intent.id
    assert lot.simulated, lot.id
    commit_intent(connection, intent, lot)
    booked = book_fills(connection, fills, now_ns)
    for leg in intent.legs:
        record_order(connection, OrderNews(leg.client_order_id, OrderState.FILLED), now_ns)
    assert len(booked.new) == len(fills), intent.id
    return booked.new


def _owner(connection: sqlite3.Connection, fill: Fill) -> OrderRow | None:
    """Our order that this fill belongs to, by its client id, else by the venue's order id.

    A venue that takes one client id twice makes two orders; the fills of the second are not our order's.
    """
    if fill.client_order_id:
        order = reads.order(connection, fill.client_order_id)
        if order is not None and (order.request.venue, order.request.symbol) == (fill.venue, fill.symbol):
            return order if order.order_id in ("", fill.order_id) else None
    return reads.order_by_venue_id(connection, fill.venue, fill.symbol, fill.order_id) if fill.order_id else None


def _may_be_ours(connection: sqlite3.Connection, fill: Fill) -> bool:
    """Whether some order of ours may be the unnamed one: sent perhaps, on this side, its venue id still unknown."""
    found = connection.execute(
        "SELECT 1 FROM orders WHERE state IN ('INTENT', 'SENT', 'UNKNOWN', 'WORKING') AND order_id = ''"
        " AND venue = ? AND symbol = ? AND side = ? AND simulated = 0 LIMIT 1",
        (fill.venue, fill.symbol, fill.side.value),
    )
    return found.fetchone() is not None


def _book_ours(connection: sqlite3.Connection, fill: Fill, order: OrderRow, now_ns: int) -> list[FillRow]:
    """What is new: this fill, and those that it brings along. Its order learns the venue's id from it, and never
    says less than its fills."""
    client_order_id = order.request.client_order_id
    named = evolve(fill, client_order_id=client_order_id)
    row = FillRow(named, order.lot_id, order.request.purpose, now_ns, order.simulated)
    if not insert(connection, "fills", rows.fill_row(row), or_ignore=True):
        return []
    booked_qty = reads.booked_qty(connection, client_order_id) + fill.qty
    connection.execute(
        "UPDATE orders SET booked_qty = ? WHERE client_order_id = ?", (amount_text(booked_qty), client_order_id)
    )
    after = evolve(order, order_id=fill.order_id, filled_qty=max(order.filled_qty, booked_qty), updated_ns=now_ns)
    _update_order(connection, after)
    chain.note_fill(connection, named, row, now_ns)
    if order.state in _UNFILLED:
        _journal_late_fill(connection, after, named, now_ns)
    return [row] if order.order_id else [row, *_adopt_fills(connection, after, now_ns)]


def _journal_late_fill(connection: sqlite3.Connection, order: OrderRow, fill: Fill, now_ns: int) -> None:
    details: dict[str, Detail] = {
        "client_order_id": fill.client_order_id,
        "state": order.state.value,
        "trade_id": fill.trade_id,
        "qty": amount_text(fill.qty),
    }
    _note_of(connection, order, now_ns, "ERROR", "late_fill", "a fill of an order that ended without one", details)


def _need_order(connection: sqlite3.Connection, client_order_id: str) -> OrderRow:
    order = reads.order(connection, client_order_id)
    assert order is not None, client_order_id
    return order


def book_funding(connection: sqlite3.Connection, funding: Funding, now_ns: int) -> bool:
    new = insert(connection, "funding", rows.funding_row(funding, now_ns), or_ignore=True)
    if new:
        chain.note_funding(connection, funding, now_ns)
    return new


def record_baselines(connection: sqlite3.Connection, baselines: Mapping[tuple[str, str], Decimal], now_ns: int) -> None:
    for (venue, asset), qty in baselines.items():
        text = amount_text(qty)
        row = {"venue": venue, "asset": asset, "qty": text, "recorded_ns": now_ns}
        if insert(connection, "baselines", row, or_ignore=True):
            chain.note_baseline(connection, venue, asset, text, now_ns)


def move_baseline(
    connection: sqlite3.Connection, venue: str, asset: str, qty: Decimal, meta: Mapping[str, str], event: EventRow
) -> EventRow:
    """The old value stays in the event, which is written with the change; and so is `meta`."""
    for key, value in meta.items():
        meta_put(connection, key, value)
    row = connection.execute("SELECT qty FROM baselines WHERE venue = ? AND asset = ?", (venue, asset)).fetchone()
    if row is None:
        raise LedgerError(f"{venue} {asset} has no baseline: the account was never met")
    connection.execute(
        "UPDATE baselines SET qty = ?, recorded_ns = ? WHERE venue = ? AND asset = ?",
        (amount_text(qty), event.ts_ns, venue, asset),
    )
    details: dict[str, Detail] = {**event.details, "asset": asset, "old": row["qty"], "new": amount_text(qty)}
    message = f"baseline of {venue} {asset}: {row['qty']} -> {amount_text(qty)}: {event.message}"
    return chain.append_event(connection, evolve(event, message=message, details=details))


def meta_put(connection: sqlite3.Connection, key: str, value: str) -> None:
    connection.execute(
        "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (key, value),
    )


def save_incident(connection: sqlite3.Connection, incident: Incident) -> None:
    """The incident as it is now; of its steps those that are new. What an operator can see happen to it (opened,
    acknowledged, resolved) is journalled with it."""
    row = rows.incident_row(incident)
    if not insert(connection, "incidents", row, or_ignore=True):
        connection.execute(
            "UPDATE incidents SET acknowledged_by = :acknowledged_by, acknowledged_ns = :acknowledged_ns, note = :note,"
            " resolved_ns = :resolved_ns WHERE id = :id",
            row,
        )
    known = {
        (each["ts_ns"], each["step"], each["text"])
        for each in connection.execute(
            "SELECT ts_ns, step, text FROM incident_steps WHERE incident_id = ?", (incident.id,)
        )
    }
    for step in incident.steps:
        if (step.ts_ns, step.step, step.text) in known:
            continue
        insert(connection, "incident_steps", rows.step_row(incident.id, step))
        if step.step in ("opened", "acknowledged", "resolved"):
            chain.note_incident(connection, incident, step)


def propose(connection: sqlite3.Connection, approval: Approval) -> None:
    insert(connection, "approvals", rows.approval_row(approval))
    chain.note_approval(connection, approval, approval.proposed_ns)


def decide(connection: sqlite3.Connection, decided: Approval) -> bool:
    """Compare and set: whether this call is the one that decided. A person decides what is pending, in time and of
    another person; EXPIRED and VOID also end an approval that never took effect."""
    found = connection.execute(
        "UPDATE approvals SET state = :state, decided_by = coalesce(:decided_by, decided_by), decided_ns = :decided_ns,"
        " reason = :reason WHERE id = :id AND (state = 'PENDING' OR (state = 'APPROVED' AND applied_ns IS NULL"
        " AND NOT :by_person)) AND NOT (:by_person AND expires_ns <= :decided_ns)"
        " AND NOT (:state = 'APPROVED' AND proposer = :decided_by)",
        {**rows.approval_row(decided), "by_person": decided.by_a_person},
    )
    if found.rowcount != 1:
        return False
    assert decided.decided_ns is not None
    chain.note_approval(connection, decided, decided.decided_ns)
    return True


def mark_applied(connection: sqlite3.Connection, id: str, now_ns: int) -> None:
    applied = connection.execute(
        "UPDATE approvals SET applied_ns = ? WHERE id = ? AND state = 'APPROVED'", (now_ns, id)
    )
    if applied.rowcount == 1:
        chain.note(connection, now_ns, "approval", f"approval {id} took effect", {"id": id, "state": "APPLIED"})
