"""USD-M's public REST: time, exchangeInfo, depth, tickers, mark price and funding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import define

from propbot.domain.instruments import Instrument
from propbot.simvenue.faces.core import Core
from propbot.simvenue.faces.market import (
    chosen,
    delay_snapshot,
    depth_of,
    depth_weight,
    last_price,
    levels,
    ping,
    top_of,
)
from propbot.simvenue.faces.numbers import digits_of, fixed, fixed8
from propbot.simvenue.faces.params import Params
from propbot.simvenue.faces.rest import Call, Route, Security, Serve, Weight
from propbot.simvenue.faces.tape import TRADES_KEPT, Tapes
from propbot.simvenue.faces.tape_shapes import day_shape, trade_row
from propbot.simvenue.faces.um_shapes import exchange_info, ticker_shape

FUNDING_INTERVAL_MS = 8 * 3600 * 1000


@define(eq=False)
class UmMarket:
    core: Core
    tapes: Tapes

    def routes(self) -> Sequence[Route]:
        table: Sequence[tuple[str, Weight, Serve]] = (
            ("/fapi/v1/ping", 1, ping),
            ("/fapi/v1/time", 1, self.time),
            ("/fapi/v1/exchangeInfo", 1, self.info),
            ("/fapi/v1/depth", depth_weight(((50, 2), (100, 5), (500, 10), (1000, 20))), self.depth),
            ("/fapi/v1/ticker/bookTicker", 2, self.book_ticker),
            ("/fapi/v1/ticker/price", 1, self.price),
            ("/fapi/v2/ticker/price", 1, self.price),
            ("/fapi/v1/ticker/24hr", _day_weight, self.day),
            ("/fapi/v1/trades", 5, self.trades),
            ("/fapi/v1/premiumIndex", 1, self.premium),
            ("/fapi/v1/fundingInfo", 0, self.funding_info),
        )
        return tuple(Route("GET", path, weight, Security.NONE, serve) for path, weight, serve in table)

    async def time(self, call: Call) -> Any:
        return {"serverTime": self.core.wall_ms()}

    async def info(self, call: Call) -> Any:
        return exchange_info(self.core.engine.instruments(), self.core.counters.limits, self.core.wall_ms())

    async def depth(self, call: Call) -> Any:
        now_ms = self.core.wall_ms()
        snapshot = depth_of(self.core, call.params, 1000)
        await delay_snapshot(self.core)
        return {"lastUpdateId": snapshot.last_id, "E": now_ms, "T": now_ms, **levels(snapshot)}

    async def book_ticker(self, call: Call) -> Any:
        instruments, single = chosen(self.core, call.params)
        rows = [ticker_shape(top_of(self.core, i), self.core.wall_ms()) for i in instruments]
        return rows[0] if single else rows

    async def price(self, call: Call) -> Any:
        instruments, single = chosen(self.core, call.params)
        rows = [self._price(instrument) for instrument in instruments]
        return rows[0] if single else rows

    async def day(self, call: Call) -> Any:
        instruments, single = chosen(self.core, call.params)
        rows = [self._day(instrument) for instrument in instruments]
        return rows[0] if single else rows

    async def trades(self, call: Call) -> Any:
        tape = self.tapes.of(self.core.instrument(call.params.text("symbol")).symbol)
        limit = call.params.limit(500, TRADES_KEPT)
        return [{**trade_row(trade), "isRPITrade": False} for trade in tape.last_trades(limit)]

    async def premium(self, call: Call) -> Any:
        instruments, single = chosen(self.core, call.params)
        rows = [self._premium(instrument) for instrument in instruments]
        return rows[0] if single else rows

    async def funding_info(self, call: Call) -> Any:
        return []  # only symbols whose funding was adjusted are listed, and none is

    def _price(self, instrument: Instrument) -> dict[str, Any]:
        price = fixed(last_price(self.core, instrument), digits_of(instrument.tick_size))
        return {"symbol": instrument.symbol, "price": price, "time": self.core.wall_ms()}

    def _day(self, instrument: Instrument) -> dict[str, Any]:
        now_ms, digits = self.core.wall_ms(), (digits_of(instrument.tick_size), digits_of(instrument.lot_step))
        return day_shape(instrument.symbol, self.tapes.of(instrument.symbol).day(now_ms), *digits, now_ms)

    def _premium(self, instrument: Instrument) -> dict[str, Any]:
        now_ms, mark = self.core.wall_ms(), fixed8(self.core.engine.mark_price(instrument.symbol))
        return {
            "symbol": instrument.symbol,
            "markPrice": mark,
            "indexPrice": mark,
            "estimatedSettlePrice": mark,
            "lastFundingRate": fixed8(self.core.funding_rate),
            "interestRate": fixed8(self.core.funding_rate),
            "nextFundingTime": (now_ms // FUNDING_INTERVAL_MS + 1) * FUNDING_INTERVAL_MS,
            "time": now_ms,
        }


def _day_weight(params: Params) -> int:
    return 1 if params.get("symbol") else 40
