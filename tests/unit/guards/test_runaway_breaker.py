"""The breaker: what it counts, what it keeps from leaving, and when it is quiet again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from attrs import define, field

from propbot.domain.status import Health
from propbot.guards.runaway_breaker import EqualRejections, RunawayBreaker


@define
class Traffic:
    orders: int = 0
    cancels: int = 0
    rejected: dict[str, EqualRejections] = field(factory=dict)

    def rejections(self) -> Mapping[str, EqualRejections]:
        return self.rejected


@pytest.fixture
def traffic() -> Traffic:
    return Traffic()


@pytest.fixture
def guard(traffic: Traffic, seconds: Any) -> RunawayBreaker:
    return RunawayBreaker(lambda: traffic.orders, lambda: traffic.cancels, traffic.rejections, seconds)


@pytest.fixture
def breaker(watched: Any, guard: RunawayBreaker) -> Any:
    return watched(guard)


def test_traffic_within_the_limits_is_shown_and_trips_nothing(breaker: Any, traffic: Traffic) -> None:
    traffic.orders, traffic.cancels = 600, 120
    breaker.watch.look()
    assert breaker.last.health is Health.OK
    assert breaker.last.metrics == {"orders_last_minute": 600, "cancels_last_minute": 120}
    assert breaker.trips == []


def test_one_cancel_too_many_trips_and_a_quiet_minute_clears(breaker: Any, traffic: Traffic) -> None:
    traffic.cancels = 121
    breaker.watch.look()
    traffic.cancels = 150
    breaker.watch.look()
    assert breaker.trips == [("more than 120 cancels within a minute", "guard:runaway_breaker")]
    traffic.cancels = 3
    breaker.run_s(59)
    assert breaker.watch.blocker is not None, "cancels are still within the minute"
    traffic.cancels = 0
    breaker.watch.look()
    assert breaker.watch.blocker is None


def test_the_order_after_the_last_allowed_one_is_refused_and_trips(
    breaker: Any, guard: RunawayBreaker, traffic: Traffic
) -> None:
    traffic.orders = 593
    assert guard.order_refusal(1, reduces_imbalance=False) is None
    traffic.orders = 594
    assert guard.order_refusal(1, reduces_imbalance=False) is not None
    breaker.watch.look()
    assert len(breaker.trips) == 1
    assert "600 orders within a minute" in breaker.trips[0][0]


def test_what_makes_legs_equal_may_use_the_last_orders_and_not_one_more(
    guard: RunawayBreaker, traffic: Traffic
) -> None:
    traffic.orders = 599
    assert guard.order_refusal(1, reduces_imbalance=True) is None
    traffic.orders = 600
    assert guard.order_refusal(1, reduces_imbalance=True) is not None


def test_a_pair_goes_whole_or_not_at_all(guard: RunawayBreaker, traffic: Traffic) -> None:
    traffic.orders = 593
    assert guard.order_refusal(2, reduces_imbalance=False) is not None


def test_a_small_limit_is_not_all_reserve(guard: RunawayBreaker, traffic: Traffic) -> None:
    guard.orders_max = 4
    traffic.orders = 3
    assert guard.order_refusal(1, reduces_imbalance=False) is None
    traffic.orders = 4
    assert guard.order_refusal(1, reduces_imbalance=False) is not None


def test_a_stopped_order_clears_after_a_quiet_minute_even_if_none_had_left(
    breaker: Any, guard: RunawayBreaker, traffic: Traffic
) -> None:
    guard.orders_max = 1
    assert guard.order_refusal(2, reduces_imbalance=False) is not None
    breaker.watch.look()
    breaker.run_s(59)
    assert breaker.watch.blocker is not None
    breaker.run_s(1.5)
    assert breaker.watch.blocker is None
    assert len(breaker.trips) == 1


def test_equal_rejections_in_a_row_trip_and_are_forgiven_after_a_quiet_minute(
    breaker: Any, traffic: Traffic, seconds: Any
) -> None:
    for count in range(1, 5):
        traffic.rejected["binance-um"] = EqualRejections("code -2019", count, seconds())
        breaker.watch.look()
    assert breaker.trips == []
    traffic.rejected["binance-um"] = EqualRejections("code -2019", 5, seconds())
    breaker.watch.look()
    assert breaker.trips == [
        ("binance-um refused 5 orders in a row the same way: code -2019", "guard:runaway_breaker")
    ]
    breaker.run_s(59)
    assert breaker.watch.blocker is not None
    breaker.run_s(1.5)
    assert breaker.watch.blocker is None
    traffic.rejected["binance-um"] = EqualRejections("code -2019", 6, seconds())
    breaker.watch.look()
    assert len(breaker.trips) == 1, "the sixth alone is the first of a new row"


def test_a_new_row_after_a_forgiven_one_trips_at_its_own_fifth(breaker: Any, traffic: Traffic, seconds: Any) -> None:
    traffic.rejected["binance-um"] = EqualRejections("code -2019", 5, seconds())
    breaker.watch.look()
    breaker.run_s(61)
    traffic.rejected["binance-um"] = EqualRejections("code -1111", 1, seconds())
    breaker.watch.look()
    traffic.rejected["binance-um"] = EqualRejections("code -1111", 5, seconds())
    breaker.watch.look()
    assert breaker.trips[-1][0].endswith("code -1111")
