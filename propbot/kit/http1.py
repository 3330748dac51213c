"""A small keep-alive HTTP/1.1 client over the network seam: the road that orders take.

It exists because an order's sender must know what no general client tells: whether any byte of the request left
(`NotSent` or `AnswerLost`), and that its last check runs with no checkpoint between it and the first byte. h11 keeps
the protocol's state and reads replies; the request's bytes are put together here, which is cheaper.

    async with open_http_client(network, "https://fapi.binance.com") as client:
        await client.warm(2)
        reply = await client.request(call, timeout_s=2.0, last_check=gate.check)

Nothing is ever retried in here.
"""

from __future__ import annotations

import re
import select
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import h11
import trio

from propbot.domain.dialect import HttpCall, HttpReply
from propbot.domain.errors import PropBotError
from propbot.kit.memory import MemoryStream
from propbot.kit.net import Address, Network, parse_address

BODY_BYTES_MAX = 16 * 1024 * 1024
IDLE_S_MAX = 30.0
"""An idle connection older than this is not trusted: a NAT or the venue may have forgotten it without a word."""

_HEAD_BYTES_MAX = 64 * 1024
_RECEIVE_BYTES = 64 * 1024
_TARGET = re.compile(r"/[\x21-\x7e]*")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")
_HUNG_UP = select.POLLHUP | select.POLLERR | select.POLLNVAL | getattr(select, "POLLRDHUP", 0)

SyncHook = Callable[[], None]


class NotSent(PropBotError):
    """No byte of the request left."""


class AnswerLost(PropBotError):
    """Bytes of the request left, and no full answer came: what the venue did is unknown."""


class _Wire(trio.abc.Stream):
    """The transport right above the socket (below TLS), so that it knows when the first byte leaves.

    `last_check` runs here and not above TLS because `SSLStream.send_all` passes a checkpoint before it writes.
    """

    def __init__(self, transport: trio.abc.Stream) -> None:
        self._transport = transport
        self.last_check: SyncHook | None = None
        self.bytes_left = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        # Yields only when cancelled. From here to the transport's first write there is no checkpoint: a socket's
        # send tries the system call first, and MemoryStream puts first.
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.last_check is not None:
            check, self.last_check = self.last_check, None
            check()
        self.bytes_left = True
        await self._transport.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._transport.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._transport.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._transport.aclose()

    def hung_up(self, *, unread_is_fine: bool) -> bool:
        """Whether the peer closed, or (unless `unread_is_fine`) sent what nobody asked for. Never blocks.

        Streams that can't be asked count as alive; age alone retires them.
        """
        if isinstance(self._transport, MemoryStream):
            return self._transport.readable
        if not isinstance(self._transport, trio.SocketStream):
            return False
        poll = select.poll()
        poll.register(self._transport.socket.fileno(), select.POLLIN | _HUNG_UP)
        events = sum(mask for _, mask in poll.poll(0))
        return bool(events & _HUNG_UP) or (bool(events & select.POLLIN) and not unread_is_fine)


