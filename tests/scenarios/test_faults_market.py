"""FAULTS section 1, rows 1 to 14: what market data does to a bot, and what must hold all the same."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve
from trio.testing import MockClock

from propbot import listing
from propbot.domain.mode import Mode
from propbot.service import Service
from propbot.simulate.truth import assert_invariants
from propbot.simulate.world import World, open_world
from tests.scenarios.test_faults import come_to_rest, sent_since

VENUES = ("binance-um", "binance-spot")
UM, SPOT = VENUES
CALM = 2.0
"""Depth updates a second: what these rows are about does not hang on the pace, and time is dear."""
QUIET_S = 65.0
"""Longer than any order may be UNKNOWN."""


async def trading(world: World, seconds: float = 12.0, **given: str) -> Service:
    """A bot that has been trading for a while."""
    bot = await world.start_bot(**given)
    await trio.sleep(seconds)
    assert bot.modes.view.mode is Mode.RUN, bot.modes.view.hold
    return bot


async def wait_hold(bot: Service, within_s: float) -> str:
    """The HOLD's line, once it is entered."""
    with trio.fail_after(within_s):
        await bot.modes.level.wait(lambda view: view.mode is Mode.HOLD)
    assert bot.modes.view.hold is not None
    return bot.modes.view.hold.line()


async def trade_on_and_rest(world: World, bot: Service) -> None:
    """The fault is over: it trades again as if nothing had been, and everything agrees."""
    await trio.sleep(QUIET_S)
    assert bot.modes.view.mode is Mode.RUN, bot.modes.view.hold
    assert sent_since(world, trio.current_time() - 60) > 0, bot.why_not()
    await come_to_rest(world)


def age_ms(world: World, row: dict[str, Any]) -> float:
    """How old the oldest of the books that an order cites was when it was sent: the market's ids tell their time."""
    sent_ms = world.clock.wall_ns() / 1e6 - (trio.current_time() - row["t"]) * 1000
    return max(sent_ms - update_id / 64 for update_id in row["books"].values())


def sends_between(world: World, begin_s: float, end_s: float) -> list[dict[str, Any]]:
    return [row for row in world.of_kind("order_send") if begin_s < row["t"] <= end_s]


@pytest.mark.parametrize("venue", VENUES)
async def test_lost_doubled_and_swapped_diffs_cost_a_resync_and_never_a_wrong_book(
    tmp_path: Path, autojump_clock: MockClock, venue: str
) -> None:
    async with open_world(tmp_path, seed=5, updates_per_s=CALM, MAX_RESYNCS_PER_MIN="1000") as world:
        bot = await trading(world)
        world.inject(venue, "mangled_depth", params={"share": 0.03, "seconds": 60.0})
        wrong: list[str] = []

        async def compare() -> None:
            while True:
                await trio.sleep(0.25)
                wrong.extend(differences(world, bot, venue))

        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(compare)
                await trio.sleep(60)
                scope.cancel()
        assert bot.market.books[venue].resyncs >= 3
        assert wrong == []
        assert len(sends_between(world, trio.current_time() - 60, trio.current_time())) > 4
        await trade_on_and_rest(world, bot)


def differences(world: World, bot: Service, venue: str) -> list[str]:
    """Where a book that says it is synchronised shows another best level of depth than the venue has."""
    book, depth = bot.market.books[venue], world.engine(venue).depth("BTCUSDT", 1)
    if not book.synced or book._depth_id != depth.last_id:
        return []
    shown = (book._bids.best, book._asks.best)
    true = (float(depth.bids[0][0]), float(depth.asks[0][0]))
    return [] if shown == true else [f"{venue} at {depth.last_id}: {shown}, the venue {true}"]


@pytest.mark.parametrize("seconds", [2.5, 5.0])
async def test_a_snapshot_that_comes_late_is_bridged_by_the_diffs_or_fetched_again(
    tmp_path: Path, autojump_clock: MockClock, seconds: float
) -> None:
    async with open_world(tmp_path, seed=5, updates_per_s=CALM) as world:
        bot = await trading(world)
        world.inject(UM, "delayed_snapshot", count=2, params={"seconds": seconds})
        world.inject(UM, "depth_gap")
        with trio.fail_after(3):
            while bot.market.books[UM].synced:
                await trio.sleep(0.01)
        with trio.fail_after(20):
            while not bot.market.books[UM].synced:
                await trio.sleep(0.05)
        await trio.sleep(1)
        assert differences(world, bot, UM) == []
        await trade_on_and_rest(world, bot)


