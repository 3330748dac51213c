"""The JSON of public trades and of 24 hours' statistics, which both venues have almost alike. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from propbot.domain.market import TopOfBook
from propbot.domain.money import ZERO
from propbot.simvenue.faces.numbers import average, fixed, fixed8
from propbot.simvenue.faces.tape import DAY_MS, Day, PrintedTrade

Json = dict[str, Any]


def trade_row(trade: PrintedTrade) -> Json:
    """What both have; each adds one of its own."""
    return {
        "id": trade.trade_id,
        "price": trade.price,
        "qty": trade.qty,
        "quoteQty": fixed8(Decimal(trade.price) * Decimal(trade.qty)),
        "time": trade.ts_ms,
        "isBuyerMaker": trade.buyer_is_maker,
    }


def day_shape(symbol: str, day: Day, price_digits: int, qty_digits: int, now_ms: int) -> Json:
    """`ticker/24hr` as USD-M has it."""
    change = day.last - day.open
    return {
        "symbol": symbol,
        "priceChange": fixed(change, price_digits),
        "priceChangePercent": fixed(change / day.open * 100 if day.open else ZERO, 3),
        "weightedAvgPrice": fixed(average(day.quote_qty, day.qty), price_digits),
        "lastPrice": fixed(day.last, price_digits),
        "lastQty": fixed(day.last_qty, qty_digits),
        "openPrice": fixed(day.open, price_digits),
        "highPrice": fixed(day.high, price_digits),
        "lowPrice": fixed(day.low, price_digits),
        "volume": fixed(day.qty, qty_digits),
        "quoteVolume": fixed(day.quote_qty, price_digits),
        "openTime": now_ms - DAY_MS,
        "closeTime": now_ms,
        "firstId": day.first_id,
        "lastId": day.last_id,
        "count": day.count,
    }


def spot_day_shape(day: Day, top: TopOfBook, now_ms: int) -> Json:
    """`ticker/24hr` as spot has it, with the best prices. What closed before the day is not known: it is its open."""
    shape = day_shape(top.symbol, day, 8, 8, now_ms)
    return {
        **shape,
        "prevClosePrice": shape["openPrice"],
        "bidPrice": top.bid,
        "bidQty": top.bid_qty,
        "askPrice": top.ask,
        "askQty": top.ask_qty,
    }
