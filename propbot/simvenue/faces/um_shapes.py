"""USD-M's JSON: orders, trades, events, exchangeInfo, as the fact sheet and the sample messages have them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from propbot.domain.instruments import Instrument
from propbot.domain.market import DepthDiff, DepthSnapshot, TopOfBook
from propbot.domain.money import ZERO, amount_text
from propbot.domain.orders import Side
from propbot.simvenue.faces.limits import Limit
from propbot.simvenue.faces.numbers import average, digits_of, fixed, fixed8
from propbot.simvenue.filters import OPEN_ORDERS_MAX
from propbot.simvenue.records import NewOrder, OrderChanged, SimOrder, SimStatus, SimTif, SimTrade, SimType

Json = dict[str, Any]

LIMITS = (
    Limit("REQUEST_WEIGHT", "MINUTE", 1, 2400),
    Limit("ORDERS", "MINUTE", 1, 1200),
    Limit("ORDERS", "SECOND", 10, 300),
)
_AVERAGE_DIGITS = 5


def tif_of(asked: NewOrder) -> str:
    if asked.type is SimType.MARKET:
        return "GTC"
    return "GTX" if asked.tif is SimTif.POST_ONLY else asked.tif.value


def order_shape(instrument: Instrument, order: SimOrder) -> Json:
    """The fields that every answer about an order has."""
    asked, price_digits, qty_digits = order.request, digits_of(instrument.tick_size), digits_of(instrument.lot_step)
    return {
        "orderId": order.order_id,
        "symbol": asked.symbol,
        "status": order.status.value,
        "clientOrderId": asked.client_order_id,
        "price": fixed(asked.limit_price or ZERO, price_digits),
        "avgPrice": fixed(average(order.quote_qty, order.filled_qty), _AVERAGE_DIGITS),
        "origQty": fixed(asked.qty, qty_digits),
        "executedQty": fixed(order.filled_qty, qty_digits),
        "cumQuote": fixed(order.quote_qty, _AVERAGE_DIGITS),
        "timeInForce": tif_of(asked),
        "type": asked.type.value,
        "reduceOnly": asked.reduce_only,
        "closePosition": False,
        "side": asked.side.value,
        "positionSide": "BOTH",
        "stopPrice": fixed(ZERO, price_digits),
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "origType": asked.type.value,
        "priceMatch": "NONE",
        "selfTradePreventionMode": "EXPIRE_MAKER",
        "goodTillDate": 0,
        "updateTime": order.updated_ms,
    }


def placed_shape(instrument: Instrument, order: SimOrder, *, ack: bool) -> Json:
    """The answer to a new order. ACK tells of its acceptance alone, whatever became of it since."""
    qty_digits = digits_of(instrument.lot_step)
    if ack:
        order = SimOrder(order.order_id, order.request, SimStatus.NEW, order.created_ms, order.created_ms)
    return {**order_shape(instrument, order), "cumQty": fixed(order.filled_qty, qty_digits)}


def queried_shape(instrument: Instrument, order: SimOrder) -> Json:
    return {**order_shape(instrument, order), "time": order.created_ms}


def trade_shape(instrument: Instrument, trade: SimTrade) -> Json:
    return {
        "symbol": trade.symbol,
        "id": trade.trade_id,
        "orderId": trade.order_id,
        "side": trade.side.value,
        "price": fixed(trade.price, digits_of(instrument.tick_size)),
        "qty": fixed(trade.qty, digits_of(instrument.lot_step)),
        "realizedPnl": fixed8(trade.realised),
        "quoteQty": amount_text(trade.qty * trade.price),
        "commission": fixed8(trade.fee),
        "commissionAsset": trade.fee_asset,
        "time": trade.ts_ms,
        "positionSide": "BOTH",
        "buyer": trade.side is Side.BUY,
        "maker": trade.maker,
    }


def order_event(instrument: Instrument, changed: OrderChanged, now_ms: int) -> Json:
    order, trade = changed.order, changed.trade
    asked = order.request
    price_digits, qty_digits = digits_of(instrument.tick_size), digits_of(instrument.lot_step)
    left = ZERO if asked.limit_price is None else (asked.qty - changed.filled_qty) * asked.limit_price
    resting = changed.status.open
    body: Json = {
        "s": asked.symbol,
        "c": asked.client_order_id,
        "S": asked.side.value,
        "o": asked.type.value,
        "f": tif_of(asked),
        "q": fixed(asked.qty, qty_digits),
        "p": fixed(asked.limit_price or ZERO, price_digits),
        "ap": fixed(average(changed.quote_qty, changed.filled_qty), _AVERAGE_DIGITS),
        "sp": "0",
        "x": changed.what,
        "X": changed.status.value,
        "i": order.order_id,
        "l": fixed(ZERO if trade is None else trade.qty, qty_digits),
        "z": fixed(changed.filled_qty, qty_digits),
        "L": fixed(ZERO if trade is None else trade.price, price_digits),
        "T": changed.ts_ms,
        "t": 0 if trade is None else trade.trade_id,
        "b": amount_text(left if resting and asked.side is Side.BUY else ZERO),
        "a": amount_text(left if resting and asked.side is Side.SELL else ZERO),
        "m": trade is not None and trade.maker,
        "R": asked.reduce_only,
        "wt": "CONTRACT_PRICE",
        "ot": asked.type.value,
        "ps": "BOTH",
        "cp": False,
        "rp": amount_text(ZERO if trade is None else trade.realised),
        "pP": False,
        "si": 0,
        "ss": 0,
        "V": "EXPIRE_MAKER",
        "pm": "NONE",
        "gtd": 0,
    }
    if trade is not None:
        body |= {"n": amount_text(trade.fee), "N": trade.fee_asset}
    return {"e": "ORDER_TRADE_UPDATE", "T": changed.ts_ms, "E": now_ms, "o": body}


def symbol_shape(instrument: Instrument) -> Json:
    price_digits, qty_digits = digits_of(instrument.tick_size), digits_of(instrument.lot_step)
    lot = {
        "minQty": amount_text(instrument.qty_min),
        "maxQty": amount_text(instrument.qty_max),
        "stepSize": fixed(instrument.lot_step, qty_digits),
    }
    return {
        "symbol": instrument.symbol,
        "pair": instrument.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000,
        "onboardDate": 1569398400000,
        "status": instrument.status,
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": instrument.base,
        "quoteAsset": instrument.quote,
        "marginAsset": instrument.quote,
        "pricePrecision": price_digits,
        "quantityPrecision": qty_digits,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": ["PoW"],
        "settlePlan": 0,
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "maxMoveOrderLimit": 10000,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": fixed(instrument.tick_size, price_digits),
                "maxPrice": "10000000",
                "tickSize": fixed(instrument.tick_size, price_digits),
            },
            {"filterType": "LOT_SIZE", **lot},
            {"filterType": "MARKET_LOT_SIZE", **lot},
            {"filterType": "MAX_NUM_ORDERS", "limit": OPEN_ORDERS_MAX},
            {"filterType": "MIN_NOTIONAL", "notional": amount_text(instrument.notional_min)},
        ],
        "orderTypes": ["LIMIT", "MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
    }


def exchange_info(instruments: Sequence[Instrument], limits: Sequence[Limit], now_ms: int) -> Json:
    quotes = dict.fromkeys(instrument.quote for instrument in instruments)
    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "futuresType": "U_MARGINED",
        "rateLimits": [limit.row() for limit in limits],
        "exchangeFilters": [],
        "assets": [{"asset": asset, "marginAvailable": True, "autoAssetExchange": "-10000"} for asset in quotes],
        "symbols": [symbol_shape(instrument) for instrument in instruments],
    }


def ticker_shape(top: TopOfBook, now_ms: int) -> Json:
    return {
        "symbol": top.symbol,
        "bidPrice": top.bid,
        "bidQty": top.bid_qty,
        "askPrice": top.ask,
        "askQty": top.ask_qty,
        "time": top.event_ms or now_ms,
        "lastUpdateId": top.update_id,
    }


def partial_depth_shape(diff: DepthDiff, book: DepthSnapshot) -> Json:
    """One message of a partial book stream (`@depth10`): an update like the others, but of all that it shows."""
    return {
        "e": "depthUpdate",
        "E": diff.event_ms,
        "T": diff.event_ms,
        "s": diff.symbol,
        "U": diff.first_id,
        "u": diff.last_id,
        "pu": diff.prev_id,
        "b": book.bids,
        "a": book.asks,
    }


def rate_text(bps: Decimal) -> str:
    """A commission rate in bps as the fraction that the venues print."""
    return fixed(bps / 10_000, 6)
