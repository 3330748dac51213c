"""What `propbot simulate` found in the bot, told again without luck; each with the seed that found it."""

from __future__ import annotations

from pathlib import Path

import trio
from trio.testing import MockClock

from propbot.domain.mode import Mode
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
