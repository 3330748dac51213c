"""dry_run_only: the loop decides and books as ever, nothing is sent, and what is real is not touched by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import trio
from trio.testing import MockClock

from propbot.control.desk import ServiceDesk
from propbot.domain.instruments import VenueId
from propbot.domain.lots import Intent, LotState
from propbot.domain.mode import Mode
from propbot.domain.orders import OrderRequest, OrderState, Purpose, Side
from propbot.service import Service
from propbot.simulate.oracle.evidence import Row
from propbot.simulate.truth import assert_invariants, read_ledger
from propbot.simulate.world import World, open_world

VENUES = ("binance-um", "binance-spot")


async def wait_simulated(bot: Service, lots: int) -> None:
    with trio.fail_after(60):
        while len(bot.simulator.blotter.lots) < lots:
            await trio.sleep(0.1)


def measured(bot: Service) -> dict[str, Any]:
    return dict(ServiceDesk(bot, bot.keeper).state_view().loop.measured)


def orders_at_venues(world: World) -> int:
    return len(world.of_kind("order", who="venue"))


def worth(fills: Sequence[Row], marks: Mapping[str, Decimal | None]) -> Decimal:
    """What the fills' cash and base are worth at `marks`, by nobody's accounts but this sum."""
    total = Decimal(0)
    for fill in fills:
        mark, qty, fee = marks[fill["venue"]], Decimal(fill["qty"]), Decimal(fill["fee"])
        assert mark is not None
        total += (mark - Decimal(fill["price"])) * (qty if fill["side"] == "BUY" else -qty)
        total -= fee * mark if fill["fee_asset"] == "BTC" else fee
    return total


def assert_real_accounts_untouched(bot: Service) -> None:
    for account in bot.blotter.accounts.values():
        assert (account.qty, account.quote_change, account.realised_net) == (0, 0, 0)
    view = ServiceDesk(bot, bot.keeper).state_view()
    assert (view.pnl.realised, view.pnl.unrealised, view.pnl.fees) == (0, 0, 0)
    assert view.risk.positions == []
    assert view.risk.current["net_exposure_base"] == 0


async def test_lots_open_and_close_in_the_ledger_alone(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, DRY_RUN_ONLY="true") as world:
        bot = await world.start_bot()
        await trio.sleep(90)
        assert bot.modes.view.mode is Mode.RUN
        assert_real_accounts_untouched(bot)
        told, marks = measured(bot), {venue: bot.market.mark(VenueId(venue)) for venue in VENUES}
        await world.stop_bot()
        found = assert_invariants(world).ledger
        closed = [lot for lot in found.lots if lot["state"] == "CLOSED"]
        assert len(closed) >= 5
        assert orders_at_venues(world) == 0
        for table in (found.intents, found.orders, found.fills, found.lots):
            assert all(row["simulated"] for row in table)
        assert {order["state"] for order in found.orders} == {"FILLED"}
        assert all(order["filled_qty"] == order["booked_qty"] == order["qty"] for order in found.orders)
        assert all(str(fill["trade_id"]).startswith("sim-") for fill in found.fills)
        assert told["simulated_lots_open"] == len(found.lots) - len(closed)
        assert told["simulated_fills"] == len(found.fills)
        pnl = told["simulated_realised_usdt"] + told["simulated_unrealised_usdt"]
        assert abs(pnl - worth(found.fills, marks)) < Decimal("1e-8")


async def test_limits_hold_against_simulated_holdings(tmp_path: Path, autojump_clock: MockClock) -> None:
    limits = {"EXIT_EDGE_BPS": "-100", "MAX_POSITION_USDT": "2100", "MAX_SPREAD_AGE_SEC": "3600"}
    async with open_world(tmp_path, DRY_RUN_ONLY="true", **limits) as world:
        bot = await world.start_bot()
        await wait_simulated(bot, 2)
        await trio.sleep(60)
        assert len(bot.simulator.blotter.lots) == 2, "1000 each: a third would exceed the position limit"
        await world.stop_bot()
        assert_invariants(world)


async def test_real_lots_wait_untouched_for_the_dry_run_to_end(tmp_path: Path, autojump_clock: MockClock) -> None:
    ages = {"EXIT_EDGE_BPS": "-100", "MAX_SPREAD_AGE_SEC": "20"}
    async with open_world(tmp_path, **ages) as world:
        bot = await world.start_bot()
        with trio.fail_after(60):
            while len(bot.blotter.lots) < 2:
                await trio.sleep(0.1)
        await world.stop_bot()
        sent = orders_at_venues(world)
        bot = await world.start_bot(DRY_RUN_ONLY="true")
        real = dict(bot.blotter.lots)
        positions = {venue: bot.blotter.position(bot.blotter.accounts[venue].venue) for venue in bot.blotter.accounts}
        await wait_simulated(bot, 1)
        await trio.sleep(60)
        assert bot.blotter.lots == real, "long past their age"
        assert {venue: bot.blotter.position(venue) for venue in positions} == positions
        assert orders_at_venues(world) == sent
        assert bot.modes.view.mode is Mode.RUN, "reconciliation agrees: it never looks at simulated lots"
        assert real.keys().isdisjoint(bot.simulator.blotter.lots)
        bot.modes.hold("enough", "operator:test")
        await bot.winddown.done.wait()
        bot.modes.set_flags(dry_run_only=False)
        kept = dict(bot.simulator.blotter.lots)
        bot.modes.resume("test")
        await trio.sleep(30)
        assert real.keys().isdisjoint(bot.blotter.lots), "closed by age"
        assert bot.simulator.blotter.lots == kept, "simulated lots stay where they were"
        assert orders_at_venues(world) > sent
        await world.stop_bot()
        assert_invariants(world)


async def test_a_killed_dry_run_takes_its_lots_up_again(tmp_path: Path, autojump_clock: MockClock) -> None:
    kept_open = {"EXIT_EDGE_BPS": "-100", "MAX_SPREAD_AGE_SEC": "60"}
    async with open_world(tmp_path, DRY_RUN_ONLY="true", **kept_open) as world:
        bot = await world.start_bot()
        await wait_simulated(bot, 2)
        lots, told = dict(bot.simulator.blotter.lots), measured(bot)
        bases = {lot_id: bot.simulator.blotter.lot_base(lot_id) for lot_id in lots}
        await world.kill_bot()
        bot = await world.start_bot()
        assert bot.simulator.blotter.lots == lots
        assert {lot_id: bot.simulator.blotter.lot_base(lot_id) for lot_id in lots} == bases
        assert measured(bot)["simulated_realised_usdt"] == told["simulated_realised_usdt"]
        await trio.sleep(90)
        assert lots.keys().isdisjoint(bot.simulator.blotter.lots), "closed by age"
        assert orders_at_venues(world) == 0
        await world.stop_bot()
        assert_invariants(world)


async def test_hold_and_safe_mode_stop_the_dry_run_too(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, DRY_RUN_ONLY="true") as world:
        bot = await world.start_bot()
        await wait_simulated(bot, 1)
        bot.modes.hold("drill", "operator:test")
        await trio.sleep(0)
        booked = measured(bot)["simulated_fills"]
        await trio.sleep(60)
        assert measured(bot)["simulated_fills"] == booked
        bot.modes.set_flags(safe_mode=True)
        bot.modes.resume("test")
        await trio.sleep(60)
        assert measured(bot)["simulated_fills"] == booked
        assert bot.why_not() == "safe_mode is on"
        bot.modes.set_flags(safe_mode=False)
        await trio.sleep(60)
        assert measured(bot)["simulated_fills"] > booked
        await world.stop_bot()
        assert_invariants(world)
        assert len(read_ledger(world).fills) >= booked


async def test_drain_closes_simulated_lots_and_ends_in_hold(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, DRY_RUN_ONLY="true", EXIT_EDGE_BPS="-100") as world:
        bot = await world.start_bot()
        await wait_simulated(bot, 2)
        bot.modes.resume("test", Mode.DRAIN)
        with trio.fail_after(30):
            await bot.modes.level.wait(lambda view: view.mode is Mode.HOLD)
        assert bot.simulator.blotter.lots == {}
        assert "drained" in bot.modes.view.hold.line()
        assert orders_at_venues(world) == 0
        await world.stop_bot()
        assert_invariants(world)


async def test_the_gate_refuses_every_real_order_in_a_dry_run(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Whoever asks the real executor: each leg ends before its first byte."""
    async with open_world(tmp_path, EXIT_EDGE_BPS="-100", MAX_SPREAD_AGE_SEC="3600") as world:
        bot = await world.start_bot()
        with trio.fail_after(60):
            while not any(lot.state is LotState.OPEN for lot in bot.blotter.lots.values()):
                await trio.sleep(0.1)
        bot.modes.set_flags(dry_run_only=True)
        await trio.sleep(5)
        sent = orders_at_venues(world)
        lot = next(iter(bot.blotter.lots.values()))
        for purpose in Purpose:
            leg = OrderRequest(
                bot.executor.ids.client_order_id(), lot.sell_venue, bot.pair, Side.BUY, purpose, lot.qty,
                Decimal(1_000_000),
            )
            now_ns = bot.seams.clock.wall_ns()
            await bot.executor.execute(Intent(f"intent-{purpose}", bot.pair, purpose, lot.id, (leg,), now_ns))
            order = bot.blotter.orders[leg.client_order_id]
            assert (order.state, order.reason) == (OrderState.NEVER_SENT, "dry_run_only is on")
        assert orders_at_venues(world) == sent
        await world.stop_bot()
        assert_invariants(world)