class _Connection:
    """One open stream, one request at a time."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._tls = isinstance(stream, trio.SSLStream)
        if isinstance(stream, trio.SSLStream):
            self._wire = _Wire(stream.transport_stream)
            stream.transport_stream = self._wire
            self._stream: trio.abc.Stream = stream
        else:
            self._stream = self._wire = _Wire(stream)
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES_MAX)
        self._idle_since_s = trio.current_time()
        self._used = False
        self.reusable = True

    def usable(self, idle_s_max: float) -> bool:
        if trio.current_time() - self._idle_since_s > idle_s_max:
            return False
        # A TLS 1.3 server's session tickets lie unread on a connection that has not received yet.
        return not self._wire.hung_up(unread_is_fine=self._tls and not self._used)

    @property
    def bytes_left(self) -> bool:
        """Whether any byte of the current request was handed to the transport."""
        return self._wire.bytes_left

    async def exchange(
        self, skeleton: h11.Request, request: bytes, last_check: SyncHook | None, after_send: SyncHook | None
    ) -> HttpReply:
        self.reusable = False
        await self._send(request, last_check)
        if after_send is not None:
            after_send()
        self._used = True
        self._h11.send(skeleton)
        self._h11.send(h11.EndOfMessage())
        reply = await self._receive()
        self._finish()
        return reply

    async def _send(self, request: bytes, last_check: SyncHook | None) -> None:
        self._wire.last_check = last_check
        self._wire.bytes_left = False
        try:
            await self._stream.send_all(request)
        finally:
            # Refused by the last check: a plain connection is as good as before. Under TLS the record is already
            # made and would be missing in the sequence, so that connection is given up.
            self.reusable = not self._tls and not self._wire.bytes_left
            self._wire.last_check = None
        self.reusable = False

    async def _receive(self) -> HttpReply:
        head: h11.Response | None = None
        body = bytearray()
        while True:
            event = self._h11.next_event()
            if event is h11.NEED_DATA:
                self._h11.receive_data(bytes(await self._stream.receive_some(_RECEIVE_BYTES)))
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > BODY_BYTES_MAX:
                    raise AnswerLost(f"the reply's body is larger than {BODY_BYTES_MAX} bytes")
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                return HttpReply(head.status_code, _headers(head), bytes(body))
            elif not isinstance(event, h11.InformationalResponse):
                raise AnswerLost("the connection ended before a reply")

    def _finish(self) -> None:
        unasked, _ = self._h11.trailing_data
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE and not unasked:
            self._h11.start_next_cycle()
            self._idle_since_s = trio.current_time()
            self.reusable = True

    async def close(self) -> None:
        """At once, without a goodbye; safe when cancelled."""
        await trio.aclose_forcefully(self._stream)


def _why(error: BaseException) -> str:
    """Trio's stream errors often say nothing themselves; their cause does."""
    told = error.__cause__ if not str(error) and error.__cause__ is not None else error
    return f"{type(told).__name__}: {told}"


def _headers(head: h11.Response) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in head.headers:
        name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


