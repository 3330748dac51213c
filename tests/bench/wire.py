"""The venues' network, with two things that a real one does and a polite server does not.

A burst leaves in one write: while `Gate` holds, frames that carry a book ticker are kept, and `release` hands them to
the socket together, stamped right before. Without it twenty ticks would take the server's library two milliseconds,
and its own encoding would count as the bot's latency.

A flood: who connects to `/public/stream` while a `Flood` is set gets recorded frames as fast as its socket takes them.
"""

from __future__ import annotations

import base64
import hashlib
import ssl
import time
from collections.abc import Sequence
from typing import Any

import trio
from attrs import define, field

from propbot.kit.net import Handler, TcpNetwork

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TICKER = b"@bookTicker"
PULSE_S = 0.2
_FLOOD_PATH = b"GET /public/stream"


@define(eq=False)
class Gate:
    """Keeps ticks until they are released, all in one write. One subscriber, one burst at a time."""

    _wanted: int = 0
    _kept: list[bytes] = field(factory=list)
    _stream: _Tapped | None = None
    _filled: trio.Event = field(factory=trio.Event)

    def hold(self, count: int) -> None:
        self._wanted, self._kept, self._filled = count, [], trio.Event()

    async def release(self) -> int:
        """Once all held frames are there: send them, and return the time right before (`time.monotonic_ns`)."""
        with trio.fail_after(2.0):
            await self._filled.wait()
        stream, burst = self._stream, b"".join(self._kept)
        assert stream is not None
        self._wanted = 0
        async with stream.sending:
            sent_ns = time.monotonic_ns()
            await stream.inner.send_all(burst)
        return sent_ns

    def takes(self, stream: _Tapped, data: bytes) -> bool:
        if not self._wanted or _TICKER not in data:
            return False
        self._kept.append(data)
        self._stream = stream
        if len(self._kept) == self._wanted:
            self._filled.set()
        return True


class _Tapped(trio.abc.Stream):
    """One accepted connection. `prefix` was read already and comes again."""

    def __init__(self, inner: trio.abc.Stream, gate: Gate) -> None:
        self.inner = inner
        self.sending = trio.Lock()
        self.prefix = b""
        self._gate = gate

    async def send_all(self, data: Any) -> None:
        if self._gate.takes(self, bytes(data)):
            await trio.lowlevel.checkpoint()
            return
        async with self.sending:
            await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self.prefix:
            await trio.lowlevel.checkpoint()
            taken, self.prefix = self.prefix, b""
            return taken
        return bytes(await self.inner.receive_some(max_bytes))

    async def aclose(self) -> None:
        await self.inner.aclose()


@define(eq=False)
class Flood:
    """Recorded frames for one client: `prefix` at once, `body` when `go` is set, as fast as it goes; until then `pulse`
    now and then: no venue is silent, and how late frames come is known once the bot knows the venue's clock."""

    prefix: Sequence[bytes]
    pulse: bytes
    body: Sequence[bytes]
    pulses: int = 0
    go: trio.Event = field(factory=trio.Event)
    connected: trio.Event = field(factory=trio.Event)
    sent: trio.Event = field(factory=trio.Event)
    first_byte_ns: int = 0
    last_byte_ns: int = 0

    async def serve(self, stream: _Tapped) -> None:
        await stream.inner.send_all(_handshake_answer(await _read_head(stream)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._discard, stream, nursery.cancel_scope)
            for chunk in self.prefix:
                await stream.inner.send_all(chunk)
            self.connected.set()
            while not self.go.is_set():
                await stream.inner.send_all(self.pulse)
                self.pulses += 1
                with trio.move_on_after(PULSE_S):
                    await self.go.wait()
            self.first_byte_ns = time.monotonic_ns()
            for chunk in self.body:
                await stream.inner.send_all(chunk)
            self.last_byte_ns = time.monotonic_ns()
            self.sent.set()
            await trio.sleep_forever()

    async def _discard(self, stream: _Tapped, scope: trio.CancelScope) -> None:
        """What the client says (pings, its goodbye) until it goes away."""
        try:
            while await stream.inner.receive_some():
                pass
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        scope.cancel()


async def _read_head(stream: _Tapped) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        more = await stream.receive_some(4096)
        if not more:
            raise trio.BrokenResourceError("gone within the handshake")
        head += more
    return head


def _handshake_answer(head: bytes) -> bytes:
    key = next(
        line.partition(b":")[2].strip()
        for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:")
    )
    accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )


class BenchNetwork(TcpNetwork):
    """TCP with the tap between a venue and its sockets, above TLS."""

    def __init__(self) -> None:
        super().__init__(ssl.create_default_context())
        self.gate = Gate()
        self.flood: Flood | None = None

    async def serve(
        self,
        handler: Handler,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None,
        task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        async def tapped(inner: trio.abc.Stream) -> None:
            stream = _Tapped(inner, self.gate)
            stream.prefix = bytes(await inner.receive_some(16 * 1024))
            flood = self.flood
            if flood is not None and stream.prefix.startswith(_FLOOD_PATH):
                await flood.serve(stream)
            elif stream.prefix:
                await handler(stream)

        await super().serve(tapped, host, port, tls=tls, task_status=task_status)
