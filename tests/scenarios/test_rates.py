"""Rate limits, bans and the dead-man switch, on the venues' own counters (FAULTS rows 51 and 52, I18)."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from propbot.domain.dialect import HttpCall
from propbot.domain.errors import OrderNotFound, VenueRetry
from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM
from propbot.domain.lots import Intent
from propbot.domain.mode import Mode
from propbot.domain.money import floor_to_step
from propbot.domain.orders import OrderRequest, Purpose, Side, TimeInForce
from propbot.kit.http1 import HttpClient, open_http_client
from propbot.service import Service
from propbot.simulate.world import World, open_world
from propbot.simvenue.faces.limits import Limit
from propbot.simvenue.records import NewOrder, SimTif, SimType

SYMBOL = "BTCUSDT"
UM_LIMIT = 400
"""A start with its preflight has room in it, and not much more."""
LOW = {
    BINANCE_UM: (Limit("REQUEST_WEIGHT", "MINUTE", 1, UM_LIMIT), Limit("ORDERS", "SECOND", 10, 30)),
    BINANCE_SPOT: (Limit("REQUEST_WEIGHT", "MINUTE", 1, 600), Limit("ORDERS", "SECOND", 10, 30)),
}
FOREIGN_PATHS = ("/fapi/v1/ping", "/fapi/v1/depth")
"""What `someone_else` asks; in these scenarios the bot asks for a depth only at its start."""


@asynccontextmanager
async def someone_else(world: World) -> AsyncIterator[HttpClient]:
    """Another bot behind the same address."""
    async with open_http_client(world.network, world.access.venues[BINANCE_UM].rest) as client:
        yield client


async def spend(client: HttpClient, calls: int, target: str = "/fapi/v1/depth?symbol=BTCUSDT&limit=1000") -> int:
    """So many calls, of weight 20 by default; the last one's status."""
    status = 0
    for _ in range(calls):
        status = (await client.request(HttpCall("GET", target), timeout_s=5.0)).status
    return status


def asked_by_bot(world: World, since_s: float) -> list[tuple[float, str]]:
    rows = [row for row in world.of_kind("request", "venue") if row["venue"] == BINANCE_UM and row["t"] >= since_s]
    return [(row["t"], row["path"]) for row in rows if row["path"] not in FOREIGN_PATHS]


def statuses(world: World) -> set[int]:
    return {row["status"] for row in world.of_kind("reply", "venue")}


def used(bot: Service, venue: str = BINANCE_UM) -> float:
    """The venue's own count against us, as a share of its limit."""
    gateway = bot.gateways[venue]  # type: ignore[index]
    limit = next(limit.limit for limit in gateway.rate_limits if limit.key == "weight_1m")
    return gateway.usage["weight_1m"] / limit


async def test_with_low_limits_the_bot_paces_itself_trades_on_and_is_never_refused(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=3, updates_per_s=2, limits=LOW) as world:
        bot = await world.start_bot()
        most = 0.0
        for _ in range(150):
            await trio.sleep(0.5)
            most = max([most, *(used(bot, venue) for venue in bot.venues if bot.gateways[venue].rate_limits)])
        assert 0.4 < most <= 0.95
        assert statuses(world) & {429, 418} == set()
        assert world.of_kind("order_send")
        assert bot.modes.view.mode is Mode.RUN, bot.modes.view.hold


async def test_what_others_spend_counts_cancels_still_go_out_and_a_ban_is_sat_out_to_its_end(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=4, updates_per_s=2, limits=LOW) as world, someone_else(world) as other:
        bot = await world.start_bot()
        gateway = bot.gateways[BINANCE_UM]
        await trio.sleep(61)  # a new window of the venue's
        while used(bot) < 0.85:
            await spend(other, 1)
            await gateway.measure_clock()
        with pytest.raises(VenueRetry, match="rate budget"):
            await gateway.balances()
        await spend(other, math.ceil((0.96 - used(bot)) * UM_LIMIT), "/fapi/v1/ping")
        with pytest.raises(OrderNotFound):
            await gateway.cancel(SYMBOL, "pb1")  # out of the reserve, and it hears the count
        await trio.sleep(0.5)
        assert bot.modes.view.hold is not None
        assert f"binance-um more than 95% of {UM_LIMIT} weight_1m used" in bot.modes.view.hold.line()

        while await spend(other, 1, "/fapi/v1/ping") != 418:
            pass
        with trio.fail_after(70):
            while not gateway.paused_s:
                await trio.sleep(0.05)
        assert gateway.pace.pause_status == 418
        told_s, until_s = trio.current_time(), trio.current_time() + gateway.paused_s
        await trio.sleep(0.5)
        assert any("has banned us (HTTP 418) until" in cause.reason for cause in bot.modes.view.hold.causes)
        await trio.sleep(until_s - trio.current_time() + 20)
        first_s, _ = asked_by_bot(world, told_s)[0]
        assert until_s <= first_s < until_s + 12
        assert bot.watches["rate_limit"].blocker is None
        assert bot.modes.view.mode is Mode.HOLD, "only an operator leaves HOLD"


