"""The first look never holds back what the closer one would take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propbot.spread.edge import Costs, Prices, compute_edge
from propbot.spread.screen import SLACK_BPS, compute_edges_bps

PRICE = st.floats(100.0, 200_000.0)
SHARE = st.floats(0.0, 0.002)
BPS = st.floats(-30.0, 30.0)


@st.composite
def books(draw: st.DrawFn) -> tuple[float, float, float, float]:
    """(bid, ask) twice, at most some bps apart."""
    mid = draw(PRICE)
    other = mid * (1 + draw(st.floats(-0.003, 0.003)))
    half, other_half = mid * draw(SHARE), other * draw(SHARE)
    return mid - half, mid + half, other - other_half, other + other_half


@given(books(), BPS, st.floats(0.0, 10.0))
def test_it_is_the_edge_before_costs(best: tuple[float, float, float, float], reference: float, fee: float) -> None:
    bid, ask, other_bid, other_ask = best
    costs = Costs(fee, fee, 0.5, 0.25)
    there, back = compute_edges_bps(bid, ask, other_bid, other_ask, reference)
    ahead = compute_edge(Prices(ask, bid, other_bid, other_ask), reference, costs)
    behind = compute_edge(Prices(other_ask, other_bid, bid, ask), -reference, costs)
    assert there - 4 * fee - 0.75 == pytest.approx(ahead.net, abs=1e-6)
    assert back - 4 * fee - 0.75 == pytest.approx(behind.net, abs=1e-6)


@given(books(), st.tuples(SHARE, SHARE, SHARE, SHARE), BPS)
def test_the_best_prices_promise_no_less_than_deeper_ones(
    best: tuple[float, float, float, float], deeper: tuple[float, ...], reference: float
) -> None:
    """So whatever pays for its full size passes the first look."""
    bid, ask, other_bid, other_ask = best
    walked = (
        bid * (1 - deeper[0]), ask * (1 + deeper[1]), other_bid * (1 - deeper[2]), other_ask * (1 + deeper[3]),
        reference,
    )  # fmt: skip
    promised = compute_edges_bps(bid, ask, other_bid, other_ask, reference)
    for first_look, closer in zip(promised, compute_edges_bps(*walked), strict=True):
        assert first_look >= closer - SLACK_BPS