async def test_a_half_open_connection_is_found_and_replaced(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, seed=9, updates_per_s=CALM) as world:
        bot = await trading(world, MIN_SPREAD_BPS="100")  # nothing pays: no leg may be on its way into the dark
        sessions = bot.links[UM].feed.sessions
        world.inject(UM, "blackhole", params={"seconds": 20.0})
        await trio.sleep(1.6)
        assert "no frame" in (bot.market.distrust(UM) or "")
        await trio.sleep(45)
        assert bot.links[UM].feed.sessions > sessions
        assert bot.unusable(UM) is None
        assert bot.market.distrust(UM) is None
        bot.pipeline.rules = evolve(bot.pipeline.rules, min_spread_bps=Decimal(1))
        await trade_on_and_rest(world, bot)


@pytest.mark.parametrize("venue", VENUES)
async def test_frames_with_a_frozen_time_are_as_good_as_silence(
    tmp_path: Path, autojump_clock: MockClock, venue: str
) -> None:
    async with open_world(tmp_path, seed=9, updates_per_s=CALM) as world:
        bot = await trading(world)
        frozen_s = trio.current_time()
        world.inject(venue, "frozen_time", params={"seconds": 90.0})
        await trio.sleep(2.5)
        assert "own time" in (bot.market.distrust(venue) or "")
        line = await wait_hold(bot, 70)
        assert "guard:feed_stale" in line
        assert venue in line
        assert sends_between(world, frozen_s + 2.5, trio.current_time()) == []
        await trio.sleep(60)
        bot.modes.resume("test")
        await trade_on_and_rest(world, bot)


async def test_a_crossed_book_is_refused_and_fetched_again(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, seed=5, updates_per_s=CALM, MAX_RESYNCS_PER_MIN="1000") as world:
        bot = await trading(world)
        for venue in VENUES:
            for fault in ("crossed_depth", "crossed_ticker"):
                resyncs = bot.market.books[venue].resyncs
                world.inject(venue, fault)
                await trio.sleep(1)
                assert bot.market.books[venue].resyncs == resyncs + 1
                assert "crossed" in bot.market.books[venue].loss_reason
                await trio.sleep(12)
                assert bot.market.distrust(venue) is None
        await trade_on_and_rest(world, bot)


async def test_another_symbols_broken_frames_spoil_neither_book_nor_session(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=5, updates_per_s=CALM) as world:
        bot = await trading(world)
        before = [(bot.links[venue].feed.sessions, bot.market.books[venue].resyncs) for venue in VENUES]
        for venue in VENUES:
            world.inject(venue, "bad_neighbour", count=60)
        await trio.sleep(30)
        assert [(bot.links[venue].feed.sessions, bot.market.books[venue].resyncs) for venue in VENUES] == before
        assert sent_since(world, trio.current_time() - 30) > 0
        await trade_on_and_rest(world, bot)


async def test_late_frames_are_old_prices_and_nothing_is_decided_on_them(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=5, updates_per_s=CALM) as world:
        bot = await trading(world)
        for venue in VENUES:
            late_s = trio.current_time()
            world.inject(venue, "late_frames", params={"late_s": 3.0, "seconds": 25.0})
            await trio.sleep(25)
            assert sends_between(world, late_s + 2, late_s + 25) == []
            await trio.sleep(15)
        await trade_on_and_rest(world, bot)


