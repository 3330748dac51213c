"""Trips when the event loop is late all the time, or stood still once: whoever decides on old news must not trade."""

from __future__ import annotations

import math
from collections.abc import Callable

from attrs import define, field, frozen

from propbot.domain.status import Health, Metric
from propbot.guards.watch import Finding

WINDOW_S = 10.0
CLEAR_P95_S = 0.1
UNMEASURED_LOOKS_MAX = 5
"""So many looks without a new sample, and the sampler has died or hangs: a second, in looks, since a loop that stood
still lets nobody look either."""


@frozen
class LagSeen:
    """Of the last ten seconds; None while there is no sample in them."""

    p95_s: float | None
    worst_s: float | None
    taken: int
    """Samples since the start."""
    full: bool
    """Whether there have been samples for all of the ten seconds."""


@define(eq=False)
class LoopLagGuard:
    seen: Callable[[], LagSeen]
    now_s: Callable[[], float]
    p95_s_max: float = 0.25
    stall_s_max: float = 2.0
    _taken: int = field(default=-1, init=False)
    _unmeasured_looks: int = field(default=0, init=False)
    _counted_s: float = field(default=-math.inf, init=False)
    """When a look was last counted: whoever asks what blocks a resume makes this guard look, many times at once."""
    id: str = field(default="loop_lag", init=False)
    title: str = field(default="Event loop", init=False)
    interval_s: float = field(default=0.2, init=False)

    def look(self) -> Finding:
        seen = self.seen()
        self._count(seen.taken)
        metrics: dict[str, Metric] = {"p95_ms": _ms(seen.p95_s), "worst_ms": _ms(seen.worst_s)}
        trip = self._trip(seen)
        if trip is not None:
            return Finding(Health.ERROR, trip, metrics, trip, clear=False)
        if seen.p95_s is None:
            return Finding(Health.WARN, "unknown: not measured yet", metrics, clear=False)
        clear = seen.p95_s < CLEAR_P95_S
        health = Health.OK if clear else Health.WARN
        return Finding(health, f"late by {seen.p95_s * 1000:.0f} ms (p95 over {WINDOW_S:g} s)", metrics, clear=clear)

    def _count(self, taken: int) -> None:
        """Looks without a new sample; a loop that stood still makes one such look, not many."""
        if taken != self._taken:
            self._taken, self._unmeasured_looks = taken, 0
        elif self.now_s() - self._counted_s >= self.interval_s:
            self._unmeasured_looks += 1
        else:
            return
        self._counted_s = self.now_s()

    def _trip(self, seen: LagSeen) -> str | None:
        if seen.worst_s is not None and seen.worst_s > self.stall_s_max:
            return f"the event loop stood still for more than {self.stall_s_max:g} s"
        if seen.full and seen.p95_s is not None and seen.p95_s > self.p95_s_max:
            return f"the event loop is late by more than {self.p95_s_max * 1000:g} ms (p95 over {WINDOW_S:g} s)"
        if self._unmeasured_looks >= UNMEASURED_LOOKS_MAX:
            return "the event loop's lateness is not measured any more"
        return None


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)
