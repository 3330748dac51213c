"""FAULTS section 1, rows 15 to 30: what happens to orders on their way, and what must hold all the same."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve
from trio.testing import MockClock

from propbot.control.desk import ServiceDesk
from propbot.domain.mode import Mode
from propbot.domain.orders import Purpose
from propbot.pipeline import Pipeline
from propbot.service import Service
from propbot.simulate.truth import assert_invariants
from propbot.simulate.world import World, open_world
from propbot.status.desk import ControlPatch, Done
from tests.scenarios.test_faults import come_to_rest
from tests.scenarios.test_faults_market import (
    CALM,
    SPOT,
    UM,
    VENUES,
    sends_between,
    trade_on_and_rest,
    trading,
    wait_hold,
)

TERMINAL = {"FILLED", "PARTIAL", "CANCELED", "REJECTED", "NEVER_SENT"}


def states_of(world: World) -> dict[str, list[tuple[float, str]]]:
    """Client order id → (when, state), in the order in which the bot learned of them."""
    found: dict[str, list[tuple[float, str]]] = {}
    for row in world.of_kind("order_state"):
        found.setdefault(row["client_order_id"], []).append((row["t"], row["state"]))
    return found


async def next_send(world: World, venue: str, within_s: float = 120.0, purpose: str | None = None) -> dict[str, Any]:
    """The next order that leaves for `venue`, the moment it has left."""
    seen = len(world.of_kind("order_send"))
    with trio.fail_after(within_s):
        while True:
            for row in world.of_kind("order_send")[seen:]:
                if row["venue"] == venue and purpose in (None, row["purpose"]):
                    return row
            await trio.sleep(0.0005)


async def resume_when_clear(bot: Service, within_s: float = 90.0) -> None:
    desk = ServiceDesk(bot, bot.keeper)
    with trio.fail_after(within_s):
        while not isinstance(await desk.apply_control(ControlPatch(mode=Mode.RUN), "test"), Done):
            await trio.sleep(0.5)


async def test_the_streams_word_ends_what_a_timeout_left_open_and_nothing_is_sent_again(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Rows 16 and 25: the answer says -1007, the private stream says NEW and FILLED."""
    async with open_world(tmp_path, seed=5, updates_per_s=CALM) as world:
        bot = await trading(world)
        timeout = {"status": 408, "code": -1007, "msg": "Timeout waiting for response from backend server."}
        for venue in VENUES:
            world.inject(venue, "odd_reply", params=timeout)
        await trio.sleep(30)
        struck = [row for row in world.of_kind("fault", "venue") if row["what"] == "acts"]
        assert len(struck) == 2
        for row in struck:
            told = [state for _, state in states_of(world)[row["client_order_id"]]]
            assert told[-1] == "FILLED"
            assert "REJECTED" not in told
        assert max(Counter(row["client_order_id"] for row in world.of_kind("order_send")).values()) == 1
        await trade_on_and_rest(world, bot)


async def test_of_every_twentieth_order_the_answer_is_lost_and_none_is_doubled(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=6) as world:
        bot = await trading(world, 2)
        for venue in VENUES:
            for _ in range(3):
                world.inject(venue, "lost_ack", after=19)
        with trio.fail_after(900):
            while sum(row["what"] == "acts" for row in world.of_kind("fault", "venue")) < 6:
                await trio.sleep(1)
        sent = Counter(row["client_order_id"] for row in world.of_kind("order_send"))
        arrived = Counter(row["client_order_id"] for row in world.of_kind("order", "venue"))
        assert set(sent.values()) == {1}
        assert arrived == sent
        await trade_on_and_rest(world, bot)


