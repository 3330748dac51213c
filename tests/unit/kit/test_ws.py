"""The WebSocket seam against real servers over memory streams, and against peers that misbehave: every client alike."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
import trio
import trio_websocket
import wsproto
import wsproto.events
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from propbot.kit.memory import MemoryStream, memory_stream_pair
from propbot.kit.ws import OpenWebSocket, WebSocket, WebSocketClosed
from propbot.kit.ws_clients import WS_CLIENTS

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


@pytest.fixture(params=sorted(WS_CLIENTS))
def open_websocket(request: pytest.FixtureRequest) -> OpenWebSocket:
    return WS_CLIENTS[request.param]


only_ours = pytest.mark.parametrize("open_websocket", [WS_CLIENTS["websockets"]], ids=["websockets"])


@pytest.fixture
def peer(nursery: trio.Nursery) -> Peer:
    return Peer(nursery)


async def until_closed(server: trio_websocket.WebSocketConnection) -> None:
    with suppress(trio_websocket.ConnectionClosed):
        while True:
            await server.get_message()


@asynccontextmanager
async def receiving(ws: WebSocket) -> AsyncIterator[list[str | bytes]]:
    """Somebody receives, as feeds always do; what came."""
    received: list[str | bytes] = []

    async def receive() -> None:
        with suppress(WebSocketClosed):
            while True:
                received.append(await ws.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        yield received
        nursery.cancel_scope.cancel()


async def fall_silent(stream: MemoryStream) -> None:
    """Answers the handshake and then nothing, like a peer behind a dead link."""
    server = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
    server.receive_data(bytes(await stream.receive_some()))
    assert isinstance(next(server.events()), wsproto.events.Request)
    await stream.send_all(server.send(wsproto.events.AcceptConnection()))
    await trio.sleep_forever()


class RawServer:
    """A server that writes what a test wants, byte for byte, and shows what the client sent."""

    def __init__(self, stream: MemoryStream, protocol: ServerProtocol) -> None:
        self.stream = stream
        self.protocol = protocol
        self._frames: deque[Frame] = deque()
        """Several may come in one piece."""

    async def frame(self, opcode: Opcode, payload: bytes = b"", *, fin: bool = True) -> None:
        await self.stream.send_all(Frame(opcode, payload, fin).serialize(mask=False))

    async def say(self, text: str) -> None:
        """As the protocol would: compressed, if that was agreed on."""
        self.protocol.send_text(text.encode())
        await self.flush()

    async def flush(self) -> None:
        await self.stream.send_all(b"".join(self.protocol.data_to_send()))

    async def heard(self) -> Frame:
        """The client's next frame; its masking is checked and its compression undone."""
        while True:
            for event in self.protocol.events_received():
                assert isinstance(event, Frame)
                self._frames.append(event)
            if self._frames:
                return self._frames.popleft()
            received = await self.stream.receive_some()
            if not received:
                raise trio.BrokenResourceError("the client is gone")
            self.protocol.receive_data(received)

    async def close_code(self) -> int:
        while True:
            frame = await self.heard()
            if frame.opcode is Opcode.CLOSE:
                code: int = struct.unpack("!H", frame.data[:2])[0]
                return code


async def until_gone(server: RawServer) -> None:
    with suppress(trio.BrokenResourceError):
        while await server.stream.receive_some():
            pass


RawScript = Callable[[RawServer], Awaitable[None]]


def raw(script: RawScript, *, deflate: bool = False) -> Callable[[MemoryStream], Awaitable[None]]:
    async def serve(stream: MemoryStream) -> None:
        protocol = ServerProtocol(extensions=[ServerPerMessageDeflateFactory()] if deflate else None)
        while not (requests := protocol.events_received()):
            protocol.receive_data(await stream.receive_some())
        assert isinstance(requests[0], Request)
        protocol.send_response(protocol.accept(requests[0]))
        assert protocol.state is OPEN
        server = RawServer(stream, protocol)
        await server.flush()
        with suppress(trio.BrokenResourceError):
            await script(server)

    return serve


