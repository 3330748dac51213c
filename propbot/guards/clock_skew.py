"""Warns at 200 ms and trips at 1 s of difference between our wall clock and a venue's; clears below 500 ms for 10 s."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import define, field

from propbot.domain.status import Health
from propbot.guards.watch import Finding


@define(eq=False)
class ClockSkewGuard:
    offset_ms: Callable[[], Mapping[str, float | None]]
    """Venue → venue clock minus ours; None before the first measurement."""
    now_s: Callable[[], float]
    warn_ms: float = 200.0
    trip_ms: float = 1000.0
    clear_ms: float = 500.0
    clear_after_s: float = 10.0
    _good_since: float | None = field(default=None, init=False)
    _tripped_by: tuple[str, ...] = field(default=(), init=False)
    _reason: str = field(default="", init=False)
    id: str = field(default="clock_skew", init=False)
    title: str = field(default="Clock against venues", init=False)
    interval_s: float = field(default=0.25, init=False)

    def look(self) -> Finding:
        offsets = self.offset_ms()
        metrics = {f"{venue}.offset_ms": None if ms is None else round(ms, 1) for venue, ms in offsets.items()}
        known = {venue: ms for venue, ms in offsets.items() if ms is not None}
        worst = max((abs(ms) for ms in known.values()), default=0.0)
        if worst >= self.clear_ms:
            self._good_since = None
        elif self._good_since is None:
            self._good_since = self.now_s()
        clear = self._good_since is not None and self.now_s() - self._good_since >= self.clear_after_s
        far = ", ".join(f"{venue} {ms:+.0f} ms" for venue, ms in known.items() if abs(ms) >= self.warn_ms)
        if clear:
            self._tripped_by = ()
        if worst >= self.trip_ms:
            return Finding(Health.ERROR, far, metrics, self._trip_reason(known, far), clear=False)
        if worst >= self.warn_ms:
            return Finding(Health.WARN, far, metrics, clear=clear)
        if len(known) < len(offsets):
            return Finding(Health.WARN, "unknown: not every venue's clock has been measured", metrics, clear=clear)
        return Finding(Health.OK, f"within {worst:.0f} ms of every venue", metrics, clear=clear)

    def _trip_reason(self, known: Mapping[str, float], far: str) -> str:
        """As it was when this trip began, or each new measurement would be a cause of its own."""
        over = tuple(venue for venue, ms in known.items() if abs(ms) >= self.trip_ms)
        if not set(over) <= set(self._tripped_by):
            self._tripped_by, self._reason = over, f"the clock is off: {far}"
        return self._reason
