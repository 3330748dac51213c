"""The WebSocket seam against a real server over memory streams, and against peers that misbehave."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import trio
import trio_websocket
import wsproto
import wsproto.events

from propbot.kit.memory import MemoryStream, memory_stream_pair
from propbot.kit.ws import WebSocketClosed, open_websocket

Script = Callable[[trio_websocket.WebSocketConnection], Awaitable[None]]


class Peer:
    """The server's end of one connection; keeps what happened to the client's own stream."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.target = ""
        self.client_stream: MemoryStream

    def connect(self, script: Script) -> MemoryStream:
        self.client_stream, theirs = memory_stream_pair()
        self.nursery.start_soon(self._serve, theirs, script)
        return self.client_stream

    def connect_raw(self, script: Callable[[MemoryStream], Awaitable[None]]) -> MemoryStream:
        self.client_stream, theirs = memory_stream_pair()
        self.nursery.start_soon(script, theirs)
        return self.client_stream

    async def _serve(self, stream: MemoryStream, script: Script) -> None:
        async with trio.open_nursery() as nursery:
            request = await trio_websocket.wrap_server_stream(nursery, stream)
            self.target = request.path
            await script(await request.accept())

    async def closed(self) -> bool:
        """Whether the client closed its own stream."""
        try:
            await self.client_stream.receive_some(1)
        except trio.ClosedResourceError:
            return True
        return False


@pytest.fixture
def peer(nursery: trio.Nursery) -> Peer:
    return Peer(nursery)


async def until_closed(server: trio_websocket.WebSocketConnection) -> None:
    with suppress(trio_websocket.ConnectionClosed):
        while True:
            await server.get_message()


async def fall_silent(stream: MemoryStream) -> None:
    """Answers the handshake and then nothing, like a peer behind a dead link."""
    server = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
    server.receive_data(bytes(await stream.receive_some()))
    assert isinstance(next(server.events()), wsproto.events.Request)
    await stream.send_all(server.send(wsproto.events.AcceptConnection()))
    await trio.sleep_forever()


async def test_messages_go_both_ways_in_order(peer: Peer, autojump_clock: trio.testing.MockClock) -> None:
    heard: list[str | bytes] = []

    async def script(server: trio_websocket.WebSocketConnection) -> None:
        heard.append(await server.get_message())
        for number in range(600):  # more than any queue holds
            await server.send_message(str(number))
        await server.send_message(b"bytes")
        await until_closed(server)

    async with open_websocket(peer.connect(script), host="venue", target="/ws?streams=a/b") as ws:
        await ws.send("hello")
        assert [await ws.receive() for _ in range(600)] == [str(number) for number in range(600)]
        assert await ws.receive() == b"bytes"
    assert (heard, peer.target) == (["hello"], "/ws?streams=a/b")
    assert await peer.closed()
    assert trio.current_time() == 0


async def test_what_came_before_the_end_is_still_handed_out(
    peer: Peer, autojump_clock: trio.testing.MockClock
) -> None:
    async def script(server: trio_websocket.WebSocketConnection) -> None:
        await server.send_message("last")
        await server.aclose(1001, "maintenance")

    async with open_websocket(peer.connect(script), host="venue", target="/") as ws:
        assert await ws.receive() == "last"
        with pytest.raises(WebSocketClosed, match="maintenance") as caught:
            await ws.receive()
        assert caught.value.code == 1001
        with pytest.raises(WebSocketClosed):
            await ws.send("too late")
        with pytest.raises(WebSocketClosed):
            await ws.ping()
    assert await peer.closed()


async def test_a_connection_cut_without_a_close_frame_is_1006_and_leaks_nothing(
    peer: Peer, autojump_clock: trio.testing.MockClock
) -> None:
    async def script(server: trio_websocket.WebSocketConnection) -> None:
        await server._stream.aclose()

    with pytest.raises(WebSocketClosed) as caught:
        async with open_websocket(peer.connect(script), host="venue", target="/") as ws:
            await ws.receive()
    assert caught.value.code == 1006
    assert await peer.closed()
    assert trio.current_time() == 0


