"""A series: what was measured now and then, in a few steps of time, so that the last minutes are fine and the last day
is still there. In memory only, and bounded: what is older than the coarsest step keeps is gone, as is everything at a
restart. The ledger has what must last.

A point is what was so at that moment, no average: it was measured, and two steps agree where they meet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

from attrs import define, field, frozen

T = TypeVar("T")


@frozen
class Tier:
    """A point every `step_s` seconds, the last `kept_max` of them."""

    step_s: int
    kept_max: int


@frozen
class Point(Generic[T]):
    seq: int
    """Counts from 1 within its step; what pages are cut by, since a wall clock may step back."""
    ts_ns: int
    value: T


@define
class _Kept(Generic[T]):
    points: deque[Point[T]]
    bucket: int | None = None
    """The step's multiple that the newest point was taken in."""
    taken: int = 0


@define(eq=False)
class Series(Generic[T]):
    """Noted by the status task; `due` is asked first, so that nothing is computed in vain."""

    tiers: Sequence[Tier]
    """Finest first."""
    _kept: dict[int, _Kept[T]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._kept = {tier.step_s: _Kept(deque(maxlen=tier.kept_max)) for tier in self.tiers}

    @property
    def steps_s(self) -> tuple[int, ...]:
        return tuple(self._kept)

    @property
    def newest(self) -> Point[T] | None:
        """Of the finest step."""
        points = self._kept[self.tiers[0].step_s].points
        return points[-1] if points else None

    def due(self, now_mono_s: float) -> bool:
        step_s = self.tiers[0].step_s
        return self._kept[step_s].bucket != int(now_mono_s // step_s)

    def note(self, now_mono_s: float, wall_ns: int, value: T) -> None:
        """One point of each step whose time has come."""
        for step_s, kept in self._kept.items():
            bucket = int(now_mono_s // step_s)
            if bucket != kept.bucket:
                kept.bucket = bucket
                kept.taken += 1
                kept.points.append(Point(kept.taken, wall_ns, value))

    def page(
        self, step_s: int, limit: int, before_seq: int | None = None,
        since_ns: int | None = None, until_ns: int | None = None,
    ) -> tuple[Sequence[Point[T]], int | None]:
        """Up to `limit` points older than `before_seq`, newest first, of times that are both inclusive; and the
        `before_seq` of the next page. KeyError for a step that there is not."""
        found: list[Point[T]] = []
        for point in reversed(self._kept[step_s].points):
            if before_seq is not None and point.seq >= before_seq:
                continue
            if (until_ns is not None and point.ts_ns > until_ns) or (since_ns is not None and point.ts_ns < since_ns):
                continue
            if len(found) == limit:
                return found, found[-1].seq
            found.append(point)
        return found, None
