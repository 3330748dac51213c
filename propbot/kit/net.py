"""The network seam: opening a byte stream and listening, over TCP with TLS or in memory.

Everything above (HTTP/1.1 connections, WebSocket sessions, the embedded venues' servers) works on `trio.abc.Stream`
and never sees which. In memory there is no TLS and no latency: a simulation adds latency where it wants it.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from typing import Protocol
from urllib.parse import urlsplit

import trio
from attrs import frozen

from propbot.kit.memory import memory_stream_pair
from propbot.kit.tls import TlsStream

Handler = Callable[[trio.abc.Stream], Awaitable[None]]


@frozen
class Address:
    """The part of a URL that a connection needs; `path` is what follows the port (may be empty)."""

    host: str
    port: int
    tls: bool
    path: str

    @property
    def authority(self) -> str:
        """What the Host header says: the port only where it is not the scheme's own."""
        return self.host if self.port == (443 if self.tls else 80) else f"{self.host}:{self.port}"


def parse_address(url: str) -> Address:
    """From `https://`, `http://`, `wss://` or `ws://` URLs; ValueError for others."""
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http", "wss", "ws") or not parts.hostname:
        raise ValueError(f"not an http(s) or ws(s) address: {url!r}")
    tls = parts.scheme in ("https", "wss")
    return Address(parts.hostname, parts.port or (443 if tls else 80), tls, parts.path)


class Network(Protocol):
    async def connect(self, address: Address) -> trio.abc.Stream:
        """An open stream, TLS handshake done. OSError, ssl.SSLError or trio.BrokenResourceError if it can't be."""
        ...

    async def serve(
        self,
        handler: Handler,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None,
        task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen until cancelled; `started` with the bound port (`port` 0: any). `handler` owns each stream."""
        ...


class TcpNetwork:
    """The machine's network. `client_tls` verifies what we connect to; never switched off."""

    def __init__(self, client_tls: ssl.SSLContext) -> None:
        self._client_tls = client_tls

    async def connect(self, address: Address) -> trio.abc.Stream:
        tcp = await trio.open_tcp_stream(address.host, address.port)
        if not address.tls:
            return tcp
        tls = TlsStream(tcp, self._client_tls, address.host)
        try:
            await tls.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(tls)
            raise
        return tls

    async def serve(
        self,
        handler: Handler,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None,
        task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        listeners = await trio.open_tcp_listeners(port, host=host)
        bound: int = listeners[0].socket.getsockname()[1]

        async def handle(tcp: trio.SocketStream) -> None:
            stream: trio.abc.Stream = tcp
            if tls is not None:
                stream = trio.SSLStream(tcp, tls, server_side=True, https_compatible=True)
            try:
                await handler(stream)
            except (trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError, OSError):
                pass  # the peer went away; the listener lives on
            finally:
                await trio.aclose_forcefully(stream)

        async with trio.open_nursery() as nursery:
            task_status.started(bound)
            for listener in listeners:
                nursery.start_soon(trio.serve_listeners, handle, [listener])


class MemoryNetwork:
    """One process's own internet: `serve` registers a port, `connect` reaches it. No sockets, no TLS, no delay."""

    def __init__(self) -> None:
        self._ports: dict[tuple[str, int], Callable[[trio.abc.Stream], None]] = {}
        self._next_port = 40_000
        self.refuse: set[tuple[str, int]] = set()
        """Addresses that refuse connections, as a venue does that is down."""

    async def connect(self, address: Address) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        key = (address.host, address.port)
        accept = self._ports.get(key)
        if accept is None or key in self.refuse:
            raise ConnectionRefusedError(f"nothing listens on {address.host}:{address.port}")
        ours, theirs = memory_stream_pair()
        accept(theirs)
        return ours

    async def serve(
        self,
        handler: Handler,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None,
        task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        if port == 0:
            self._next_port += 1
            port = self._next_port
        key = (host, port)
        if key in self._ports:
            raise OSError(f"address already in use: {host}:{port}")

        async def handle(stream: trio.abc.Stream) -> None:
            try:
                await handler(stream)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            finally:
                await trio.aclose_forcefully(stream)

        async with trio.open_nursery() as nursery:
            self._ports[key] = lambda stream: nursery.start_soon(handle, stream)
            try:
                task_status.started(port)
                await trio.sleep_forever()
            finally:
                del self._ports[key]
