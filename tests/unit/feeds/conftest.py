"""A venue's WebSocket side, in memory: it accepts sessions, keeps what they asked for, and says what a test wants."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio_websocket
from attrs import define, field

from propbot.kit.memory import MemoryStream
from propbot.kit.net import MemoryNetwork
from propbot.kit.supervise import Backoff, describe, run_restarting


@define(eq=False)
class Session:
    """One connection, seen from the venue."""

    target: str
    ws: trio_websocket.WebSocketConnection
    opened_s: float
    received: list[str | bytes] = field(factory=list)

    async def say(self, *frames: str) -> None:
        for frame in frames:
            await self.ws.send_message(frame)
        await trio.testing.wait_all_tasks_blocked()

    async def cut(self) -> None:
        await trio.aclose_forcefully(self.ws._stream)
        await trio.testing.wait_all_tasks_blocked()


class WsVenue:
    """Listens on ws://venue:80. With `mute` it answers handshakes and nothing else, no pings either."""

    def __init__(self) -> None:
        self.network = MemoryNetwork()
        self.sessions: list[Session] = []
        self.mute = False

    async def serve(self, *, task_status: trio.TaskStatus[int]) -> None:
        await self.network.serve(self._handle, "venue", 80, tls=None, task_status=task_status)

    async def _handle(self, stream: trio.abc.Stream) -> None:
        assert isinstance(stream, MemoryStream)
        try:
            async with trio.open_nursery() as nursery:
                request = await trio_websocket.wrap_server_stream(nursery, stream)
                session = Session(request.path, await request.accept(), trio.current_time())
                if self.mute:
                    nursery.cancel_scope.cancel()
                self.sessions.append(session)
                while True:
                    session.received.append(await session.ws.get_message())
        except* trio_websocket.ConnectionClosed:
            pass
        if self.mute:
            await trio.sleep_forever()

    async def session(self, number: int = 1) -> Session:
        """The `number`-th session, once it is there."""
        while len(self.sessions) < number:
            await trio.sleep(0.01)
        await trio.testing.wait_all_tasks_blocked()
        return self.sessions[number - 1]


@pytest.fixture
async def venue(nursery: trio.Nursery) -> WsVenue:
    venue = WsVenue()
    await nursery.start(lambda task_status: venue.serve(task_status=task_status))
    return venue


class Supervisor:
    """Runs a feed's sessions as the app does; keeps why each ended."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.ends: list[str] = []
        self.delays = 0
        self.backoff: Backoff

    def run(self, session: Callable[[Backoff], Awaitable[None]], backoff: Backoff) -> None:
        self.backoff = backoff

        async def supervise() -> None:
            await run_restarting(
                "feed", session, backoff=backoff, on_failure=lambda name, error: self.ends.append(describe(error))
            )

        self._nursery.start_soon(supervise)


@pytest.fixture
def supervisor(nursery: trio.Nursery) -> Supervisor:
    return Supervisor(nursery)
