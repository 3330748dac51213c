"""What an embedded venue knows: market frames coming in, orders and trades, and what it tells its listeners.

The engine (`engine.py`) is synchronous and knows no protocol; the faces (`faces/`) turn these records into Binance's
bytes. Market sources (`synthetic.py`, `recording.py`) know no engine: they publish frames.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from attrs import define, field, frozen

from propbot.domain.instruments import VenueId
from propbot.domain.market import DepthDiff, DepthSnapshot, TopOfBook
from propbot.domain.money import ZERO
from propbot.domain.orders import Side


@frozen
class MarketFrame:
    """One public stream message. `envelope` is `{"stream":…,"data":…}` as it goes out on combined streams, `data`
    the inner text for raw streams; both go out byte for byte. `event` is what it says of the book, None for trades.
    """

    venue: VenueId
    symbol: str
    stream: str
    envelope: str
    data: str
    event: DepthDiff | TopOfBook | None


class MarketSource(Protocol):
    """Feeds every venue of one host. `snapshots` is the state before the first frame."""

    @property
    def snapshots(self) -> Mapping[tuple[VenueId, str], DepthSnapshot]: ...

    def wall_ns(self) -> int:
        """The venues' wall clock: a recording's own time, else the machine's."""
        ...

    async def run(self, publish: Callable[[MarketFrame], None]) -> None:
        """Publish frames at their time until cancelled; a recording returns at its end."""
        ...


class SimType(StrEnum):
    LIMIT = "LIMIT"
    MARKET = "MARKET"


class SimTif(StrEnum):
    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    POST_ONLY = "POST_ONLY"


class SimStatus(StrEnum):
    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"

    @property
    def open(self) -> bool:
        return self in (SimStatus.NEW, SimStatus.PARTIALLY_FILLED)


class Refusal(StrEnum):
    """Why the engine refuses; each face has its venue's code and text for it."""

    BAD_SYMBOL = "bad symbol"
    TICK = "price not on tick"
    STEP = "quantity not on step"
    QTY = "quantity out of range"
    NOTIONAL = "notional too small"
    PRECISION = "too many digits"
    DUPLICATE_ID = "client order id is open already"
    INSUFFICIENT = "not enough balance or margin"
    REDUCE_ONLY = "reduce-only would increase"
    WOULD_MATCH = "post-only would match"
    FOK_KILLED = "fill-or-kill not fillable"
    MAX_ORDERS = "too many open orders"
    UNKNOWN_ORDER = "no such order"
    NOT_TRADING = "symbol is not trading"
    INJECTED = "injected by a fault"


class Refused(Exception):
    """The engine's no; nothing changed."""

    def __init__(self, refusal: Refusal, detail: str = "") -> None:
        super().__init__(f"{refusal.value} {detail}".strip())
        self.refusal = refusal


@frozen
class NewOrder:
    """An order as it reached the venue. `limit_price` None for MARKET."""

    client_order_id: str
    symbol: str
    side: Side
    type: SimType
    tif: SimTif
    qty: Decimal
    limit_price: Decimal | None
    reduce_only: bool = False


@frozen
class SimTrade:
    """One of the account's executions."""

    trade_id: int
    order_id: int
    client_order_id: str
    symbol: str
    side: Side
    qty: Decimal
    price: Decimal
    fee: Decimal
    fee_asset: str
    maker: bool
    realised: Decimal
    """Perp: profit realised by this trade in quote, before fees. Spot: zero."""
    ts_ms: int


@frozen
class FundingRow:
    """A funding payment of a perp; positive was received."""

    id: int
    symbol: str
    asset: str
    amount: Decimal
    ts_ms: int


@define
class SimOrder:
    """An order that the venue accepted; the engine alone changes it."""

    order_id: int
    request: NewOrder
    status: SimStatus
    created_ms: int
    updated_ms: int
    filled_qty: Decimal = ZERO
    quote_qty: Decimal = ZERO
    """Σ price × quantity of its trades."""
    trades: list[SimTrade] = field(factory=list)


@frozen
class OrderChanged:
    """Execution report: `what` is NEW, TRADE, CANCELED or EXPIRED; `trade` only with TRADE. A copy of the numbers,
    since the order goes on living."""

    order: SimOrder
    what: str
    status: SimStatus
    filled_qty: Decimal
    quote_qty: Decimal
    trade: SimTrade | None
    ts_ms: int


@frozen
class AccountMoved:
    """Balances and position after a trade, a funding payment or an adjustment by the admin port."""

    reason: str
    balances: Mapping[str, Decimal]
    """asset → total, only those that changed."""
    position: tuple[str, Decimal, Decimal] | None
    """(symbol, signed qty, entry price) where it changed; perps only."""
    ts_ms: int


EngineEvent = OrderChanged | AccountMoved
Listener = Callable[[EngineEvent], None]
