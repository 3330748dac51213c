"""Intents and lots: what was decided, and the opened pairs that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum

from attrs import Factory, frozen

from propbot.domain.instruments import VenueId
from propbot.domain.money import ZERO
from propbot.domain.orders import Fill, OrderRequest, OrderState, Purpose


class LotState(StrEnum):
    OPENING = "OPENING"
    OPEN = "OPEN"
    CLOSING = "CLOSING"
    CLOSED = "CLOSED"


@frozen
class Lot:
    """One opened pair: bought `qty` base on one venue, sold it on another. Closed first in, first out."""

    id: str
    pair: str
    state: LotState
    buy_venue: VenueId
    sell_venue: VenueId
    qty: Decimal
    """Base; what was decided at first, what both legs really hold once it is OPEN."""
    opened_ns: int
    edge_bps: Decimal
    """Net edge decided on, in bps of mid."""
    reference_bps: Decimal
    """The reference in this lot's direction when it was opened."""
    entry_bps: Decimal = ZERO
    """Mid deviation from the reference when it was opened, in the lot's direction."""
    closed_ns: int | None = None
    realised: Decimal | None = None
    """Quote, net of fees; None until CLOSED."""
    exit_reason: str = ""
    simulated: bool = False


@frozen
class Intent:
    """What was decided: one or two legs with one purpose, durable before the first byte of either leaves."""

    id: str
    pair: str
    purpose: Purpose
    lot_id: str
    legs: tuple[OrderRequest, ...]
    created_ns: int
    edge_bps: Decimal | None = None
    decided_on: Mapping[VenueId, int] = Factory(dict)
    """Book update ids."""
    simulated: bool = False


@frozen
class OrderRow:
    """An order as the ledger has it."""

    request: OrderRequest
    intent_id: str
    lot_id: str
    state: OrderState
    order_id: str
    """The venue's, empty until it answered."""
    filled_qty: Decimal
    """What the venue reported; the fills themselves are booked one by one."""
    created_ns: int
    updated_ns: int
    reason: str = ""
    simulated: bool = False


@frozen
class FillRow:
    """A fill as the ledger has it, with what it was for."""

    fill: Fill
    lot_id: str
    purpose: Purpose
    booked_ns: int
    simulated: bool = False
