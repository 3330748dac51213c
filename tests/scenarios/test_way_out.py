"""An exposure that no wind-down could close: HOLD names it, RUN is refused, and DRAIN is the way out."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from propbot.control.modes import ResumeRefused
from propbot.domain.instruments import VenueId
from propbot.domain.lots import Intent
from propbot.domain.mode import Mode
from propbot.domain.orders import OrderRequest, Purpose, Side
from propbot.service import Service
from propbot.simulate.truth import assert_invariants
from propbot.simulate.world import World, open_world
from tests.scenarios.test_trading import assert_pnl_identity


async def hold_naked(world: World) -> Service:
    """A HOLD with a naked leg that nobody would take; the venues take orders again afterwards."""
    bot = await world.start_bot()
    await trio.sleep(12)
    world.inject("binance-um", "reject_order", count=None)
    world.inject("binance-spot", "reject_order", after=1, count=None)
    with trio.fail_after(120):
        await bot.modes.level.wait(lambda view: view.mode is Mode.HOLD)
        await bot.winddown.done.wait()
    assert world.access.inside is not None
    world.access.inside.faults.clear()
    await trio.sleep(70)  # the breaker, which equal refusals trip as well, wants a quiet minute
    assert abs(bot.blotter.exposure()) >= bot.lot_step(), bot.modes.view.hold
    return bot


async def test_drain_hedges_and_closes_what_the_wind_down_could_not_and_opens_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=5) as world:
        bot = await hold_naked(world)
        with pytest.raises(ResumeRefused, match="mode DRAIN is possible: it hedges and closes, opens nothing"):
            bot.modes.resume("test")
        began = trio.current_time()
        bot.modes.resume("test", Mode.DRAIN)
        with pytest.raises(ResumeRefused, match="DRAIN is still closing an exposure"):
            bot.modes.resume("test")
        with trio.fail_after(70):
            await bot.modes.level.wait(lambda view: view.mode is Mode.HOLD)
        assert bot.modes.view.hold is not None
        assert "drained: flat" in bot.modes.view.hold.line()
        assert abs(bot.blotter.exposure()) < bot.lot_step()
        assert bot.blotter.lots == {}
        purposes = {row["purpose"] for row in world.of_kind("order_send") if row["t"] >= began}
        assert purposes <= {"hedge", "unwind", "close"}
        await bot.winddown.done.wait()
        bot.modes.resume("test")
        await trio.sleep(30)
        bot.modes.hold("rest", "operator:test")
        await trio.sleep(130)
        assert_pnl_identity(world)
        await world.stop_bot()
        assert_invariants(world)


async def test_a_drain_whose_exposure_nobody_takes_is_a_hold_again_that_names_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=5) as world:
        bot = await hold_naked(world)
        for venue in ("binance-um", "binance-spot"):
            world.inject(venue, "reject_order", count=None)
        bot.modes.resume("test", Mode.DRAIN)
        with trio.fail_after(6):
            await bot.modes.level.wait(lambda view: view.mode is Mode.HOLD)
        assert bot.modes.view.hold is not None
        assert "naked" in bot.modes.view.hold.line()


async def test_another_blocker_keeps_drain_from_being_the_way_out(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=5) as world:
        bot = await hold_naked(world)
        bot.task_ended("bookkeeper", None, "it returned")
        for mode in (Mode.RUN, Mode.DRAIN):
            with pytest.raises(ResumeRefused, match="bookkeeper is dead") as refused:
                bot.modes.resume("test", mode)
            assert "DRAIN is possible" not in str(refused.value)


async def test_a_fill_of_a_closed_lot_is_a_hold_and_drain_takes_it_back(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=5) as world:
        bot = await world.start_bot(MIN_SPREAD_BPS="100")
        await trio.sleep(12)
        venue = VenueId("binance-spot")
        ask = bot.market.books[venue].best_ask
        leg = OrderRequest(
            bot.executor.ids.client_order_id(), venue, "BTCUSDT", Side.BUY, Purpose.OPEN, Decimal("0.01"),
            Decimal(round(ask * 1.001)),
        )
        intent = Intent("late", "BTCUSDT", Purpose.OPEN, "a-closed-lot", (leg,), bot.seams.clock.wall_ns())
        await bot.executor.execute(intent)
        with trio.fail_after(8):
            await bot.modes.level.wait(lambda view: view.mode is Mode.HOLD)
        assert bot.modes.view.hold is not None
        assert "net exposure 0.009998 BTC" in bot.modes.view.hold.line()
        await bot.winddown.done.wait()
        bot.modes.resume("test", Mode.DRAIN)
        with trio.fail_after(70):
            await bot.modes.level.wait(lambda view: view.mode is Mode.HOLD)
        assert "drained: flat" in bot.modes.view.hold.line()
        assert abs(bot.blotter.exposure()) < bot.lot_step()
        assert bot.blotter.lots == {}
        await trio.sleep(130)
        assert_pnl_identity(world)
        await world.stop_bot()
        assert_invariants(world)
