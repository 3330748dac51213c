"""What both Binance dialects say alike, spelled once: `BinanceUm` and `BinanceSpot` fill in paths and weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import msgspec
from attrs import frozen

from propbot.domain.dialect import HttpCall, HttpReply, RateLimit, Usage
from propbot.domain.instruments import Credentials, Instrument, Kind, VenueId
from propbot.domain.market import DepthSnapshot, PriceLevel, PublicEvent
from propbot.domain.money import amount_text
from propbot.domain.orders import Fill, OrderReport, OrderRequest
from propbot.venues.binance import filters, orders
from propbot.venues.binance.errors import CallKind, error_of
from propbot.venues.binance.sign import Params, query_text, signed_query
from propbot.venues.binance.streams import PublicFrames
from propbot.venues.binance.wire import decode

RECV_WINDOW_ORDER_MS = 2000
RECV_WINDOW_MS = 5000
DEPTH_LIMIT = 1000
TRADES_LIMIT = 1000


class _ServerTime(msgspec.Struct, rename="camel"):
    server_time: int


class _Depth(msgspec.Struct, rename="camel"):
    last_update_id: int
    bids: list[PriceLevel]
    asks: list[PriceLevel]


_time_decoder = msgspec.json.Decoder(_ServerTime)
_depth_decoder = msgspec.json.Decoder(_Depth)


@frozen
class Weights:
    """Request weights of the calls that both venues have."""

    exchange_info: int
    depth: int
    place: int
    query: int
    open_orders: int
    trades: int
    order_trades: int


@frozen
class BinanceCalls:
    credentials: Credentials

    venue: ClassVar[VenueId]
    kind: ClassVar[Kind]
    prefix: ClassVar[str]
    """`/fapi/v1` or `/api/v3`."""
    trades_path: ClassVar[str]
    weights: ClassVar[Weights]
    frames: ClassVar[PublicFrames]

    # what is public

    def call_server_time(self) -> HttpCall:
        return HttpCall("GET", f"{self.prefix}/time")

    def read_server_time_ms(self, reply: HttpReply) -> int:
        return decode(_time_decoder, self._answer(reply), self.venue, "time").server_time

    def read_instrument(self, reply: HttpReply, symbol: str) -> Instrument:
        return filters.read_instrument(self._answer(reply), symbol, self.venue, self.kind)

    def read_rate_limits(self, reply: HttpReply) -> Sequence[RateLimit]:
        return filters.read_rate_limits(self._answer(reply), self.venue)

    def call_depth(self, symbol: str) -> HttpCall:
        return self._plain("depth", {"symbol": symbol, "limit": DEPTH_LIMIT}, weight=self.weights.depth)

    def read_depth(self, reply: HttpReply, symbol: str) -> DepthSnapshot:
        depth = decode(_depth_decoder, self._answer(reply), self.venue, "depth snapshot")
        return DepthSnapshot(self.venue, symbol, depth.last_update_id, depth.bids, depth.asks)

    def read_public(self, frame: str | bytes) -> PublicEvent | None:
        return self.frames.read(frame)

    def read_usage(self, headers: Mapping[str, str]) -> Usage:
        return filters.read_usage(headers)

    # orders

    def _call_place(self, order: OrderRequest, own: Params, ts_ms: int) -> HttpCall:
        """`own`: the venue's own parameters (type, time in force, answer type)."""
        params: dict[str, str | int] = {
            "symbol": order.symbol,
            "side": str(order.side),
            **own,
            "quantity": amount_text(order.qty),
            "newClientOrderId": order.client_order_id,
        }
        if order.limit_price is not None:
            params["price"] = amount_text(order.limit_price)
        return self._signed(
            "POST", f"{self.prefix}/order", params, ts_ms, weight=self.weights.place, window_ms=RECV_WINDOW_ORDER_MS,
            is_order=True,
        )

    def read_order(self, reply: HttpReply, symbol: str) -> OrderReport:
        return orders.read_order(self._answer(reply, CallKind.ORDER), symbol, self.venue)

    def call_query(self, symbol: str, client_order_id: str, ts_ms: int) -> HttpCall:
        params = {"symbol": symbol, "origClientOrderId": client_order_id}
        return self._signed("GET", f"{self.prefix}/order", params, ts_ms, weight=self.weights.query)

    def call_cancel(self, symbol: str, client_order_id: str, ts_ms: int) -> HttpCall:
        params = {"symbol": symbol, "origClientOrderId": client_order_id}
        return self._signed("DELETE", f"{self.prefix}/order", params, ts_ms, weight=1)

    def call_open_orders(self, symbol: str, ts_ms: int) -> HttpCall:
        path = f"{self.prefix}/openOrders"
        return self._signed("GET", path, {"symbol": symbol}, ts_ms, weight=self.weights.open_orders)

    def read_open_orders(self, reply: HttpReply) -> Sequence[OrderReport]:
        return orders.read_open_orders(self._answer(reply), self.venue)

    # trades

    def call_trades(self, symbol: str, from_trade_id: int | None, ts_ms: int) -> HttpCall:
        params: dict[str, str | int] = {"symbol": symbol, "limit": TRADES_LIMIT}
        if from_trade_id is not None:
            params["fromId"] = from_trade_id
        return self._signed("GET", self.trades_path, params, ts_ms, weight=self.weights.trades)

    def call_order_trades(self, symbol: str, order_id: str, ts_ms: int) -> HttpCall:
        params: dict[str, str | int] = {"symbol": symbol, "orderId": order_id, "limit": TRADES_LIMIT}
        return self._signed("GET", self.trades_path, params, ts_ms, weight=self.weights.order_trades)

    def read_trades(self, reply: HttpReply) -> Sequence[Fill]:
        return orders.read_trades(self._answer(reply), self.venue)

    # building and reading

    def _plain(self, name: str, params: Params, *, weight: int) -> HttpCall:
        query = f"?{query_text(params)}" if params else ""
        return HttpCall("GET", f"{self.prefix}/{name}{query}", weight=weight)

    def _signed(
        self,
        method: str,
        path: str,
        params: Params,
        ts_ms: int,
        *,
        weight: int,
        window_ms: int = RECV_WINDOW_MS,
        is_order: bool = False,
    ) -> HttpCall:
        query = signed_query({**params, "recvWindow": window_ms, "timestamp": ts_ms}, self.credentials)
        return HttpCall(method, f"{path}?{query}", self._key_header(), weight=weight, is_order=is_order)

    def _key_header(self) -> tuple[tuple[str, str], ...]:
        return (("X-MBX-APIKEY", self.credentials.api_key),)

    def _answer(self, reply: HttpReply, kind: CallKind = CallKind.QUESTION) -> bytes:
        """The body of a 2xx reply; the error that it stands for is raised otherwise."""
        if 200 <= reply.status < 300:
            return reply.body
        raise error_of(self.venue, reply, kind)


def public_streams(symbol: str) -> str:
    """The streams of one symbol's book, as the URL wants them."""
    return f"{symbol.lower()}@depth@100ms/{symbol.lower()}@bookTicker"
