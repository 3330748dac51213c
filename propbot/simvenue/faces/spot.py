"""Binance spot as its clients see it: the REST table, market streams, and the WebSocket API with its user data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any
from urllib.parse import parse_qs, unquote

import trio
from attrs import define, field
from trio_websocket import WebSocketRequest

from propbot.simvenue.faces.client import WsClient
from propbot.simvenue.faces.core import Core
from propbot.simvenue.faces.entry import OrderEntry
from propbot.simvenue.faces.errors import ApiError
from propbot.simvenue.faces.hub import Hub
from propbot.simvenue.faces.market import ping
from propbot.simvenue.faces.private import Event, PrivateFeed, PrivateListener, wait_login
from propbot.simvenue.faces.rest import Call, RestFace, Security
from propbot.simvenue.faces.spot_account import DEPTH_WEIGHT, SpotAccount, SpotMarket, day_weight
from propbot.simvenue.faces.spot_orders import REFUSALS, SpotOrders, made_cancel_id, open_orders_weight
from propbot.simvenue.faces.spot_shapes import balances_event, order_event, partial_depth_shape
from propbot.simvenue.faces.streams import StreamRules, StreamSession
from propbot.simvenue.faces.tape import Tapes
from propbot.simvenue.faces.wsapi import WsApiSession, WsMethod
from propbot.simvenue.faults import Params
from propbot.simvenue.records import AccountMoved, EngineEvent, MarketFrame
from propbot.simvenue.server import Request, Response

WS_API_PATH = "/ws-api/v3"
PING_EVERY_S = 20.0
PONG_WITHIN_S = 60.0
_PATH = re.compile(r"/(?P<shape>ws|stream)(?:/(?P<names>.+))?")


def _error(request_id: Any, text: str) -> dict[str, Any]:
    return {"code": 2, "msg": text, "id": request_id}


RULES = StreamRules(5, _error, PING_EVERY_S, PONG_WITHIN_S)


@define(eq=False)
class _UserData:
    """One WebSocket API session's subscription to the account's events."""

    feed: PrivateFeed
    client: WsClient
    _numbers: count[int] = field(factory=count)
    _listener: PrivateListener | None = None

    async def subscribe(self, call: Call) -> Any:
        if self._listener is not None:
            raise ApiError(400, -2035, "User Data Stream subscription already active.")
        await wait_login(self.feed.core)
        number = next(self._numbers)

        def wrap(event: Event) -> Event:
            return {"subscriptionId": number, "event": event}

        self._listener = PrivateListener(self.client, wrap, lambda _: True, lambda: True)
        self.feed.add(self._listener)
        return {"subscriptionId": number}

    async def unsubscribe(self, call: Call) -> Any:
        if self._listener is None:
            raise ApiError(400, -2036, "User Data Stream subscription not active.")
        self.feed.remove(self._listener)
        self._listener = None
        return {}


class SpotFace:
    """Implements `Face` for binance-spot."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._hub = Hub(core, partial_depth_shape)
        self._feed = PrivateFeed.of(core, self._render)
        self._orders = SpotOrders(core, OrderEntry(core, REFUSALS))
        self._account = SpotAccount(core)
        self._tapes = Tapes()
        self._market = SpotMarket(core, self._tapes)
        routes = [part.routes() for part in (self._market, self._orders, self._account)]
        self._rest = RestFace(
            core,
            [route for table in routes for route in table],
            REFUSALS,
            no_such_path=ApiError(404, None, "<html><body><h2>404 Not found</h2></body></html>"),
        )
        self._clients: dict[WsClient, None] = {}
        core.faults.on(core.venue, "key_expired", self._end_subscriptions)

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

    def _end_subscriptions(self, params: Params) -> None:
        ended = {"e": "eventStreamTerminated", "E": self._core.wall_ms()}
        self._feed.end_all(ended if params["told"] else None)

    async def run(self) -> None:
        await trio.lowlevel.checkpoint()  # spot has no tasks of its own

    async def talk(self, request: WebSocketRequest) -> None:
        path, _, query = request.path.partition("?")
        asked = parse_qs(query)
        ws_api = path.rstrip("/") == WS_API_PATH
        found = _PATH.fullmatch(path.rstrip("/"))
        if ws_api and self._feed.down:
            await request.reject(503)
            return
        if not ws_api and found is None:
            await request.reject(404)
            return
        client = WsClient(await request.accept())
        self._clients[client] = None
        try:
            if found is None:
                await self._ws_api(client, rate_limits=asked.get("returnRateLimits", ["true"])[0] != "false")
            else:
                names = unquote(found["names"] or "").split("/") + asked.get("streams", [""])[0].split("/")
                await self._streams(client, names, combined=found["shape"] == "stream")
        finally:
            del self._clients[client]
            self._feed.drop(client)

    async def _streams(self, client: WsClient, names: Sequence[str], *, combined: bool) -> None:
        session = StreamSession(client, self._hub, RULES, combined, serves=lambda _: True)
        for name in names:
            if name:
                session.subscribe(name)
        await session.run()

    async def _ws_api(self, client: WsClient, *, rate_limits: bool) -> None:
        methods = self._methods(_UserData(self._feed, client))
        session = WsApiSession(self._core, client, methods, REFUSALS, rate_limits=rate_limits)
        await session.run(ping_every_s=PING_EVERY_S, pong_within_s=PONG_WITHIN_S)

    def _methods(self, user_data: _UserData) -> Mapping[str, WsMethod]:
        none, signed, orders, market = Security.NONE, Security.SIGNED, self._orders, self._market
        return {
            "ping": WsMethod(1, none, ping),
            "time": WsMethod(1, none, market.time),
            "exchangeInfo": WsMethod(20, none, market.info),
            "depth": WsMethod(DEPTH_WEIGHT, none, market.depth),
            "ticker.book": WsMethod(2, none, market.book_ticker),
            "ticker.price": WsMethod(2, none, market.price),
            "ticker.24hr": WsMethod(day_weight, none, market.day),
            "avgPrice": WsMethod(2, none, market.average_price),
            "trades.recent": WsMethod(25, none, market.trades),
            "order.place": WsMethod(1, signed, orders.place, orders=True),
            "order.test": WsMethod(1, signed, orders.test),
            "order.cancel": WsMethod(1, signed, orders.cancel),
            "order.status": WsMethod(4, signed, orders.query),
            "openOrders.status": WsMethod(open_orders_weight, signed, orders.open_orders),
            "openOrders.cancelAll": WsMethod(1, signed, orders.cancel_all),
            "allOrders": WsMethod(20, signed, orders.all_orders),
            "myTrades": WsMethod(20, signed, orders.trades),
            "account.status": WsMethod(20, signed, self._account.account),
            "account.commission": WsMethod(20, signed, self._account.commission),
            "account.rateLimits.orders": WsMethod(40, signed, orders.order_limits),
            "userDataStream.subscribe.signature": WsMethod(2, signed, user_data.subscribe),
            "userDataStream.unsubscribe": WsMethod(2, none, user_data.unsubscribe),
        }

    def _render(self, event: EngineEvent) -> Sequence[Event]:
        now_ms, balances = self._core.wall_ms(), self._core.engine.balances()
        if isinstance(event, AccountMoved):
            moved = {asset: balances[asset] for asset in event.balances}
            return (balances_event(moved, event.ts_ms, now_ms),)
        cancel_id = self._core.cancel_ids.get(event.order.order_id) or made_cancel_id(event.order)
        report = order_event(event, cancel_id, now_ms)
        if event.trade is not None:
            return (report,)
        # What rests is locked, what ends is free again: the account's picture changes with these too.
        return (report, balances_event(balances, event.ts_ms, now_ms))
