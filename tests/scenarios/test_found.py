"""What `propbot simulate` found in the bot, told again without luck; each with the seed that found it."""

from __future__ import annotations

from pathlib import Path

import trio
from trio.testing import MockClock

from propbot.domain.mode import Mode
from propbot.domain.orders import OrderState
from propbot.simulate.truth import assert_invariants
from propbot.simulate.world import open_world
from tests.scenarios.test_trading import hold_still

HOUR_NS = 3600 * 10**9


async def test_a_pause_told_while_the_clock_was_an_hour_ahead_is_no_hour_after_the_restart(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Seed 11: kept by its end on the wall clock, a Retry-After of seconds kept the venue unasked for an hour."""
    async with open_world(tmp_path, seed=11) as world:
        await world.start_bot()
        await trio.sleep(12)
        world.bot_clock.offset_ns = HOUR_NS
        world.inject("binance-um", "rate_limit_429", params={"retry_after": 20.0})
        await trio.sleep(6)
        await world.kill_bot()
        world.bot_clock.offset_ns = 0
        bot = await world.start_bot()
        assert bot.gateways["binance-um"].paused_s <= 20
        with trio.fail_after(60):
            while not bot.modes.ready:
                await trio.sleep(0.1)
        await trio.sleep(130)
        if bot.modes.view.mode is not Mode.HOLD:
            await hold_still(world)
        await world.stop_bot()
        assert_invariants(world)


async def test_an_order_of_before_the_restart_is_asked_for_though_its_venue_is_not_met_yet(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Seed 30: the resolver found no such order and wanted the venue's trades, before the symbol was known to the
    reconciler: the task died of a KeyError, and the order stayed unknown."""
    async with open_world(tmp_path, seed=30) as world:
        bot = await world.start_bot()
        await trio.sleep(12)
        world.inject("binance-spot", "drop_request")
        with trio.fail_after(60):
            while not any(order.state is OrderState.UNKNOWN for order in bot.blotter.in_flight()):
                await trio.sleep(0.05)
        await world.kill_bot()
        world.inject("binance-spot", "rate_limit_429", count=2, params={"retry_after": 6.5})
        bot = await world.start_bot()
        await trio.sleep(90)
        assert [row for row in world.of_kind("hold_cause") if row["source"].startswith("crash:")] == []
        assert bot.blotter.in_flight() == []
        await hold_still(world)
        await world.stop_bot()
        assert_invariants(world)


async def test_old_prices_stay_old_when_our_clock_is_set_back(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Seed 39: with our wall clock an hour back, frames three seconds late seemed to come from the future, fresh."""
    async with open_world(tmp_path, seed=39) as world:
        bot = await world.start_bot()
        await trio.sleep(12)
        for venue in ("binance-um", "binance-spot"):
            world.inject(venue, "late_frames", params={"late_s": 3.0, "seconds": 10.0})
        await trio.sleep(4)
        sent = len(world.of_kind("order_send"))
        world.bot_clock.offset_ns = -HOUR_NS
        await trio.sleep(0.2)  # the clock guard has not looked yet: the market alone must refuse
        assert all("older than" in str(bot.market.distrust(venue)) for venue in bot.market.books)
        await trio.sleep(5)
        world.bot_clock.offset_ns = 0
        assert len(world.of_kind("order_send")) == sent
        await trio.sleep(10)
        await hold_still(world)
        await world.stop_bot()
        assert_invariants(world)


async def test_a_429_whose_body_comes_too_slowly_is_obeyed_all_the_same(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Seeds 26 and 32: the reply was given up before its body was whole, and its Retry-After with it."""
    async with open_world(tmp_path, seed=26) as world:
        bot = await world.start_bot()
        await trio.sleep(12)
        world.inject("binance-um", "rate_limit_429", params={"retry_after": 15.0})
        world.inject("binance-um", "drip_body", params={"every_s": 0.012, "seconds": 15.0})
        with trio.fail_after(20):
            while bot.gateways["binance-um"].paused_s == 0:
                await trio.sleep(0.01)
        told_s = trio.current_time()
        await trio.sleep(14)
        asked = [row for row in world.of_kind("request", "venue") if row["venue"] == "binance-um" and row["t"] > told_s]
        assert asked == []
        await trio.sleep(30)
        await hold_still(world)
        await world.stop_bot()
        assert_invariants(world)


async def test_what_both_venues_say_alike_and_all_of_a_sudden_is_not_believed(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Seed 94: both feeds ten times too low in the same moment agreed with each other, and were traded on."""
    async with open_world(tmp_path, seed=94) as world:
        bot = await world.start_bot()
        await trio.sleep(12)
        for venue in ("binance-um", "binance-spot"):
            world.inject(venue, "absurd_price", params={"factor": 0.1, "seconds": 10.0})
        sent = len(world.of_kind("order_send"))
        await trio.sleep(2)
        assert all("at once" in str(bot.market.distrust(venue)) for venue in bot.market.books)
        await trio.sleep(30)
        later = world.of_kind("order_send")[sent:]
        assert later, "it trades on with the prices that are sound"
        mark = float(world.engine("binance-um").mark_price("BTCUSDT"))
        assert all(0.9 < float(row["price"]) / mark < 1.1 for row in later)
        await hold_still(world)
        await world.stop_bot()
        assert_invariants(world)
