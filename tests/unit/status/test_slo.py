"""Readings: from real samples, unknown when there are too few, and reading them changes nothing."""

from __future__ import annotations

from decimal import Decimal

import pytest
from attrs import define, field

from propbot.kit.window import Window
from propbot.status.slo import Slo, SloReading, SloState, Windows


@define
class Desk:
    now_s: float = 1000.0
    drawdown: Decimal | None = None
    windows: Windows = field(factory=lambda: Windows(*(Window(600.0) for _ in range(4)), Window(60.0)))
    slo: Slo = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.slo = Slo(lambda: self.now_s, self.windows, lambda: self.drawdown, Decimal(500), 1.5)

    def read(self, id: str) -> SloReading:
        return next(reading for reading in self.slo.readings() if reading.id == id)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_what_was_never_measured_is_unknown(desk: Desk) -> None:
    readings = desk.slo.readings()
    assert [reading.id for reading in readings] == [
        "book_age_p95", "tick_to_order_p95", "order_round_trip_p95", "reject_rate", "cancel_failure_rate",
        "recon_mismatches", "api_latency_p99", "loop_lag_p99", "day_drawdown",
    ]
    assert {reading.state for reading in readings} == {SloState.UNKNOWN}
    assert {reading.value for reading in readings} == {None}


def test_a_percentile_of_three_is_shown_and_not_judged(desk: Desk) -> None:
    for _ in range(3):
        desk.windows.order_rtt_ms.note(desk.now_s, 9000.0)
    reading = desk.read("order_round_trip_p95")
    assert (reading.value, reading.samples, reading.state) == (9000.0, 3, SloState.UNKNOWN)


def test_the_percentile_of_enough_samples_is_judged(desk: Desk) -> None:
    for number in range(100):
        desk.windows.order_rtt_ms.note(desk.now_s, 600.0 if number < 5 else 20.0)
    assert desk.read("order_round_trip_p95").state is SloState.OK, "five of a hundred are the worst five percent"
    desk.windows.order_rtt_ms.note(desk.now_s, 600.0)
    desk.windows.order_rtt_ms.note(desk.now_s, 600.0)
    reading = desk.read("order_round_trip_p95")
    assert (reading.value, reading.state, reading.unit, reading.window_s) == (600.0, SloState.BREACH, "ms", 600.0)


def test_a_breach_ends_when_its_samples_have_left_the_window(desk: Desk) -> None:
    for _ in range(20):
        desk.windows.rejected.note(desk.now_s, 1.0)
    assert desk.read("reject_rate").state is SloState.BREACH
    desk.now_s += 599
    assert desk.read("reject_rate").value == 1.0
    desk.now_s += 2
    assert (desk.read("reject_rate").value, desk.read("reject_rate").state) == (None, SloState.UNKNOWN)


def test_disagreements_are_counted_and_more_than_five_in_ten_minutes_are_a_breach(desk: Desk) -> None:
    for number in range(120):
        desk.slo.recon_differed.note(desk.now_s, float(number % 24 == 0))
    assert (desk.read("recon_mismatches").value, desk.read("recon_mismatches").state) == (5.0, SloState.OK)
    desk.slo.recon_differed.note(desk.now_s, 1.0)
    assert (desk.read("recon_mismatches").state, desk.read("recon_mismatches").severity) == (SloState.BREACH, "P0")


def test_lateness_is_told_in_milliseconds(desk: Desk) -> None:
    for _ in range(100):
        desk.windows.loop_late_s.note(desk.now_s, 0.0123)
    assert desk.read("loop_lag_p99").value == 12.3


def test_the_drawdown_is_the_day_s(desk: Desk) -> None:
    desk.drawdown = Decimal("500.5")
    reading = desk.read("day_drawdown")
    assert (reading.value, reading.state, reading.window_s) == (500.5, SloState.BREACH, None)


def test_reading_changes_nothing(desk: Desk) -> None:
    for _ in range(50):
        desk.slo.book_age_s.note(desk.now_s, 0.2)
    assert len({desk.slo.readings() for _ in range(1000)}) == 1
