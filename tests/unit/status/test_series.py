"""A series: its steps, its bounds, and pages that meet without gap or overlap."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from propbot.status.series import Series, Tier

TIERS = (Tier(1, 5), Tier(10, 3))


def make_series(seconds):
    series = Series(TIERS)
    for now_s in seconds:
        series.note(now_s, int(now_s * 1e9), now_s)
    return series


def values(series, step_s, **asked):
    return [point.value for point in series.page(step_s, 100, **asked)[0]]


def test_each_step_takes_the_first_that_comes_in_its_time():
    series = make_series([0.0, 0.25, 0.99, 1.0, 1.5, 9.9, 10.1, 20.0])
    assert values(series, 1) == [20.0, 10.1, 9.9, 1.0, 0.0]
    assert values(series, 10) == [20.0, 10.1, 0.0]


def test_it_is_due_once_a_step():
    series = make_series([0.0])
    assert [series.due(at) for at in (0.0, 0.75, 1.0)] == [False, False, True]


def test_old_points_go_and_their_numbers_do_not_come_again():
    series = make_series(map(float, range(100)))
    assert values(series, 1) == [99.0, 98.0, 97.0, 96.0, 95.0]
    assert values(series, 10) == [90.0, 80.0, 70.0]
    assert [point.seq for point in series.page(1, 2)[0]] == [100, 99]


def test_times_are_inclusive():
    series = make_series(map(float, range(5)))
    assert values(series, 1, since_ns=10**9, until_ns=3 * 10**9) == [3.0, 2.0, 1.0]


def test_the_newest_is_of_the_finest_step():
    assert Series(TIERS).newest is None
    assert make_series([0.0, 1.0]).newest.value == 1.0


def test_a_clock_that_steps_back_neither_hides_nor_repeats_a_point():
    series = Series(TIERS)
    for second in range(4):
        series.note(float(second), (10 - second) * 10**9, second)
    first, cursor = series.page(1, 2)
    rest, end = series.page(1, 2, cursor)
    assert [point.value for point in (*first, *rest)] == [3, 2, 1, 0]
    assert end is None


@given(count=st.integers(0, 12), limit=st.integers(1, 7))
def test_pages_show_each_point_once(count, limit):
    series = make_series(map(float, range(count)))
    seen, cursor = [], None
    while True:
        points, cursor = series.page(1, limit, cursor)
        assert len(points) <= limit
        seen += [point.value for point in points]
        if cursor is None:
            break
    assert seen == values(series, 1)
