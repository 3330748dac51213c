"""Average-cost accounts: worked examples, and the P&L identity after any fills at any mark."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM, Kind
from propbot.domain.lots import FillRow
from propbot.domain.money import ZERO
from propbot.domain.orders import Fill, Funding, Purpose, Side
from propbot.domain.pnl import PositionAccount, lot_other_fees, lot_realised

D = Decimal


def _account(kind: Kind) -> PositionAccount:
    return PositionAccount(BINANCE_SPOT if kind is Kind.SPOT else BINANCE_UM, "BTCUSDT", kind, "BTC", "USDT")


def _fill(side: Side, qty: str | Decimal, price: str | Decimal, fee: str | Decimal = "0", **changes: Any) -> Fill:
    plain = Fill(
        venue=BINANCE_UM,
        symbol="BTCUSDT",
        order_id="1",
        client_order_id="pb1",
        trade_id="1",
        side=side,
        qty=D(qty),
        price=D(price),
        fee=D(fee),
        fee_asset="USDT",
        liquidity="taker",
        ts_ms=0,
    )
    return evolve(plain, **changes)


def _row(fill: Fill) -> FillRow:
    return FillRow(fill, "lot-1", Purpose.OPEN, 0)


def test_a_perp_round_trip_realises_the_price_difference() -> None:
    account = _account(Kind.PERP)
    account.apply(_fill(Side.BUY, "2", "100", "0.1"))
    effect = account.apply(_fill(Side.SELL, "1", "110", "0.2"))
    assert (effect.realised, effect.quote_change, effect.base_change) == (D(10), D("9.8"), D(-1))
    assert (account.qty, account.avg_price, account.unrealised(D(105))) == (D(1), D(100), D(5))
    assert (account.realised, account.fees_quote, account.realised_net) == (D(10), D("0.3"), D("9.7"))


def test_a_short_gains_when_the_price_falls() -> None:
    account = _account(Kind.PERP)
    account.apply(_fill(Side.SELL, "2", "100"))
    assert account.unrealised(D(90)) == D(20)
    assert account.apply(_fill(Side.BUY, "1", "90")).realised == D(10)
    assert (account.qty, account.cost) == (D(-1), D(-100))


def test_a_fill_through_zero_closes_and_opens_at_its_own_price() -> None:
    account = _account(Kind.PERP)
    account.apply(_fill(Side.BUY, "1", "100"))
    assert account.apply(_fill(Side.SELL, "3", "120")).realised == D(20)
    assert (account.qty, account.avg_price) == (D(-2), D(120))
    account.apply(_fill(Side.BUY, "2", "120"))
    assert (account.qty, account.cost, account.avg_price) == (ZERO, ZERO, None)


def test_a_spot_buy_that_pays_its_fee_in_base_receives_less() -> None:
    account = _account(Kind.SPOT)
    effect = account.apply(_fill(Side.BUY, "1", "100", "0.001", fee_asset="BTC", venue=BINANCE_SPOT))
    assert (effect.base_change, effect.quote_change, effect.fee_quote) == (D("0.999"), D(-100), D("0.1"))
    assert (account.qty, account.avg_price, account.fees_quote) == (D("0.999"), D(100), D("0.1"))


def test_a_third_assets_fee_stands_apart_and_shows() -> None:
    account = _account(Kind.SPOT)
    effect = account.apply(_fill(Side.BUY, "1", "100", "0.002", fee_asset="BNB", venue=BINANCE_SPOT))
    assert (effect.fee_quote, account.fees_quote, account.qty) == (ZERO, ZERO, D(1))
    assert account.other_fees == {"BNB": D("0.002")}
    assert account.has_unvalued_fees
    assert not _account(Kind.SPOT).has_unvalued_fees


def test_funding_is_income_and_in_another_asset_stands_apart() -> None:
    account = _account(Kind.PERP)
    account.apply_funding(Funding(BINANCE_UM, "BTCUSDT", "USDT", D("-0.5"), "1", 0))
    account.apply_funding(Funding(BINANCE_UM, "BTCUSDT", "BNB", D("0.1"), "2", 0))
    assert (account.funding, account.realised_net, account.quote_change) == (D("-0.5"), D("-0.5"), D("-0.5"))
    assert account.other_fees == {"BNB": D("-0.1")}


def test_a_fill_of_another_instrument_is_a_bug() -> None:
    with pytest.raises(AssertionError):
        _account(Kind.PERP).apply(_fill(Side.BUY, "1", "100", symbol="ETHUSDT"))


def test_a_lot_realises_its_cash_net_of_fees_with_dust_at_what_it_cost() -> None:
    spot_buy = _fill(Side.BUY, "1.002", "100", "0.001", fee_asset="BTC", venue=BINANCE_SPOT)
    perp_sell = _fill(Side.SELL, "1", "101", "0.05", ts_ms=1)
    spot_sell = _fill(Side.SELL, "1", "100.5", "0.02", venue=BINANCE_SPOT, ts_ms=2)
    perp_buy = _fill(Side.BUY, "1", "100.7", "0.05", ts_ms=3)
    cash = D("-100.2") + D(101) + D("100.5") - D("100.7") - D("0.05") - D("0.02") - D("0.05")
    dust = D("1.002") - D("0.001") - D(1)
    rows = [_row(fill) for fill in (spot_sell, perp_buy, spot_buy, perp_sell)]
    assert lot_realised(rows) == cash + dust * 100
    assert lot_realised([]) == ZERO


def test_a_lots_third_asset_fees_are_named_apart() -> None:
    fills = [_fill(Side.BUY, "1", "100", "0.002", fee_asset="BNB"), _fill(Side.SELL, "1", "101", "0.1")]
    rows = [_row(fill) for fill in fills]
    assert lot_realised(rows) == D("0.9")
    assert lot_other_fees(rows) == {"BNB": D("0.002")}


QTYS = st.decimals("0.00001", "50", places=5)
PRICES = st.decimals("0.01", "200000", places=2)
FEE_PARTS = st.decimals("-0.0005", "0.002", places=5)


@st.composite
def _fills(draw: st.DrawFn, kind: Kind) -> list[Fill]:
    fills = []
    for number in range(draw(st.integers(1, 12))):
        side, qty, price = draw(st.sampled_from(Side)), draw(QTYS), draw(PRICES)
        part = draw(FEE_PARTS)
        asset = draw(st.sampled_from(["USDT", "BTC"] if kind is Kind.SPOT else ["USDT"]))
        fee = part * qty if asset == "BTC" else part * qty * price
        venue = BINANCE_SPOT if kind is Kind.SPOT else BINANCE_UM
        fills.append(_fill(side, qty, price, fee, fee_asset=asset, venue=venue, ts_ms=number, trade_id=str(number)))
    return fills


def _cash(fills: list[Fill]) -> tuple[Decimal, Decimal]:
    """(Δ quote, Δ base) by plain sums, apart from the accounts' own arithmetic."""
    quote = sum((-f.side.sign * f.qty * f.price - (f.fee if f.fee_asset == "USDT" else ZERO) for f in fills), ZERO)
    base = sum((f.side.sign * f.qty - (f.fee if f.fee_asset == "BTC" else ZERO) for f in fills), ZERO)
    return quote, base


