"""Binance USD-M futures as its clients see it: the REST table and the WebSocket routes of 2026.

Streams live under `/public`, `/market` and `/private` since the addresses were split; the un-routed `/ws` and
`/stream` are served as well, all at once. A listen key is a stream name (`/private/ws/KEY`, `?streams=KEY`) or a
parameter (`?listenKey=KEY&events=…`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote

import trio
from attrs import frozen
from trio_websocket import WebSocketRequest

from propbot.simvenue.faces.client import WsClient
from propbot.simvenue.faces.core import Core
from propbot.simvenue.faces.entry import OrderEntry
from propbot.simvenue.faces.errors import ApiError
from propbot.simvenue.faces.hub import Hub
from propbot.simvenue.faces.private import Event, PrivateFeed, PrivateListener
from propbot.simvenue.faces.rest import RestFace, Security
from propbot.simvenue.faces.streams import StreamRules, StreamSession
from propbot.simvenue.faces.tape import Tapes
from propbot.simvenue.faces.um_account import UmAccount
from propbot.simvenue.faces.um_countdown import Countdown
from propbot.simvenue.faces.um_market import UmMarket
from propbot.simvenue.faces.um_orders import REFUSALS, UmOrders
from propbot.simvenue.faces.um_private import ListenKeys, UmEvents
from propbot.simvenue.faces.um_shapes import partial_depth_shape
from propbot.simvenue.faces.wsapi import WsApiSession, WsMethod
from propbot.simvenue.records import MarketFrame
from propbot.simvenue.server import Request, Response

WS_API_PATH = "/ws-fapi/v1"
PING_EVERY_S = 180.0
PONG_WITHIN_S = 600.0
_MARKET_KINDS = re.compile(r"(@|!)(aggTrade|markPrice|kline|ticker|miniTicker|forceOrder|contractInfo|assetIndex)")
_PATH = re.compile(r"(?:/(?P<route>public|market|private))?/(?P<shape>ws|stream)(?:/(?P<names>.+))?")


def _error(request_id: Any, text: str) -> dict[str, Any]:
    return {"error": {"code": 2, "msg": text}, "id": request_id}


RULES = StreamRules(10, _error, PING_EVERY_S, PONG_WITHIN_S)


@frozen
class _Address:
    """What a stream URL asks for."""

    route: str | None
    combined: bool
    names: tuple[str, ...]
    listen_key: str | None
    events: frozenset[str]
    """Empty: all."""


def _read_address(target: str) -> _Address | None:
    path, _, query = target.partition("?")
    found = _PATH.fullmatch(path.rstrip("/") or "/")
    if found is None:
        return None
    asked = parse_qs(query)
    names = unquote(found["names"] or "").split("/") + asked.get("streams", [""])[0].split("/")
    return _Address(
        found["route"],
        found["shape"] == "stream",
        tuple(name for name in names if name),
        asked.get("listenKey", [None])[0],
        frozenset(name for name in asked.get("events", [""])[0].split("/") if name),
    )


def serves(route: str | None, name: str) -> bool:
    """Whether a stream named `name` is delivered on `route`."""
    if route is None:
        return True
    return route == ("market" if _MARKET_KINDS.search(name) else "public")


class UmFace:
    """Implements `Face` for binance-um."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._hub = Hub(core, partial_depth_shape)
        self._feed = PrivateFeed.of(core, UmEvents(core).render)
        self._keys = ListenKeys(core, self._feed)
        self._countdown = Countdown(self._cancel_all)
        entry = OrderEntry(core, REFUSALS)
        self._orders = UmOrders(core, entry, self._countdown)
        self._account = UmAccount(core)
        self._tapes = Tapes()
        self._market = UmMarket(core, self._tapes)
        routes = [part.routes() for part in (self._market, self._orders, self._account, self._keys)]
        self._rest = RestFace(
            core,
            [route for table in routes for route in table],
            REFUSALS,
            no_such_path=ApiError(404, -5000, "Path or method is invalid."),
        )
        self._clients: dict[WsClient, None] = {}

    async def answer(self, request: Request) -> Response:
        return await self._rest.answer(request)

    def publish(self, frame: MarketFrame) -> None:
        self._tapes.see(frame)
        self._hub.publish(frame)

    def cut_all(self) -> None:
        for client in tuple(self._clients):
            client.cut()

    def kick_all(self) -> None:
        for client in tuple(self._clients):
            client.close(1008, "Too many requests")

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keys.run)
            nursery.start_soon(self._countdown.run)

    async def talk(self, request: WebSocketRequest) -> None:
        target = request.path
        ws_api = target.partition("?")[0].rstrip("/") == WS_API_PATH
        address = None if ws_api else _read_address(target)
        if not ws_api and address is None:
            await request.reject(404)
            return
        if (ws_api or _is_private(address)) and self._feed.down:
            await request.reject(503)
            return
        client = WsClient(await request.accept())
        self._clients[client] = None
        try:
            if address is None:
                await self._ws_api(client)
            else:
                await self._streams(client, address)
        finally:
            del self._clients[client]
            self._feed.drop(client)

    async def _streams(self, client: WsClient, address: _Address) -> None:
        session = StreamSession(
            client,
            self._hub,
            RULES,
            address.combined,
            serves=lambda name: serves(address.route, name),
            listen=lambda key: self._listen(client, address, key),
        )
        for name in address.names:
            session.subscribe(name)
        if address.listen_key is not None:
            self._listen(client, address, address.listen_key)
        await session.run()

    def _listen(self, client: WsClient, address: _Address, key: str) -> None:
        def wrap(event: Event) -> Event:
            return {"stream": key, "data": event} if address.combined else event

        def wants(name: str) -> bool:
            return not address.events or name in address.events or name == "listenKeyExpired"

        self._feed.add(PrivateListener(client, wrap, wants, lambda: self._keys.valid(key)))

    async def _ws_api(self, client: WsClient) -> None:
        session = WsApiSession(self._core, client, self._methods(), REFUSALS, rate_limits=True)
        await session.run(ping_every_s=PING_EVERY_S, pong_within_s=PONG_WITHIN_S)

    def _methods(self) -> Mapping[str, WsMethod]:
        signed, orders, account = Security.SIGNED, self._orders, self._account
        return {
            "order.place": WsMethod(0, signed, orders.place, orders=True),
            "order.cancel": WsMethod(1, signed, orders.cancel),
            "order.status": WsMethod(1, signed, orders.query),
            "account.balance": WsMethod(5, signed, account.balance),
            "v2/account.balance": WsMethod(5, signed, account.balance),
            "account.position": WsMethod(5, signed, account.position_risk_v2),
            "v2/account.position": WsMethod(5, signed, account.position_risk_v3),
            "account.status": WsMethod(5, signed, account.account_v2),
            "v2/account.status": WsMethod(5, signed, account.account_v3),
            "depth": WsMethod(5, Security.NONE, self._market.depth),
            "ticker.book": WsMethod(2, Security.NONE, self._market.book_ticker),
            "ticker.price": WsMethod(1, Security.NONE, self._market.price),
            "time": WsMethod(1, Security.NONE, self._market.time),
            "userDataStream.start": WsMethod(5, Security.KEY, self._keys.make),
            "userDataStream.ping": WsMethod(1, Security.KEY, self._keys.keep),
            "userDataStream.stop": WsMethod(1, Security.KEY, self._keys.end),
        }

    def _cancel_all(self, symbol: str) -> None:
        engine = self._core.engine
        self._core.trace.row(self._core.venue, "out", "note", text=f"countdownCancelAll: {symbol}'s time is up")
        for order in list(engine.open_orders(symbol)):
            engine.cancel(symbol, order_id=order.order_id)


def _is_private(address: _Address | None) -> bool:
    if address is None:
        return False
    return address.route == "private" or address.listen_key is not None or any("@" not in n for n in address.names)
