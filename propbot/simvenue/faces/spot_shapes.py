"""Spot's JSON: orders, trades, events, exchangeInfo, as the fact sheet and the sample messages have them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from propbot.domain.instruments import Fees, Instrument
from propbot.domain.market import DepthDiff, DepthSnapshot, TopOfBook
from propbot.domain.money import BPS, ZERO
from propbot.domain.orders import Side
from propbot.simvenue.faces.limits import Limit
from propbot.simvenue.faces.numbers import fixed8
from propbot.simvenue.filters import OPEN_ORDERS_MAX
from propbot.simvenue.records import NewOrder, OrderChanged, SimOrder, SimStatus, SimTif, SimTrade, SimType

Json = dict[str, Any]

LIMITS = (
    Limit("REQUEST_WEIGHT", "MINUTE", 1, 6000),
    Limit("ORDERS", "SECOND", 10, 100),
    Limit("ORDERS", "DAY", 1, 200_000),
)
ORDER_TYPES = ("LIMIT", "LIMIT_MAKER", "MARKET")


def type_of(asked: NewOrder) -> str:
    return "LIMIT_MAKER" if asked.tif is SimTif.POST_ONLY else asked.type.value


def tif_of(asked: NewOrder) -> str:
    return "GTC" if asked.type is SimType.MARKET or asked.tif is SimTif.POST_ONLY else asked.tif.value


def _state(order: SimOrder, quote_asked: Decimal) -> Json:
    asked = order.request
    return {
        "price": fixed8(asked.limit_price or ZERO),
        "origQty": fixed8(asked.qty),
        "executedQty": fixed8(order.filled_qty),
        "origQuoteOrderQty": fixed8(quote_asked),
        "cummulativeQuoteQty": fixed8(order.quote_qty),
        "status": order.status.value,
        "timeInForce": tif_of(asked),
        "type": type_of(asked),
        "side": asked.side.value,
    }


def expiry_reason(asked: NewOrder) -> str:
    """Why an order of ours expires, if it does, in the words of 2026 (binance-spot-api-docs, enums)."""
    if asked.type is SimType.MARKET:
        return "INSUFFICIENT_LIQUIDITY"
    return "UNFILLED_FOK_ORDER_EXPIRED" if asked.tif is SimTif.FOK else "UNFILLED_IOC_QUANTITY_EXPIRED"


def _placed_expiry(order: SimOrder) -> Json:
    return {"expiryReason": expiry_reason(order.request)} if order.status is SimStatus.EXPIRED else {}


def placed_shape(order: SimOrder, response_type: str, quote_asked: Decimal = ZERO) -> Json:
    """The answer to a new order: ACK, RESULT or FULL."""
    shape: Json = {
        "symbol": order.request.symbol,
        "orderId": order.order_id,
        "orderListId": -1,
        "clientOrderId": order.request.client_order_id,
        "transactTime": order.updated_ms,
    }
    if response_type == "ACK":
        return shape
    shape |= {**_state(order, quote_asked), "workingTime": order.created_ms, "selfTradePreventionMode": "NONE"}
    shape |= _placed_expiry(order)
    if response_type == "FULL":
        shape["fills"] = [
            {
                "price": fixed8(trade.price),
                "qty": fixed8(trade.qty),
                "commission": fixed8(trade.fee),
                "commissionAsset": trade.fee_asset,
                "tradeId": trade.trade_id,
            }
            for trade in order.trades
        ]
    return shape


def queried_shape(order: SimOrder) -> Json:
    return {
        "symbol": order.request.symbol,
        "orderId": order.order_id,
        "orderListId": -1,
        "clientOrderId": order.request.client_order_id,
        **_state(order, ZERO),
        "stopPrice": fixed8(ZERO),
        "icebergQty": fixed8(ZERO),
        "time": order.created_ms,
        "updateTime": order.updated_ms,
        "isWorking": True,
        "workingTime": order.created_ms,
        "selfTradePreventionMode": "NONE",
        **_placed_expiry(order),
    }


def cancelled_shape(order: SimOrder, cancel_id: str) -> Json:
    """`origClientOrderId` is the order's own id; `clientOrderId` is the cancel's."""
    return {
        "symbol": order.request.symbol,
        "origClientOrderId": order.request.client_order_id,
        "orderId": order.order_id,
        "orderListId": -1,
        "clientOrderId": cancel_id,
        "transactTime": order.updated_ms,
        **_state(order, ZERO),
        "selfTradePreventionMode": "NONE",
    }


def trade_shape(trade: SimTrade) -> Json:
    return {
        "symbol": trade.symbol,
        "id": trade.trade_id,
        "orderId": trade.order_id,
        "orderListId": -1,
        "price": fixed8(trade.price),
        "qty": fixed8(trade.qty),
        "quoteQty": fixed8(trade.qty * trade.price),
        "commission": fixed8(trade.fee),
        "commissionAsset": trade.fee_asset,
        "time": trade.ts_ms,
        "isBuyer": trade.side is Side.BUY,
        "isMaker": trade.maker,
        "isBestMatch": True,
    }


def order_event(changed: OrderChanged, cancel_id: str, now_ms: int) -> Json:
    """executionReport. A cancel's `c` is the cancel's own id, and `C` the order's."""
    order, trade = changed.order, changed.trade
    asked, cancelled = order.request, changed.what == "CANCELED"
    event: Json = {
        "e": "executionReport",
        "E": now_ms,
        "s": asked.symbol,
        "c": cancel_id if cancelled else asked.client_order_id,
        "S": asked.side.value,
        "o": type_of(asked),
        "f": tif_of(asked),
        "q": fixed8(asked.qty),
        "p": fixed8(asked.limit_price or ZERO),
        "P": fixed8(ZERO),
        "F": fixed8(ZERO),
        "g": -1,
        "C": asked.client_order_id if cancelled else "",
        "x": changed.what,
        "X": changed.status.value,
        "r": "NONE",
        "i": order.order_id,
        "l": fixed8(ZERO if trade is None else trade.qty),
        "z": fixed8(changed.filled_qty),
        "L": fixed8(ZERO if trade is None else trade.price),
        "n": "0" if trade is None else fixed8(trade.fee),
        "N": None if trade is None else trade.fee_asset,
        "T": changed.ts_ms,
        "t": -1 if trade is None else trade.trade_id,
        "v": -1,
        "I": order.order_id,
        "w": changed.status.open,
        "m": trade is not None and trade.maker,
        "M": False,
        "O": order.created_ms,
        "Z": fixed8(changed.quote_qty),
        "Y": fixed8(ZERO if trade is None else trade.qty * trade.price),
        "Q": fixed8(ZERO),
        "W": order.created_ms,
        "V": "NONE",
    }
    if changed.what == "EXPIRED":
        event["eR"] = expiry_reason(asked)
    return event


