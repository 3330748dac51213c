"""The WebSocket seam by the sans-IO protocol of `websockets`: no task, queue or scope for a session, let alone a frame.

Whoever receives does the work: reads, takes messages out of what was read (`ws_inbox`), answers pings. Between two
reads it runs on without a checkpoint, since one costs as much as a frame's whole way into the book; but only for a
*turn* of some thirty frames, so that the other tasks (a HOLD among them) wait for well under a millisecond. A turn is
counted in frames and bytes, not in time: the same input gives the same schedule, in simulation too.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.http11 import Request
from websockets.protocol import State
from websockets.uri import WebSocketURI

from propbot.kit.ws import (
    ABNORMAL,
    GOODBYE_CANCELLED_S,
    GOODBYE_S,
    HANDSHAKE_S,
    MESSAGE_BYTES_MAX,
    WebSocket,
    WebSocketClosed,
)
from propbot.kit.ws_inbox import Inbox

_RECEIVE_BYTES = 64 * 1024
_TURN = 16 * 1024
"""How much is taken between two checkpoints: bytes, and for each frame what its handling costs, counted in bytes."""
_FRAME_COST = 256
_END_OF_HEAD = b"\r\n\r\n"
_GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


class _SansIoWebSocket:
    def __init__(
        self, stream: trio.abc.Stream, protocol: ClientProtocol, unread: bytes, max_message_bytes: int
    ) -> None:
        self._stream = stream
        self._protocol = protocol
        self._inbox = Inbox(protocol, unread, max_message_bytes, self._on_pong)
        self._turn = _TURN
        self._sending = trio.Lock()
        self._answers: list[bytes] = []
        """Pongs that have not left yet. They go with the next send, or as soon as nobody else is sending."""
        self._cut_off = False
        """A send began and did not end: half a frame may have left, and nothing may follow it."""
        self._pings: dict[bytes, trio.Event] = {}
        self._ping_numbers = itertools.count(1)

    async def receive(self) -> str | bytes:
        while True:
            if self._turn <= 0:  # before a message is taken: cancelled here, none is lost
                self._turn = _TURN
                await trio.lowlevel.checkpoint()
            message = self._inbox.take()
            if message is not None:
                self._turn -= _FRAME_COST + len(message)
                return message
            self._turn -= _FRAME_COST
            await self._go_on()

    async def send(self, text: str) -> None:
        async with self._sending:
            self._check_open()
            self._protocol.send_text(text.encode())
            await self._send_written()

    async def ping(self) -> None:
        payload = b"%d" % next(self._ping_numbers)
        pong = trio.Event()
        try:
            async with self._sending:
                self._check_open()
                self._pings[payload] = pong
                self._protocol.send_ping(payload)
                await self._send_written()
            await pong.wait()
            if payload in self._pings:
                raise self._closed()
        finally:
            self._pings.pop(payload, None)

    async def close(self) -> None:
        """Say goodbye and wait for the answer; bring a deadline."""
        if self._cut_off:
            return
        async with self._sending:
            if self._protocol.state is State.OPEN:
                self._protocol.send_close(1000)
            try:
                await self._send_written()
                self._inbox.discard()
                while self._protocol.state is State.CLOSING and self._protocol.close_rcvd is None:
                    received = await self._stream.receive_some(_RECEIVE_BYTES)
                    if not received:
                        return
                    self._inbox.feed(received)
                    self._inbox.discard()
            except (*_GONE, WebSocketClosed):
                return

    def end(self) -> None:
        self._inbox.finish(ABNORMAL, "closed by us")
        self._wake_pings()

    async def _go_on(self) -> None:
        """After a `take` without a message: answer, end or read."""
        inbox = self._inbox
        if inbox.end is not None:
            self._wake_pings()
            raise self._closed()
        self._answers += self._protocol.data_to_send()
        if self._answers:
            await self._send_answers()
        if not inbox.hungry:
            return
        try:
            received = await self._stream.receive_some(_RECEIVE_BYTES)
        except _GONE as error:
            inbox.finish(ABNORMAL, f"the connection broke: {error.__cause__ or error}")
            return
        self._turn = _TURN
        if received:
            inbox.feed(received)
        else:
            inbox.feed_eof()

    async def _send_answers(self) -> None:
        """The peer may be gone or take nothing: what it sent before that is still read."""
        if self._cut_off:
            self._answers.clear()
            return
        try:
            self._sending.acquire_nowait()
        except trio.WouldBlock:
            return  # whoever is sending takes them along: a reader that waited for it might wait for ever
        try:
            await trio.lowlevel.checkpoint_if_cancelled()  # so that they stay whole when it is only us who are
            await self._send_written()
        except WebSocketClosed:
            pass
        finally:
            self._sending.release()

    async def _send_written(self) -> None:
        """The lock is held. What the protocol wrote, and answers, as long as there are any."""
        while written := self._answers + self._protocol.data_to_send():
            self._answers = []
            self._cut_off = True
            try:
                await self._stream.send_all(b"".join(written))
            except _GONE as error:
                raise WebSocketClosed(ABNORMAL, f"the connection broke: {error.__cause__ or error}") from error
            self._cut_off = False

    def _on_pong(self, payload: bytes) -> None:
        """It answers for earlier pings too (RFC 6455, 5.5.3). One that nobody asked for is ignored."""
        if payload not in self._pings:
            return
        for earlier in list(self._pings):
            self._pings.pop(earlier).set()
            if earlier == payload:
                return

    def _wake_pings(self) -> None:
        for pong in self._pings.values():
            pong.set()

    def _check_open(self) -> None:
        if self._inbox.end is not None:
            raise self._closed()
        if self._cut_off:
            raise WebSocketClosed(ABNORMAL, "an earlier send was cut off or failed")

    def _closed(self) -> WebSocketClosed:
        end = self._inbox.end
        assert end is not None
        return WebSocketClosed(end.code, end.reason)


@asynccontextmanager
async def open_websocket(
    stream: trio.abc.Stream,
    *,
    host: str,
    target: str,
    max_message_bytes: int = MESSAGE_BYTES_MAX,
    timeout_s: float = HANDSHAKE_S,
) -> AsyncIterator[WebSocket]:
    """As `kit.ws.OpenWebSocket` says."""
    protocol = ClientProtocol(
        WebSocketURI(secure=False, host="", port=80, path=target, query=""),
        extensions=[ClientPerMessageDeflateFactory()],
        max_size=max_message_bytes,
    )
    protocol.debug = False  # else a log line for each frame, where the root logger says DEBUG
    try:
        unread: bytes | None = None
        with trio.move_on_after(timeout_s):
            unread = await _shake_hands(stream, protocol, host, target)
        if unread is None:
            raise _not_opened(f"no answer to the handshake within {timeout_s:g} s")
        ws = _SansIoWebSocket(stream, protocol, unread, max_message_bytes)
        try:
            yield ws
        finally:
            cancelled = trio.current_effective_deadline() == -math.inf
            with trio.move_on_after(GOODBYE_CANCELLED_S if cancelled else GOODBYE_S, shield=True):
                await ws.close()
            ws.end()
    finally:
        await trio.aclose_forcefully(stream)


async def _shake_hands(stream: trio.abc.Stream, protocol: ClientProtocol, host: str, target: str) -> bytes:
    """What came behind the answer: it belongs to the session. The protocol gets the head alone, so that it starts at
    the beginning of a frame."""
    headers = Headers()
    headers["Host"] = host
    for name, value in protocol.connect().headers.raw_items():
        if name != "Host":
            headers[name] = value
    protocol.send_request(Request(target, headers))
    tail = b""
    try:
        await stream.send_all(b"".join(protocol.data_to_send()))
        while True:
            received = await stream.receive_some(_RECEIVE_BYTES)
            if not received:
                protocol.receive_eof()
                break
            seen = tail + received
            head_end = seen.find(_END_OF_HEAD)
            if head_end < 0:
                protocol.receive_data(received)
                tail = seen[-len(_END_OF_HEAD) + 1 :]
            else:
                split = head_end + len(_END_OF_HEAD) - len(tail)
                protocol.receive_data(received[:split])
                if protocol.state is State.OPEN:
                    protocol.events_received()
                    return bytes(received[split:])
                protocol.receive_data(received[split:])  # the body of a refusal
                tail = b""
            if protocol.handshake_exc is not None:
                break
    except _GONE as error:
        raise _not_opened("the connection ended") from error
    raise _refused(protocol.handshake_exc)


def _refused(error: Exception | None) -> WebSocketClosed:
    if isinstance(error, InvalidStatus):
        body = bytes(error.response.body)[:200].decode("utf-8", "replace")
        return WebSocketClosed(
            ABNORMAL, f"the handshake was refused: HTTP {error.response.status_code} {body}".rstrip()
        )
    if error is None or isinstance(error.__cause__, EOFError):
        return _not_opened("the connection ended")
    return WebSocketClosed(ABNORMAL, f"{type(error).__name__}: {error.__cause__ or error}")


def _not_opened(why: str) -> WebSocketClosed:
    return WebSocketClosed(ABNORMAL, f"the session was not opened: {why}")
