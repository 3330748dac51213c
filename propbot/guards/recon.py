"""Trips when ledger and venue disagree twice in a row, or could not be compared for a minute; clears when they agree
twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from attrs import define, field, frozen

from propbot.domain.status import Health
from propbot.guards.watch import Finding

AGREED_AGE_S_WARN = 20.0
AGREED_AGE_S_MAX = 60.0
"""A venue that could not be compared for so long may hold anything: fills that never came, a position of somebody."""


@frozen
class ReconSeen:
    """What the reconciler knows of one venue."""

    verdict: str
    differences: Sequence[str]
    detail: str
    differed_in_a_row: int
    agreed_in_a_row: int
    age_s: float | None
    """Since it last agreed, monotonic; None if it never has in this life."""
    foreign_orders: int
    foreign_positions: Sequence[str] = ()
    """What the account holds in symbols that we don't trade."""


@define(eq=False)
class ReconGuard:
    seen: Callable[[], Mapping[str, ReconSeen | None]]
    uptime_s: Callable[[], float] = field(default=lambda: 0.0)
    """Since the start: the age of an agreement that never was."""
    id: str = field(default="recon", init=False)
    title: str = field(default="Reconciliation", init=False)
    interval_s: float = field(default=0.2, init=False)

    def look(self) -> Finding:
        venues = self.seen()
        differing = [text for s in venues.values() if s is not None for text in s.differences if s.differed_in_a_row]
        unproved = sorted(venue for venue, seen in venues.items() if self._age_s(seen) > AGREED_AGE_S_MAX)
        metrics: dict[str, str | int | float | bool | None] = {}
        for venue, seen in venues.items():
            metrics[f"{venue}.verdict"] = None if seen is None else seen.verdict
            metrics[f"{venue}.agreed_age_s"] = None if seen is None or seen.age_s is None else round(seen.age_s, 1)
        trip = None
        if differing and any(s is not None and s.differed_in_a_row >= 2 for s in venues.values()):
            trip = "; ".join(differing)
        elif unproved:
            trip = f"ledger and venue not compared for more than {AGREED_AGE_S_MAX:g} s: {', '.join(unproved)}"
        clear = all(s is not None and s.agreed_in_a_row >= 2 for s in venues.values())
        return Finding(*self._words(venues, differing), metrics, trip, clear)

    def _age_s(self, seen: ReconSeen | None) -> float:
        return self.uptime_s() if seen is None or seen.age_s is None else seen.age_s

    def _words(self, venues: Mapping[str, ReconSeen | None], differing: Sequence[str]) -> tuple[Health, str]:
        if differing:
            return Health.ERROR, "; ".join(differing)
        if any(seen is None for seen in venues.values()):
            return Health.WARN, "unknown: not every venue has been compared yet"
        unreachable = [f"{v}: {s.detail}" for v, s in venues.items() if s is not None and s.verdict == "unreachable"]
        if unreachable:
            return Health.WARN, "; ".join(unreachable)
        ages = {venue: self._age_s(seen) for venue, seen in venues.items()}
        old = [f"{venue} {age:.0f} s" for venue, age in ages.items() if age > AGREED_AGE_S_WARN]
        if old:
            return Health.WARN, "the last agreement is old: " + ", ".join(old)
        foreign = [f"{v} {s.foreign_orders} open orders" for v, s in venues.items() if s and s.foreign_orders]
        foreign += [f"{v} position {text}" for v, s in venues.items() if s for text in s.foreign_positions]
        if foreign:
            return Health.WARN, "foreign, not ours to touch: " + ", ".join(foreign)
        return Health.OK, "ledger equals venue: positions, open orders, fills, balances"
