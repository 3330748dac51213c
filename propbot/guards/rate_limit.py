"""Trips when a venue bans us (418), or when more than 95 % of one of its limits is used, by whomever; clears when the
ban is over and the window has let go.

Normal work stops at the pace share long before, so that above the trip share something else spends our limit: another
bot on the same address, or a bug of ours. A 429 alone is a WARN: the venue is left alone until Retry-After.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from attrs import define, field, frozen

from propbot.domain.clock import iso_utc
from propbot.domain.status import Health, Metric
from propbot.guards.watch import Finding

BANNED = 418


@frozen
class RateWindow:
    """One limit of a venue: its name, what is used of it now by the higher of our count and the venue's, the limit."""

    key: str
    used: int
    limit: int

    @property
    def share(self) -> float:
        return self.used / self.limit


@frozen
class RateSeen:
    windows: Sequence[RateWindow]
    """Empty while the venue's limits are unknown."""
    paused_s: float
    """How long the venue is still left alone; 0 when it is not."""
    pause_status: int
    """429 or 418, whatever asked for the last pause."""
    paused_until_ns: int
    """Wall clock."""

    @property
    def banned(self) -> bool:
        return self.paused_s > 0 and self.pause_status == BANNED


@define(eq=False)
class RateLimitGuard:
    seen: Callable[[], Mapping[str, RateSeen]]
    pace_share: float = 0.8
    trip_share: float = 0.95
    id: str = field(default="rate_limit", init=False)
    title: str = field(default="Rate limits", init=False)
    interval_s: float = field(default=0.2, init=False)

    def look(self) -> Finding:
        venues = self.seen()
        metrics = _metrics(venues)
        trips = [reason for venue, seen in venues.items() for reason in self._trips(venue, seen)]
        if trips:
            text = "; ".join(trips)
            return Finding(Health.ERROR, text, metrics, text, clear=False)
        return Finding(*self._words(venues), metrics)

    def _trips(self, venue: str, seen: RateSeen) -> list[str]:
        """The end of the ban and the limit, not what is left and used: those change from look to look."""
        reasons = []
        if seen.banned:
            reasons.append(f"{venue} has banned us (HTTP 418) until {iso_utc(seen.paused_until_ns)[:19]}Z")
        reasons += [
            f"{venue} more than {self.trip_share:.0%} of {window.limit} {window.key} used"
            for window in seen.windows
            if window.share > self.trip_share
        ]
        return reasons

    def _words(self, venues: Mapping[str, RateSeen]) -> tuple[Health, str]:
        paused = [
            f"{venue} paused by HTTP {seen.pause_status} for {seen.paused_s:.0f} s"
            for venue, seen in venues.items()
            if seen.paused_s > 0
        ]
        if paused:
            return Health.WARN, ", ".join(paused)
        windows = [(venue, window) for venue, seen in venues.items() for window in seen.windows]
        full = [f"{v} {w.key} {w.used} of {w.limit}" for v, w in windows if w.share >= self.pace_share]
        if full:
            return Health.WARN, "normal work waits: " + ", ".join(full)
        unknown = [venue for venue, seen in venues.items() if not seen.windows]
        if unknown:
            return Health.WARN, f"unknown: the limits of {', '.join(unknown)} have not been read yet"
        worst = max((window.share for _, window in windows), default=0.0)
        return Health.OK, f"at most {worst:.0%} of any limit used"


def _metrics(venues: Mapping[str, RateSeen]) -> dict[str, Metric]:
    metrics: dict[str, Metric] = {}
    for venue, seen in venues.items():
        metrics[f"{venue}.paused_s"] = round(seen.paused_s, 1)
        for window in seen.windows:
            metrics[f"{venue}.{window.key}"] = f"{window.used}/{window.limit}"
            metrics[f"{venue}.{window.key}_share"] = round(window.share, 3)
    return metrics
