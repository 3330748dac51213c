"""The operators' chat over the whole service: commands, pushes, and what its failures must never touch."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from propbot.domain.mode import Mode
from propbot.service import Service
from propbot.simulate.truth import assert_invariants
from propbot.simulate.world import World, open_world
from tests.telegram_api import TOKEN, FakeTelegram, start_telegram

GROUP = -1001


def write_people(path: Path, **people: tuple[str, int | None]) -> None:
    entries = [
        {"name": name, "role": role, "token_sha256": sha256(name.encode()).hexdigest(), "telegram_id": telegram_id}
        for name, (role, telegram_id) in people.items()
    ]
    path.write_text(json.dumps(entries))


@asynccontextmanager
async def chatting_world(
    tmp_path: Path, updates_per_s: float = 3, **given: str
) -> AsyncIterator[tuple[World, Service, FakeTelegram]]:
    """A bot that trades and is heard; its first push has arrived."""
    async with open_world(tmp_path, seed=5, updates_per_s=updates_per_s) as world:
        telegram = await start_telegram(world.nursery, world.network, world.clock.wall_ns)
        world.given |= telegram.settings | given
        telegram.chats.add(int(world.given["TELEGRAM_CHAT_ID"]))
        bot = await world.start_bot()
        await telegram.wait_text("has started")
        await trio.sleep(2)
        yield world, bot, telegram


def component(bot: Service) -> tuple[str, str]:
    shown = bot.board.component("telegram")
    assert shown is not None
    return str(shown.status), shown.summary


def measured(bot: Service) -> dict[str, Any]:
    shown = bot.board.component("telegram")
    assert shown is not None
    return shown.metrics


async def ask(telegram: FakeTelegram, text: str, holding: str, **message: Any) -> str:
    """The answer to a command."""
    known = len(telegram.sent)
    telegram.say(text, **message)
    with trio.move_on_after(30):
        while not any(holding in each.text for each in telegram.sent[known:]):
            await trio.sleep(0.05)
    found = [each.text for each in telegram.sent[known:] if holding in each.text]
    assert found, (holding, telegram.texts()[known:])
    return found[0]


async def journal(bot: Service, kind: str) -> list[str]:
    rows, _ = await bot.ledger.events_page(1000)
    return [row.message for row in reversed(rows) if row.kind == kind]


async def test_an_operator_pauses_looks_and_resumes_from_the_chat(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with chatting_world(tmp_path, SAFE_MODE="false") as (world, bot, telegram):
        await trio.sleep(10)
        assert "mode RUN" in await ask(telegram, "/status", "PropBot 0.1.0, paper")
        said = await ask(telegram, "/pause market looks odd", "HOLD since")
        assert "by operator:telegram: market looks odd" in said
        assert "/resume goes on" in said
        assert bot.modes.view.mode is Mode.HOLD
        await trio.sleep(10)
        assert "0 orders left" in await ask(telegram, "/status", "HOLD since")
        assert "USDT" in await ask(telegram, "/pnl", "since the ledger began")
        await ask(telegram, "/positions", "")
        assert "/approve ID" in await ask(telegram, "/help", "/pause [reason]")
        bot.modes.set_flags(safe_mode=True)
        said = await ask(telegram, "/resume", "mode: HOLD → RUN")
        assert "safe_mode: true → false" in said
        assert (bot.modes.view.mode, bot.modes.view.safe_mode) == (Mode.RUN, False)
        assert await ask(telegram, "/resume", "nothing had to be changed: mode RUN")
        assert "DRAIN opens nothing" in await ask(telegram, "/drain", "mode: RUN → DRAIN")
        with trio.fail_after(70):
            await bot.modes.level.wait(lambda view: view.mode is Mode.HOLD)
        assert bot.modes.view.hold is not None
        assert bot.modes.view.hold.first.source == "operator:telegram"
        assert [line for line in await journal(bot, "telegram") if "from Telegram" in line] == [
            f"/{name} from Telegram" for name in ("pause", "resume", "resume", "drain")
        ]
        status, words = component(bot)
        assert (status, words.startswith("listens; a poll was answered")) == ("OK", True)
        await world.stop_bot()
        assert_invariants(world)


async def test_a_pause_from_the_chat_stops_orders_as_fast_as_one_over_the_api(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """In the step that reads it. What is left of the way is Telegram's."""
    async with chatting_world(tmp_path) as (world, bot, telegram):
        with trio.fail_after(60):
            while not bot.blotter.lots:  # in the middle of trading
                await trio.sleep(0.01)
        asked_s = trio.current_time()
        telegram.say("/pause")
        with trio.fail_after(1):
            await bot.modes.level.wait(lambda view: view.mode is Mode.HOLD)
        held_s = trio.current_time()
        assert held_s - asked_s < 0.01
        await telegram.wait_text("by operator:telegram: no reason given")
        await trio.sleep(10)
        sent = world.of_kind("order_send")
        assert any(row["t"] < held_s for row in sent)
        assert {row["purpose"] for row in sent if row["t"] > held_s} <= {"hedge", "unwind"}
        await world.stop_bot()
        assert_invariants(world)  # I1, I10: how fast the last order left, and what was durable when


