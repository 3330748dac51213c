"""Sides, states and what an order's report says is left."""

from __future__ import annotations

from decimal import Decimal

import pytest

from propbot.domain.instruments import BINANCE_SPOT, Credentials, Instrument, Kind
from propbot.domain.orders import Balance, Fill, OrderReport, OrderState, Side

D = Decimal

REPORT = OrderReport(
    BINANCE_SPOT, "BTCUSDT", "pb1", "7", Side.BUY, OrderState.WORKING, qty=D("1.5"), filled_qty=D("0.4"), ts_ms=0
)


def test_five_states_are_final_and_unknown_is_not_one_of_them() -> None:
    final = {state.value for state in OrderState if state.terminal}
    assert final == {"FILLED", "PARTIAL", "CANCELED", "REJECTED", "NEVER_SENT"}


@pytest.mark.parametrize(("side", "sign"), [(Side.BUY, 1), (Side.SELL, -1)])
def test_a_side_and_its_opposite_cancel_out(side: Side, sign: int) -> None:
    assert side.sign == sign
    assert side.sign + side.opposite.sign == 0
    assert side.opposite.opposite is side


def test_what_is_unfilled_is_never_negative() -> None:
    assert REPORT.unfilled_qty == D("1.1")
    overfilled = OrderReport(
        BINANCE_SPOT, "BTCUSDT", "pb1", "7", Side.BUY, OrderState.FILLED, qty=D(1), filled_qty=D("1.2"), ts_ms=0
    )
    assert overfilled.unfilled_qty == 0


def test_two_fills_with_one_trade_id_of_two_orders_are_two_fills() -> None:
    fills = [
        Fill(
            BINANCE_SPOT, "BTCUSDT", order_id, "pb1", "9", Side.BUY, D(1), D(1), D(0), "BTC", liquidity="taker", ts_ms=0
        )
        for order_id in ("1", "2")
    ]
    assert len({fill.key for fill in fills}) == 2
    report = REPORT.with_fills(tuple(fills))
    assert report.fills == tuple(fills)
    assert REPORT.fills == ()


def test_a_balance_counts_what_is_locked() -> None:
    assert Balance(BINANCE_SPOT, "BTC", D("1.5"), D("0.5")).total == 2


def test_only_a_trading_instrument_is_tradable() -> None:
    def instrument(status: str) -> Instrument:
        return Instrument(
            BINANCE_SPOT, "BTCUSDT", Kind.SPOT, "BTC", "USDT", D("0.01"), D("0.00001"), D("0.00001"), D(9000), D(5),
            status,
        )

    assert instrument("TRADING").tradable
    assert not instrument("BREAK").tradable


def test_credentials_do_not_show_themselves() -> None:
    shown = repr(Credentials("key-canary", "secret-canary"))
    assert "canary" not in shown