@pytest.mark.parametrize("venue", VENUES)
async def test_an_order_that_queries_do_not_find_yet_is_not_taken_for_dead(
    tmp_path: Path, autojump_clock: MockClock, venue: str
) -> None:
    """Answer lost, stream silent, and for five seconds the venue says that it does not exist; it has filled."""
    async with open_world(tmp_path, seed=6, updates_per_s=CALM) as world:
        bot = await trading(world)
        world.inject(venue, "silent_private", params={"seconds": 8.0})
        world.inject(venue, "hide_order", params={"seconds": 5.0})
        world.inject(venue, "lost_ack")
        await trio.sleep(40)
        hidden = next(row["client_order_id"] for row in world.of_kind("fault", "venue") if row["fault"] == "lost_ack"
                      and row["what"] == "acts")
        told = [state for _, state in states_of(world)[hidden]]
        assert told[-1] == "FILLED"
        assert "NEVER_SENT" not in told
        if bot.modes.view.mode is Mode.HOLD:
            await resume_when_clear(bot)
        await trade_on_and_rest(world, bot)


@pytest.mark.parametrize("fill", [True, False])
async def test_a_cancel_that_is_refused_says_nothing_of_the_order_which_is_asked_for(
    tmp_path: Path, autojump_clock: MockClock, fill: bool
) -> None:
    """The order rests when the HOLD comes; its cancel is answered -2011 because it has just filled, or for nothing."""
    async with open_world(tmp_path, seed=5, updates_per_s=CALM) as world:
        bot = await trading(world)
        world.inject(UM, "late_match", params={"seconds": 60.0})
        row = await next_send(world, UM)
        world.inject(UM, "reject_cancel", params={"fill": fill})
        await trio.sleep(0.1)
        lefts: list[int] = []
        note = bot.winddown.note_cancel
        bot.winddown.note_cancel = lambda result: (lefts.append(result.left), note(result))
        bot.modes.hold("drill", "operator:test")
        await bot.winddown.done.wait()
        await trio.sleep(8)
        told = [state for _, state in states_of(world)[row["client_order_id"]]]
        assert "REJECTED" not in told
        assert "NEVER_SENT" not in told
        if fill:
            assert told[-1] == "FILLED"
            assert abs(bot.blotter.exposure()) < bot.lot_step()
        else:
            assert lefts[0] == 1, "read back, not believed"
            assert told[-1] == "CANCELED", "and asked for again"
            causes = " ".join(cause.reason for cause in bot.modes.view.hold.causes)
            assert "naked" in causes or abs(bot.blotter.exposure()) < bot.lot_step(), causes
            bot.modes.resume("test", Mode.DRAIN)
            await wait_hold(bot, 60)
            assert abs(bot.blotter.exposure()) < bot.lot_step()
        await trio.sleep(90)
        await resume_when_clear(bot)
        await trio.sleep(30)
        await come_to_rest(world)


async def test_no_row_of_an_order_a_fill_or_a_lot_is_ever_deleted(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, seed=5, updates_per_s=CALM) as world:
        said: Counter[str] = Counter()
        world.disk_fault = lambda sql: said.update([sql.split()[0].upper()])
        bot = await trading(world)
        world.inject(UM, "partial_fill", count=4, params={"fraction": 0.4})
        world.inject(SPOT, "reject_order", count=2)
        await trade_on_and_rest(world, bot)
        assert said["INSERT"] > 10
        assert said["DELETE"] == 0
        assert said["REPLACE"] == 0


async def test_a_venue_that_dies_after_the_first_leg_is_a_hold_that_names_the_naked_leg(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=5, updates_per_s=CALM) as world:
        bot = await trading(world)
        world.inject(UM, "drop_request")
        await next_send(world, UM)
        world.inject(UM, "refuse_connections", params={"cut": True, "seconds": 60.0})
        died_s = trio.current_time()
        await wait_hold(bot, 7)
        assert trio.current_time() - died_s <= 6
        await bot.winddown.done.wait()
        causes = " ".join(cause.reason for cause in bot.modes.view.hold.causes)
        assert "naked" in causes or "net exposure" in causes
        sent = [row for row in sends_between(world, died_s, trio.current_time() + 60) if row["purpose"] == "open"]
        assert len([row for row in sent if row["venue"] == UM]) <= 1
        await trio.sleep(150)
        assert bot.modes.view.mode is Mode.HOLD
        await world.stop_bot()
        assert_invariants(world)


