"""What accounts are worth, and what is unknown about it."""

from __future__ import annotations

from decimal import Decimal

from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM, Kind, VenueId
from propbot.domain.orders import Fill, Side
from propbot.domain.pnl import PositionAccount
from propbot.status.equity import compute_equity, compute_notional, compute_pnl, compute_unrealised

D = Decimal
MARKS: dict[VenueId, Decimal | None] = {BINANCE_UM: D(101), BINANCE_SPOT: D(99)}


def account(venue: VenueId, kind: Kind, side: Side | None = None, fee_asset: str = "USDT") -> PositionAccount:
    made = PositionAccount(venue, "BTCUSDT", kind, "BTC", "USDT")
    if side is not None:
        made.apply(Fill(venue, "BTCUSDT", "1", "a", "1", side, D(2), D(100), D("0.5"), fee_asset, "taker", 1))
    return made


def test_trading_pnl_is_realised_and_unrealised_less_fees() -> None:
    accounts = [account(BINANCE_UM, Kind.PERP, Side.SELL), account(BINANCE_SPOT, Kind.SPOT, Side.BUY)]
    assert compute_unrealised(accounts, MARKS.get) == D(-4)
    assert compute_pnl(accounts, MARKS.get) == D(-5)


def test_a_position_without_a_mark_is_unknown_and_a_flat_account_is_not() -> None:
    assert compute_pnl([account(BINANCE_UM, Kind.PERP, Side.SELL)], lambda venue: None) is None
    assert compute_pnl([account(BINANCE_UM, Kind.PERP)], lambda venue: None) == D(0)
    assert compute_notional({BINANCE_UM: D(-2), BINANCE_SPOT: D(0)}, lambda venue: None) is None
    assert compute_notional({BINANCE_UM: D(-2), BINANCE_SPOT: D(3)}, MARKS.get) == D(499)


def test_a_fee_in_a_third_asset_makes_the_sum_unknown() -> None:
    assert compute_pnl([account(BINANCE_UM, Kind.PERP, Side.SELL, "BNB")], MARKS.get) is None


def test_equity_holds_the_inventory_that_pnl_leaves_out() -> None:
    accounts = [account(BINANCE_UM, Kind.PERP), account(BINANCE_SPOT, Kind.SPOT)]
    free = {
        (BINANCE_UM, "USDT"): D(10), (BINANCE_SPOT, "USDT"): D(20), (BINANCE_SPOT, "BTC"): D(2),
    }
    assert compute_equity(accounts, free, MARKS.get) == D(228)
    assert compute_pnl(accounts, MARKS.get) == D(0)
    assert compute_equity(accounts, {}, MARKS.get) is None
