"""One WebSocket client of a venue: a bounded queue, a writer, pings, and an end that never waits for anyone.

`offer` is synchronous and never blocks: the market goes on whatever a client does. One that falls behind is told so
and closed (1008), as at the real venue.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

QUEUE_FRAMES_MAX = 20_000
SEND_S_MAX = 5.0
"""How long one frame may take to leave (a fifth more at most); then the connection is cut."""
_CLOSE_S_MAX = 1.0


class WsClient:
    """`name` is for traces. Subscriptions are kept by whoever publishes."""

    def __init__(self, connection: WebSocketConnection, *, queue_max: int = QUEUE_FRAMES_MAX) -> None:
        self._connection = connection
        self._queue: deque[tuple[float, str]] = deque()
        self._queue_max = queue_max
        self._wake = trio.Event()
        self._closing: tuple[int, str] | None = None
        self._scope = trio.CancelScope()
        self._sending_since_s = inf

    def offer(self, text: str, due_s: float = 0.0) -> None:
        """Send `text`, in order, not before `due_s` (Trio's clock)."""
        if self._closing is not None:
            return
        if len(self._queue) >= self._queue_max:
            self.close(1008, "the client reads too slowly")
            return
        self._queue.append((due_s, text))
        self._wake.set()

    def close(self, code: int, reason: str) -> None:
        """End the session, at the writer's next step; what is queued is dropped."""
        if self._closing is None:
            self._closing = (code, reason)
            self._queue.clear()
            self._wake.set()

    def cut(self) -> None:
        """End the session at once, with no goodbye."""
        self._scope.cancel()

    async def run(self, on_message: Callable[[str], None], *, ping_every_s: float, pong_within_s: float) -> None:
        """Until either side closes. `on_message` answers by `offer`."""
        with self._scope:
            await self._converse(on_message, ping_every_s, pong_within_s)

    async def _converse(self, on_message: Callable[[str], None], ping_every_s: float, pong_within_s: float) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write)
            nursery.start_soon(self._watch_sending)
            nursery.start_soon(self._ping, ping_every_s, pong_within_s)
            try:
                while True:
                    message = await self._connection.get_message()
                    on_message(message if isinstance(message, str) else message.decode("utf-8", "replace"))
            except ConnectionClosed:
                pass
            nursery.cancel_scope.cancel()

    async def _write(self) -> None:
        try:
            while self._closing is None:
                await self._drain()
                if self._closing is None:
                    await self._wake.wait()
                    self._wake = trio.Event()
            with trio.move_on_after(_CLOSE_S_MAX):
                await self._connection.aclose(*self._closing)
        except ConnectionClosed:
            pass
        await self._end()

    async def _drain(self) -> None:
        while self._queue:
            due_s, text = self._queue.popleft()
            if due_s > trio.current_time():
                await trio.sleep_until(due_s)
            if self._closing is not None:
                return
            self._sending_since_s = trio.current_time()
            await self._connection.send_message(text)
            self._sending_since_s = inf

    async def _watch_sending(self) -> None:
        """One clock for all frames: a scope for each would cost as much as sending it."""
        while True:
            await trio.sleep(SEND_S_MAX / 5)
            if trio.current_time() - self._sending_since_s >= SEND_S_MAX:
                self.cut()

    async def _ping(self, every_s: float, within_s: float) -> None:
        try:
            while True:
                await trio.sleep(every_s)
                with trio.fail_after(within_s):
                    await self._connection.ping()
        except trio.TooSlowError:
            self.close(1008, "no pong")
        except ConnectionClosed:
            pass

    async def _end(self) -> None:
        """Whatever the peer does, the reader must notice: the channel that it waits on is closed."""
        with trio.move_on_after(_CLOSE_S_MAX):
            await self._connection.aclose()
