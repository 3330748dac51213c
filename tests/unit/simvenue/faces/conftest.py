"""A whole host in memory, over a market that stands still until the test moves it, and clients that sign."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import trio
from attrs import define, field, frozen
from trio_websocket import WebSocketConnection, wrap_client_stream

from propbot.domain.dialect import HttpCall, HttpReply
from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM, VenueId
from propbot.domain.market import DepthDiff, DepthSnapshot, TopOfBook
from propbot.kit.clock import VirtualClock
from propbot.kit.http1 import open_http_client
from propbot.kit.net import MemoryNetwork, parse_address
from propbot.kit.trace import MemoryTrace
from propbot.simvenue.access import HostAccess, Inside
from propbot.simvenue.host import HostConfig, run_host
from propbot.simvenue.records import MarketFrame

SYMBOL = "BTCUSDT"
EPOCH_NS = 1_790_000_000_000_000_000
BIDS = [("60000.00", "1.000"), ("59999.00", "2.000")]
ASKS = [("60000.10", "0.500"), ("60001.00", "2.000")]
VENUES = (BINANCE_UM, BINANCE_SPOT)


@define
class StillMarket:
    """Both venues show the same book; frames are the test's."""

    clock: VirtualClock
    snapshots: Mapping[tuple[VenueId, str], DepthSnapshot] = field(
        factory=lambda: {(v, SYMBOL): DepthSnapshot(v, SYMBOL, 100, list(BIDS), list(ASKS)) for v in VENUES}
    )
    over: trio.Event = field(factory=trio.Event)
    publish: Callable[[MarketFrame], None] | None = None
    last_id: int = 100

    def wall_ns(self) -> int:
        return self.clock.wall_ns()

    async def run(self, publish: Callable[[MarketFrame], None]) -> None:
        self.publish = publish
        await self.over.wait()

    def ticker(self, venue: VenueId, bid: str, ask: str) -> MarketFrame:
        self.last_id += 1
        top = TopOfBook(venue, SYMBOL, self.last_id, bid, "1.0", ask, "1.0", None)
        return self._send(venue, "btcusdt@bookTicker", f'{{"u":{self.last_id},"b":"{bid}","a":"{ask}"}}', top)

    def depth(self, venue: VenueId, stream: str = "btcusdt@depth@0ms") -> MarketFrame:
        self.last_id += 1
        diff = DepthDiff(venue, SYMBOL, self.last_id, self.last_id, self.last_id - 1, [], [], 0)
        return self._send(venue, stream, f'{{"e":"depthUpdate","u":{self.last_id}}}', diff)

    def trade(self, venue: VenueId, price: str, qty: str, *, ago_ms: int = 0) -> MarketFrame:
        self.last_id += 1
        ts_ms = self.wall_ns() // 1_000_000 - ago_ms
        text = f'{{"e":"trade","t":{self.last_id},"p":"{price}","q":"{qty}","T":{ts_ms},"m":true}}'
        return self._send(venue, "btcusdt@trade", text, None)

    def _send(self, venue: VenueId, stream: str, text: str, event: DepthDiff | TopOfBook | None) -> MarketFrame:
        envelope = f'{{"stream":"{stream}","data":{text}}}'
        frame = MarketFrame(venue, SYMBOL, stream, envelope, text, event)
        assert self.publish is not None
        self.publish(frame)
        return frame


@frozen
class Answer:
    status: int
    headers: Mapping[str, str]
    body: Any


