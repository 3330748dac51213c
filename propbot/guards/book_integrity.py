"""Trips when a book had to be synchronised again three times within a minute, or differed from the venue's snapshot
twice running; clears after a minute without either.

The first synchronisation of a connection, and one after a reconnect, are none of these: the book does not count them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from attrs import define, field, frozen

from propbot.domain.status import Health, Metric
from propbot.guards.watch import Finding

WINDOW_S = 60.0
MISMATCHES_MAX = 2


@frozen
class BookSeen:
    """A book's counters since the start; each only grows."""

    resyncs: int
    checks: int
    """Comparisons with a snapshot of the venue."""
    mismatches: int
    """Those that showed another book."""
    loss_reason: str = ""


@define
class _Past:
    """What was seen of one book, and when it went wrong."""

    seen: BookSeen = BookSeen(0, 0, 0)
    resyncs_mono_s: deque[float] = field(factory=deque)
    mismatches_running: int = 0
    last_mono_s: float | None = None


@define(eq=False)
class BookIntegrityGuard:
    books: Callable[[], Mapping[str, BookSeen]]
    now_s: Callable[[], float]
    resyncs_max: int = 3
    _past: dict[str, _Past] = field(factory=dict, init=False)
    id: str = field(default="book_integrity", init=False)
    title: str = field(default="Book integrity", init=False)
    interval_s: float = field(default=0.2, init=False)

    def look(self) -> Finding:
        now = self.now_s()
        metrics: dict[str, Metric] = {}
        trips: list[str] = []
        clear = True
        for venue, seen in self.books().items():
            past = self._past.setdefault(venue, _Past())
            self._take(past, seen, now)
            metrics[f"{venue}.resyncs_last_minute"] = len(past.resyncs_mono_s)
            metrics[f"{venue}.snapshot_checks"] = seen.checks
            metrics[f"{venue}.snapshot_mismatches"] = seen.mismatches
            if len(past.resyncs_mono_s) >= self.resyncs_max:
                trips.append(f"{venue}: {self.resyncs_max} resyncs within a minute")
            if past.mismatches_running >= MISMATCHES_MAX:
                trips.append(f"{venue}: the book differed from the venue's snapshot twice running")
            clear = clear and (past.last_mono_s is None or now - past.last_mono_s >= WINDOW_S)
        trip = "; ".join(trips) or None
        health, summary = self._words(trip)
        return Finding(health, summary, metrics, trip, clear)

    def _take(self, past: _Past, seen: BookSeen, now: float) -> None:
        before, past.seen = past.seen, seen
        times = past.resyncs_mono_s
        times.extend([now] * (seen.resyncs - before.resyncs))
        differed = seen.mismatches - before.mismatches
        if seen.resyncs > before.resyncs or differed:
            past.last_mono_s = now
        if differed:
            past.mismatches_running += differed
        elif seen.checks > before.checks:
            past.mismatches_running = 0
        while times and now - times[0] >= WINDOW_S:
            times.popleft()
        if past.mismatches_running >= MISMATCHES_MAX and past.last_mono_s is not None:
            quiet = now - past.last_mono_s >= WINDOW_S
            past.mismatches_running = 0 if quiet else past.mismatches_running

    def _words(self, trip: str | None) -> tuple[Health, str]:
        if trip is not None:
            return Health.ERROR, trip
        lately = [
            f"{venue} {len(past.resyncs_mono_s)} ({past.seen.loss_reason})"
            for venue, past in self._past.items() if past.resyncs_mono_s
        ]
        if lately:
            return Health.WARN, "resyncs in the last minute: " + ", ".join(lately)
        return Health.OK, "no book was lost in the last minute"
