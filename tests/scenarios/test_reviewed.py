"""What a review of the running service found, each as the scenario that showed it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from propbot.control.modes import ResumeRefused
from propbot.domain.mode import Mode
from propbot.simulate.truth import assert_invariants
from propbot.simulate.world import open_world
from tests.scenarios.test_trading import hold_still


async def test_hold_is_not_left_before_its_wind_down_has_ended_so_that_a_leg_is_hedged_once(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=5) as world:
        bot = await world.start_bot()
        await trio.sleep(12)
        world.inject("binance-um", "drop_request", count=1)
        with trio.fail_after(60):
            while not any(row["state"] == "UNKNOWN" for row in world.of_kind("order_state")):
                await trio.sleep(0.01)
        bot.modes.hold("drill", "operator:test")
        await trio.sleep(0.5)
        with pytest.raises(ResumeRefused, match="wind-down"):
            bot.modes.resume("test")
        await bot.winddown.done.wait()
        assert abs(bot.blotter.exposure()) < Decimal("0.001")
        hedges = [row for row in world.of_kind("order_send") if row["purpose"] in ("hedge", "unwind")]
        assert len(hedges) <= 2
        await trio.sleep(130)
        bot.modes.resume("test")
        await trio.sleep(20)
        await hold_still(world)
        await world.stop_bot()
        assert_invariants(world)


async def test_every_hold_gets_its_own_wind_down(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, seed=5) as world:
        bot = await world.start_bot()
        await trio.sleep(12)
        for number in range(3):
            bot.modes.hold(f"drill {number}", "operator:test")
            assert not bot.winddown.done.is_set()
            await bot.winddown.done.wait()
            bot.modes.resume("test")
        bot.modes.hold("the last", "operator:test")
        await bot.winddown.done.wait()
        assert bot.modes.view.hold is not None
        assert bot.modes.view.hold.cancel is not None
        assert len([row for row in world.of_kind("winddown") if row["state"] == "begins"]) == 4


async def test_pairs_that_fail_again_and_again_are_a_hold_after_a_handful(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=5) as world:
        bot = await world.start_bot()
        await trio.sleep(12)
        sent = len(world.of_kind("order_send"))
        world.inject("binance-um", "reject_order", count=None)
        world.inject("binance-spot", "reject_order", count=None)
        with trio.fail_after(60):
            await bot.modes.level.wait(lambda view: view.mode is Mode.HOLD)
        line = bot.modes.view.hold.line()
        assert "in a row failed" in line or "naked" in line or "refused 5 orders in a row" in line
        assert len(world.of_kind("order_send")) - sent < 60


async def test_a_dead_engine_task_keeps_hold_from_being_left(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, seed=5) as world:
        bot = await world.start_bot()
        await trio.sleep(12)
        bot.task_ended("bookkeeper", None, "it returned")
        await bot.winddown.done.wait()
        with pytest.raises(ResumeRefused, match="bookkeeper is dead"):
            bot.modes.resume("test")


async def test_fills_that_the_private_stream_never_brings_are_found_by_reconciliation(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=5) as world:
        bot = await world.start_bot()
        await trio.sleep(12)
        world.inject("binance-um", "silent_private", params={"seconds": 60.0})
        await trio.sleep(60)
        assert bot.modes.view.mode is Mode.RUN, bot.modes.view.hold
        await trio.sleep(130)
        await hold_still(world)
        await world.stop_bot()
        assert_invariants(world)
