"""USD-M order entry and queries: `/fapi/v1/order` and its neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import define

from propbot.domain.instruments import Instrument
from propbot.simvenue.faces.core import Core
from propbot.simvenue.faces.entry import OrderEntry
from propbot.simvenue.faces.errors import ApiError, RefusalTable, bad_value, missing
from propbot.simvenue.faces.numbers import digits_of
from propbot.simvenue.faces.params import Params, check_precision
from propbot.simvenue.faces.rest import Call, Route, Security
from propbot.simvenue.faces.um_countdown import Countdown
from propbot.simvenue.faces.um_shapes import placed_shape, queried_shape, trade_shape
from propbot.simvenue.filters import check_filters
from propbot.simvenue.records import NewOrder, Refusal, SimOrder, SimStatus, SimTif, SimType

REFUSALS: RefusalTable = {
    Refusal.BAD_SYMBOL: (-1121, "Invalid symbol."),
    Refusal.TICK: (-4014, "Price not increased by tick size."),
    Refusal.STEP: (-4023, "Qty not increased by step size."),
    Refusal.QTY: (-4005, "Quantity greater than max quantity."),
    Refusal.NOTIONAL: (-4164, "Order's notional must be no smaller than 100 (unless you choose reduce only)."),
    Refusal.PRECISION: (-1111, "Precision is over the maximum defined for this asset."),
    Refusal.DUPLICATE_ID: (-4116, "ClientOrderId is duplicated."),
    Refusal.INSUFFICIENT: (-2019, "Margin is insufficient."),
    Refusal.REDUCE_ONLY: (-2022, "ReduceOnly Order is rejected."),
    Refusal.WOULD_MATCH: (
        -5022,
        "Due to the order could not be executed as maker, the Post Only order will be rejected. "
        "The order will not be recorded in the order history",
    ),
    Refusal.FOK_KILLED: (
        -5021,
        "Due to the order could not be filled immediately, the FOK order has been rejected. "
        "The order will not be recorded in the order history",
    ),
    Refusal.MAX_ORDERS: (-2025, "Reach max open order limit."),
    Refusal.UNKNOWN_ORDER: (-2013, "Order does not exist."),
    Refusal.NOT_TRADING: (-4140, "Invalid symbol status for opening position."),
    Refusal.INJECTED: (-2019, "Margin is insufficient."),
}

_TIFS = {"GTC": SimTif.GTC, "IOC": SimTif.IOC, "FOK": SimTif.FOK, "GTX": SimTif.POST_ONLY}
_CONDITIONAL = ("STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET")


def _bad_type() -> ApiError:
    return ApiError(400, -1116, "Invalid orderType.")


def _bad_client_id() -> ApiError:
    return ApiError(400, -4015, "Client order id is not valid.")


@define(eq=False)
class UmOrders:
    core: Core
    entry: OrderEntry
    countdown: Countdown

    def routes(self) -> Sequence[Route]:
        signed = Security.SIGNED
        return (
            Route("POST", "/fapi/v1/order", 0, signed, self.place, orders=True),
            Route("POST", "/fapi/v1/order/test", 0, signed, self.test),
            Route("GET", "/fapi/v1/order", 1, signed, self.query),
            Route("DELETE", "/fapi/v1/order", 1, signed, self.cancel),
            Route("GET", "/fapi/v1/openOrder", 1, signed, self.open_order),
            Route("GET", "/fapi/v1/openOrders", _open_orders_weight, signed, self.open_orders),
            Route("DELETE", "/fapi/v1/allOpenOrders", 1, signed, self.cancel_all),
            Route("GET", "/fapi/v1/allOrders", 5, signed, self.all_orders),
            Route("GET", "/fapi/v1/userTrades", 5, signed, self.trades),
            Route("POST", "/fapi/v1/countdownCancelAll", 10, signed, self.cancel_all_after),
            Route("GET", "/fapi/v1/rateLimit/order", 1, signed, self.order_limits),
        )

    async def place(self, call: Call) -> Any:
        instrument, asked = self._read_order(call.params)
        self.entry.trace_order(asked, call.received_ns)
        ack = self._response_type(call.params) == "ACK"
        order = await self.entry.place(asked, call.recheck)
        return placed_shape(instrument, order, ack=ack)

    async def test(self, call: Call) -> Any:
        """As an accepted order would be answered, with no id, since there is none."""
        instrument, asked = self._read_order(call.params)
        top, now_ms = self.core.engine.top(asked.symbol), self.core.wall_ms()
        check_filters(instrument, asked, None if top is None else self.core.engine.mark_price(asked.symbol))
        return placed_shape(instrument, SimOrder(0, asked, SimStatus.NEW, now_ms, now_ms), ack=True)

    async def query(self, call: Call) -> Any:
        return self._queried(self._find(call.params))

    async def open_order(self, call: Call) -> Any:
        order = self._find(call.params)
        if not order.status.open:
            raise ApiError(400, -2013, "Order does not exist.")
        return self._queried(order)

    async def cancel(self, call: Call) -> Any:
        instrument = self.core.instrument(call.params.text("symbol"))
        order_id, client_order_id = _which(call.params)
        order = await self.entry.cancel(instrument.symbol, order_id, client_order_id)
        return placed_shape(instrument, order, ack=False)

    async def cancel_all(self, call: Call) -> Any:
        await self.entry.cancel_all(self.core.instrument(call.params.text("symbol")).symbol)
        return {"code": 200, "msg": "The operation of cancel all open order is done."}

    async def open_orders(self, call: Call) -> Any:
        symbol = call.params.get("symbol")
        if symbol is not None:
            self.core.instrument(symbol)
        return [self._queried(order) for order in self.core.engine.open_orders(symbol) if self.entry.visible(order)]

    async def all_orders(self, call: Call) -> Any:
        params = call.params
        symbol = self.core.instrument(params.text("symbol")).symbol
        orders = self.core.engine.all_orders(
            symbol, from_order_id=params.whole("orderId"), limit=params.limit(500, 1000)
        )
        return [self._queried(o) for o in orders if params.has_time(o.created_ms) and self.entry.visible(o)]

    async def trades(self, call: Call) -> Any:
        params = call.params
        instrument = self.core.instrument(params.text("symbol"))
        trades = self.core.engine.trades(
            instrument.symbol,
            from_trade_id=params.whole("fromId"),
            order_id=params.whole("orderId"),
            limit=params.limit(500, 1000),
        )
        return [
            trade_shape(instrument, trade)
            for trade in trades
            if params.has_time(trade.ts_ms) and self.core.still_listed(trade.ts_ms)
        ]

    async def cancel_all_after(self, call: Call) -> Any:
        symbol = self.core.instrument(call.params.text("symbol")).symbol
        after_ms = call.params.whole("countdownTime")
        if after_ms is None:
            raise missing("countdownTime")
        self.countdown.set(symbol, after_ms / 1000)
        return {"symbol": symbol, "countdownTime": str(after_ms)}

    async def order_limits(self, call: Call) -> Any:
        return self.core.counters.order_rows()

    def _read_order(self, params: Params) -> tuple[Instrument, NewOrder]:
        instrument = self.core.instrument(params.text("symbol"))
        side = params.side()
        kind = params.text("type")
        if kind in _CONDITIONAL:
            msg = "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead."
            raise ApiError(400, -4120, msg)
        if kind not in ("LIMIT", "MARKET"):
            raise _bad_type()
        if self.core.dual_side or params.get("positionSide") not in (None, "BOTH"):
            raise ApiError(400, -4061, "Order's position side does not match user's setting.")
        qty = params.amount("quantity")
        if qty is None:
            raise missing("quantity")
        if qty <= 0:
            raise ApiError(400, -4003, "Quantity less than or equal to zero.")
        check_precision(qty, digits_of(instrument.lot_step))
        if 0 < qty < instrument.qty_min:
            raise ApiError(400, -4004, "Quantity less than min quantity.")
        limit_price, tif = None, SimTif.IOC
        if kind == "LIMIT":
            tif = params.choice("timeInForce", _TIFS, ApiError(400, -1115, "Invalid timeInForce."))
            limit_price = params.amount("price")
            if limit_price is None:
                raise missing("price")
            if limit_price <= 0:
                raise ApiError(400, -4001, "Price less than 0.")
            check_precision(limit_price, digits_of(instrument.tick_size))
        client_order_id = params.client_order_id("newClientOrderId", _bad_client_id())
        reduce_only = params.flag("reduceOnly")
        chosen = client_order_id or self.core.make_id(22)
        return instrument, NewOrder(
            chosen, instrument.symbol, side, SimType(kind), tif, qty, limit_price, reduce_only
        )

    @staticmethod
    def _response_type(params: Params) -> str:
        chosen = params.get("newOrderRespType") or "ACK"
        if chosen not in ("ACK", "RESULT"):
            raise bad_value("newOrderRespType")
        return chosen

    def _find(self, params: Params) -> SimOrder:
        symbol = self.core.instrument(params.text("symbol")).symbol
        return self.entry.find(symbol, *_which(params))

    def _queried(self, order: SimOrder) -> Any:
        return queried_shape(self.core.instrument(order.request.symbol), order)


def _which(params: Params) -> tuple[int | None, str | None]:
    """The order that is meant; by order id if both are given."""
    order_id = params.whole("orderId")
    client_order_id = params.client_order_id("origClientOrderId", _bad_client_id())
    if order_id is None and client_order_id is None:
        raise ApiError(400, -1102, "Either orderId or origClientOrderId must be sent.")
    return order_id, None if order_id is not None else client_order_id


def _open_orders_weight(params: Params) -> int:
    return 1 if params.get("symbol") else 40
