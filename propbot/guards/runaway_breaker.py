"""Trips when orders or cancels leave faster than a sane strategy sends them, or a venue refuses the same way again and
again; clears after one quiet minute.

It is no mere onlooker: `order_refusal` is asked right before the first byte of every order, so that the order after
the last allowed one stays here. Cancels are counted and never stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf

from attrs import define, field, frozen

from propbot.domain.status import Health, Metric
from propbot.guards.watch import Finding

WINDOW_S = 60.0
HEDGES_KEPT_MAX = 6
"""Orders of the minute that opens and closes may not use up: three attempts on each of two venues to equalise legs."""


@frozen
class EqualRejections:
    """How often in a row a venue said the same no, and when it did so last (monotonic)."""

    what: str
    count: int
    last_mono_s: float


@define(eq=False)
class RunawayBreaker:
    orders_last_minute: Callable[[], int]
    """Over all venues, counted where the first byte leaves."""
    cancels_last_minute: Callable[[], int]
    rejections: Callable[[], Mapping[str, EqualRejections]]
    now_s: Callable[[], float]
    orders_max: int = 600
    cancels_max: int = 120
    rejections_max: int = 5
    _stopped: str | None = field(default=None, init=False)
    """Why the last order was kept from leaving, until it has been quiet."""
    _stopped_mono_s: float = field(default=-inf, init=False)
    _forgiven: dict[str, int] = field(factory=dict, init=False)
    """Rejections in a row that an earlier trip was about, and that has cleared."""
    id: str = field(default="runaway_breaker", init=False)
    title: str = field(default="Runaway breaker", init=False)
    interval_s: float = field(default=0.2, init=False)

    @property
    def hedges_kept(self) -> int:
        """A tenth, so that a small limit is not all reserve."""
        return min(HEDGES_KEPT_MAX, self.orders_max // 10)

    def order_refusal(self, legs_unsent: int, *, reduces_imbalance: bool) -> str | None:
        """Why this order may not leave, or None. `legs_unsent` counts it and what belongs to it: a pair goes whole or
        not at all. Remembered, so that the look which follows trips."""
        allowed = self.orders_max if reduces_imbalance else self.orders_max - self.hedges_kept
        if self.orders_last_minute() + legs_unsent <= allowed:
            return None
        self._stopped = f"{self.orders_max} orders within a minute are the most; the next one was stopped"
        self._stopped_mono_s = self.now_s()
        return self._stopped

    def look(self) -> Finding:
        orders, cancels, rejections = self.orders_last_minute(), self.cancels_last_minute(), self.rejections()
        quiet = not (orders or cancels or self._within_window(self._stopped_mono_s, *_last(rejections)))
        if quiet:
            self._stopped = None
            self._forgiven = {venue: run.count for venue, run in rejections.items()}
        metrics: dict[str, Metric] = {"orders_last_minute": orders, "cancels_last_minute": cancels}
        metrics |= {f"{venue}.equal_rejections": run.count for venue, run in rejections.items()}
        trip = self._trip(orders, cancels, rejections)
        if trip is not None:
            return Finding(Health.ERROR, trip, metrics, trip, clear=False)
        summary = f"{orders} orders and {cancels} cancels in the last minute"
        return Finding(Health.OK, summary, metrics, clear=quiet)

    def _trip(self, orders: int, cancels: int, rejections: Mapping[str, EqualRejections]) -> str | None:
        if self._stopped is not None:
            return self._stopped
        if orders > self.orders_max:  # only what did not ask could have left
            return f"more than {self.orders_max} orders within a minute"
        if cancels > self.cancels_max:
            return f"more than {self.cancels_max} cancels within a minute"
        for venue, run in rejections.items():
            forgiven = self._forgiven.get(venue, 0)
            if run.count < forgiven:  # another row has begun
                forgiven = self._forgiven[venue] = 0
            if run.count - forgiven >= self.rejections_max:
                return f"{venue} refused {self.rejections_max} orders in a row the same way: {run.what}"
        return None

    def _within_window(self, *moments_mono_s: float) -> bool:
        return any(self.now_s() - moment < WINDOW_S for moment in moments_mono_s)


def _last(rejections: Mapping[str, EqualRejections]) -> tuple[float, ...]:
    return tuple(run.last_mono_s for run in rejections.values())
