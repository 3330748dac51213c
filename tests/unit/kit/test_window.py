"""What a window keeps, what it tells, and percentiles of it."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from propbot.kit.lag import LoopLag
from propbot.kit.window import Window, percentile


def test_a_window_keeps_what_is_younger_than_its_span() -> None:
    window = Window(10)
    for second in range(20):
        window.note(float(second), second * 10.0)
    assert window.values(19.0) == [100.0, 110.0, 120.0, 130.0, 140.0, 150.0, 160.0, 170.0, 180.0, 190.0]
    assert window.values(19.0, 2) == [180.0, 190.0]
    assert window.values(100.0) == []
    assert window.taken == 20


def test_a_window_is_bounded_in_count() -> None:
    window = Window(10, kept_max=3)
    for value in range(5):
        window.note(0.0, value)
    assert window.values(0.0) == [2, 3, 4]


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 5), (0.95, 10), (0.9, 9), (1.0, 10)])
def test_a_percentile_is_one_of_the_values(share: float, value: int) -> None:
    assert percentile([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], share) == value


def test_of_nothing_there_is_no_percentile() -> None:
    assert percentile([], 0.5) is None


async def test_a_loop_that_stands_still_is_measured_by_its_next_sample(
    nursery: trio.Nursery, autojump_clock: Any
) -> None:
    lag, told = LoopLag(), []
    nursery.start_soon(lag.run, told.append)
    await trio.sleep(5)
    assert max(told) == 0.0
    autojump_clock.jump(3.0)
    await trio.sleep(1)
    assert 2.8 < max(told) <= 3.0
    assert max(lag.window.values(trio.current_time())) == max(told)