async def test_an_error_of_the_body_comes_out_as_it_is(peer: Peer) -> None:
    with pytest.raises(LookupError, match="mine"):
        async with open_websocket(peer.connect(until_closed), host="venue", target="/"):
            raise LookupError("mine")
    assert await peer.closed()


async def test_two_errors_come_out_as_a_group(peer: Peer) -> None:
    async def fail() -> None:
        raise ValueError("task")

    async def fail_twice() -> None:
        stream = peer.connect(until_closed)
        async with open_websocket(stream, host="venue", target="/"), trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            raise LookupError("body")

    with pytest.raises(BaseExceptionGroup) as caught:
        await fail_twice()
    assert caught.value.subgroup(ValueError) is not None
    assert caught.value.subgroup(LookupError) is not None


async def test_cancelled_it_ends_almost_at_once_and_says_goodbye(
    peer: Peer, autojump_clock: trio.testing.MockClock
) -> None:
    ended: list[object] = []

    async def script(server: trio_websocket.WebSocketConnection) -> None:
        await until_closed(server)
        ended.append(server.closed)

    with trio.move_on_after(5) as scope:
        async with open_websocket(peer.connect(script), host="venue", target="/") as ws:
            await ws.receive()
    assert scope.cancelled_caught
    assert trio.current_time() <= 5.1
    assert await peer.closed()
    await trio.sleep(1)
    assert "1000" in str(ended[0])


async def test_a_peer_that_does_not_answer_the_goodbye_costs_a_second(
    peer: Peer, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_websocket(peer.connect_raw(fall_silent), host="venue", target="/") as ws:
        await ws.send("x")
    assert trio.current_time() == 1.0
    assert await peer.closed()


async def test_a_handshake_without_an_answer_ends_at_its_deadline(
    peer: Peer, autojump_clock: trio.testing.MockClock
) -> None:
    async def script(stream: MemoryStream) -> None:
        await stream.receive_some()
        await trio.sleep(60)

    with pytest.raises(WebSocketClosed, match="no answer to the handshake within 3 s"):
        async with open_websocket(peer.connect_raw(script), host="venue", target="/", timeout_s=3):
            pass
    assert trio.current_time() == 3
    assert await peer.closed()


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 101 Switching\r\n\r\n", b"\x00\x01rubbish\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"]
)
async def test_a_handshake_answered_with_rubbish_ends_at_once(
    peer: Peer, answer: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    async def script(stream: MemoryStream) -> None:
        await stream.receive_some()
        if answer:
            await stream.send_all(answer)
        await stream.aclose()

    with pytest.raises(WebSocketClosed):
        async with open_websocket(peer.connect_raw(script), host="venue", target="/"):
            pass
    assert trio.current_time() < 1
    assert await peer.closed()


async def test_a_refused_handshake_says_why(peer: Peer) -> None:
    async def script(stream: MemoryStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 7\r\n\r\nno keys")
        await stream.aclose()

    with pytest.raises(WebSocketClosed, match="HTTP 403 no keys"):
        async with open_websocket(peer.connect_raw(script), host="venue", target="/"):
            pass


async def test_a_message_that_is_too_large_ends_the_session(peer: Peer) -> None:
    async def script(server: trio_websocket.WebSocketConnection) -> None:
        await server.send_message("x" * 2000)
        await until_closed(server)

    async with open_websocket(peer.connect(script), host="venue", target="/", max_message_bytes=1000) as ws:
        with pytest.raises(WebSocketClosed, match="1009"):
            await ws.receive()
    assert await peer.closed()


async def test_a_ping_returns_with_its_pong_and_not_without(
    peer: Peer, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_websocket(peer.connect(until_closed), host="venue", target="/") as ws:
        with trio.move_on_after(1) as answered:
            await ws.ping()
        assert not answered.cancelled_caught

    async with open_websocket(peer.connect_raw(fall_silent), host="venue", target="/") as ws:
        with trio.move_on_after(1) as unanswered:
            await ws.ping()
        assert unanswered.cancelled_caught
