"""Sizes, limit prices and exits: legal, minimal, on the filters, never worse than allowed, and dust that stays dust."""

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
    compute_smallest_qty,
    decide_exit,
)
from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM, Fees, Instrument, Kind
from propbot.domain.lots import Lot, LotState
from propbot.domain.money import BPS, ONE, ZERO
from propbot.domain.orders import Side

UM = Instrument(
    BINANCE_UM, "BTCUSDT", Kind.PERP, "BTC", "USDT", Decimal("0.1"), Decimal("0.001"), Decimal("0.001"), Decimal(1000),
    Decimal(100),
)  # fmt: skip
SPOT = Instrument(
    BINANCE_SPOT, "BTCUSDT", Kind.SPOT, "BTC", "USDT", Decimal("0.01"), Decimal("0.00001"), Decimal("0.00001"),
    Decimal(9000), Decimal(5),
)  # fmt: skip
FEES = Fees(ZERO, Decimal(10))
RULES = ExitRules(exit_edge_bps=Decimal("0.5"), stop_bps=Decimal(20), age_s_max=3600.0)
LOT = Lot(
    "lot-1", "BTCUSDT", LotState.OPEN, BINANCE_SPOT, BINANCE_UM, Decimal("0.01"), 0, Decimal(2), ZERO, Decimal(5)
)

mids = st.integers(1_000_000, 20_000_000).map(lambda n: Decimal(n) / 100)
notionals = st.integers(1, 1_000_000).map(Decimal)
taker_bps = st.integers(0, 1000).map(lambda n: Decimal(n) / 10)


@given(notionals, mids)
def test_a_lot_lies_on_the_coarser_step_is_legal_everywhere_and_never_above_its_notional(
    notional: Decimal, mid: Decimal
) -> None:
    qty = compute_lot_qty(notional, mid, (UM, SPOT))
    smallest = compute_smallest_qty((UM, SPOT), mid)
    if qty is None:
        assert notional < smallest * mid
        return
    assert qty % UM.lot_step == 0
    assert notional - UM.lot_step * mid < qty * mid <= notional
    for instrument in (UM, SPOT):
        assert qty >= instrument.qty_min
        assert qty * mid >= instrument.notional_min


@given(mids)
def test_the_smallest_lot_is_legal_and_one_step_less_is_not(mid: Decimal) -> None:
    smallest = compute_smallest_qty((UM, SPOT), mid)
    assert smallest * mid >= UM.notional_min
    less = smallest - UM.lot_step
    assert less < UM.qty_min or less * mid < UM.notional_min


@given(st.integers(1, 10_000), taker_bps)
def test_a_spot_buy_covers_the_lot_after_its_fee_and_one_step_less_would_not(steps: int, fee: Decimal) -> None:
    qty = steps * UM.lot_step
    ordered = compute_leg_qty(qty, Side.BUY, SPOT, Fees(ZERO, fee), ZERO)
    keeps = ONE - fee * BPS
    assert ordered % SPOT.lot_step == 0
    assert ordered * keeps >= qty
    assert (ordered - SPOT.lot_step) * keeps < qty


@given(st.integers(1, 10_000), st.integers(-30, 30))
def test_other_legs_are_the_quantity_itself_rounded_down_whatever_the_dust(steps: int, dust: int) -> None:
    qty = steps * SPOT.lot_step
    for side, instrument in ((Side.SELL, SPOT), (Side.SELL, UM), (Side.BUY, UM)):
        ordered = compute_leg_qty(qty, side, instrument, FEES, dust * SPOT.lot_step)
        assert qty - instrument.lot_step < ordered <= qty
        assert ordered % instrument.lot_step == 0


@pytest.mark.parametrize("fee_bps", ["1.7", "7.5", "10"])
def test_dust_stays_below_two_steps_over_a_thousand_lots_sold_on_spot_and_bought_back(fee_bps: str) -> None:
    """Against a perp, whole lots; the buying back pays its fee in base, rounded as the venue does."""
    rng, fees, dust = random.Random(7), Fees(ZERO, Decimal(fee_bps)), ZERO
    bound = 2 * SPOT.lot_step
    for _ in range(1000):
        qty = rng.randint(1, 50) * UM.lot_step
        sold = compute_leg_qty(qty, Side.SELL, SPOT, fees, dust)
        bought = compute_leg_qty(sold, Side.BUY, SPOT, fees, max(-bound, min(bound, dust)))
        dust += bought - (bought * fees.taker_bps * BPS).quantize(Decimal("1e-8")) - sold
        assert abs(dust) < bound


@given(mids, st.integers(0, 500), st.sampled_from([UM, SPOT]))
def test_a_limit_price_lies_on_a_tick_and_is_never_worse_than_the_slippage_allows(
    worst: Decimal, tenths: int, instrument: Instrument
) -> None:
    slippage = Decimal(tenths) / 10
    buy = compute_limit_price(worst, Side.BUY, instrument, slippage)
    sell = compute_limit_price(worst, Side.SELL, instrument, slippage)
    for price in (buy, sell):
        assert price % instrument.tick_size == 0
    assert buy <= worst * (ONE + slippage * BPS) < buy + instrument.tick_size
    assert sell >= worst * (ONE - slippage * BPS) > sell - instrument.tick_size


@given(st.integers(100_000, 1_000_000), st.sampled_from(list(Side)))
def test_without_slippage_a_price_on_a_tick_stays_as_it_is(ticks: int, side: Side) -> None:
    worst = ticks * UM.tick_size
    assert compute_limit_price(worst, side, UM, ZERO) == worst


@pytest.mark.parametrize(
    ("deviation", "age_s", "draining", "reason"),
    [
        ("5", 0, False, None),
        ("0.51", 3599, False, None),
        ("0.5", 0, False, "EXIT_EDGE"),
        ("-30", 0, False, "EXIT_EDGE"),
        ("24.99", 0, False, None),
        ("25", 0, False, "STOP"),
        ("5", 3600, False, "MAX_AGE"),
        ("5", 0, True, "DRAIN"),
        ("0", 9999, True, "DRAIN"),
        ("0", 9999, False, "EXIT_EDGE"),
    ],
)
def test_a_lot_is_closed_at_its_exit_edge_its_stop_its_age_or_when_draining(
    deviation: str, age_s: float, draining: bool, reason: str | None
) -> None:
    found = decide_exit(LOT, Decimal(deviation), age_s, RULES, draining=draining)
    assert (found is None) if reason is None else (found or "").startswith(reason)


def test_the_stop_counts_from_the_entry() -> None:
    deep = evolve(LOT, entry_bps=Decimal(15))
    assert decide_exit(deep, Decimal(25), 0, RULES, draining=False) is None
    assert (decide_exit(deep, Decimal(35), 0, RULES, draining=False) or "").startswith("STOP: 20.00 bps")
