"""The house's own guards against the whole service: what must make each trip does, within a second, and nothing leaves
afterwards."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import trio
from attrs import evolve
from trio.testing import MockClock

from propbot.domain.instruments import VenueId
from propbot.domain.lots import Intent, Lot, LotState
from propbot.domain.mode import Mode
from propbot.domain.orders import OrderRequest, Purpose, Side
from propbot.service import Service
from propbot.simulate.world import World, open_world

UM = VenueId("binance-um")


def first_cause(bot: Service) -> tuple[str, str]:
    assert bot.modes.view.hold is not None
    return bot.modes.view.hold.first.source, bot.modes.view.hold.first.reason


def venue_orders(world: World) -> int:
    return len(world.of_kind("order", "venue"))


async def run_wild(bot: Service) -> None:
    """A strategy gone mad, past risk: small orders, one after the other, as fast as they are answered."""
    for number in range(1000):
        mark = bot.market.mark(UM)
        assert mark is not None
        side = Side.BUY if number % 2 else Side.SELL
        leg = OrderRequest(
            bot.executor.ids.client_order_id(), UM, bot.pair, side, Purpose.OPEN, Decimal("0.002"),
            (mark * (Decimal("1.001") if side is Side.BUY else Decimal("0.999"))).quantize(Decimal("0.1")),
        )
        lot = Lot(
            f"wild-{number}", bot.pair, LotState.OPENING, UM, VenueId("binance-spot"), Decimal("0.002"),
            bot.seams.clock.wall_ns(), Decimal(0), Decimal(0), Decimal(0),
        )
        await bot.executor.execute(
            Intent(f"wild-{number}", bot.pair, Purpose.OPEN, lot.id, (leg,), bot.seams.clock.wall_ns()), lot
        )


async def test_the_order_after_the_last_allowed_one_never_leaves(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, seed=3, MAX_ORDERS_PER_MIN="40", MIN_SPREAD_BPS="100") as world:
        bot = await world.start_bot()
        await trio.sleep(5)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_wild, bot)
            await bot.modes.level.wait(lambda view: view.mode is Mode.HOLD)
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
        assert first_cause(bot) == (
            "guard:runaway_breaker", "40 orders within a minute are the most; the next one was stopped"
        )
        assert 36 <= venue_orders(world) <= 40, "a tenth is kept for hedges"
        await trio.sleep(20)
        assert venue_orders(world) <= 40


async def test_equal_rejections_in_a_row_stop_the_venue_s_fifth_from_being_its_sixth(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=5) as world:
        bot = await world.start_bot()
        await trio.sleep(12)
        world.inject("binance-um", "reject_order", count=1000)
        with trio.fail_after(300):
            await bot.modes.level.wait(lambda view: view.mode is Mode.HOLD)
        source, reason = first_cause(bot)
        assert source == "guard:runaway_breaker"
        assert reason.startswith("binance-um refused 5 orders in a row the same way: code ")


async def test_risk_opens_nothing_above_half_of_the_breaker_s_limit(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, seed=5, MAX_ORDERS_PER_MIN="4") as world:
        bot = await world.start_bot()
        bot.pipeline.rules = evolve(bot.pipeline.rules, min_spread_bps=Decimal(-50))
        seen = set()
        for _ in range(200):
            await trio.sleep(0.1)
            seen |= {refused.code for refused in bot.pipeline.refusals}
        assert seen == {"order_rate"}
        assert len([row for row in world.of_kind("order_send") if row["purpose"] == "open"]) == 2
