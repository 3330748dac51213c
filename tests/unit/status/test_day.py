"""The trading day: where it begins, what its peak is, and that clocks and restarts do not confuse it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pytest

from propbot.control.counters import Counters
from propbot.status.day import TradingDay

D = Decimal


def wall_ns(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1e9)


NOON = wall_ns("2026-11-28T12:00:00Z")
MIDNIGHT = wall_ns("2026-11-29T00:00:00Z")


@pytest.fixture
def counters() -> Counters:
    return Counters()


@pytest.fixture
def day(counters: Counters) -> TradingDay:
    return TradingDay(counters)


def test_nothing_is_known_before_the_first_measurement(day: TradingDay) -> None:
    assert (day.date, day.pnl, day.drawdown) == (None, None, None)
    day.note(None, NOON)
    assert (day.date, day.pnl, day.drawdown) == (None, None, None)


def test_the_day_s_profit_counts_from_its_start_and_the_drawdown_from_its_peak(day: TradingDay) -> None:
    for pnl in ("10", "25.5", "18"):
        day.note(D(pnl), NOON)
    assert (day.date, day.pnl, day.drawdown) == ("2026-11-28", D(8), D("7.5"))


def test_midnight_in_utc_begins_a_new_day(day: TradingDay) -> None:
    day.note(D(10), NOON)
    day.note(D(2), MIDNIGHT - 1_000_000_000)
    assert day.drawdown == D(8)
    day.note(D(3), MIDNIGHT)
    assert (day.date, day.pnl, day.drawdown) == ("2026-11-29", D(0), D(0))


def test_a_clock_that_steps_back_over_midnight_begins_no_day_twice(day: TradingDay) -> None:
    day.note(D(10), MIDNIGHT)
    day.note(D(4), MIDNIGHT - 3_600_000_000_000)
    assert (day.date, day.drawdown) == ("2026-11-29", D(6))


def test_a_restart_goes_on_with_the_same_day(day: TradingDay, counters: Counters) -> None:
    for pnl in (0, 12, 5):
        day.note(D(pnl), NOON)
    again = TradingDay(counters)
    assert again.drawdown is None, "nothing measured in this life yet"
    again.note(D(4), NOON)
    assert (again.pnl, again.drawdown) == (D(4), D(8))


def test_an_unknown_value_makes_the_day_unknown_and_forgets_no_peak(day: TradingDay) -> None:
    day.note(D(12), NOON)
    day.note(None, NOON)
    assert (day.pnl, day.drawdown) == (None, None)
    day.note(D(5), NOON)
    assert day.drawdown == D(7)


def test_a_loss_that_was_accepted_is_counted_from_there(day: TradingDay) -> None:
    day.note(D(12), NOON)
    day.note(D(2), NOON)
    day.accept_loss()
    assert (day.pnl, day.drawdown) == (D(-10), D(0))


@pytest.mark.parametrize("nonsense", ["NaN", "much", "Infinity", ""])
def test_a_counter_that_is_no_number_begins_the_day_again(day: TradingDay, counters: Counters, nonsense: str) -> None:
    day.note(D(12), NOON)
    counters.put("day.peak_pnl_usdt", nonsense)
    day.note(D(5), NOON)
    assert day.drawdown == D(0)
