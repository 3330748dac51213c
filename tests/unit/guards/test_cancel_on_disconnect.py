"""When losing sight of our open orders is a WARN, when a HOLD, and what is shown of the dead-man switch."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from propbot.domain.status import Health
from propbot.guards.cancel_on_disconnect import CancelOnDisconnectGuard, DeadManSeen, DisconnectSeen

UP = DisconnectSeen(private_lost=False, order_path_lost=False, open_orders=0, reconciled=True)
OFF = DeadManSeen(age_s=None, resting=0, foreign=0, problem="")


@pytest.fixture
def venues() -> dict[str, DisconnectSeen]:
    return {"binance-um": UP, "binance-spot": UP}


@pytest.fixture
def guard(watched: Any, seconds: Any, venues: dict[str, DisconnectSeen]) -> Any:
    return watched(CancelOnDisconnectGuard(lambda: venues, seconds))


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        (evolve(UP, private_lost=True, open_orders=1), "private stream"),
        (evolve(UP, order_path_lost=True, open_orders=2), "order path"),
        (evolve(UP, private_lost=True, order_path_lost=True, open_orders=1), "private stream and order path"),
    ],
)
def test_it_trips_once_something_is_lost_for_five_seconds_with_orders_open(
    guard: Any, venues: dict[str, DisconnectSeen], lost: DisconnectSeen, words: str
) -> None:
    venues["binance-um"] = lost
    guard.run_s(4.9)
    assert (guard.trips, guard.last.health) == ([], Health.WARN)
    guard.run_s(10)
    reason = f"binance-um: {words} lost for 5 s with orders open"
    assert guard.trips == [(reason, "guard:cancel_on_disconnect")]


def test_what_else_is_lost_meanwhile_is_no_new_cause(guard: Any, venues: dict[str, DisconnectSeen]) -> None:
    venues["binance-um"] = evolve(UP, private_lost=True, open_orders=1)
    guard.run_s(6)
    venues["binance-um"] = evolve(UP, private_lost=True, order_path_lost=True, open_orders=3)
    guard.run_s(6)
    assert len(guard.trips) == 1


def test_without_open_orders_a_lost_stream_is_a_warning_however_long(
    guard: Any, venues: dict[str, DisconnectSeen]
) -> None:
    venues["binance-um"] = evolve(UP, private_lost=True)
    guard.run_s(600)
    assert (guard.trips, guard.last.health) == ([], Health.WARN)


def test_a_loss_that_is_over_in_time_starts_the_count_again(guard: Any, venues: dict[str, DisconnectSeen]) -> None:
    for _ in range(5):
        venues["binance-um"] = evolve(UP, private_lost=True, open_orders=1)
        guard.run_s(4)
        venues["binance-um"] = evolve(UP, open_orders=1)
        guard.run_s(1)
    assert guard.trips == []


def test_it_clears_when_connected_and_reconciled(guard: Any, venues: dict[str, DisconnectSeen]) -> None:
    venues["binance-um"] = evolve(UP, private_lost=True, open_orders=1)
    guard.run_s(6)
    for not_yet in (evolve(UP, private_lost=True), evolve(UP, order_path_lost=True), evolve(UP, reconciled=False)):
        venues["binance-um"] = not_yet
        guard.watch.look()
        assert guard.watch.blocker is not None
    venues["binance-um"] = UP
    guard.watch.look()
    assert guard.watch.blocker is None


@pytest.mark.parametrize(
    ("dead_man", "health", "words"),
    [
        (OFF, Health.OK, "dead-man switch off"),
        (evolve(OFF, age_s=9.0, resting=1), Health.OK, "armed at binance-um"),
        (evolve(OFF, age_s=16.0, resting=1), Health.WARN, "not refreshed in time"),
        (evolve(OFF, resting=1, foreign=2), Health.WARN, "would cancel 2 foreign orders too"),
        (evolve(OFF, age_s=3.0, resting=1, problem="no answer"), Health.WARN, "not refreshed: no answer"),
    ],
)
def test_the_dead_man_switch_and_its_age_are_shown(
    guard: Any, venues: dict[str, DisconnectSeen], dead_man: DeadManSeen, health: Health, words: str
) -> None:
    venues["binance-um"] = evolve(UP, dead_man=dead_man)
    guard.watch.look()
    assert guard.last.health is health
    assert words in guard.last.summary
    assert guard.last.metrics["binance-um.dead_man_age_s"] == dead_man.age_s
    assert "binance-spot.dead_man" not in guard.last.metrics