async def test_while_a_leg_is_on_its_way_no_other_pair_begins(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, seed=5, updates_per_s=CALM, HEDGE_DEADLINE_SEC="15") as world:
        bot = await trading(world)
        world.inject(UM, "delayed_ack", params={"seconds": 2.5})
        world.inject(UM, "silent_private")
        row = await next_send(world, UM)
        with trio.fail_after(20):
            while not {state for _, state in states_of(world)[row["client_order_id"]]} & TERMINAL:
                await trio.sleep(0.01)
        ended_s = trio.current_time()
        assert ended_s - row["t"] > 1
        others = [each for each in sends_between(world, row["t"], ended_s) if each["purpose"] in ("open", "close")]
        assert [each for each in others if each["t"] > row["t"] + 0.05] == []
        world.access.inside.faults.clear()
        await trade_on_and_rest(world, bot)


async def test_a_leg_that_rests_for_ten_seconds_is_named_cancelled_and_its_pair_made_even(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=5, updates_per_s=CALM) as world:
        bot = await trading(world)
        world.inject(UM, "late_match", params={"seconds": 10.0})
        row = await next_send(world, UM)
        line = await wait_hold(bot, 6)
        assert "naked" in line or "net exposure" in line
        others = sends_between(world, row["t"] + 0.05, trio.current_time())
        assert [each for each in others if each["purpose"] in ("open", "close")] == []
        await bot.winddown.done.wait()
        await trio.sleep(30)
        told = [state for _, state in states_of(world)[row["client_order_id"]]]
        assert told[-1] in TERMINAL
        await trio.sleep(120)
        await world.stop_bot()
        assert_invariants(world)


@pytest.mark.parametrize(("venue", "short_by"), [(SPOT, "0.00004"), (UM, "0.001")])
async def test_what_is_left_below_the_smallest_order_is_kept_as_dust_and_never_spun_on(
    tmp_path: Path, autojump_clock: MockClock, venue: str, short_by: str
) -> None:
    async with open_world(tmp_path, seed=5, updates_per_s=CALM) as world:
        bot = await trading(world)
        row = await next_send(world, venue, purpose="open")
        await trio.sleep(5)
        world.inject(venue, "partial_fill", params={"qty": str(Decimal(row["qty"]) - Decimal(short_by))})
        begun_s = trio.current_time()
        await trio.sleep(30)
        sent = sends_between(world, begun_s, trio.current_time())
        repairs = [row for row in sent if row["purpose"] in ("hedge", "unwind")]
        assert len(repairs) <= 3, repairs
        assert abs(bot.blotter.exposure()) < Decimal("0.001")
        await trade_on_and_rest(world, bot)


async def test_a_position_mode_that_somebody_flips_is_a_hold_and_no_leg_stays_naked(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=5, updates_per_s=CALM) as world:
        bot = await trading(world)
        world.inject(UM, "position_mode")
        flipped_s = trio.current_time()
        line = await wait_hold(bot, 120)
        assert "-4061" in line or "preflight" in line
        assert len(sends_between(world, flipped_s, trio.current_time())) <= 12
        await bot.winddown.done.wait()
        assert abs(bot.blotter.exposure()) < bot.lot_step(), "unwound at the other venue"
        world.inject(UM, "position_mode", params={"dual": False})
        await trio.sleep(30)
        await resume_when_clear(bot)
        await trade_on_and_rest(world, bot)


