"""Whatever is placed, cancelled and moved by the market: the account is the sum of its trades (invariant I8)."""

from __future__ import annotations

from decimal import Decimal as D

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM
from propbot.domain.orders import Side
from propbot.simvenue.instruments import STARTING_BALANCES
from propbot.simvenue.records import Refused, SimTif
from propbot.simvenue.store import open_store

prices = st.integers(599_900, 600_100).map(lambda ticks: f"{ticks // 10}.{ticks % 10}0")
sizes = st.integers(2, 900).map(lambda lots: f"{lots / 1000:.3f}")

steps = st.one_of(
    st.tuples(st.just("place"), st.sampled_from(Side), sizes, prices, st.sampled_from(SimTif), st.booleans()),
    st.tuples(st.just("ticker"), st.integers(599_900, 600_100), sizes, sizes),
    st.tuples(st.just("trade"), prices, sizes, st.booleans()),
    st.tuples(st.just("cancel")),
)


@pytest.mark.parametrize("venue", [BINANCE_UM, BINANCE_SPOT])
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(script=st.lists(steps, max_size=25))
def test_balances_and_position_are_the_sum_of_the_trades(venue, bench_on, script):
    with open_store(None) as store:
        bench = bench_on(venue, store)
        for step in script:
            _act(bench, step)
            for free, locked in bench.engine.balances().values():
                assert free >= 0
                assert locked >= 0
        expected, position = dict(STARTING_BALANCES[venue]), D(0)
        for trade in bench.engine.trades("BTCUSDT", limit=100_000):
            position += trade.side.sign * trade.qty
            expected[trade.fee_asset] -= trade.fee
            if venue == BINANCE_UM:
                expected["USDT"] += trade.realised
            else:
                expected["BTC"] += trade.side.sign * trade.qty
                expected["USDT"] -= trade.side.sign * trade.qty * trade.price
        totals = {asset: free + locked for asset, (free, locked) in bench.engine.balances().items()}
        assert totals == expected
        assert bench.engine.position("BTCUSDT")[0] == (position if venue == BINANCE_UM else 0)
        for order in bench.engine.all_orders("BTCUSDT", limit=100_000):
            assert order.filled_qty == sum((trade.qty for trade in order.trades), D(0)) <= order.request.qty
            assert order.status.open == (order in bench.engine.open_orders())


def _act(bench, step):
    match step:
        case ("place", side, qty, price, tif, reduce_only):
            try:
                bench.place(side, qty, price, tif, reduce_only=reduce_only)
            except Refused:
                pass  # a refusal is one of the outcomes; that it changes nothing is what is checked
        case ("ticker", ticks, bid_qty, ask_qty):
            bid, ask = (f"{t // 10}.{t % 10}0" for t in (ticks, ticks + 1))
            bench.ticker(bid, bid_qty, ask, ask_qty)
        case ("trade", price, qty, buyer_is_maker):
            bench.trade(price, qty, buyer_is_maker=buyer_is_maker)
        case ("cancel",):
            for order in bench.engine.open_orders()[:1]:
                bench.engine.cancel("BTCUSDT", order_id=order.order_id)
