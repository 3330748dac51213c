"""Lateness all the time, a single stall, ten good seconds, and a sampler that has died."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import define, evolve, field

from propbot.domain.status import Health
from propbot.guards.loop_lag import LagSeen, LoopLagGuard


@define
class Lag:
    seen: LagSeen = field(factory=lambda: LagSeen(None, None, 0, full=False))
    sampled: bool = True

    def look(self) -> LagSeen:
        if self.sampled:
            self.seen = evolve(self.seen, taken=self.seen.taken + 1)
        return self.seen

    def be(self, p95_s: float, worst_s: float, *, full: bool = True) -> None:
        self.seen = LagSeen(p95_s, worst_s, self.seen.taken, full)


@pytest.fixture
def lag() -> Lag:
    return Lag()


@pytest.fixture
def guarded(watched: Any, lag: Lag, seconds: Any) -> Any:
    return watched(LoopLagGuard(lag.look, seconds))


def test_a_loop_that_was_not_measured_yet_is_unknown(guarded: Any) -> None:
    guarded.watch.look()
    assert (guarded.last.health, guarded.trips) == (Health.WARN, [])
    assert guarded.last.metrics == {"p95_ms": None, "worst_ms": None}


def test_one_stall_trips_at_once_and_clears_when_it_is_ten_seconds_ago(guarded: Any, lag: Lag) -> None:
    lag.be(0.001, 8.0, full=False)
    guarded.run_s(2)
    assert guarded.trips == [("the event loop stood still for more than 2 s", "guard:loop_lag")]
    lag.be(0.001, 0.05)
    guarded.watch.look()
    assert guarded.watch.blocker is None


def test_lateness_trips_over_ten_full_seconds_and_clears_below_100_ms(guarded: Any, lag: Lag) -> None:
    lag.be(0.3, 0.4, full=False)
    guarded.run_s(1)
    assert guarded.trips == []
    lag.be(0.3, 0.4)
    guarded.run_s(1)
    assert guarded.trips == [
        ("the event loop is late by more than 250 ms (p95 over 10 s)", "guard:loop_lag")
    ]
    lag.be(0.2, 0.3)
    guarded.run_s(1)
    assert guarded.watch.blocker is not None
    lag.be(0.09, 0.3)
    guarded.run_s(1)
    assert guarded.watch.blocker is None


def test_a_sampler_that_has_stopped_trips(guarded: Any, lag: Lag) -> None:
    lag.be(0.001, 0.001)
    guarded.run_s(1)
    lag.sampled = False
    guarded.run_s(1)
    assert guarded.trips == [("the event loop's lateness is not measured any more", "guard:loop_lag")]
    lag.sampled = True
    guarded.run_s(0.2)
    assert guarded.watch.blocker is None


def test_many_looks_at_one_moment_are_no_proof_that_nothing_is_measured(guarded: Any, lag: Lag) -> None:
    """Fifty operators that ask what blocks a resume make it look fifty times."""
    guarded.run_s(1)
    lag.sampled = False
    for _ in range(50):
        guarded.watch.look()
    assert guarded.trips == []
