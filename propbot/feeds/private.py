"""One account's private stream: what happened to our orders, as soon as the venue says so.

It is up once the venue said that it is ready (or once connected, where it says nothing). A quiet account is normal, so
silence proves nothing: pings with a deadline find a half-open stream. Whatever was missed while it was down is not
replayed by the venue; `on_up` is where the reconciler is told to look.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Awaitable, Callable

import trio
from attrs import define, field

from propbot.domain.clock import Clock
from propbot.domain.dialect import Dialect, HttpCall, HttpReply
from propbot.domain.errors import AccessRefused, ProtocolViolation, VenueError, VenueRetry
from propbot.domain.instruments import Endpoints
from propbot.domain.orders import PrivateEnded, PrivateEvent, PrivateReady
from propbot.feeds.session import HEALTHY_S, FeedHealth, end_reason, open_session
from propbot.kit.net import Network
from propbot.kit.supervise import Backoff
from propbot.kit.ws import OpenWebSocket, WebSocket, WebSocketClosed
from propbot.kit.ws_sansio import open_websocket

REFUSED_PAUSE_S = 60.0
"""A refused key is not asked with again before that, unless it changed: it does not get better by asking."""
OTHER_KEYS = "it is opened anew with other keys"
KEEPALIVE_RETRY_S = 60.0
"""A listen key lives twice as long as its keepalive interval: a few tries fit in."""


@define(eq=False)
class PrivateFeed:
    network: Network
    endpoints: Endpoints
    dialect: Dialect
    ask: Callable[[HttpCall], Awaitable[HttpReply]]
    """One HTTP call, with its own deadline; raises VenueError where no reply came."""
    ts_ms: Callable[[], int]
    clock: Clock
    on_event: Callable[[PrivateEvent], None]
    on_up: Callable[[], None]
    on_down: Callable[[str], None]
    """(reason), at the end of every session, also of one that never came up."""
    on_problem: Callable[[str], None]
    """One line about something that did not end the session; a frame that was not understood is one."""
    ping_every_s: float = 15.0
    ping_timeout_s: float = 10.0
    ready_timeout_s: float = 10.0
    open_websocket: OpenWebSocket = open_websocket
    health: FeedHealth = field(factory=FeedHealth)
    on_unreadable: Callable[[str], None] = lambda _: None
    """Synchronous: a frame of the account was not in words that we know."""
    up: bool = field(default=False, init=False)
    _refused: bool = field(default=False, init=False)
    _not_before_mono_s: float = field(default=-math.inf, init=False)
    _access_changed: trio.Event = field(factory=trio.Event, init=False)

    def take_dialect(self, dialect: Dialect) -> None:
        """There are other keys: the session that the old ones opened makes room for a new one, and a refused stream
        tries again."""
        self.dialect = dialect
        self._refused = False
        self._access_changed.set()
        self._access_changed = trio.Event()

    async def run_session(self, backoff: Backoff) -> None:
        """Until cancelled, or until the session ends: then VenueError. Other keys are no end: what one session was is
        then two, with no pause between."""
        await self._wait_allowed()
        try:
            while True:
                await self._run_session(backoff)
                self.up = False
                self.on_down(OTHER_KEYS)
        except AccessRefused:
            self._refused = True
            raise
        except VenueRetry as error:
            self._not_before_mono_s = self.clock.mono_s() + error.retry_after_s
            raise
        finally:
            self.up = False
            reason = end_reason(sys.exception())
            self.health.note_error(reason, self.clock.mono_s())
            self.on_down(reason)

    async def _wait_allowed(self) -> None:
        """Until the last refusal, or the pause that the venue asked for, is over."""
        if self._refused:
            with trio.move_on_after(REFUSED_PAUSE_S):
                await self._access_changed.wait()
        self._refused = False
        await trio.sleep(max(self._not_before_mono_s - self.clock.mono_s(), 0.0))

    async def _run_session(self, backoff: Backoff) -> None:
        """Returns when there are other keys."""
        access_changed = self._access_changed
        key = await self._ask_key()
        plan = self.dialect.private_plan(key, self.ts_ms())
        async with (
            open_session(
                self.network, self.open_websocket, self.dialect.venue, self.endpoints, plan, self.health
            ) as ws,
            trio.open_nursery() as nursery,
        ):
            if self.dialect.private_needs_ready:
                nursery.start_soon(self._watch_ready)
            else:
                self._come_up()
            nursery.start_soon(self._ping, ws, backoff)
            if key is not None and self.dialect.private_keepalive_s is not None:
                nursery.start_soon(self._keep_alive, key, self.dialect.private_keepalive_s)
            nursery.start_soon(self._read, ws)
            await access_changed.wait()
            nursery.cancel_scope.cancel()

    async def _ask_key(self) -> str | None:
        call = self.dialect.call_private_key()
        return None if call is None else self.dialect.read_private_key(await self.ask(call))

    def _come_up(self) -> None:
        if not self.up:
            self.up = True
            self.on_up()

    async def _read(self, ws: WebSocket) -> None:
        while True:
            try:
                frame = await ws.receive()
            except WebSocketClosed as closed:
                raise VenueRetry(self.dialect.venue, str(closed)) from closed
            self.health.note_frame(self.clock.mono_s())
            try:
                events = self.dialect.read_private(frame)
            except ProtocolViolation as error:
                self._problem(str(error))
                self.on_unreadable(str(error))
                self.health.note_violation(error)
                continue
            self.health.violations_in_a_row = 0
            for event in events:
                self._take(event)

    def _take(self, event: PrivateEvent) -> None:
        match event:
            case PrivateReady():
                self._come_up()
            case PrivateEnded(reason):
                raise VenueRetry(self.dialect.venue, f"the private stream ended: {reason}")
            case _:
                self.on_event(event)

    async def _watch_ready(self) -> None:
        await trio.sleep(self.ready_timeout_s)
        if not self.up:
            raise VenueRetry(self.dialect.venue, f"the private stream was not ready within {self.ready_timeout_s:g} s")

    async def _ping(self, ws: WebSocket, backoff: Backoff) -> None:
        await trio.sleep(HEALTHY_S)
        while True:
            with trio.move_on_after(self.ping_timeout_s) as waiting:
                try:
                    await ws.ping()
                except WebSocketClosed as closed:
                    raise VenueRetry(self.dialect.venue, str(closed)) from closed
            if waiting.cancelled_caught:
                raise VenueRetry(self.dialect.venue, f"no pong within {self.ping_timeout_s:g} s")
            if self.up:
                backoff.reset()
            await trio.sleep(self.ping_every_s)

    async def _keep_alive(self, key: str, every_s: float) -> None:
        pause_s = every_s
        while True:
            await trio.sleep(pause_s)
            problem = await self._extend(key)
            pause_s = every_s if problem is None else KEEPALIVE_RETRY_S
            if problem is not None:
                self._problem(f"{self.dialect.venue}: the listen key was not extended: {problem}")

    async def _extend(self, key: str) -> str | None:
        """What went wrong, if that may pass; VenueRetry if the venue does not know the key any more."""
        try:
            reply = await self.ask(self.dialect.call_private_keepalive(key))
        except VenueError as error:
            return str(error)
        if 200 <= reply.status < 300:
            return None
        told = f"HTTP {reply.status} {reply.body[:200].decode('utf-8', 'replace')}"
        if reply.status < 500 and reply.status not in (418, 429):
            raise VenueRetry(self.dialect.venue, f"the listen key is not accepted any more: {told}")
        return told

    def _problem(self, text: str) -> None:
        self.health.note_error(text, self.clock.mono_s())
        self.on_problem(text)
