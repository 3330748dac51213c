"""How a life begins, by profile, configuration and what the last one left; and what a HOLD does on its way in."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from propbot.control.desk import ServiceDesk
from propbot.domain.errors import SettingsError, VenueRetry
from propbot.domain.instruments import BINANCE_UM
from propbot.domain.lots import LotState
from propbot.domain.mode import Mode
from propbot.domain.orders import OrderRequest, Purpose, Side, TimeInForce
from propbot.execution.line import TIMEOUT_S
from propbot.kit.crash import CrashPoints
from propbot.ledger.reads import EventFilter
from propbot.service import Service
from propbot.simulate.truth import assert_invariants
from propbot.simulate.world import World, open_world
from propbot.status.desk import Conflict, ControlPatch

REAL = {"API_TOKEN": "t" * 32}


async def end_first_life(world: World, how: str, **settings: str) -> None:
    """A life that ended in RUN or DRAIN by SIGKILL, was stopped in order, or was in a HOLD that somebody meant."""
    bot = await world.start_bot(**settings)
    await trio.sleep(5)
    if how == "drain killed":
        for venue in ("binance-um", "binance-spot"):  # nothing can be closed meanwhile
            world.inject(venue, "silent_feed", params={"seconds": 4.0})
        await trio.sleep(2)
        bot.modes.resume("ann", Mode.DRAIN)
    if how == "held":
        bot.modes.hold("lunch", "operator:ann")
    await trio.sleep(0.3)
    await (world.stop_bot() if how == "stopped" else world.kill_bot())


@pytest.mark.parametrize(
    ("profile", "configured", "last", "expected", "cause"),
    [
        ("paper", None, None, "RUN", None),
        ("paper", "HOLD", None, "HOLD", "startup"),
        ("paper", "DRAIN", None, "DRAIN", None),
        ("paper", None, "stopped", "RUN", None),
        ("paper", "HOLD", "stopped", "HOLD", "startup"),
        ("paper", None, "drain killed", "DRAIN", None),
        ("paper", "RUN", "drain killed", "DRAIN", None),
        ("paper", "HOLD", "drain killed", "HOLD", "startup"),
        ("paper", "RUN", "held", "HOLD", "operator:ann"),
        ("paper", "DRAIN", "held", "HOLD", "operator:ann"),
        ("testnet", "RUN", None, "HOLD", "startup"),
        ("live", None, None, "HOLD", "startup"),
        ("live", "RUN", "stopped", "HOLD", "startup"),
        ("live", "DRAIN", "held", "HOLD", "startup"),
    ],
)
async def test_a_life_begins_as_the_table_says(
    tmp_path: Path, autojump_clock: MockClock, profile: str, configured: str | None, last: str | None, expected: str,
    cause: str | None,
) -> None:
    settings = {"PROFILE": profile, **({} if profile == "paper" else REAL)}
    async with open_world(tmp_path, seed=5) as world:
        if last is not None:
            await end_first_life(world, last, **settings)
        mode = {} if configured is None else {"MODE": configured}
        bot = await world.start_bot(**settings, **mode)
        view = bot.modes.view
        assert view.mode == expected
        assert (view.hold is None) is (cause is None)
        if view.hold is not None:
            assert view.hold.first.source == cause
        assert (view.safe_mode, view.dry_run_only) == ((False, False) if profile == "paper" else (True, True))
        await trio.sleep(3)
        assert bot.modes.view.mode == expected or expected == "DRAIN", "a flat drain ends in HOLD by itself"
        await world.stop_bot()
        assert_invariants(world, quiesced=False)


async def test_in_live_a_key_that_can_withdraw_keeps_hold_from_being_left(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=5) as world:
        world.inject("binance-spot", "withdraw_key")
        bot = await world.start_bot(PROFILE="live", **REAL)
        await trio.sleep(5)
        refused = await ServiceDesk(bot, bot.keeper).apply_control(ControlPatch(mode=Mode.RUN), "ann")
        assert isinstance(refused, Conflict)
        assert any("the key can withdraw" in reason for reason in refused.reasons)
        assert bot.modes.view.mode is Mode.HOLD


async def with_a_lot(world: World, **settings: str) -> Service:
    bot = await world.start_bot(**settings)
    with trio.fail_after(60):
        while not any(lot.state is LotState.OPEN for lot in bot.blotter.lots.values()):
            await trio.sleep(0.1)
    return bot


async def test_a_drain_that_does_not_get_done_is_a_hold_that_names_what_is_left(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=5) as world:
        bot = await with_a_lot(world)
        for venue in ("binance-um", "binance-spot"):
            world.inject(venue, "silent_feed")
        await trio.sleep(2)
        bot.modes.resume("ann", Mode.DRAIN)
        lots = list(bot.blotter.lots.values())
        bot.drain_timeout_s = 3.0
        with trio.fail_after(70):
            await bot.modes.level.wait(lambda view: view.mode is Mode.HOLD)
        assert bot.modes.view.hold is not None
        for lot in lots:
            assert f"{lot.id} 0.01" in bot.modes.view.hold.line()
        assert "by guard:drain" in bot.modes.view.hold.line()


async def naked(world: World, **settings: str) -> Service:
    """One leg filled, the other's request lost: exposure that only a hedge can close."""
    bot = await world.start_bot(**settings)
    await trio.sleep(12)
    world.inject("binance-um", "drop_request", count=1)
    with trio.fail_after(60):
        while abs(bot.blotter.exposure()) < bot.lot_step():
            await trio.sleep(0.01)
    return bot


