"""What all guards share: a look now and then, a component that shows it, and a trip that blocks leaving HOLD until
the guard has cleared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import trio
from attrs import Factory, define, frozen

from propbot.domain.status import Health, Metric


@frozen
class Finding:
    """One look. `trip` is the reason for a HOLD, named so that an operator knows what to do; `clear` says whether a
    trip of earlier is over."""

    health: Health
    summary: str
    metrics: Mapping[str, Metric] = Factory(dict)
    trip: str | None = None
    clear: bool = True


class Guard(Protocol):
    id: str
    title: str
    interval_s: float

    def look(self) -> Finding:
        """Synchronous and quick; only reads."""
        ...


@define(eq=False)
class Watch:
    """One guard and the state of its trip."""

    guard: Guard
    on_trip: Callable[[str, str], None]
    """(reason, source): enters HOLD, synchronously."""
    report: Callable[[str, str, Finding], None]
    """(id, title, finding) for the status page."""
    tripped: str | None = None
    beats: int = 0
    """Looks of its own task: what an operator's question makes it look does not count."""
    silent: str | None = None
    """What the watchdog says of a task that makes no look any more."""

    @property
    def blocker(self) -> str | None:
        """Why HOLD can't be left on this guard's account."""
        if self.silent is not None:
            return f"guard:{self.guard.id} does not work: {self.silent}; restart the service if it stays so"
        return None if self.tripped is None else f"guard:{self.guard.id} has not cleared: {self.tripped}"

    def look(self) -> None:
        finding = self.guard.look()
        if finding.trip is not None:
            if self.tripped is None or finding.trip != self.tripped:
                self.on_trip(finding.trip, f"guard:{self.guard.id}")
            self.tripped = finding.trip
        elif finding.clear:
            self.tripped = None
        shown = finding if self.tripped is None else _as_tripped(finding, self.tripped)
        self.report(self.guard.id, self.guard.title, shown)

    async def run(self) -> None:
        """Until cancelled. A guard that fails ends this call, and its end is a HOLD."""
        while True:
            self.look()
            self.beats += 1
            await trio.sleep(self.guard.interval_s)


def _as_tripped(finding: Finding, reason: str) -> Finding:
    return Finding(Health.ERROR, f"tripped: {reason}", finding.metrics, finding.trip, finding.clear)
