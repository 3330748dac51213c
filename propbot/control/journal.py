"""The journal: what happened, once to the log at once, and once to the ledger's events by a task of its own.

`say` is synchronous and can't fail, so that it may stand next to a HOLD. The queue towards the ledger is bounded:
when the disk hangs the oldest entries are dropped and the number of dropped ones is journalled afterwards.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

import structlog
import trio
from attrs import define, field, frozen

from propbot.domain.errors import LedgerError
from propbot.domain.events import Detail, EventRow
from propbot.kit.level import Level

QUEUE_MAX = 10_000


@frozen
class Entry:
    level: str
    kind: str
    message: str
    venue: str
    symbol: str
    source: str
    details: Mapping[str, Detail]


class EventLedger(Protocol):
    async def append_event(
        self,
        level: str,
        kind: str,
        message: str,
        *,
        venue: str = "",
        symbol: str = "",
        source: str = "",
        details: Mapping[str, Detail] | None = None,
    ) -> EventRow: ...


@define(eq=False)
class Journal:
    clean: Callable[[str], str] = lambda text: text
    """Takes secrets out of a text: a venue may say ours in its own words, and the ledger is kept for ever."""
    lost: int = field(default=0, init=False)
    """Entries of this life that were dropped from the queue, and are in the log alone."""
    _queue: deque[Entry] = field(factory=deque)
    _grew: trio.Event = field(factory=trio.Event)
    _dropped: int = 0
    _said: int = 0
    _settled: Level[int] = field(factory=lambda: Level(0))
    """How many of what was said are written, or given up."""

    def say(
        self,
        level: str,
        kind: str,
        message: str,
        *,
        venue: str = "",
        symbol: str = "",
        source: str = "",
        **details: Detail,
    ) -> None:
        """`level` is INFO, WARN or ERROR."""
        message = self.clean(message)
        details = {name: self.clean(value) if isinstance(value, str) else value for name, value in details.items()}
        log = structlog.get_logger("propbot")
        shown = {name: value for name, value in (("venue", venue), ("source", source)) if value}
        method = {"INFO": log.info, "WARN": log.warning, "ERROR": log.error}[level]
        method(message, kind=kind, **shown, **details)
        if len(self._queue) >= QUEUE_MAX:
            self._queue.popleft()
            self._dropped += 1
            self.lost += 1
            self._settled.value += 1
        self._said += 1
        self._queue.append(Entry(level, kind, message, venue, symbol, source, details))
        self._grew.set()

    @property
    def queued(self) -> int:
        """Entries that wait for the ledger."""
        return len(self._queue)

    @property
    def unwritten(self) -> int:
        """What was said and is not in the ledger yet, the entry that is being written included."""
        return self._said - self._settled.value

    async def wait_written(self) -> None:
        """Until everything that was said so far is in the ledger; the caller sets the deadline."""
        said = self._said
        await self._settled.wait(lambda settled: settled >= said)

    async def run(self, ledger: EventLedger, retry_s: float = 0.5) -> None:
        """Until cancelled: write the entries in order; one that can't be written is tried again."""
        while True:
            while self._queue:
                # out of the queue first: an entry that is being written is not among those that may be dropped
                await self._write_at_last(ledger, self._queue.popleft(), retry_s)
                self._settled.value += 1
                if self._dropped:
                    dropped, self._dropped = self._dropped, 0
                    self.say("WARN", "journal", f"{dropped} entries were lost while the ledger did not answer")
            self._grew = trio.Event()
            await self._grew.wait()

    async def _write_at_last(self, ledger: EventLedger, entry: Entry, retry_s: float) -> None:
        while True:
            try:
                await ledger.append_event(
                    entry.level, entry.kind, entry.message,
                    venue=entry.venue, symbol=entry.symbol, source=entry.source, details=entry.details,
                )
            except LedgerError:
                await trio.sleep(retry_s)
            else:
                return
