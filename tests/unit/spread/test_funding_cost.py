"""Funding in the edge: a cost where we would pay, nothing where we would receive, and none beyond the holding time."""

from __future__ import annotations

from decimal import Decimal

import pytest

from propbot.domain.instruments import FundingOutlook
from propbot.domain.orders import Side
from propbot.spread.edge import Costs, Prices, compute_edge
from propbot.spread.funding import GRACE_S, FundingDue, compute_funding_bps

DUE = FundingDue(Decimal("0.0001"), 1000.0)
CREDIT = FundingDue(Decimal("-0.00025"), 1000.0)
HELD_S = 300.0


@pytest.mark.parametrize(
    ("due", "side", "bps"), [(DUE, Side.BUY, "1"), (DUE, Side.SELL, "0"), (CREDIT, Side.BUY, "0"),
                             (CREDIT, Side.SELL, "2.5")],
)  # fmt: skip
def test_the_paying_side_counts_it_and_the_receiving_side_counts_nothing(
    due: FundingDue, side: Side, bps: str
) -> None:
    assert compute_funding_bps(due, side, 900.0, HELD_S) == Decimal(bps)


@pytest.mark.parametrize(("now_s", "bps"), [(699.9, "0"), (700.0, "1"), (999.9, "1"), (1000.5, "1")])
def test_it_counts_only_if_the_lot_may_be_held_that_long_and_until_the_next_one_is_known(
    now_s: float, bps: str
) -> None:
    assert compute_funding_bps(DUE, Side.BUY, now_s, HELD_S) == Decimal(bps)


def test_an_outlook_counts_on_our_monotonic_clock_whatever_the_venues_clock_says() -> None:
    due = FundingDue.of(FundingOutlook(Decimal("0.0003"), next_ms=50_000), venue_ms=20_000, mono_s=7.0)
    assert due == FundingDue(Decimal("0.0003"), 37.0)


def test_an_outlook_whose_settlement_has_long_passed_is_outdated() -> None:
    assert not DUE.outdated(1000.0 + GRACE_S)
    assert DUE.outdated(1000.1 + GRACE_S)


def test_the_net_edge_is_less_by_it() -> None:
    prices = Prices(Decimal("100.01"), Decimal("100"), Decimal("100.10"), Decimal("100.11"))
    free, paying = (
        compute_edge(prices, Decimal(0), Costs(Decimal(1), Decimal(1), Decimal(0), Decimal(funding)))
        for funding in ("0", "2.5")
    )
    assert free.net - paying.net == Decimal("2.5")
    assert paying.funding == Decimal("2.5")