@define
class World:
    """One host, and what a client does with it."""

    network: MemoryNetwork
    market: StillMarket
    access: HostAccess
    rows: list[dict[str, Any]]
    nursery: trio.Nursery

    @property
    def inside(self) -> Inside:
        assert self.access.inside is not None
        return self.access.inside

    def now_ms(self) -> int:
        return self.market.wall_ns() // 1_000_000

    def kinds(self, kind: str) -> list[dict[str, Any]]:
        return [row for row in self.rows if row["kind"] == kind]

    async def send(self, base: str, call: HttpCall, timeout_s: float = 60.0) -> HttpReply:
        async with open_http_client(self.network, base) as client:
            return await client.request(call, timeout_s=timeout_s)

    async def ask(self, venue: VenueId, method: str, path: str, **params: Any) -> Answer:
        """Unsigned, with the API key."""
        query = urlencode(params, quote_via=quote)
        return await self.raw(venue, method, path, query)

    async def raw(self, venue: VenueId, method: str, path: str, query: str = "", body: bytes = b"") -> Answer:
        each = self.access.venues[venue]
        headers = [("X-MBX-APIKEY", each.api_key)]
        if body:
            headers.append(("Content-Type", "application/x-www-form-urlencoded"))
        target = f"{path}?{query}" if query else path
        reply = await self.send(each.rest, HttpCall(method, target, tuple(headers), body))
        try:
            content = json.loads(reply.body)
        except ValueError:
            content = reply.body.decode()
        return Answer(reply.status, reply.headers, content)

    def signature(self, venue: VenueId, payload: str) -> str:
        secret = self.access.venues[venue].api_secret
        return hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()

    async def signed(self, venue: VenueId, method: str, path: str, **params: Any) -> Answer:
        query = urlencode({"timestamp": self.now_ms(), **params}, quote_via=quote)
        return await self.raw(venue, method, path, f"{query}&signature={self.signature(venue, query)}")

    async def order(self, venue: VenueId, side: str, qty: str, price: str | None = None, **params: Any) -> Answer:
        path = "/fapi/v1/order" if venue == BINANCE_UM else "/api/v3/order"
        kind = {"type": "MARKET"} if price is None else {"type": "LIMIT", "price": price, "timeInForce": "IOC"}
        asked = {"symbol": SYMBOL, "side": side, "quantity": qty, **kind, **params}
        return await self.signed(venue, "POST", path, **{name: v for name, v in asked.items() if v is not None})

    async def listen_key(self) -> str:
        key: str = (await self.ask(BINANCE_UM, "POST", "/fapi/v1/listenKey")).body["listenKey"]
        return key

    async def websocket(self, base: str, target: str) -> WebSocketConnection:
        address = parse_address(base)
        stream = await self.network.connect(address)
        return await wrap_client_stream(
            self.nursery, stream, address.authority, address.path + target, message_queue_size=64
        )

    async def subscribe_spot(self) -> WebSocketConnection:
        """A WebSocket API session that hears the account's events."""
        session = await self.websocket(self.access.venues[BINANCE_SPOT].ws_api, "")
        await self.call_ws(session, "userDataStream.subscribe.signature")
        return session

    async def call_ws(self, session: WebSocketConnection, method: str, *, signed: bool = True, **params: Any) -> Any:
        if signed:
            params = {"apiKey": self.access.venues[BINANCE_SPOT].api_key, "timestamp": self.now_ms(), **params}
            payload = "&".join(f"{name}={params[name]}" for name in sorted(params))
            params["signature"] = self.signature(BINANCE_SPOT, payload)
        await session.send_message(json.dumps({"id": "x", "method": method, "params": params}))
        return await self.hear(session)

    @staticmethod
    async def hear(session: WebSocketConnection, timeout_s: float = 30.0) -> Any:
        with trio.fail_after(timeout_s):
            return json.loads(await session.get_message())

    async def hears_nothing(self, session: WebSocketConnection, seconds: float = 1.0) -> bool:
        with trio.move_on_after(seconds) as scope:
            await session.get_message()
        return scope.cancelled_caught


OpenWorld = Callable[..., Any]


@asynccontextmanager
async def open_world(**config: Any) -> AsyncIterator[World]:
    clock = VirtualClock(EPOCH_NS)
    clock.wall_ns()
    network, market = MemoryNetwork(), StillMarket(clock)
    rows: list[dict[str, Any]] = []
    async with trio.open_nursery() as nursery:
        access = await nursery.start(
            partial(
                run_host,
                HostConfig(venues=VENUES, **config),
                network=network,
                source=market,
                store_path=None,
                rng=random.Random(7),
                mono_ns=lambda: round(trio.current_time() * 1e9),
                trace=MemoryTrace("venue", rows),
                tls=False,
                ca_file=None,
            )
        )
        await trio.testing.wait_all_tasks_blocked()
        yield World(network, market, access, rows, nursery)
        nursery.cancel_scope.cancel()


@pytest.fixture
def opened() -> OpenWorld:
    """`open_world`, for a test that configures its host."""
    return open_world


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with open_world() as made:
        yield made
