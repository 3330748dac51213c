"""The service trades on its embedded venues, in virtual time; what it leaves behind is judged by the checker."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from propbot.domain.mode import Mode
from propbot.kit.ws_clients import WS_CLIENTS
from propbot.simulate.truth import assert_invariants, assert_money_agrees
from propbot.simulate.world import World, open_world

VENUES = ("binance-um", "binance-spot")


async def hold_still(world: World) -> None:
    """HOLD, and let the wind-down end."""
    assert world.bot is not None
    world.bot.modes.hold("a quiet moment", "operator:test")
    await world.bot.winddown.done.wait()
    await trio.sleep(2)


def assert_pnl_identity(world: World) -> None:
    assert world.bot is not None
    accounts = world.bot.blotter.accounts
    marks = {venue: world.bot.market.mark(venue) for venue in accounts}
    known = {venue: mark for venue, mark in marks.items() if mark is not None}
    assert len(known) == len(VENUES)
    realised = sum((account.realised_net for account in accounts.values()), Decimal(0))
    unrealised = sum((accounts[venue].unrealised(mark) for venue, mark in known.items()), Decimal(0))
    assert_money_agrees(world, realised, unrealised, {str(venue): mark for venue, mark in known.items()})


@pytest.mark.parametrize("client", sorted(WS_CLIENTS))
async def test_lots_open_and_close_and_everything_agrees(
    tmp_path: Path, autojump_clock: MockClock, client: str
) -> None:
    async with open_world(tmp_path, WS_CLIENT=client) as world:
        await world.start_bot()
        await trio.sleep(60)
        closed = {row["lot_id"] for row in world.of_kind("lot") if row["state"] == "CLOSED"}
        assert len(closed) >= 5
        await hold_still(world)
        assert_pnl_identity(world)
        await world.stop_bot()
        found = assert_invariants(world)
        assert all(order["state"] == "FILLED" for order in found.ledger.orders), "nothing went wrong, so all filled"


async def test_drain_ends_flat_and_in_hold(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, EXIT_EDGE_BPS="-100") as world:  # lots stay open by themselves
        bot = await world.start_bot()
        with trio.fail_after(60):
            while len(bot.blotter.lots) < 2:
                await trio.sleep(0.1)
        bot.modes.resume("test", Mode.DRAIN)
        with trio.fail_after(30):
            await bot.modes.level.wait(lambda view: view.mode is Mode.HOLD)
        assert "drained" in bot.modes.view.hold.line()
        await trio.sleep(1)
        assert bot.blotter.lots == {}
        assert world.engine("binance-um").position("BTCUSDT")[0] == 0
        await world.stop_bot()
        assert_invariants(world)


async def test_hold_in_the_middle_of_sending_leaves_no_leg_naked(tmp_path: Path, autojump_clock: MockClock) -> None:
    """The HOLD falls right after the first byte of the first leg, again and again."""
    async with open_world(tmp_path, seed=3) as world:
        bot = await world.start_bot()
        for _ in range(5):
            sent = len(world.of_kind("order_send"))
            with trio.fail_after(60):
                while len(world.of_kind("order_send")) == sent:
                    await trio.sleep(0.0005)
            bot.modes.hold("drill", "operator:test")
            await bot.winddown.done.wait()
            assert abs(bot.blotter.exposure()) < Decimal("0.001")
            await trio.sleep(15)
            bot.modes.resume("test")
        await trio.sleep(5)
        await hold_still(world)
        assert_pnl_identity(world)
        await world.stop_bot()
        assert_invariants(world)


async def test_a_restart_takes_up_its_open_lots(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, EXIT_EDGE_BPS="-100", MAX_SPREAD_AGE_SEC="60") as world:
        bot = await world.start_bot()
        with trio.fail_after(60):
            while len(bot.blotter.lots) < 2:
                await trio.sleep(0.1)
        lots = set(bot.blotter.lots)
        await world.stop_bot()
        bot = await world.start_bot()
        assert lots <= set(bot.blotter.lots)
        with trio.fail_after(30):
            await bot.modes.level.wait(lambda view: view.mode is Mode.RUN)
        await trio.sleep(90)
        assert lots.isdisjoint(bot.blotter.lots), "closed by age"
        await hold_still(world)
        assert_pnl_identity(world)
        await world.stop_bot()
        assert_invariants(world)


async def test_an_operators_hold_outlives_a_restart(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path) as world:
        bot = await world.start_bot()
        await trio.sleep(10)
        bot.modes.hold("for the night", "operator:test")
        await trio.sleep(1)
        await world.kill_bot()
        sent = len(world.of_kind("order_send"))
        bot = await world.start_bot()
        await trio.sleep(30)
        assert bot.modes.view.mode is Mode.HOLD
        assert bot.modes.view.hold.first.reason == "for the night"
        assert len(world.of_kind("order_send")) == sent
        bot.modes.resume("test")
        await trio.sleep(30)
        assert len(world.of_kind("order_send")) > sent
        await hold_still(world)
        await world.stop_bot()
        assert_invariants(world)


@pytest.mark.timeout(600)
async def test_a_clean_half_hour_agrees_in_ledger_venue_and_money(tmp_path: Path, autojump_clock: MockClock) -> None:
    await _hours(tmp_path, 0.5)


@pytest.mark.day
@pytest.mark.timeout(3600)
async def test_a_clean_day_agrees_in_ledger_venue_and_money(tmp_path: Path, autojump_clock: MockClock) -> None:
    await _hours(tmp_path, 24)


async def _hours(tmp_path: Path, hours: float) -> None:
    # one lot at a time: it keeps the count of trades, and with it the time of this test, in bounds
    async with open_world(tmp_path, updates_per_s=1.0, LEDGER_SYNC="normal", MAX_POSITION_USDT="1100") as world:
        bot = await world.start_bot()
        await trio.sleep(hours * 3600)
        assert bot.modes.view.mode is Mode.RUN, bot.modes.view
        await hold_still(world)
        assert_pnl_identity(world)
        await world.stop_bot()
        found = assert_invariants(world)
        assert len(found.ledger.lots) > hours * 100, "it traded all the time"
