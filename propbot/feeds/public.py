"""One venue's market data: a session that reads frames into the book and sees to it that the book can be trusted.

`run_session` is run, and run again, by `kit.supervise.run_restarting`; it ends only by raising. The reader applies each
frame and calls `on_change` itself: no channel, task or scope is made for a frame. Beside it two tasks watch: one for
silence, one that fetches snapshots when the book needs one and now and then to check it. Feeds know nothing of books
but the protocol below.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Awaitable, Callable
from typing import Protocol

import trio
from attrs import define, field

from propbot.domain.clock import Clock
from propbot.domain.dialect import Dialect
from propbot.domain.errors import ProtocolViolation, VenueError, VenueRetry
from propbot.domain.instruments import Endpoints
from propbot.domain.market import DepthSnapshot, PublicEvent, VenueNotice
from propbot.feeds.session import HEALTHY_S, FeedHealth, end_reason, open_session
from propbot.kit.net import Network
from propbot.kit.supervise import Backoff
from propbot.kit.ws import OpenWebSocket, WebSocket, WebSocketClosed
from propbot.kit.ws_sansio import open_websocket

QUIET_SPELL_S = 10.0
"""A snapshot that was not needed again for so long was a good one: the next is fetched without delay."""


class BookSink(Protocol):
    @property
    def needs_snapshot(self) -> bool: ...
    def apply(self, event: PublicEvent) -> None: ...
    def apply_snapshot(self, snapshot: DepthSnapshot) -> None: ...
    def check_against(self, snapshot: DepthSnapshot) -> bool | None: ...
    def touch(self, now_mono_s: float, venue_lag_ms: float | None = None) -> None: ...
    def disconnected(self) -> None: ...


@define(eq=False)
class PublicFeed:
    """One symbol's stream at one venue."""

    network: Network
    endpoints: Endpoints
    dialect: Dialect
    symbol: str
    book: BookSink
    fetch_snapshot: Callable[[], Awaitable[DepthSnapshot]]
    """Raises VenueError; brings its own deadline."""
    clock: Clock
    rng: random.Random
    on_change: Callable[[], None]
    """Synchronous: an event was applied, or the book was lost."""
    on_problem: Callable[[str], None]
    """Synchronous: one line about something that did not end the session."""
    venue_now_ms: Callable[[], float | None] = lambda: None
    """The venue's wall clock now; None while its offset is unknown."""
    idle_s_max: float = 10.0
    snapshot_check_s: float = 60.0
    open_websocket: OpenWebSocket = open_websocket
    health: FeedHealth = field(factory=FeedHealth)
    _snapshot_wanted: trio.Event = field(factory=trio.Event, init=False)

    async def run_session(self, backoff: Backoff) -> None:
        """Until cancelled, or until the session ends: then VenueError. The book is lost with it."""
        try:
            plan = self.dialect.public_plan(self.symbol)
            async with (
                open_session(
                    self.network, self.open_websocket, self.dialect.venue, self.endpoints, plan, self.health
                ) as ws,
                trio.open_nursery() as nursery,
            ):
                self._snapshot_wanted = trio.Event()
                nursery.start_soon(self._watch_silence, self.clock.mono_s())
                nursery.start_soon(self._run_snapshots)
                await self._read(ws, backoff)
        finally:
            self.health.note_error(end_reason(sys.exception()), self.clock.mono_s())
            self.book.disconnected()
            self.on_change()

    async def _read(self, ws: WebSocket, backoff: Backoff) -> None:
        healthy_at_s: float | None = None
        healthy = False
        while True:
            try:
                frame = await ws.receive()
            except WebSocketClosed as closed:  # in our words before the nursery makes a group of it
                raise VenueRetry(self.dialect.venue, str(closed)) from closed
            if self._take(frame) and not healthy:
                now = self.clock.mono_s()
                healthy_at_s = healthy_at_s or now + HEALTHY_S
                healthy = now >= healthy_at_s
                if healthy:
                    backoff.reset()

    def _take(self, frame: str | bytes) -> bool:
        """Read and apply one frame; whether it carried an event."""
        now = self.clock.mono_s()
        self.health.note_frame(now)
        try:
            event = self.dialect.read_public(frame)
        except ProtocolViolation as error:
            self._problem(str(error))
            self.health.note_violation(error)
            return False
        self.health.violations_in_a_row = 0
        if event is None:
            self.book.touch(now)
            return False
        if isinstance(event, VenueNotice):
            self._notice(event)
            return False
        self.book.touch(now, self._lag_ms(event.event_ms))
        self.book.apply(event)
        if self.book.needs_snapshot:
            self._snapshot_wanted.set()
        self.on_change()
        return True

    def _lag_ms(self, event_ms: int | None) -> float | None:
        if event_ms is None:
            return None
        venue_now_ms = self.venue_now_ms()
        return None if venue_now_ms is None else venue_now_ms - event_ms

    def _notice(self, notice: VenueNotice) -> None:
        if notice.fatal:
            raise VenueRetry(self.dialect.venue, notice.text)
        self._problem(f"{self.dialect.venue}: {notice.text}")

    async def _watch_silence(self, opened_mono_s: float) -> None:
        """A pong proves nothing about market data, so that only frames count."""
        while True:
            last = max(self.health.last_frame_mono_s or opened_mono_s, opened_mono_s)
            left_s = last + self.idle_s_max - self.clock.mono_s()
            if left_s <= 0:
                raise VenueRetry(self.dialect.venue, f"no frame for {self.idle_s_max:g} s")
            await trio.sleep(left_s)

    # --- snapshots

    async def _run_snapshots(self) -> None:
        """One fetch at a time: when the book needs one, and to check it when none was needed for a while."""
        pace = Backoff(self.rng)
        last_fetch = -math.inf
        while True:
            with trio.move_on_after(self.snapshot_check_s):
                await self._snapshot_wanted.wait()
            self._snapshot_wanted = trio.Event()
            if self.clock.mono_s() - last_fetch < QUIET_SPELL_S:
                await trio.sleep(pace.next_delay_s())
            else:
                pace.reset()
            pause_s = await self._fetch()
            last_fetch = self.clock.mono_s()
            await trio.sleep(pause_s)
            if self.book.needs_snapshot:
                self._snapshot_wanted.set()

    async def _fetch(self) -> float:
        """Fetch and use one snapshot; how long the venue wants to be left alone."""
        try:
            snapshot = await self.fetch_snapshot()
        except VenueError as error:
            self.health.snapshot_failures += 1
            self._problem(f"no depth snapshot: {error}")
            if self.book.needs_snapshot:
                self._snapshot_wanted.set()
            return error.retry_after_s if isinstance(error, VenueRetry) else 0.0
        self.health.snapshots += 1
        if self.book.needs_snapshot:
            self.book.apply_snapshot(snapshot)
            self.on_change()
        elif self.book.check_against(snapshot) is False:
            self._problem(f"{self.dialect.venue}: the book differs from the venue's snapshot {snapshot.last_id}")
            self.on_change()
        return 0.0

    def _problem(self, text: str) -> None:
        self.health.note_error(text, self.clock.mono_s())
        self.on_problem(text)
