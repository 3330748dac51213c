"""After a HOLD: our open orders cancelled by id and read back, naked legs hedged, all of it bounded."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
import trio

from propbot.domain.errors import ConnectFailed, LedgerError, OutcomeUnknown, VenueRefused, VenueRetry
from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM
from propbot.domain.lots import LotState
from propbot.domain.mode import CancelResult, HoldExit
from propbot.domain.orders import OrderReport, OrderState, Purpose, Side
from propbot.execution.executor import Stuck
from propbot.execution.winddown import WindDown

if TYPE_CHECKING:
    from tests.unit.execution.conftest import Rig

REFUSED = VenueRefused("venue", "insufficient margin", code=-2019, http_status=400)


class Heard:
    """A wind-down and what it told."""

    def __init__(self, rig: Rig) -> None:
        self.stuck: list[Stuck] = []
        self.failures: list[str] = []
        self.cancels: list[CancelResult] = []
        self.winddown = WindDown(
            rig.blotter, rig.executor, {BINANCE_UM: rig.um, BINANCE_SPOT: rig.spot}, "BTCUSDT", rig.clock, rig.trace,
            self.stuck.append, self.failures.append, self.cancels.append,
        )  # fmt: skip


@pytest.fixture
def heard(rig: Rig) -> Heard:
    return Heard(rig)


def _resting(venue: Any, client_order_id: str) -> OrderReport:
    return OrderReport(
        venue, "BTCUSDT", client_order_id, "5", Side.BUY, OrderState.WORKING, Decimal(1), Decimal(0), 1
    )


async def test_a_flat_book_is_read_back_at_once(rig: Rig, heard: Heard, autojump_clock: Any) -> None:
    rig.hold()
    await heard.winddown.run_once(5.0)
    assert heard.winddown.done.is_set()
    (result,) = heard.cancels
    assert result.left == 0
    assert 0 < result.seconds < 1
    assert heard.stuck == []
    assert rig.sent_counts() == {}


async def test_our_open_orders_are_cancelled_by_id_and_foreign_ones_never_touched(
    rig: Rig, heard: Heard, autojump_clock: Any
) -> None:
    rig.um.resting = [_resting(BINANCE_UM, "pb1"), _resting(BINANCE_UM, "web_1"), _resting(BINANCE_UM, "pb2")]
    rig.spot.resting = [_resting(BINANCE_SPOT, "web_2")]
    rig.hold()
    await heard.winddown.run_once(5.0)
    assert sorted(rig.um.cancels) == ["pb1", "pb2"]
    assert rig.spot.cancels == []
    assert [order.client_order_id for order in rig.um.resting] == ["web_1"]
    assert [result.left for result in heard.cancels] == [0]


async def test_what_is_left_is_what_the_venue_says_not_what_was_sent(
    rig: Rig, heard: Heard, monkeypatch: pytest.MonkeyPatch, autojump_clock: Any
) -> None:
    async def refuse(self: Any, symbol: str, client_order_id: str) -> OrderReport:
        raise VenueRetry("binance-um", "busy")

    monkeypatch.setattr(type(rig.um), "cancel", refuse)
    rig.um.resting = [_resting(BINANCE_UM, "pb1")]
    rig.hold()
    await heard.winddown.run_once(5.0)
    assert [result.left for result in heard.cancels] == [1]


async def test_a_venue_that_does_not_answer_is_named_and_the_other_is_cleared(
    rig: Rig, heard: Heard, autojump_clock: Any
) -> None:
    rig.spot.down = VenueRetry("binance-spot", "no answer")
    rig.um.resting = [_resting(BINANCE_UM, "pb1")]
    rig.hold()
    await heard.winddown.run_once(5.0)
    assert [(result.left, result.not_read_back) for result in heard.cancels] == [(0, (BINANCE_SPOT,))]
    assert heard.cancels[0].words() == "0 orders left (not read back: binance-spot)"
    assert rig.um.resting == []
    assert heard.winddown.done.is_set()


async def test_a_naked_leg_is_hedged(rig: Rig, heard: Heard, answer: Any, autojump_clock: Any) -> None:
    rig.start()
    rig.um.script = [answer(refused_before=ConnectFailed("binance-um", "no route"))]
    _, lot = opening = rig.opening()
    await rig.executor.execute(*opening)
    rig.hold()
    await heard.winddown.run_once(5.0)
    assert heard.stuck == []
    assert [order.purpose for order in rig.um.sent] == [Purpose.HEDGE]
    assert rig.blotter.lots[lot.id].state is LotState.OPEN


async def test_a_hold_in_the_middle_of_sending_ends_with_equal_legs(
    rig: Rig, heard: Heard, answer: Any, autojump_clock: Any
) -> None:
    rig.start()
    rig.um.script = [answer(answer_s=1.0)]
    with trio.move_on_after(0.1):
        await rig.executor.execute(*rig.opening())
    rig.hold()
    await heard.winddown.run_once(5.0)
    assert abs(rig.blotter.exposure()) < Decimal("0.001")
    rig.assert_nothing_was_sent_twice()


async def test_open_lots_are_left_alone(rig: Rig, heard: Heard, autojump_clock: Any) -> None:
    rig.start()
    lot = await rig.open_lot()
    rig.hold()
    await heard.winddown.run_once(5.0)
    assert rig.blotter.lots == {lot.id: lot}
    assert sum(rig.sent_counts().values()) == 2


async def test_what_freeze_leaves_naked_is_named(rig: Rig, heard: Heard, answer: Any, autojump_clock: Any) -> None:
    rig.start()
    rig.um.script = [answer(error=REFUSED, reaches=False)]
    _, lot = opening = rig.opening()
    await rig.executor.execute(*opening)
    rig.hold(hold_exit=HoldExit.FREEZE)
    sent = rig.sent_counts()
    await heard.winddown.run_once(5.0)
    assert rig.sent_counts() == sent
    (stuck,) = heard.stuck
    assert (stuck.lot_id, stuck.exposure) == (lot.id, rig.blotter.exposure())


async def test_it_ends_by_its_deadline_with_venues_that_hang(
    rig: Rig, heard: Heard, answer: Any, monkeypatch: pytest.MonkeyPatch, autojump_clock: Any
) -> None:
    async def hang(self: Any, *_: object, **__: object) -> Any:
        await trio.sleep_forever()

    rig.um.script = [answer(error=OutcomeUnknown("binance-um", "lost"), reaches=False)]
    await rig.executor.execute(*rig.opening())
    rig.start()
    for question in ("query", "open_orders", "cancel"):
        monkeypatch.setattr(type(rig.um), question, hang)
    rig.hold()
    began = trio.current_time()
    await heard.winddown.run_once(5.0)
    assert trio.current_time() - began <= 5.0
    assert heard.winddown.done.is_set()
    assert [(result.left, result.not_read_back) for result in heard.cancels] == [(None, (BINANCE_UM, BINANCE_SPOT))]
    (stuck,) = heard.stuck
    assert "unknown" in stuck.reason


async def test_a_ledger_that_fails_is_told_and_cancels_go_out_all_the_same(
    rig: Rig, heard: Heard, answer: Any, monkeypatch: pytest.MonkeyPatch, autojump_clock: Any
) -> None:
    rig.um.script = [answer(error=REFUSED, reaches=False)]
    await rig.executor.execute(*rig.opening())

    async def fail(*_: object, **__: object) -> None:
        raise LedgerError("disk full")

    monkeypatch.setattr(rig.ledger, "commit_intent", fail)
    rig.um.resting = [_resting(BINANCE_UM, "pb1")]
    rig.hold()
    await heard.winddown.run_once(5.0)
    assert heard.failures == ["disk full"]
    assert rig.um.resting == []
    assert len(rig.um.sent) == 1, "what can't be recorded isn't traded"


async def test_no_venue_that_answers_is_an_unknown_number_and_not_zero(
    rig: Rig, heard: Heard, autojump_clock: Any
) -> None:
    rig.um.down = rig.spot.down = VenueRetry("venue", "no answer")
    rig.hold()
    await heard.winddown.run_once(5.0)
    assert [result.words() for result in heard.cancels] == [
        "orders left unknown (not read back: binance-um, binance-spot)"
    ]


async def test_a_hanging_venue_keeps_no_cancel_from_the_other(
    rig: Rig, heard: Heard, monkeypatch: pytest.MonkeyPatch, autojump_clock: Any
) -> None:
    monkeypatch.setattr(type(rig.spot), "_asked", _hanging_on(rig.spot))
    rig.um.resting = [_resting(BINANCE_UM, "pb1")]
    rig.hold()
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(heard.winddown.run_once, 5.0)
        while rig.um.resting:
            await trio.sleep(0.01)
        assert trio.current_time() - began < 1


def _hanging_on(silent: Any) -> Any:
    async def asked(venue: Any) -> None:
        await (trio.sleep_forever() if venue is silent else trio.sleep(0.01))

    return asked


async def test_an_order_that_may_be_open_is_cancelled_at_once_without_asking_first(
    rig: Rig, heard: Heard, answer: Any, autojump_clock: Any
) -> None:
    rig.um.script = [answer(error=OutcomeUnknown("binance-um", "lost"), reaches=False)]
    intent, lot = rig.opening()
    await rig.executor.execute(intent, lot)
    rig.hold()
    asked = [row for row in rig.trace.rows if row["kind"] == "cancel_send"]
    assert asked == []
    began = trio.current_time()
    await heard.winddown.run_once(5.0)
    (sent,) = [row for row in rig.trace.rows if row["kind"] == "cancel_send"]
    assert (sent["client_order_id"], sent["t"]) == (intent.legs[1].client_order_id, began)


async def test_a_venue_that_comes_back_while_in_hold_gets_its_cancels(
    rig: Rig, heard: Heard, autojump_clock: Any
) -> None:
    rig.spot.down = VenueRetry("binance-spot", "no answer")
    rig.spot.resting = [_resting(BINANCE_SPOT, "pb1"), _resting(BINANCE_SPOT, "web_1")]
    rig.hold()
    await heard.winddown.run_once(5.0)
    assert not heard.winddown.cleared

    async def come_back() -> None:
        await trio.sleep(40)
        rig.spot.down = None

    rig.nursery.start_soon(come_back)
    await heard.winddown.clear_rest()
    assert heard.winddown.cleared
    assert [order.client_order_id for order in rig.spot.resting] == ["web_1"]
    assert heard.cancels[-1].words() == "0 orders left"


async def test_one_lot_that_cannot_be_made_equal_leaves_time_for_the_next(
    rig: Rig, heard: Heard, answer: Any, autojump_clock: Any
) -> None:
    rig.um.script = [
        answer(error=OutcomeUnknown("binance-um", "lost"), reaches=False), answer(error=REFUSED, reaches=False)
    ]
    first, second = rig.opening(), rig.opening()
    await rig.executor.execute(*first)
    await rig.executor.execute(*second)
    rig.start(resolver=False)
    rig.hold()
    await heard.winddown.run_once(5.0)
    assert [stuck.lot_id for stuck in heard.stuck] == [first[1].id]
    assert rig.blotter.lots[second[1].id].state is LotState.OPEN


async def test_what_it_could_not_finish_is_described_for_the_next_start(
    rig: Rig, heard: Heard, answer: Any, autojump_clock: Any
) -> None:
    rig.um.script = [answer(error=OutcomeUnknown("binance-um", "lost"), reaches=False)]
    _, lot = opening = rig.opening()
    await rig.executor.execute(*opening)
    rig.um.down = VenueRetry("binance-um", "no answer")
    rig.hold()
    await heard.winddown.run_once(3.0)
    rest = heard.winddown.describe_rest("BTC")
    assert f"lot {lot.id} is OPENING with a naked 0.01000799" in rest
    assert "the outcome of 1 orders is open" in rest
    assert "not read back: binance-um" in rest
