"""FAULTS section 1, rows 55 to 65: what goes wrong in the process, on its disk and with its database; and I24.

What virtual time can't show (a full disk by limit, a foreign lock, a suspended process, a second instance) is in
tests/e2e/test_process_faults.py. docs/faults.md maps each row to its scenario.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from propbot.api.app import make_api
from propbot.api.auth import Auth
from propbot.control.desk import ServiceDesk
from propbot.control.state_file import FILE_NAME
from propbot.domain.errors import LedgerError
from propbot.domain.mode import Mode
from propbot.domain.orders import Purpose
from propbot.ledger.reads import EventFilter
from propbot.service import Service
from propbot.simulate.oracle.disk import read_state
from propbot.simulate.truth import assert_invariants
from propbot.simulate.world import World, open_world
from tests.scenarios.test_faults_account import (
    SLOW_MARKET,
    VENUES,
    come_to_rest,
    resume,
    traded_on_and_rested,
    trading,
    wait_hold,
)
from tests.scenarios.test_faults_network import bad_weather, quiet_moment

# --- 56

RESTARTED = ("feed:", "private:", "gateway:")
"""Sessions: a failure of theirs is told and they are started again."""


class Planted(Exception):
    """A bug."""


def tasks_of_engine() -> dict[str, trio.lowlevel.Task]:
    """The service's tasks that have names of their own, by name."""
    found: dict[str, trio.lowlevel.Task] = {}
    root = trio.lowlevel.current_root_task()
    waiting = [] if root is None else [root]
    while waiting:
        task = waiting.pop()
        if "." not in task.name and "<" not in task.name:
            found[task.name] = task
        waiting += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return {name: task for name, task in found.items() if name not in ("init", "main")}


async def plant(name: str) -> None:
    """Raise in that task, wherever it waits now: as Trio itself delivers a KeyboardInterrupt."""

    def raise_it() -> None:
        raise Planted("planted")

    with trio.fail_after(5):
        while tasks_of_engine()[name]._abort_func is None:  # it is about to run
            await trio.sleep(0.001)
        tasks_of_engine()[name]._attempt_abort(raise_it)


