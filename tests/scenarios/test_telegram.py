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
from tests.telegram_api import CHAT, TOKEN, FakeTelegram, start_telegram

GROUP = -1001


def write_people(path: Path, **people: tuple[str, int | None]) -> None:
    entries = [
        {"name": name, "role": role, "token_sha256": sha256(name.encode()).hexdigest(), "telegram_id": telegram_id}
        for name, (role, telegram_id) in people.items()
    ]
    path.write_text(json.dumps(entries))


@asynccontextmanager
async def chatting_world(tmp_path: Path, **given: str) -> AsyncIterator[tuple[World, Service, FakeTelegram]]:
    """A bot that trades and is heard; its first push has arrived."""
    async with open_world(tmp_path, seed=5) as world:
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


async def test_a_pause_is_in_force_in_the_step_that_reads_it_and_in_the_journal(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Under load: no new order leaves after the message was read, and what it costs is the same as over the API."""
    async with chatting_world(tmp_path) as (world, bot, telegram):
        await trio.sleep(20)
        asked_s = trio.current_time()
        telegram.say("/pause")
        with trio.fail_after(1):
            await bot.modes.level.wait(lambda view: view.mode is Mode.HOLD)
        assert trio.current_time() - asked_s < 0.05
        await telegram.wait_text("HOLD since")
        await world.stop_bot()
        assert_invariants(world)


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
        bot.incidents.open("P1", "disk", "disk", "the disk is nearly full")
        await telegram.wait_text("P1 disk: the disk is nearly full (incident ")
        await world.stop_bot()
        assert_invariants(world)


async def test_a_burst_of_two_hundred_incidents_is_a_few_messages_urgent_first(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with chatting_world(tmp_path) as (_, bot, telegram):
        known = len(telegram.sent)
        for number in range(199):
            bot.incidents.open("P2", "test", f"part{number}", f"something small {number}")
        bot.incidents.open("P0", "test", "part", "something large")
        await trio.sleep(60)
        told = [each for each in telegram.sent[known:] if "something" in each.text]
        assert len(told) <= 3, [each.text[:80] for each in told]
        assert "P0 part: something large" in told[0].text.splitlines()[0]
        assert "more: propbotctl incidents" in told[0].text
        assert all(len(each.text) <= 4096 for each in told)
        assert measured(bot)["queue"] == 0


@pytest.mark.parametrize("way", ["hang", "refuse", "5xx", "garbage"])
async def test_an_outage_of_minutes_touches_neither_trading_nor_hold_nor_the_stop(
    tmp_path: Path, way: str, autojump_clock: MockClock
) -> None:
    async with chatting_world(tmp_path) as (world, bot, telegram):
        key = ("127.0.0.1", telegram.port)
        match way:
            case "hang":
                telegram.hangs = True
            case "refuse":
                world.network.refuse.add(key)
            case "5xx":
                telegram.fail("getUpdates", 502, 10_000)
                telegram.fail("sendMessage", 502, 10_000)
            case "garbage":
                telegram.fail("getUpdates", 200, 10_000, b'{"ok": true')
                telegram.fail("sendMessage", 200, 10_000, b"[" * 100_000)
        telegram.say("/status")  # ends the poll that is open
        began_s, requests = trio.current_time(), len(telegram.requests)
        intents = len(world.of_kind("intent_committed"))
        await trio.sleep(180)
        assert len(world.of_kind("intent_committed")) > intents + 5, "it trades on"
        assert len(telegram.requests) - requests < 60, "it does not hammer"
        status, words = component(bot)
        assert (status, "no poll was answered for" in words) == ("WARN", True)
        assert bot.modes.view.mode is Mode.RUN
        bot.trip("something is wrong", "guard:recon")
        assert bot.modes.view.mode is Mode.HOLD
        with trio.fail_after(10):
            await bot.winddown.done.wait()
        telegram.hangs = False
        world.network.refuse.discard(key)
        telegram._failures.clear()
        push = await telegram.wait_text("something is wrong", within_s=120)
        assert "P0 HOLD since" in push.text
        await trio.sleep(60)
        assert component(bot)[0] == "OK"
        telegram.hangs = True
        stop_s = trio.current_time()
        await world.stop_bot()
        assert trio.current_time() - stop_s < 5
        assert trio.current_time() - began_s > 180
        assert_invariants(world)


async def test_429_is_obeyed_to_the_second_and_the_urgent_goes_first_afterwards(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with chatting_world(tmp_path) as (_, bot, telegram):
        telegram.flood("sendMessage", 40)
        until_s = trio.current_time() + 40
        for number in range(30):
            bot.incidents.open("P2", "test", f"part{number}", f"small {number}")
        await trio.sleep(5)
        bot.incidents.open("P0", "test", "part", "large")
        await trio.sleep(60)
        tried_s = [at for method, at in telegram.requests if method == "sendMessage"]
        assert sum(until_s - 40 <= at < until_s for at in tried_s) == 1, "one is refused, and none is sent before its time"
        told = await telegram.wait_text("P0 part: large")
        assert told.at_s >= until_s
        assert told.text.splitlines()[0].endswith(f"P0 part: large (incident {bot.incidents.all()[0].id})")
        assert "small 29" in told.text


async def test_a_second_poller_is_an_alert_and_it_goes_on(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with chatting_world(tmp_path) as (world, bot, telegram):
        await telegram.poll_elsewhere()
        await trio.sleep(2)
        status, words = component(bot)
        assert (status, "another poller" in words) == ("ERROR", True)
        await telegram.wait_text("somebody else takes this bot's updates")
        assert bot.modes.view.mode is Mode.RUN
        await ask(telegram, "/status", "PropBot 0.1.0")
        for _ in range(3):
            await telegram.poll_elsewhere()
            await trio.sleep(5)
        told = [line for line in await journal(bot, "telegram") if "somebody else" in line]
        assert len(told) == 1, told
        await trio.sleep(130)
        assert component(bot)[0] == "OK"
        assert "nobody else takes this bot's updates any more" in await journal(bot, "telegram")
        await world.stop_bot()


async def test_a_refused_token_is_an_error_on_the_page_and_asked_for_seldom(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=5) as world:
        telegram = await start_telegram(world.nursery, world.network, world.clock.wall_ns)
        bot = await world.start_bot(**{**telegram.settings, "TELEGRAM_BOT_TOKEN": "123456:AAnother_token"})
        await trio.sleep(200)
        status, words = component(bot)
        assert (status, "TELEGRAM_BOT_TOKEN is refused" in words) == ("ERROR", True)
        assert "AAnother" not in words
        assert len(telegram.requests) <= 4
        assert bot.modes.view.mode is Mode.RUN
        assert world.of_kind("intent_committed")
        await world.stop_bot()


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


FORWARDED = {"forward_origin": {"type": "user", "date": 1}}
SPOOFS: dict[str, dict[str, Any]] = {
    "a foreign chat": {"chat": 99, "user": 7},
    "a foreign chat with a listed person's private number": {"chat": 7, "user": 7},
    "a foreign user in our chat": {"user": 666},
    "an anonymous administrator": {"user": 1087968824},
    "a channel": {"user": 7, "sender_chat": {"id": GROUP}},
    "a bot": {"user": 7, "from": {"id": 7, "is_bot": True}},
    "by way of a bot": {"user": 7, "via_bot": {"id": 8}},
    "forwarded": {"user": 7, **FORWARDED},
    "forwarded, as it was told before": {"user": 7, "forward_date": 1},
    "edited": {"user": 7, "edit_date": 1},
    "stale": {"user": 7, "age_s": 61},
    "from the future": {"user": 7, "age_s": -70},
    "a viewer": {"user": 8},
    "nobody": {"user": 7, "from": None},
    "for another bot": {"user": 7, "text": "@OtherBot"},
}


async def test_whoever_is_not_meant_moves_nothing(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Every spoof with every command that changes something, in a mode that each of them would change."""
    path = tmp_path / "people.json"
    write_people(path, ann=("approver", 7), vic=("viewer", 8))
    given = {"OPERATORS_FILE": str(path), "TELEGRAM_CHAT_ID": str(GROUP)}
    async with chatting_world(tmp_path, **given) as (world, bot, telegram):
        telegram.with_edits = True
        await trio.sleep(5)
        for what, how in SPOOFS.items():
            for command in ("/pause", "/drain"):
                fields = {"chat": GROUP, **how}
                text = command + fields.pop("text", "")
                telegram.say(text, **fields)
            await trio.sleep(1)
            assert bot.modes.view.mode is Mode.RUN, what
        message = {
            "message_id": 1, "from": {"id": 7, "is_bot": False}, "chat": {"id": GROUP}, "text": "/pause",
            "date": int(world.clock.wall_ns() / 1e9),
        }
        telegram.push({"edited_message": {**message, "edit_date": message["date"]}})
        telegram.push({"channel_post": message})
        telegram.push({"message": {**message, "text": None}})
        telegram.push({"message": "nonsense"})
        await trio.sleep(5)
        assert bot.modes.view.mode is Mode.RUN
        assert {each.chat_id for each in telegram.sent} == {GROUP}, "strangers are not even answered"
        bot.modes.hold("for the test", "operator:test")
        await trio.sleep(10)
        for what, how in SPOOFS.items():
            fields = {"chat": GROUP, **how}
            telegram.say("/resume" + fields.pop("text", ""), **fields)
            await trio.sleep(2)
            assert bot.modes.view.mode is Mode.HOLD, what
        assert measured(bot)["ignored"] >= 8
        lines = await journal(bot, "telegram")
        assert 1 <= sum("is nobody we listen to" in line for line in lines) <= 3, "strangers do not fill the journal"
        assert any("vic tried /" in line for line in await journal(bot, "access"))
        await ask(telegram, "/resume@deskbot", "mode: HOLD → RUN", chat=GROUP, user=7)
        write_people(path, bob=("operator", 9))  # ann is taken off the list
        await trio.sleep(3)
        telegram.say("/pause", chat=GROUP, user=7)
        await trio.sleep(3)
        assert bot.modes.view.mode is Mode.RUN
        write_people(path, bob=("operator", None))  # and then nobody is linked: she does not come in as nobody
        await trio.sleep(3)
        telegram.say("/pause", chat=GROUP, user=7)
        await trio.sleep(3)
        assert bot.modes.view.mode is Mode.RUN
        await world.stop_bot()
        assert_invariants(world)


async def test_in_a_group_where_nobody_is_listed_everybody_can_pause_and_nobody_resume(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with chatting_world(tmp_path, TELEGRAM_CHAT_ID=str(GROUP)) as (_, bot, telegram):
        await trio.sleep(5)
        for command in ("/drain", "/resume", "/approve x"):
            await ask(telegram, command, "needs a person with a telegram_id", chat=GROUP, user=1)
        assert bot.modes.view.mode is Mode.RUN
        await ask(telegram, "/status", "PropBot", chat=GROUP, user=1)
        await ask(telegram, "/pause", "by operator:telegram", chat=GROUP, user=1)
        assert bot.modes.view.mode is Mode.HOLD


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


async def test_under_the_two_man_rule_a_chat_that_is_no_person_pauses_only(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    path = tmp_path / "people.json"
    write_people(path, ann=("approver", None), bob=("approver", None))
    async with chatting_world(tmp_path, OPERATORS_FILE=str(path), TWO_MAN_RULE="true") as (_, bot, telegram):
        await trio.sleep(5)
        await ask(telegram, "/drain", "mode: RUN → DRAIN")
        await ask(telegram, "/pause", "by operator:telegram")
        await trio.sleep(10)
        await ask(telegram, "/resume", "only a person with a telegram_id")
        assert bot.modes.view.mode is Mode.HOLD
        assert not bot.approvals.pending()


async def test_a_clock_of_ours_that_is_far_off_does_not_make_commands_stale(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """As with a recording's clock: how old a message is, Telegram's own clock says."""
    async with chatting_world(tmp_path) as (world, bot, telegram):
        world.bot_clock.offset_ns = 90 * 24 * 3600 * 10**9
        await trio.sleep(5)
        telegram.say("/resume", age_s=90)
        await telegram.wait_text("older than 60 s")
        await ask(telegram, "/pause", "HOLD since")
        assert any(cause.source == "operator:telegram" for cause in bot.modes.view.hold.causes)


async def test_the_journals_head_is_pushed_at_the_start_and_hourly(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with chatting_world(tmp_path, MODE="HOLD") as (_, bot, telegram):
        bot.config.settings  # noqa: B018 (a HOLD costs little: an hour of it)
        await telegram.wait_text("journal head ")
        await trio.sleep(3700)
        assert len(telegram.texts("journal head ")) == 2
        head = telegram.texts("journal head ")[-1].split("journal head ")[1].split()
        rows, _ = await bot.ledger.events_page(1000)
        assert (int(head[0]), head[1].splitlines()[0]) in [(row.id, row.hash) for row in rows]


async def test_the_token_is_nowhere_but_on_the_wire(
    tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """I16: with every logger at DEBUG, over failures of each kind, and an error page that repeats the path."""
    caplog.set_level("DEBUG")
    async with chatting_world(tmp_path) as (world, bot, telegram):
        echo = json.dumps({"ok": False, "description": f"no /bot{TOKEN}/getUpdates here"}).encode()
        for status in (0, 500, 400, 401, 418):
            telegram.fail("getUpdates", status, 1, echo)
            telegram.fail("sendMessage", status, 1, echo)
            bot.incidents.open("P1", "test", "part", f"status {status}")
            telegram.say("/status")
            await trio.sleep(310)
        telegram.say("/pause")
        await telegram.wait_text("HOLD since")
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
