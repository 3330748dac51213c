"""The edge: its identity, exact and in floats, each cost's sign, and the symmetry of its two directions."""

from __future__ import annotations

from decimal import Decimal

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from propbot.spread.edge import Costs, Prices, compute_edge

cents = st.integers(5_000_000, 5_010_000).map(lambda n: Decimal(n) / 100)
bps = st.integers(-500, 500).map(lambda n: Decimal(n) / 100)
cost_bps = st.integers(0, 500).map(lambda n: Decimal(n) / 100)
prices = st.tuples(cents, cents, cents, cents).map(
    lambda p: Prices(max(p[:2]), min(p[:2]), min(p[2:]), max(p[2:]))
)
costs = st.builds(Costs, cost_bps, cost_bps, cost_bps, cost_bps)


@given(prices, bps, costs)
def test_net_is_the_entry_less_every_cost(prices: Prices[Decimal], reference: Decimal, costs: Costs[Decimal]) -> None:
    edge = compute_edge(prices, reference, costs)
    parts = edge.reference + edge.fees + edge.slippage + edge.exit_crossing + edge.funding
    assert abs(edge.entry - parts - edge.net) < Decimal("1e-20")
    # mid to mid, less the crossing at entry and at exit, is the same number by another way
    spreads = (prices.buy_ask - prices.buy_bid + prices.sell_ask - prices.sell_bid) * 10_000
    mid = (prices.buy_mid + prices.sell_mid) / 2
    other = edge.deviation - spreads / mid - edge.fees - edge.slippage - edge.funding
    assert abs(other - edge.net) < Decimal("1e-18")


@given(prices, bps, costs)
def test_floats_agree_with_decimals_within_the_screens_slack(
    prices: Prices[Decimal], reference: Decimal, costs: Costs[Decimal]
) -> None:
    rough = compute_edge(
        Prices(float(prices.buy_ask), float(prices.buy_bid), float(prices.sell_bid), float(prices.sell_ask)),
        float(reference),
        Costs(float(costs.buy_fee), float(costs.sell_fee), float(costs.slippage), float(costs.funding)),
    )
    exact = compute_edge(prices, reference, costs)
    assert rough.net == pytest.approx(float(exact.net), abs=1e-6)
    assert rough.deviation == pytest.approx(float(exact.deviation), abs=1e-6)


@given(prices, bps, costs, st.sampled_from([("buy_fee", 2), ("sell_fee", 2), ("slippage", 1), ("funding", 1)]))
def test_each_cost_lowers_the_net_edge_and_fees_twice(
    prices: Prices[Decimal], reference: Decimal, costs: Costs[Decimal], which: tuple[str, int]
) -> None:
    name, times = which
    dearer = evolve(costs, **{name: getattr(costs, name) + 1})
    change = compute_edge(prices, reference, dearer).net - compute_edge(prices, reference, costs).net
    assert abs(change + times) < Decimal("1e-20")


@given(prices, bps, costs)
def test_the_other_direction_mirrors_the_deviation_and_both_together_never_pay(
    prices: Prices[Decimal], reference: Decimal, costs: Costs[Decimal]
) -> None:
    mirrored = Prices(prices.sell_ask, prices.sell_bid, prices.buy_bid, prices.buy_ask)
    one, other = compute_edge(prices, reference, costs), compute_edge(mirrored, -reference, costs)
    assert abs(one.deviation + other.deviation) < Decimal("1e-20")
    assert one.net + other.net <= Decimal("1e-20")
