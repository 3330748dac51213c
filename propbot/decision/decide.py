"""When to open and when to close a lot, and for how much. Pure rules; the pipeline brings the numbers."""

from __future__ import annotations

from decimal import Decimal

from attrs import frozen

from propbot.domain.instruments import Fees, Instrument, Kind
from propbot.domain.lots import Lot
from propbot.domain.money import BPS, ONE, ceil_to_step, floor_to_step
from propbot.domain.orders import Side


@frozen
class ExitRules:
    """Thresholds in bps of mid, in the lot's direction."""

    exit_edge_bps: Decimal
    stop_bps: Decimal
    age_s_max: float


def decide_exit(lot: Lot, deviation_bps: Decimal, age_s: float, rules: ExitRules, *, draining: bool) -> str | None:
    """Why `lot` should be closed now, or None. `deviation_bps` is what is left in it, mid to mid less reference."""
    if draining:
        return "DRAIN"
    if deviation_bps <= rules.exit_edge_bps:
        return f"EXIT_EDGE: gap {deviation_bps:.2f} bps"
    if deviation_bps - lot.entry_bps >= rules.stop_bps:
        return f"STOP: {deviation_bps - lot.entry_bps:.2f} bps against the lot"
    if age_s >= rules.age_s_max:
        return f"MAX_AGE: {age_s:.0f} s"
    return None


def compute_lot_step(instruments: tuple[Instrument, ...]) -> Decimal:
    """Lots lie on the coarser of the venues' lot steps."""
    return max(instrument.lot_step for instrument in instruments)


def compute_smallest_qty(instruments: tuple[Instrument, ...], mid: Decimal) -> Decimal:
    """The smallest lot that is a legal order on every venue at `mid`."""
    step = compute_lot_step(instruments)
    needed = max(max(i.qty_min, i.notional_min / mid) for i in instruments)
    return ceil_to_step(needed, step)


def compute_lot_qty(order_notional: Decimal, mid: Decimal, instruments: tuple[Instrument, ...]) -> Decimal | None:
    """Base quantity of a lot of `order_notional` quote, rounded down; None if that is below the smallest legal one."""
    qty = floor_to_step(order_notional / mid, compute_lot_step(instruments))
    return qty if qty >= compute_smallest_qty(instruments, mid) else None


def compute_leg_qty(qty: Decimal, side: Side, instrument: Instrument, fees: Fees, dust: Decimal) -> Decimal:
    """What to order so that `qty` base is bought or sold after fees.

    A spot buy pays its fee in what it receives, so it asks for q/(1 − fee), rounded up to the step. Base that is left
    over from earlier rounding (`dust`, negative where base is missing) is made up for on spot, where steps are fine:
    bought less, or sold along. That keeps it within a few steps for ever.
    """
    if instrument.kind is not Kind.SPOT:
        return floor_to_step(qty, instrument.lot_step)
    if side is Side.SELL:
        return floor_to_step(max(qty + dust, Decimal(0)), instrument.lot_step)
    needed = max(qty - dust, instrument.lot_step)
    return ceil_to_step(needed / (ONE - fees.taker_bps * BPS), instrument.lot_step)


def compute_limit_price(worst: Decimal, side: Side, instrument: Instrument, slippage_bps: Decimal) -> Decimal:
    """The worst level walked, made worse by at most `slippage_bps`: buys rounded down, sells up to a tick."""
    if side is Side.BUY:
        return floor_to_step(worst * (ONE + slippage_bps * BPS), instrument.tick_size)
    return ceil_to_step(worst * (ONE - slippage_bps * BPS), instrument.tick_size)
