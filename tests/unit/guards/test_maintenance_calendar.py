"""Before, in and after a window; the calendar is the wall clock's."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from propbot.domain.status import Health
from propbot.guards.maintenance_calendar import MaintenanceCalendar
from propbot.settings_values import parse_windows


def wall_s(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("window", "at", "health", "trips"),
    [
        ("2026-12-01T02:00Z/2026-12-01T03:00Z", "2026-12-01T01:49:59Z", Health.OK, False),
        ("2026-12-01T02:00Z/2026-12-01T03:00Z", "2026-12-01T01:50:00Z", Health.WARN, False),
        ("2026-12-01T02:00Z/2026-12-01T03:00Z", "2026-12-01T02:00:00Z", Health.ERROR, True),
        ("2026-12-01T02:00Z/2026-12-01T03:00Z", "2026-12-01T02:59:59Z", Health.ERROR, True),
        ("2026-12-01T02:00Z/2026-12-01T03:00Z", "2026-12-01T03:00:00Z", Health.OK, False),
        ("2026-12-01T02:00Z/2026-12-01T02:01Z", "2026-12-01T01:55:00Z", Health.WARN, False),
        ("WED 02:00-03:00", "2026-12-02T02:30:00Z", Health.ERROR, True),
        ("WED 02:00-03:00", "2026-12-03T02:30:00Z", Health.OK, False),
        ("", "2026-12-03T02:30:00Z", Health.OK, False),
    ],
)
def test_a_window_trips_and_is_announced(watched: Any, window: str, at: str, health: Health, trips: bool) -> None:
    guarded = watched(MaintenanceCalendar(parse_windows(window), lambda: wall_s(at)))
    guarded.watch.look()
    assert guarded.last.health is health
    assert bool(guarded.trips) is trips
    if trips:
        assert guarded.trips[0][0] == f"maintenance window {window}"


def test_it_clears_when_the_window_has_ended(watched: Any) -> None:
    now = wall_s("2026-12-01T02:30:00Z")
    guarded = watched(MaintenanceCalendar(parse_windows("2026-12-01T02:00Z/2026-12-01T03:00Z"), lambda: now))
    guarded.watch.look()
    assert guarded.watch.blocker is not None
    now = wall_s("2026-12-01T03:00:00Z")
    guarded.watch.look()
    assert guarded.watch.blocker is None
