"""Serving the API: a listener, one guarded task a connection, and an end that no client can delay.

Connections are few: each takes a file descriptor, of which venues, ledger and state need some too. One more than
OPEN_MAX ends one of the address that has the most, so that whoever opens thousands hurries nobody at another address:
first one that has been quiet for a second (it asks nothing, or does not take its answer), then the oldest of those that
wait for the client, then the oldest whose answer is being made. The newest is never the one: its request may be a HOLD.

`shutdown` ends it in order: no new connections, idle ones closed at once, half a second for requests under way, then
by force. Being cancelled ends it too. Nothing is served through hypercorn's own `serve`, see `connection`.
"""

from __future__ import annotations

import logging
import math
import ssl
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework
from quart_trio import QuartTrio

from propbot.api.connection import HEAD_BYTES_MAX, Connection

GRACE_S = 0.5
KEEP_ALIVE_S = 15
HANDSHAKE_S_MAX = 5
READ_S_MAX = 30
LAST_WRITE_S_MAX = 12.0
"""Longer than one write may take."""
QUIET_S = 1.0
OPEN_MAX = 200
"""A fifth of the 1024 descriptors that a process usually has."""
TELL_EVERY_S = 60.0

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]

log = logging.getLogger(__name__)


async def run_api(
    app: QuartTrio,
    host: str,
    port: int,
    *,
    tls: ssl.SSLContext | None = None,
    shutdown: trio.Event,
    on_started: Callable[[str], None] | None = None,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until `shutdown` is set; `started` with the URL (`port` 0: any free one). OSError if it can't listen."""
    plain = await _listen(host, port)
    url = _url("http" if tls is None else "https", host, plain[0])
    listeners: list[Any] = [
        each if tls is None else trio.SSLListener(each, tls, https_compatible=True) for each in plain
    ]
    context = WorkerContext(None)
    connections = _Connections(partial(Connection, ASGIWrapper(sending_whole_answers(app)), _config(), context))
    async with trio.open_nursery() as serving:
        accepting = trio.CancelScope()

        async def accept() -> None:
            with accepting:
                await trio.serve_listeners(connections.run, listeners, handler_nursery=serving)

        serving.start_soon(accept)
        if on_started is not None:
            on_started(url)
        task_status.started(url)
        try:
            await shutdown.wait()
            accepting.cancel()
            await context.terminated.set()
            with trio.move_on_after(GRACE_S):
                await connections.wait_none()
        finally:
            serving.cancel_scope.cancel()
            await connections.close_forcefully()


class _Connections:
    """The open ones, oldest first; so that there are never too many, and that the end can wait for them, and then stop
    waiting."""

    def __init__(self, connect: Callable[[Stream], Connection]) -> None:
        self._connect = connect
        self._open: dict[Stream, Connection] = {}
        self._address_of: dict[Stream, str] = {}
        self._one_ended = trio.Event()
        self._told_at_s = -math.inf

    async def run(self, stream: Stream) -> None:
        connection = self._connect(stream)
        if len(self._open) >= OPEN_MAX:
            await self._end_one()
        self._open[stream] = connection
        self._address_of[stream] = _address(stream)
        try:
            await connection
        finally:
            self._forget(stream)
            self._one_ended.set()
            self._one_ended = trio.Event()

    async def _end_one(self) -> None:
        """Out of the list before anything waits: those that come meanwhile choose another one."""
        now_s = trio.current_time()
        ((most, _),) = Counter(self._address_of.values()).most_common(1)
        theirs = [stream for stream, address in self._address_of.items() if address == most]
        chosen = min(theirs, key=lambda stream: _worth(self._open[stream], now_s))  # of equals the oldest
        self._forget(chosen)
        if now_s - self._told_at_s >= TELL_EVERY_S:
            self._told_at_s = now_s
            log.warning("more than %d clients are connected: those that are quiet are disconnected", OPEN_MAX)
        await trio.aclose_forcefully(chosen)

    def _forget(self, stream: Stream) -> None:
        self._open.pop(stream, None)
        self._address_of.pop(stream, None)

    async def wait_none(self) -> None:
        while self._open:
            await self._one_ended.wait()

    async def close_forcefully(self) -> None:
        """Wakes even a shielded write. Shielded itself, but it waits for nobody."""
        with trio.CancelScope(shield=True):
            for stream in list(self._open):
                await trio.aclose_forcefully(stream)


def _worth(connection: Connection, now_s: float) -> int:
    """The lower the sooner it may go."""
    waits_for_client = connection.writing or not connection.answering
    if not waits_for_client:
        return 2
    return 0 if now_s - connection.quiet_since_s > QUIET_S else 1


def _address(stream: Stream) -> str:
    """Who is at the other end; empty if they have gone meanwhile."""
    plain = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    try:
        return str(plain.socket.getpeername()[0])
    except OSError:
        return ""


def sending_whole_answers(app: QuartTrio) -> ASGIFramework:
    """The application, with the end of each answer sent under a shield.

    QuartTrio cancels a request's tasks as soon as the client's disconnect is seen; and hypercorn says disconnect while
    the last piece is being sent, before the connection is made ready for the next request. Without the shield an idle
    keep-alive connection is never closed, and each one makes a shutdown wait.
    """

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        async def send_whole(message: Any) -> None:
            last = message["type"] == "http.response.body" and not message.get("more_body", False)
            with trio.move_on_after(LAST_WRITE_S_MAX if last else float("inf"), shield=last):
                await send(message)

        await app(scope, receive, send_whole)

    return asgi


async def _listen(host: str, port: int) -> list[trio.SocketListener]:
    try:
        return await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        why = error.strerror or str(error)
        raise OSError(error.errno, f"the API can't listen on {host}:{port}: {why} (API_HOST, API_PORT)") from error


def _url(scheme: str, host: str, listener: trio.SocketListener) -> str:
    port = listener.socket.getsockname()[1]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _config() -> Config:
    config = Config()
    config.accesslog = None
    config.errorlog = log
    config.include_server_header = False
    config.keep_alive_timeout = KEEP_ALIVE_S
    config.read_timeout = READ_S_MAX
    config.ssl_handshake_timeout = HANDSHAKE_S_MAX
    config.h11_max_incomplete_size = HEAD_BYTES_MAX
    return config
