"""When each guard trips, when it warns, and when its trip is over, on a clock driven by hand."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve

from propbot.domain.status import Health
from propbot.guards.clock_skew import ClockSkewGuard
from propbot.guards.feed_stale import FeedStaleGuard
from propbot.guards.hedge import HedgeGuard
from propbot.guards.ledger import LedgerGuard, LedgerSeen
from propbot.guards.preflight import PreflightGuard, PreflightSeen
from propbot.guards.recon import ReconGuard, ReconSeen

# --- clock_skew


@pytest.fixture
def offsets() -> dict[str, float | None]:
    return {"binance-um": 3.0, "binance-spot": -12.0}


@pytest.fixture
def skew(watched: Any, seconds: Any, offsets: dict[str, float | None]) -> Any:
    return watched(ClockSkewGuard(lambda: offsets, seconds))


@pytest.mark.parametrize(
    ("ms", "health", "trips"),
    [
        (199.0, Health.OK, 0), (200.0, Health.WARN, 0), (-200.0, Health.WARN, 0), (999.0, Health.WARN, 0),
        (1000.0, Health.ERROR, 1), (-1000.0, Health.ERROR, 1), (3_600_000.0, Health.ERROR, 1),
    ],
)  # fmt: skip
def test_the_clock_warns_at_200_ms_and_trips_at_a_second_either_way(
    skew: Any, offsets: dict[str, float | None], ms: float, health: Health, trips: int
) -> None:
    offsets["binance-spot"] = ms
    skew.watch.look()
    assert skew.last.health is health
    assert len(skew.trips) == trips
    if trips:
        assert "binance-spot" in skew.trips[0][0]
        assert "binance-um" not in skew.trips[0][0]


def test_the_clock_clears_after_ten_seconds_below_500_ms(skew: Any, offsets: dict[str, float | None]) -> None:
    offsets["binance-um"] = -1500.0
    skew.watch.look()
    offsets["binance-um"] = -600.0
    skew.run_s(30)
    assert skew.watch.blocker is not None
    offsets["binance-um"] = -499.0
    skew.run_s(9)
    assert skew.watch.blocker is not None
    offsets["binance-um"] = -501.0
    skew.run_s(1)
    offsets["binance-um"] = 0.0
    skew.run_s(9.9)
    assert skew.watch.blocker is not None, "ten seconds without interruption"
    skew.run_s(0.4)
    assert skew.watch.blocker is None
    assert len(skew.trips) == 1


def test_a_clock_that_drifts_further_while_tripped_is_one_trip(skew: Any, offsets: dict[str, float | None]) -> None:
    for ms in (1000.0, 1003.4, 1500.0, 1001.0):
        offsets["binance-um"] = ms
        skew.watch.look()
    assert len(skew.trips) == 1


def test_a_clock_that_was_not_measured_is_unknown_and_trips_nothing(
    skew: Any, offsets: dict[str, float | None]
) -> None:
    offsets["binance-um"] = None
    skew.watch.look()
    assert skew.last.health is Health.WARN
    assert "unknown" in skew.last.summary
    assert skew.last.metrics["binance-um.offset_ms"] is None
    assert skew.trips == []


# --- feed_stale


class Feeds:
    def __init__(self) -> None:
        self.ages: dict[str, float | None] = {"binance-um": 0.1, "binance-spot": 0.2}
        self.exposed = False


@pytest.fixture
def feeds() -> Feeds:
    return Feeds()


@pytest.fixture
def stale(watched: Any, seconds: Any, feeds: Feeds) -> Any:
    return watched(FeedStaleGuard(lambda: feeds.ages, lambda: feeds.exposed, seconds, 1.5))


@pytest.mark.parametrize("age", [1.6, 600.0, None])
@pytest.mark.parametrize(("exposed", "patience_s"), [(False, 60), (True, 3)])
def test_a_silent_book_trips_after_a_minute_or_three_seconds_with_exposure(
    stale: Any, feeds: Feeds, age: float | None, exposed: bool, patience_s: float
) -> None:
    feeds.ages["binance-spot"], feeds.exposed = age, exposed
    stale.watch.look()
    stale.run_s(patience_s - 0.5)
    assert stale.trips == []
    assert stale.last.health is Health.WARN
    stale.run_s(0.7)
    ((reason, source),) = stale.trips
    assert source == "guard:feed_stale"
    assert "binance-spot" in reason
    assert "binance-um" not in reason
    assert ("exposure" in reason) is exposed


def test_a_silence_that_lasts_is_one_trip_and_not_one_a_second(stale: Any, feeds: Feeds) -> None:
    feeds.ages["binance-spot"] = None
    stale.run_s(180)
    assert len(stale.trips) == 1


def test_exposure_that_comes_during_a_silence_trips_at_once_if_it_has_lasted(stale: Any, feeds: Feeds) -> None:
    feeds.ages["binance-um"] = 9.0
    stale.run_s(10)
    assert stale.trips == []
    feeds.exposed = True
    stale.run_s(0.1)
    assert len(stale.trips) == 1


def test_a_short_silence_starts_the_patience_anew(stale: Any, feeds: Feeds) -> None:
    for _ in range(3):
        feeds.ages["binance-um"] = None
        stale.run_s(50)
        feeds.ages["binance-um"] = 0.1
        stale.run_s(1)
    assert stale.trips == []


def test_the_silence_is_over_after_ten_fresh_seconds_of_all_books(stale: Any, feeds: Feeds) -> None:
    feeds.ages["binance-um"] = None
    stale.run_s(61)
    feeds.ages["binance-um"] = 0.1
    stale.run_s(9)
    feeds.ages["binance-spot"] = 2.0
    stale.run_s(0.5)
    feeds.ages["binance-spot"] = 0.1
    stale.run_s(9.8)
    assert stale.watch.blocker is not None
    stale.run_s(0.5)
    assert stale.watch.blocker is None


def test_a_fresh_book_is_ok_and_shows_its_age(stale: Any) -> None:
    stale.watch.look()
    assert stale.last.health is Health.OK
    assert stale.last.metrics == {"binance-um.book_age_s": 0.1, "binance-spot.book_age_s": 0.2}


# --- hedge


class Exposure:
    base = Decimal(0)


@pytest.fixture
def exposure() -> Exposure:
    return Exposure()


@pytest.fixture
def hedge(watched: Any, seconds: Any, exposure: Exposure) -> Any:
    return watched(HedgeGuard(lambda: exposure.base, lambda: Decimal("0.001"), "BTC", seconds, 5.0))


@pytest.mark.parametrize("base", ["0.001", "-0.001", "0.5", "-7"])
def test_exposure_is_a_hold_by_the_deadline_and_not_before(hedge: Any, exposure: Exposure, base: str) -> None:
    exposure.base = Decimal(base)
    hedge.watch.look()
    hedge.run_s(4.9, 0.05)
    assert hedge.trips == []
    hedge.run_s(0.1, 0.05)
    ((reason, source),) = hedge.trips
    assert (reason, source) == (f"net exposure {base} BTC for longer than 5 s", "guard:hedge")


def test_dust_is_no_exposure(hedge: Any, exposure: Exposure) -> None:
    exposure.base = Decimal("0.000999")
    hedge.run_s(60)
    assert hedge.trips == []
    assert hedge.last.health is Health.OK


def test_exposure_that_is_closed_in_between_starts_anew(hedge: Any, exposure: Exposure) -> None:
    for _ in range(3):
        exposure.base = Decimal("0.01")
        hedge.run_s(4)
        exposure.base = Decimal(0)
        hedge.run_s(0.1)
    assert hedge.trips == []


def test_exposure_that_only_changes_sign_goes_on(hedge: Any, exposure: Exposure) -> None:
    exposure.base = Decimal("0.01")
    hedge.run_s(3)
    exposure.base = Decimal("-0.01")
    hedge.run_s(2.1)
    assert len(hedge.trips) == 1


def test_a_closed_exposure_clears_at_once(hedge: Any, exposure: Exposure) -> None:
    exposure.base = Decimal("0.01")
    hedge.run_s(6)
    assert hedge.watch.blocker is not None
    exposure.base = Decimal("0.0001")
    hedge.watch.look()
    assert hedge.watch.blocker is None


# --- ledger


@pytest.mark.parametrize(
    ("seen", "trips"),
    [
        (LedgerSeen(None, 0.0, None), 0),
        (LedgerSeen(None, 2.0, 0.4), 0),
        (LedgerSeen(None, 2.01, 0.4), 1),
        (LedgerSeen("disk full", 0.0, 0.4), 1),
    ],
)
def test_a_write_that_failed_or_hangs_trips(watched: Any, seen: LedgerSeen, trips: int) -> None:
    ledger = watched(LedgerGuard(lambda: seen))
    ledger.run_s(5)
    assert len(ledger.trips) == trips
    assert (ledger.last.health is Health.OK) is (trips == 0)


def test_the_ledger_clears_once_a_write_went_through(watched: Any) -> None:
    state = [LedgerSeen("disk full", 0.0, 0.4)]
    ledger = watched(LedgerGuard(lambda: state[0]))
    ledger.watch.look()
    assert "disk full" in ledger.watch.blocker
    state[0] = LedgerSeen(None, 0.0, 0.5)
    ledger.watch.look()
    assert ledger.watch.blocker is None
    assert ledger.last.metrics == {"last_write_ms": 0.5, "waiting_s": 0.0}


def test_a_ledger_that_has_written_nothing_is_unknown_in_its_metric(watched: Any) -> None:
    ledger = watched(LedgerGuard(lambda: LedgerSeen(None, 0.0, None)))
    ledger.watch.look()
    assert ledger.last.metrics["last_write_ms"] is None


# --- recon


def _seen(verdict: str, differed: int = 0, agreed: int = 0, **changes: Any) -> ReconSeen:
    text = ("binance-um BTCUSDT ledger 0.012, venue 0.010",) if verdict == "differs" else ()
    plain: dict[str, Any] = {"differences": text, "detail": "", "age_s": 1.0, "foreign_orders": 0} | changes
    return ReconSeen(verdict, differed_in_a_row=differed, agreed_in_a_row=agreed, **plain)


AGREED = _seen("agrees", agreed=2)


@pytest.fixture
def venues() -> dict[str, ReconSeen | None]:
    return {"binance-um": AGREED, "binance-spot": AGREED}


@pytest.fixture
def recon(watched: Any, venues: dict[str, ReconSeen | None]) -> Any:
    return watched(ReconGuard(lambda: venues))


def test_one_difference_is_shown_and_two_in_a_row_trip(recon: Any, venues: dict[str, ReconSeen | None]) -> None:
    venues["binance-um"] = _seen("differs", differed=1)
    recon.watch.look()
    assert recon.last.health is Health.ERROR
    assert recon.trips == []
    venues["binance-um"] = _seen("differs", differed=2)
    recon.run_s(10)
    assert recon.trips == [("binance-um BTCUSDT ledger 0.012, venue 0.010", "guard:recon")]


def test_it_clears_when_all_venues_have_agreed_twice(recon: Any, venues: dict[str, ReconSeen | None]) -> None:
    venues["binance-um"] = _seen("differs", differed=2)
    recon.watch.look()
    for state in (_seen("agrees", agreed=1), _seen("unreachable", agreed=1)):
        venues["binance-um"] = state
        recon.watch.look()
        assert recon.watch.blocker is not None
    venues["binance-um"] = AGREED
    venues["binance-spot"] = _seen("agrees", agreed=1)
    recon.watch.look()
    assert recon.watch.blocker is not None
    venues["binance-spot"] = AGREED
    recon.watch.look()
    assert recon.watch.blocker is None
    assert recon.last.health is Health.OK


def test_a_venue_that_was_not_compared_is_unknown(recon: Any, venues: dict[str, ReconSeen | None]) -> None:
    venues["binance-spot"] = None
    recon.watch.look()
    assert recon.last.health is Health.WARN
    assert "unknown" in recon.last.summary
    assert recon.last.metrics["binance-spot.verdict"] is None


def test_an_unreachable_venue_and_a_foreign_open_order_warn(
    recon: Any, venues: dict[str, ReconSeen | None]
) -> None:
    venues["binance-um"] = _seen("unreachable", detail="binance-um: no answer")
    recon.watch.look()
    assert (recon.last.health, recon.last.summary) == (Health.WARN, "binance-um: binance-um: no answer")
    venues["binance-um"] = _seen("agrees", agreed=2, foreign_orders=3)
    recon.watch.look()
    assert (recon.last.health, recon.last.summary) == (
        Health.WARN, "foreign, not ours to touch: binance-um 3 open orders"
    )
    venues["binance-um"] = evolve(_seen("agrees", agreed=2), foreign_positions=("ETHUSDT 0.5",))
    recon.watch.look()
    assert (recon.last.health, recon.last.summary) == (
        Health.WARN, "foreign, not ours to touch: binance-um position ETHUSDT 0.5"
    )
    assert recon.trips == []


@pytest.mark.parametrize("never", [None, "inconclusive"])
def test_a_venue_that_never_agreed_in_this_life_trips_by_the_time_since_the_start(
    watched: Any, seconds: Any, never: str | None
) -> None:
    state = None if never is None else evolve(_seen(never), age_s=None)
    uptime = watched(ReconGuard(lambda: {"binance-um": AGREED, "binance-spot": state}, lambda: seconds() - 1000.0))
    uptime.run_s(60)
    assert uptime.trips == []
    uptime.run_s(5)
    assert uptime.trips == [("ledger and venue not compared for more than 60 s: binance-spot", "guard:recon")]


# --- preflight


def test_a_failed_preflight_trips_until_one_passes(watched: Any) -> None:
    seen = PreflightSeen()
    preflight = watched(PreflightGuard(lambda: seen))
    preflight.watch.look()
    assert preflight.last.health is Health.WARN
    assert preflight.last.summary == "unknown: not run yet"
    seen = PreflightSeen(False, ("binance-um does not answer",), age_s=0.2, measured={"disk_free_mb": 7})
    preflight.run_s(1)
    assert preflight.trips == [("binance-um does not answer", "guard:preflight")]
    assert preflight.last.metrics == {"age_s": 0, "disk_free_mb": 7}
    assert preflight.watch.blocker is not None
    seen = PreflightSeen(True, warnings=("binance-um: isolated margin",))
    preflight.watch.look()
    assert preflight.watch.blocker is None
    assert (preflight.last.health, preflight.last.summary) == (Health.WARN, "binance-um: isolated margin")
    seen = PreflightSeen(True)
    preflight.watch.look()
    assert preflight.last.health is Health.OK


def test_a_refused_key_trips_also_between_two_preflights(watched: Any) -> None:
    seen = PreflightSeen(True)
    preflight = watched(PreflightGuard(lambda: seen))
    seen = PreflightSeen(True, refused=("binance-spot refuses our key: bad signature",))
    preflight.watch.look()
    assert preflight.trips == [("binance-spot refuses our key: bad signature", "guard:preflight")]
    seen = PreflightSeen(True)
    preflight.watch.look()
    assert preflight.watch.blocker is None


def test_an_order_to_drain_gives_the_exposure_its_time_anew(watched: Any, seconds: Any) -> None:
    guard = HedgeGuard(lambda: Decimal("0.01"), lambda: Decimal("0.001"), "BTC", seconds, 5.0)
    hedge = watched(guard)
    hedge.run_s(6)
    assert len(hedge.trips) == 1
    guard.begin_anew()
    hedge.watch.tripped = None
    hedge.run_s(4)
    assert len(hedge.trips) == 1
    hedge.run_s(2)
    assert len(hedge.trips) == 2
