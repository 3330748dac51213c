"""What is traded and where: venues, instruments with their filters, fees, and where a venue answers."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import NewType

from attrs import field, frozen

VenueId = NewType("VenueId", str)
"""As the API spells it: `binance-um`, `binance-spot`."""

BINANCE_UM = VenueId("binance-um")
BINANCE_SPOT = VenueId("binance-spot")


class Kind(StrEnum):
    SPOT = "spot"
    PERP = "perp"


@frozen
class Instrument:
    """One symbol at one venue, with the venue's filters. A zero bound means that the venue sets none."""

    venue: VenueId
    symbol: str
    kind: Kind
    base: str
    quote: str
    tick_size: Decimal
    lot_step: Decimal
    qty_min: Decimal
    qty_max: Decimal
    notional_min: Decimal
    """Quote currency; perps exempt reduce-only orders from it."""
    status: str = "TRADING"

    @property
    def tradable(self) -> bool:
        return self.status == "TRADING"


@frozen
class Fees:
    """What the venue charges, in bps of notional. A spot buy pays it in the base asset that it receives."""

    maker_bps: Decimal
    taker_bps: Decimal


@frozen
class FundingOutlook:
    """What a perp settles next, as far as it is known: longs pay `rate` × notional to shorts (negative: receive)."""

    rate: Decimal
    """For one interval."""
    next_ms: int
    """Venue wall clock."""


@frozen
class Endpoints:
    """Where a venue answers: scheme, host and port, no path (but `ws_api`, which carries its path)."""

    rest: str
    ws: str
    ws_api: str


@frozen
class Credentials:
    """A key pair; neither half shows in a repr, a log or a traceback."""

    api_key: str = field(repr=False)
    api_secret: str = field(repr=False)
