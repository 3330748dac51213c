"""Trips inside a maintenance window, warns ten minutes before it, clears when it has ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from attrs import define, field

from propbot.domain.status import Health, Metric
from propbot.guards.watch import Finding

AHEAD_S = range(0, 601, 20)
"""Ten minutes, looked at in steps: a window may be shorter than they are."""


class Window(Protocol):
    @property
    def text(self) -> str:
        """As the operator gave it."""
        ...

    def covers(self, wall_s: float) -> bool: ...


@define(eq=False)
class MaintenanceCalendar:
    windows: Sequence[Window]
    wall_s: Callable[[], float]
    """Seconds since 1970, UTC: windows are times of day."""
    id: str = field(default="maintenance_calendar", init=False)
    title: str = field(default="Maintenance calendar", init=False)
    interval_s: float = field(default=0.25, init=False)

    def look(self) -> Finding:
        now = self.wall_s()
        metrics: dict[str, Metric] = {"windows": len(self.windows)}
        inside = [window.text for window in self.windows if window.covers(now)]
        if inside:
            trip = f"maintenance window {', '.join(inside)}"
            return Finding(Health.ERROR, trip, metrics, trip, clear=False)
        soon = [window.text for window in self.windows if any(window.covers(now + ahead) for ahead in AHEAD_S)]
        if soon:
            return Finding(Health.WARN, f"a maintenance window begins within ten minutes: {', '.join(soon)}", metrics)
        return Finding(Health.OK, "outside of every window" if self.windows else "no windows are set", metrics)
