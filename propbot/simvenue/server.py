"""The embedded venues' server: HTTP/1.1 and WebSocket on one port, one handler task a connection.

It knows no venue: requests go to a face (`answer`), upgraded connections to its WebSocket side (`talk`). Whatever a
peer sends, the damage ends with its own connection. A face may raise `CutConnection`: no reply, the connection ends,
as when a load balancer dies; that is how lost acknowledgements are made.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus

import h11
import trio
from attrs import frozen
from trio_websocket import ConnectionClosed, WebSocketRequest, wrap_server_stream

from propbot.kit.net import Network
from propbot.kit.supervise import run_shielding_others
from propbot.simvenue.swallow import SwallowingStream

HEAD_BYTES_MAX = 16 * 1024
BODY_BYTES_MAX = 64 * 1024
IDLE_S_MAX = 120.0
"""How long a keep-alive connection may say nothing."""
REQUEST_S_MAX = 10.0
"""From a request's first byte to its last, and for a reply to be taken."""
WS_MESSAGE_BYTES_MAX = 64 * 1024
_WS_QUEUE = 32
_CHUNK_BYTES = 64 * 1024
_UPGRADE = re.compile(rb"^upgrade:[ \t]*websocket[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)


@frozen
class Request:
    """One request, read in full. `query` and `body` are the bytes as sent: signatures are over them."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    received_ns: int


@frozen
class Response:
    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json;charset=UTF-8"
    drip_s: float = 0.0
    """Above zero: it leaves byte by byte, one each so many seconds."""


class CutConnection(Exception):
    """Raised by a face: end this connection without a reply."""


class _BadRequest(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


Answer = Callable[[Request], Awaitable[Response]]
Talk = Callable[[WebSocketRequest], Awaitable[None]]
"""Accepts or rejects the upgrade, then lives as long as the session."""

_GONE = (trio.BrokenResourceError, trio.ClosedResourceError, ConnectionClosed, ssl.SSLError, OSError)


async def serve(
    network: Network,
    host: str,
    port: int,
    *,
    tls: ssl.SSLContext | None,
    answer: Answer,
    talk: Talk | None,
    admits: Callable[[], bool],
    mono_ns: Callable[[], int],
    on_error: Callable[[BaseException], None],
    swallows: Callable[[], bool] = lambda: False,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Listen until cancelled; `started` with the bound port. A connection that `admits` does not want is closed; one
    that meets a moment at which `swallows` is true is dead from then on, and says so to nobody."""

    async def handle(stream: trio.abc.Stream) -> None:
        if admits():
            stream = SwallowingStream(stream, swallows)
            connection = _Connection(stream, answer, talk, mono_ns)
            await run_shielding_others(connection.converse, on_error=failed)

    def failed(error: BaseException) -> None:
        if not _is_gone(error):
            on_error(error)

    await network.serve(handle, host, port, tls=tls, task_status=task_status)


def _is_gone(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_gone(part) for part in error.exceptions)
    return isinstance(error, (*_GONE, CutConnection))


class _Prefixed(trio.abc.Stream):
    """A stream whose first bytes were read already and come again."""

    def __init__(self, prefix: bytes, stream: trio.abc.Stream) -> None:
        self._prefix = prefix
        self._stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if not self._prefix:
            return await self._stream.receive_some(max_bytes)
        await trio.lowlevel.checkpoint()
        taken, self._prefix = self._prefix[:max_bytes], self._prefix[max_bytes or len(self._prefix) :]
        return taken

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Connection:
    def __init__(
        self, stream: trio.abc.Stream, answer: Answer, talk: Talk | None, mono_ns: Callable[[], int]
    ) -> None:
        self._stream = stream
        self._answer = answer
        self._talk = talk
        self._mono_ns = mono_ns
        self._left = b""
        """What came after the last request."""

    async def converse(self) -> None:
        """Requests until one side has had enough; an upgrade is the last."""
        keep = True
        while keep:
            # A connection state per request: what is left over is ours, so that an upgrade can be handed on whole.
            parser = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
            try:
                request = await self._read(parser)
            except _BadRequest as bad:
                await self._send(parser, None, Response(bad.status))
                return
            if request is None:
                return
            if isinstance(request, bytes):
                await self._upgrade(request)
                return
            await self._send(parser, request, await self._answer(request))
            self._left = parser.trailing_data[0]
            keep = parser.our_state is h11.DONE and parser.their_state is h11.DONE

    async def _read(self, parser: h11.Connection) -> Request | bytes | None:
        """The next request; the bytes so far if it asks for a WebSocket; None when the peer is done or idle."""
        with trio.move_on_after(REQUEST_S_MAX if self._left else IDLE_S_MAX) as scope:
            return await self._parse(parser, scope)
        if parser.their_state is h11.IDLE and not parser.trailing_data[0]:
            return None
        raise _BadRequest(408)

    async def _parse(self, parser: h11.Connection, scope: trio.CancelScope) -> Request | bytes | None:
        raw = self._left
        head: h11.Request | None = None
        body = bytearray()
        if raw:
            parser.receive_data(raw)
        while True:
            try:
                event = parser.next_event()
            except h11.RemoteProtocolError as error:
                raise _BadRequest(error.error_status_hint) from None
            if event is h11.NEED_DATA:
                if parser.they_are_waiting_for_100_continue:
                    go_on = parser.send(h11.InformationalResponse(status_code=100, headers=[]))
                    await self._stream.send_all(go_on or b"")
                data = bytes(await self._stream.receive_some(_CHUNK_BYTES))
                if not raw and data:
                    scope.deadline = trio.current_time() + REQUEST_S_MAX
                if head is None:
                    raw += data
                parser.receive_data(data)
            elif isinstance(event, h11.Request):
                head = event
                text = raw.partition(b"\r\n\r\n")[0]
                if len(text) > HEAD_BYTES_MAX:  # h11's own bound counts only a head that came in pieces
                    raise _BadRequest(431)
                if self._talk is not None and _UPGRADE.search(text):
                    return raw
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > BODY_BYTES_MAX:
                    raise _BadRequest(413)
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                return self._request(head, bytes(body))
            else:
                return None  # ConnectionClosed

    def _request(self, head: h11.Request, body: bytes) -> Request:
        path, _, query = head.target.decode("latin-1").partition("?")
        headers = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}
        return Request(head.method.decode("ascii"), path, query, headers, body, self._mono_ns())

    async def _send(self, parser: h11.Connection, request: Request | None, response: Response) -> None:
        if parser.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        headers = [
            ("Content-Type", response.content_type),
            ("Content-Length", str(len(response.body))),
            *response.headers,
        ]
        if request is None:
            headers.append(("Connection", "close"))
        head = h11.Response(status_code=response.status, headers=headers, reason=_reason(response.status))
        message = parser.send(head) or b""
        if request is None or request.method != "HEAD":
            message += parser.send(h11.Data(data=response.body)) or b""
        message += parser.send(h11.EndOfMessage()) or b""
        if response.drip_s:
            for byte in message:
                await self._stream.send_all(bytes((byte,)))
                await trio.sleep(response.drip_s)
            return
        with trio.move_on_after(REQUEST_S_MAX):
            await self._stream.send_all(message)

    async def _upgrade(self, raw: bytes) -> None:
        assert self._talk is not None
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(REQUEST_S_MAX):
                request = await wrap_server_stream(
                    nursery,
                    _Prefixed(raw, self._stream),
                    message_queue_size=_WS_QUEUE,
                    max_message_size=WS_MESSAGE_BYTES_MAX,
                )
                nursery.start_soon(partial(_talk_then_end, self._talk, request, nursery.cancel_scope))
                return
            nursery.cancel_scope.cancel()


def _reason(status: int) -> str:
    """Binance's own statuses (418) are all in the standard's list."""
    return HTTPStatus(status).phrase


async def _talk_then_end(talk: Talk, request: WebSocketRequest, scope: trio.CancelScope) -> None:
    await talk(request)
    scope.cancel()
