"""Domain values ⇄ table rows, exactly: one cattrs converter, amounts as text, enums as their value.

A row is a flat mapping of columns; columns that a value does not have are ignored when it is read back.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import cattrs

from propbot.domain.approvals import Approval
from propbot.domain.events import EventRow, canonical_details
from propbot.domain.lots import FillRow, Intent, Lot, OrderRow
from propbot.domain.money import ZERO, amount_text, parse_amount
from propbot.domain.orders import Fill, Funding, OrderRequest, OrderState, Purpose
from propbot.domain.status import Incident, IncidentStep

Row = Mapping[str, Any]

_converter = cattrs.Converter()
_converter.register_unstructure_hook(Decimal, amount_text)
_converter.register_structure_hook(Decimal, lambda text, _: parse_amount(text))

_TRADE_NO_MOST = 2**63 - 1


def trade_number(trade_id: str) -> int | None:
    """The id as a number, for venues that count their trades; None where it is none (or beyond SQLite)."""
    if not (trade_id.isascii() and trade_id.isdigit()):
        return None
    number = int(trade_id)
    return number if number <= _TRADE_NO_MOST else None


def intent_row(intent: Intent) -> dict[str, Any]:
    row: dict[str, Any] = _converter.unstructure(intent)
    del row["legs"]
    row["decided_on"] = json.dumps(row["decided_on"], sort_keys=True, separators=(",", ":"))
    return row


def order_row(request: OrderRequest, intent: Intent) -> dict[str, Any]:
    """A leg as it enters the ledger: an INTENT, of which the venue knows nothing."""
    return {
        **_converter.unstructure(request),
        "intent_id": intent.id,
        "lot_id": intent.lot_id,
        "state": OrderState.INTENT.value,
        "order_id": "",
        "filled_qty": amount_text(ZERO),
        "booked_qty": amount_text(ZERO),
        "created_ns": intent.created_ns,
        "updated_ns": intent.created_ns,
        "reason": "",
        "simulated": intent.simulated,
    }


def read_order(row: sqlite3.Row) -> OrderRow:
    columns = dict(row)
    return _converter.structure({**columns, "request": columns}, OrderRow)


def fill_columns(fill: Fill, booked_ns: int) -> dict[str, Any]:
    """What fills of ours and foreign ones have in common."""
    columns: dict[str, Any] = _converter.unstructure(fill)
    return {**columns, "booked_ns": booked_ns, "trade_no": trade_number(fill.trade_id)}


def fill_row(row: FillRow) -> dict[str, Any]:
    rest = {"lot_id": row.lot_id, "purpose": row.purpose.value, "simulated": row.simulated}
    return {**fill_columns(row.fill, row.booked_ns), **rest}


def read_bare_fill(row: sqlite3.Row) -> Fill:
    return _converter.structure(dict(row), Fill)


def read_fill(row: sqlite3.Row) -> FillRow:
    return FillRow(
        read_bare_fill(row), row["lot_id"], Purpose(row["purpose"]), row["booked_ns"], bool(row["simulated"])
    )


def lot_row(lot: Lot) -> dict[str, Any]:
    row: dict[str, Any] = _converter.unstructure(lot)
    return row


def read_lot(row: sqlite3.Row) -> Lot:
    return _converter.structure(dict(row), Lot)


def event_row(event: EventRow) -> dict[str, Any]:
    row: dict[str, Any] = _converter.unstructure(event)
    return {**row, "details": canonical_details(event.details)}


def read_event(row: sqlite3.Row) -> EventRow:
    columns = dict(row)
    return EventRow(**{**columns, "details": json.loads(columns["details"])})


def funding_row(funding: Funding, booked_ns: int) -> dict[str, Any]:
    return {**_converter.unstructure(funding), "booked_ns": booked_ns}


def read_funding(row: sqlite3.Row) -> Funding:
    return _converter.structure(dict(row), Funding)


def incident_row(incident: Incident) -> dict[str, Any]:
    row: dict[str, Any] = _converter.unstructure(incident)
    del row["steps"]
    return row


def step_row(incident_id: int, step: IncidentStep) -> dict[str, Any]:
    return {
        "incident_id": incident_id, "ts_ns": step.ts_ns, "step": step.step, "text": step.text,
        "details": canonical_details(step.details),
    }


def read_step(row: sqlite3.Row) -> IncidentStep:
    return IncidentStep(row["ts_ns"], row["step"], row["text"], json.loads(row["details"]))


def read_incident(row: sqlite3.Row, steps: Sequence[IncidentStep]) -> Incident:
    return Incident(**{**dict(row), "steps": tuple(steps)})


def approval_row(approval: Approval) -> dict[str, Any]:
    row: dict[str, Any] = _converter.unstructure(approval)
    return row


def read_approval(row: sqlite3.Row) -> Approval:
    return _converter.structure(dict(row), Approval)