@given(fills=_fills(Kind.SPOT), mark=PRICES)
def test_the_identity_holds_on_spot(fills: list[Fill], mark: Decimal) -> None:
    account = _account(Kind.SPOT)
    effects = [account.apply(fill) for fill in fills]
    quote, base = _cash(fills)
    assert (account.quote_change, account.qty) == (quote, base)
    assert (sum(e.quote_change for e in effects), sum(e.base_change for e in effects)) == (quote, base)
    assert quote + base * mark == account.realised_net + account.unrealised(mark)


@given(fills=_fills(Kind.PERP), mark=PRICES, funding=st.decimals("-100", "100", places=8))
def test_the_identity_holds_on_perps(fills: list[Fill], mark: Decimal, funding: Decimal) -> None:
    account = _account(Kind.PERP)
    effects = [account.apply(fill) for fill in fills]
    account.apply_funding(Funding(BINANCE_UM, "BTCUSDT", "USDT", funding, "1", 0))
    cash, base = _cash(fills)
    assert account.qty == base
    assert account.quote_change == sum((e.quote_change for e in effects), ZERO) + funding
    assert account.quote_change + account.unrealised(mark) == account.realised_net + account.unrealised(mark)
    assert cash + funding + base * mark == account.realised_net + account.unrealised(mark)


@given(fills=_fills(Kind.PERP))
def test_what_a_closed_position_realised_is_its_cash(fills: list[Fill]) -> None:
    account = _account(Kind.PERP)
    for fill in fills:
        account.apply(fill)
    if account.qty:
        side = Side.SELL if account.qty > 0 else Side.BUY
        last = _fill(side, abs(account.qty), "100")
        account.apply(last)
        fills = [*fills, last]
    assert (account.qty, account.cost) == (ZERO, ZERO)
    assert account.realised_net == _cash(fills)[0]


@given(fills=_fills(Kind.SPOT))
def test_a_lots_realised_is_cash_plus_what_is_left_at_cost(fills: list[Fill]) -> None:
    account = _account(Kind.SPOT)
    for fill in fills:
        account.apply(fill)
    assert lot_realised([_row(fill) for fill in fills]) == _cash(fills)[0] + account.cost
