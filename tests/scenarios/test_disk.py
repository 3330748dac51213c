"""What is kept over restarts beside the ledger, and what a start makes of files that it can't trust."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from propbot.control.desk import ServiceDesk
from propbot.control.state_file import FILE_NAME
from propbot.domain.mode import Mode
from propbot.ledger.reads import EventFilter
from propbot.service import Service
from propbot.simulate.truth import assert_invariants
from propbot.simulate.world import World, open_world
from propbot.status.desk import ControlPatch, Done


async def _ready(world: World, **more: str) -> Service:
    bot = await world.start_bot(**more)
    with trio.fail_after(30):
        while not bot.modes.ready:
            await trio.sleep(0.1)
    return bot


async def _patch(bot: Service, **changes: object) -> Done:
    outcome = await ServiceDesk(bot, bot.keeper).apply_control(ControlPatch(**changes), "ann")  # type: ignore[arg-type]
    assert isinstance(outcome, Done), outcome
    return outcome


async def _said(bot: Service, kind: str) -> list[str]:
    await trio.sleep(1)
    return [row.message for row in (await bot.ledger.events_page(500, None, EventFilter(kind=kind)))[0]]


async def test_parameters_and_counters_survive_a_kill_right_after_the_answer(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        bot = await _ready(world)
        await _patch(bot, safe_mode=True)
        bot.counters.put("day_peak_usdt", "200001.5")
        await _patch(bot, order_notional_usdt=Decimal(700), max_slippage_bps=Decimal("1.5"), drain_timeout_sec=5.0)
        await world.kill_bot()

        bot = await _ready(world)
        rules = bot.pipeline.rules
        assert (rules.order_notional, rules.max_slippage_bps, bot.drain_timeout_s) == (Decimal(700), Decimal("1.5"), 5)
        assert bot.pipeline.limits.order_notional == Decimal(700)
        assert bot.modes.view.safe_mode
        assert bot.counters.get("day_peak_usdt") == "200001.5"
        assert any("order_notional_usdt is 700, as an operator set it" in text for text in await _said(bot, "config"))
        await world.stop_bot()

        bot = await _ready(world, ORDER_NOTIONAL_USDT="400")
        assert bot.pipeline.rules.order_notional == Decimal(400)
        assert bot.pipeline.rules.max_slippage_bps == Decimal("1.5")
        changed = "ORDER_NOTIONAL_USDT changed in the environment, 1000 -> 400"
        assert any(changed in text for text in await _said(bot, "config"))
        await world.stop_bot()
        assert_invariants(world)


@pytest.mark.parametrize("damage", ["torn", "foreign", "newer", "folder"])
async def test_a_state_file_that_can_not_be_used_is_a_hold_that_lasts(
    tmp_path: Path, autojump_clock: MockClock, damage: str
) -> None:
    async with open_world(tmp_path) as world:
        await _ready(world)
        await world.stop_bot()
        path = tmp_path / "bot" / FILE_NAME
        whole = path.read_bytes()
        match damage:
            case "torn":
                path.write_bytes(whole[: len(whole) // 2])
            case "foreign":
                path.write_bytes(json.dumps({"their": "file"}).encode())
            case "newer":
                path.write_bytes(whole.replace(b'"schema": 2', b'"schema": 3'))
            case _:
                path.unlink()
                path.mkdir()
        bot = await _ready(world)
        hold = bot.modes.view.hold
        assert hold is not None
        assert hold.first.source == "guard:state"
        assert FILE_NAME in hold.first.reason
        assert len(list((tmp_path / "bot").glob(f"{FILE_NAME}.bad-*"))) == 1
        await world.stop_bot()

        bot = await _ready(world)
        assert bot.modes.view.mode is Mode.HOLD, "a HOLD that somebody should look at is not carried away"
        await world.stop_bot()