async def test_messages_go_both_ways_in_order(
    open_websocket: OpenWebSocket, peer: Peer, autojump_clock: trio.testing.MockClock
) -> None:
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
    open_websocket: OpenWebSocket, peer: Peer, autojump_clock: trio.testing.MockClock
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
    open_websocket: OpenWebSocket, peer: Peer, autojump_clock: trio.testing.MockClock
) -> None:
    async def script(server: trio_websocket.WebSocketConnection) -> None:
        await server._stream.aclose()

    with pytest.raises(WebSocketClosed) as caught:
        async with open_websocket(peer.connect(script), host="venue", target="/") as ws:
            await ws.receive()
    assert caught.value.code == 1006
    assert await peer.closed()
    assert trio.current_time() == 0


async def test_an_error_of_the_body_comes_out_as_it_is(open_websocket: OpenWebSocket, peer: Peer) -> None:
    with pytest.raises(LookupError, match="mine"):
        async with open_websocket(peer.connect(until_closed), host="venue", target="/"):
            raise LookupError("mine")
    assert await peer.closed()


async def test_two_errors_come_out_as_a_group(open_websocket: OpenWebSocket, peer: Peer) -> None:
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
    open_websocket: OpenWebSocket, peer: Peer, autojump_clock: trio.testing.MockClock
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
    open_websocket: OpenWebSocket, peer: Peer, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_websocket(peer.connect_raw(fall_silent), host="venue", target="/") as ws:
        await ws.send("x")
    assert trio.current_time() == 1.0
    assert await peer.closed()


