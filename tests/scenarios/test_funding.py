"""Funding is paid while a lot is open: whoever was listening, or not, the ledger ends up with what the venue paid."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from propbot.domain.errors import VenueRetry
from propbot.domain.instruments import BINANCE_UM, FundingOutlook
from propbot.domain.mode import Mode
from propbot.execution.gateway import VenueGateway
from propbot.simulate.truth import SYMBOL, assert_invariants
from propbot.simulate.world import EPOCH_NS, World, open_world
from tests.scenarios.test_trading import assert_pnl_identity, hold_still

UM = "binance-um"
EIGHT_HOURS_NS = 8 * 3600 * 10**9
SETTLES_NS = (EPOCH_NS // EIGHT_HOURS_NS + 1) * EIGHT_HOURS_NS
"""08:00, 16:00 or 00:00 UTC."""
LEAD_S = 90.0
"""The world begins so long before funding is paid; the embedded venue pays within five seconds after."""
PAID_S = LEAD_S + 6.0


@asynccontextmanager
async def open_world_before_funding(tmp_path: Path, seed: int = 1) -> AsyncIterator[World]:
    """A bot with a lot open that stays open, `LEAD_S` before funding is paid; the lot counts from the start."""
    async with open_world(
        tmp_path, seed=seed, epoch_ns=SETTLES_NS - int(LEAD_S * 1e9), EXIT_EDGE_BPS="-100"
    ) as world:
        bot = await world.start_bot()
        with trio.fail_after(LEAD_S - 10):
            while not any(world.engine(UM).position(SYMBOL)) or bot.blotter.in_flight():
                await trio.sleep(0.1)
        yield world


async def sleep_until_s(world: World, at_s: float) -> None:
    """Seconds since the world began, on the wall clock."""
    began_ns = SETTLES_NS - int(LEAD_S * 1e9)
    await trio.sleep(at_s - (world.clock.wall_ns() - began_ns) / 1e9)


def assert_booked_once_and_no_hold(world: World) -> None:
    assert world.bot is not None
    paid = [row.amount for row in world.engine(UM).fundings(SYMBOL)]
    assert len(paid) == 1
    assert paid[0] != 0
    assert world.bot.blotter.accounts[UM].funding == paid[0]
    assert world.bot.modes.view.mode is Mode.RUN, world.bot.modes.view
    assert [row for row in world.of_kind("mode") if row["mode"] == "HOLD"] == []


async def assert_all_agrees(world: World) -> None:
    await hold_still(world)
    assert_pnl_identity(world)
    await world.stop_bot()
    found = assert_invariants(world)
    assert len(found.ledger.funding) == 1


async def test_funding_that_the_private_stream_tells_is_booked_once_though_recon_asks_too(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world_before_funding(tmp_path) as world:
        await sleep_until_s(world, PAID_S)
        assert_booked_once_and_no_hold(world)
        world.inject(UM, "private_cut")  # a reconnection asks for what was missed: it is known already
        await trio.sleep(30)
        assert_booked_once_and_no_hold(world)
        await assert_all_agrees(world)


async def test_funding_paid_while_the_bot_was_dead_is_booked_by_the_next_life(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world_before_funding(tmp_path, seed=2) as world:
        await sleep_until_s(world, LEAD_S - 5)
        await world.kill_bot()
        await sleep_until_s(world, PAID_S + 20)
        bot = await world.start_bot()
        with trio.fail_after(30):
            while not bot.modes.ready:
                await trio.sleep(0.1)
        assert_booked_once_and_no_hold(world)
        await trio.sleep(30)
        assert_booked_once_and_no_hold(world)
        await assert_all_agrees(world)


@pytest.mark.parametrize(
    ("fault", "params"), [("private_cut", {"down_s": 30.0}), ("silent_private", {"seconds": 30.0})]
)
async def test_funding_that_the_private_stream_did_not_tell_is_found_by_reconciliation(
    tmp_path: Path, autojump_clock: MockClock, fault: str, params: dict[str, float]
) -> None:
    async with open_world_before_funding(tmp_path, seed=3) as world:
        await sleep_until_s(world, LEAD_S - 5)
        world.inject(UM, fault, params=params)
        await sleep_until_s(world, PAID_S + 10)
        assert_booked_once_and_no_hold(world)
        await trio.sleep(60)
        assert_booked_once_and_no_hold(world)
        await assert_all_agrees(world)


async def test_nothing_is_opened_while_the_venue_does_not_tell_its_funding(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No fault of the embedded venue refuses one question only, so the gateway does."""
    ask, known_at_s = VenueGateway.funding_outlook, trio.current_time() + 40

    async def funding_outlook(gateway: VenueGateway, symbol: str) -> FundingOutlook | None:
        if trio.current_time() < known_at_s:
            await trio.lowlevel.checkpoint()
            raise VenueRetry(gateway.venue, "not now")
        return await ask(gateway, symbol)

    monkeypatch.setattr(VenueGateway, "funding_outlook", funding_outlook)
    async with open_world(tmp_path) as world:
        bot = await world.start_bot()
        await trio.sleep(39)
        assert bot.pipeline.why_not == f"funding of {BINANCE_UM} is unknown"
        assert world.of_kind("order_send") == []
        assert bot.modes.view.mode is Mode.RUN, "a reason not to open, and none to stop"
        await trio.sleep(40)
        assert world.of_kind("order_send") != []
        await hold_still(world)
        await world.stop_bot()
        assert_invariants(world)


async def test_an_entry_counts_the_funding_that_it_would_pay_and_not_the_one_that_it_would_get(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world_before_funding(tmp_path, seed=4) as world:
        assert world.bot is not None
        pipeline = world.bot.pipeline
        spot, um = (next(venue for venue in pipeline.venues if venue.startswith(name)) for name in ("binance-s", UM))
        assert pipeline._funding_bps(um, spot) == Decimal(1)  # long the perp, at the embedded venue's 0.01 %
        assert pipeline._funding_bps(spot, um) == 0
        await sleep_until_s(world, PAID_S + 10)
        assert pipeline._funding_bps(um, spot) == 0, "the next settlement is eight hours away"
        await assert_all_agrees(world)
