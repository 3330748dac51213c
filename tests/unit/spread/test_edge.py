"""The edge's identity: floats and Decimals agree, each cost lowers it, and both directions are one formula."""

from __future__ import annotations

from decimal import Decimal

import pytest
from attrs import asdict, evolve
from hypothesis import given
from hypothesis import strategies as st

from propbot.spread.edge import Costs, Prices, compute_edge


def _d(low: str, high: str, places: int = 4) -> st.SearchStrategy[Decimal]:
    return st.decimals(Decimal(low), Decimal(high), places=places, allow_nan=False, allow_infinity=False)


@st.composite
def prices(draw: st.DrawFn) -> Prices[Decimal]:
    """Two uncrossed books, at most a few percent apart."""
    mid = draw(_d("1", "200000", 8))
    buy, sell = (mid * (1 + draw(_d("-0.02", "0.02", 6))) for _ in range(2))
    half_buy, half_sell = (mid * draw(_d("0", "0.005", 6)) for _ in range(2))
    return Prices(buy + half_buy, buy - half_buy, sell - half_sell, sell + half_sell)


COSTS = st.builds(Costs, _d("0", "20"), _d("0", "20"), _d("0", "5"), _d("-3", "3"))
REFERENCE = _d("-50", "50")
PLAIN_PRICES = Prices(Decimal("100.02"), Decimal("100.00"), Decimal("100.20"), Decimal("100.22"))
PLAIN_COSTS = Costs(Decimal(2), Decimal("1.7"), Decimal("0.5"), Decimal(0))


def _same(one: Decimal, other: Decimal) -> bool:
    """But for the 28th digit of a quotient."""
    return abs(one - other) < Decimal("1e-15")


def test_a_hand_computed_edge() -> None:
    """Mids 100.01 and 100.21, their middle 100.11: entry 0.18, half spreads 0.01 each."""
    edge = compute_edge(PLAIN_PRICES, Decimal(3), PLAIN_COSTS)
    per_bps = Decimal(10_000) / Decimal("100.11")
    assert edge.entry == Decimal("0.18") * per_bps
    assert edge.exit_crossing == Decimal("0.02") * per_bps
    assert edge.fees == Decimal("7.4")
    assert edge.deviation == Decimal("0.20") * per_bps - 3
    assert _same(edge.net, Decimal("0.16") * per_bps - 3 - Decimal("7.4") - Decimal("0.5"))


@given(prices(), REFERENCE, COSTS)
def test_net_is_the_sum_of_what_is_shown(p: Prices[Decimal], reference: Decimal, costs: Costs[Decimal]) -> None:
    e = compute_edge(p, reference, costs)
    parts = e.entry - e.reference - e.fees - e.slippage - e.exit_crossing - e.funding
    assert _same(e.net, parts)
    assert (e.reference, e.slippage, e.funding) == (reference, costs.slippage, costs.funding)


@given(prices(), REFERENCE, COSTS)
def test_floats_and_decimals_agree(p: Prices[Decimal], reference: Decimal, costs: Costs[Decimal]) -> None:
    exact = compute_edge(p, reference, costs)
    rough = compute_edge(
        Prices(*(float(price) for price in asdict(p).values())),
        float(reference),
        Costs(*(float(cost) for cost in asdict(costs).values())),
    )
    for name, value in asdict(exact).items():
        assert getattr(rough, name) == pytest.approx(float(value), abs=1e-6), name


@pytest.mark.parametrize("cost", ["buy_fee", "sell_fee", "slippage", "funding"])
@given(prices(), REFERENCE, COSTS, _d("0.0001", "10"))
def test_each_cost_lowers_the_net_edge(
    cost: str, p: Prices[Decimal], reference: Decimal, costs: Costs[Decimal], more: Decimal
) -> None:
    dearer = evolve(costs, **{cost: getattr(costs, cost) + more})
    lost = compute_edge(p, reference, costs).net - compute_edge(p, reference, dearer).net
    times = 2 if cost.endswith("fee") else 1  # at entry and at exit
    assert _same(lost, more * times)


@given(prices(), REFERENCE, COSTS, _d("0.000001", "0.01", 6))
def test_each_price_that_gets_worse_lowers_the_entry_or_the_exit(
    p: Prices[Decimal], reference: Decimal, costs: Costs[Decimal], by: Decimal
) -> None:
    """A dearer ask to buy at and a lower bid to sell at cost at entry; spread of either book costs at exit too."""
    before = compute_edge(p, reference, costs)
    for name, sign in (("buy_ask", 1), ("sell_bid", -1), ("buy_bid", -1), ("sell_ask", 1)):
        worse = compute_edge(evolve(p, **{name: getattr(p, name) * (1 + sign * by)}), reference, costs)
        assert worse.net < before.net, name


@given(prices(), REFERENCE, COSTS)
def test_the_two_directions_lose_both_crossings_and_all_costs_together(
    p: Prices[Decimal], reference: Decimal, costs: Costs[Decimal]
) -> None:
    """What one direction gains of the mids' difference and the reference the other loses."""
    back = Prices(p.sell_ask, p.sell_bid, p.buy_bid, p.buy_ask)
    there = compute_edge(p, reference, costs)
    returned = compute_edge(back, -reference, Costs(costs.sell_fee, costs.buy_fee, costs.slippage, costs.funding))
    assert _same(there.deviation, -returned.deviation)
    assert _same(there.exit_crossing, returned.exit_crossing)
    # entry costs both half spreads as the exit does
    assert _same(there.entry + returned.entry, -2 * there.exit_crossing)


@given(prices(), REFERENCE, COSTS)
def test_net_is_deviation_less_every_cost_of_a_round_trip(
    p: Prices[Decimal], reference: Decimal, costs: Costs[Decimal]
) -> None:
    e = compute_edge(p, reference, costs)
    round_trip = 2 * e.exit_crossing + e.fees + e.slippage + e.funding
    assert _same(e.net, e.deviation - round_trip)


def test_a_constant_discount_is_no_profit() -> None:
    mids_apart_bps = compute_edge(PLAIN_PRICES, Decimal(0), PLAIN_COSTS).deviation
    assert compute_edge(PLAIN_PRICES, mids_apart_bps, PLAIN_COSTS).deviation == 0
    assert compute_edge(PLAIN_PRICES, mids_apart_bps, PLAIN_COSTS).net < 0