@pytest.mark.parametrize("flag", ["safe_mode", "dry_run_only"])
async def test_a_flag_that_comes_with_the_hold_does_not_stop_its_wind_down(
    tmp_path: Path, autojump_clock: MockClock, flag: str
) -> None:
    """Runbook 6.1: pause and safe_mode in one request."""
    async with open_world(tmp_path, seed=5) as world:
        bot = await naked(world)
        desk = ServiceDesk(bot, bot.keeper)
        desk.enter_hold("look at it", "ann", winddown_exempt=True)
        flags: dict[str, Any] = {flag: True}
        await desk.apply_control(ControlPatch(mode=Mode.HOLD, **flags), "ann")
        await bot.winddown.done.wait()
        assert abs(bot.blotter.exposure()) < bot.lot_step()
        assert getattr(bot.modes.view, flag)
        await trio.sleep(130)
        await world.stop_bot()
        assert_invariants(world)


async def test_a_frozen_hold_reads_back_and_hedges_nothing(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, seed=5) as world:
        bot = await naked(world, HOLD_EXIT="freeze")
        began = trio.current_time()
        bot.modes.hold("drill", "operator:ann")
        await bot.winddown.done.wait()
        assert bot.modes.view.hold is not None
        assert bot.modes.view.hold.line().endswith("; 0 orders left")
        assert [row for row in world.of_kind("order_send") if row["t"] > began] == []
        reasons = [cause.reason for cause in bot.modes.view.hold.causes]
        assert any("naked" in reason for reason in reasons), reasons


