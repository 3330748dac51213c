"""TLS on the client's side, against Trio's own on the server's, over memory streams."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable

import pytest
import trio
import trustme

from propbot.kit.memory import MemoryStream, memory_stream_pair
from propbot.kit.tls import TlsStream

Script = Callable[[trio.SSLStream[MemoryStream]], Awaitable[None]]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


class Line:
    """A connection whose server's end runs a script under TLS; what the server sent can be held back and touched."""

    def __init__(self, nursery: trio.Nursery, authority: trustme.CA) -> None:
        self._nursery = nursery
        self._server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("venue").configure_cert(self._server_context)
        self.client_context = ssl.create_default_context()
        authority.configure_trust(self.client_context)
        self.wire: MemoryStream

    def open(self, script: Script, host: str = "venue") -> TlsStream:
        self.wire, theirs = memory_stream_pair()

        async def serve() -> None:
            server = trio.SSLStream(theirs, self._server_context, server_side=True, https_compatible=True)
            try:
                await script(server)
            except trio.BrokenResourceError:
                pass  # the client did not like it

        self._nursery.start_soon(serve)
        return TlsStream(self.wire, self.client_context, host)


@pytest.fixture
def line(nursery: trio.Nursery, authority: trustme.CA) -> Line:
    return Line(nursery, authority)


async def echo(server: trio.SSLStream[MemoryStream]) -> None:
    while received := await server.receive_some():
        await server.send_all(received)
    await server.aclose()


async def read_to_end(stream: TlsStream, max_bytes: int | None = None) -> bytes:
    whole = b""
    while received := await stream.receive_some(max_bytes):
        whole += received
    return whole


async def test_what_lies_ready_comes_in_one_read_however_many_records(
    line: Line, autojump_clock: trio.testing.MockClock
) -> None:
    async def script(server: trio.SSLStream[MemoryStream]) -> None:
        for number in range(200):
            await server.send_all(b"%3d" % number)

    stream = line.open(script)
    await stream.do_handshake()
    await trio.testing.wait_all_tasks_blocked()
    assert await stream.receive_some() == b"".join(b"%3d" % number for number in range(200))


@pytest.mark.parametrize("max_bytes", [1, 1000, None])
async def test_nothing_is_lost_or_mixed_in_either_direction(
    line: Line, max_bytes: int | None, autojump_clock: trio.testing.MockClock
) -> None:
    stream = line.open(echo)
    await stream.do_handshake()
    received = bytearray()

    async def send(letter: bytes) -> None:
        for _ in range(10):
            await stream.send_all(letter * 500)

    async with trio.open_nursery() as nursery:
        for letter in (b"a", b"b"):
            nursery.start_soon(send, letter)
        while len(received) < 10_000:
            part = await stream.receive_some(max_bytes)
            assert len(part) <= (max_bytes or 65_536)
            received += part
    assert {bytes(received[at : at + 500]) for at in range(0, 10_000, 500)} == {b"a" * 500, b"b" * 500}


@pytest.mark.parametrize("polite", [True, False])
async def test_the_end_comes_after_the_last_byte_with_or_without_a_goodbye(
    line: Line, polite: bool, autojump_clock: trio.testing.MockClock
) -> None:
    async def script(server: trio.SSLStream[MemoryStream]) -> None:
        await server.send_all(b"last")
        if polite:
            server._https_compatible = False  # says goodbye, in TLS's own words
        await server.aclose()

    stream = line.open(script)
    await stream.do_handshake()
    assert await read_to_end(stream) == b"last"
    assert await stream.receive_some() == b""


async def test_a_record_that_was_tampered_with_breaks_the_stream_after_what_came_before(
    line: Line, autojump_clock: trio.testing.MockClock
) -> None:
    async def script(server: trio.SSLStream[MemoryStream]) -> None:
        await server.send_all(b"good")
        await server.send_all(b"touched")

    stream = line.open(script)
    await stream.do_handshake()
    await trio.testing.wait_all_tasks_blocked()
    line.wire._incoming.buffer[-1] ^= 1
    assert await stream.receive_some() == b"good"
    for _ in range(2):
        with pytest.raises(trio.BrokenResourceError) as caught:
            await stream.receive_some()
        assert isinstance(caught.value.__cause__, ssl.SSLError)


async def test_a_cancelled_receive_loses_nothing(line: Line, autojump_clock: trio.testing.MockClock) -> None:
    async def script(server: trio.SSLStream[MemoryStream]) -> None:
        for number in range(50):
            await server.send_all(b"%2d" % number)
            await trio.sleep(0.3)
        await server.aclose()

    stream = line.open(script)
    await stream.do_handshake()
    whole = b""
    while len(whole) < 100:
        with trio.move_on_after(0.1):
            whole += await stream.receive_some()
        with trio.CancelScope() as scope:
            scope.cancel()
            whole += await stream.receive_some()
    assert whole == b"".join(b"%2d" % number for number in range(50))


async def test_a_send_that_was_cut_off_is_the_last_one(line: Line, autojump_clock: trio.testing.MockClock) -> None:
    stream = line.open(echo)
    await stream.do_handshake()
    wire = stream.transport_stream

    class Stuck(MemoryStream):
        def __init__(self) -> None:
            pass

        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            await trio.sleep_forever()

    stream.transport_stream = Stuck()
    with trio.move_on_after(1):
        await stream.send_all(b"half")
    stream.transport_stream = wire
    with pytest.raises(trio.BrokenResourceError, match="cut off"):
        await stream.send_all(b"more")


async def test_a_certificate_for_somebody_else_is_refused(
    line: Line, autojump_clock: trio.testing.MockClock
) -> None:
    stream = line.open(echo, host="another")
    with pytest.raises(trio.BrokenResourceError) as caught:
        await stream.do_handshake()
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
    await stream.aclose()


async def test_a_peer_without_tls_or_that_hangs_up_is_an_error(autojump_clock: trio.testing.MockClock) -> None:
    for answer in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b""):
        ours, theirs = memory_stream_pair()
        stream = TlsStream(ours, ssl.create_default_context(), "venue")
        if answer:
            await theirs.send_all(answer)
        theirs.cut()
        with pytest.raises((trio.BrokenResourceError, ssl.SSLError)):
            await stream.do_handshake()
