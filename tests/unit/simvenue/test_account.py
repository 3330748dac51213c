"""Cash is conserved to the last digit (invariant I8), whatever is traded in whatever order."""

from __future__ import annotations

from decimal import Decimal as D

from hypothesis import given
from hypothesis import strategies as st

from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM, Kind
from propbot.domain.orders import Side
from propbot.simvenue.account import ASSET_STEP, PerpAccount, SpotAccount, restore_account
from propbot.simvenue.instruments import INSTRUMENTS, PERP_BTCUSDT, SPOT_BTCUSDT

BUY, SELL = Side.BUY, Side.SELL

a_trade = st.tuples(
    st.sampled_from([BUY, SELL]),
    st.integers(1, 50_000).map(lambda lots: D(lots) * D("0.001")),
    st.integers(500_000, 700_000).map(lambda ticks: D(ticks) * D("0.1")),
)
FEE_BPS = D("1.7")


@given(st.lists(a_trade, max_size=40))
def test_the_perp_wallet_moves_by_realised_less_fees_and_a_flat_account_by_its_cash(trades):
    account = PerpAccount({"USDT": D(100_000)})
    cash, fees, realised = D(0), D(0), D(0)
    for side, qty, price in trades:
        booking = account.book(PERP_BTCUSDT, side, qty, price, FEE_BPS)
        cash -= side.sign * qty * price
        fees += booking.fee
        realised += booking.realised
    assert account.balances["USDT"] == D(100_000) + realised - fees
    position = account.positions.get("BTCUSDT")
    if position is None:
        return
    assert position.qty == sum((side.sign * qty for side, qty, _ in trades), D(0))
    assert position.cost >= 0
    # What is realised and what is still in the position are all the cash there was: exactly, not to a tolerance.
    in_position = position.cost if position.qty > 0 else -position.cost
    assert cash + in_position == realised


@given(st.lists(a_trade, max_size=40))
def test_spot_balances_move_by_the_trades_and_the_fees_they_name(trades):
    account = SpotAccount({"USDT": D(100_000), "BTC": D(2)})
    expected = {"USDT": D(100_000), "BTC": D(2)}
    for side, qty, price in trades:
        booking = account.book(SPOT_BTCUSDT, side, qty, price, FEE_BPS)
        expected["BTC"] += side.sign * qty
        expected["USDT"] -= side.sign * qty * price
        expected[booking.fee_asset] -= booking.fee
        assert booking.fee_asset == ("BTC" if side is BUY else "USDT")
    assert account.balances == expected
    assert all(total % ASSET_STEP == 0 for total in account.balances.values())


def test_a_position_that_turns_over_realises_the_old_side_and_opens_the_new():
    account = PerpAccount({"USDT": D(0)})
    account.book(PERP_BTCUSDT, BUY, D("0.3"), D("60000"), D(0))
    booking = account.book(PERP_BTCUSDT, SELL, D("0.5"), D("60100"), D(0))
    assert booking.realised == D("30")
    position = account.positions["BTCUSDT"]
    assert (position.qty, position.entry_price) == (D("-0.2"), D("60100"))
    assert position.profit_at(D("60000")) == D("20")


def test_thirds_of_a_position_lose_nothing_when_the_last_is_closed():
    account = PerpAccount({"USDT": D(0)})
    for price in ("60000.1", "60000.2", "60000.4"):
        account.book(PERP_BTCUSDT, BUY, D("0.001"), D(price), D(0))
    total = sum(account.book(PERP_BTCUSDT, SELL, D("0.001"), D("60000.3"), D(0)).realised for _ in range(3))
    assert total == D("0.0002")
    assert account.positions["BTCUSDT"].cost == 0


def test_longs_pay_a_positive_funding_rate_and_shorts_receive_it():
    account = PerpAccount({"USDT": D(1000)})
    account.book(PERP_BTCUSDT, BUY, D("0.5"), D("60000"), D(0))
    assert account.fund(PERP_BTCUSDT, D("0.0001"), D("60000")) == D("-3")
    account.book(PERP_BTCUSDT, SELL, D("1"), D("60000"), D(0))
    assert account.fund(PERP_BTCUSDT, D("0.0001"), D("60000")) == D("3")
    assert account.balances["USDT"] == D(1000)


def test_a_restored_account_is_of_the_venues_kind():
    assert isinstance(restore_account(Kind.SPOT, {"USDT": D(1)}, {}), SpotAccount)
    perp = restore_account(Kind.PERP, {"USDT": D(1)}, {"BTCUSDT": (D("-1"), D("60000"))})
    assert perp.positions["BTCUSDT"].entry_price == D("60000")
    assert {i.kind for i in INSTRUMENTS[BINANCE_UM]} == {Kind.PERP}
    assert {i.kind for i in INSTRUMENTS[BINANCE_SPOT]} == {Kind.SPOT}