async def test_a_venue_that_hangs_keeps_no_cancel_from_the_other_and_gets_its_own_when_it_is_back(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_world(tmp_path, seed=5) as world:
        bot = await world.start_bot(MIN_SPREAD_BPS="100")
        await trio.sleep(5)
        resting = OrderRequest(
            bot.executor.ids.client_order_id(), BINANCE_UM, "BTCUSDT", Side.BUY, Purpose.OPEN, Decimal("0.01"),
            Decimal(30_000), TimeInForce.GTC,
        )
        await bot.gateways[BINANCE_UM].place(resting, lambda: None, CrashPoints())
        spot = bot.gateways[bot.venues[1]]

        async def hang(*_: object, **__: object) -> Any:
            await trio.sleep(TIMEOUT_S)
            raise VenueRetry("binance-spot", "no answer")

        with monkeypatch.context() as patched:
            patched.setattr(type(spot), "open_orders", _unless(spot, hang))
            began = trio.current_time()
            bot.modes.hold("drill", "operator:ann")
            while world.engine("binance-um").open_orders("BTCUSDT"):
                await trio.sleep(0.01)
            assert trio.current_time() - began < 1.0
            await bot.winddown.done.wait()
            assert bot.modes.view.hold is not None
            assert bot.modes.view.hold.line().endswith("; 0 orders left (not read back: binance-spot)")
            await trio.sleep(5)
        with trio.fail_after(40):
            await bot.modes.level.wait(lambda view: "not read back" not in view.hold.line())
        assert bot.modes.view.hold.line().endswith("; 0 orders left")


def _unless(silent: Any, hang: Any) -> Any:
    plain = type(silent).open_orders

    async def open_orders(gateway: Any, *args: Any, **more: Any) -> Any:
        return await (hang() if gateway is silent else plain(gateway, *args, **more))

    return open_orders


async def test_what_a_stop_could_not_finish_is_recorded_and_the_next_start_says_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=5) as world:
        bot = await naked(world)
        for venue in ("binance-um", "binance-spot"):
            world.inject(venue, "refuse_connections", params={"cut": True})
        began = trio.current_time()
        await world.stop_bot()
        assert trio.current_time() - began < 5
        assert world.access.inside is not None
        world.access.inside.faults.clear()
        bot = await world.start_bot()
        await trio.sleep(20)
        said = {row.kind: row.message for row in (await bot.ledger.events_page(1000))[0] if row.level == "WARN"}
        assert "left for the next start: lot " in said["shutdown"]
        assert "not read back: binance-spot, binance-um" in said["shutdown"]
        assert "taken up from the last life: lot " in said["startup"]


async def told_at_start(bot: Service) -> list[str]:
    await trio.sleep(1)
    rows = (await bot.ledger.events_page(1000, None, EventFilter(level="WARN")))[0]
    since = bot.seams.clock.wall_ns() - 2 * 10**9
    return [row.message for row in rows if row.source == "startup" and row.ts_ns > since]


@pytest.mark.parametrize("how", ["kill", "stop"])
async def test_a_life_that_did_not_end_in_order_is_told_by_the_next_one(
    tmp_path: Path, autojump_clock: MockClock, how: str
) -> None:
    async with open_world(tmp_path, seed=5) as world:
        await world.start_bot()
        await trio.sleep(3)
        await (world.kill_bot() if how == "kill" else world.stop_bot())
        said = [text for text in await told_at_start(await world.start_bot()) if "did not end in order" in text]
        assert len(said) == (1 if how == "kill" else 0)


async def test_a_safety_that_stays_on_against_the_environment_says_so(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=5) as world:
        await world.start_bot(SAFE_MODE="true")
        await trio.sleep(1)
        await world.stop_bot()
        bot = await world.start_bot(SAFE_MODE="false")
        assert bot.modes.view.safe_mode
        said = "\n".join(await told_at_start(bot))
        assert "SAFE_MODE is false in the environment: the stricter wins; propbotctl control set safe_mode=" in said
        assert "dry_run_only" not in said


async def test_a_ledger_of_another_profile_is_refused_before_anything_is_sent(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=5) as world:
        await world.start_bot()
        await trio.sleep(3)
        await world.stop_bot()
        before = len(world.of_kind("order_send"))
        with pytest.RaisesGroup(SettingsError, flatten_subgroups=True, allow_unwrapped=True) as refused:
            await world.start_bot(PROFILE="testnet", **REAL)
        assert "of PROFILE=paper" in str(refused.value) or "of PROFILE=paper" in str(refused.value.exceptions)
        assert len(world.of_kind("order_send")) == before