class HttpClient:
    """One base URL's connections, up to `connections_max`, each opened when it is needed and then kept."""

    def __init__(self, network: Network, address: Address, connections_max: int) -> None:
        self._network = network
        self._address = address
        self._slots = trio.Semaphore(connections_max)
        self._connections_max = connections_max
        self._idle: list[_Connection] = []
        self._closed = False
        self._skeletons: dict[str, h11.Request] = {}
        self._common = f" HTTP/1.1\r\nHost: {address.authority}\r\nUser-Agent: propbot\r\nAccept-Encoding: identity\r\n"

    @property
    def idle_connections(self) -> int:
        return len(self._idle)

    async def request(
        self,
        call: HttpCall,
        *,
        timeout_s: float,
        last_check: SyncHook | None = None,
        after_send: SyncHook | None = None,
    ) -> HttpReply:
        """The reply, whatever its status. One deadline covers waiting for a connection, opening it, and all of the
        exchange.

        `last_check` runs right before the first byte, with no checkpoint between; what it raises comes out of here
        and nothing leaves. `after_send` runs right after the last byte was handed over. Raises NotSent or AnswerLost.
        Cancelled midway: the connection is closed; whether the request left is what the hooks saw.
        """
        request = self._encode(call)
        connection: _Connection | None = None
        with trio.move_on_after(timeout_s):
            connection = await self._take()
            try:
                return await connection.exchange(self._skeleton(call.method), request, last_check, after_send)
            except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError) as error:
                kind = AnswerLost if connection.bytes_left else NotSent
                raise kind(f"{self._what(call)}: {_why(error)}") from error
            finally:
                await self._give_back(connection)
        what = f"{self._what(call)}: nothing complete came within {timeout_s:g} s"
        if connection is not None and connection.bytes_left:
            raise AnswerLost(what)
        raise NotSent(f"{what}, and no byte was sent")

    async def warm(self, count: int, *, timeout_s: float = 5.0) -> None:
        """Have `count` idle connections (at most the client's maximum), none older than half its idle life, so that
        an order finds one open. Call it every few seconds. Raises NotSent where the address can't be reached."""
        await self._retire(IDLE_S_MAX / 2)
        fresh: list[_Connection] = []
        with trio.move_on_after(timeout_s) as scope:
            try:
                while len(self._idle) + len(fresh) < min(count, self._connections_max):
                    fresh.append(await self._open())
            finally:
                self._idle[:0] = fresh
        if scope.cancelled_caught:
            raise NotSent(f"{self._address.authority}: no connection within {timeout_s:g} s")

    async def close(self) -> None:
        self._closed = True
        while self._idle:
            await self._idle.pop().close()

    async def _take(self) -> _Connection:
        """An open connection and its slot; with an idle one at hand there is no checkpoint in here."""
        try:
            self._slots.acquire_nowait()
        except trio.WouldBlock:
            await self._slots.acquire()
        try:
            while self._idle:
                connection = self._idle.pop()  # the latest: the least likely to have been forgotten by the peer
                if connection.usable(IDLE_S_MAX):
                    return connection
                await connection.close()
            return await self._open()
        except BaseException:
            self._slots.release()
            raise

    async def _open(self) -> _Connection:
        if self._closed:
            raise NotSent(f"{self._address.authority}: the client is closed")
        try:
            return _Connection(await self._network.connect(self._address))
        except (OSError, ssl.SSLError, trio.BrokenResourceError) as error:
            raise NotSent(f"{self._address.authority}: no connection: {_why(error)}") from error

    async def _give_back(self, connection: _Connection) -> None:
        self._slots.release()
        if connection.reusable and not self._closed and len(self._idle) < self._connections_max:
            self._idle.append(connection)
        else:
            connection.reusable = False
            await connection.close()

    async def _retire(self, idle_s_max: float) -> None:
        for connection in [each for each in self._idle if not each.usable(idle_s_max)]:
            # Another task may have taken it while we closed its neighbour.
            if connection in self._idle:
                self._idle.remove(connection)
                await connection.close()

    def _encode(self, call: HttpCall) -> bytes:
        """The request as bytes. ValueError for what would not be one line: a bug, or an attempt to smuggle."""
        if not call.method.isalpha() or not _TARGET.fullmatch(call.target):
            raise ValueError(f"not a request line: {call.method!r} with a target of {len(call.target)} characters")
        head = f"{call.method} {call.target}{self._common}"
        for name, value in call.headers:
            if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
                raise ValueError(f"not a header: {name!r}")
            head += f"{name}: {value}\r\n"
        if call.body or call.method in ("POST", "PUT", "PATCH"):
            head += f"Content-Length: {len(call.body)}\r\n"
        return head.encode("ascii") + b"\r\n" + call.body

    def _skeleton(self, method: str) -> h11.Request:
        """What h11 is told that we sent: it needs the method to read the reply, and the rest would only cost time."""
        skeleton = self._skeletons.get(method)
        if skeleton is None:
            skeleton = h11.Request(method=method, target="/", headers=[("Host", self._address.authority)])
            self._skeletons[method] = skeleton
        return skeleton

    def _what(self, call: HttpCall) -> str:
        """Without the query: it carries signatures."""
        return f"{call.method} {self._address.authority}{call.target.partition('?')[0]}"


@asynccontextmanager
async def open_http_client(network: Network, base_url: str, *, connections_max: int = 4) -> AsyncIterator[HttpClient]:
    """A client for one scheme, host and port. Opens nothing by itself; at the end its connections are closed."""
    client = HttpClient(network, parse_address(base_url), connections_max)
    try:
        yield client
    finally:
        await client.close()
