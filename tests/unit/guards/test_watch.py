"""A watched guard trips once, blocks leaving HOLD until it has cleared, and its trip stays shown."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from attrs import define, field

from propbot.domain.status import Health
from propbot.guards.watch import Finding, Watch

FINE = Finding(Health.OK, "fine", {"n": 1})
RECOVERING = Finding(Health.OK, "fine for a moment", clear=False)
BAD = Finding(Health.ERROR, "bad", {"n": 9}, trip="it is bad", clear=False)
WORSE = Finding(Health.ERROR, "worse", trip="it is worse", clear=False)


@define
class Scripted:
    found: Finding = FINE
    looks: int = 0
    id: str = field(default="scripted")
    title: str = field(default="A guard")
    interval_s: float = field(default=0.5)

    def look(self) -> Finding:
        self.looks += 1
        return self.found


def test_it_trips_once_however_long_it_stays_bad(watched: Any) -> None:
    guard = Scripted()
    seen = watched(guard)
    for guard.found in (FINE, BAD, BAD, BAD):
        seen.watch.look()
    assert seen.trips == [("it is bad", "guard:scripted")]


def test_another_reason_is_another_cause(watched: Any) -> None:
    guard = Scripted()
    seen = watched(guard)
    for guard.found in (BAD, WORSE, WORSE):
        seen.watch.look()
    assert [reason for reason, _ in seen.trips] == ["it is bad", "it is worse"]


def test_it_blocks_until_it_has_cleared_and_can_trip_again(watched: Any) -> None:
    guard = Scripted()
    seen = watched(guard)
    assert seen.watch.blocker is None
    for guard.found in (BAD, RECOVERING):
        seen.watch.look()
        assert seen.watch.blocker == "guard:scripted has not cleared: it is bad"
        assert seen.last.health is Health.ERROR
        assert seen.last.summary == "tripped: it is bad"
    for guard.found in (FINE, BAD):
        seen.watch.look()
    assert len(seen.trips) == 2


def test_a_cleared_guard_shows_what_it_measures(watched: Any) -> None:
    guard = Scripted()
    seen = watched(guard)
    for guard.found in (BAD, FINE):
        seen.watch.look()
    assert seen.last == FINE
    assert seen.watch.blocker is None


def test_what_is_shown_while_tripped_keeps_the_measurements(watched: Any) -> None:
    guard = Scripted(BAD)
    seen = watched(guard)
    seen.watch.look()
    assert seen.last.metrics == {"n": 9}


async def test_it_looks_every_interval(watched: Any, nursery: Any, autojump_clock: Any) -> None:
    guard = Scripted()
    seen = watched(guard)
    nursery.start_soon(seen.watch.run)
    await trio.sleep(10.1)
    assert guard.looks == 21


async def test_a_guard_that_fails_ends_its_watch_and_is_not_silent() -> None:
    class Broken(Scripted):
        def look(self) -> Finding:
            raise ValueError("a bug")

    watch = Watch(Broken(), lambda *_: None, lambda *_: None)
    with pytest.raises(ValueError, match="a bug"):
        await watch.run()
