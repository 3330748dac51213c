"""Each cap, what an acknowledgement accepts, and what outlives a restart."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from attrs import define, evolve, field

from propbot.domain.status import Health
from propbot.guards.kill_caps import Caps, CapsSeen, KillCaps

D = Decimal


@define
class Desk:
    seen: CapsSeen = field(factory=lambda: CapsSeen("2026-11-28", D(0), D(0), 0))
    acknowledged: bool = False
    memory: dict[str, str] = field(factory=dict)

    def change(self, **changes: Any) -> None:
        self.seen = evolve(self.seen, **changes)

    def accept_loss(self) -> None:
        self.change(drawdown=D(0))

    def keep(self, name: str, value: str | None) -> None:
        if value is None:
            self.memory.pop(name, None)
        else:
            self.memory[name] = value

    def guard(self) -> KillCaps:
        return KillCaps(
            lambda: self.seen, lambda: self.acknowledged, self.accept_loss, self.memory.get, self.keep, Caps()
        )


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def guarded(watched: Any, desk: Desk) -> Any:
    return watched(desk.guard())


@pytest.mark.parametrize(
    ("changes", "trip"),
    [
        ({"drawdown": D(500)}, None),
        ({"drawdown": D("500.01")}, "the day's loss from its peak is beyond 500 USDT"),
        ({"notional": D(20_000)}, None),
        ({"notional": D("20000.1")}, "the total notional is beyond 20000 USDT"),
        ({"failed_spreads": 4}, None),
        ({"failed_spreads": 5}, "5 spreads in a row failed; see orders for the venues' reasons"),
    ],
)
def test_each_cap_trips_when_it_is_passed(guarded: Any, desk: Desk, changes: dict[str, Any], trip: str | None) -> None:
    desk.change(**changes)
    guarded.watch.look()
    assert guarded.trips == ([] if trip is None else [(trip, "guard:kill_caps")])


def test_what_is_unknown_is_said_and_trips_nothing(guarded: Any, desk: Desk) -> None:
    desk.change(drawdown=None, notional=None)
    guarded.watch.look()
    assert guarded.last.health is Health.WARN
    assert guarded.last.metrics["drawdown_usdt"] is None
    assert guarded.trips == []


def test_a_loss_that_heals_stays_a_trip_until_somebody_acknowledges(guarded: Any, desk: Desk) -> None:
    desk.change(drawdown=D(600))
    guarded.watch.look()
    desk.change(drawdown=D(700))
    guarded.watch.look()
    desk.change(drawdown=D(0))
    guarded.run_s(3600, step_s=60)
    assert guarded.watch.blocker is not None
    assert len(guarded.trips) == 1
    desk.acknowledged = True
    guarded.watch.look()
    assert guarded.watch.blocker is None


def test_an_accepted_loss_is_counted_again_from_there(guarded: Any, desk: Desk) -> None:
    desk.change(drawdown=D(600))
    guarded.watch.look()
    desk.acknowledged = True
    guarded.watch.look()
    desk.acknowledged = False
    guarded.watch.look()
    assert (guarded.watch.blocker, len(guarded.trips)) == (None, 1)
    desk.change(drawdown=D(501))
    guarded.watch.look()
    assert len(guarded.trips) == 2


def test_a_new_day_clears_the_loss_and_nothing_else(guarded: Any, desk: Desk) -> None:
    desk.change(drawdown=D(600), failed_spreads=5)
    guarded.watch.look()
    desk.change(day="2026-11-29", drawdown=D(0), failed_spreads=0)
    guarded.watch.look()
    assert guarded.watch.blocker is not None
    assert "loss" not in guarded.watch.blocker
    desk.acknowledged = True
    guarded.watch.look()
    assert guarded.watch.blocker is None


def test_an_accepted_notional_trips_again_only_after_it_was_within_its_cap(guarded: Any, desk: Desk) -> None:
    desk.change(notional=D(21_000))
    guarded.watch.look()
    desk.acknowledged = True
    guarded.watch.look()
    desk.acknowledged = False
    desk.change(notional=D(22_000))
    guarded.watch.look()
    assert (guarded.watch.blocker, guarded.last.health) == (None, Health.WARN)
    desk.change(notional=D(19_000))
    guarded.watch.look()
    desk.change(notional=D(21_000))
    guarded.watch.look()
    assert len(guarded.trips) == 2


def test_a_restart_does_not_acknowledge(watched: Any, guarded: Any, desk: Desk) -> None:
    desk.change(failed_spreads=5)
    guarded.watch.look()
    desk.change(failed_spreads=0)
    again = watched(desk.guard())
    again.watch.look()
    assert again.trips == guarded.trips
    desk.acknowledged = True
    again.watch.look()
    assert (again.watch.blocker, desk.memory) == (None, {})


def test_a_memory_that_makes_no_sense_is_a_trip_of_its_own(watched: Any, desk: Desk) -> None:
    desk.memory["kill_caps.held"] = "[1, 2"
    guarded = watched(desk.guard())
    guarded.watch.look()
    assert guarded.trips == [("what had tripped before the restart can't be read", "guard:kill_caps")]
