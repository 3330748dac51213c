"""One HTTP/1.1 connection of the order path: it knows when the first byte leaves, and whether it may be used again.

`http1` keeps a pool of these. h11 keeps the protocol's state and reads replies; request bytes come ready-made.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Mapping

import h11
import trio

from propbot.domain.dialect import HttpReply
from propbot.domain.errors import PropBotError
from propbot.kit.memory import MemoryStream
from propbot.kit.tls import TlsStream

BODY_BYTES_MAX = 16 * 1024 * 1024
_HEAD_BYTES_MAX = 64 * 1024
_RECEIVE_BYTES = 64 * 1024
_HUNG_UP = select.POLLHUP | select.POLLERR | select.POLLNVAL | getattr(select, "POLLRDHUP", 0)

SyncHook = Callable[[], None]
HeadHook = Callable[[int, Mapping[str, str]], None]


class NotSent(PropBotError):
    """No byte of the request left."""


class AnswerLost(PropBotError):
    """Bytes of the request left, and no full answer came: what the venue did is unknown."""


class _Wire(trio.abc.Stream):
    """The transport right above the socket (below TLS), so that it knows when the first byte leaves.

    `last_check` runs here and not above TLS because a TLS stream's `send_all` passes a checkpoint before it writes.
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


class Connection:
    """One open stream, one request at a time."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._tls = isinstance(stream, TlsStream)
        if isinstance(stream, TlsStream):
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
        self,
        skeleton: h11.Request,
        request: bytes,
        last_check: SyncHook | None,
        after_send: SyncHook | None,
        on_head: HeadHook | None,
    ) -> HttpReply:
        self.reusable = False
        await self._send(request, last_check)
        if after_send is not None:
            after_send()
        self._used = True
        self._h11.send(skeleton)
        self._h11.send(h11.EndOfMessage())
        reply = await self._receive(on_head)
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

    async def _receive(self, on_head: HeadHook | None) -> HttpReply:
        head: h11.Response | None = None
        body = bytearray()
        while True:
            event = self._h11.next_event()
            if event is h11.NEED_DATA:
                self._h11.receive_data(bytes(await self._stream.receive_some(_RECEIVE_BYTES)))
            elif isinstance(event, h11.Response):
                head = event
                if on_head is not None:
                    on_head(head.status_code, _headers(head))
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


def _headers(head: h11.Response) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in head.headers:
        name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
