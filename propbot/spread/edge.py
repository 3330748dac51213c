"""The executable edge of buying on one venue and selling on another, in bps of mid, cost by cost.

    net = walked entry edge − reference − fees of both legs at entry and at exit − slippage allowance
          − expected cost of crossing at exit − funding due before the expected exit

In Decimals it decides. Every book change is screened in floats by `spread.screen`, which is this formula for both
directions at once and without its parts; a test holds the two together.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Generic, TypeVar

from attrs import frozen

N = TypeVar("N", float, Decimal)


@frozen
class Prices(Generic[N]):
    """Average prices for the full size, by walking each book on each side; quote per base."""

    buy_ask: N
    """Buying on the buy venue: entry."""
    buy_bid: N
    """Selling it again there: exit."""
    sell_bid: N
    """Selling on the sell venue: entry."""
    sell_ask: N
    """Buying it back there: exit."""

    @property
    def buy_mid(self) -> N:
        return (self.buy_ask + self.buy_bid) / 2

    @property
    def sell_mid(self) -> N:
        return (self.sell_ask + self.sell_bid) / 2


@frozen
class Costs(Generic[N]):
    """What is known beforehand, in bps. `funding` is positive where we pay."""

    buy_fee: N
    sell_fee: N
    slippage: N
    funding: N


@frozen
class Edge(Generic[N]):
    """Each part in bps of mid; `net` is what decides."""

    entry: N
    reference: N
    fees: N
    slippage: N
    exit_crossing: N
    funding: N
    net: N
    deviation: N
    """Mid to mid, less the reference: what is left in the pair when costs are put aside."""


def compute_edge(prices: Prices[N], reference_bps: N, costs: Costs[N]) -> Edge[N]:
    """The edge in the direction of `prices`; `reference_bps` in the same direction (sell mid over buy mid)."""
    buy_mid, sell_mid = prices.buy_mid, prices.sell_mid
    mid = (buy_mid + sell_mid) / 2
    per_bps = 10_000 / mid
    entry = (prices.sell_bid - prices.buy_ask) * per_bps
    exit_crossing = ((prices.sell_ask - sell_mid) + (buy_mid - prices.buy_bid)) * per_bps
    fees = (costs.buy_fee + costs.sell_fee) * 2
    return Edge(
        entry=entry,
        reference=reference_bps,
        fees=fees,
        slippage=costs.slippage,
        exit_crossing=exit_crossing,
        funding=costs.funding,
        net=entry - reference_bps - fees - costs.slippage - exit_crossing - costs.funding,
        deviation=(sell_mid - buy_mid) * per_bps - reference_bps,
    )
