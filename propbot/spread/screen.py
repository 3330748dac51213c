"""The first look at a book change, in floats: could anything pay? Hardly any frame gets further.

It may let through what the decision then drops, and must never hold back what that would take. So the best prices alone
are looked at first: walking a book for the full size only ever makes an edge smaller.
"""

from __future__ import annotations

from attrs import frozen

SLACK_BPS = 0.01
"""Floats may be this wrong; a screen lets through what is within it."""


@frozen
class Terms:
    """Costs and threshold of an entry in bps, per direction; made from rules, fees and funding, good for a moment."""

    there_costs: float
    """Buying on the first venue and selling on the second."""
    back_costs: float
    least: float
    """Net, from which on an entry pays; infinite while nothing may be opened."""
    lot_step: float
    """Base; the coarser of both venues'."""
    good_until_mono_s: float


def compute_edges_bps(
    bid: float, ask: float, other_bid: float, other_ask: float, reference_bps: float
) -> tuple[float, float]:
    """What is left before fees, slippage allowance and funding: of buying on the first venue and selling on the second,
    and of the other way round. `reference_bps`: second mid over first mid. NaN where a price is NaN.

    It is `spread.edge.compute_edge`'s net without the costs that `Terms` hold; a test keeps both together.
    """
    per_bps = 40_000.0 / (bid + ask + other_bid + other_ask)
    crossing = (ask - bid + other_ask - other_bid) * 0.5
    return (
        (other_bid - ask - crossing) * per_bps - reference_bps,
        (bid - other_ask - crossing) * per_bps + reference_bps,
    )