async def test_a_reader_that_is_slow_trades_on_no_old_price(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Each frame of one venue costs 200 ms of work: the loop falls behind, and what it reads is old when it is read."""
    async with open_world(tmp_path, seed=5, updates_per_s=CALM, LOOP_STALL_SEC="60", LOOP_LAG_P95_MS="60000") as world:
        bot = await trading(world)
        book = bot.market.books[UM]
        apply, slow_s = book.apply, trio.current_time()

        def slow(event: object) -> None:
            autojump_clock.jump(0.2)
            apply(event)

        book.apply = slow
        await trio.sleep(60)
        book.apply = apply
        opened = [row for row in sends_between(world, slow_s, trio.current_time()) if row["purpose"] == "open"]
        assert max((age_ms(world, row) for row in opened), default=0.0) <= 1500 + 1000 / (2 * CALM)
        if bot.modes.view.mode is Mode.HOLD:
            await trio.sleep(30)
            bot.modes.resume("test")
        await trade_on_and_rest(world, bot)


async def test_an_absurd_price_is_neither_traded_on_nor_learned_from(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=5, updates_per_s=CALM) as world:
        bot = await trading(world)
        for venue in VENUES:
            for factor in (0.0, 10.0, 0.1):
                basis, absurd_s = bot.basis.value_bps or 0.0, trio.current_time()
                world.inject(venue, "absurd_price", params={"factor": factor, "seconds": 10.0})
                await trio.sleep(11)
                assert abs((bot.basis.value_bps or 0.0) - basis) < 20
                for row in sends_between(world, absurd_s, absurd_s + 11):
                    assert Decimal("0.9") < Decimal(str(row["price"])) / mid(world, SPOT) < Decimal("1.1"), row
        await trade_on_and_rest(world, bot)


def mid(world: World, venue: str) -> Decimal:
    return Decimal(world.engine(venue).mark_price("BTCUSDT"))


@pytest.mark.parametrize("venue", VENUES)
async def test_a_halted_symbol_with_a_lot_open_is_a_hold_that_names_it_and_the_service_lives_on(
    tmp_path: Path, autojump_clock: MockClock, venue: str
) -> None:
    async with open_world(tmp_path, seed=5, updates_per_s=CALM, EXIT_EDGE_BPS="-3") as world:
        bot = await trading(world)
        with trio.fail_after(120):
            while not bot.blotter.lots:
                await trio.sleep(0.05)
        world.inject(venue, "symbol_status", params={"status": "BREAK"})
        line = await wait_hold(bot, 400)
        assert "guard:listing" in line or "guard:hedge" in line, line
        await trio.sleep(5)
        causes = " ".join(f"{cause.source} {cause.reason}" for cause in bot.modes.view.hold.causes)
        assert f"{venue} BTCUSDT is BREAK" in causes
        assert bot.unusable(venue) == f"{venue}: BTCUSDT is BREAK"
        frames = bot.links[venue].feed.frames
        await trio.sleep(60)
        assert bot.links[venue].feed.frames > frames, "it goes on watching"
        assert any("BREAK" in reason for reason in bot.blockers())
        world.inject(venue, "symbol_status", params={"status": "TRADING"})
        await trio.sleep(70)
        bot.modes.resume("test")
        await trade_on_and_rest(world, bot)


async def test_filters_that_change_are_learned_from_the_first_refusal(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    changes: tuple[tuple[str, dict[str, str]], ...] = (
        (UM, {"tick_size": "0.5"}),
        (SPOT, {"tick_size": "1"}), (SPOT, {"lot_step": "0.001", "qty_min": "0.001"}),
    )
    async with open_world(tmp_path, seed=5, updates_per_s=CALM) as world:
        bot = await trading(world)
        for venue, filters in changes:
            changed_s = trio.current_time()
            world.inject(venue, "change_filters", params=filters)
            await trio.sleep(40)
            instrument = bot.instruments[venue]
            changed = {name: Decimal(value) for name, value in filters.items()}
            assert {name: getattr(instrument, name) for name in filters} == changed
            rejected = [row for row in world.of_kind("order_state") if row["state"] == "REJECTED"]
            assert 1 <= len([row for row in rejected if row["t"] > changed_s]) <= 6
        await trade_on_and_rest(world, bot)


async def test_filters_are_read_every_hour_and_a_larger_minimum_is_obeyed(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert listing.READ_EVERY_S == 3600
    monkeypatch.setattr(listing, "READ_EVERY_S", 60.0)  # an hour of market would take minutes
    async with open_world(tmp_path, seed=5, updates_per_s=CALM, MAX_POSITION_USDT="1100") as world:
        bot = await trading(world)
        bot.modes.hold("a quiet minute", "operator:test")
        world.inject(UM, "change_filters", params={"notional_min": "5000"})
        await trio.sleep(70)
        bot.modes.resume("test")
        resumed_s = trio.current_time()
        await trio.sleep(30)
        assert bot.instruments[UM].notional_min == 5000
        assert "smallest" in (bot.pipeline.size_problem() or "")
        assert [row for row in sends_between(world, resumed_s, trio.current_time()) if row["purpose"] == "open"] == []
        await world.stop_bot()
        assert_invariants(world)


async def test_the_venues_daily_disconnect_costs_a_moment(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, seed=5, updates_per_s=CALM) as world:
        bot = await trading(world)
        for code in (1000, 1001, 1008):
            for venue in VENUES:
                world.inject(venue, "stream_cut", params={"code": code})
                world.inject(venue, "private_cut")
            await trio.sleep(0.2)
            with trio.fail_after(5):
                while any(bot.unusable(venue) or bot.market.distrust(venue) for venue in VENUES):
                    await trio.sleep(0.05)
            await trio.sleep(15)
        await trade_on_and_rest(world, bot)
