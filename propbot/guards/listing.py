"""Trips while a loop venue does not trade our symbol: a halt, a delisting, or a listing that we can't read any more.

The venue is unusable at once and the loop goes on watching; whether to wait or to close elsewhere is for people.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import define, field, frozen

from propbot.domain.status import Health, Metric
from propbot.guards.watch import Finding

TRADING = "TRADING"


@frozen
class ListingSeen:
    status: str | None
    """The venue's own word; None before it was read."""
    age_s: float | None
    """Since it was read, monotonic."""


@define(eq=False)
class ListingGuard:
    seen: Callable[[], Mapping[str, ListingSeen]]
    symbol: str
    id: str = field(default="listing", init=False)
    title: str = field(default="Symbol listing", init=False)
    interval_s: float = field(default=0.25, init=False)

    def look(self) -> Finding:
        venues = self.seen()
        metrics: dict[str, Metric] = {}
        for venue, seen in venues.items():
            metrics[f"{venue}.status"] = seen.status
            metrics[f"{venue}.listing_age_s"] = None if seen.age_s is None else round(seen.age_s)
        halted = {venue: seen.status for venue, seen in venues.items() if seen.status not in (None, TRADING)}
        if halted:
            text = ", ".join(f"{venue} {self.symbol} is {status}" for venue, status in halted.items())
            return Finding(Health.ERROR, text, metrics, f"{text}: no order is sent there", clear=False)
        if any(seen.status is None for seen in venues.values()):
            return Finding(Health.WARN, "unknown: not every venue has told its listing yet", metrics)
        return Finding(Health.OK, f"{self.symbol} is traded at every venue", metrics)
