"""USD-M account questions: balances, positions, commissions, leverage, income, in the versions that clients call."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from attrs import define, evolve, field

from propbot.domain.instruments import Instrument
from propbot.domain.money import ZERO
from propbot.domain.orders import Side
from propbot.simvenue.faces.core import Core
from propbot.simvenue.faces.errors import ApiError, bad_value, missing
from propbot.simvenue.faces.rest import Call, Route, Security, Serve
from propbot.simvenue.faces.um_positions import (
    MAX_NOTIONAL,
    PositionView,
    account_shape,
    balance_shape,
    bracket_shape,
    income_shape,
    position_v2_shape,
    position_v3_shape,
    risk_v2_shape,
    risk_v3_shape,
)
from propbot.simvenue.faces.um_shapes import rate_text
from propbot.simvenue.filters import PERP_LEVERAGE

LEVERAGE_MAX = 125
_CONFIG = {
    "feeTier": 0,
    "canTrade": True,
    "canDeposit": True,
    "canWithdraw": True,
    "updateTime": 0,
    "multiAssetsMargin": False,
    "tradeGroupId": -1,
}


@define(eq=False)
class UmAccount:
    """`leverage` is what clients have chosen and are told; margin is always reckoned at the account's default of
    20, which is the stricter for everything above it."""

    core: Core
    leverage: dict[str, int] = field(factory=dict)

    def routes(self) -> Sequence[Route]:
        table: Sequence[tuple[str, str, int, Serve]] = (
            ("GET", "/fapi/v2/account", 5, self.account_v2),
            ("GET", "/fapi/v3/account", 5, self.account_v3),
            ("GET", "/fapi/v2/balance", 5, self.balance),
            ("GET", "/fapi/v3/balance", 5, self.balance),
            ("GET", "/fapi/v1/positionRisk", 5, self.position_risk_v2),
            ("GET", "/fapi/v2/positionRisk", 5, self.position_risk_v2),
            ("GET", "/fapi/v3/positionRisk", 5, self.position_risk_v3),
            ("GET", "/fapi/v1/commissionRate", 20, self.commission),
            ("GET", "/fapi/v1/positionSide/dual", 30, self.position_mode),
            ("POST", "/fapi/v1/positionSide/dual", 1, self.set_position_mode),
            ("POST", "/fapi/v1/leverage", 1, self.set_leverage),
            ("POST", "/fapi/v1/marginType", 1, self.set_margin_type),
            ("GET", "/fapi/v1/leverageBracket", 1, self.brackets),
            ("GET", "/fapi/v1/multiAssetsMargin", 30, self.multi_assets),
            ("GET", "/fapi/v1/accountConfig", 5, self.account_config),
            ("GET", "/fapi/v1/symbolConfig", 5, self.symbol_config),
            ("GET", "/fapi/v1/income", 30, self.income),
        )
        return tuple(Route(method, path, weight, Security.SIGNED, serve) for method, path, weight, serve in table)

    async def balance(self, call: Call) -> Any:
        now_ms, views = self.core.wall_ms(), self._views()
        return [balance_shape(asset, wallet, views, now_ms) for asset, wallet in self._wallets()]

    async def account_v2(self, call: Call) -> Any:
        now_ms, views = self.core.wall_ms(), self._views()
        positions = [position_v2_shape(view, self._leverage(view), now_ms) for view in views]
        return {**_CONFIG, "feeBurn": False, **account_shape(self._wallets(), views, now_ms), "positions": positions}

    async def account_v3(self, call: Call) -> Any:
        now_ms, views = self.core.wall_ms(), self._views()
        positions = [position_v3_shape(view, now_ms) for view in views if view.shown_in_v3]
        return {**account_shape(self._wallets(), views, now_ms), "positions": positions}

    async def position_risk_v2(self, call: Call) -> Any:
        now_ms = self.core.wall_ms()
        return [risk_v2_shape(view, self._leverage(view), now_ms) for view in self._asked_views(call)]

    async def position_risk_v3(self, call: Call) -> Any:
        now_ms = self.core.wall_ms()
        rows = [risk_v3_shape(view, now_ms) for view in self._asked_views(call) if view.shown_in_v3]
        if self.core.faults.lasting(self.core.venue, "zero_positions") is not None:
            zeros = [risk_v3_shape(evolve(view, qty=ZERO), now_ms) for view in self._asked_views(call)]
            rows += [{**row, "positionSide": side} for row in zeros for side in ("BOTH", "LONG", "SHORT")]
        return rows

    async def commission(self, call: Call) -> Any:
        symbol, fees = self.core.instrument(call.params.text("symbol")).symbol, self.core.engine.fees()
        return {
            "symbol": symbol,
            "makerCommissionRate": rate_text(fees.maker_bps),
            "takerCommissionRate": rate_text(fees.taker_bps),
            "rpiCommissionRate": "0.000000",
        }

    async def position_mode(self, call: Call) -> Any:
        return {"dualSidePosition": self.core.dual_side}

    async def set_position_mode(self, call: Call) -> Any:
        call.params.text("dualSidePosition")
        if not call.params.flag("dualSidePosition"):
            raise ApiError(400, -4059, "No need to change position side.")
        raise ApiError(400, -4084, "Method is not allowed currently. Upcoming soon.")

    async def set_leverage(self, call: Call) -> Any:
        symbol, asked = self.core.instrument(call.params.text("symbol")).symbol, call.params.whole("leverage")
        if asked is None:
            raise missing("leverage")
        if not 1 <= asked <= LEVERAGE_MAX:
            raise ApiError(400, -4028, f"Leverage {asked} is not valid")
        self.leverage[symbol] = asked
        return {"leverage": asked, "maxNotionalValue": MAX_NOTIONAL, "symbol": symbol}

    async def set_margin_type(self, call: Call) -> Any:
        self.core.instrument(call.params.text("symbol"))
        chosen = call.params.text("marginType")
        if chosen in ("CROSSED", "CROSS"):
            raise ApiError(400, -4046, "No need to change margin type.")
        if chosen != "ISOLATED":
            raise bad_value("marginType")
        raise ApiError(400, -4084, "Method is not allowed currently. Upcoming soon.")

    async def multi_assets(self, call: Call) -> Any:
        return {"multiAssetsMargin": False}

    async def brackets(self, call: Call) -> Any:
        rows = [bracket_shape(instrument) for instrument in self._asked_instruments(call)]
        return rows[0] if call.params.get("symbol") else rows

    async def account_config(self, call: Call) -> Any:
        return {**_CONFIG, "dualSidePosition": self.core.dual_side}

    async def symbol_config(self, call: Call) -> Any:
        return [
            {
                "symbol": instrument.symbol,
                "marginType": "CROSSED",
                "isAutoAddMargin": False,
                "leverage": self.leverage.get(instrument.symbol, int(PERP_LEVERAGE)),
                "maxNotionalValue": MAX_NOTIONAL,
            }
            for instrument in self._asked_instruments(call)
        ]

    async def income(self, call: Call) -> Any:
        """Funding, commissions and realised profit, oldest first, the newest `limit`."""
        kind, limit = call.params.get("incomeType"), call.params.limit(100, 1000)
        rows: list[dict[str, Any]] = []
        for instrument in self._asked_instruments(call):
            rows += self._income_of(instrument)
        chosen = [
            row
            for row in rows
            if (kind is None or row["incomeType"] == kind)
            and call.params.has_time(row["time"])
            and self.core.still_listed(row["time"])
        ]
        return sorted(chosen, key=lambda row: row["time"])[-limit:]

    def _income_of(self, instrument: Instrument) -> list[dict[str, Any]]:
        rows = [
            income_shape(instrument.symbol, "FUNDING_FEE", row.amount, row.asset, row.ts_ms, row.id, "")
            for row in self.core.engine.fundings(instrument.symbol)
        ]
        for trade in self.core.engine.trades(instrument.symbol, limit=1000):
            told = (trade.ts_ms, trade.trade_id, str(trade.trade_id))
            if trade.realised:
                rows.append(income_shape(trade.symbol, "REALIZED_PNL", trade.realised, instrument.quote, *told))
            if trade.fee:
                rows.append(income_shape(trade.symbol, "COMMISSION", -trade.fee, trade.fee_asset, *told))
        return rows

    def _wallets(self) -> list[tuple[str, Decimal]]:
        return [(asset, free) for asset, (free, _) in self.core.engine.balances().items()]

    def _views(self) -> list[PositionView]:
        return [self._view(instrument) for instrument in self.core.engine.instruments()]

    def _asked_instruments(self, call: Call) -> Sequence[Instrument]:
        symbol = call.params.get("symbol")
        return self.core.engine.instruments() if symbol is None else (self.core.instrument(symbol),)

    def _asked_views(self, call: Call) -> list[PositionView]:
        return [self._view(instrument) for instrument in self._asked_instruments(call)]

    def _view(self, instrument: Instrument) -> PositionView:
        engine = self.core.engine
        qty, entry_price = engine.position(instrument.symbol)
        mark_price = entry_price if engine.top(instrument.symbol) is None else engine.mark_price(instrument.symbol)
        orders = engine.open_orders(instrument.symbol)
        working = {Side.BUY: ZERO, Side.SELL: ZERO}
        for order in orders:
            if not order.request.reduce_only:
                left = order.request.qty - order.filled_qty
                working[order.request.side] += left * (order.request.limit_price or mark_price)
        order_margin = max(working.values()) / PERP_LEVERAGE
        return PositionView(instrument, qty, entry_price, mark_price, order_margin, bool(orders))

    def _leverage(self, view: PositionView) -> int:
        return self.leverage.get(view.instrument.symbol, int(PERP_LEVERAGE))
