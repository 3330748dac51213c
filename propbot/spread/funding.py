"""What funding is expected to cost an entry, for `Costs.funding`: where we would pay, never where we would get it."""

from __future__ import annotations

from decimal import Decimal

from attrs import frozen

from propbot.domain.instruments import FundingOutlook
from propbot.domain.money import BPS, ZERO
from propbot.domain.orders import Side

GRACE_S = 300.0
"""How long after its settlement an outlook still counts: by then the next one has been read, or nobody answers."""


@frozen
class FundingDue:
    """A perp's next settlement on our monotonic clock, so that no book change has to ask what time it is there."""

    rate: Decimal
    due_mono_s: float

    @classmethod
    def of(cls, outlook: FundingOutlook, venue_ms: int, mono_s: float) -> FundingDue:
        """`venue_ms` and `mono_s` are now, on the venue's wall clock and on our monotonic one."""
        return cls(outlook.rate, mono_s + (outlook.next_ms - venue_ms) / 1000)

    def outdated(self, mono_s: float) -> bool:
        return mono_s > self.due_mono_s + GRACE_S


def compute_funding_bps(due: FundingDue, side: Side, mono_s: float, holding_s_max: float) -> Decimal:
    """Bps of notional that opening `side` on this perp is expected to pay, zero or more.

    Longs pay a positive rate, shorts a negative one. It counts if the lot may still be held at the next settlement,
    which is the only one that is foreseen. What we would receive counts as nothing: the lot may be closed before, and
    an edge that lives on it would be a bet on the time of its exit.
    """
    if due.due_mono_s > mono_s + holding_s_max:
        return ZERO
    return max(side.sign * due.rate / BPS, ZERO)
