"""Which breaches warn and which trip."""

from __future__ import annotations

from typing import Any

import pytest

from propbot.domain.status import Health
from propbot.guards.slo import SloGuard
from propbot.status.slo import SloReading, SloState


def reading(id: str, state: SloState, severity: str = "P1", value: float | None = 9.0) -> SloReading:
    return SloReading(id, id, value, 5.0, "count", 600.0, state, 40, severity)


@pytest.fixture
def readings() -> list[SloReading]:
    return [reading("api_latency_p99", SloState.OK, value=1.0), reading("recon_mismatches", SloState.UNKNOWN, "P0")]


@pytest.fixture
def guarded(watched: Any, readings: list[SloReading]) -> Any:
    return watched(SloGuard(lambda: readings))


def test_levels_that_are_kept_or_unknown_are_fine(guarded: Any) -> None:
    guarded.watch.look()
    assert (guarded.last.health, guarded.last.summary) == (
        Health.OK, "1 of 2 service levels are measured, and kept"
    )


def test_a_breach_of_lower_rank_is_an_alert_and_no_trip(guarded: Any, readings: list[SloReading]) -> None:
    readings[0] = reading("api_latency_p99", SloState.BREACH)
    guarded.watch.look()
    assert (guarded.last.health, guarded.trips) == (Health.WARN, [])
    assert "api_latency_p99 is beyond 5 count over 600 s" in guarded.last.summary


def test_a_breach_of_the_first_rank_trips_and_clears_when_it_is_over(guarded: Any, readings: list[SloReading]) -> None:
    for value in (6.0, 7.0):
        readings[1] = reading("recon_mismatches", SloState.BREACH, "P0", value)
        guarded.watch.look()
    assert guarded.trips == [("recon_mismatches is beyond 5 count over 600 s", "guard:slo")]
    readings[1] = reading("recon_mismatches", SloState.OK, "P0", 4.0)
    guarded.watch.look()
    assert guarded.watch.blocker is None


def test_the_drawdown_is_held_by_kill_caps_alone(guarded: Any, readings: list[SloReading]) -> None:
    readings[1] = reading("day_drawdown", SloState.BREACH, "P0")
    guarded.watch.look()
    assert (guarded.last.health, guarded.trips) == (Health.WARN, [])
