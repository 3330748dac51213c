"""UNKNOWN orders: found, or proved never to have arrived, by asking alone and not a moment too early."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from attrs import evolve

from propbot.domain.errors import OutcomeUnknown, VenueRetry
from propbot.domain.instruments import BINANCE_UM
from propbot.domain.orders import OrderState, Side
from propbot.execution.blotter import LiveOrder

if TYPE_CHECKING:
    from tests.unit.execution.conftest import Rig

LOST = OutcomeUnknown("binance-um", "the answer was lost")


async def _send_and_lose(rig: Rig, answer: Any, **changes: Any) -> LiveOrder:
    """One order on USD-M whose answer is lost."""
    rig.um.script = [answer(error=LOST, **changes)]
    lot = rig.lot()
    leg = rig.leg(BINANCE_UM, Side.SELL)
    await rig.executor.execute(rig.intent(lot, leg), lot)
    order = rig.blotter.orders[leg.client_order_id]
    assert order.state is OrderState.UNKNOWN
    return order


async def test_an_order_that_is_found_gets_what_the_venue_says(rig: Rig, answer: Any, autojump_clock: Any) -> None:
    rig.start()
    order = await _send_and_lose(rig, answer)
    await rig.blotter.wait_settled(order.lot_id)
    assert order.state is OrderState.FILLED
    assert rig.um.queries == [order.request.client_order_id]
    await rig.settle()
    (row,) = (await rig.ledger.orders_page(10))[0]
    assert (row.state, row.order_id) == (OrderState.FILLED, "1000")
    assert len(await rig.ledger.all_fills()) == 1


async def test_an_order_that_shows_late_is_found_and_was_not_given_up(
    rig: Rig, answer: Any, autojump_clock: Any
) -> None:
    rig.start()
    order = await _send_and_lose(rig, answer, hidden_s=2.5)
    await rig.blotter.wait_certain(order.lot_id)
    assert order.state is OrderState.FILLED
    assert not order.presumed_dead
    assert len(rig.um.queries) > 3


async def test_an_order_that_is_not_found_is_presumed_dead_after_its_window_and_proved_after_ten_seconds(
    rig: Rig, answer: Any, autojump_clock: Any
) -> None:
    rig.start()
    order = await _send_and_lose(rig, answer, reaches=False)
    began = trio.current_time()
    await rig.blotter.wait_certain(order.lot_id)
    assert 3.0 <= trio.current_time() - began < 3.5
    assert order.presumed_dead
    assert order.state is OrderState.UNKNOWN
    await rig.blotter.wait_settled(order.lot_id)
    assert 10.0 <= trio.current_time() - began < 12
    assert order.state is OrderState.NEVER_SENT
    assert order.not_found >= 3
    await rig.settle()
    (row,) = (await rig.ledger.orders_page(10))[0]
    assert row.state is OrderState.NEVER_SENT
    assert "not at the venue" in row.reason
    assert len(rig.um.sent) == 1


@pytest.mark.parametrize(("side", "waits"), [(Side.SELL, True), (Side.BUY, False)])
async def test_a_trade_that_may_be_its_own_keeps_an_order_from_being_presumed_dead(
    rig: Rig, answer: Any, side: Side, waits: bool, autojump_clock: Any
) -> None:
    """Queries lag behind lists of trades: hedging by the query alone would hedge twice."""
    rig.start()
    order = await _send_and_lose(rig, answer, hidden_s=8.0)
    listed = evolve(rig.um.make_fill(side, order.request.qty, "1", ""), trade_id="900")

    async def read_trades(venue: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return [listed]

    rig.resolver.read_trades = read_trades
    await trio.sleep(5)
    assert order.presumed_dead is not waits
    await trio.sleep(5)
    assert order.state is OrderState.FILLED


async def test_three_polls_are_asked_for_however_old_the_order_is(rig: Rig, answer: Any, autojump_clock: Any) -> None:
    rig.start(resolver=False)
    order = await _send_and_lose(rig, answer, reaches=False)
    await trio.sleep(60)
    rig.nursery.start_soon(rig.resolver.run)
    await rig.blotter.wait_settled(order.lot_id)
    assert (order.state, order.not_found) == (OrderState.NEVER_SENT, 3)


async def test_without_agreement_no_order_is_never_sent(rig: Rig, answer: Any, autojump_clock: Any) -> None:
    rig.start()
    order = await _send_and_lose(rig, answer, reaches=False)
    rig.um.trade_foreign(Side.SELL, order.request.qty)  # it may be ours: the position says so
    with trio.move_on_after(60):
        await rig.blotter.wait_settled(order.lot_id)
    assert order.state is OrderState.UNKNOWN
    assert not rig.reconciler.state[BINANCE_UM].last_agreed_mono_s


async def test_a_venue_that_does_not_answer_proves_nothing(rig: Rig, answer: Any, autojump_clock: Any) -> None:
    rig.start()
    rig.um.down = VenueRetry("binance-um", "no answer")
    order = await _send_and_lose(rig, answer, reaches=False)
    with trio.move_on_after(60):
        await rig.blotter.wait_certain(order.lot_id)
    assert (order.state, order.not_found, order.presumed_dead) == (OrderState.UNKNOWN, 0, False)
    rig.um.down = None
    await rig.blotter.wait_settled(order.lot_id)
    assert order.state is OrderState.NEVER_SENT


async def test_an_order_presumed_dead_that_shows_up_after_all_counts(
    rig: Rig, answer: Any, autojump_clock: Any
) -> None:
    rig.start()
    order = await _send_and_lose(rig, answer, hidden_s=7.0)
    await rig.blotter.wait_certain(order.lot_id)
    assert order.presumed_dead
    assert rig.blotter.exposure() == 0
    await rig.blotter.wait_settled(order.lot_id)
    assert order.state is OrderState.FILLED
    assert rig.blotter.exposure() == -order.request.qty


async def test_the_private_stream_may_be_faster_than_the_question(rig: Rig, answer: Any, autojump_clock: Any) -> None:
    order = await _send_and_lose(rig, answer)
    rig.start()
    report = rig.um.known[order.request.client_order_id].report
    rig.blotter.observe_report(report)
    assert order.state is OrderState.FILLED
    await trio.sleep(5)
    assert rig.um.queries == []
    assert len(rig.blotter.lot_fills[order.lot_id]) == 1


async def test_an_ioc_order_that_stays_working_is_asked_for(rig: Rig, answer: Any, autojump_clock: Any) -> None:
    order = await _send_and_lose(rig, answer)
    report = rig.um.known[order.request.client_order_id].report
    rig.blotter.observe_report(evolve(report, state=OrderState.WORKING, filled_qty=0 * report.qty, fills=()))
    assert order.state is OrderState.WORKING
    rig.start()
    await rig.blotter.wait_settled(order.lot_id)
    assert order.state is OrderState.FILLED


@pytest.mark.parametrize("lost", [True, False])
async def test_after_a_restart_what_had_no_outcome_is_asked_for(
    rig: Rig, answer: Any, lost: bool, autojump_clock: Any
) -> None:
    """The intent is all that the ledger has; whether the order left nobody knows."""
    order = await _send_and_lose(rig, answer, reaches=not lost)
    client_order_id = order.request.client_order_id
    rig.blotter.orders.clear()
    rig.blotter.load(
        await rig.ledger.all_fills(), await rig.ledger.live_lots(), await rig.ledger.unfinished_orders()
    )
    assert rig.states(client_order_id) == [OrderState.UNKNOWN]
    rig.start()
    await rig.blotter.wait_settled(order.lot_id)
    assert rig.states(client_order_id) == [OrderState.NEVER_SENT if lost else OrderState.FILLED]
    assert len(rig.um.sent) == 1
