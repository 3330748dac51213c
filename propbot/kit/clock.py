"""Where time comes from: the machine, Trio's (possibly virtual) clock, or a recording's own time."""

from __future__ import annotations

import time
from collections.abc import Callable

import trio


class SystemClock:
    """The machine's wall clock beside Trio's monotonic one."""

    def wall_ns(self) -> int:
        return time.time_ns()

    def mono_s(self) -> float:
        return trio.current_time()


class VirtualClock:
    """A wall clock that starts at `epoch_ns` and moves with Trio's clock alone; `step_ns` moves it by hand.

    Under `MockClock` it is the whole simulation's time. It also serves a replayed market in real time: there
    `epoch_ns` is the recording's first moment.
    """

    def __init__(self, epoch_ns: int) -> None:
        self._epoch_ns = epoch_ns
        self._start_s: float | None = None

    def wall_ns(self) -> int:
        now = trio.current_time()
        if self._start_s is None:
            self._start_s = now
        return self._epoch_ns + round((now - self._start_s) * 1e9)

    def mono_s(self) -> float:
        return trio.current_time()

    def step_ns(self, by_ns: int) -> None:
        """Step the wall clock, as an operating system does; monotonic time is untouched."""
        self._epoch_ns += by_ns


class OffsetClock:
    """Another clock's wall time plus an offset that may change: a venue whose clock is wrong."""

    def __init__(self, base_wall_ns: Callable[[], int], offset_ns: int = 0) -> None:
        self._base_wall_ns = base_wall_ns
        self.offset_ns = offset_ns

    def wall_ns(self) -> int:
        return self._base_wall_ns() + self.offset_ns

    def mono_s(self) -> float:
        return trio.current_time()
