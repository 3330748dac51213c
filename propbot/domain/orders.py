"""Orders and fills: what we ask, what the venue says, and the life cycle between.

    INTENT ─ send ─► SENT ─► WORKING ─► FILLED | PARTIAL | CANCELED | REJECTED
       │               └──► UNKNOWN ──► any of these, or NEVER_SENT when proved
       └─ gate refuses, or cancelled before the first byte ─► NEVER_SENT

PARTIAL is terminal: an order that ended with some of its quantity filled (an IOC whose remainder expired).
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

from attrs import evolve, frozen

from propbot.domain.instruments import VenueId
from propbot.domain.money import ZERO


class Side(StrEnum):
    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> int:
        """+1 adds base, −1 removes it."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> Side:
        return Side.SELL if self is Side.BUY else Side.BUY


class Purpose(StrEnum):
    OPEN = "open"
    CLOSE = "close"
    HEDGE = "hedge"
    UNWIND = "unwind"


class TimeInForce(StrEnum):
    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    POST_ONLY = "GTX"


class OrderState(StrEnum):
    INTENT = "INTENT"
    SENT = "SENT"
    WORKING = "WORKING"
    UNKNOWN = "UNKNOWN"
    FILLED = "FILLED"
    PARTIAL = "PARTIAL"
    CANCELED = "CANCELED"
    REJECTED = "REJECTED"
    NEVER_SENT = "NEVER_SENT"

    @property
    def terminal(self) -> bool:
        return self in _TERMINAL


_TERMINAL = frozenset(
    {OrderState.FILLED, OrderState.PARTIAL, OrderState.CANCELED, OrderState.REJECTED, OrderState.NEVER_SENT}
)


@frozen
class OrderRequest:
    """One order as we ask for it. `limit_price` None is a MARKET order. Quantities and prices lie on the filters."""

    client_order_id: str
    venue: VenueId
    symbol: str
    side: Side
    purpose: Purpose
    qty: Decimal
    limit_price: Decimal | None
    time_in_force: TimeInForce = TimeInForce.IOC
    reduce_only: bool = False


@frozen
class Fill:
    """One execution, keyed by (venue, symbol, order_id, trade_id). `qty` > 0, in base before fees."""

    venue: VenueId
    symbol: str
    order_id: str
    client_order_id: str
    """Empty where the venue's trade list does not carry it."""
    trade_id: str
    side: Side
    qty: Decimal
    price: Decimal
    fee: Decimal
    """In `fee_asset`; positive is a cost."""
    fee_asset: str
    liquidity: str
    """`taker` or `maker`."""
    ts_ms: int
    """Venue wall clock."""

    @property
    def key(self) -> tuple[str, str, str, str]:
        return (self.venue, self.symbol, self.order_id, self.trade_id)


@frozen
class OrderReport:
    """What the venue says of one order. `state` is WORKING or terminal, never UNKNOWN.

    `fills` holds the executions that came with this very message (spot FULL answers, private stream trades); it may
    be fewer than `filled_qty` says, and the rest is asked for.
    """

    venue: VenueId
    symbol: str
    client_order_id: str
    order_id: str
    side: Side
    state: OrderState
    qty: Decimal
    filled_qty: Decimal
    ts_ms: int
    fills: tuple[Fill, ...] = ()
    reason: str = ""
    limit_price: Decimal | None = None

    @property
    def unfilled_qty(self) -> Decimal:
        return max(self.qty - self.filled_qty, ZERO)

    def with_fills(self, fills: tuple[Fill, ...]) -> OrderReport:
        return evolve(self, fills=fills)


@frozen
class Balance:
    """One asset at a venue. Spot: free and locked. Perp: `free` is the wallet balance, `locked` zero."""

    venue: VenueId
    asset: str
    free: Decimal
    locked: Decimal = ZERO

    @property
    def total(self) -> Decimal:
        return self.free + self.locked


@frozen
class VenuePosition:
    """A perp position, signed base quantity; zero rows are not reported."""

    venue: VenueId
    symbol: str
    qty: Decimal
    entry_price: Decimal


@frozen
class Funding:
    """A funding payment: `amount` in `asset`, positive is received."""

    venue: VenueId
    symbol: str
    asset: str
    amount: Decimal
    income_id: str
    ts_ms: int


@frozen
class PrivateReady:
    """The private stream answers: subscribed, and logged in where the venue asks for it."""


@frozen
class PrivateEnded:
    """The private stream said that it will deliver no more (listen key expired, stream terminated)."""

    reason: str


@frozen
class AccountChanged:
    """Balances or a position moved; asks for nothing by itself (`cw` is not an available balance), recon looks."""

    reason: str


PrivateEvent = OrderReport | PrivateReady | PrivateEnded | AccountChanged | Funding
