"""The rate budget against venues that count in fixed windows whose beginning nobody tells."""

from __future__ import annotations

import heapq

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propbot.domain.dialect import HttpCall, RateLimit
from propbot.execution.budget import RateBudget, Shares, Urgency

WEIGHT = RateLimit("weight_1m", 100, 60.0)
ORDERS = RateLimit("orders_10s", 10, 10.0)
NORMAL, RESERVE, CANCEL = Urgency.NORMAL, Urgency.RESERVE, Urgency.CANCEL


def budget(*limits: RateLimit) -> RateBudget:
    made = RateBudget(Shares(pace=0.8, reserve=0.95))
    made.set_limits(limits or (WEIGHT,))
    return made


def call(weight: int, *, is_order: bool = False) -> HttpCall:
    return HttpCall("GET", "/", weight=weight, is_order=is_order)


def used(rates: RateBudget, now_s: float = 0.0) -> list[int]:
    return [use.used for use in rates.uses(now_s)]


@pytest.mark.parametrize(
    ("already", "weight", "normal", "reserve", "cancel"),
    [
        (0, 78, True, True, True),
        (0, 79, False, True, True),
        (77, 1, True, True, True),
        (78, 1, False, True, True),  # two of the eighty are for the upkeep of streams and clock
        (94, 1, False, True, True),
        (95, 1, False, False, True),
        (99, 1, False, False, True),
        (100, 1, False, False, False),
        (100, 0, True, True, True),
    ],
)
def test_each_urgency_has_its_share_of_the_limit(
    already: int, weight: int, normal: bool, reserve: bool, cancel: bool
) -> None:
    rates = budget()
    rates.let_go(call(already))
    fits = [rates.full(call(weight), urgency, 0.0) is None for urgency in (NORMAL, RESERVE, CANCEL)]
    assert fits == [normal, reserve, cancel]


def test_before_the_limits_are_known_everything_may_go_and_what_is_under_way_then_is_settled_without_harm() -> None:
    rates = RateBudget()
    assert rates.full(call(10_000), NORMAL, 0.0) is None
    charge = rates.let_go(call(10))
    rates.set_limits((WEIGHT,))
    rates.answered(charge, {"weight_1m": 12}, 1.0)
    assert used(rates, 1.0) == [12]


def test_a_request_counts_while_it_is_under_way_and_for_one_window_after_its_answer() -> None:
    rates = budget()
    charge = rates.let_go(call(80))
    assert rates.full(call(1), NORMAL, 50.0) is not None
    rates.answered(charge, {}, 50.0)
    full = rates.full(call(1), NORMAL, 60.0)
    assert full is not None
    assert 50.0 <= full.wait_s <= 50.2
    assert rates.full(call(1), NORMAL, 60.0 + full.wait_s) is None


def test_a_request_of_which_no_byte_left_does_not_count() -> None:
    rates = budget()
    rates.give_back(rates.let_go(call(80)))
    assert used(rates) == [0]


def test_the_venues_count_wins_where_it_is_higher_and_until_its_window_must_be_over() -> None:
    rates = budget()
    rates.answered(rates.let_go(call(1)), {"weight_1m": 85}, 0.0)
    full = rates.full(call(1), NORMAL, 10.0)
    assert full is not None
    assert (full.window.used, full.window.limit, full.wait_s) == (85, 100, 50.0)
    assert rates.full(call(1), RESERVE, 10.0) is None
    assert rates.full(call(1), NORMAL, 60.0) is None


def test_a_lower_count_of_a_later_request_says_that_the_venues_window_has_turned() -> None:
    rates = budget()
    rates.answered(rates.let_go(call(1)), {"weight_1m": 99}, 0.0)
    rates.answered(rates.let_go(call(1)), {"weight_1m": 1}, 8.0)
    assert used(rates, 8.0) == [2]
    assert rates.full(call(70), NORMAL, 8.0) is None


