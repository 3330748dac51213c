"""USD-M account questions: balances, positions, commissions, leverage, income, in the versions that clients call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from attrs import define, field, frozen

from propbot.domain.instruments import Instrument
from propbot.domain.money import ZERO, amount_text
from propbot.domain.orders import Side
from propbot.simvenue.faces.core import Core
from propbot.simvenue.faces.errors import ApiError, bad_value, missing
from propbot.simvenue.faces.numbers import digits_of, fixed, fixed8
from propbot.simvenue.faces.rest import Call, Route, Security, Serve
from propbot.simvenue.faces.um_shapes import rate_text
from propbot.simvenue.filters import PERP_LEVERAGE

LEVERAGE_MAX = 125
_MAINTENANCE = Decimal("0.004")
_MAX_NOTIONAL = "100000000"


@frozen
class _PositionView:
    """One symbol's position with what it is worth now."""

    instrument: Instrument
    qty: Decimal
    entry_price: Decimal
    mark_price: Decimal
    order_margin: Decimal
    has_orders: bool

    @property
    def notional(self) -> Decimal:
        return self.qty * self.mark_price

    @property
    def profit(self) -> Decimal:
        return self.qty * (self.mark_price - self.entry_price)

    @property
    def margin(self) -> Decimal:
        return abs(self.notional) / PERP_LEVERAGE

    @property
    def maintenance(self) -> Decimal:
        return abs(self.notional) * _MAINTENANCE

    @property
    def shown_in_v3(self) -> bool:
        return bool(self.qty) or self.has_orders


