"""When a venue's limits are a WARN, when they are a HOLD, and when that is over."""

from __future__ import annotations

from typing import Any

import pytest

from propbot.domain.status import Health
from propbot.guards.rate_limit import RateLimitGuard, RateSeen, RateWindow

UNTIL_NS = 1_790_000_120_000_000_000


def seen(used: int = 100, *, paused_s: float = 0.0, status: int = 0) -> RateSeen:
    return RateSeen((RateWindow("weight_1m", used, 2400),), paused_s, status, UNTIL_NS if status else 0)


@pytest.fixture
def venues() -> dict[str, RateSeen]:
    return {"binance-um": seen(), "binance-spot": seen(0)}


@pytest.fixture
def rates(watched: Any, venues: dict[str, RateSeen]) -> Any:
    return watched(RateLimitGuard(lambda: venues))


@pytest.mark.parametrize(
    ("state", "health", "trips"),
    [
        (seen(0), Health.OK, 0),
        (seen(1919), Health.OK, 0),
        (seen(1920), Health.WARN, 0),
        (seen(2280), Health.WARN, 0),
        (seen(2281), Health.ERROR, 1),
        (seen(9999), Health.ERROR, 1),
        (seen(paused_s=30.0, status=429), Health.WARN, 0),
        (seen(paused_s=30.0, status=418), Health.ERROR, 1),
        (seen(paused_s=0.0, status=418), Health.OK, 0),
        (RateSeen((), 0.0, 0, 0), Health.WARN, 0),
    ],
)
def test_it_warns_above_the_pace_share_and_in_a_pause_and_trips_at_a_ban_or_above_95_percent(
    rates: Any, venues: dict[str, RateSeen], state: RateSeen, health: Health, trips: int
) -> None:
    venues["binance-um"] = state
    rates.watch.look()
    assert rates.last.health is health
    assert len(rates.trips) == trips
    if trips:
        assert "binance-um" in rates.trips[0][0]
        assert "binance-spot" not in rates.trips[0][0]


def test_a_ban_is_one_cause_however_long_it_lasts_and_clears_with_its_end(
    rates: Any, venues: dict[str, RateSeen]
) -> None:
    for left_s in (120.0, 60.0, 1.0):
        venues["binance-um"] = seen(paused_s=left_s, status=418)
        rates.run_s(5)
    assert rates.trips == [("binance-um has banned us (HTTP 418) until 2026-09-21T14:15:20Z", "guard:rate_limit")]
    assert rates.watch.blocker is not None
    venues["binance-um"] = seen(status=418)
    rates.watch.look()
    assert rates.watch.blocker is None


def test_a_limit_that_is_used_up_is_one_cause_and_clears_with_its_window(
    rates: Any, venues: dict[str, RateSeen]
) -> None:
    for used in (2300, 2350, 2399):
        venues["binance-um"] = seen(used)
        rates.run_s(1)
    assert rates.trips == [("binance-um more than 95% of 2400 weight_1m used", "guard:rate_limit")]
    venues["binance-um"] = seen(3)
    rates.watch.look()
    assert rates.watch.blocker is None


def test_every_window_is_shown_with_what_is_used_and_its_limit(rates: Any, venues: dict[str, RateSeen]) -> None:
    rates.watch.look()
    assert rates.last.metrics["binance-um.weight_1m"] == "100/2400"
    assert rates.last.metrics["binance-um.weight_1m_share"] == 0.042
    assert rates.last.metrics["binance-um.paused_s"] == 0.0
