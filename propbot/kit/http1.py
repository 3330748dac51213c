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
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import h11
import trio

from propbot.domain.dialect import HttpCall, HttpReply
from propbot.kit.http1_connection import BODY_BYTES_MAX, AnswerLost, Connection, HeadHook, NotSent, SyncHook
from propbot.kit.net import Address, Network, parse_address

__all__ = ["BODY_BYTES_MAX", "IDLE_S_MAX", "AnswerLost", "HttpClient", "NotSent", "open_http_client"]

IDLE_S_MAX = 30.0
"""An idle connection older than this is not trusted: a NAT or the venue may have forgotten it without a word."""

_TARGET = re.compile(r"/[\x21-\x7e]*")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")


def _why(error: BaseException) -> str:
    """Trio's stream errors often say nothing themselves; their cause does."""
    told = error.__cause__ if not str(error) and error.__cause__ is not None else error
    return f"{type(told).__name__}: {told}"


class HttpClient:
    """One base URL's connections, up to `connections_max`, each opened when it is needed and then kept."""

    def __init__(self, network: Network, address: Address, connections_max: int, secret_path: str = "") -> None:
        self._secret_path = secret_path
        self._network = network
        self._address = address
        self._slots = trio.Semaphore(connections_max)
        self._connections_max = connections_max
        self._idle: list[Connection] = []
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
        on_head: HeadHook | None = None,
    ) -> HttpReply:
        """The reply, whatever its status. One deadline covers waiting for a connection, opening it, and all of the
        exchange.

        `last_check` runs right before the first byte, with no checkpoint between; what it raises comes out of here
        and nothing leaves. `after_send` runs right after the last byte was handed over, `on_head` with status and
        headers as soon as they are there: a body may never come. Raises NotSent or AnswerLost.
        Cancelled midway: the connection is closed; whether the request left is what the hooks saw.
        """
        request = self._encode(call)
        connection: Connection | None = None
        with trio.move_on_after(timeout_s):
            connection = await self._take()
            try:
                return await connection.exchange(self._skeleton(call.method), request, last_check, after_send, on_head)
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
        fresh: list[Connection] = []
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

    async def _take(self) -> Connection:
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

    async def _open(self) -> Connection:
        if self._closed:
            raise NotSent(f"{self._address.authority}: the client is closed")
        try:
            return Connection(await self._network.connect(self._address))
        except (OSError, ssl.SSLError, trio.BrokenResourceError) as error:
            raise NotSent(f"{self._address.authority}: no connection: {_why(error)}") from error

    async def _give_back(self, connection: Connection) -> None:
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
        if not call.method.isalpha() or not _TARGET.fullmatch(self._secret_path + call.target):
            raise ValueError(f"not a request line: {call.method!r} with a target of {len(call.target)} characters")
        head = f"{call.method} {self._secret_path}{call.target}{self._common}"
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
        """Without the query, which carries signatures, and without the secret path."""
        return f"{call.method} {self._address.authority}{call.target.partition('?')[0]}"


@asynccontextmanager
async def open_http_client(
    network: Network, base_url: str, *, connections_max: int = 4, secret_path: str = ""
) -> AsyncIterator[HttpClient]:
    """A client for one scheme, host and port. Opens nothing by itself; at the end its connections are closed.
    `secret_path` stands before each request's target on the wire, and is named in no error."""
    client = HttpClient(network, parse_address(base_url), connections_max, secret_path)
    try:
        yield client
    finally:
        await client.close()
