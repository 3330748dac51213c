"""Measurements of the last seconds, and a percentile of them: nearest rank, so that what is shown was measured."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import ceil

KEPT_MAX = 5000


class Window:
    """Values with the monotonic time they were taken at. Asking changes nothing; bounded in time and in count."""

    def __init__(self, span_s: float, kept_max: int = KEPT_MAX) -> None:
        self.span_s = span_s
        self.taken = 0
        """How many there have been since the start."""
        self._values: deque[tuple[float, float]] = deque(maxlen=kept_max)

    def note(self, now_mono_s: float, value: float) -> None:
        self.taken += 1
        self._values.append((now_mono_s, value))
        while self._values[0][0] <= now_mono_s - self.span_s:
            self._values.popleft()

    def values(self, now_mono_s: float, span_s: float | None = None) -> list[float]:
        """Of the last `span_s` (all that is kept by default), oldest first."""
        since = now_mono_s - (self.span_s if span_s is None else span_s)
        return [value for at, value in self._values if at > since]


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that `share` (0 to 1) of `values` do not exceed; None of nothing."""
    if not values:
        return None
    return sorted(values)[max(ceil(share * len(values)), 1) - 1]
