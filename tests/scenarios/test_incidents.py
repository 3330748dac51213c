"""An incident tells its whole story, and outlives the process that it happened to."""

from __future__ import annotations

from pathlib import Path

import trio
from trio.testing import MockClock

from propbot.control.desk import ServiceDesk
from propbot.domain.mode import Mode
from propbot.simulate.truth import assert_invariants
from propbot.simulate.world import World, open_world


def desk_of(world: World) -> ServiceDesk:
    assert world.bot is not None
    return ServiceDesk(world.bot, world.bot.keeper)


async def foreign_trade(world: World) -> None:
    world.inject("binance-um", "foreign_trade", params={"side": "BUY", "qty": "0.05"})
    with trio.fail_after(10):
        await world.bot.modes.level.wait(lambda view: view.mode is Mode.HOLD)


async def test_a_trip_opens_an_incident_whose_timeline_goes_from_the_cause_to_the_cancel_result(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=8) as world:
        await world.start_bot()
        await trio.sleep(12)
        await foreign_trade(world)
        await trio.sleep(8)
        incident = next(each for each in desk_of(world).incidents.all() if each.component_id == "recon")
        steps = [step.step for step in incident.steps]
        assert steps[0] == "opened"
        assert steps.index("hold") < steps.index("cancel") < steps.index("winddown")
        assert "0.05" in incident.summary
        assert {"mode", "exposure_base", "orders_open", "binance-um.book_age_ms"} <= set(incident.steps[0].details)
        assert "0 orders left" in next(step.text for step in incident.steps if step.step == "cancel")
        await world.stop_bot()
        assert_invariants(world)


async def test_an_incident_and_its_acknowledgement_survive_a_kill(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, seed=8) as world:
        await world.start_bot()
        await trio.sleep(12)
        await foreign_trade(world)
        await trio.sleep(1)
        (incident,) = [each for each in desk_of(world).incidents.all() if each.component_id == "recon"]
        acknowledged = await desk_of(world).acknowledge_incident(incident.id, "ann", "somebody else's hand")
        await world.kill_bot()
        await world.start_bot()
        await trio.sleep(5)
        kept = desk_of(world).incidents.get(incident.id)
        assert kept is not None
        assert (kept.acknowledged_by, kept.note, kept.open) == ("ann", "somebody else's hand", True)
        assert kept.steps[: len(acknowledged.steps)] == acknowledged.steps
        await world.stop_bot()
        assert_invariants(world)


async def test_an_incident_is_resolved_when_its_cause_is_gone_and_a_new_one_gets_a_new_number(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=7) as world:
        bot = await world.start_bot()
        await trio.sleep(12)
        for number in (1, 2):
            world.inject("binance-spot", "clock_offset", params={"ms": 5000.0, "seconds": 20.0})
            with trio.fail_after(20):
                await bot.modes.level.wait(lambda view: view.mode is Mode.HOLD)
            await trio.sleep(60)
            mine = [each for each in desk_of(world).incidents.all() if each.component_id == "clock_skew"]
            assert len(mine) == number
            assert not any(incident.open for incident in mine)
            assert mine[0].steps[-1].step == "resolved"
            bot.modes.resume("test")
            await trio.sleep(5)
        await world.stop_bot()


async def test_a_task_that_died_is_an_incident_until_the_service_was_started_again(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=7) as world:
        bot = await world.start_bot()
        await trio.sleep(12)
        bot.task_ended("resolver", ValueError("boom"), "ValueError: boom")
        await trio.sleep(2)
        (incident,) = desk_of(world).incidents.open_ones()
        assert incident.component_id == "task:resolver"
        await world.kill_bot()
        bot = await world.start_bot()
        await trio.sleep(8)
        assert desk_of(world).incidents.open_ones() == ()
        assert bot.modes.view.mode is Mode.HOLD, "only an operator leaves HOLD"
        bot.modes.resume("test")
        await trio.sleep(5)
        await world.stop_bot()
