"""What is kept over restarts beside the ledger, and what a start makes of files that it can't trust."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from propbot.backup import make_backup, restore
from propbot.control.desk import ServiceDesk
from propbot.control.state_file import FILE_NAME, load_state
from propbot.domain.errors import LedgerError
from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM
from propbot.domain.lots import LotState
from propbot.domain.mode import Mode
from propbot.kit.disk import open_sqlite
from propbot.ledger.beside import verify_file
from propbot.ledger.reads import EventFilter
from propbot.service import Service
from propbot.simulate.truth import assert_invariants
from propbot.simulate.world import World, open_world
from propbot.status.desk import BaselineMoved, Conflict, ControlPatch, Done
from tests.scenarios.test_trading import hold_still


async def _ready(world: World, **more: str) -> Service:
    bot = await world.start_bot(**more)
    with trio.fail_after(30):
        while not bot.modes.ready:
            await trio.sleep(0.1)
    return bot


async def _patch(bot: Service, **changes: object) -> Done:
    outcome = await ServiceDesk(bot, bot.keeper).apply_control(ControlPatch(**changes), "ann")  # type: ignore[arg-type]
    assert isinstance(outcome, Done), outcome
    return outcome


async def _said(bot: Service, kind: str) -> list[str]:
    await trio.sleep(1)
    return [row.message for row in (await bot.ledger.events_page(500, None, EventFilter(kind=kind)))[0]]


async def test_parameters_and_counters_survive_a_kill_right_after_the_answer(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        bot = await _ready(world)
        await _patch(bot, safe_mode=True)
        bot.counters.put("day_peak_usdt", "200001.5")
        await _patch(bot, order_notional_usdt=Decimal(700), max_slippage_bps=Decimal("1.5"), drain_timeout_sec=5.0)
        await world.kill_bot()

        bot = await _ready(world)
        rules = bot.pipeline.rules
        assert (rules.order_notional, rules.max_slippage_bps, bot.drain_timeout_s) == (Decimal(700), Decimal("1.5"), 5)
        assert bot.pipeline.limits.order_notional == Decimal(700)
        assert bot.modes.view.safe_mode
        assert bot.counters.get("day_peak_usdt") == "200001.5"
        assert any("order_notional_usdt is 700, as an operator set it" in text for text in await _said(bot, "config"))
        await world.stop_bot()

        bot = await _ready(world, ORDER_NOTIONAL_USDT="400")
        assert bot.pipeline.rules.order_notional == Decimal(400)
        assert bot.pipeline.rules.max_slippage_bps == Decimal("1.5")
        changed = "ORDER_NOTIONAL_USDT changed in the environment, 1000 -> 400"
        assert any(changed in text for text in await _said(bot, "config"))
        await world.stop_bot()
        assert_invariants(world)


@pytest.mark.parametrize("damage", ["torn", "foreign", "newer"])
async def test_a_state_file_that_can_not_be_used_is_a_hold_that_lasts(
    tmp_path: Path, autojump_clock: MockClock, damage: str
) -> None:
    async with open_world(tmp_path) as world:
        await _ready(world)
        await world.stop_bot()
        path = tmp_path / "bot" / FILE_NAME
        whole = path.read_bytes()
        match damage:
            case "torn":
                path.write_bytes(whole[: len(whole) // 2])
            case "foreign":
                path.write_bytes(json.dumps({"their": "file"}).encode())
            case _:
                path.write_bytes(whole.replace(b'"schema": 2', b'"schema": 3'))
        bot = await _ready(world)
        hold = bot.modes.view.hold
        assert hold is not None
        assert hold.first.source == "guard:state"
        assert FILE_NAME in hold.first.reason
        assert len(list((tmp_path / "bot").glob(f"{FILE_NAME}.bad-*"))) == 1
        await world.stop_bot()

        bot = await _ready(world)
        assert bot.modes.view.mode is Mode.HOLD, "a HOLD that somebody should look at is not carried away"
        await world.stop_bot()


async def test_a_disk_that_fails_under_the_state_is_a_hold_that_cancels_and_can_be_left_when_it_is_mended(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, EXIT_EDGE_BPS="-100") as world:
        bot = await _ready(world)
        with trio.fail_after(60):
            while not bot.blotter.lots:
                await trio.sleep(0.1)
        await _patch(bot, safe_mode=True)
        await _patch(bot, safe_mode=False)
        world.note("disk", broken=True)
        (tmp_path / "bot" / (FILE_NAME + ".tmp")).mkdir()  # what is written goes through this name
        await trio.sleep(3)
        hold = bot.modes.view.hold
        assert hold is not None
        assert hold.first.reason == f"the state can't be kept: {FILE_NAME}: Is a directory"
        assert len(hold.causes) == 2, "once by who writes it and once by its guard, not once a second"
        assert hold.cancel is not None
        assert hold.cancel.left == 0
        assert any(f"{FILE_NAME}: Is a directory" in reason for reason in bot.blockers())
        with pytest.raises(LedgerError, match="not durable"):
            await _patch(bot, min_spread_bps=Decimal(3))
        bot.modes.hold("one more", "operator:ann")
        held = await _patch(bot, mode=Mode.HOLD)
        assert any("not durable" in warning for warning in held.warnings), "a HOLD holds whatever the disk does"
        assert len(await _said(bot, "guard_trip")) == 2
        (tmp_path / "bot" / (FILE_NAME + ".tmp")).rmdir()
        world.note("disk", broken=False)
        await trio.sleep(2)
        assert bot.blockers() == []
        bot.modes.resume("ann")
        await trio.sleep(2)
        assert bot.modes.view.mode is Mode.RUN
        state = load_state(tmp_path / "bot")
        assert state is not None
        assert (state.view.mode, state.parameters.patched) == (Mode.RUN, {"min_spread_bps": "3"})
        await world.stop_bot()
        assert_invariants(world)


# --- the journal


def _rows(world: World, sql: str) -> list[tuple[object, ...]]:
    connection = open_sqlite(world.tmp_path / "bot" / "ledger.db")
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


async def test_whatever_trading_changed_is_in_the_journal_and_the_chain_holds_over_kills(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=3) as world:
        await _ready(world)
        await trio.sleep(20)
        await world.kill_bot()
        bot = await _ready(world)
        await trio.sleep(20)
        found = await bot.ledger.verify_journal()
        assert (found.ok, bot.ledger.head is not None) == (True, True)
        assert await _said(bot, "audit"), "its head is told to the log"
        await world.stop_bot()
        state = load_state(tmp_path / "bot")
        assert state is not None
        assert state.head is not None
        offline = verify_file(tmp_path / "bot" / "ledger.db", state.head)
        assert offline.ok, offline
        assert offline.rows >= state.head.id
        for kind, detail, column in (
            ("intent", "intent_id", "SELECT id FROM intents"),
            ("fill", "trade_id", "SELECT trade_id FROM fills"),
            ("lot", "lot_id", "SELECT id FROM lots WHERE state != 'OPENING'"),
        ):
            journalled = _rows(world, f"SELECT details ->> '{detail}' FROM events WHERE kind = '{kind}'")
            missing = {row[0] for row in _rows(world, column)} - {row[0] for row in journalled}
            assert not missing, kind
        ended = "SELECT client_order_id FROM orders WHERE state NOT IN ('INTENT', 'SENT', 'WORKING', 'UNKNOWN')"
        told = "SELECT details ->> 'client_order_id' FROM events WHERE kind LIKE 'order%'"
        assert set(_rows(world, ended)) <= set(_rows(world, told))
        assert_invariants(world)


@pytest.mark.parametrize("damage", ["older ledger", "cut journal", "older state", "no state"])
async def test_state_and_ledger_that_do_not_belong_together_are_a_hold(
    tmp_path: Path, autojump_clock: MockClock, damage: str
) -> None:
    folder = tmp_path / "bot"
    async with open_world(tmp_path) as world:
        await _ready(world)
        await world.stop_bot()
        older = {name: (folder / name).read_bytes() for name in ("ledger.db", FILE_NAME)}
        await _ready(world)
        await trio.sleep(10)
        await hold_still(world)
        await world.stop_bot()
        match damage:
            case "older ledger":
                (folder / "ledger.db").write_bytes(older["ledger.db"])
            case "cut journal":
                connection = open_sqlite(folder / "ledger.db")
                connection.execute("DELETE FROM events WHERE id > 20")
                connection.close()
            case "older state":
                (folder / FILE_NAME).write_bytes(older[FILE_NAME])
            case _:
                (folder / FILE_NAME).unlink()
        bot = await world.start_bot()
        hold = bot.modes.view.hold
        assert hold is not None
        said = [cause.reason for cause in hold.causes if cause.source == "guard:state"]
        assert len(said) == 1, hold
        assert ("ledger.db is an older copy" in said[0]) is (damage in ("older ledger", "cut journal"))
        assert (FILE_NAME + " is an older copy" in said[0]) is (damage == "older state")
        assert (FILE_NAME + " is gone" in said[0]) is (damage == "no state")
        await world.stop_bot()


async def test_a_hold_that_is_asked_for_in_a_hold_is_in_the_journal_with_who_and_why(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        bot = await _ready(world)
        desk = ServiceDesk(bot, bot.keeper)
        desk.enter_hold("lunch", "ann", winddown_exempt=False)
        await trio.sleep(2)
        desk.enter_hold("do not resume", "bob", winddown_exempt=False)
        await trio.sleep(1)
        rows = (await bot.ledger.events_page(500, None, EventFilter(kind="hold")))[0]
        assert ("operator:bob", "HOLD asked for again: do not resume") in [(row.source, row.message) for row in rows]
        assert not [row for row in rows if "again" in row.message and row.source != "operator:bob"]
        await world.stop_bot()


@pytest.mark.parametrize("lost", ["torn", "gone"])
async def test_an_old_state_is_known_as_one_also_after_a_life_that_began_without_any(
    tmp_path: Path, autojump_clock: MockClock, lost: str
) -> None:
    path = tmp_path / "bot" / FILE_NAME
    async with open_world(tmp_path) as world:
        await _ready(world)
        await trio.sleep(20)
        await world.stop_bot()
        older = path.read_bytes()
        await _ready(world)
        await trio.sleep(5)
        await world.stop_bot()
        if lost == "torn":
            path.write_bytes(older[:100])
        else:
            path.unlink()
        await _ready(world)
        await world.stop_bot()  # a life so short that a count which began anew would not have caught up
        path.write_bytes(older)
        bot = await world.start_bot()
        hold = bot.modes.view.hold
        assert hold is not None
        said = [cause.reason for cause in hold.causes if cause.source == "guard:state"]
        assert len(said) == 1, hold
        assert FILE_NAME + " is an older copy" in said[0]
        await world.stop_bot()


# --- backup and restore


async def test_a_restored_service_holds_until_somebody_resumes_and_then_goes_on(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    folder = tmp_path / "bot"
    async with open_world(tmp_path, seed=5) as world:
        await _ready(world)
        await trio.sleep(20)
        await hold_still(world)
        await world.bot.modes.level.wait(lambda view: view.hold is not None)  # type: ignore[union-attr]
        made = make_backup(folder, tmp_path / "b.tar", world.clock.wall_ns())  # beside the running service
        assert made.journal.ok
        await world.stop_bot()
        restore(tmp_path / "b.tar", folder, world.clock.wall_ns(), force=True)
        for _ in range(2):
            bot = await _ready(world)
            hold = bot.modes.view.hold
            assert hold is not None
            assert (hold.first.source, "restored from b.tar" in hold.first.reason) == ("startup", True)
            sent = len(world.of_kind("intent_committed"))
            await trio.sleep(10)
            assert len(world.of_kind("intent_committed")) == sent
            await world.stop_bot()
        bot = await _ready(world)
        bot.modes.resume("ann")
        await trio.sleep(30)
        assert bot.modes.view.mode is Mode.RUN, bot.modes.view
        assert len(world.of_kind("intent_committed")) > sent
        assert (await bot.ledger.verify_journal()).ok
        await hold_still(world)
        await world.stop_bot()
        assert_invariants(world)


async def test_what_was_traded_after_the_backup_shows_as_a_difference_and_nothing_is_sent(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    folder = tmp_path / "bot"
    async with open_world(tmp_path, seed=5, EXIT_EDGE_BPS="-100") as world:  # lots stay open by themselves
        bot = await _ready(world)
        make_backup(folder, tmp_path / "b.tar", world.clock.wall_ns())
        with trio.fail_after(60):
            while len(bot.blotter.lots) < 2:
                await trio.sleep(0.1)
        await world.kill_bot()
        restore(tmp_path / "b.tar", folder, world.clock.wall_ns(), force=True)
        sent = len(world.of_kind("intent_committed"))
        bot = await world.start_bot()
        await trio.sleep(40)
        hold = bot.modes.view.hold
        assert hold is not None
        assert hold.first.source == "startup"
        assert any("guard:recon" in cause.source for cause in hold.causes), hold
        assert bot.blockers(), "it can't be resumed while they differ"
        assert len(world.of_kind("intent_committed")) == sent
        await world.stop_bot()


async def restored_with_lots_that_the_venue_has_closed(world: World, tmp_path: Path) -> Service:
    """A backup with lots open; they are closed after it; it is restored; recon has tripped."""
    folder = tmp_path / "bot"
    bot = await _ready(world)
    with trio.fail_after(90):
        while not any(lot.state is LotState.OPEN for lot in bot.blotter.lots.values()):
            await trio.sleep(0.01)
    make_backup(folder, tmp_path / "b.tar", world.clock.wall_ns())
    bot.modes.resume("ann", Mode.DRAIN)
    with trio.fail_after(120):
        await bot.modes.level.wait(lambda view: view.hold is not None)
    assert world.engine("binance-um").position("BTCUSDT")[0] == 0
    await world.stop_bot()
    restore(tmp_path / "b.tar", folder, world.clock.wall_ns(), force=True)
    bot = await world.start_bot()
    with trio.fail_after(60):
        while bot.watches["recon"].tripped is None:
            await trio.sleep(0.5)
    return bot


async def test_after_a_restore_lots_that_were_closed_since_are_written_off_not_closed_again(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Seen by hand: their baseline was accepted, and DRAIN then opened at the venue what no page showed."""
    async with open_world(tmp_path, seed=5, updates_per_s=3) as world:
        bot = await restored_with_lots_that_the_venue_has_closed(world, tmp_path)
        desk, sent = ServiceDesk(bot, bot.keeper), len(world.of_kind("order_send"))
        lots = set(bot.blotter.lots)
        assert lots
        refused = await desk.accept_baseline(BINANCE_UM, "BTC", "restored", "ann")
        assert isinstance(refused, Conflict)
        assert "lots=write_off" in refused.reasons[0]
        assert all(lot in refused.reasons[0] for lot in lots)
        moved = await desk.accept_baseline(BINANCE_UM, "BTC", "restored", "ann", "write_off")
        assert isinstance(moved, BaselineMoved), moved
        assert set(moved.written_off) == lots
        for venue, asset in ((BINANCE_UM, "USDT"), (BINANCE_SPOT, "BTC"), (BINANCE_SPOT, "USDT")):
            assert isinstance(await desk.accept_baseline(venue, asset, "restored", "ann"), BaselineMoved | Conflict)
        with trio.fail_after(60):
            while bot.watches["recon"].blocker is not None:
                await trio.sleep(0.5)
        bot.modes.resume("ann", Mode.DRAIN)
        with trio.fail_after(60):
            await bot.modes.level.wait(lambda view: view.hold is not None)
        assert len(world.of_kind("order_send")) == sent, "there is nothing to close"
        assert world.engine("binance-um").position("BTCUSDT")[0] == 0
        rows, _ = await bot.ledger.lots_page(100, None)
        assert {row.id for row in rows if row.exit_reason == "WRITTEN_OFF"} == lots
        await world.stop_bot()
        bot = await world.start_bot()
        assert not bot.blotter.lots, "durably"
