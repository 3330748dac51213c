"""The journal's rows as the ledger writes them: each change leaves one, in its own transaction, so that neither is
there without the other (FAULTS I17).

Kinds: `intent` (with its orders and its lot), `order`, `fill`, `lot`, `funding`, `baseline`, `incident`, `approval`;
corrections and late fills are told as what they are. What their details name is enough to find the row that changed
and to see what it became.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping

from attrs import evolve

from propbot.domain.approvals import Approval, ApprovalState
from propbot.domain.events import GENESIS_HASH, Detail, EventRow, Head, canonical_details, row_hash
from propbot.domain.lots import FillRow, Intent, Lot, OrderRow
from propbot.domain.money import amount_text
from propbot.domain.orders import Fill, Funding
from propbot.domain.status import Incident, IncidentStep

SOURCE = "ledger"
_INSERT = (
    "INSERT INTO events (id, ts_ns, level, kind, message, venue, symbol, source, details, prev_hash, hash)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def read_head(connection: sqlite3.Connection) -> Head | None:
    """The last row; None while there is none."""
    last = connection.execute("SELECT id, hash FROM events ORDER BY id DESC LIMIT 1").fetchone()
    return None if last is None else Head(last[0], last[1])


def append_event(connection: sqlite3.Connection, event: EventRow) -> EventRow:
    """`event` as it stands in the journal: with the next id, chained to the row before."""
    rest = (event.ts_ns, event.level, event.kind, event.message, event.venue, event.symbol, event.source)
    id, prev_hash, hash = _append(connection, rest, event.details)
    return evolve(event, id=id, prev_hash=prev_hash, hash=hash)


def _append(
    connection: sqlite3.Connection, rest: tuple[int, str, str, str, str, str, str], details: Mapping[str, Detail]
) -> tuple[int, str, str]:
    """`rest` are the columns from `ts_ns` to `source`. Id, previous hash and hash of the new row."""
    head = read_head(connection)
    id, prev_hash = (1, GENESIS_HASH) if head is None else (head.id + 1, head.hash)
    text = canonical_details(details)
    hash = row_hash(prev_hash, (id, *rest), text)
    connection.execute(_INSERT, (id, *rest, text, prev_hash, hash))
    return id, prev_hash, hash


def note(
    connection: sqlite3.Connection,
    ts_ns: int,
    kind: str,
    message: str,
    details: Mapping[str, Detail],
    *,
    level: str = "INFO",
    venue: str = "",
    symbol: str = "",
    source: str = SOURCE,
) -> None:
    """One row, in the transaction that is open."""
    _append(connection, (ts_ns, level, kind, message, venue, symbol, source), details)


def note_intent(connection: sqlite3.Connection, intent: Intent, lot: Lot | None) -> None:
    """With its legs and its lot, which are committed with it."""
    legs = [
        f"{leg.client_order_id} {leg.venue} {leg.symbol} {leg.side.value} {amount_text(leg.qty)}"
        f" {'at market' if leg.limit_price is None else amount_text(leg.limit_price)}"
        for leg in intent.legs
    ]
    details: dict[str, Detail] = {
        "intent_id": intent.id, "lot_id": intent.lot_id, "purpose": intent.purpose.value, "legs": json.dumps(legs),
        "simulated": intent.simulated, "lot_state": None if lot is None else lot.state.value,
    }
    note(connection, intent.created_ns, "intent", f"{intent.purpose.value} {intent.lot_id}", details)


def note_order(connection: sqlite3.Connection, before: OrderRow, after: OrderRow, ts_ns: int) -> None:
    request = after.request
    details: dict[str, Detail] = {
        "client_order_id": request.client_order_id, "order_id": after.order_id, "from": before.state.value,
        "to": after.state.value, "filled_qty": amount_text(after.filled_qty), "reason": after.reason,
        "simulated": after.simulated,
    }
    message = f"{request.client_order_id} {before.state.value} -> {after.state.value}"
    note(connection, ts_ns, "order", message, details, venue=request.venue, symbol=request.symbol)


def note_fill(connection: sqlite3.Connection, fill: Fill, row: FillRow | None, ts_ns: int) -> None:
    """`row` is what was booked of ours; None for a foreign fill, which is kept apart."""
    details: dict[str, Detail] = {
        "client_order_id": fill.client_order_id, "order_id": fill.order_id, "trade_id": fill.trade_id,
        "side": fill.side.value, "qty": amount_text(fill.qty), "price": amount_text(fill.price),
        "fee": amount_text(fill.fee), "fee_asset": fill.fee_asset, "lot_id": None if row is None else row.lot_id,
        "simulated": row is not None and row.simulated, "foreign": row is None,
    }
    whose = "foreign " if row is None else "simulated " if row.simulated else ""
    message = f"{whose}{fill.side.value} {amount_text(fill.qty)} at {amount_text(fill.price)}"
    note(connection, ts_ns, "fill", message, details, venue=fill.venue, symbol=fill.symbol)


def note_lot(connection: sqlite3.Connection, lot: Lot, ts_ns: int) -> None:
    details: dict[str, Detail] = {
        "lot_id": lot.id, "state": lot.state.value, "qty": amount_text(lot.qty),
        "realised": None if lot.realised is None else amount_text(lot.realised), "exit_reason": lot.exit_reason,
        "simulated": lot.simulated,
    }
    note(connection, ts_ns, "lot", f"{lot.id} is {lot.state.value}", details, symbol=lot.pair)


def note_funding(connection: sqlite3.Connection, funding: Funding, ts_ns: int) -> None:
    details: dict[str, Detail] = {
        "income_id": funding.income_id, "asset": funding.asset, "amount": amount_text(funding.amount),
        "ts_ms": funding.ts_ms,
    }
    message = f"funding {amount_text(funding.amount)} {funding.asset}"
    note(connection, ts_ns, "funding", message, details, venue=funding.venue, symbol=funding.symbol)


def note_baseline(connection: sqlite3.Connection, venue: str, asset: str, qty: str, ts_ns: int) -> None:
    note(connection, ts_ns, "baseline", f"{asset} {qty} at first", {"asset": asset, "qty": qty}, venue=venue)


def note_incident(connection: sqlite3.Connection, incident: Incident, step: IncidentStep) -> None:
    details: dict[str, Detail] = {"incident": incident.id, "severity": incident.severity, "step": step.step}
    level = "INFO" if step.step == "resolved" else "WARN"
    message = f"incident {incident.id} {step.step}: {step.text}"
    note(connection, step.ts_ns, "incident", message, details, level=level, source=incident.component_id)


def note_approval(connection: sqlite3.Connection, approval: Approval, ts_ns: int) -> None:
    details: dict[str, Detail] = {
        "id": approval.id, "state": str(approval.state), "change": approval.change, "digest": approval.digest,
        "proposer": approval.proposer, "decided_by": approval.decided_by,
    }
    level = "INFO" if approval.state in (ApprovalState.PENDING, ApprovalState.APPROVED) else "WARN"
    source = f"operator:{approval.decided_by or approval.proposer}"
    note(connection, ts_ns, "approval", approval.line(), details, level=level, source=source)
