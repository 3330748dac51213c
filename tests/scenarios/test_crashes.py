"""Killed at every crash point, with a lot open: the next life reaches "ledger equals venue" or says why not."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from propbot.domain.mode import Mode
from propbot.kit.crash import CRASH_POINTS
from propbot.simulate.truth import assert_invariants
from propbot.simulate.world import open_world
from tests.scenarios.test_trading import assert_pnl_identity, hold_still

RECOVERY_S = 30.0
PASSAGES = {"state-rename:before": 20, "state-rename:after": 20}
"""The state is saved every second from the start on; the others are met while it trades; test_two_man has those of
an approval, test_rotation those of an exchange of keys."""


@pytest.mark.parametrize("passage", [1, pytest.param(4, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("point", [each for each in CRASH_POINTS if not each.startswith(("approval-", "secret-"))])
async def test_a_kill_at_a_crash_point_loses_nothing(
    tmp_path: Path, autojump_clock: MockClock, point: str, passage: int
) -> None:
    async with open_world(tmp_path, seed=passage, EXIT_EDGE_BPS="-3") as world:
        bot = await world.start_bot()
        with trio.fail_after(60):
            while not bot.blotter.lots:
                await trio.sleep(0.05)
        await trio.sleep(1)
        await world.kill_bot()

        await world.start_bot(f"{point}:{passage * PASSAGES.get(point, 1)}")
        with trio.fail_after(120):
            await world.wait_dead()

        bot = await world.start_bot()
        with trio.move_on_after(RECOVERY_S):
            while not (bot.modes.ready or bot.modes.view.mode is Mode.HOLD):
                await trio.sleep(0.1)
        assert bot.modes.ready, bot.modes.view
        assert bot.modes.view.mode is Mode.RUN, bot.modes.view
        await trio.sleep(130)
        assert abs(bot.blotter.exposure()) < Decimal("0.001")
        await hold_still(world)
        assert_pnl_identity(world)
        await world.stop_bot()
        assert_invariants(world)