def test_an_answer_that_was_overtaken_does_not_lower_the_venues_count() -> None:
    rates = budget()
    first, second = rates.let_go(call(1)), rates.let_go(call(1))
    rates.answered(second, {"weight_1m": 60}, 1.0)
    rates.answered(first, {"weight_1m": 59}, 2.0)
    assert used(rates, 2.0) >= [60]


def test_what_left_since_the_venue_told_its_count_comes_on_top() -> None:
    rates = budget()
    rates.answered(rates.let_go(call(1)), {"weight_1m": 70}, 0.0)
    rates.let_go(call(10))
    rates.answered(rates.let_go(call(5)), {}, 1.0)
    assert used(rates, 1.0) == [85]


def test_orders_are_counted_by_the_venue_alone_once_it_told_since_it_gives_some_back() -> None:
    rates = budget(ORDERS)
    for _ in range(8):
        assert rates.full(call(1, is_order=True), NORMAL, 0.0) is None
        charge = rates.let_go(call(1, is_order=True))
        rates.answered(charge, {}, 0.0)
    assert rates.full(call(1, is_order=True), NORMAL, 0.0) is not None
    assert rates.full(call(1), NORMAL, 0.0) is None, "a question is no order"
    rates.answered(rates.let_go(call(1, is_order=True)), {"orders_10s": 2}, 0.1)
    assert used(rates, 0.1) == [2]
    assert rates.full(call(1, is_order=True), NORMAL, 0.1) is None


def test_a_day_of_orders_stays_a_short_memory() -> None:
    rates = budget(RateLimit("orders_1d", 200_000, 86_400.0))
    for number in range(50_000):
        rates.answered(rates.let_go(call(1, is_order=True)), {}, number * 1.5)
    (window,) = rates._windows.values()
    assert len(window._done) < 700
    assert used(rates, 75_000.0) == [50_000]


@given(
    phase_s=st.floats(0, 60),
    requests=st.lists(
        st.tuples(
            st.floats(0, 5), st.floats(0, 3), st.floats(0, 3), st.integers(1, 30),
            st.sampled_from(["told", "no header", "lost"]),
        ),
        max_size=150,
    ),
)
def test_no_window_of_the_venue_ever_holds_more_than_the_pace_share_of_ours(
    phase_s: float, requests: list[tuple[float, float, float, int, str]]
) -> None:
    """Whatever the phase of its windows, the latencies, and the answers that are lost or come without a count."""
    rates, now_s, serial = budget(), 0.0, 0
    counts: dict[int, int] = {}
    events: list[tuple[float, int, str, object]] = []

    def advance(until_s: float) -> None:
        while events and events[0][0] <= until_s:
            at_s, _, what, item = heapq.heappop(events)
            if what == "arrives":
                weight, told = item  # type: ignore[misc]
                window = int((at_s + phase_s) // 60)
                counts[window] = counts.get(window, 0) + weight
                told["weight_1m"] = counts[window]
            else:
                charge, told, named = item  # type: ignore[misc]
                rates.answered(charge, told if named else {}, at_s)

    for wait_s, there_s, back_s, weight, ending in requests:
        now_s += wait_s
        advance(now_s)
        asked = call(weight)
        if rates.full(asked, NORMAL, now_s) is not None:
            continue
        told: dict[str, int] = {}
        charge = rates.let_go(asked)
        heapq.heappush(events, (now_s + there_s, serial, "arrives", (weight, told)))
        heapq.heappush(
            events, (now_s + there_s + back_s, serial + 1, "answered", (charge, told, ending == "told"))
        )
        serial += 2
    advance(now_s + 10)
    assert all(count <= 80 for count in counts.values()), counts


@given(st.integers(0, 100), st.integers(1, 40), st.floats(0, 59))
def test_after_the_named_wait_there_is_room(already: int, weight: int, at_s: float) -> None:
    rates = budget()
    rates.answered(rates.let_go(call(already)), {"weight_1m": already}, 0.0)
    full = rates.full(call(weight), NORMAL, at_s)
    if full is not None:
        assert full.wait_s > 0
        assert rates.full(call(weight), NORMAL, at_s + full.wait_s + 1e-6) is None
