"""Watches those who watch: a guard whose task makes no look any more has tripped, as surely as one that found a fault.

The watchdog reads counters and nothing else, so that what a guard hangs on can't hold it up as well. The task that
samples the event loop watches the watchdog in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import trio
from attrs import define, field

EVERY_S = 0.2
SILENT_S_MAX = 0.7
"""With the time between two rounds that is less than a second."""
LOOK_S_MAX = 0.25
"""The longest that a guard may leave between two looks: a late loop must not make it seem to hang."""


class Beating(Protocol):
    @property
    def beats(self) -> int:
        """Grows with each round of its own task."""
        ...


@define(eq=False)
class Watchdog:
    watched: Mapping[str, Beating]
    now_s: Callable[[], float]
    on_silent: Callable[[str, str], None]
    """(name, reason), once for each silence: enters HOLD."""
    on_heard: Callable[[str], None] = lambda name: None
    """It beats again."""
    beats: int = field(default=0, init=False)
    _last_s: float | None = field(default=None, init=False)
    _heard: dict[str, int] = field(factory=dict, init=False)
    _silent_s: dict[str, float] = field(factory=dict, init=False)

    def look(self) -> None:
        """A loop that stood still kept all of them from beating: a round counts for two at most, and whoever has been
        waiting for the processor gets to it before the next one."""
        self.beats += 1
        now = self.now_s()
        passed_s = 0.0 if self._last_s is None else min(now - self._last_s, 2 * EVERY_S)
        self._last_s = now
        for name, each in self.watched.items():
            if self._heard.get(name) != each.beats:
                self._heard[name] = each.beats
                if self._silent_s.get(name, 0.0) >= SILENT_S_MAX:
                    self.on_heard(name)
                self._silent_s[name] = 0.0
                continue
            before_s = self._silent_s[name]
            self._silent_s[name] = before_s + passed_s
            if before_s < SILENT_S_MAX <= self._silent_s[name]:
                self.on_silent(name, f"{name} has not looked for {SILENT_S_MAX:g} s")

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.look()
            await trio.sleep(EVERY_S)
