"""Spot order entry and queries: `/api/v3/order` and its neighbours, and the same over the WebSocket API."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from attrs import define

from propbot.domain.instruments import Instrument
from propbot.domain.money import ZERO, floor_to_step
from propbot.domain.orders import Side
from propbot.simvenue.faces.core import Core
from propbot.simvenue.faces.entry import OrderEntry
from propbot.simvenue.faces.errors import ApiError, RefusalTable, bad_value, missing, not_required
from propbot.simvenue.faces.params import Params, check_precision
from propbot.simvenue.faces.rest import Call, Route, Security
from propbot.simvenue.faces.spot_shapes import cancelled_shape, placed_shape, queried_shape, trade_shape
from propbot.simvenue.filters import check_filters
from propbot.simvenue.records import NewOrder, Refusal, SimOrder, SimTif, SimType

REFUSALS: RefusalTable = {
    Refusal.BAD_SYMBOL: (-1121, "Invalid symbol."),
    Refusal.TICK: (-1013, "Filter failure: PRICE_FILTER"),
    Refusal.STEP: (-1013, "Filter failure: LOT_SIZE"),
    Refusal.QTY: (-1013, "Filter failure: LOT_SIZE"),
    Refusal.NOTIONAL: (-1013, "Filter failure: NOTIONAL"),
    Refusal.PRECISION: (-1111, "Precision is over the maximum defined for this asset."),
    Refusal.DUPLICATE_ID: (-2010, "Duplicate order sent."),
    Refusal.INSUFFICIENT: (-2010, "Account has insufficient balance for requested action."),
    Refusal.REDUCE_ONLY: (-2010, "Account has insufficient balance for requested action."),
    Refusal.WOULD_MATCH: (-2010, "Order would immediately match and take."),
    Refusal.FOK_KILLED: (-2010, "Order would not fill completely."),
    Refusal.MAX_ORDERS: (-1013, "Filter failure: MAX_NUM_ORDERS"),
    Refusal.UNKNOWN_ORDER: (-2013, "Order does not exist."),
    Refusal.NOT_TRADING: (-1013, "Market is closed."),
    Refusal.INJECTED: (-2010, "Account has insufficient balance for requested action."),
}

_TIFS = {"GTC": SimTif.GTC, "IOC": SimTif.IOC, "FOK": SimTif.FOK}
_DIGITS = 8
_RESPONSE_TYPES = ("ACK", "RESULT", "FULL")


@define(eq=False)
class SpotOrders:
    core: Core
    entry: OrderEntry

    def routes(self) -> Sequence[Route]:
        signed = Security.SIGNED
        return (
            Route("POST", "/api/v3/order", 1, signed, self.place, orders=True),
            Route("POST", "/api/v3/order/test", 1, signed, self.test),
            Route("GET", "/api/v3/order", 4, signed, self.query),
            Route("DELETE", "/api/v3/order", 1, signed, self.cancel),
            Route("GET", "/api/v3/openOrders", open_orders_weight, signed, self.open_orders),
            Route("DELETE", "/api/v3/openOrders", 1, signed, self.cancel_all),
            Route("GET", "/api/v3/allOrders", 20, signed, self.all_orders),
            Route("GET", "/api/v3/myTrades", _trades_weight, signed, self.trades),
            Route("GET", "/api/v3/rateLimit/order", 40, signed, self.order_limits),
        )

    async def place(self, call: Call) -> Any:
        asked, quote_asked = self._read_order(call.params)
        response_type = self._response_type(call.params, asked)
        self.entry.trace_order(asked, call.received_ns)
        order = await self.entry.place(asked, call.recheck)
        return placed_shape(order, response_type, quote_asked)

    async def test(self, call: Call) -> Any:
        asked, _ = self._read_order(call.params)
        instrument = self.core.instrument(asked.symbol)
        top = self.core.engine.top(asked.symbol)
        check_filters(instrument, asked, None if top is None else self.core.engine.mark_price(asked.symbol))
        return {}

    async def query(self, call: Call) -> Any:
        symbol = self.core.instrument(call.params.text("symbol")).symbol
        return queried_shape(self.entry.find(symbol, *_which(call.params)))

    async def cancel(self, call: Call) -> Any:
        symbol = self.core.instrument(call.params.text("symbol")).symbol
        order_id, client_order_id = _which(call.params)
        cancel_id = call.params.client_order_id("newClientOrderId")
        order = await self.entry.cancel(symbol, order_id, client_order_id, cancel_id)
        return cancelled_shape(order, cancel_id or made_cancel_id(order))

    async def cancel_all(self, call: Call) -> Any:
        orders = await self.entry.cancel_all(self.core.instrument(call.params.text("symbol")).symbol)
        if not orders:
            raise ApiError(400, -2011, "Unknown order sent.")
        return [cancelled_shape(order, made_cancel_id(order)) for order in orders]

    async def open_orders(self, call: Call) -> Any:
        symbol = call.params.get("symbol")
        if symbol is not None:
            self.core.instrument(symbol)
        return [queried_shape(order) for order in self.core.engine.open_orders(symbol) if self.entry.visible(order)]

    async def all_orders(self, call: Call) -> Any:
        params = call.params
        orders = self.core.engine.all_orders(
            self.core.instrument(params.text("symbol")).symbol,
            from_order_id=params.whole("orderId"),
            limit=params.limit(500, 1000),
        )
        return [queried_shape(o) for o in orders if params.has_time(o.created_ms) and self.entry.visible(o)]

    async def trades(self, call: Call) -> Any:
        params = call.params
        trades = self.core.engine.trades(
            self.core.instrument(params.text("symbol")).symbol,
            from_trade_id=params.whole("fromId"),
            order_id=params.whole("orderId"),
            limit=params.limit(500, 1000),
        )
        return [
            trade_shape(trade)
            for trade in trades
            if params.has_time(trade.ts_ms) and self.core.still_listed(trade.ts_ms)
        ]

    async def order_limits(self, call: Call) -> Any:
        return self.core.counters.order_rows()

    def _read_order(self, params: Params) -> tuple[NewOrder, Decimal]:
        """The order, and the quote amount that a MARKET order asked for (zero if it asked for base)."""
        instrument = self.core.instrument(params.text("symbol"))
        side, kind = params.side(), params.text("type")
        qty, quote_asked = params.amount("quantity"), params.amount("quoteOrderQty")
        chosen = params.client_order_id("newClientOrderId") or self.core.make_id(22)
        if kind == "MARKET":
            for name in ("price", "timeInForce"):
                if params.get(name) is not None:
                    raise not_required(name)
            if qty is None and quote_asked is None:
                raise missing("quantity")
            check_precision(quote_asked, _DIGITS)
            size = self._size_for(instrument, side, quote_asked) if qty is None and quote_asked is not None else qty
            assert size is not None
            check_precision(size, _DIGITS)
            order = NewOrder(chosen, instrument.symbol, side, SimType.MARKET, SimTif.IOC, size, None)
            return order, ZERO if qty is not None else quote_asked or ZERO
        if quote_asked is not None:
            raise not_required("quoteOrderQty")
        tif = self._read_tif(params, kind)
        limit_price = params.amount("price")
        if qty is None or limit_price is None:
            raise missing("quantity" if qty is None else "price")
        for amount in (qty, limit_price):
            check_precision(amount, _DIGITS)
        return NewOrder(chosen, instrument.symbol, side, SimType.LIMIT, tif, qty, limit_price), ZERO

    @staticmethod
    def _read_tif(params: Params, kind: str) -> SimTif:
        if kind == "LIMIT":
            return params.choice("timeInForce", _TIFS, ApiError(400, -1115, "Invalid timeInForce."))
        if kind != "LIMIT_MAKER":
            raise ApiError(400, -1116, "Invalid orderType.")
        if params.get("timeInForce") is not None:
            raise not_required("timeInForce")
        return SimTif.POST_ONLY

    def _size_for(self, instrument: Instrument, side: Side, quote_asked: Decimal) -> Decimal:
        """The base quantity that `quote_asked` buys or sells by the visible book, rounded down to the lot step."""
        snapshot = self.core.engine.depth(instrument.symbol, 1000)
        top = self.core.engine.top(instrument.symbol)
        if top is None:
            raise ApiError(400, -1013, "Market is closed.")
        best = Decimal(top.ask if side is Side.BUY else top.bid)
        size, left = ZERO, quote_asked
        for text, qty in snapshot.asks if side is Side.BUY else snapshot.bids:
            # A ticker that is ahead of depth has moved the best price: nothing better than it is there any more.
            price = max(best, Decimal(text)) if side is Side.BUY else min(best, Decimal(text))
            taken = min(Decimal(qty), left / price)
            size, left = size + taken, left - taken * price
            if left <= 0:
                break
        return floor_to_step(size, instrument.lot_step)

    @staticmethod
    def _response_type(params: Params, asked: NewOrder) -> str:
        """FULL for LIMIT and MARKET, ACK for others, unless told otherwise."""
        chosen = params.get("newOrderRespType") or ("ACK" if asked.tif is SimTif.POST_ONLY else "FULL")
        if chosen not in _RESPONSE_TYPES:
            raise bad_value("newOrderRespType")
        return chosen


def made_cancel_id(order: SimOrder) -> str:
    """The id of a cancel that named none; an order is cancelled once, so its number makes it unique."""
    return f"cancel{order.order_id}"


def open_orders_weight(params: Params) -> int:
    return 6 if params.get("symbol") else 80


def _trades_weight(params: Params) -> int:
    return 5 if params.get("orderId") else 20


def _which(params: Params) -> tuple[int | None, str | None]:
    order_id, client_order_id = params.whole("orderId"), params.client_order_id("origClientOrderId")
    if order_id is None and client_order_id is None:
        raise ApiError(400, -1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
    return order_id, None if order_id is not None else client_order_id
