"""Two legs against scripted venues: every way they can end, and what is sent to make them equal again."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
import trio
from attrs import evolve

from propbot.domain.errors import (
    AccessRefused,
    AlreadyThere,
    ConnectFailed,
    LedgerError,
    OutcomeUnknown,
    ProtocolViolation,
    RateLimited,
    VenueError,
    VenueRefused,
)
from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM
from propbot.domain.lots import Lot, LotState
from propbot.domain.mode import HoldExit, Mode
from propbot.domain.orders import OrderState, Purpose, Side

if TYPE_CHECKING:
    from tests.unit.execution.conftest import Rig

STEP = Decimal("0.001")
REFUSED = VenueRefused("venue", "insufficient margin", code=-2019, http_status=400)
LOST = OutcomeUnknown("venue", "the answer was lost")


async def test_both_legs_filled_make_an_open_lot(rig: Rig, autojump_clock: Any) -> None:
    rig.start()
    intent, lot = rig.opening()
    await rig.executor.execute(intent, lot)
    assert await rig.executor.conclude(lot.id) is None
    opened = rig.blotter.lots[lot.id]
    assert (opened.state, opened.qty) == (LotState.OPEN, Decimal("0.01"))
    assert rig.blotter.orders == {}
    assert abs(rig.blotter.exposure()) < STEP
    await rig.settle()
    assert [row.state for row in (await rig.ledger.orders_page(10))[0]] == [OrderState.FILLED] * 2
    assert len(await rig.ledger.all_fills()) == 2
    assert [saved.state for saved in await rig.ledger.live_lots()] == [LotState.OPEN]


async def test_both_legs_are_under_way_at_once(rig: Rig, answer: Any, autojump_clock: Any) -> None:
    rig.um.script = [answer(answer_s=1.0)]
    rig.spot.script = [answer(answer_s=1.0)]
    began = trio.current_time()
    await rig.executor.execute(*rig.opening())
    assert trio.current_time() - began == pytest.approx(1.0)


async def test_the_intent_is_durable_before_the_gate_is_asked(rig: Rig, answer: Any, autojump_clock: Any) -> None:
    intent, lot = rig.opening()
    rig.um.script = [answer(before_s=1.0)]
    rig.spot.script = [answer(before_s=1.0)]
    rig.nursery.start_soon(rig.executor.execute, intent, lot)
    await trio.sleep(0.5)
    assert rig.um.sent == rig.spot.sent == []
    assert {row.state for row in await rig.ledger.unfinished_orders()} == {OrderState.INTENT}
    assert [saved.id for saved in await rig.ledger.live_lots()] == [lot.id]


async def test_what_the_ledger_refuses_is_not_sent(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, autojump_clock: Any
) -> None:
    async def fail(*_: object) -> None:
        raise LedgerError("disk full")

    monkeypatch.setattr(rig.ledger, "commit_intent", fail)
    with pytest.raises(LedgerError):
        await rig.executor.execute(*rig.opening())
    assert rig.um.attempts == rig.spot.attempts == []
    assert rig.blotter.orders == {}
    assert rig.blotter.lots == {}


async def test_a_rejected_perp_leg_is_hedged(rig: Rig, answer: Any, autojump_clock: Any) -> None:
    rig.start()
    rig.um.script = [answer(error=REFUSED, reaches=False)]
    lot = await rig.open_lot()
    assert (lot.state, lot.qty) == (LotState.OPEN, Decimal("0.01"))
    hedge = rig.um.sent[-1]
    assert (hedge.purpose, hedge.side, hedge.qty, hedge.reduce_only) == (
        Purpose.HEDGE, Side.SELL, Decimal("0.01"), False,
    )  # fmt: skip
    assert abs(rig.blotter.exposure()) < STEP
    rig.assert_nothing_was_sent_twice()


async def test_a_rejected_spot_leg_is_hedged(rig: Rig, answer: Any, autojump_clock: Any) -> None:
    rig.start()
    rig.spot.script = [answer(error=REFUSED, reaches=False)]
    lot = await rig.open_lot()
    assert lot.state is LotState.OPEN
    assert [order.purpose for order in rig.spot.sent] == [Purpose.OPEN, Purpose.HEDGE]
    assert len(rig.um.sent) == 1
    assert abs(rig.blotter.exposure()) < STEP


async def test_a_hedge_that_is_rejected_three_times_is_followed_by_an_unwind(
    rig: Rig, answer: Any, autojump_clock: Any
) -> None:
    rig.start()
    rig.spot.script = [answer(error=REFUSED, reaches=False)] * 4
    intent, lot = rig.opening()
    await rig.executor.execute(intent, lot)
    assert await rig.executor.conclude(lot.id) is None
    assert [order.purpose for order in rig.spot.sent] == [Purpose.OPEN] + [Purpose.HEDGE] * 3
    unwind = rig.um.sent[-1]
    assert (unwind.purpose, unwind.side, unwind.reduce_only) == (Purpose.UNWIND, Side.BUY, True)
    assert rig.blotter.exposure() == 0
    assert lot.id not in rig.blotter.lots
    await rig.settle()
    (saved,) = (await rig.ledger.lots_page(1))[0]
    assert (saved.state, saved.exit_reason) == (LotState.CLOSED, "UNWOUND")
    assert saved.realised is not None
    assert saved.realised < 0, "two fees were paid for nothing"
    rig.assert_nothing_was_sent_twice()


async def test_each_hedge_may_pay_more_up_to_the_bound(rig: Rig, answer: Any, autojump_clock: Any) -> None:
    rig.start()
    rig.spot.script = [answer(error=REFUSED, reaches=False)] * 4
    intent, lot = rig.opening()
    await rig.executor.execute(intent, lot)
    await rig.executor.conclude(lot.id)
    paid = [slippage for venue, slippage in rig.market.walks if venue == BINANCE_SPOT]
    assert paid == sorted(paid)
    assert len(set(paid)) == 3
    assert max(paid) <= rig.executor.rules.hedge_slippage_bps_max


async def test_when_nobody_takes_the_rest_it_is_named_as_stuck(rig: Rig, answer: Any, autojump_clock: Any) -> None:
    rig.start()
    refusal = answer(error=REFUSED, reaches=False)
    rig.spot.script = [refusal] * 10
    rig.um.script = [answer(), *[refusal] * 10]
    intent, lot = rig.opening()
    began = trio.current_time()
    await rig.executor.execute(intent, lot)
    stuck = await rig.executor.conclude(lot.id)
    assert stuck is not None
    assert (stuck.lot_id, stuck.exposure) == (lot.id, Decimal("-0.01"))
    assert "insufficient margin" in stuck.reason
    assert trio.current_time() - began < rig.executor.rules.hedge_deadline_s
    assert lot.id in rig.blotter.lots
    assert len(rig.spot.sent) == 4
    assert len(rig.um.sent) == 4
    rig.assert_nothing_was_sent_twice()


async def test_both_legs_rejected_close_the_lot_as_not_filled(rig: Rig, answer: Any, autojump_clock: Any) -> None:
    rig.start()
    for venue in rig.venues:
        venue.script = [answer(error=REFUSED, reaches=False)]
    intent, lot = rig.opening()
    await rig.executor.execute(intent, lot)
    assert await rig.executor.conclude(lot.id) is None
    assert rig.blotter.lots == {}
    await rig.settle()
    (saved,) = (await rig.ledger.lots_page(1))[0]
    assert (saved.state, saved.exit_reason, saved.realised) == (LotState.CLOSED, "NOT_FILLED", 0)


@pytest.mark.parametrize(("um_share", "spot_share"), [("0.5", "1"), ("1", "0.5"), ("0.5", "0"), ("0.3", "0.7")])
async def test_partial_legs_end_equal_but_for_dust(
    rig: Rig, answer: Any, um_share: str, spot_share: str, autojump_clock: Any
) -> None:
    rig.start()
    rig.um.script = [answer(filled=Decimal(um_share))]
    rig.spot.script = [answer(filled=Decimal(spot_share))]
    intent, lot = rig.opening()
    await rig.executor.execute(intent, lot)
    assert await rig.executor.conclude(lot.id) is None
    assert abs(rig.blotter.exposure()) < Decimal("0.0001")
    opened = rig.blotter.lots[lot.id]
    assert opened.state is LotState.OPEN
    assert opened.qty == -rig.blotter.lot_base(lot.id)[BINANCE_UM]
    rig.assert_nothing_was_sent_twice()


async def test_a_lot_of_one_step_that_used_up_dust_is_open_and_not_forgotten(rig: Rig, autojump_clock: Any) -> None:
    rig.start()
    intent, lot = rig.opening(buy_qty="0.00099", sell_qty="0.001")
    await rig.executor.execute(intent, lot)
    assert await rig.executor.conclude(lot.id) is None
    assert rig.blotter.lots[lot.id].state is LotState.OPEN
    assert rig.blotter.lots[lot.id].qty == Decimal("0.001")


async def test_a_closing_whose_one_leg_is_rejected_ends_flat(rig: Rig, answer: Any, autojump_clock: Any) -> None:
    rig.start()
    lot = await rig.open_lot()
    rig.um.script = [answer(error=REFUSED, reaches=False)]
    held = Decimal("0.01")
    legs = (
        rig.leg(BINANCE_SPOT, Side.SELL, str(held), Purpose.CLOSE),
        rig.leg(BINANCE_UM, Side.BUY, str(held), Purpose.CLOSE),
    )
    await rig.executor.execute(rig.intent(lot, *legs), _closing(lot))
    assert await rig.executor.conclude(lot.id) is None
    assert rig.blotter.lots == {}
    last = rig.um.sent[-1]
    assert (last.side, last.purpose, last.reduce_only) == (Side.BUY, Purpose.HEDGE, True)
    assert rig.blotter.position(BINANCE_UM) == 0
    await rig.settle()
    (saved,) = (await rig.ledger.lots_page(1))[0]
    assert (saved.state, saved.exit_reason) == (LotState.CLOSED, "EXIT_EDGE")


def _closing(lot: Lot) -> Lot:
    return evolve(lot, state=LotState.CLOSING, exit_reason="EXIT_EDGE")


@pytest.mark.parametrize(
    ("error", "sent", "expected"),
    [
        (VenueRefused("v", "no"), True, OrderState.REJECTED),
        (LOST, True, OrderState.UNKNOWN),
        (AlreadyThere("v", "duplicate", code=-4116), True, OrderState.UNKNOWN),
        (ProtocolViolation("v", "no orderId"), True, OrderState.UNKNOWN),
        (ProtocolViolation("v", "no orderId", http_status=200), True, OrderState.UNKNOWN),
        (ProtocolViolation("v", "unknown code", code=-9999, http_status=400), True, OrderState.REJECTED),
        (AccessRefused("v", "bad key", http_status=401), True, OrderState.REJECTED),
        (RateLimited("v", "slow down", retry_after_s=1, code=-1003, http_status=429), True, OrderState.REJECTED),
        (RateLimited("v", "paused", retry_after_s=1, code=None, http_status=429), False, OrderState.NEVER_SENT),
        (ConnectFailed("v", "no route"), False, OrderState.NEVER_SENT),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
async def test_each_error_gives_the_order_its_state(
    rig: Rig, answer: Any, error: VenueError, sent: bool, expected: OrderState, autojump_clock: Any
) -> None:
    rig.um.script = [answer(error=error, reaches=False) if sent else answer(refused_before=error)]
    intent, lot = rig.opening()
    await rig.executor.execute(intent, lot)
    order = rig.blotter.orders[intent.legs[1].client_order_id]
    assert order.state is expected
    assert order.reason
    assert bool(rig.refused_access) is isinstance(error, AccessRefused)


async def test_a_bug_in_the_gateway_leaves_the_order_unknown_and_not_in_limbo(
    rig: Rig, answer: Any, autojump_clock: Any
) -> None:
    rig.um.script = [answer(error=RuntimeError("a bug"))]
    intent, lot = rig.opening()
    with pytest.raises(BaseExceptionGroup):
        await rig.executor.execute(intent, lot)
    assert rig.states(intent.legs[1].client_order_id) == [OrderState.UNKNOWN]


# --- cancelled


async def _execute_cancelled_at(rig: Rig, number: int) -> str | None:
    """Execute with the scope cancelled at the `number`-th await of the legs; its name, None if it was not reached."""
    met: list[str] = []
    with trio.CancelScope() as scope:

        def cancel_there(where: str) -> None:
            met.append(where)
            if len(met) == number:
                scope.cancel()

        for venue in rig.venues:
            venue.at_checkpoint = cancel_there
        await rig.executor.execute(*rig.opening())
    return met[number - 1] if scope.cancelled_caught else None


@pytest.mark.parametrize("number", range(1, 7))
async def test_cancelled_anywhere_an_order_is_unknown_if_its_first_byte_left_and_else_never_sent(
    rig: Rig, number: int, autojump_clock: Any
) -> None:
    assert await _execute_cancelled_at(rig, number) is not None
    left = set(rig.sent_counts())
    assert len(rig.blotter.orders) == 2
    for client_order_id, order in rig.blotter.orders.items():
        answered = order.state is OrderState.FILLED
        assert answered or order.state is (
            OrderState.UNKNOWN if client_order_id in left else OrderState.NEVER_SENT
        ), (number, order.state)
        assert not (answered and client_order_id not in left)
    rig.assert_nothing_was_sent_twice()


async def test_cancelled_during_the_commit_nothing_is_sent_and_the_ledger_says_so(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, autojump_clock: Any
) -> None:
    commit = rig.ledger.commit_intent

    async def slow_commit(*args: Any) -> None:
        await commit(*args)
        await trio.sleep(1.0)

    monkeypatch.setattr(rig.ledger, "commit_intent", slow_commit)
    intent, lot = rig.opening()
    with trio.move_on_after(0.5) as scope:
        await rig.executor.execute(intent, lot)
    assert scope.cancelled_caught
    assert rig.states(*(leg.client_order_id for leg in intent.legs)) == [OrderState.NEVER_SENT] * 2
    assert rig.um.attempts == rig.spot.attempts == []
    rig.start()
    assert await rig.executor.conclude(lot.id) is None
    await rig.settle()
    assert {row.state for row in (await rig.ledger.orders_page(10))[0]} == {OrderState.NEVER_SENT}
    assert rig.blotter.lots == {}


async def test_cancelled_during_a_commit_that_then_fails_the_books_go_on(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, autojump_clock: Any
) -> None:
    """The disk hung, a HOLD cancelled the waiting, the commit failed: its orders are not in the ledger."""

    async def hanging_commit(*_: object) -> None:
        await trio.sleep_forever()

    with monkeypatch.context() as patched:
        patched.setattr(rig.ledger, "commit_intent", hanging_commit)
        with trio.move_on_after(0.5):
            await rig.executor.execute(*rig.opening())
    rig.start()
    lot = await rig.open_lot()
    assert lot.state is LotState.OPEN
    with trio.fail_after(60):
        await rig.settle()
    assert len(await rig.ledger.all_fills()) == 2
    assert rig.ledger_failures


# --- the gate between the legs


async def test_a_hold_between_the_two_first_bytes_stops_the_second(
    rig: Rig, answer: Any, autojump_clock: Any
) -> None:
    rig.spot.script = [answer()]
    rig.um.script = [answer(before_s=1.0)]
    intent, lot = rig.opening()
    rig.nursery.start_soon(rig.executor.execute, intent, lot)
    await trio.sleep(0.5)
    rig.hold()
    await trio.sleep(1.0)
    assert rig.states(*(leg.client_order_id for leg in intent.legs)) == [OrderState.FILLED, OrderState.NEVER_SENT]
    assert rig.um.sent == []


@pytest.mark.parametrize(
    "changes", [{"safe_mode": True}, {"dry_run_only": True}, {"mode": Mode.DRAIN}, {"halted": True}]
)
async def test_a_closed_gate_lets_no_byte_out(rig: Rig, changes: dict[str, Any], autojump_clock: Any) -> None:
    rig.state = evolve(rig.state, **changes)
    intent, lot = rig.opening()
    await rig.executor.execute(intent, lot)
    assert rig.sent_counts() == {}
    assert rig.states(*(leg.client_order_id for leg in intent.legs)) == [OrderState.NEVER_SENT] * 2


async def test_in_hold_the_naked_leg_is_hedged_and_a_frozen_one_is_named(
    rig: Rig, answer: Any, autojump_clock: Any
) -> None:
    rig.start()
    rig.um.script = [answer(refused_before=ConnectFailed("binance-um", "no route"))] * 2
    first, second = rig.opening(), rig.opening()
    await rig.executor.execute(*first)
    await rig.executor.execute(*second)
    rig.hold()
    assert await rig.executor.conclude(first[1].id) is None
    assert rig.um.sent[-1].purpose is Purpose.HEDGE
    rig.hold(hold_exit=HoldExit.FREEZE)
    stuck = await rig.executor.conclude(second[1].id)
    assert stuck is not None
    assert stuck.exposure == rig.blotter.exposure() - sum(rig.blotter.lot_base(first[1].id).values())
    assert "freeze" in stuck.reason


# --- unknown outcomes, books that can't be trusted, late fills


async def test_conclude_waits_for_an_unknown_order_and_hedges_nothing_meanwhile(
    rig: Rig, answer: Any, autojump_clock: Any
) -> None:
    rig.start()
    rig.um.script = [answer(error=LOST, hidden_s=2.0)]
    intent, lot = rig.opening()
    await rig.executor.execute(intent, lot)
    assert await rig.executor.conclude(lot.id) is None
    assert rig.blotter.lots[lot.id].state is LotState.OPEN
    assert len(rig.um.sent) == 1


async def test_an_order_that_is_surely_dead_does_not_keep_its_leg_naked(
    rig: Rig, answer: Any, autojump_clock: Any
) -> None:
    rig.start()
    rig.um.script = [answer(error=LOST, reaches=False)]
    intent, lot = rig.opening()
    began = trio.current_time()
    await rig.executor.execute(intent, lot)
    await rig.executor.conclude(lot.id)
    assert [order.purpose for order in rig.um.sent] == [Purpose.OPEN, Purpose.HEDGE]
    assert abs(rig.blotter.exposure()) < STEP
    await rig.blotter.wait_settled(lot.id)
    assert trio.current_time() - began > 10
    assert await rig.executor.conclude(lot.id) is None
    assert rig.blotter.lots[lot.id].state is LotState.OPEN


async def test_an_outcome_that_stays_unknown_ends_within_the_deadline_and_is_named(
    rig: Rig, answer: Any, autojump_clock: Any
) -> None:
    rig.start()
    rig.um.script = [answer(error=LOST, reaches=False)]
    rig.um.down = VenueError("binance-um", "down")
    intent, lot = rig.opening()
    await rig.executor.execute(intent, lot)
    began = trio.current_time()
    stuck = await rig.executor.conclude(lot.id)
    assert trio.current_time() - began <= rig.executor.rules.hedge_deadline_s
    assert stuck is not None
    assert "unknown" in stuck.reason
    assert stuck.exposure == rig.blotter.exposure() != 0


async def test_a_book_that_comes_back_within_the_deadline_is_hedged_on(
    rig: Rig, answer: Any, autojump_clock: Any
) -> None:
    """A resync takes about a second; giving up before would leave the leg naked in a HOLD."""
    rig.start()
    rig.um.script = [answer(error=REFUSED, reaches=False)]
    rig.market.distrusted = {BINANCE_UM, BINANCE_SPOT}
    intent, lot = rig.opening()
    await rig.executor.execute(intent, lot)

    async def come_back() -> None:
        await trio.sleep(1.0)
        rig.market.distrusted = set()

    rig.nursery.start_soon(come_back)
    assert await rig.executor.conclude(lot.id) is None
    assert abs(rig.blotter.exposure()) < STEP


async def test_books_that_never_come_back_are_named(rig: Rig, answer: Any, autojump_clock: Any) -> None:
    rig.start()
    rig.um.script = [answer(error=REFUSED, reaches=False)]
    rig.market.distrusted = {BINANCE_UM, BINANCE_SPOT}
    intent, lot = rig.opening()
    await rig.executor.execute(intent, lot)
    began = trio.current_time()
    stuck = await rig.executor.conclude(lot.id)
    assert stuck is not None
    assert "can't be trusted" in stuck.reason
    assert trio.current_time() - began <= rig.executor.rules.hedge_deadline_s


async def test_a_hedge_whose_book_is_lost_is_unwound_on_the_other_venue(
    rig: Rig, answer: Any, autojump_clock: Any
) -> None:
    rig.start()
    rig.um.script = [answer(error=REFUSED, reaches=False)]
    rig.market.distrusted = {BINANCE_UM}
    intent, lot = rig.opening()
    await rig.executor.execute(intent, lot)
    assert await rig.executor.conclude(lot.id) is None
    assert [order.purpose for order in rig.spot.sent] == [Purpose.OPEN, Purpose.UNWIND]


async def test_a_venue_that_has_not_been_met_leaves_the_lot_stuck_and_named(
    rig: Rig, answer: Any, autojump_clock: Any
) -> None:
    rig.start()
    intent, lot = rig.opening()
    await rig.executor.execute(intent, lot)
    del rig.market.instruments[BINANCE_UM]
    stuck = await rig.executor.conclude(lot.id)
    assert stuck is not None
    assert "binance-um has not been met" in stuck.reason


async def test_a_lot_is_concluded_only_with_all_its_fills(rig: Rig, answer: Any, autojump_clock: Any) -> None:
    rig.start(fill_search=False)
    rig.um.script = [answer(fills_with_reply=False)]
    intent, lot = rig.opening()
    await rig.executor.execute(intent, lot)
    assert abs(rig.blotter.exposure()) < STEP, "what the answer said counts at once"
    assert await rig.executor.conclude(lot.id) is None
    assert rig.blotter.lots[lot.id].state is LotState.OPENING
    rig.nursery.start_soon(rig.bookkeeper.run_fill_search)
    await rig.blotter.wait_settled(lot.id)
    assert await rig.executor.conclude(lot.id) is None
    assert rig.blotter.lots[lot.id].state is LotState.OPEN
    assert len(rig.um.sent) == len(rig.spot.sent) == 1


async def test_a_spot_buy_pays_its_fee_in_base_and_the_legs_are_still_equal(rig: Rig, autojump_clock: Any) -> None:
    rig.start()
    lot = await rig.open_lot()
    assert rig.blotter.lot_base(lot.id)[BINANCE_SPOT] == Decimal("0.01001") * (1 - Decimal("0.0002"))
    assert len(rig.um.sent) == len(rig.spot.sent) == 1


async def test_every_pair_of_outcomes_ends_equal_and_agrees_with_the_venues(
    rig: Rig, answer: Any, autojump_clock: Any
) -> None:
    rig.start()
    kinds = [
        answer(), answer(filled=Decimal("0.4")), answer(filled=Decimal(0)), answer(error=REFUSED, reaches=False),
        answer(error=LOST, hidden_s=1.0), answer(error=LOST, reaches=False), answer(fills_with_reply=False),
        answer(streams=True, error=LOST), answer(refused_before=ConnectFailed("v", "no route")),
    ]  # fmt: skip
    for um_kind in kinds:
        for spot_kind in kinds:
            rig.um.script, rig.spot.script = [um_kind], [spot_kind]
            intent, lot = rig.opening()
            await rig.executor.execute(intent, lot)
            assert await rig.executor.conclude(lot.id) is None, (um_kind, spot_kind)
            await rig.blotter.wait_settled(lot.id)
            if lot.id in rig.blotter.lots:
                assert await rig.executor.conclude(lot.id) is None
            base = sum(rig.blotter.lot_base(lot.id).values()) if lot.id in rig.blotter.lots else 0
            assert abs(base) < Decimal("0.0001"), (um_kind, spot_kind)
            assert lot.id not in rig.blotter.lots or rig.blotter.lots[lot.id].state is LotState.OPEN
    rig.assert_nothing_was_sent_twice()
    await rig.settle()
    for venue in rig.venues:
        assert await rig.reconciler.check(venue.venue), rig.recon_results[-1]
    assert await rig.ledger.unfinished_orders() == ()
    assert await rig.ledger.orders_missing_fills() == ()


async def test_a_fill_that_comes_after_its_lot_was_opened_is_hedged(rig: Rig, autojump_clock: Any) -> None:
    rig.start()
    lot = await rig.open_lot()
    late = rig.intent(lot, rig.leg(BINANCE_SPOT, Side.BUY, "0.004"))
    await rig.executor.execute(late)
    await rig.settle()
    assert rig.executor.needs_concluding(rig.blotter.lots[lot.id])
    assert await rig.executor.conclude(lot.id) is None
    assert (rig.um.sent[-1].side, rig.um.sent[-1].purpose) == (Side.SELL, Purpose.HEDGE)
    assert abs(rig.blotter.exposure()) < STEP
    assert not rig.executor.needs_concluding(rig.blotter.lots[lot.id])


async def test_exposure_that_belongs_to_no_lot_is_taken_back_where_it_is_held(rig: Rig, autojump_clock: Any) -> None:
    rig.start()
    lot = await rig.open_lot()
    gone = rig.lot(state=LotState.CLOSED)
    await rig.executor.execute(rig.intent(gone, rig.leg(BINANCE_SPOT, Side.BUY, "0.004")))
    await rig.settle()
    assert rig.blotter.dust() >= STEP
    assert await rig.executor.take_back_orphan() is None
    assert (rig.spot.sent[-1].side, rig.spot.sent[-1].qty) == (Side.SELL, Decimal("0.00399"))
    assert abs(rig.blotter.exposure()) < STEP
    assert list(rig.blotter.lots) == [lot.id]
    await rig.settle()
    (saved, _) = (await rig.ledger.lots_page(2))[0]
    assert (saved.state, saved.exit_reason, saved.realised) == (LotState.CLOSED, "ORPHAN", None)
    assert saved.closed_ns is not None


async def test_spot_sells_no_more_than_it_has_free_and_the_rest_is_closed_on_the_other_venue(
    rig: Rig, answer: Any, autojump_clock: Any
) -> None:
    rig.start()
    free = {(BINANCE_SPOT, "BTC"): Decimal("0.006"), (BINANCE_SPOT, "USDT"): Decimal(0)}
    rig.executor.sight.free_balances = lambda: free
    rig.spot.script = [answer(), answer(filled=Decimal(0))]
    lot = await rig.open_lot()
    held = Decimal("0.01")
    legs = (
        rig.leg(BINANCE_SPOT, Side.SELL, str(held), Purpose.CLOSE),
        rig.leg(BINANCE_UM, Side.BUY, str(held), Purpose.CLOSE),
    )
    await rig.executor.execute(rig.intent(lot, *legs), _closing(lot))
    await rig.executor.conclude(lot.id)
    hedges = [order.qty for order in rig.spot.sent if order.purpose is Purpose.HEDGE]
    assert hedges
    assert max(hedges) <= Decimal("0.006")
    assert abs(rig.blotter.exposure()) < STEP


async def test_an_account_with_nothing_free_is_named(rig: Rig, answer: Any, autojump_clock: Any) -> None:
    rig.start()
    rig.executor.sight.free_balances = lambda: {(BINANCE_SPOT, "BTC"): Decimal(0)}
    refusal = answer(error=REFUSED, reaches=False)
    rig.um.script = [refusal] * 5
    intent, lot = rig.opening()
    await rig.executor.execute(intent, lot)
    stuck = await rig.executor.conclude(lot.id)
    assert stuck is not None
    assert stuck.exposure > 0
    assert [order.purpose for order in rig.spot.sent] == [Purpose.OPEN]


async def test_what_the_gate_refuses_makes_no_intent(rig: Rig, answer: Any, autojump_clock: Any) -> None:
    rig.start()
    rig.um.script = [answer(error=REFUSED, reaches=False)]
    intent, lot = rig.opening()
    await rig.executor.execute(intent, lot)
    rig.hold(hold_exit=HoldExit.FREEZE)
    began = trio.current_time()
    stuck = await rig.executor.conclude(lot.id)
    assert stuck is not None
    assert "freeze" in stuck.reason
    assert trio.current_time() == began
    await rig.settle()
    assert len((await rig.ledger.orders_page(10))[0]) == 2
