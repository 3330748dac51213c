"""Risk limits on intents. A refusal is a value with its reason, never an exception.

Limits bound what is *opened*; orders that reduce (close, hedge, unwind) are bounded by what is held and by the order
cap only, since refusing them would keep risk on.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from attrs import field, frozen

from propbot.domain.instruments import Instrument, Kind, VenueId
from propbot.domain.lots import Intent
from propbot.domain.money import ZERO, amount_text
from propbot.domain.orders import OrderRequest, Purpose, Side

ORDER_CAP_FACTOR = Decimal("1.05")
"""An order may exceed the wanted notional by a spot buy's fee gross-up and its limit price, never by more."""

REDUCING_FACTOR = Decimal("1.02")
"""A spot buy that gives back a short asks for its fee on top."""


@frozen
class Limits:
    """Finite numbers only; quote currency."""

    order_notional: Decimal
    position: Decimal
    total_notional: Decimal
    open_orders: int
    orders_per_min: int | None = None
    """The breaker's limit: opening ends at half of it, so that closes and hedges never meet the breaker."""

    def __attrs_post_init__(self) -> None:
        for value in (self.order_notional, self.position, self.total_notional):
            if not value.is_finite() or value < 0:
                raise ValueError(f"a limit is a finite number: {value}")

    @property
    def order_cap(self) -> Decimal:
        return self.order_notional * ORDER_CAP_FACTOR


@frozen
class Holdings:
    """What is held now, as far as it is known; in-flight quantities counted as if they had filled."""

    positions: Mapping[VenueId, Decimal]
    """Signed base."""
    free: Mapping[tuple[VenueId, str], Decimal]
    """Asset → what can be spent."""
    marks: Mapping[VenueId, Decimal]
    """Mid of each venue, quote per base."""
    open_orders: int
    orders_last_minute: int = 0
    """What left, over all venues."""


@frozen
class Refused:
    """`value` broke `limit`."""

    code: str
    message: str
    limit: str
    value: str


_APPROVED_BY = object()


@frozen
class Approved:
    """An intent that risk has passed; nothing else can build one."""

    intent: Intent
    _by: object = field(repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        if self._by is not _APPROVED_BY:
            raise TypeError("Approved is built by risk only")


def check_intent(
    intent: Intent, instruments: Mapping[VenueId, Instrument], holdings: Holdings, limits: Limits
) -> Approved | Refused:
    for leg in intent.legs:
        refusal = _check_leg(leg, instruments[leg.venue], holdings, limits)
        if refusal is not None:
            return refusal
    if intent.purpose is Purpose.OPEN:
        refusal = _check_totals(intent, holdings, limits)
        if refusal is not None:
            return refusal
    return Approved(intent, _APPROVED_BY)


def _check_leg(leg: OrderRequest, instrument: Instrument, holdings: Holdings, limits: Limits) -> Refused | None:
    where = f"{leg.venue} {leg.symbol}"
    mark = holdings.marks[leg.venue]
    price = leg.limit_price if leg.limit_price is not None else mark
    if not all(amount.is_finite() and amount > 0 for amount in (leg.qty, price, mark)):
        return Refused("not_finite", f"{where}: {leg.side} {leg.qty} at {price}", "finite, > 0", str(leg.qty))
    notional = leg.qty * price
    if not instrument.qty_min <= leg.qty or (instrument.qty_max and leg.qty > instrument.qty_max):
        bounds = f"{amount_text(instrument.qty_min)}..{amount_text(instrument.qty_max)}"
        return Refused("order_qty", f"{where}: quantity out of the venue's bounds", bounds, amount_text(leg.qty))
    if not leg.reduce_only and notional < instrument.notional_min:
        return Refused(
            "order_minimum", f"{where}: below the venue's smallest order",
            amount_text(instrument.notional_min), f"{notional:.2f}",
        )
    if leg.purpose is not Purpose.OPEN:
        return _check_reducing(leg, instrument, holdings, limits, notional)
    if notional > limits.order_cap:
        return Refused("order_notional", f"{where}: order too large", f"{limits.order_cap:.2f}", f"{notional:.2f}")
    after = (holdings.positions.get(leg.venue, ZERO) + leg.side.sign * leg.qty) * mark
    if abs(after) > limits.position:
        text = f"{where}: this order would take the position past its limit"
        return Refused("max_position", text, f"{limits.position:.2f}", f"{abs(after):.2f}")
    return _check_funds(leg, instrument, holdings, notional)


def _check_reducing(
    leg: OrderRequest, instrument: Instrument, holdings: Holdings, limits: Limits, notional: Decimal
) -> Refused | None:
    """What is held may always be closed, however much its price has risen; more than that only within the order cap."""
    held = max(-leg.side.sign * holdings.positions.get(leg.venue, ZERO), ZERO)
    most = held * REDUCING_FACTOR + 2 * instrument.lot_step
    if notional <= limits.order_cap or leg.qty <= most:
        return None
    text = f"{leg.venue} {leg.symbol}: more than is held"
    return Refused("order_notional", text, amount_text(most), amount_text(leg.qty))


def _check_funds(leg: OrderRequest, instrument: Instrument, holdings: Holdings, notional: Decimal) -> Refused | None:
    sells_holdings = instrument.kind is Kind.SPOT and leg.side is Side.SELL
    asset = instrument.base if sells_holdings else instrument.quote
    # a perp needs margin only; a twentieth is the smallest share that any of our venues asks at default leverage
    needed = leg.qty if sells_holdings else notional if instrument.kind is Kind.SPOT else notional / 20
    free = holdings.free.get((leg.venue, asset), ZERO)
    if needed > free:
        return Refused("balance", f"{leg.venue}: not enough {asset}", amount_text(free), amount_text(needed))
    return None


def _check_totals(intent: Intent, holdings: Holdings, limits: Limits) -> Refused | None:
    count = holdings.open_orders + len(intent.legs)
    if count > limits.open_orders:
        text = "this pair would make too many open orders"
        return Refused("max_open_orders", text, str(limits.open_orders), str(count))
    rate = holdings.orders_last_minute + len(intent.legs)
    if limits.orders_per_min is not None and 2 * rate > limits.orders_per_min:
        text = "this pair would make too many orders within a minute"
        return Refused("order_rate", text, str(limits.orders_per_min // 2), str(rate))
    held = sum((abs(qty) * holdings.marks.get(venue, ZERO) for venue, qty in holdings.positions.items()), ZERO)
    total = held + sum((leg.qty * holdings.marks[leg.venue] for leg in intent.legs), ZERO)
    if total > limits.total_notional:
        text = "this pair would take the total notional past its limit"
        return Refused("max_total_notional", text, f"{limits.total_notional:.2f}", f"{total:.2f}")
    return None
