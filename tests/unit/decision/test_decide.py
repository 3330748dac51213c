"""Quantities and prices lie on the filters and cover what they must; exits are taken for their reason."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from propbot.decision.decide import (
    ExitRules,
    compute_leg_qty,
    compute_limit_price,
    compute_lot_qty,
    compute_lot_step,
    compute_smallest_qty,
    decide_exit,
)
from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM, Fees, Instrument, Kind
from propbot.domain.lots import Lot, LotState
from propbot.domain.money import BPS, ZERO
from propbot.domain.orders import Side

UM = Instrument(
    BINANCE_UM, "BTCUSDT", Kind.PERP, "BTC", "USDT", Decimal("0.1"), Decimal("0.001"), Decimal("0.001"),
    Decimal(1000), Decimal(100),
)  # fmt: skip
SPOT = Instrument(
    BINANCE_SPOT, "BTCUSDT", Kind.SPOT, "BTC", "USDT", Decimal("0.01"), Decimal("0.00001"), Decimal("0.00001"),
    Decimal(9000), Decimal(5),
)  # fmt: skip
BOTH = (UM, SPOT)
FEES = Fees(ZERO, Decimal(2))
STEPS = st.sampled_from([Decimal(1).scaleb(-places) for places in range(6)])
AMOUNTS = st.decimals(Decimal("0.00000001"), Decimal(100_000), places=8)
FEE_BPS = st.decimals(0, 100, places=2)


def _on(amount: Decimal, step: Decimal) -> bool:
    return amount % step == 0


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Instrument, Instrument]:
    """Venues with any steps and minimums."""
    made = []
    for plain in BOTH:
        step = draw(STEPS)
        least = step * draw(st.integers(1, 50))
        notional = Decimal(draw(st.integers(0, 200)))
        made.append(evolve(plain, lot_step=step, qty_min=least, notional_min=notional, tick_size=draw(STEPS)))
    return made[0], made[1]


# --- lots


@given(pairs(), AMOUNTS, st.decimals(Decimal("0.01"), Decimal(200_000), places=2))
def test_a_lot_lies_on_the_coarser_step_is_legal_everywhere_and_never_above_what_was_asked(
    instruments: tuple[Instrument, Instrument], notional: Decimal, mid: Decimal
) -> None:
    step = compute_lot_step(instruments)
    assert step == max(instrument.lot_step for instrument in instruments)
    smallest = compute_smallest_qty(instruments, mid)
    qty = compute_lot_qty(notional, mid, instruments)
    for legal in (smallest, qty):
        if legal is not None:
            assert _on(legal, step)
            assert all(i.qty_min <= legal for i in instruments)
            # the bound is a quotient: 28 digits of it
            assert all(legal * mid >= i.notional_min * (1 - Decimal("1e-20")) for i in instruments)
    if qty is not None:
        assert qty * mid <= notional * (1 + Decimal("1e-20"))
        assert (qty + step) * mid > notional * (1 - Decimal("1e-20")), "rounded down by less than a step"
    else:
        assert smallest * mid > notional * (1 - Decimal("1e-20"))


def test_the_smallest_lot_at_61500_is_what_the_warning_says() -> None:
    assert compute_smallest_qty(BOTH, Decimal(61_500)) == Decimal("0.002")
    assert compute_lot_qty(Decimal(122), Decimal(61_500), BOTH) is None
    assert compute_lot_qty(Decimal(123), Decimal(61_500), BOTH) == Decimal("0.002")
    assert compute_lot_qty(Decimal(1000), Decimal(61_500), BOTH) == Decimal("0.016")


# --- legs


@given(STEPS, AMOUNTS, FEE_BPS)
def test_a_spot_buy_covers_the_quantity_after_its_fee_and_is_minimal(
    step: Decimal, qty: Decimal, fee_bps: Decimal
) -> None:
    instrument = evolve(SPOT, lot_step=step)
    wanted = max(qty, step)
    asked = compute_leg_qty(wanted, Side.BUY, instrument, Fees(ZERO, fee_bps), ZERO)
    kept = 1 - fee_bps * BPS
    assert _on(asked, step)
    assert asked * kept >= wanted * (1 - Decimal("1e-20"))
    assert (asked - step) * kept < wanted * (1 + Decimal("1e-20"))


@given(STEPS, AMOUNTS, st.sampled_from([(UM, Side.BUY, "0.5"), (UM, Side.SELL, "0.5"), (SPOT, Side.SELL, "0")]))
def test_all_other_legs_take_the_quantity_rounded_down(
    step: Decimal, qty: Decimal, leg: tuple[Instrument, Side, str]
) -> None:
    instrument = evolve(leg[0], lot_step=step)
    asked = compute_leg_qty(qty, leg[1], instrument, FEES, Decimal(leg[2]))
    assert _on(asked, step)
    assert qty - step < asked <= qty


@pytest.mark.parametrize("spot_opens_with", [Side.BUY, Side.SELL])
@pytest.mark.parametrize("fee_bps", ["0", "1", "2", "7.5", "10"])
@pytest.mark.parametrize("seed", range(3))
def test_dust_stays_below_two_steps_over_a_thousand_lots(spot_opens_with: Side, fee_bps: str, seed: int) -> None:
    """Lots of random size, opened and closed on spot as the pipeline does it: a spot buy pays its fee in base, dust is
    what belongs to no lot, and only two steps of it may be made up for by one order."""
    rng = random.Random(seed)
    fees = Fees(ZERO, Decimal(fee_bps))
    kept = 1 - fees.taker_bps * BPS
    bound = 2 * SPOT.lot_step
    dust = worst = ZERO
    for _ in range(1000):
        qty = UM.lot_step * rng.randint(1, 80)
        usable = max(-bound, min(bound, dust))
        if spot_opens_with is Side.BUY:
            held = compute_leg_qty(qty, Side.BUY, SPOT, fees, usable) * kept
            dust += held - compute_leg_qty(held, Side.SELL, SPOT, fees, usable)
        else:
            owed = compute_leg_qty(qty, Side.SELL, SPOT, fees, ZERO)
            dust += compute_leg_qty(owed, Side.BUY, SPOT, fees, usable) * kept - owed
        worst = max(worst, abs(dust))
    assert worst < bound


def test_dust_is_sold_along() -> None:
    assert compute_leg_qty(Decimal("0.01"), Side.SELL, SPOT, FEES, Decimal("0.00002")) == Decimal("0.01002")


def test_missing_base_is_bought_back() -> None:
    plain = compute_leg_qty(Decimal("0.01"), Side.BUY, SPOT, FEES, ZERO)
    assert compute_leg_qty(Decimal("0.01"), Side.BUY, SPOT, FEES, Decimal("-0.00002")) == plain + Decimal("0.00002")
    assert compute_leg_qty(Decimal("0.01"), Side.BUY, SPOT, FEES, Decimal("0.00002")) == plain - Decimal("0.00002")


# --- prices


@given(STEPS, st.decimals(Decimal("0.01"), Decimal(200_000), places=8), st.decimals(0, 50, places=3))
def test_limit_prices_lie_on_the_tick_and_never_cost_more_than_the_slippage(
    tick: Decimal, worst: Decimal, slippage_bps: Decimal
) -> None:
    instrument = evolve(UM, tick_size=tick)
    buy = compute_limit_price(worst, Side.BUY, instrument, slippage_bps)
    sell = compute_limit_price(worst, Side.SELL, instrument, slippage_bps)
    up, down = worst * (1 + slippage_bps * BPS), worst * (1 - slippage_bps * BPS)
    assert _on(buy, tick)
    assert _on(sell, tick)
    assert up - tick < buy <= up
    assert down <= sell < down + tick
    if _on(worst, tick):  # as a level of a book is: the order still reaches it
        assert sell <= worst <= buy


# --- exits

RULES = ExitRules(exit_edge_bps=ZERO, stop_bps=Decimal(20), age_s_max=300.0)
LOT = Lot(
    "lot-1", "BTCUSDT", LotState.OPEN, BINANCE_SPOT, BINANCE_UM, Decimal("0.01"), 0, Decimal("1.5"), ZERO, Decimal(8)
)


@pytest.mark.parametrize(
    ("deviation", "age_s", "draining", "reason"),
    [
        ("8", 0.0, False, None),
        ("0.01", 299.9, False, None),
        ("0", 0.0, False, "EXIT_EDGE: gap 0.00 bps"),
        ("-3.456", 0.0, False, "EXIT_EDGE: gap -3.46 bps"),
        ("27.99", 0.0, False, None),
        ("28", 0.0, False, "STOP: 20.00 bps against the lot"),
        ("8", 300.0, False, "MAX_AGE: 300 s"),
        ("8", 0.0, True, "DRAIN"),
        ("-5", 900.0, True, "DRAIN"),
    ],
)
def test_a_lot_is_closed_for_one_of_four_reasons(
    deviation: str, age_s: float, draining: bool, reason: str | None
) -> None:
    assert decide_exit(LOT, Decimal(deviation), age_s, RULES, draining=draining) == reason


@given(st.decimals(-100, 100, places=4), st.floats(0, 1000))
def test_a_lot_stays_open_only_between_exit_and_stop_and_below_its_age(deviation: Decimal, age_s: float) -> None:
    stays = decide_exit(LOT, deviation, age_s, RULES, draining=False) is None
    assert stays is (RULES.exit_edge_bps < deviation < LOT.entry_bps + RULES.stop_bps and age_s < RULES.age_s_max)
