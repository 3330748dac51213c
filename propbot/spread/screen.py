"""The first look at a book change: could anything pay? A few float operations, since hardly any frame gets further.

It may let through what the closer look then drops, and must never hold back what that would take. So it asks what the
best prices alone would pay: walking a book for the full size only ever makes an edge smaller.
"""

from __future__ import annotations

from attrs import frozen

SLACK_BPS = 0.01
"""Floats may be this wrong; a screen lets through what is within it."""


@frozen
class Terms:
    """What an entry must have left before costs, in bps; made from rules, fees and funding, and good for a moment."""

    first_to_second: float
    """Buying on the first venue and selling on the second: costs and threshold together."""
    second_to_first: float
    good_until_mono_s: float


def could_pay(
    bid: float, ask: float, other_bid: float, other_ask: float, reference_bps: float, terms: Terms
) -> bool:
    """Whether an entry in either direction would pay at the best prices. `reference_bps`: second mid over first mid.

    `spread.edge.compute_edge`'s net, but for the costs that `terms` hold; a test keeps both together.
    """
    per_bps = 40_000.0 / (bid + ask + other_bid + other_ask)
    crossing = (ask - bid + other_ask - other_bid) * 0.5
    return (
        (other_bid - ask - crossing) * per_bps - reference_bps >= terms.first_to_second
        or (bid - other_ask - crossing) * per_bps + reference_bps >= terms.second_to_first
    )
