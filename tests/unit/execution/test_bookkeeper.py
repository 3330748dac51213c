"""The bookkeeper: in order, at last, and nothing that is known stays unwritten or unasked for."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
import trio

from propbot.domain.errors import LedgerError, VenueRetry
from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM
from propbot.domain.orders import Funding, OrderState, Side

if TYPE_CHECKING:
    from tests.unit.execution.conftest import Rig


async def _trade(rig: Rig, answer: Any, **changes: Any) -> str:
    rig.um.script = [answer(**changes)]
    lot = rig.lot()
    leg = rig.leg(BINANCE_UM, Side.SELL)
    await rig.executor.execute(rig.intent(lot, leg), lot)
    return leg.client_order_id


async def test_what_the_blotter_knows_becomes_durable(rig: Rig, answer: Any, autojump_clock: Any) -> None:
    rig.start()
    client_order_id = await _trade(rig, answer)
    assert not rig.bookkeeper.idle
    await rig.settle()
    row = await rig.ledger.order(client_order_id)
    assert row is not None
    assert (row.state, row.filled_qty) == (OrderState.FILLED, Decimal("0.01"))
    (fill,) = await rig.ledger.all_fills()
    assert (fill.fill.client_order_id, fill.lot_id) == (client_order_id, row.lot_id)
    booked = [row for row in rig.trace.rows if row["kind"] == "fill_booked"]
    assert len(booked) == 1


async def test_a_ledger_that_fails_is_told_and_tried_again_until_it_works(
    rig: Rig, answer: Any, monkeypatch: pytest.MonkeyPatch, autojump_clock: Any
) -> None:
    rig.start()
    record = rig.ledger.record_order
    failures = [LedgerError("disk full")] * 3

    async def fail_thrice(*args: Any, **named: Any) -> Any:
        if failures:
            raise failures.pop()
        return await record(*args, **named)

    monkeypatch.setattr(rig.ledger, "record_order", fail_thrice)
    client_order_id = await _trade(rig, answer)
    await rig.settle()
    assert rig.ledger_failures == ["disk full"] * 3
    row = await rig.ledger.order(client_order_id)
    assert row is not None
    assert row.state is OrderState.FILLED


async def test_two_outcomes_for_one_order_are_told_and_the_rest_is_written(
    rig: Rig, answer: Any, autojump_clock: Any
) -> None:
    first = await _trade(rig, answer)
    await rig.ledger.record_order(first, OrderState.CANCELED)
    second = await _trade(rig, answer)
    rig.start()
    with trio.fail_after(5):
        await rig.settle()
    (failure,) = rig.ledger_failures
    assert "CANCELED" in failure
    row = await rig.ledger.order(second)
    assert row is not None
    assert row.state is OrderState.FILLED


async def test_a_fill_of_nobody_we_know_is_foreign_and_told_once(rig: Rig, autojump_clock: Any) -> None:
    rig.start()
    fill = rig.um.trade_foreign(Side.BUY, Decimal("0.003"))
    rig.blotter.observe_fills([fill])
    rig.blotter.observe_fills([fill])
    await rig.settle()
    assert rig.foreign == [fill]
    assert rig.blotter.exposure() == 0
    assert await rig.ledger.all_fills() == ()


async def test_a_late_fill_of_an_order_of_an_earlier_life_is_ours(
    rig: Rig, answer: Any, autojump_clock: Any
) -> None:
    client_order_id = await _trade(rig, answer)
    rig.blotter.orders.clear()
    rig.blotter._by_order_id.clear()
    rig.blotter._seen.clear()
    rig.blotter._outbox.clear()
    rig.blotter.accounts[BINANCE_UM].qty = Decimal(0)
    rig.start()
    rig.blotter.observe_fills(rig.um.known[client_order_id].fills)
    await rig.settle()
    assert rig.foreign == []
    assert rig.blotter.position(BINANCE_UM) == Decimal("-0.01")


async def test_fills_that_did_not_come_are_asked_for(rig: Rig, answer: Any, autojump_clock: Any) -> None:
    rig.start()
    client_order_id = await _trade(rig, answer, fills_with_reply=False)
    await trio.sleep(0.4)
    assert rig.um.order_trades_asked == 0
    await trio.sleep(0.4)
    order = rig.blotter.orders[client_order_id]
    assert order.settled
    await trio.sleep(5)
    assert rig.um.order_trades_asked == 1
    await rig.settle()
    assert len(await rig.ledger.all_fills()) == 1


async def test_the_search_for_fills_survives_a_venue_that_does_not_answer(
    rig: Rig, answer: Any, autojump_clock: Any
) -> None:
    rig.start()
    rig.um.down = VenueRetry("binance-um", "no answer")
    client_order_id = await _trade(rig, answer, fills_with_reply=False)
    await trio.sleep(3)
    assert not rig.blotter.orders[client_order_id].settled
    rig.um.down = None
    await trio.sleep(1)
    assert rig.blotter.orders[client_order_id].settled


async def test_funding_is_written_once(rig: Rig, autojump_clock: Any) -> None:
    rig.start()
    payment = Funding(BINANCE_UM, "BTCUSDT", "USDT", Decimal("0.5"), "income-1", 1)
    rig.blotter.observe_funding(payment)
    rig.blotter.observe_funding(payment)
    await rig.settle()
    assert await rig.ledger.all_funding() == (payment,)


async def test_a_spot_fill_keeps_its_fee_in_base(rig: Rig, autojump_clock: Any) -> None:
    rig.start()
    lot = rig.lot()
    leg = rig.leg(BINANCE_SPOT, Side.BUY)
    await rig.executor.execute(rig.intent(lot, leg), lot)
    await rig.settle()
    (row,) = await rig.ledger.all_fills()
    assert (row.fill.fee, row.fill.fee_asset) == (Decimal("0.01") * Decimal("0.0002"), "BTC")
    assert rig.blotter.position(BINANCE_SPOT) == Decimal("0.01") - row.fill.fee
