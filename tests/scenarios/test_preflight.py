"""The preflight of the whole service: at the start before anything is armed, and before HOLD is left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from propbot.control.desk import ServiceDesk
from propbot.control.preflight import AGAIN_S
from propbot.domain.mode import Mode
from propbot.service import Service
from propbot.simulate.world import World, open_world
from propbot.status.desk import Conflict, ControlOutcome, ControlPatch, Done


def clear_faults(world: World) -> None:
    assert world.access.inside is not None
    world.access.inside.faults.clear()


async def resume(bot: Service, mode: Mode = Mode.RUN) -> ControlOutcome:
    return await ServiceDesk(bot, bot.keeper).apply_control(ControlPatch(mode=mode), "test")


async def test_an_account_in_hedge_mode_is_a_hold_before_the_first_order(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=5) as world:
        world.inject("binance-um", "position_mode")
        bot = await world.start_bot()
        await trio.sleep(20)
        assert bot.modes.view.mode is Mode.HOLD
        assert bot.modes.view.hold is not None
        line = bot.modes.view.hold.line()
        assert "guard:preflight: binance-um: the account is in hedge mode" in line
        assert world.of_kind("order_send") == []
        refused = await resume(bot)
        assert isinstance(refused, Conflict)
        assert "hedge mode" in refused.reasons[0]
        world.inject("binance-um", "position_mode", params={"dual": False})
        assert isinstance(await resume(bot), Conflict), "asked a moment ago: it is not asked again at once"
        await trio.sleep(AGAIN_S)
        assert isinstance(await resume(bot), Done)
        assert bot.modes.view.mode is Mode.RUN
        await trio.sleep(20)
        assert world.of_kind("order_send")


@pytest.mark.parametrize("mode", [Mode.RUN, Mode.DRAIN])
async def test_hold_is_left_only_after_a_preflight_that_passes(
    tmp_path: Path, autojump_clock: MockClock, mode: Mode
) -> None:
    async with open_world(tmp_path, seed=5) as world:
        bot = await world.start_bot()
        await trio.sleep(12)
        bot.modes.hold("drill", "operator:test")
        await bot.winddown.done.wait()
        world.inject("binance-spot", "clock_offset", params={"ms": 5000.0})
        began = trio.current_time()
        refused = await resume(bot, mode)
        assert trio.current_time() - began <= 5.0
        assert isinstance(refused, Conflict)
        assert any("binance-spot: our clock differs by more than 1000 ms" in reason for reason in refused.reasons)
        view = ServiceDesk(bot, bot.keeper).control_view().preflight
        assert (view.ok, view.when_ns) == (False, bot.seams.clock.wall_ns())
        (shown,) = [each for each in bot.board.components() if each.id == "preflight"]
        assert shown.metrics["binance-spot.clock_offset_ms"] == pytest.approx(5000, abs=5)
        clear_faults(world)
        await trio.sleep(30)
        assert isinstance(await resume(bot, mode), Done)
        assert bot.modes.view.mode is mode


async def test_a_hold_that_comes_in_while_the_preflight_runs_wins(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_world(tmp_path, seed=5) as world:
        bot = await world.start_bot()
        await trio.sleep(12)
        bot.modes.hold("drill", "operator:test")
        await bot.winddown.done.wait()
        look = bot.preflight.look_at_disk

        async def slow_look() -> Any:
            await trio.sleep(1.0)
            return await look()

        monkeypatch.setattr(bot.preflight, "look_at_disk", slow_look)
        outcomes: list[ControlOutcome] = []

        async def ask() -> None:
            outcomes.append(await resume(bot))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(0.5)
            bot.modes.hold("drill", "operator:test")  # the very same words, from the same person
        (outcome,) = outcomes
        assert isinstance(outcome, Conflict)
        assert "a HOLD was asked for while the preflight ran" in outcome.reasons[0]
        assert bot.modes.view.mode is Mode.HOLD


async def test_a_venue_that_does_not_answer_is_named_by_the_resume(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, seed=5) as world:
        bot = await world.start_bot()
        await trio.sleep(12)
        bot.modes.hold("drill", "operator:test")
        await bot.winddown.done.wait()
        world.inject("binance-um", "refuse_connections", params={"cut": True})
        refused = await resume(bot)
        assert isinstance(refused, Conflict)
        assert any("binance-um does not answer" in reason for reason in refused.reasons)


async def test_a_key_that_can_withdraw_is_a_warning_with_play_money(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, seed=5) as world:
        world.inject("binance-spot", "withdraw_key")
        bot = await world.start_bot()
        await trio.sleep(5)
        assert bot.modes.view.mode is Mode.RUN
        (shown,) = [each for each in bot.board.components() if each.id == "preflight"]
        assert "the key can withdraw" in shown.summary
        assert shown.metrics["binance-spot.key_withdraws"] is True


async def test_a_resume_that_is_tried_again_and_again_does_not_use_up_the_venues_rate_budget(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A script that tried every 50 ms once spent the whole budget on preflights, and no resume came through."""
    async with open_world(tmp_path, seed=5) as world:
        bot = await world.start_bot()
        await trio.sleep(12)
        bot.modes.hold("drill", "operator:test")
        await bot.winddown.done.wait()
        world.inject("binance-um", "position_mode")
        before = asked_for_mode(world)
        for _ in range(200):
            assert isinstance(await resume(bot), Conflict)
            await trio.sleep(0.05)
        assert 2 <= asked_for_mode(world) - before <= 5
        world.inject("binance-um", "position_mode", params={"dual": False})
        await trio.sleep(AGAIN_S)
        assert isinstance(await resume(bot), Done)


async def test_no_venue_is_asked_while_something_else_stands_in_the_way(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=5) as world:
        bot = await world.start_bot()
        await trio.sleep(12)
        bot.task_ended("resolver", ValueError("boom"), "ValueError: boom")
        await bot.winddown.done.wait()
        before = asked_for_mode(world)
        refused = await resume(bot)
        assert isinstance(refused, Conflict)
        assert "task resolver is dead" in refused.reasons[0]
        assert asked_for_mode(world) == before


def asked_for_mode(world: World) -> int:
    return sum(row["path"].endswith("/positionSide/dual") for row in world.of_kind("request", "venue"))
