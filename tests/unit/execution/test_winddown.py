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
    assert rig.um.cancels == ["pb1", "pb2"]
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


async def test_a_venue_that_does_not_answer_leaves_the_number_unknown_and_the_other_is_cleared(
    rig: Rig, heard: Heard, autojump_clock: Any
) -> None:
    rig.spot.down = VenueRetry("binance-spot", "no answer")
    rig.um.resting = [_resting(BINANCE_UM, "pb1")]
    rig.hold()
    await heard.winddown.run_once(5.0)
    assert heard.cancels == []
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
    async def hang(self: Any, *_: object) -> Any:
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
    assert heard.cancels == []
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