@define(eq=False)
class UmAccount:
    """`leverage` is what clients have chosen and are told; margin is always reckoned at the account's default of
    20, which is the stricter for everything above it."""

    core: Core
    leverage: dict[str, int] = field(factory=dict)

    def routes(self) -> Sequence[Route]:
        signed: Callable[[str, str, int, Serve], Route] = lambda m, p, w, s: Route(m, p, w, Security.SIGNED, s)  # noqa: E731
        return (
            signed("GET", "/fapi/v2/account", 5, self.account_v2),
            signed("GET", "/fapi/v3/account", 5, self.account_v3),
            signed("GET", "/fapi/v2/balance", 5, self.balance),
            signed("GET", "/fapi/v3/balance", 5, self.balance),
            signed("GET", "/fapi/v1/positionRisk", 5, self.position_risk_v2),
            signed("GET", "/fapi/v2/positionRisk", 5, self.position_risk_v2),
            signed("GET", "/fapi/v3/positionRisk", 5, self.position_risk_v3),
            signed("GET", "/fapi/v1/commissionRate", 20, self.commission),
            signed("GET", "/fapi/v1/positionSide/dual", 30, self.position_mode),
            signed("POST", "/fapi/v1/positionSide/dual", 1, self.set_position_mode),
            signed("POST", "/fapi/v1/leverage", 1, self.set_leverage),
            signed("POST", "/fapi/v1/marginType", 1, self.set_margin_type),
            signed("GET", "/fapi/v1/leverageBracket", 1, self.brackets),
            signed("GET", "/fapi/v1/multiAssetsMargin", 30, self.multi_assets),
            signed("GET", "/fapi/v1/accountConfig", 5, self.account_config),
            signed("GET", "/fapi/v1/symbolConfig", 5, self.symbol_config),
            signed("GET", "/fapi/v1/income", 30, self.income),
        )

    async def balance(self, call: Call) -> Any:
        now_ms, views = self.core.wall_ms(), self._views()
        profit, margin = _sum(v.profit for v in views), _sum(v.margin + v.order_margin for v in views)
        return [
            {
                "accountAlias": "SgsR",
                "asset": asset,
                "balance": fixed8(wallet),
                "crossWalletBalance": fixed8(wallet),
                "crossUnPnl": fixed8(profit),
                "availableBalance": fixed8(max(ZERO, wallet + profit - margin)),
                "maxWithdrawAmount": fixed8(max(ZERO, wallet + min(profit, ZERO) - margin)),
                "marginAvailable": True,
                "updateTime": now_ms,
            }
            for asset, wallet in self._wallets()
        ]

    async def account_v2(self, call: Call) -> Any:
        account = self._account()
        account["positions"] = [self._position_v2(view) for view in self._views()]
        return {
            "feeTier": 0,
            "canTrade": True,
            "canDeposit": True,
            "canWithdraw": True,
            "updateTime": 0,
            "multiAssetsMargin": False,
            "tradeGroupId": -1,
            **account,
        }

    async def account_v3(self, call: Call) -> Any:
        account = self._account()
        account["positions"] = [self._position_v3(view) for view in self._views() if view.shown_in_v3]
        return account

    async def position_risk_v2(self, call: Call) -> Any:
        return [self._risk(view, v3=False) for view in self._asked_views(call)]

    async def position_risk_v3(self, call: Call) -> Any:
        return [self._risk(view, v3=True) for view in self._asked_views(call) if view.shown_in_v3]

    async def commission(self, call: Call) -> Any:
        symbol, fees = self.core.instrument(call.params.text("symbol")).symbol, self.core.engine.fees()
        return {
            "symbol": symbol,
            "makerCommissionRate": rate_text(fees.maker_bps),
            "takerCommissionRate": rate_text(fees.taker_bps),
            "rpiCommissionRate": "0.000000",
        }

    async def position_mode(self, call: Call) -> Any:
        return {"dualSidePosition": False}

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
        return {"leverage": asked, "maxNotionalValue": _MAX_NOTIONAL, "symbol": symbol}

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
        rows = [self._bracket(instrument) for instrument in self._asked_instruments(call)]
        return rows[0] if call.params.get("symbol") else rows

    async def account_config(self, call: Call) -> Any:
        return {
            "feeTier": 0,
            "canTrade": True,
            "canDeposit": True,
            "canWithdraw": True,
            "dualSidePosition": False,
            "updateTime": 0,
            "multiAssetsMargin": False,
            "tradeGroupId": -1,
        }

    async def symbol_config(self, call: Call) -> Any:
        return [
            {
                "symbol": instrument.symbol,
                "marginType": "CROSSED",
                "isAutoAddMargin": False,
                "leverage": self._leverage(instrument.symbol),
                "maxNotionalValue": _MAX_NOTIONAL,
            }
            for instrument in self._asked_instruments(call)
        ]

    async def income(self, call: Call) -> Any:
        """Funding, commissions and realised profit, oldest first, the newest `limit`."""
        kind, limit = call.params.get("incomeType"), call.params.limit(100, 1000)
        first_ms, last_ms = call.params.whole("startTime") or 0, call.params.whole("endTime")
        rows: list[dict[str, Any]] = []
        for instrument in self._asked_instruments(call):
            rows += self._income_of(instrument)
        chosen = [
            row
            for row in rows
            if (kind is None or row["incomeType"] == kind)
            and row["time"] >= first_ms
            and (last_ms is None or row["time"] <= last_ms)
        ]
        return sorted(chosen, key=lambda row: row["time"])[-limit:]

    def _income_of(self, instrument: Instrument) -> list[dict[str, Any]]:
        rows = [
            _income(instrument.symbol, "FUNDING_FEE", row.amount, row.asset, row.ts_ms, row.id, "")
            for row in self.core.engine.fundings(instrument.symbol)
        ]
        for trade in self.core.engine.trades(instrument.symbol, limit=1000):
            told = (trade.ts_ms, trade.trade_id, str(trade.trade_id))
            if trade.realised:
                rows.append(_income(trade.symbol, "REALIZED_PNL", trade.realised, instrument.quote, *told))
            if trade.fee:
                rows.append(_income(trade.symbol, "COMMISSION", -trade.fee, trade.fee_asset, *told))
        return rows

    def _wallets(self) -> list[tuple[str, Decimal]]:
        return [(asset, free) for asset, (free, _) in self.core.engine.balances().items()]

    def _views(self) -> list[_PositionView]:
        return [self._view(instrument) for instrument in self.core.engine.instruments()]

    def _asked_instruments(self, call: Call) -> Sequence[Instrument]:
        symbol = call.params.get("symbol")
        return self.core.engine.instruments() if symbol is None else (self.core.instrument(symbol),)

    def _asked_views(self, call: Call) -> list[_PositionView]:
        return [self._view(instrument) for instrument in self._asked_instruments(call)]

    def _view(self, instrument: Instrument) -> _PositionView:
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
        return _PositionView(instrument, qty, entry_price, mark_price, order_margin, bool(orders))

    def _account(self) -> dict[str, Any]:
        views, now_ms = self._views(), self.core.wall_ms()
        profit = _sum(v.profit for v in views)
        position_margin, order_margin = _sum(v.margin for v in views), _sum(v.order_margin for v in views)
        maintenance = _sum(v.maintenance for v in views)
        margin = position_margin + order_margin
        assets: list[dict[str, Any]] = []
        for asset, wallet in self._wallets():
            assets.append(
                {
                    "asset": asset,
                    "walletBalance": fixed8(wallet),
                    "unrealizedProfit": fixed8(profit),
                    "marginBalance": fixed8(wallet + profit),
                    "maintMargin": fixed8(maintenance),
                    "initialMargin": fixed8(margin),
                    "positionInitialMargin": fixed8(position_margin),
                    "openOrderInitialMargin": fixed8(order_margin),
                    "crossWalletBalance": fixed8(wallet),
                    "crossUnPnl": fixed8(profit),
                    "availableBalance": fixed8(max(ZERO, wallet + profit - margin)),
                    "maxWithdrawAmount": fixed8(max(ZERO, wallet + min(profit, ZERO) - margin)),
                    "marginAvailable": True,
                    "updateTime": now_ms,
                }
            )
        total = assets[0]
        return {
            "totalInitialMargin": total["initialMargin"],
            "totalMaintMargin": total["maintMargin"],
            "totalWalletBalance": total["walletBalance"],
            "totalUnrealizedProfit": total["unrealizedProfit"],
            "totalMarginBalance": total["marginBalance"],
            "totalPositionInitialMargin": total["positionInitialMargin"],
            "totalOpenOrderInitialMargin": total["openOrderInitialMargin"],
            "totalCrossWalletBalance": total["crossWalletBalance"],
            "totalCrossUnPnl": total["crossUnPnl"],
            "availableBalance": total["availableBalance"],
            "maxWithdrawAmount": total["maxWithdrawAmount"],
            "assets": assets,
        }

    def _position_v3(self, view: _PositionView) -> dict[str, Any]:
        return {
            "symbol": view.instrument.symbol,
            "positionSide": "BOTH",
            "positionAmt": fixed(view.qty, digits_of(view.instrument.lot_step)),
            "unrealizedProfit": fixed8(view.profit),
            "isolatedMargin": "0",
            "notional": fixed8(view.notional),
            "isolatedWallet": "0",
            "initialMargin": fixed8(view.margin + view.order_margin),
            "maintMargin": fixed8(view.maintenance),
            "updateTime": self.core.wall_ms(),
        }

    def _position_v2(self, view: _PositionView) -> dict[str, Any]:
        return {
            **self._position_v3(view),
            "positionInitialMargin": fixed8(view.margin),
            "openOrderInitialMargin": fixed8(view.order_margin),
            "leverage": str(self._leverage(view.instrument.symbol)),
            "isolated": False,
            "entryPrice": fixed8(view.entry_price),
            "breakEvenPrice": fixed8(view.entry_price),
            "maxNotional": _MAX_NOTIONAL,
            "bidNotional": "0",
            "askNotional": "0",
        }

    def _risk(self, view: _PositionView, *, v3: bool) -> dict[str, Any]:
        shared = {
            "symbol": view.instrument.symbol,
            "positionSide": "BOTH",
            "positionAmt": fixed(view.qty, digits_of(view.instrument.lot_step)),
            "entryPrice": fixed8(view.entry_price),
            "breakEvenPrice": fixed8(view.entry_price),
            "markPrice": fixed8(view.mark_price),
            "unRealizedProfit": fixed8(view.profit),
            "liquidationPrice": "0",
            "isolatedMargin": "0",
            "notional": fixed8(view.notional),
            "isolatedWallet": "0",
            "updateTime": self.core.wall_ms(),
        }
        if v3:
            return {
                **shared,
                "marginAsset": view.instrument.quote,
                "initialMargin": fixed8(view.margin + view.order_margin),
                "maintMargin": fixed8(view.maintenance),
                "positionInitialMargin": fixed8(view.margin),
                "openOrderInitialMargin": fixed8(view.order_margin),
                "adl": 0,
                "bidNotional": "0",
                "askNotional": "0",
            }
        return {
            **shared,
            "leverage": str(self._leverage(view.instrument.symbol)),
            "maxNotionalValue": _MAX_NOTIONAL,
            "marginType": "cross",
            "isAutoAddMargin": "false",
        }

    def _leverage(self, symbol: str) -> int:
        return self.leverage.get(symbol, int(PERP_LEVERAGE))

    @staticmethod
    def _bracket(instrument: Instrument) -> dict[str, Any]:
        bracket = {
            "bracket": 1,
            "initialLeverage": int(PERP_LEVERAGE),
            "notionalCap": int(_MAX_NOTIONAL),
            "notionalFloor": 0,
            "maintMarginRatio": float(_MAINTENANCE),
            "cum": 0.0,
        }
        return {"symbol": instrument.symbol, "notionalCoef": 1.0, "brackets": [bracket]}


def _income(
    symbol: str, kind: str, amount: Decimal, asset: str, ts_ms: int, tran_id: int, trade_id: str
) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "incomeType": kind,
        "income": amount_text(amount),
        "asset": asset,
        "info": kind,
        "time": ts_ms,
        "tranId": tran_id,
        "tradeId": trade_id,
    }


def _sum(amounts: Any) -> Decimal:
    return sum(amounts, ZERO)
