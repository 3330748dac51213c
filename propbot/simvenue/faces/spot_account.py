"""Spot's other REST: market questions, the account, commissions, and the user data stream that is gone since 2026."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import define

from propbot.domain.instruments import Instrument
from propbot.simvenue.faces.core import Core
from propbot.simvenue.faces.errors import ApiError
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
from propbot.simvenue.faces.numbers import fixed8
from propbot.simvenue.faces.params import Params
from propbot.simvenue.faces.rest import Call, Route, Security, Serve, Weight
from propbot.simvenue.faces.spot_shapes import commission_rates, exchange_info, ticker_shape
from propbot.simvenue.faces.tape import TRADES_KEPT, Tapes
from propbot.simvenue.faces.tape_shapes import spot_day_shape, trade_row

DEPTH_WEIGHT = depth_weight(((100, 5), (500, 25), (1000, 50), (5000, 250)))


@define(eq=False)
class SpotMarket:
    core: Core
    tapes: Tapes

    def routes(self) -> Sequence[Route]:
        table: Sequence[tuple[str, Weight, Serve]] = (
            ("/api/v3/ping", 1, ping),
            ("/api/v3/time", 1, self.time),
            ("/api/v3/exchangeInfo", 20, self.info),
            ("/api/v3/depth", DEPTH_WEIGHT, self.depth),
            ("/api/v3/ticker/bookTicker", _ticker_weight, self.book_ticker),
            ("/api/v3/ticker/price", _ticker_weight, self.price),
            ("/api/v3/ticker/24hr", day_weight, self.day),
            ("/api/v3/avgPrice", 2, self.average_price),
            ("/api/v3/trades", 25, self.trades),
        )
        return tuple(Route("GET", path, weight, Security.NONE, serve) for path, weight, serve in table)

    async def time(self, call: Call) -> Any:
        return {"serverTime": self.core.wall_ms()}

    async def info(self, call: Call) -> Any:
        instruments, _ = chosen(self.core, call.params)
        return exchange_info(instruments, self.core.counters.limits, self.core.wall_ms())

    async def depth(self, call: Call) -> Any:
        snapshot = depth_of(self.core, call.params, 5000)
        await delay_snapshot(self.core)
        return {"lastUpdateId": snapshot.last_id, **levels(snapshot)}

    async def book_ticker(self, call: Call) -> Any:
        instruments, single = chosen(self.core, call.params)
        rows = [ticker_shape(top_of(self.core, instrument)) for instrument in instruments]
        return rows[0] if single else rows

    async def price(self, call: Call) -> Any:
        instruments, single = chosen(self.core, call.params)
        rows = [self._price(instrument) for instrument in instruments]
        return rows[0] if single else rows

    async def day(self, call: Call) -> Any:
        instruments, single = chosen(self.core, call.params)
        now_ms = self.core.wall_ms()
        rows = [spot_day_shape(self.tapes.of(i.symbol).day(now_ms), top_of(self.core, i), now_ms) for i in instruments]
        return rows[0] if single else rows

    async def trades(self, call: Call) -> Any:
        tape = self.tapes.of(self.core.instrument(call.params.text("symbol")).symbol)
        limit = call.params.limit(500, TRADES_KEPT)
        return [{**trade_row(trade), "isBestMatch": True} for trade in tape.last_trades(limit)]

    async def average_price(self, call: Call) -> Any:
        """Over the last trade alone (`mins` 0, as a venue with no window says)."""
        price = last_price(self.core, self.core.instrument(call.params.text("symbol")))
        return {"mins": 0, "price": fixed8(price), "closeTime": self.core.wall_ms()}

    def _price(self, instrument: Instrument) -> dict[str, Any]:
        return {"symbol": instrument.symbol, "price": fixed8(last_price(self.core, instrument))}


@define(eq=False)
class SpotAccount:
    core: Core

    def routes(self) -> Sequence[Route]:
        gone = "/api/v3/userDataStream"
        return (
            Route("GET", "/api/v3/account", 20, Security.SIGNED, self.account),
            Route("GET", "/api/v3/account/commission", 20, Security.SIGNED, self.commission),
            Route("GET", "/sapi/v1/asset/tradeFee", 1, Security.SIGNED, self.trade_fee),
            Route("GET", "/sapi/v1/account/apiRestrictions", 1, Security.SIGNED, self.api_restrictions),
            *(Route(method, gone, 2, Security.NONE, self.listen_key) for method in ("POST", "PUT", "DELETE")),
        )

    async def account(self, call: Call) -> Any:
        fees, now_ms = self.core.engine.fees(), self.core.wall_ms()
        omit_zero = call.params.flag("omitZeroBalances")
        return {
            "makerCommission": int(fees.maker_bps),
            "takerCommission": int(fees.taker_bps),
            "buyerCommission": 0,
            "sellerCommission": 0,
            "commissionRates": commission_rates(fees),
            "canTrade": True,
            "canWithdraw": False,
            "canDeposit": False,
            "brokered": False,
            "requireSelfTradePrevention": False,
            "preventSor": False,
            "updateTime": now_ms,
            "accountType": "SPOT",
            "balances": [
                {"asset": asset, "free": fixed8(free), "locked": fixed8(locked)}
                for asset, (free, locked) in self.core.engine.balances().items()
                if free or locked or not omit_zero
            ],
            "permissions": ["SPOT"],
            "uid": 354937868,
        }

    async def commission(self, call: Call) -> Any:
        symbol = self.core.instrument(call.params.text("symbol")).symbol
        none = dict.fromkeys(("maker", "taker", "buyer", "seller"), "0.00000000")
        return {
            "symbol": symbol,
            "standardCommission": commission_rates(self.core.engine.fees()),
            "specialCommission": none,
            "taxCommission": none,
            "discount": {
                "enabledForAccount": False,
                "enabledForSymbol": False,
                "discountAsset": "BNB",
                "discount": "1.00000000",
            },
        }

    async def trade_fee(self, call: Call) -> Any:
        """The older way to ask for fees, which foreign clients still go."""
        instruments, _ = chosen(self.core, call.params)
        rates = commission_rates(self.core.engine.fees())
        return [
            {"symbol": each.symbol, "makerCommission": rates["maker"], "takerCommission": rates["taker"]}
            for each in instruments
        ]

    async def api_restrictions(self, call: Call) -> Any:
        """What the key may do, beside what the account may."""
        may_withdraw = self.core.faults.lasting(self.core.venue, "withdraw_key") is not None
        return {
            "ipRestrict": may_withdraw,  # a key that withdraws must be bound to addresses
            "createTime": 1_623_840_271_000,
            "enableReading": True,
            "enableWithdrawals": may_withdraw,
            "enableInternalTransfer": False,
            "enableMargin": False,
            "enableFutures": False,
            "permitsUniversalTransfer": False,
            "enableVanillaOptions": False,
            "enableFixApiTrade": False,
            "enableFixReadOnly": False,
            "enableSpotAndMarginTrading": True,
            "enablePortfolioMarginTrading": False,
        }

    async def listen_key(self, call: Call) -> Any:
        raise ApiError(410, None, "listenKey endpoints removed 2026-02-20")


def _ticker_weight(params: Params) -> int:
    return 2 if params.get("symbol") else 4


def day_weight(params: Params) -> int:
    return 2 if params.get("symbol") else 80
