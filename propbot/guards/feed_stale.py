"""Trips when a loop venue's book has been old for long: 60 s, or 3 s while exposure is unhedged.

The venue is unusable at once, long before that; this guard only decides when silence becomes a HOLD.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import define, field

from propbot.domain.status import Health
from propbot.guards.watch import Finding


@define(eq=False)
class FeedStaleGuard:
    book_age_s: Callable[[], Mapping[str, float | None]]
    """Venue → monotonic seconds since the last frame of a synchronised book; None: never, or not synchronised."""
    exposed: Callable[[], bool]
    now_s: Callable[[], float]
    book_age_s_max: float
    patience_s: float = 60.0
    patience_exposed_s: float = 3.0
    clear_after_s: float = 10.0
    _bad_since: dict[str, float] = field(factory=dict, init=False)
    _good_since: float | None = field(default=None, init=False)
    id: str = field(default="feed_stale", init=False)
    title: str = field(default="Book freshness", init=False)
    interval_s: float = field(default=0.2, init=False)

    def look(self) -> Finding:
        now = self.now_s()
        ages = self.book_age_s()
        stale = {venue for venue, age in ages.items() if age is None or age > self.book_age_s_max}
        for venue in ages:
            if venue in stale:
                self._bad_since.setdefault(venue, now)
            else:
                self._bad_since.pop(venue, None)
        if stale:
            self._good_since = None
        elif self._good_since is None:
            self._good_since = now
        patience = self.patience_exposed_s if self.exposed() else self.patience_s
        over = sorted(venue for venue, since in self._bad_since.items() if now - since >= patience)
        metrics = {f"{venue}.book_age_s": None if age is None else round(age, 3) for venue, age in ages.items()}
        if not stale:
            clear = self._good_since is not None and now - self._good_since >= self.clear_after_s
            return Finding(Health.OK, f"all books younger than {self.book_age_s_max:g} s", metrics, None, clear)
        words = ", ".join(
            f"{venue} book " + ("not synchronised" if ages[venue] is None else f"{ages[venue]:.1f} s old")
            for venue in sorted(stale)
        )
        trip = None
        if over:
            # the patience, not the silence so far: a reason that changes would be a new cause every second
            trip = f"no fresh book from {', '.join(over)} for {patience:g} s"
            trip += " with exposure unhedged" if self.exposed() else ""
        return Finding(Health.WARN, words, metrics, trip, clear=False)
