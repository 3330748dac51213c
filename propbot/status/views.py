"""What is shown of the service at one moment, in domain terms: made by the desk, turned into JSON by the API.

Values that could not be measured are None ("unknown"), never a guess. Amounts are Decimal; whatever is a Decimal here
leaves the API as text, whatever is an int or a float as a number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from attrs import Factory, frozen

from propbot.domain.approvals import Approval
from propbot.domain.instruments import VenueId
from propbot.domain.orders import Balance

Value = str | bool | int | float | Decimal | None
FlagValue = str | bool | int | float | None


@frozen
class PositionView:
    """An open position. On spot: balance less baseline. `qty` is signed, in base."""

    venue: VenueId
    symbol: str
    qty: Decimal
    avg_price: Decimal | None
    mark: Decimal | None
    unrealised_usdt: Decimal | None


@frozen
class DustView:
    """What is left over below the venue's minimum: signed, in `asset`."""

    venue: VenueId
    asset: str
    qty: Decimal


@frozen
class RiskReason:
    """Why something is refused now: `limit` is the bound, `value` what was found."""

    code: str
    message: str
    limit: Value = None
    value: Value = None


@frozen
class RiskView:
    limits: Mapping[str, Value]
    current: Mapping[str, Value]
    """Measured, under the names of `limits`."""
    positions: Sequence[PositionView] = ()
    dust: Sequence[DustView] = ()
    breaches: Sequence[RiskReason] = ()


@frozen
class BookView:
    """A venue's top of book as we have it."""

    bid: Decimal | None
    ask: Decimal | None
    synced: bool
    age_s: float | None
    resyncs: int = 0


@frozen
class VenueView:
    usable: bool
    reason: str
    """Why it is not usable; empty when it is."""
    key_status: str
    """Such as `ok`, `refused`, `unknown`."""
    balances: Sequence[Balance] = ()
    book: BookView | None = None


@frozen
class LoopView:
    """The spread loop. `why_not` says why it opens nothing now; None when nothing stands in its way."""

    pair: str
    venues: Sequence[VenueId]
    running: bool
    why_not: str | None
    measured: Mapping[str, Value] = Factory(dict)
    """Whatever else was measured, unit in the name: `net_edge_bps`, `reference_bps`, `decisions`, `lots_open` …"""


@frozen
class PnlView:
    """Quote currency. `realised` is net of fees and funding, which are shown beside it; all since the ledger began."""

    equity: Decimal | None
    realised: Decimal | None
    unrealised: Decimal | None
    fees: Decimal | None
    funding: Decimal | None
    day: Decimal | None
    """Since midnight UTC."""


@frozen
class SpreadView:
    """The pair at one moment, over the loop venues in their order."""

    pair: str
    mids: Mapping[VenueId, Decimal | None]
    """None where the book can't be trusted."""
    spread_bps: float | None
    """The second venue's mid over the first's; unknown without both."""
    reference_bps: float | None
    """What is usual: the moving basis, in the same direction."""
    net_edge_bps: Mapping[str, float | None]
    """`buy>sell` → what the order's full size would bring after all costs; None where a book can't fill it."""
    why_not: str | None
    """Why nothing was opened then."""


@frozen
class StateView:
    flags: Mapping[str, FlagValue]
    """The settings that decide what the service may do, by their names: PROFILE, MODE, SAFE_MODE, …"""
    risk: RiskView
    risk_reasons: Sequence[RiskReason]
    """Empty while risk blocks nothing: `risk_blocked` is derived from it."""
    loop: LoopView
    pnl: PnlView
    venues: Mapping[VenueId, VenueView]


@frozen
class PreflightView:
    ok: bool | None
    """None: not run yet."""
    reasons: Sequence[str] = ()
    """What failed; where nothing did, what it warned of."""
    when_ns: int | None = None
    """Wall clock; None: not run yet."""


@frozen
class ControlView:
    """The parameters in force, under the names that PATCH takes."""

    order_notional_usdt: Decimal
    min_spread_bps: Decimal
    max_slippage_bps: Decimal
    poll_interval_sec: float
    loop_pair: str
    loop_venues: Sequence[VenueId]
    drain_timeout_sec: float
    preflight: PreflightView = PreflightView(None)
    approvals: Sequence[Approval] = ()
    """Those that wait for another person."""