@pytest.mark.timeout(600)
async def test_56_whichever_engine_task_fails_it_is_a_hold_that_names_it_and_nothing_is_opened_any_more(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    names: set[str] = set()
    async with open_world(tmp_path, seed=56, updates_per_s=SLOW_MARKET) as world:
        await world.start_bot()
        await trio.sleep(4)
        names = {name for name in tasks_of_engine() if not name.startswith(RESTARTED)}
    assert {"trading", "reconciler", "resolver", "bookkeeper", "winddown", "state", "guard:recon"} <= names
    for name in sorted(names):
        folder = tmp_path / name.replace(":", "-")
        folder.mkdir()
        async with open_world(folder, seed=56, updates_per_s=SLOW_MARKET) as world:
            bot = await world.start_bot()
            await trio.sleep(4)
            assert bot.modes.view.mode is Mode.RUN, bot.modes.view.hold
            await plant(name)
            await trio.sleep(0.05)
            hold = bot.modes.view.hold
            assert hold is not None, name
            assert f"crash:{name}" in [cause.source for cause in hold.causes], (name, hold)
            assert "Planted: planted" in hold.line(), (name, hold)
            after = trio.current_time()
            await trio.sleep(8)
            opened = [r for r in world.of_kind("order_send") if r["t"] > after and r["purpose"] == Purpose.OPEN]
            assert opened == [], name
            assert any(f"task {name} is dead" in reason for reason in bot.blockers()), name
            await world.stop_bot()
            assert_invariants(world, quiesced=False)


async def test_56_a_state_task_that_fails_on_is_told_once_and_keeps_the_hold_as_soon_as_it_can(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_world(tmp_path, seed=56, updates_per_s=SLOW_MARKET) as world:
        bot = await trading(world)
        tries: list[float] = []

        async def fail(*_: Any, **__: Any) -> None:
            tries.append(trio.current_time())
            raise Planted("planted")

        with monkeypatch.context() as broken:
            broken.setattr(type(bot.keeper), "save", fail)
            await trio.sleep(60)
        assert 50 <= len(tries) <= 65, "tried on, about once a second"
        assert tries[1] - tries[0] < 0.1, "and at once after the first time: the HOLD is not kept yet"
        told = (await bot.ledger.events_page(500, None, EventFilter(kind="crash")))[0]
        assert [row.message for row in told] == ["task state ended: Planted: planted"]
        await trio.sleep(2)
        assert bot.modes.view.mode is Mode.HOLD
        assert any("task state is dead" in reason for reason in bot.blockers()), "it stays accused"
        await world.kill_bot()
        bot = await world.start_bot()
        hold = bot.modes.view.hold
        assert hold is not None
        assert "Planted: planted" in hold.line(), "the HOLD became durable after all"


async def test_56_a_session_that_fails_is_told_and_started_again(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, seed=56, updates_per_s=SLOW_MARKET) as world:
        bot = await trading(world)
        for name in sorted(name for name in tasks_of_engine() if name.startswith(RESTARTED)):
            await quiet_moment(bot)
            await plant(name)
            await trio.sleep(8)
            assert not bot.dead_tasks, name
        told = [
            row.message for row in (await bot.ledger.events_page(500, None, EventFilter(kind="session")))[0]
            if "Planted" in row.message
        ]
        assert len({text.split(": ")[0] for text in told}) == 6, told
        await traded_on_and_rested(world, bot)


# --- 57


async def test_57_a_loop_that_did_not_turn_for_eight_seconds_is_a_hold(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=57, updates_per_s=SLOW_MARKET) as world:
        bot = await trading(world)
        await quiet_moment(bot)
        autojump_clock.jump(8)
        line = await wait_hold(bot, 2)
        assert "guard:loop_lag" in line
        await resume(bot, 60)
        await traded_on_and_rested(world, bot)


# --- 58


@pytest.mark.timeout(400)
async def test_58_what_is_kept_in_memory_stays_bounded(tmp_path: Path, autojump_clock: MockClock) -> None:
    """The day that the invariant names is `tox -e day`; here a few minutes with every fill told twice."""
    async with open_world(tmp_path, seed=58, updates_per_s=SLOW_MARKET) as world:
        bot = await trading(world)
        for venue in VENUES:
            world.inject(venue, "duplicate_fill", count=None)
        sizes: list[dict[str, int]] = []
        for _ in range(3):
            await trio.sleep(120)
            await quiet_moment(bot)
            sizes.append(kept(bot))
        for name, count in sizes[-1].items():
            assert count <= max(sizes[0][name] * 1.2, sizes[0][name] + 8), (name, sizes)
        await come_to_rest(world)


def kept(bot: Service) -> dict[str, int]:
    """Everything that grows with what happens; keys of fills have a bound of their own (`DONE_KEYS_KEPT`)."""
    blotter = bot.blotter
    return {
        "tasks": trio.lowlevel.current_statistics().tasks_living,
        "orders": len(blotter.orders), "lots": len(blotter.lots), "lot_fills": len(blotter.lot_fills),
        "by_order_id": len(blotter._by_order_id), "lot_base": len(blotter._lot_base),
        "outbox": blotter.outbox_size, "journal": len(bot.journal._queue), "components": len(bot.board.components()),
        "incidents": len(bot.incidents.all()),
        "connections": sum(gateway.client.idle_connections for gateway in bot.gateways.values()),
    }


# --- 60, 61


async def test_60_a_full_disk_is_a_hold_in_memory_with_cancels_and_trading_goes_on_when_there_is_room(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """SQLite's own answer to a full disk: no page more than there are."""
    async with open_world(tmp_path, seed=60, updates_per_s=SLOW_MARKET) as world:
        bot = await trading(world)
        connection = bot.ledger._connected.need()
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        line = await wait_hold(bot, 60)
        assert "guard:ledger" in line
        assert "full" in line
        await bot.winddown.done.wait()
        assert bot.modes.view.hold is not None
        assert bot.modes.view.hold.cancel is not None, "the venues were asked what is left"
        assert bot.modes.view.hold.cancel.left == 0
        sent = len(world.of_kind("order_send"))
        await trio.sleep(20)
        assert len(world.of_kind("order_send")) == sent
        assert not bot.dead_tasks
        connection.execute("PRAGMA max_page_count = 1000000")
        await trio.sleep(2)
        await resume(bot)
        await traded_on_and_rested(world, bot)


@pytest.mark.timeout(300)
async def test_61_an_i_o_error_in_whichever_operation_loses_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=61, updates_per_s=SLOW_MARKET) as world:
        bot = await trading(world)
        for number in range(1, 13):
            world.disk_fault = failing_once(number)
            with trio.move_on_after(20):
                await bot.modes.level.wait(lambda view: view.mode is Mode.HOLD)
            if bot.modes.view.hold is not None:
                line = bot.modes.view.hold.line()
                assert "guard:ledger" in line, line
                assert "disk I/O error" in line
                await resume(bot)
        world.disk_fault = None
        assert not bot.dead_tasks
        await traded_on_and_rested(world, bot)


def failing_once(number: int) -> Callable[[str], None]:
    """The `number`-th statement from now on fails, all others work."""
    left = [number]

    def fail(sql: str) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise sqlite3.OperationalError("disk I/O error")

    return fail


# --- 62


async def test_62_a_damaged_ledger_is_refused_whichever_page_it_is(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, seed=62, updates_per_s=SLOW_MARKET) as world:
        await quiet_moment(await trading(world))
        await world.stop_bot()
        path = tmp_path / "bot" / "ledger.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            size = connection.execute("PRAGMA page_size").fetchone()[0]
        whole = path.read_bytes()
        pages = len(whole) // size
        for page in range(0, pages, max(1, pages // 8)):
            damaged = bytearray(whole)
            at = page * size
            damaged[at : at + 8] = bytes(byte ^ 0xFF for byte in damaged[at : at + 8])
            path.write_bytes(damaged)
            with pytest.raises(LedgerError, match=r"ledger\.db.*(damaged|no ledger)"):
                await world.start_bot()
        path.write_bytes(whole)
        bot = await world.start_bot()
        await traded_on_and_rested(world, bot)


# --- 64, 65


async def test_64_a_data_directory_that_takes_no_file_any_more_is_a_hold_and_no_crash(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=64, updates_per_s=SLOW_MARKET) as world:
        bot = await trading(world)
        in_the_way = tmp_path / "bot" / f"{FILE_NAME}.tmp"
        in_the_way.mkdir()
        world.note("disk", broken=True)
        line = await wait_hold(bot, 3)
        assert "guard:ledger" in line
        assert "the state can't be kept" in line
        await trio.sleep(5)
        assert not bot.dead_tasks
        in_the_way.rmdir()
        world.note("disk", broken=False)
        await trio.sleep(2)
        await resume(bot)
        await traded_on_and_rested(world, bot)


async def test_65_a_torn_or_foreign_state_is_a_hold_that_says_so_and_never_run(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=65, updates_per_s=SLOW_MARKET) as world:
        await trading(world)
        path = tmp_path / "bot" / FILE_NAME
        for keep in (0.0, 0.3, 0.9, 0.999):
            await world.kill_bot()
            whole = path.read_bytes()
            read_state(whole.decode())  # a kill tears nothing
            path.write_bytes(whole[: int(len(whole) * keep)])
            bot = await world.start_bot()
            hold = bot.modes.view.hold
            assert hold is not None
            assert "guard:state" in hold.line()
            assert FILE_NAME in hold.line()
            assert "check and resume" in hold.line()
            await trio.sleep(5)
            assert bot.modes.view.mode is Mode.HOLD
            await resume(bot)
        # it was this test that tore the file, which the judge of I14 can't know: also its generation goes on from what
        # the ledger remembers, which may be less than what was lost
        world.rows[:] = [row for row in world.rows if row["kind"] != "state_file"]
        await traded_on_and_rested(world, bot)


# --- I24


@pytest.mark.parametrize("moment", ["with an order on its way", "at rest"])
async def test_hold_is_in_force_at_once_with_disk_database_and_every_venue_dead(
    tmp_path: Path, autojump_clock: MockClock, moment: str
) -> None:
    """I24: everything that a HOLD could lean on dies in the same instant, and the operator asks for it over the API."""
    async with open_world(tmp_path, seed=24, updates_per_s=SLOW_MARKET) as world:
        weather = bad_weather(world)
        bot = await trading(world)
        if moment == "with an order on its way":
            sent = len(world.of_kind("order_send"))
            with trio.fail_after(60):
                while len(world.of_kind("order_send")) == sent:
                    await trio.sleep(0.0005)
        else:
            await quiet_moment(bot)
        weather.link_down()
        world.disk_fault = broken
        world.note("disk", broken=True)
        (tmp_path / "bot" / f"{FILE_NAME}.tmp").mkdir()
        died_at, died_ns = trio.current_time(), world.clock.wall_ns()
        app = make_api(ServiceDesk(bot, bot.keeper), auth=Auth(bot.people))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            answer = await client.patch("/api/ui/control", json={"mode": "HOLD", "reason": "everything burns"})
            assert bot.modes.view.mode is Mode.HOLD
            assert bot.modes.switch.halted
            assert answer.status_code == 200
            assert answer.json()["control"]["mode"] == "HOLD"
            assert trio.current_time() - died_at < 1.5, "an answer does not wait for a dead disk"
            for _ in range(3):
                await trio.sleep(1)
                overview = (await client.get("/api/ui/status/overview")).json()
                assert overview["mode"] == "HOLD"
                assert overview["overall"] == "HOLD"
                causes = str(overview["hold"])
                assert "everything burns" in causes
                assert "operator:local" in causes
            assert (await client.get("/healthz")).status_code in (200, 503)
            assert (await client.get("/metrics")).status_code in (200, 404)
        first = bot.modes.view.hold.first if bot.modes.view.hold else None
        assert first is not None
        assert first.reason == "everything burns"
        assert first.since_ns - died_ns <= 50_000_000, "in force in the step that asked for it"
        late = [r for r in world.of_kind("order_send") if r["t"] > died_at and r["purpose"] in ("open", "close")]
        assert late == []
        await trio.sleep(10)
        cancel = bot.modes.view.hold.cancel if bot.modes.view.hold else None
        assert cancel is not None
        assert set(cancel.not_read_back) == set(VENUES), "cancels were tried at every venue, and the line says so"
        assert not bot.dead_tasks
        await revive(world, bot, weather.link_up)
        await traded_on_and_rested(world, bot)


def broken(sql: str) -> None:
    raise sqlite3.OperationalError("disk I/O error")


async def revive(world: World, bot: Service, link_up: Callable[[], None]) -> None:
    """Everything is back: what was not written is written, what is unknown is asked for, and an operator resumes."""
    link_up()
    world.disk_fault = None
    (world.tmp_path / "bot" / f"{FILE_NAME}.tmp").rmdir()
    world.note("disk", broken=False)
    await trio.sleep(30)
    await resume(bot, 120)


async def test_the_hold_line_tells_what_is_left_as_soon_as_the_venues_answer_again(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=24, updates_per_s=SLOW_MARKET) as world:
        weather = bad_weather(world)
        bot = await trading(world, 2)
        await quiet_moment(bot)
        weather.link_down()
        bot.modes.hold("everything burns", "operator:test")
        await trio.sleep(20)
        weather.link_up()
        await trio.sleep(20)
        assert bot.modes.view.hold is not None
        assert bot.modes.view.hold.line().endswith("; 0 orders left")