async def test_pages_and_codes_that_nobody_knows_prove_nothing_of_an_order(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    odd: tuple[dict[str, Any], ...] = (
        {"status": 502},
        {"status": 504, "msg": "<html>gateway timeout</html>"},
        {"status": 400, "code": -9999, "msg": "A code of next year."},
        {"status": 500, "code": -1000, "msg": "An unknown error occurred while processing the request."},
    )
    async with open_world(tmp_path, seed=5, updates_per_s=CALM) as world:
        bot = await trading(world)
        for venue in VENUES:
            for reply in odd:
                world.inject(venue, "odd_reply", params=reply)
            world.inject(venue, "odd_answer", count=3)
        await trio.sleep(60)
        for row in world.of_kind("fault", "venue"):
            if row["what"] == "acts" and row["fault"] == "odd_reply":
                told = [state for _, state in states_of(world)[row["client_order_id"]]]
                assert told[-1] == "FILLED", told
        await trade_on_and_rest(world, bot)


async def test_a_trip_between_decision_and_sending_lets_no_byte_out(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, seed=5, updates_per_s=CALM) as world:
        bot = await trading(world)
        trace, tripped = bot.executor.trace, []

        def trip(kind: str, **row: Any) -> None:
            trace(kind, **row)
            if kind == "intent_committed" and row["purpose"] in ("open", "close") and not tripped:
                tripped.extend(row["client_order_ids"])
                bot.modes.hold("in the last moment", "operator:test")

        bot.executor.trace = trip
        await wait_hold(bot, 120)
        await trio.sleep(20)
        bot.executor.trace = trace
        assert len(tripped) == 2
        assert not {row["client_order_id"] for row in world.of_kind("order_send")} & set(tripped)
        assert not {row["client_order_id"] for row in world.of_kind("order", "venue")} & set(tripped)
        assert all(states_of(world)[each][-1][1] == "NEVER_SENT" for each in tripped)
        bot.modes.resume("test")
        await trade_on_and_rest(world, bot)


async def test_somebody_elses_orders_are_a_warning_and_are_never_cancelled(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=5, updates_per_s=CALM) as world:
        bot = await trading(world)
        for venue in VENUES:
            world.inject(venue, "foreign_order", params={"side": "SELL", "qty": "0.01", "away_bps": 2000.0})
        await trio.sleep(15)
        assert bot.modes.view.mode is Mode.RUN, bot.modes.view.hold
        bot.modes.hold("drill", "operator:test")
        await bot.winddown.done.wait()
        assert bot.modes.view.hold.cancel.left == 0, "ours: none"
        for venue in VENUES:
            (order,) = world.engine(venue).open_orders("BTCUSDT")
            assert order.request.client_order_id.startswith("web_")
        bot.modes.resume("test")
        await trio.sleep(20)
        await come_to_rest(world)
        assert all(len(world.engine(venue).open_orders("BTCUSDT")) == 1 for venue in VENUES), "nor by a stop"


async def test_a_tick_of_nine_digits_is_kept_to_the_last_one(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, seed=5, updates_per_s=CALM) as world:
        world.inject(UM, "change_filters", params={"tick_size": "0.000000001"})
        world.inject(SPOT, "change_filters", params={"tick_size": "0.00000001", "lot_step": "0.00000001"})
        bot = await trading(world)
        prices = [Decimal(row["price"]) for row in world.of_kind("order", "venue") if row["price"] is not None]
        assert min(price.as_tuple().exponent for price in prices) <= -5, "nothing rounds to the old tick"
        quantities = [Decimal(row["qty"]) for row in world.of_kind("order", "venue") if row["venue"] == SPOT]
        assert min(qty.as_tuple().exponent for qty in quantities) == -8
        assert all(row["code"] is None for row in world.of_kind("order_reply", "venue"))
        await trade_on_and_rest(world, bot)


@pytest.mark.parametrize(
    ("venue", "rewrite"),
    [
        (UM, {"where": "private", "find": '"X":"FILLED"', "to": '"X":"SETTLED_BY_MOON"'}),
        (SPOT, {"where": "private", "find": '"X":"FILLED"', "to": '"X":"SETTLED_BY_MOON"'}),
        (UM, {"where": "rest", "path": "/order", "find": '"status":"FILLED"', "to": '"status":"SETTLED_BY_MOON"'}),
        (SPOT, {"where": "rest", "path": "/order", "find": '"executedQty":', "to": '"executedQuantity":'}),
    ],
)
async def test_words_of_an_order_that_we_do_not_know_are_a_hold_and_never_a_guess(
    tmp_path: Path, autojump_clock: MockClock, venue: str, rewrite: dict[str, str]
) -> None:
    async with open_world(tmp_path, seed=5, updates_per_s=CALM) as world:
        bot = await trading(world)
        changed_s = trio.current_time()
        world.inject(venue, "rewrite", params={**rewrite, "seconds": 40.0})
        await wait_hold(bot, 120)
        causes = " ".join(f"{cause.source} {cause.reason}" for cause in bot.modes.view.hold.causes)
        assert "guard:protocol" in causes, causes
        assert venue in causes
        assert len(sends_between(world, changed_s, trio.current_time())) <= 8
        await trio.sleep(60)
        await resume_when_clear(bot)
        await trade_on_and_rest(world, bot)


async def test_a_market_stream_that_we_cannot_read_any_more_is_distrusted_and_then_a_hold(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=5, updates_per_s=CALM) as world:
        bot = await trading(world)
        changed_s = trio.current_time()
        world.inject(UM, "rewrite", params={"where": "public", "find": '"u":', "to": '"lastId":', "seconds": 90.0})
        line = await wait_hold(bot, 80)
        assert UM in line
        assert sends_between(world, changed_s + 2, trio.current_time()) == []
        await trio.sleep(60)
        await resume_when_clear(bot)
        await trade_on_and_rest(world, bot)


async def test_a_listing_that_we_cannot_read_any_more_is_a_hold(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, seed=5, updates_per_s=CALM) as world:
        bot = await trading(world)
        rename = {"where": "rest", "path": "/exchangeInfo", "find": '"tickSize":', "to": '"tick":', "seconds": 30.0}
        world.inject(SPOT, "rewrite", params=rename)
        bot.gateways[SPOT].listing_doubted.set()
        line = await wait_hold(bot, 5)
        assert "guard:listing: binance-spot BTCUSDT is UNREADABLE" in line
        await trio.sleep(120)
        await resume_when_clear(bot)
        await trade_on_and_rest(world, bot)


async def test_a_size_a_thousand_times_too_large_never_leaves(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    leg = Pipeline._leg

    def thousandfold(self: Pipeline, venue: Any, side: Any, purpose: Purpose, qty: Decimal, walk: Any) -> Any:
        return leg(self, venue, side, purpose, qty * 1000, walk)

    async with open_world(tmp_path, seed=5, updates_per_s=CALM) as world:
        bot = await trading(world)
        bug_s = trio.current_time()
        monkeypatch.setattr(Pipeline, "_leg", thousandfold)
        await trio.sleep(30)
        monkeypatch.undo()
        for row in sends_between(world, bug_s, trio.current_time()):
            assert Decimal(row["qty"]) * Decimal(row["price"]) <= 1100, row
        await trade_on_and_rest(world, bot)


async def test_a_strategy_gone_wild_is_stopped_by_the_breaker(tmp_path: Path, autojump_clock: MockClock) -> None:
    """It finds each moment good for opening and for closing: pairs follow one another as fast as they are answered.
    Risk ends that at half the limit; where risk does not count either, the breaker does, at the limit."""
    async with open_world(tmp_path, seed=5, updates_per_s=CALM, MAX_ORDERS_PER_MIN="60") as world:
        bot = await trading(world)
        rules, wild_s = bot.pipeline.rules, trio.current_time()
        exits = evolve(rules.exits, age_s_max=0.0)
        bot.pipeline.rules = evolve(rules, min_spread_bps=Decimal(-1000), exits=exits)
        await trio.sleep(30)
        assert bot.modes.view.mode is Mode.RUN, bot.modes.view.hold
        assert len([row for row in sends_between(world, wild_s, wild_s + 30) if row["purpose"] == "open"]) <= 30
        bot.pipeline.orders_last_minute = lambda: 0
        line = await wait_hold(bot, 60)
        assert "guard:runaway_breaker" in line
        assert len(sends_between(world, trio.current_time() - 60, trio.current_time())) <= 60
        bot.pipeline.rules, bot.pipeline.orders_last_minute = rules, bot.orders_last_minute
        await resume_when_clear(bot)
        await trade_on_and_rest(world, bot)