async def test_an_outage_touches_neither_trading_nor_hold_nor_the_stop(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Requests are taken and never answered. More ways in which it can be away: unit/telegram/test_failures.py."""
    async with chatting_world(tmp_path, updates_per_s=1) as (world, bot, telegram):
        telegram.hangs = True
        telegram.say("/help")  # ends the poll that is open
        intents = len(world.of_kind("intent_committed"))
        await trio.sleep(62)
        assert len(world.of_kind("intent_committed")) > intents, "it trades on"
        assert bot.modes.view.mode is Mode.RUN
        status, words = component(bot)
        assert (status, "no poll was answered for" in words) == ("WARN", True)
        bot.trip("binance-um BTCUSDT ledger 0.012, venue 0.010", "guard:recon")
        assert bot.modes.view.mode is Mode.HOLD
        with trio.fail_after(10):
            await bot.winddown.done.wait()
        telegram.hangs = False
        push = await telegram.wait_text("ledger 0.012, venue 0.010", within_s=90)
        assert "P0 HOLD since" in push.text
        telegram.hangs = True
        stop_s = trio.current_time()
        await world.stop_bot()
        assert trio.current_time() - stop_s < 5
        assert_invariants(world)


async def test_a_part_of_the_chat_that_fails_is_told_and_begun_again_and_no_hold(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with chatting_world(tmp_path, MODE="HOLD") as (world, bot, telegram):
        causes = bot.modes.view.hold
        monkeypatch.setattr("propbot.telegram.bot.read_update", lambda update: 1 // 0)
        telegram.say("/status")
        await trio.sleep(3)
        status, words = component(bot)
        assert (status, "telegram:poller: ZeroDivisionError" in words) == ("WARN", True)
        assert bot.modes.view.hold == causes
        monkeypatch.undo()
        assert "PropBot" in await ask(telegram, "/status", "PropBot")
        await world.stop_bot()


async def test_a_pause_overtakes_a_resume_that_waits_or_is_under_way(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with chatting_world(tmp_path, MODE="HOLD") as (world, bot, telegram):
        await trio.sleep(10)
        telegram.say("/resume")
        telegram.say("/pause now")  # in one batch
        await telegram.wait_text("/resume was not done: /pause came after it")
        assert bot.modes.view.mode is Mode.HOLD
        telegram.say("/resume")
        while not any(line.startswith("/resume") for line in await journal(bot, "telegram")):
            await trio.sleep(0.001)
        telegram.say("/pause again")
        await trio.sleep(5)
        assert bot.modes.view.mode is Mode.HOLD
        telegram.say("/pause")
        telegram.say("/resume")
        await telegram.wait_text("mode: HOLD → RUN")
        await world.stop_bot()
        assert_invariants(world)


async def test_an_automatic_hold_is_pushed_at_once_with_its_incident(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with chatting_world(tmp_path) as (world, bot, telegram):
        await trio.sleep(5)
        tripped_s = trio.current_time()
        bot.trip("binance-um BTCUSDT ledger 0.012, venue 0.010", "guard:recon")
        push = await telegram.wait_text("guard:recon")
        assert push.at_s - tripped_s < 0.1
        assert "P0 HOLD since" in push.text
        assert "binance-um BTCUSDT ledger 0.012, venue 0.010" in push.text
        assert "(incident " in push.text
        await telegram.wait_text("0 orders left after")
        assert len(telegram.texts("ledger 0.012, venue 0.010")) == 1, "HOLD and incident are one line"
        bot.incidents.open("P1", "test", "disk", "the disk is nearly full")
        await telegram.wait_text("P1 disk: the disk is nearly full (incident ")
        await world.stop_bot()
        assert_invariants(world)


async def test_a_resume_that_is_replayed_after_a_restart_is_dropped(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with chatting_world(tmp_path, MODE="HOLD") as (world, bot, telegram):
        await trio.sleep(10)
        telegram.say("/resume")
        (update,) = telegram._updates
        await telegram.wait_text("mode: HOLD → RUN")
        await ask(telegram, "/pause", "HOLD since")
        await world.kill_bot()
        told = dict(update)
        telegram.push_again(told.pop("update_id"), told)  # whatever was confirmed
        telegram.say("/resume", age_s=1)  # written while it was down
        telegram.say("/resume", age_s=300)
        bot = await world.start_bot()
        await telegram.wait_text("from before this start")
        await telegram.wait_text("older than 60 s")
        await trio.sleep(10)
        assert bot.modes.view.mode is Mode.HOLD
        assert telegram.offsets[-1] is not None
        assert int(await bot.ledger.meta_get("telegram_offset") or 0) > update["update_id"]
        assert len(world.of_kind("resume")) == 1
        await ask(telegram, "/resume", "mode: HOLD → RUN")
        await world.stop_bot()
        assert_invariants(world)


async def test_a_command_that_cannot_be_noted_is_not_done_but_a_pause_is(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with chatting_world(tmp_path, MODE="HOLD") as (world, bot, telegram):
        await trio.sleep(10)

        def fail(sql: str) -> None:
            raise OSError("no disk")

        world.disk_fault = fail
        await ask(telegram, "/drain", "was not done: the ledger does not answer")
        assert bot.modes.view.mode is Mode.HOLD
        world.disk_fault = None
        await trio.sleep(10)
        await ask(telegram, "/resume", "mode: HOLD → RUN")
        world.disk_fault = fail
        telegram.say("/pause")
        with trio.fail_after(1):
            await bot.modes.level.wait(lambda view: view.mode is Mode.HOLD)
        await telegram.wait_text("by operator:telegram: no reason given")
        world.disk_fault = None
        await world.stop_bot()


async def test_under_the_two_man_rule_the_chat_proposes_and_another_person_approves(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    path = tmp_path / "people.json"
    write_people(path, ann=("approver", 7), bob=("approver", 9), cy=("operator", 11))
    given = {
        "OPERATORS_FILE": str(path), "TWO_MAN_RULE": "true", "MODE": "HOLD", "TELEGRAM_CHAT_ID": str(GROUP),
        "SAFE_MODE": "true",
    }
    async with chatting_world(tmp_path, **given) as (world, bot, telegram):
        await trio.sleep(10)
        said = await ask(telegram, "/resume", "nothing has changed yet", chat=GROUP, user=7)
        (approval,) = bot.approvals.pending()
        assert (approval.proposer, approval.asked()) == ("ann", {"mode": "RUN", "safe_mode": False})
        assert f"/approve {approval.id}" in said
        await telegram.wait_text(f"approval {approval.id} (mode=RUN safe_mode=false) of ann waits")
        await ask(telegram, f"/approve {approval.id}", "needs another person: ann proposed it", chat=GROUP, user=7)
        await ask(telegram, f"/approve {approval.id}", "needs the role approver", chat=GROUP, user=11)
        await ask(telegram, "/approve", "which one?", chat=GROUP, user=9)
        await ask(telegram, "/approve zzzzzzzz", "there is no such proposal", chat=GROUP, user=9)
        assert bot.modes.view.mode is Mode.HOLD
        said = await ask(telegram, f"/approve {approval.id}", "APPROVED by bob", chat=GROUP, user=9)
        assert "mode: HOLD → RUN" in said
        assert (bot.modes.view.mode, bot.modes.view.safe_mode) == (Mode.RUN, False)
        await telegram.wait_text("HOLD was left: mode RUN")
        await ask(telegram, "/pause", "by operator:cy", chat=GROUP, user=11)
        await trio.sleep(10)
        await ask(telegram, "/resume", "nothing has changed yet", chat=GROUP, user=11)
        (approval,) = bot.approvals.pending()
        await ask(telegram, f"/reject {approval.id} not today", "REJECTED by bob, not today", chat=GROUP, user=9)
        assert bot.modes.view.mode is Mode.HOLD
        await world.stop_bot()
        assert_invariants(world)


async def test_the_token_is_nowhere_but_on_the_wire(
    tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """I16: with every logger at DEBUG, over failures of each kind, and an error page that repeats the path."""
    for logger in ("", "httpx", "httpcore"):
        caplog.set_level("DEBUG", logger)
    caplog.set_level("INFO", "trio-websocket")  # it only costs time
    async with chatting_world(tmp_path, MODE="HOLD") as (world, bot, telegram):
        echo = json.dumps({"ok": False, "description": f"no /bot{TOKEN}/getUpdates here"}).encode()
        for status in (0, 500, 400, 418):
            telegram.fail("getUpdates", status, 1, echo)
            telegram.fail("sendMessage", status, 1, echo)
            bot.incidents.open("P1", "test", "part", f"status {status}")
            telegram.say("/status")
            await trio.sleep(6)
        await ask(telegram, "/pause", "HOLD since")
        shown = repr(bot.board.components()) + repr(bot.incidents.all()) + repr(bot.config.settings)
        events, _ = await bot.ledger.events_page(1000)
        await world.stop_bot()
        out = capfd.readouterr()
        places = {
            "logs": caplog.text + out.out + out.err, "status": shown, "journal": repr(events),
            "told": "".join(telegram.texts()), "trace": repr(world.rows),
            "disk": "".join(
                each.read_bytes().decode("latin-1") for each in (tmp_path / "bot").rglob("*") if each.is_file()
            ),
        }
        pieces = [TOKEN[at : at + 8] for at in range(len(TOKEN) - 7)]
        assert {name for name, text in places.items() if any(piece in text for piece in pieces)} == set()
        assert "<token>" in places["journal"], "an error page was quoted, without it"
