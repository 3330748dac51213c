"""The first look never holds back what the closer one would take."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from propbot.spread.edge import Costs, Prices, compute_edge
from propbot.spread.screen import SLACK_BPS, Terms, could_pay

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


@given(books(), st.tuples(SHARE, SHARE, SHARE, SHARE), BPS, BPS, st.floats(0.0, 10.0))
def test_what_pays_for_its_full_size_could_pay_at_the_best_prices(
    best: tuple[float, float, float, float], deeper: tuple[float, ...], reference: float, least: float, fee: float
) -> None:
    bid, ask, other_bid, other_ask = best
    walked = (
        bid * (1 - deeper[0]), ask * (1 + deeper[1]), other_bid * (1 - deeper[2]), other_ask * (1 + deeper[3])
    )  # fmt: skip
    costs = Costs(fee, fee, 0.5, 0.0)
    ahead = compute_edge(Prices(walked[1], walked[0], walked[2], walked[3]), reference, costs)
    back = compute_edge(Prices(walked[3], walked[2], walked[0], walked[1]), -reference, costs)
    needed = least + 4 * fee + 0.5
    terms = Terms(needed - SLACK_BPS, needed - SLACK_BPS, 0.0)
    if max(ahead.net, back.net) >= least:
        assert could_pay(bid, ask, other_bid, other_ask, reference, terms)


@given(books(), BPS, BPS, st.floats(0.0, 10.0))
def test_at_the_best_prices_it_is_the_edge_itself(
    best: tuple[float, float, float, float], reference: float, least: float, fee: float
) -> None:
    """Not only a bound: where the best level is enough, it wakes nobody in vain."""
    bid, ask, other_bid, other_ask = best
    costs = Costs(fee, fee, 0.5, 0.0)
    ahead = compute_edge(Prices(ask, bid, other_bid, other_ask), reference, costs)
    back = compute_edge(Prices(other_ask, other_bid, bid, ask), -reference, costs)
    needed = least + 4 * fee + 0.5
    terms = Terms(needed, needed, 0.0)
    if max(ahead.net, back.net) < least - 1e-6:
        assert not could_pay(bid, ask, other_bid, other_ask, reference, terms)
