"""One client's connection: hypercorn's HTTP/1.1 on a Trio stream, with what hypercorn 0.18 lacks made good.

Measured in November 2026 (hypercorn issue 225, and fuzzing): one websocket upgrade with a trailing byte, or one
`Upgrade: h2c` with a bad HTTP2-Settings header, ends a whole hypercorn process. So here
- there is no other protocol to switch to: upgrades are ignored, as HTTP allows, and the HTTP/2 preface is refused;
- whatever a connection raises stays its own, and its stream is closed by force;
- who is being answered owes us no byte: hypercorn ends an answer that takes longer than its deadline for reading;
- no write waits for ever: hypercorn shields writes, so a client that stops reading would hold up a shutdown;
- a connection that has ended leaves nothing: hypercorn keeps its task until the keep-alive time is over, fifteen
  seconds. With 400 new connections a second 6,000 were kept, and each full garbage collection took half a second.

This subclasses parts of hypercorn that are no public interface: that is why its version is pinned.
"""

from __future__ import annotations

import logging
from math import inf
from typing import Any, cast

import h11
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Request
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.trio.tcp_server import MAX_RECV, TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState, LifespanState

from propbot.api.headers import hardened
from propbot.api.replies import ApiError, error_content
from propbot.kit.supervise import describe, run_shielding_others

WRITE_S_MAX = 10.0
HEAD_BYTES_MAX = 16 * 1024
"""Of request line and headers."""
_REFUSALS = {
    431: f"request line and headers are larger than {HEAD_BYTES_MAX // 1024} KiB",
    501: "of the transfer encodings only chunked is taken",
    505: "only HTTP/1.1 is spoken here",
}

log = logging.getLogger(__name__)


def _head_bytes(event: h11.Request) -> int:
    """As it is written by anybody who puts one blank after each colon."""
    line = len(event.method) + len(event.target) + len(b"  HTTP/1.1\r\n\r\n")
    return line + sum(len(name) + len(value) + len(b": \r\n") for name, value in event.headers)


class RefusedRequest(Exception):
    """Answered with an error status; the connection ends."""


class Http1Only(H11Protocol):
    """HTTP/1.1 and nothing that one could upgrade to."""

    _asks_head = False

    async def _check_protocol(self, event: h11.Request) -> None:
        self._asks_head = event.method == b"HEAD"
        if event.http_version not in (b"1.0", b"1.1"):
            await self._refuse(505, f"HTTP/{event.http_version.decode('ascii', 'replace')}")
        if _head_bytes(event) > HEAD_BYTES_MAX:  # h11 looks only while the head is not whole
            await self._refuse(431, "a head that is too large")
        if not (event.target.startswith(b"/") and event.target.isascii()):
            await self._refuse(400, "a target that is no path")

    async def _create_stream(self, request: h11.Request) -> None:
        self.stream = HTTPStream(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=list(request.headers),
                http_version=request.http_version.decode("ascii"),
                method=request.method.decode("ascii").upper(),
                raw_path=request.target,
                state=self.connection_state,
            )
        )
        self.keep_alive_requests += 1
        await self.context.mark_request()

    async def _send_error_response(self, status_code: int) -> None:
        """hypercorn's has no body."""
        message = _REFUSALS.get(status_code, "this is no request that HTTP/1.1 allows")
        body = error_content(ApiError(status_code, message))
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
            *self.config.response_headers("h11"),
        ]
        headers = hardened(headers, tls=self.ssl)
        await self._send_h11_event(h11.Response(status_code=status_code, headers=headers))
        if not self._asks_head:
            await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())

    async def _refuse(self, status: int, what: str) -> None:
        await self._send_error_response(status)
        raise RefusedRequest(f"{status}: {what}")


class Connection(TCPServer):
    """`await`ed by Trio's listener: from the accepted stream to its end. Raises nothing but Cancelled."""

    def __init__(
        self, app: AppWrapper, config: Config, context: WorkerContext,
        stream: trio.SocketStream | trio.SSLStream[trio.SocketStream],
    ) -> None:
        # annotated as if every stream were TLS; it looks for itself
        super().__init__(app, config, context, ConnectionState(LifespanState()), cast(Any, stream))
        self.answering = False
        """A request's head has come, and its answer has not been sent to the end."""
        self.quiet_since_s = trio.current_time()
        """When the client last asked for something new, or took something of an answer."""
        self.writing = False
        """A write waits for the client."""
        self._gone = False
        """Nothing will be read any more, so there is nothing to be idle for."""

    async def run(self) -> None:
        try:
            await run_shielding_others(super().run, on_error=_note_end)
        finally:
            await trio.aclose_forcefully(self.stream)

    async def protocol_send(self, event: Event) -> None:
        if not isinstance(event, RawData):
            if isinstance(event, Updated):
                self.answering = not event.idle
                self.quiet_since_s = trio.current_time()
                if self._gone:
                    return
            await super().protocol_send(event)
            return
        async with self.send_lock:
            self.writing = True
            try:
                with trio.fail_after(WRITE_S_MAX, shield=True):
                    await self.stream.send_all(event.data)
                self.quiet_since_s = trio.current_time()
            except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError, trio.TooSlowError):
                # Busy: hypercorn is sending the end of the stream meanwhile, outside of the lock
                await trio.aclose_forcefully(self.stream)
                await self.protocol.handle(Closed())
            finally:
                self.writing = False

    async def _read_data(self) -> None:
        made = self.protocol  # by TCPServer.run, which leaves no choice of the protocol
        made.protocol = Http1Only(
            made.app,
            made.config,
            made.context,
            made.task_group,
            made.state,
            made.ssl,
            made.client,
            made.server,
            made.send,
        )
        await self._read()

    async def _read(self) -> None:
        """hypercorn's loop, but while an answer is under way (an event stream takes hours) it has no deadline."""
        data: bytes | bytearray = b"-"
        while data:
            try:
                with trio.fail_after(inf if self.answering else self.config.read_timeout or inf):
                    data = await self.stream.receive_some(MAX_RECV)
            except (trio.ClosedResourceError, trio.BrokenResourceError, trio.TooSlowError):
                break
            await self.protocol.handle(RawData(bytes(data)))
        self._gone = True
        await self.idle_task.stop()
        await self.protocol.handle(Closed())


def _note_end(error: BaseException) -> None:
    log.info("a client's connection was ended: %s", describe(error))
