"""The WebSocket seam by trio-websocket: one task more per session, which reads ahead into a queue.

What the library leaves open is closed here: a handshake that gets no answer ends at a deadline or with the connection,
goodbyes are bounded, the descriptor is closed whatever happened (0.12 leaks it after an abnormal close), its queue
holds more than one message, and every way to end is `WebSocketClosed`.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import h11
import trio
import trio_websocket
import wsproto.utilities

from propbot.kit.ws import (
    ABNORMAL,
    GOODBYE_CANCELLED_S,
    GOODBYE_S,
    HANDSHAKE_S,
    MESSAGE_BYTES_MAX,
    WebSocket,
    WebSocketClosed,
)

_PROTOCOL_ERRORS = (trio_websocket.HandshakeError, wsproto.utilities.ProtocolError, h11.ProtocolError)
"""What the library's reader lets through when the peer does not speak the protocol."""
_QUEUE_MESSAGES = 256
"""Full, the socket's reader waits and the venue notices: nothing is dropped in here."""
_RECEIVE_BYTES = 64 * 1024


class _TrioWebSocket:
    def __init__(self, connection: trio_websocket.WebSocketConnection) -> None:
        self._connection = connection

    async def receive(self) -> str | bytes:
        try:
            return await self._connection.get_message()
        except trio_websocket.ConnectionClosed as closed:
            raise _as_closed(closed) from None

    async def send(self, text: str) -> None:
        try:
            await self._connection.send_message(text)
        except (trio_websocket.ConnectionClosed, wsproto.utilities.LocalProtocolError) as error:
            raise _as_closed(error) from None

    async def ping(self) -> None:
        try:
            await self._connection.ping()
        except (trio_websocket.ConnectionClosed, wsproto.utilities.LocalProtocolError) as error:
            raise _as_closed(error) from None


class _Transport(trio.abc.Stream):
    """The stream as trio-websocket sees it. While the session is being opened its end cancels `opening`: the library
    would leave whoever opens waiting. Not an error raised here: the library's reader may come to the end before the
    opener has noticed that the session is open, and then it is one that was open."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.opening: trio.CancelScope | None = None
        self.ended = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        received: bytes | bytearray = b""
        try:
            received = await self._stream.receive_some(max_bytes)
        finally:
            if not received:
                self.ended = True
                if self.opening is not None:
                    self.opening.cancel()
        return received

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


@asynccontextmanager
async def open_websocket(
    stream: trio.abc.Stream,
    *,
    host: str,
    target: str,
    max_message_bytes: int = MESSAGE_BYTES_MAX,
    timeout_s: float = HANDSHAKE_S,
) -> AsyncIterator[WebSocket]:
    """A session on `stream`, which is closed at the end in any case. `host` is the Host header.

    WebSocketClosed if it can't be opened within `timeout_s`. What the body raises comes out as it is, not in a group.
    """
    transport = _Transport(stream)
    try:
        async with trio.open_nursery() as nursery:
            connection = await _connect(nursery, transport, host, target, max_message_bytes, timeout_s)
            try:
                yield _TrioWebSocket(connection)
            finally:
                cancelled = trio.current_effective_deadline() == -math.inf
                with trio.move_on_after(GOODBYE_CANCELLED_S if cancelled else GOODBYE_S, shield=True):
                    await connection.aclose()
                nursery.cancel_scope.cancel()  # the library's reader
    except BaseExceptionGroup as group:
        raise _sole(group) from None
    finally:
        await trio.aclose_forcefully(stream)


async def _connect(
    nursery: trio.Nursery, transport: _Transport, host: str, target: str, max_message_bytes: int, timeout_s: float
) -> trio_websocket.WebSocketConnection:
    connection: trio_websocket.WebSocketConnection | None = None
    with trio.move_on_after(timeout_s) as transport.opening:
        connection = await trio_websocket.wrap_client_stream(
            nursery,
            transport,  # type: ignore[arg-type]  # typed as a socket's stream; any stream will do
            host,
            target,
            message_queue_size=_QUEUE_MESSAGES,
            max_message_size=max_message_bytes,
            receive_buffer_size=_RECEIVE_BYTES,
        )
    transport.opening = None
    if connection is not None:
        return connection
    why = "the connection ended" if transport.ended else f"no answer to the handshake within {timeout_s:g} s"
    raise WebSocketClosed(ABNORMAL, f"the session was not opened: {why}")


def _as_closed(error: Exception) -> WebSocketClosed:
    if isinstance(error, trio_websocket.ConnectionClosed):
        if error.reason is None:
            return WebSocketClosed(ABNORMAL, "closed by us")
        return WebSocketClosed(error.reason.code, error.reason.reason or "")
    if isinstance(error, trio_websocket.ConnectionRejected):
        body = (error.body or b"")[:200].decode("utf-8", "replace")
        return WebSocketClosed(ABNORMAL, f"the handshake was refused: HTTP {error.status_code} {body}".rstrip())
    return WebSocketClosed(ABNORMAL, f"{type(error).__name__}: {error}")


def _sole(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one error in `group`, in our words; the group itself if there are several."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        if len(error.exceptions) > 1:
            return error
        error = error.exceptions[0]
    if isinstance(error, _PROTOCOL_ERRORS):
        return _as_closed(error)
    return error
