"""USD-M's JSON of wallets, positions and margin, in the versions that clients call. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from attrs import frozen

from propbot.domain.instruments import Instrument
from propbot.domain.money import ZERO, amount_text
from propbot.simvenue.faces.numbers import digits_of, fixed, fixed8
from propbot.simvenue.filters import PERP_LEVERAGE

Json = dict[str, Any]

MAX_NOTIONAL = "100000000"
_MAINTENANCE = Decimal("0.004")


@frozen
class PositionView:
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


def balance_shape(asset: str, wallet: Decimal, views: Sequence[PositionView], now_ms: int) -> Json:
    profit, margin = _sum(v.profit for v in views), _sum(v.margin + v.order_margin for v in views)
    return {
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


def _asset_shape(asset: str, wallet: Decimal, views: Sequence[PositionView], now_ms: int) -> Json:
    """A wallet as the account answers have it."""
    shown = balance_shape(asset, wallet, views, now_ms)
    profit = _sum(v.profit for v in views)
    position_margin, order_margin = _sum(v.margin for v in views), _sum(v.order_margin for v in views)
    return {
        "asset": asset,
        "walletBalance": shown["balance"],
        "unrealizedProfit": fixed8(profit),
        "marginBalance": fixed8(wallet + profit),
        "maintMargin": fixed8(_sum(v.maintenance for v in views)),
        "initialMargin": fixed8(position_margin + order_margin),
        "positionInitialMargin": fixed8(position_margin),
        "openOrderInitialMargin": fixed8(order_margin),
        "crossWalletBalance": shown["crossWalletBalance"],
        "crossUnPnl": shown["crossUnPnl"],
        "availableBalance": shown["availableBalance"],
        "maxWithdrawAmount": shown["maxWithdrawAmount"],
        "marginAvailable": True,
        "updateTime": now_ms,
    }


def account_shape(wallets: Sequence[tuple[str, Decimal]], views: Sequence[PositionView], now_ms: int) -> Json:
    """What v2 and v3 share. The totals are the only margin asset's."""
    assets = [_asset_shape(asset, wallet, views, now_ms) for asset, wallet in wallets]
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


def position_v3_shape(view: PositionView, now_ms: int) -> Json:
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
        "updateTime": now_ms,
    }


def position_v2_shape(view: PositionView, leverage: int, now_ms: int) -> Json:
    return {
        **position_v3_shape(view, now_ms),
        "positionInitialMargin": fixed8(view.margin),
        "openOrderInitialMargin": fixed8(view.order_margin),
        "leverage": str(leverage),
        "isolated": False,
        "entryPrice": fixed8(view.entry_price),
        "breakEvenPrice": fixed8(view.entry_price),
        "maxNotional": MAX_NOTIONAL,
        "bidNotional": "0",
        "askNotional": "0",
    }


def _risk_shape(view: PositionView, now_ms: int) -> Json:
    return {
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
        "updateTime": now_ms,
    }


def risk_v2_shape(view: PositionView, leverage: int, now_ms: int) -> Json:
    return {
        **_risk_shape(view, now_ms),
        "leverage": str(leverage),
        "maxNotionalValue": MAX_NOTIONAL,
        "marginType": "cross",
        "isAutoAddMargin": "false",
    }


def risk_v3_shape(view: PositionView, now_ms: int) -> Json:
    return {
        **_risk_shape(view, now_ms),
        "marginAsset": view.instrument.quote,
        "initialMargin": fixed8(view.margin + view.order_margin),
        "maintMargin": fixed8(view.maintenance),
        "positionInitialMargin": fixed8(view.margin),
        "openOrderInitialMargin": fixed8(view.order_margin),
        "adl": 0,
        "bidNotional": "0",
        "askNotional": "0",
    }


def bracket_shape(instrument: Instrument) -> Json:
    bracket = {
        "bracket": 1,
        "initialLeverage": int(PERP_LEVERAGE),
        "notionalCap": int(MAX_NOTIONAL),
        "notionalFloor": 0,
        "maintMarginRatio": float(_MAINTENANCE),
        "cum": 0,
    }
    return {"symbol": instrument.symbol, "notionalCoef": 1.0, "brackets": [bracket]}


def income_shape(
    symbol: str, kind: str, amount: Decimal, asset: str, ts_ms: int, tran_id: int, trade_id: str
) -> Json:
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


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, ZERO)
