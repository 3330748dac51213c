"""The dead-man switch: armed while orders of ours rest alone, off otherwise, and never silently stale."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock

from propbot.domain.errors import VenueRetry
from propbot.domain.instruments import BINANCE_UM
from propbot.domain.orders import OrderReport, OrderState, Side
from propbot.execution.dead_man import COUNTDOWN_MS, DeadMan
from propbot.kit.clock import VirtualClock
from propbot.kit.ids import ORDER_PREFIX

OURS, THEIRS = f"{ORDER_PREFIX}1", "web_1"


@define
class Switch:
    """A venue with a countdown, as the documents describe it."""

    open: list[str] = field(factory=list)
    down: bool = False
    set: list[tuple[float, int]] = field(factory=list)
    looks: int = 0

    async def open_orders(self, symbol: str, *, urgent: bool = False) -> Any:
        self.looks += 1
        self._answer()
        return [
            OrderReport(BINANCE_UM, symbol, name, "5", Side.BUY, OrderState.WORKING, Decimal(1), Decimal(0), 1)
            for name in self.open
        ]

    async def set_dead_man(self, symbol: str, countdown_ms: int) -> None:
        self._answer()
        self.set.append((trio.current_time(), countdown_ms))

    def _answer(self) -> None:
        if self.down:
            raise VenueRetry("binance-um", "no answer")

    @property
    def runs_out_s(self) -> float | None:
        if not self.set or not self.set[-1][1]:
            return None
        return self.set[-1][0] + self.set[-1][1] / 1000


@pytest.fixture
def switch() -> Switch:
    return Switch()


@pytest.fixture
async def man(switch: Switch, nursery: trio.Nursery) -> DeadMan:
    man = DeadMan(switch, "BTCUSDT", lambda: OURS in switch.open, VirtualClock(1))
    nursery.start_soon(man.run)
    return man


async def test_a_start_switches_off_what_an_earlier_life_may_have_armed_and_then_asks_nothing(
    man: DeadMan, switch: Switch, autojump_clock: MockClock
) -> None:
    await trio.sleep(60)
    assert [countdown for _, countdown in switch.set] == [0]
    assert switch.looks == 1
    assert man.age_s is None


async def test_it_is_kept_armed_while_an_order_of_ours_rests_and_switched_off_soon_after(
    man: DeadMan, switch: Switch, autojump_clock: MockClock
) -> None:
    await trio.sleep(5)
    switch.open = [OURS]
    for _ in range(60):
        await trio.sleep(1)
        assert switch.runs_out_s is not None
        assert switch.runs_out_s - trio.current_time() > 15
        assert man.age_s is not None
        assert man.age_s < 11
    assert {countdown for _, countdown in switch.set[1:]} == {COUNTDOWN_MS}
    assert len(switch.set) <= 8
    switch.open = []
    await trio.sleep(2.5)
    assert switch.runs_out_s is None
    assert (man.age_s, man.resting) == (None, 0)


async def test_a_foreign_order_on_the_symbol_keeps_it_off(
    man: DeadMan, switch: Switch, autojump_clock: MockClock
) -> None:
    switch.open = [OURS, THEIRS]
    await trio.sleep(20)
    assert [countdown for _, countdown in switch.set] == [0]
    assert (man.resting, man.foreign, man.age_s) == (1, 1, None)
    switch.open = [OURS]
    await trio.sleep(11)
    assert switch.runs_out_s is not None


async def test_a_foreign_order_that_comes_while_it_is_armed_switches_it_off_before_it_runs_out(
    man: DeadMan, switch: Switch, autojump_clock: MockClock
) -> None:
    switch.open = [OURS]
    await trio.sleep(5)
    assert switch.runs_out_s is not None
    switch.open.append(THEIRS)
    await trio.sleep(11)
    assert switch.runs_out_s is None


async def test_a_venue_that_does_not_answer_is_asked_again_soon_and_the_age_grows_meanwhile(
    man: DeadMan, switch: Switch, autojump_clock: MockClock
) -> None:
    switch.open = [OURS]
    await trio.sleep(5)
    switch.down = True
    await trio.sleep(25)
    assert man.age_s is not None
    assert man.age_s > 20
    assert "no answer" in man.problem
    switch.down = False
    await trio.sleep(2.5)
    assert man.age_s < 3
    assert man.problem == ""
