"""The house's own guards against the whole service: what must make each trip does, within a second, and nothing leaves
afterwards."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
import trio
from attrs import evolve
from trio.testing import MockClock

from propbot.domain.instruments import VenueId
from propbot.domain.lots import Intent, Lot, LotState
from propbot.domain.mode import Mode
from propbot.domain.orders import OrderRequest, Purpose, Side
from propbot.guards.watch import Watch
from propbot.guards.watchdog import Watchdog
from propbot.service import Service
from propbot.simulate.world import World, open_world

UM = VenueId("binance-um")


def first_cause(bot: Service) -> tuple[str, str]:
    assert bot.modes.view.hold is not None
    return bot.modes.view.hold.first.source, bot.modes.view.hold.first.reason


def venue_orders(world: World) -> int:
    return len(world.of_kind("order", "venue"))


async def run_wild(bot: Service) -> None:
    """A strategy gone mad, past risk: small orders, one after the other, as fast as they are answered."""
    for number in range(60):
        mark = bot.market.mark(UM)
        assert mark is not None
        side = Side.BUY if number % 2 else Side.SELL
        leg = OrderRequest(
            bot.executor.ids.client_order_id(), UM, bot.pair, side, Purpose.OPEN, Decimal("0.002"),
            (mark * (Decimal("1.001") if side is Side.BUY else Decimal("0.999"))).quantize(Decimal("0.1")),
        )
        lot = Lot(
            f"wild-{number}", bot.pair, LotState.OPENING, UM, VenueId("binance-spot"), Decimal("0.002"),
            bot.seams.clock.wall_ns(), Decimal(0), Decimal(0), Decimal(0),
        )
        await bot.executor.execute(
            Intent(f"wild-{number}", bot.pair, Purpose.OPEN, lot.id, (leg,), bot.seams.clock.wall_ns()), lot
        )


async def test_the_order_after_the_last_allowed_one_never_leaves(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, seed=3, MAX_ORDERS_PER_MIN="40", MIN_SPREAD_BPS="100") as world:
        bot = await world.start_bot()
        await trio.sleep(5)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_wild, bot)
            await bot.modes.level.wait(lambda view: view.mode is Mode.HOLD)
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
        assert first_cause(bot) == (
            "guard:runaway_breaker", "40 orders within a minute are the most; the next one was stopped"
        )
        assert 36 <= venue_orders(world) <= 40, "a tenth is kept for hedges"
        await trio.sleep(20)
        assert venue_orders(world) <= 40


async def test_equal_rejections_in_a_row_stop_the_venue_s_fifth_from_being_its_sixth(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=5) as world:
        bot = await world.start_bot()
        await trio.sleep(12)
        world.inject("binance-um", "reject_order", count=1000)
        with trio.fail_after(300):
            await bot.modes.level.wait(lambda view: view.mode is Mode.HOLD)
        source, reason = first_cause(bot)
        assert source == "guard:runaway_breaker"
        assert reason.startswith("binance-um refused 5 orders in a row the same way: code ")


async def test_risk_opens_nothing_above_half_of_the_breaker_s_limit(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, seed=5, MAX_ORDERS_PER_MIN="4") as world:
        bot = await world.start_bot()
        bot.pipeline.rules = evolve(bot.pipeline.rules, min_spread_bps=Decimal(-50))
        seen = set()
        for _ in range(200):
            await trio.sleep(0.1)
            seen |= {refused.code for refused in bot.pipeline.refusals}
        assert seen == {"order_rate"}
        assert len([row for row in world.of_kind("order_send") if row["purpose"] == "open"]) == 2


async def test_a_book_that_is_lost_three_times_in_a_minute_is_a_hold_that_clears(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=5) as world:
        bot = await world.start_bot()
        await trio.sleep(12)
        for _ in range(3):
            world.inject("binance-spot", "depth_gap", count=1)
            await trio.sleep(6)
        assert first_cause(bot) == ("guard:book_integrity", "binance-spot: 3 resyncs within a minute")
        assert bot.watches["book_integrity"].blocker is not None
        await trio.sleep(61)
        assert bot.blockers() == []


async def test_a_maintenance_window_stops_trading_and_lets_it_go_on_afterwards(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    window = "2026-09-21T14:14:00Z/2026-09-21T14:15:00Z"
    async with open_world(tmp_path, seed=5, MAINTENANCE_WINDOWS=window) as world:
        bot = await world.start_bot()
        await trio.sleep(5)
        calendar = bot.board.component("maintenance_calendar")
        assert calendar is not None
        assert (str(calendar.status), bot.modes.view.mode) == ("WARN", Mode.RUN)
        await bot.modes.level.wait(lambda view: view.mode is Mode.HOLD)
        assert first_cause(bot) == ("guard:maintenance_calendar", f"maintenance window {window}")
        assert 0 <= bot.seams.clock.wall_ns() / 1e9 - 1_790_000_040 < 0.5
        await trio.sleep(70)
        assert bot.blockers() == []


async def test_the_day_s_loss_is_a_hold_until_an_operator_has_seen_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=5, MAX_DAILY_LOSS_USDT="0.4", MIN_SPREAD_BPS="0") as world:
        bot = await world.start_bot()
        with trio.fail_after(900):
            await bot.modes.level.wait(lambda view: view.mode is Mode.HOLD)
        assert first_cause(bot) == ("guard:kill_caps", "the day's loss from its peak is beyond 0.4 USDT")
        await trio.sleep(120)
        assert [reason for reason in bot.blockers() if "kill_caps" in reason], "no time heals it"
        peak = Decimal(bot.counters.get("day.peak_pnl_usdt") or "NaN")
        await world.kill_bot()
        bot = await world.start_bot(MAX_DAILY_LOSS_USDT="1000")
        await trio.sleep(20)
        assert Decimal(bot.counters.get("day.peak_pnl_usdt") or "NaN") >= peak, "the day goes on"
        assert [reason for reason in bot.blockers() if "kill_caps" in reason], "nor does a restart"
        for incident in bot.incidents.all():
            bot.incidents.acknowledge(incident.id, "ann", "")
        await trio.sleep(1)
        assert bot.blockers() == []
        bot.modes.resume("ann")
        assert bot.modes.view.mode is Mode.RUN


async def test_failed_spreads_stop_trading_until_acknowledged_and_a_resume_counts_anew(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=5, MAX_FAILED_SPREADS="2") as world:
        bot = await world.start_bot()
        await trio.sleep(12)
        for venue in ("binance-um", "binance-spot"):
            world.inject(venue, "reject_order", count=2)
        with trio.fail_after(300):
            await bot.modes.level.wait(lambda view: view.mode is Mode.HOLD)
        assert first_cause(bot) == (
            "guard:kill_caps", "2 spreads in a row failed; see orders for the venues' reasons"
        )
        await trio.sleep(10)
        for incident in bot.incidents.all():
            bot.incidents.acknowledge(incident.id, "ann", "")
        await trio.sleep(1)
        assert bot.blockers() == []
        bot.modes.resume("ann")
        await trio.sleep(0.5)
        assert bot.pipeline.failed_in_a_row == 0


GUARDS = (
    "book_integrity", "clock_skew", "feed_stale", "hedge", "kill_caps", "ledger", "loop_lag", "maintenance_calendar",
    "recon", "runaway_breaker", "slo", "rate_limit", "listing", "cancel_on_disconnect",
)


@pytest.mark.parametrize("guard_id", GUARDS)
async def test_a_guard_that_hangs_is_a_hold_within_a_second_until_it_looks_again(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, guard_id: str
) -> None:
    hanging = trio.Event()
    freed = trio.Event()
    run = Watch.run

    async def run_until_told(self: Watch) -> None:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run, self)
                if self.guard.id == guard_id:
                    await hanging.wait()
                    scope.cancel()
        await freed.wait()
        await run(self)

    monkeypatch.setattr(Watch, "run", run_until_told)
    async with open_world(tmp_path, seed=5) as world:
        bot = await world.start_bot()
        await trio.sleep(12)
        assert bot.modes.view.mode is Mode.RUN
        hanging.set()
        with trio.fail_after(1):
            await bot.modes.level.wait(lambda view: view.mode is Mode.HOLD)
        assert first_cause(bot) == (f"guard:{guard_id}", f"guard {guard_id} has not looked for 0.7 s")
        await trio.sleep(11)
        assert any(guard_id in reason for reason in bot.blockers())
        shown = bot.board.component(guard_id)
        assert shown is not None
        assert (str(shown.status), shown.summary) == ("ERROR", f"guard {guard_id} has not looked for 0.7 s")
        freed.set()
        await trio.sleep(1)
        assert bot.blockers() == []


async def test_a_watchdog_that_hangs_is_a_hold_too(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Watchdog, "run", lambda self: trio.sleep_forever())
    async with open_world(tmp_path, seed=5) as world:
        bot = await world.start_bot()
        await trio.sleep(2)
        assert first_cause(bot) == ("guard:watchdog", "the guards' watchdog has not looked for 0.7 s")


async def test_a_loop_that_stood_still_is_a_hold_and_clears_after_ten_good_seconds(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=5) as world:
        bot = await world.start_bot()
        await trio.sleep(12)
        autojump_clock.jump(8.0)
        stalled_at = trio.current_time()
        await bot.modes.level.wait(lambda view: view.mode is Mode.HOLD)
        assert trio.current_time() - stalled_at < 0.5
        sources = {cause.source for cause in bot.modes.view.hold.causes}  # type: ignore[union-attr]
        assert first_cause(bot) == ("guard:loop_lag", "the event loop stood still for more than 2 s"), sources
        await trio.sleep(1)
        assert not any("has not looked" in c.reason for c in bot.modes.view.hold.causes)  # type: ignore[union-attr]
        await trio.sleep(20)
        assert bot.blockers() == []


async def test_service_levels_are_measured_from_what_happened(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, seed=5, MIN_SPREAD_BPS="0") as world:
        bot = await world.start_bot()
        await trio.sleep(120)
        readings = {reading.id: reading for reading in bot.slo.readings()}
        sends = world.of_kind("order_send")
        assert readings["order_round_trip_p95"].samples == readings["reject_rate"].samples == len(sends)
        assert 10 <= readings["order_round_trip_p95"].value < 50, "five milliseconds each way"  # type: ignore[operator]
        assert readings["reject_rate"].value == 0.0
        assert 0 < readings["tick_to_order_p95"].samples <= len(sends) // 2
        assert readings["tick_to_order_p95"].value < 50  # type: ignore[operator]
        assert 0 < readings["book_age_p95"].value < 1.5  # type: ignore[operator]
        assert readings["recon_mismatches"].value == 0.0
        assert readings["loop_lag_p99"].value == 0.0
        assert readings["day_drawdown"].value is not None
        assert readings["api_latency_p99"].value is None
        assert {str(reading.state) for reading in readings.values()} <= {"OK", "unknown"}
