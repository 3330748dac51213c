"""What a venue checks before an order meets the book: filters, funds, reduce-only. Pure; raises `Refused`."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from propbot.domain.instruments import Instrument, Kind
from propbot.domain.money import ZERO
from propbot.domain.orders import Side
from propbot.simvenue.account import Account, PerpPosition
from propbot.simvenue.records import NewOrder, Refusal, Refused, SimOrder

OPEN_ORDERS_MAX = 200
"""MAX_NUM_ORDERS of both venues."""

PERP_LEVERAGE = Decimal(20)
"""What a new USD-M account has; initial margin is notional over it."""


def check_filters(instrument: Instrument, order: NewOrder, reference_price: Decimal | None) -> None:
    """`reference_price` values a MARKET order; None (an empty book) leaves its notional unchecked."""
    if not instrument.tradable:
        raise Refused(Refusal.NOT_TRADING, instrument.status)
    if not order.qty.is_finite() or not instrument.qty_min <= order.qty <= instrument.qty_max:
        raise Refused(Refusal.QTY, f"{order.qty}")
    if order.qty % instrument.lot_step:
        raise Refused(Refusal.STEP, f"{order.qty}")
    price = order.limit_price
    if price is not None and (not price.is_finite() or price <= 0 or price % instrument.tick_size):
        raise Refused(Refusal.TICK, f"{price}")
    exempt = instrument.kind is Kind.PERP and order.reduce_only
    value_price = reference_price if price is None else price
    if not exempt and value_price is not None and order.qty * value_price < instrument.notional_min:
        raise Refused(Refusal.NOTIONAL, f"{order.qty * value_price}")


def locked_by(instrument: Instrument, open_orders: Iterable[SimOrder]) -> dict[str, Decimal]:
    """What the resting spot orders of one symbol keep back, by asset."""
    locked = {instrument.base: ZERO, instrument.quote: ZERO}
    for order in open_orders:
        left = order.request.qty - order.filled_qty
        if order.request.side is Side.SELL:
            locked[instrument.base] += left
        else:
            assert order.request.limit_price is not None, "only limit orders rest"
            locked[instrument.quote] += left * order.request.limit_price
    return locked


def check_spot_funds(
    instrument: Instrument, account: Account, open_orders: Iterable[SimOrder], order: NewOrder, cost: Decimal
) -> None:
    """`cost` is what a buy may spend at most: quantity times limit, or the walked cost of a MARKET order."""
    asset, needed = (instrument.quote, cost) if order.side is Side.BUY else (instrument.base, order.qty)
    free = account.balances.get(asset, ZERO) - locked_by(instrument, open_orders)[asset]
    if needed > free:
        raise Refused(Refusal.INSUFFICIENT, f"{asset}: {needed} needed, {free} free")


def check_perp_margin(
    instrument: Instrument,
    account: Account,
    open_orders: Iterable[SimOrder],
    order: NewOrder,
    mark: Decimal,
    fee_fraction: Decimal,
) -> None:
    """Initial margin of the worst case, all resting orders of a side filled, against wallet plus open profit."""
    position = account.positions.get(instrument.symbol, PerpPosition())
    worst = position.qty + order.side.sign * order.qty
    for other in open_orders:
        if other.request.side is order.side:
            worst += order.side.sign * (other.request.qty - other.filled_qty)
    if abs(worst) <= abs(position.qty):
        return  # closing is always affordable
    price = order.limit_price or mark
    needed = abs(worst) * price / PERP_LEVERAGE + order.qty * price * fee_fraction
    equity = account.balances.get(instrument.quote, ZERO) + position.profit_at(mark)
    if needed > equity:
        raise Refused(Refusal.INSUFFICIENT, f"margin {needed} needed, {equity} there")


def clip_reduce_only(account: Account, order: NewOrder) -> Decimal:
    """How much a reduce-only order may be: at most what is open on the other side. Refused where nothing is."""
    position = account.positions.get(order.symbol, PerpPosition()).qty
    if position * order.side.sign >= 0:
        raise Refused(Refusal.REDUCE_ONLY, f"position is {position}")
    return min(order.qty, abs(position))
