"""The blotter: each fill counts once whoever brings it, states move forward only, and what is held adds up."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
import trio
from attrs import evolve

from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM
from propbot.domain.lots import LotState
from propbot.domain.money import ZERO
from propbot.domain.orders import Fill, Funding, OrderReport, OrderRequest, OrderState, Side
from propbot.execution.blotter import unbooked

if TYPE_CHECKING:
    from tests.unit.execution.conftest import Rig

QTY = Decimal("0.01")


def _register(rig: Rig, side: Side = Side.SELL, venue: Any = BINANCE_UM) -> OrderRequest:
    """One order of a new lot, its first byte on its way."""
    lot = rig.lot()
    leg = rig.leg(venue, side)
    rig.blotter.put_lot(lot)
    rig.blotter.register(rig.intent(lot, leg))
    rig.blotter.mark_sending(leg.client_order_id)
    return leg


def _fills(leg: OrderRequest, *qtys: str, client_order_id: str | None = None) -> tuple[Fill, ...]:
    name = leg.client_order_id if client_order_id is None else client_order_id
    return tuple(
        Fill(
            leg.venue, leg.symbol, "900", name, str(number), leg.side, Decimal(qty), Decimal(60000), ZERO, "USDT",
            "taker", number,
        )
        for number, qty in enumerate(qtys, start=1)
    )  # fmt: skip


def _report(leg: OrderRequest, state: OrderState, filled: str = "0", fills: tuple[Fill, ...] = ()) -> OrderReport:
    return OrderReport(
        leg.venue, leg.symbol, leg.client_order_id, "900", leg.side, state, leg.qty, Decimal(filled), 1, fills
    )


async def test_fills_by_reply_and_by_stream_are_counted_once(rig: Rig) -> None:
    leg = _register(rig)
    fills = _fills(leg, "0.004", "0.006")
    rig.blotter.observe_report(_report(leg, OrderState.FILLED, "0.01", fills))
    rig.blotter.observe_report(_report(leg, OrderState.FILLED, "0.01", fills))
    rig.blotter.observe_fills(_fills(leg, "0.004", "0.006", client_order_id=""))
    order = rig.blotter.orders[leg.client_order_id]
    assert (order.filled_qty, order.booked_qty) == (QTY, QTY)
    assert rig.blotter.position(BINANCE_UM) == -QTY
    assert order.settled


async def test_every_order_of_messages_ends_in_the_same_books(rig: Rig) -> None:
    """Ack, partial, final and the fills apart, shuffled and repeated."""
    rng = random.Random(7)
    for _ in range(200):
        leg = _register(rig)
        first, second = _fills(leg, "0.004", "0.006")
        first, second = (evolve(f, order_id=leg.client_order_id) for f in (first, second))
        before = rig.blotter.position(BINANCE_UM)
        reports = [
            _report(leg, OrderState.WORKING),
            _report(leg, OrderState.WORKING, "0.004", (first,)),
            _report(leg, OrderState.FILLED, "0.01", (second,)),
            _report(leg, OrderState.FILLED, "0.01", (first, second)),
        ]
        messages = [evolve(report, order_id=leg.client_order_id) for report in reports]
        messages += rng.sample(messages, 2)
        rng.shuffle(messages)
        for message in messages:
            assert rig.blotter.observe_report(message)
        order = rig.blotter.orders[leg.client_order_id]
        assert (order.state, order.filled_qty, order.booked_qty) == (OrderState.FILLED, QTY, QTY)
        assert rig.blotter.position(BINANCE_UM) == before - QTY


async def test_a_fill_before_the_ack_counts_and_the_ack_adds_nothing(rig: Rig) -> None:
    leg = _register(rig)
    rig.blotter.observe_fills(_fills(leg, "0.01"))
    assert rig.blotter.exposure() == -QTY
    assert rig.blotter.orders[leg.client_order_id].state is OrderState.SENT
    rig.blotter.observe_report(_report(leg, OrderState.FILLED, "0.01"))
    assert rig.blotter.exposure() == -QTY
    assert rig.blotter.orders[leg.client_order_id].settled


async def test_what_a_report_says_counts_before_its_fills_have_come(rig: Rig) -> None:
    leg = _register(rig)
    rig.blotter.observe_report(_report(leg, OrderState.FILLED, "0.01"))
    assert rig.blotter.position(BINANCE_UM) == -QTY
    assert rig.blotter.accounts[BINANCE_UM].qty == 0
    assert rig.blotter.lot_base("lot-1") == {BINANCE_UM: -QTY}
    assert unbooked(rig.blotter.orders) == [rig.blotter.orders[leg.client_order_id]]
    rig.blotter.observe_fills(_fills(leg, "0.01", client_order_id=""))
    assert rig.blotter.position(BINANCE_UM) == rig.blotter.accounts[BINANCE_UM].qty == -QTY
    assert unbooked(rig.blotter.orders) == []


async def test_a_spot_buy_pays_its_fee_in_base(rig: Rig) -> None:
    leg = _register(rig, Side.BUY, BINANCE_SPOT)
    (fill,) = _fills(leg, "0.01")
    rig.blotter.observe_fills([evolve(fill, fee=Decimal("0.000002"), fee_asset="BTC")])
    assert rig.blotter.position(BINANCE_SPOT) == Decimal("0.009998")
    assert rig.blotter.lot_base("lot-1") == {BINANCE_SPOT: Decimal("0.009998")}


@pytest.mark.parametrize("terminal", [state for state in OrderState if state.terminal])
async def test_a_terminal_state_stays_whatever_is_said_afterwards(rig: Rig, terminal: OrderState) -> None:
    leg = _register(rig)
    id = leg.client_order_id
    order = rig.blotter.orders[id]
    order.state = terminal
    rig.blotter.mark_unknown(id, "late")
    rig.blotter.mark_rejected(id, "late")
    rig.blotter.mark_never_sent(id, "late")
    rig.blotter.observe_report(_report(leg, OrderState.WORKING))
    rig.blotter.observe_report(_report(leg, OrderState.CANCELED))
    assert order.state is terminal


async def test_unknown_does_not_overrule_what_the_stream_has_said(rig: Rig) -> None:
    leg = _register(rig)
    rig.blotter.observe_report(_report(leg, OrderState.WORKING))
    rig.blotter.mark_unknown(leg.client_order_id, "the answer was lost")
    assert rig.blotter.orders[leg.client_order_id].state is OrderState.WORKING


async def test_a_fill_of_a_rejected_order_counts_all_the_same(rig: Rig) -> None:
    leg = _register(rig)
    rig.blotter.mark_rejected(leg.client_order_id, "no")
    rig.blotter.observe_fills(_fills(leg, "0.01"))
    assert rig.blotter.exposure() == -QTY


async def test_a_report_of_an_order_that_is_not_ours_is_none_of_our_business(rig: Rig) -> None:
    leg = _register(rig)
    stranger = evolve(_report(leg, OrderState.FILLED, "0.01"), client_order_id="web_1", order_id="77")
    assert not rig.blotter.observe_report(stranger)
    assert rig.blotter.exposure() == 0


async def test_a_renamed_report_is_known_by_the_venues_order_id(rig: Rig) -> None:
    leg = _register(rig)
    rig.blotter.observe_report(_report(leg, OrderState.WORKING))
    assert rig.blotter.observe_report(evolve(_report(leg, OrderState.CANCELED), client_order_id="renamed"))
    assert rig.blotter.orders[leg.client_order_id].state is OrderState.CANCELED


async def test_a_fill_without_a_name_is_handed_on_once_until_an_order_has_changed(rig: Rig) -> None:
    leg = _register(rig)
    nameless = _fills(leg, "0.01", client_order_id="")
    for _ in range(3):
        rig.blotter.observe_fills(nameless)
    assert rig.blotter.outbox_size == 1
    rig.blotter.mark_unknown(leg.client_order_id, "no answer")
    size = rig.blotter.outbox_size
    for _ in range(3):
        rig.blotter.observe_fills(nameless)
    assert rig.blotter.outbox_size == size + 1
    rig.blotter.observe_report(_report(leg, OrderState.FILLED, "0.01"))
    rig.blotter.observe_fills(nameless)
    assert rig.blotter.orders[leg.client_order_id].booked_qty == QTY


async def test_order_ids_of_two_venues_are_never_mixed_up(rig: Rig) -> None:
    perp = _register(rig)
    spot = _register(rig, Side.BUY, BINANCE_SPOT)
    rig.blotter.observe_report(_report(perp, OrderState.WORKING))
    rig.blotter.observe_report(_report(spot, OrderState.WORKING))
    rig.blotter.observe_fills(_fills(spot, "0.01", client_order_id=""))
    assert rig.blotter.position(BINANCE_UM) == 0
    assert rig.blotter.position(BINANCE_SPOT) == QTY


async def test_the_exposure_of_an_order_is_what_it_would_be_filled_whole(rig: Rig) -> None:
    leg = _register(rig)
    change = rig.blotter.exposure_change(leg)
    assert (change.before, change.after) == (0, -QTY)


async def test_dust_is_what_no_live_lot_explains(rig: Rig) -> None:
    leg = _register(rig, Side.BUY, BINANCE_SPOT)
    rig.blotter.observe_report(_report(leg, OrderState.FILLED, "0.00001", _fills(leg, "0.00001")))
    assert rig.blotter.dust() == 0
    rig.blotter.forget_settled("lot-1")
    rig.blotter.put_lot(evolve(rig.blotter.lots["lot-1"], state=LotState.CLOSED))
    assert rig.blotter.dust() == Decimal("0.00001")
    assert rig.blotter.orders == rig.blotter.lots == {}


async def test_unsettled_orders_are_not_forgotten(rig: Rig) -> None:
    leg = _register(rig)
    rig.blotter.observe_report(_report(leg, OrderState.FILLED, "0.01"))
    rig.blotter.forget_settled("lot-1")
    assert leg.client_order_id in rig.blotter.orders
    assert rig.blotter.in_flight(BINANCE_UM)
    assert not rig.blotter.in_flight(BINANCE_SPOT)


async def test_the_outbox_keeps_its_order_and_a_state_is_written_as_it_was(rig: Rig) -> None:
    leg = _register(rig)
    rig.blotter.observe_report(_report(leg, OrderState.WORKING))
    rig.blotter.observe_report(_report(leg, OrderState.FILLED, "0.01", _fills(leg, "0.01")))
    states = [item.state for item in await rig.blotter.take_outbox() if item.order is not None]
    assert states == [OrderState.WORKING, OrderState.FILLED]
    assert rig.blotter.outbox_size == 0


async def test_the_outbox_is_waited_for(rig: Rig, autojump_clock: Any) -> None:
    taken: list[Any] = []

    async def take() -> None:
        taken.extend(await rig.blotter.take_outbox())

    rig.nursery.start_soon(take)
    await trio.sleep(1)
    assert taken == []
    leg = _register(rig)
    rig.blotter.mark_unknown(leg.client_order_id, "lost")
    await trio.sleep(1)
    assert [item.state for item in taken] == [OrderState.UNKNOWN]


async def test_waiting_for_certainty_ends_with_the_last_order(rig: Rig, autojump_clock: Any) -> None:
    leg = _register(rig)
    ended: list[float] = []

    async def wait() -> None:
        await rig.blotter.wait_certain("lot-1")
        ended.append(trio.current_time())

    rig.nursery.start_soon(wait)
    began = trio.current_time()
    await trio.sleep(1)
    rig.blotter.observe_report(_report(leg, OrderState.WORKING))
    await trio.sleep(1)
    rig.blotter.observe_report(_report(leg, OrderState.CANCELED))
    await trio.sleep(1)
    assert ended == [began + 2]


async def test_activity_grows_with_everything_that_moves_the_books(rig: Rig) -> None:
    leg = _register(rig)
    seen = [rig.blotter.activity]

    def grew() -> bool:
        seen.append(rig.blotter.activity)
        return seen[-1] > seen[-2]

    rig.blotter.observe_report(_report(leg, OrderState.WORKING))
    assert grew()
    rig.blotter.observe_fills(_fills(leg, "0.004"))
    assert grew()
    rig.blotter.observe_fills(_fills(leg, "0.004"))
    assert not grew(), "nothing new was said"
    rig.blotter.observe_report(_report(leg, OrderState.PARTIAL, "0.004"))
    assert grew()


async def test_funding_counts_once_and_moves_cash_only(rig: Rig) -> None:
    payment = Funding(BINANCE_UM, "BTCUSDT", "USDT", Decimal("-1.25"), "income-1", 1)
    rig.blotter.observe_funding(payment)
    rig.blotter.observe_funding(payment)
    assert rig.blotter.accounts[BINANCE_UM].quote_change == Decimal("-1.25")
    assert rig.blotter.exposure() == 0
    assert rig.blotter.outbox_size == 1


async def test_the_trace_tells_exposure_and_each_fill_once(rig: Rig) -> None:
    leg = _register(rig)
    for _ in range(2):
        rig.blotter.observe_report(_report(leg, OrderState.FILLED, "0.01", _fills(leg, "0.01")))
    told = [row["base"] for row in rig.trace.rows if row["kind"] == "exposure"]
    assert told == ["-0.01"]
    assert len([row for row in rig.trace.rows if row["kind"] == "fill_known"]) == 1


# --- a restart


async def _load(rig: Rig) -> None:
    """The next life of this blotter, from what the ledger has."""
    for venue, account in list(rig.blotter.accounts.items()):
        rig.blotter.accounts[venue] = type(account)(
            venue, account.symbol, account.kind, account.base, account.quote
        )
    blotter = type(rig.blotter)(rig.blotter.accounts, rig.clock, rig.trace)
    blotter.load(
        await rig.ledger.all_fills(), await rig.ledger.live_lots(),
        (*await rig.ledger.unfinished_orders(), *await rig.ledger.orders_missing_fills()),
        await rig.ledger.all_funding(),
    )  # fmt: skip
    rig.blotter = blotter


async def test_a_restart_takes_up_positions_lots_and_dust(rig: Rig, autojump_clock: Any) -> None:
    rig.start()
    lot = await rig.open_lot()
    await rig.settle()
    before = (rig.blotter.exposure(), rig.blotter.lot_base(lot.id), rig.blotter.dust(), rig.blotter.lots)
    await _load(rig)
    assert (rig.blotter.exposure(), rig.blotter.lot_base(lot.id), rig.blotter.dust(), rig.blotter.lots) == before
    assert rig.blotter.orders == {}


async def test_a_restart_between_a_fill_and_its_orders_state_counts_the_fill_once(rig: Rig) -> None:
    lot = rig.lot()
    leg = rig.leg(BINANCE_UM, Side.SELL)
    await rig.ledger.commit_intent(rig.intent(lot, leg), lot)
    await rig.ledger.book_fills(_fills(leg, "0.01"))
    await _load(rig)
    order = rig.blotter.orders[leg.client_order_id]
    assert (order.state, order.booked_qty, order.filled_qty) == (OrderState.UNKNOWN, QTY, QTY)
    assert rig.blotter.exposure() == -QTY
    rig.blotter.observe_report(_report(leg, OrderState.FILLED, "0.01", _fills(leg, "0.01")))
    assert rig.blotter.exposure() == -QTY
    assert order.settled


async def test_a_restart_knows_which_fills_are_still_missing(rig: Rig) -> None:
    lot = rig.lot()
    leg = rig.leg(BINANCE_UM, Side.SELL)
    await rig.ledger.commit_intent(rig.intent(lot, leg), lot)
    await rig.ledger.record_order(leg.client_order_id, OrderState.FILLED, order_id="900", filled_qty=QTY)
    await rig.ledger.book_fills(_fills(leg, "0.004"))
    await _load(rig)
    order = rig.blotter.orders[leg.client_order_id]
    assert (order.state, order.booked_qty) == (OrderState.FILLED, Decimal("0.004"))
    assert rig.blotter.exposure() == -QTY
    assert unbooked(rig.blotter.orders) == [order]


async def test_a_restart_does_not_count_a_stored_fill_that_is_told_again(rig: Rig) -> None:
    lot = rig.lot()
    leg = rig.leg(BINANCE_UM, Side.SELL)
    await rig.ledger.commit_intent(rig.intent(lot, leg), lot)
    fills = _fills(leg, "0.01")
    await rig.ledger.book_fills(fills)
    await _load(rig)
    rig.blotter.observe_fills(fills)
    rig.blotter.observe_fills([evolve(fill, client_order_id="") for fill in fills])
    assert rig.blotter.exposure() == -QTY
    assert rig.blotter.outbox_size == 0