async def test_a_handshake_without_an_answer_ends_at_its_deadline(
    open_websocket: OpenWebSocket, peer: Peer, autojump_clock: trio.testing.MockClock
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
    open_websocket: OpenWebSocket, peer: Peer, answer: bytes, autojump_clock: trio.testing.MockClock
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


async def test_a_refused_handshake_says_why(open_websocket: OpenWebSocket, peer: Peer) -> None:
    async def script(stream: MemoryStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 7\r\n\r\nno keys")
        await stream.aclose()

    with pytest.raises(WebSocketClosed, match="HTTP 403 no keys"):
        async with open_websocket(peer.connect_raw(script), host="venue", target="/"):
            pass


async def test_a_message_that_is_too_large_ends_the_session(open_websocket: OpenWebSocket, peer: Peer) -> None:
    async def script(server: trio_websocket.WebSocketConnection) -> None:
        await server.send_message("x" * 2000)
        await until_closed(server)

    async with open_websocket(peer.connect(script), host="venue", target="/", max_message_bytes=1000) as ws:
        with pytest.raises(WebSocketClosed, match="1009"):
            await ws.receive()
    assert await peer.closed()


async def test_a_ping_returns_with_its_pong_and_not_without(
    open_websocket: OpenWebSocket, peer: Peer, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_websocket(peer.connect(until_closed), host="venue", target="/") as ws, receiving(ws):
        with trio.move_on_after(1) as answered:
            await ws.ping()
            await ws.ping()
        assert not answered.cancelled_caught

    async with open_websocket(peer.connect_raw(fall_silent), host="venue", target="/") as ws, receiving(ws):
        with trio.move_on_after(1) as unanswered:
            await ws.ping()
        assert unanswered.cancelled_caught


# --- frames


async def test_fragments_make_one_message_and_control_frames_may_come_between(
    open_websocket: OpenWebSocket, peer: Peer, autojump_clock: trio.testing.MockClock
) -> None:
    heard: list[Frame] = []

    async def script(server: RawServer) -> None:
        await server.frame(Opcode.TEXT, b"\xd1", fin=False)  # a character cut in two
        await server.frame(Opcode.PING, b"between")
        await server.frame(Opcode.CONT, b"", fin=False)
        await server.frame(Opcode.PONG, b"nobody asked")
        await server.frame(Opcode.CONT, b"\x84!")
        await server.frame(Opcode.TEXT, b"plain")
        await server.frame(Opcode.BINARY, b"\xff", fin=False)
        await server.frame(Opcode.CONT, b"\xfe")
        await server.frame(Opcode.TEXT, b"")
        await server.frame(Opcode.TEXT, b"after")
        heard.append(await server.heard())
        await server.close_code()

    async with open_websocket(peer.connect_raw(raw(script)), host="venue", target="/") as ws:
        assert [await ws.receive() for _ in range(5)] == ["ф!", "plain", b"\xff\xfe", "", "after"]
    assert [(frame.opcode, bytes(frame.data)) for frame in heard] == [(Opcode.PONG, b"between")]


@pytest.mark.parametrize("size", [0, 1, 2, 125, 126, 127, 65_535, 65_536, 200_000])
@pytest.mark.parametrize("piece", [1_000_000, 1000, 7])
async def test_every_size_arrives_whole_however_it_is_cut(
    open_websocket: OpenWebSocket, peer: Peer, size: int, piece: int, autojump_clock: trio.testing.MockClock
) -> None:
    if size > 1000 and piece == 7:
        piece = 777
    text = "x" * size

    async def script(server: RawServer) -> None:
        wire = Frame(Opcode.TEXT, text.encode()).serialize(mask=False) * 3
        for at in range(0, len(wire), piece):
            await server.stream.send_all(wire[at : at + piece])
            await trio.testing.wait_all_tasks_blocked()
        await server.frame(Opcode.TEXT, b"end")
        await until_gone(server)

    async with open_websocket(peer.connect_raw(raw(script)), host="venue", target="/") as ws:
        assert [await ws.receive() for _ in range(4)] == [text, text, text, "end"]


REFUSED = {
    "masked": (Frame(Opcode.TEXT, b"x").serialize(mask=True), 1002),
    "no such opcode": (b"\x83\x00", 1002),
    "reserved bits": (b"\xc1\x01x", 1002),
    "continuation of nothing": (b"\x80\x01x", 1002),
    "text within a fragmented message": (b"\x01\x01x\x81\x01y", 1002),
    "long ping": (b"\x89\x7e\x00\x7e" + bytes(126), 1002),
    "fragmented ping": (b"\x09\x00", 1002),
    "no UTF-8": (b"\x81\x04ok\xff\xff", 1007),
    "no UTF-8 over fragments": (b"\x01\x01\xd1\x80\x01!", 1007),
    "too large": (b"\x81\x7e\x03\xe9" + b"x" * 1001, 1009),
    "too large to wait for": (b"\x81\x7f\x00\x00\x00\x00\x10\x00\x00\x00x" + b"x" * 1001, 1009),
    "too large over fragments": ((b"\x01\x7e\x01\x90" + b"x" * 400) + (b"\x00\x7e\x01\x90" + b"x" * 400) * 2, 1009),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_is_against_the_rules_ends_the_session_by_its_code(
    open_websocket: OpenWebSocket, peer: Peer, what: str, autojump_clock: trio.testing.MockClock
) -> None:
    wire, code = REFUSED[what]
    told: list[int] = []

    async def script(server: RawServer) -> None:
        await server.frame(Opcode.TEXT, b"good")
        await server.stream.send_all(wire)
        told.append(await server.close_code())

    stream = peer.connect_raw(raw(script))
    async with open_websocket(stream, host="venue", target="/", max_message_bytes=1000) as ws:
        assert await ws.receive() == "good"
        with pytest.raises(WebSocketClosed) as caught:
            await ws.receive()
        with pytest.raises(WebSocketClosed):
            await ws.send("x")
    assert caught.value.code == code
    if open_websocket is WS_CLIENTS["websockets"]:  # the other one just hangs up for some of them
        assert told == [code]
    assert await peer.closed()


@pytest.mark.parametrize(("payload", "code"), [(b"", 1005), (b"\x03\xe8", 1000), (b"\x0f\xa0gone", 4000)])
async def test_the_code_of_the_end_is_the_venues(
    open_websocket: OpenWebSocket, peer: Peer, payload: bytes, code: int, autojump_clock: trio.testing.MockClock
) -> None:
    echoed: list[bytes] = []

    async def script(server: RawServer) -> None:
        await server.frame(Opcode.CLOSE, payload)
        frame = await server.heard()
        assert frame.opcode is Opcode.CLOSE
        echoed.append(bytes(frame.data)[:2])

    async with open_websocket(peer.connect_raw(raw(script)), host="venue", target="/") as ws:
        with pytest.raises(WebSocketClosed) as caught:
            await ws.receive()
    assert (caught.value.code, caught.value.reason) == (code, "gone" if code == 4000 else "")
    assert echoed == [payload[:2]]
    assert trio.current_time() == 0


async def test_deflate_is_used_where_the_venue_speaks_it_and_does_no_harm_where_not(
    open_websocket: OpenWebSocket, peer: Peer, autojump_clock: trio.testing.MockClock
) -> None:
    heard: list[str] = []
    texts = ["one " * 100, "two", "three " * 20_000]

    async def script(server: RawServer) -> None:
        for text in texts:
            await server.say(text)
        await server.frame(Opcode.TEXT, b"uncompressed all the same")
        await server.say(texts[0])
        heard.append((await server.heard()).data.decode())
        await server.close_code()

    async with open_websocket(peer.connect_raw(raw(script, deflate=True)), host="venue", target="/") as ws:
        await ws.send("sent " * 10)
        assert [await ws.receive() for _ in range(5)] == [*texts, "uncompressed all the same", texts[0]]
    assert heard == ["sent " * 10]


async def test_a_ping_is_answered_with_what_it_carried(
    open_websocket: OpenWebSocket, peer: Peer, autojump_clock: trio.testing.MockClock
) -> None:
    answers: list[tuple[Opcode, bytes]] = []

    async def script(server: RawServer) -> None:
        await server.frame(Opcode.PING, b"")
        await server.frame(Opcode.PING, bytes(range(125)))
        for _ in range(2):
            frame = await server.heard()
            answers.append((frame.opcode, bytes(frame.data)))
        await server.frame(Opcode.TEXT, b"done")
        await server.close_code()

    async with open_websocket(peer.connect_raw(raw(script)), host="venue", target="/") as ws:
        assert await ws.receive() == "done"
    assert answers == [(Opcode.PONG, b""), (Opcode.PONG, bytes(range(125)))]


async def test_a_pong_that_nobody_asked_for_answers_no_ping(
    open_websocket: OpenWebSocket, peer: Peer, autojump_clock: trio.testing.MockClock
) -> None:
    async def script(server: RawServer) -> None:
        while (frame := await server.heard()).opcode is not Opcode.CLOSE:
            await server.frame(Opcode.PONG, b"not yours")
            await trio.sleep(2)
            await server.frame(Opcode.PONG, bytes(frame.data))

    async with open_websocket(peer.connect_raw(raw(script)), host="venue", target="/") as ws, receiving(ws):
        await ws.ping()
        assert trio.current_time() == 2


@only_ours  # with the other one a ping that waits goes on waiting: its caller has a deadline
async def test_the_end_ends_a_ping_that_waits(
    open_websocket: OpenWebSocket, peer: Peer, autojump_clock: trio.testing.MockClock
) -> None:
    async def script(server: RawServer) -> None:
        await server.heard()
        await server.frame(Opcode.CLOSE, b"\x03\xe9")
        await server.close_code()

    async with open_websocket(peer.connect_raw(raw(script)), host="venue", target="/") as ws, receiving(ws):
        with pytest.raises(WebSocketClosed):
            await ws.ping()


# --- tasks beside each other


async def test_cancelled_receives_lose_nothing(
    open_websocket: OpenWebSocket, peer: Peer, autojump_clock: trio.testing.MockClock
) -> None:
    async def script(server: RawServer) -> None:
        for number in range(200):
            if number % 7 == 0:
                await server.frame(Opcode.PING, b"x")
            wire = Frame(Opcode.TEXT, str(number).encode()).serialize(mask=False)
            await server.stream.send_all(wire[:2])
            await trio.sleep(0.3)
            await server.stream.send_all(wire[2:])
        await server.close_code()

    received: list[str | bytes] = []
    async with open_websocket(peer.connect_raw(raw(script)), host="venue", target="/") as ws:
        while len(received) < 200:
            with trio.move_on_after(0.1):
                while len(received) < 200:
                    received.append(await ws.receive())
            with trio.CancelScope() as scope:
                scope.cancel()
                received.append(await ws.receive())
    assert received == [str(number) for number in range(200)]


async def test_two_tasks_that_send_mix_no_frames(
    open_websocket: OpenWebSocket, peer: Peer, autojump_clock: trio.testing.MockClock
) -> None:
    heard: list[str] = []

    async def script(server: RawServer) -> None:
        while (frame := await server.heard()).opcode is not Opcode.CLOSE:
            heard.append(frame.data.decode())

    async def send(ws: WebSocket, letter: str) -> None:
        for number in range(50):
            await ws.send(f"{letter}{number} " * 200)

    async with (
        open_websocket(peer.connect_raw(raw(script)), host="venue", target="/") as ws,
        receiving(ws),
        trio.open_nursery() as nursery,
    ):
        for letter in "abc":
            nursery.start_soon(send, ws, letter)
    for letter in "abc":
        assert [text for text in heard if text[0] == letter] == [f"{letter}{number} " * 200 for number in range(50)]


async def test_a_venue_that_closes_while_we_send_ends_the_sending(
    open_websocket: OpenWebSocket, peer: Peer, autojump_clock: trio.testing.MockClock
) -> None:
    async def script(server: RawServer) -> None:
        for _ in range(3):
            await server.heard()
        await server.frame(Opcode.TEXT, b"last")
        await server.frame(Opcode.CLOSE, b"\x03\xe9")
        await server.close_code()

    stream = peer.connect_raw(raw(script))
    async with open_websocket(stream, host="venue", target="/") as ws, receiving(ws) as received:
        for _ in range(3):
            await ws.send("x")
            await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(WebSocketClosed):
            await ws.send("x")
    assert received == ["last"]
    assert await peer.closed()


@only_ours  # the other one parses whatever lies ready in one go
@pytest.mark.parametrize("kind", ["messages", "pings", "large messages", "empty fragments"])
async def test_a_flood_does_not_starve_the_other_tasks(
    open_websocket: OpenWebSocket, peer: Peer, kind: str, autojump_clock: trio.testing.MockClock
) -> None:
    text = Frame(Opcode.TEXT, b"x" * 180).serialize(mask=False)
    flood = {
        "messages": text * 3000,
        "pings": (Frame(Opcode.PING, b"").serialize(mask=False) * 99 + text) * 30,
        "large messages": Frame(Opcode.TEXT, b"x" * 60_000).serialize(mask=False) * 30,
        "empty fragments": (b"\x01\x00" + b"\x00\x00" * 99 + b"\x80\x01x") * 30,
    }[kind]
    turns_min = 30 if kind == "large messages" else 3000 // 64
    steps = 0

    async def script(server: RawServer) -> None:
        await server.stream.send_all(flood)
        await server.stream.send_all(b"\x88\x00")
        await until_gone(server)

    async def count() -> None:
        nonlocal steps
        while True:
            await trio.lowlevel.checkpoint()
            steps += 1

    async with open_websocket(peer.connect_raw(raw(script)), host="venue", target="/") as ws:
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            with suppress(WebSocketClosed):
                while True:
                    await ws.receive()
            nursery.cancel_scope.cancel()
    assert steps >= turns_min
