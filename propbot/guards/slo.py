"""Warns of every service level that is breached, and trips on those whose breach is a HOLD; clears when they are kept.

The day's drawdown is shown here and is held by `kill_caps`, which wants an acknowledgement: one cause, one guard.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from attrs import define, field

from propbot.domain.status import Health, Metric
from propbot.guards.watch import Finding

HELD_BY_KILL_CAPS = "day_drawdown"


class Reading(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def value(self) -> float | None: ...
    @property
    def threshold(self) -> float: ...
    @property
    def unit(self) -> str: ...
    @property
    def window_s(self) -> float | None: ...
    @property
    def state(self) -> str:
        """OK, BREACH or unknown."""
        ...
    @property
    def severity(self) -> str: ...


@define(eq=False)
class SloGuard:
    readings: Callable[[], Sequence[Reading]]
    id: str = field(default="slo", init=False)
    title: str = field(default="Service levels", init=False)
    interval_s: float = field(default=0.25, init=False)

    def look(self) -> Finding:
        readings = self.readings()
        metrics: dict[str, Metric] = {reading.id: reading.value for reading in readings}
        breached = [reading for reading in readings if reading.state == "BREACH"]
        trips = [each for each in breached if each.severity == "P0" and each.id != HELD_BY_KILL_CAPS]
        if trips:
            trip = "; ".join(_promise(reading) for reading in trips)
            return Finding(Health.ERROR, trip, metrics, trip, clear=False)
        if breached:
            return Finding(Health.WARN, "; ".join(_promise(reading) for reading in breached), metrics)
        known = sum(reading.state == "OK" for reading in readings)
        return Finding(Health.OK, f"{known} of {len(readings)} service levels are measured, and kept", metrics)


def _promise(reading: Reading) -> str:
    """The threshold and not the value: a reason must not change from look to look."""
    over = "today" if reading.window_s is None else f"over {reading.window_s:g} s"
    return f"{reading.id} is beyond {reading.threshold:g} {reading.unit} {over}"