def balances_event(balances: Mapping[str, tuple[Decimal, Decimal]], ts_ms: int, now_ms: int) -> Json:
    rows = [{"a": asset, "f": fixed8(free), "l": fixed8(locked)} for asset, (free, locked) in balances.items()]
    return {"e": "outboundAccountPosition", "E": now_ms, "u": ts_ms, "B": rows}


def symbol_shape(instrument: Instrument) -> Json:
    lot = {
        "minQty": fixed8(instrument.qty_min),
        "maxQty": fixed8(instrument.qty_max),
        "stepSize": fixed8(instrument.lot_step),
    }
    return {
        "symbol": instrument.symbol,
        "status": instrument.status,
        "baseAsset": instrument.base,
        "baseAssetPrecision": 8,
        "quoteAsset": instrument.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": list(ORDER_TYPES),
        "icebergAllowed": False,
        "ocoAllowed": False,
        "otoAllowed": False,
        "opoAllowed": False,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": False,
        "cancelReplaceAllowed": False,
        "amendAllowed": False,
        "pegInstructionsAllowed": False,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": fixed8(instrument.tick_size),
                "maxPrice": "1000000.00000000",
                "tickSize": fixed8(instrument.tick_size),
            },
            {"filterType": "LOT_SIZE", **lot},
            {"filterType": "MARKET_LOT_SIZE", **lot},
            {
                "filterType": "NOTIONAL",
                "minNotional": fixed8(instrument.notional_min),
                "applyMinToMarket": True,
                "maxNotional": "9000000.00000000",
                "applyMaxToMarket": False,
                "avgPriceMins": 5,
            },
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": OPEN_ORDERS_MAX},
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "NONE",
        "allowedSelfTradePreventionModes": ["NONE"],
    }


def exchange_info(instruments: Sequence[Instrument], limits: Sequence[Limit], now_ms: int) -> Json:
    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "rateLimits": [limit.row() for limit in limits],
        "exchangeFilters": [],
        "symbols": [symbol_shape(instrument) for instrument in instruments],
    }


def ticker_shape(top: TopOfBook) -> Json:
    return {
        "symbol": top.symbol,
        "bidPrice": top.bid,
        "bidQty": top.bid_qty,
        "askPrice": top.ask,
        "askQty": top.ask_qty,
    }


def partial_depth_shape(_: DepthDiff, book: DepthSnapshot) -> Json:
    """One message of a partial book stream (`@depth5`): the REST answer's shape, no event."""
    return {"lastUpdateId": book.last_id, "bids": book.bids, "asks": book.asks}


def commission_rates(fees: Fees) -> Json:
    return {
        "maker": fixed8(fees.maker_bps * BPS),
        "taker": fixed8(fees.taker_bps * BPS),
        "buyer": fixed8(ZERO),
        "seller": fixed8(ZERO),
    }
