"""Each of the first dozen faults, injected at the venues while the service trades; then what must hold is checked.

After the fault the world is left alone for two virtual minutes, so that "quiesced" means what FAULTS section 2 says.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from propbot.domain.mode import Mode
from propbot.service import Service
from propbot.simulate.truth import assert_invariants
from propbot.simulate.world import World, open_world
from tests.scenarios.test_trading import assert_pnl_identity, hold_still

QUIET_S = 130.0


async def run_with_fault(world: World, venue: str, fault: str, **request: object) -> Service:
    """Trade, have the fault, recover, trade again, come to rest; the bot as it is then."""
    bot = await world.start_bot()
    await trio.sleep(12)
    world.inject(venue, fault, **request)
    await trio.sleep(QUIET_S)
    return bot


async def come_to_rest(world: World) -> None:
    await hold_still(world)
    assert_pnl_identity(world)
    await world.stop_bot()
    assert_invariants(world)


def sent_since(world: World, t: float) -> int:
    return sum(row["t"] > t for row in world.of_kind("order_send"))


@pytest.mark.parametrize("venue", ["binance-um", "binance-spot"])
@pytest.mark.parametrize(
    ("fault", "request_"),
    [
        ("lost_ack", {"count": 3}),
        ("delayed_ack", {"count": 2, "params": {"seconds": 2.0}}),
        ("drop_request", {"count": 1}),
        ("reject_order", {"count": 2}),
        ("partial_fill", {"count": 4, "params": {"fraction": 0.4}}),
        ("unknown_503", {"count": 2, "params": {"executed": True}}),
        ("unknown_503", {"count": 1, "params": {"executed": False}}),
        ("depth_gap", {"count": 1}),
        ("private_cut", {"params": {"down_s": 3.0}}),
        ("duplicate_fill", {"count": 5}),
        ("rate_limit_429", {"count": 1, "params": {"retry_after": 2.0}}),
        ("silent_feed", {"params": {"seconds": 12.0}}),
    ],
)
async def test_the_bot_trades_on_after(
    tmp_path: Path, autojump_clock: MockClock, venue: str, fault: str, request_: dict[str, object]
) -> None:
    async with open_world(tmp_path, seed=5) as world:
        bot = await run_with_fault(world, venue, fault, **request_)
        assert bot.modes.view.mode is Mode.RUN, bot.modes.view.hold
        assert sent_since(world, trio.current_time() - 60) > 0, bot.pipeline.why_not
        await come_to_rest(world)


async def test_a_lost_acknowledgement_is_found_by_its_id_and_never_sent_again(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=6) as world:
        await run_with_fault(world, "binance-um", "lost_ack", count=1)
        ids = [row["client_order_id"] for row in world.of_kind("order_send")]
        assert len(ids) == len(set(ids))
        unknown = {row["client_order_id"] for row in world.of_kind("order_state") if row["state"] == "UNKNOWN"}
        assert len(unknown) == 1
        (lost,) = unknown
        assert [r["state"] for r in world.of_kind("order_state") if r["client_order_id"] == lost][-1] == "FILLED"
        await come_to_rest(world)


async def test_an_order_that_never_arrived_is_never_sent_only_after_ten_seconds_and_three_polls(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=6) as world:
        await run_with_fault(world, "binance-um", "drop_request", count=1)
        states: dict[str, dict[str, float]] = {}
        for row in world.of_kind("order_state"):
            states.setdefault(row["client_order_id"], {})[row["state"]] = row["t"]
        (dropped,) = [each for each in states.values() if "NEVER_SENT" in each and "SENT" in each]
        assert dropped["NEVER_SENT"] - dropped["SENT"] >= 10
        await come_to_rest(world)


async def test_a_leg_and_then_its_hedge_lost_on_the_way_is_a_hold_that_names_the_exposure_and_unwinds_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=5) as world:
        bot = await run_with_fault(world, "binance-um", "drop_request", count=2)
        line = bot.modes.view.hold.line()
        assert "guard:hedge" in line
        assert "naked -0.01" in line
        assert abs(bot.blotter.exposure()) < bot.lot_step()
        bot.modes.resume("test")
        await trio.sleep(30)
        await come_to_rest(world)


async def test_a_clock_that_is_off_is_a_hold_that_names_the_venue(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, seed=7) as world:
        bot = await world.start_bot()
        await trio.sleep(12)
        world.inject("binance-spot", "clock_offset", params={"ms": 5000.0, "seconds": 40.0})
        with trio.fail_after(20):
            await bot.modes.level.wait(lambda view: view.mode is Mode.HOLD)
        line = bot.modes.view.hold.line()
        assert "guard:clock_skew" in line
        assert "binance-spot" in line
        await trio.sleep(QUIET_S)
        assert bot.modes.view.mode is Mode.HOLD, "only an operator leaves HOLD"
        bot.modes.resume("test")
        await trio.sleep(30)
        await come_to_rest(world)


async def test_a_foreign_trade_is_a_hold_that_names_venue_symbol_and_quantity(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=8) as world:
        bot = await world.start_bot()
        await trio.sleep(12)
        at = trio.current_time()
        world.inject("binance-um", "foreign_trade", params={"side": "BUY", "qty": "0.05"})
        with trio.fail_after(6):
            await bot.modes.level.wait(lambda view: view.mode is Mode.HOLD)
        line = bot.modes.view.hold.line()
        assert trio.current_time() - at < 5
        assert "guard:recon" in line
        assert "binance-um BTCUSDT" in line
        assert "0.05" in line
        await trio.sleep(QUIET_S)
        await world.stop_bot()
        assert_invariants(world)


async def test_a_feed_that_stays_silent_makes_the_venue_unusable_at_once_and_a_hold_after_a_minute(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=9) as world:
        bot = await world.start_bot()
        await trio.sleep(12)
        world.inject("binance-um", "silent_feed")
        silent_at = trio.current_time()
        await trio.sleep(3)
        assert bot.market.distrust("binance-um") is not None
        with trio.fail_after(90):
            await bot.modes.level.wait(lambda view: view.mode is Mode.HOLD)
        assert "feed_stale" in bot.modes.view.hold.line()
        late = [row for row in world.of_kind("order_send") if row["t"] > silent_at + 2]
        assert late == []
        await world.stop_bot()
        assert_invariants(world, quiesced=False)


async def test_a_disk_that_fails_is_a_hold_and_nothing_is_traded_that_cannot_be_recorded(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=10) as world:
        bot = await world.start_bot()
        await trio.sleep(12)
        world.disk_fault = failing()
        with trio.fail_after(30):
            await bot.modes.level.wait(lambda view: view.mode is Mode.HOLD)
        assert "ledger" in bot.modes.view.hold.line()
        sent = len(world.of_kind("order_send"))
        await trio.sleep(20)
        assert len(world.of_kind("order_send")) == sent
        world.disk_fault = None
        await trio.sleep(QUIET_S)
        bot.modes.resume("test")
        await trio.sleep(30)
        assert len(world.of_kind("order_send")) > sent
        await come_to_rest(world)


def failing() -> Callable[[str], None]:
    def fail(sql: str) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    return fail