async def test_a_ban_is_remembered_by_the_next_life_which_asks_nothing_before_its_end(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=4, updates_per_s=2, limits=LOW) as world, someone_else(world) as other:
        bot = await world.start_bot()
        await trio.sleep(20)
        while await spend(other, 1) != 418:
            pass
        with trio.fail_after(75):
            while not bot.gateways[BINANCE_UM].paused_s:
                await trio.sleep(0.05)
        until_s = trio.current_time() + bot.gateways[BINANCE_UM].paused_s
        assert bot.gateways[BINANCE_UM].pace.pause_status == 418
        await trio.sleep(1.5)
        await world.kill_bot()
        died_s = trio.current_time()
        bot = await world.start_bot()
        await trio.sleep(1)
        assert bot.modes.view.hold is not None
        assert any("has banned us (HTTP 418)" in cause.reason for cause in bot.modes.view.hold.causes)
        await trio.sleep(until_s - trio.current_time() + 20)
        first_s, _ = asked_by_bot(world, died_s)[0]
        assert until_s <= first_s
        assert bot.links[BINANCE_UM].met is not None
        assert bot.watches["rate_limit"].blocker is None


async def rest_an_order(bot: Service) -> str:
    """One of ours that nobody will take: two per cent below the market, good till cancelled."""
    instrument, mark = bot.instruments[BINANCE_UM], bot.market.mark(BINANCE_UM)
    assert mark is not None
    leg = OrderRequest(
        bot.executor.ids.client_order_id(), BINANCE_UM, SYMBOL, Side.BUY, Purpose.OPEN, instrument.lot_step * 10,
        floor_to_step(mark * 98 / 100, instrument.tick_size), TimeInForce.GTC,
    )
    now_ns = bot.seams.clock.wall_ns()
    await bot.executor.execute(Intent("resting", SYMBOL, Purpose.OPEN, "resting-lot", (leg,), now_ns))
    return leg.client_order_id


def open_at_venue(world: World) -> list[str]:
    return [order.request.client_order_id for order in world.engine(BINANCE_UM).open_orders(SYMBOL)]


async def settled_bot(world: World) -> Service:
    """Started and compared, and kept from trading by a spread that never comes."""
    bot = await world.start_bot(MIN_SPREAD_BPS="100")
    await trio.sleep(8)
    return bot


async def test_the_dead_man_switch_is_kept_armed_while_an_order_rests_and_fires_when_the_bot_is_killed(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=5, updates_per_s=2) as world:
        bot = await settled_bot(world)
        name = await rest_an_order(bot)
        await trio.sleep(25)
        assert open_at_venue(world) == [name]
        component = bot.board.component("cancel_on_disconnect")
        assert component is not None
        shown = component.metrics
        assert shown["binance-um.dead_man"] == "armed"
        assert 0 <= float(str(shown["binance-um.dead_man_age_s"])) < 11
        await world.kill_bot()
        await trio.sleep(18)
        assert open_at_venue(world) == [name]
        await trio.sleep(13)
        assert open_at_venue(world) == []


async def test_a_foreign_order_on_the_symbol_keeps_the_switch_off_is_shown_and_never_touched(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=5, updates_per_s=2) as world:
        bot = await settled_bot(world)
        name = await rest_an_order(bot)
        price = bot.blotter.orders[name].request.limit_price
        world.engine(BINANCE_UM).place(
            NewOrder("web_1", SYMBOL, Side.BUY, SimType.LIMIT, SimTif.GTC, bot.lot_step() * 10, price)
        )
        await trio.sleep(12)
        component = bot.board.component("cancel_on_disconnect")
        assert component is not None
        assert "would cancel 1 foreign orders too" in component.summary
        await world.kill_bot()
        await trio.sleep(60)
        assert sorted(open_at_venue(world)) == sorted([name, "web_1"])


async def test_a_private_stream_that_is_lost_with_an_order_open_is_a_hold_that_cancels_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=5, updates_per_s=2) as world:
        bot = await settled_bot(world)
        await rest_an_order(bot)
        await trio.sleep(3)
        world.inject("binance-um", "private_cut", params={"down_s": 20.0})
        cut_s = trio.current_time()
        with trio.fail_after(7):
            await bot.modes.level.wait(lambda view: view.mode is Mode.HOLD)
        assert 5 <= trio.current_time() - cut_s < 6
        assert "binance-um: private stream lost for 5 s with orders open" in bot.modes.view.hold.line()
        await trio.sleep(1)
        assert open_at_venue(world) == []
        await trio.sleep(30)
        assert bot.watches["cancel_on_disconnect"].blocker is None
