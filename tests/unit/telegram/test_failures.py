"""Whatever Telegram does: it goes on, does not hammer, says so on the status page, and loses nothing urgent."""

from __future__ import annotations

import json

import pytest
import trio
from trio.testing import MockClock

from propbot.domain.status import Health
from propbot.telegram.bot_api import ChatError, KeyRefused, open_bot_api
from tests.telegram_api import TOKEN
from tests.unit.telegram.conftest import Rig, open_rig


def take_away(rig: Rig, way: str) -> None:
    bodies = {"5xx": (502, b"<html>bad gateway</html>"), "garbage": (200, b'{"ok": tru'), "bomb": (200, b"[" * 200_000)}
    match way:
        case "hangs":
            rig.telegram.hangs = True
        case "refuses":
            rig.network.refuse.add(("127.0.0.1", rig.telegram.port))
            for method in ("getUpdates", "sendMessage"):  # connections that are open would go on
                rig.telegram.fail(method, 0, 3)
        case "cuts":
            rig.telegram.fail("getUpdates", 0, 10_000)
            rig.telegram.fail("sendMessage", 0, 10_000)
        case _:
            status, body = bodies[way]
            rig.telegram.fail("getUpdates", status, 10_000, body)
            rig.telegram.fail("sendMessage", status, 10_000, body)
    rig.telegram.say("/help")  # ends the poll that is open


def give_back(rig: Rig) -> None:
    rig.telegram.hangs = False
    rig.network.refuse.clear()
    rig.telegram._failures.clear()


@pytest.mark.parametrize("way", ["hangs", "refuses", "cuts", "5xx", "garbage", "bomb"])
async def test_an_outage_is_a_warning_and_what_waited_is_told_afterwards(
    rig: Rig, way: str, autojump_clock: MockClock
) -> None:
    take_away(rig, way)
    requests = len(rig.telegram.requests)
    rig.desk.incidents.open("P1", "test", "part", "during the outage")
    await trio.sleep(300)
    status, words = rig.judge()
    assert (status, "commands do not arrive: no poll was answered for" in words) == (Health.WARN, True)
    assert len(rig.telegram.requests) - requests < 60, "it does not hammer"
    assert 1 <= len(rig.told("polls fail")) <= 2, "told once, not once a try"
    rig.desk.trip("guard:recon", "ledger differs")
    await trio.sleep(1)
    give_back(rig)
    first = await rig.telegram.wait_text("ledger differs", within_s=90)
    assert "during the outage" in first.text
    assert "ledger differs" in first.text.splitlines()[0], "the urgent first"
    await trio.sleep(60)
    assert rig.judge()[0] is Health.OK
    assert rig.told("polls are answered again")
    assert rig.chat.outbox.dropped == 0


async def test_a_flood_is_obeyed_to_the_second_and_one_burst_comes_after_it(
    rig: Rig, autojump_clock: MockClock
) -> None:
    since_s = trio.current_time()
    for method in ("sendMessage", "getUpdates"):
        rig.telegram.flood(method, 40)
    rig.telegram.say("/help")
    for number in range(30):
        rig.desk.incidents.open("P2", "test", f"part{number}", f"small {number}")
    await trio.sleep(5)
    rig.desk.incidents.open("P0", "test", "part", "large")
    await trio.sleep(60)
    for method in ("sendMessage", "getUpdates"):
        tried_s = [at for name, at in rig.telegram.requests if name == method and since_s <= at < since_s + 40]
        refused_s = [at for at in tried_s if at > since_s + 0.5 or method == "sendMessage"]
        assert len(refused_s) <= 2, (method, tried_s)
    told = await rig.telegram.wait_text("P0 part: large")
    assert told.at_s >= since_s + 40
    assert told.text.splitlines()[0].endswith("P0 part: large (incident 31)")
    assert "small 29" in told.text
    assert rig.telegram.texts("/pause [reason]"), "the question was heard in the end"


async def test_a_burst_is_a_few_messages_and_what_does_not_fit_is_counted(rig: Rig, autojump_clock: MockClock) -> None:
    known = len(rig.telegram.sent)
    for number in range(199):
        rig.desk.incidents.open("P2", "test", f"part{number}", f"something small {number}" + " and odd" * 5)
    rig.desk.incidents.open("P0", "test", "part", "something large")
    await trio.sleep(60)
    (told,) = rig.telegram.sent[known:]
    lines = told.text.splitlines()
    assert lines[0].endswith("P0 part: something large (incident 200)")
    left = int(lines[-1].removeprefix("… and ").split()[0])
    assert len(lines) - 1 + left == 200
    assert lines[-1].endswith("more: propbotctl incidents, propbotctl events")
    assert 3500 < len(told.text) <= 4096
    assert (rig.chat.outbox.waiting, rig.chat.health.told) == (0, 201)


async def test_more_than_fit_into_memory_are_counted_and_the_urgent_stay(rig: Rig, autojump_clock: MockClock) -> None:
    rig.telegram.hangs = True
    for number in range(5):
        rig.desk.incidents.open("P0", "test", f"large{number}", f"large {number}")
        await trio.sleep(2)
    for number in range(500):
        rig.desk.incidents.open("P2", "test", f"part{number}", f"small {number}")
        if number % 100 == 99:
            await trio.sleep(2)
    assert rig.chat.outbox.waiting <= 200
    rig.telegram.hangs = False
    first = await rig.telegram.wait_text("large 0", within_s=90)
    assert all(f"large {number}" in first.text for number in range(5))
    assert "could not be told, there were too many" in first.text
    assert rig.chat.outbox.dropped > 250


async def test_a_second_poller_is_an_alert_once_and_it_goes_on(rig: Rig, autojump_clock: MockClock) -> None:
    await rig.telegram.poll_elsewhere()
    await trio.sleep(2)
    assert rig.judge() == (
        Health.ERROR,
        "another poller takes this bot's updates, commands may not arrive here: stop it, or its webhook",
    )
    await rig.telegram.wait_text("somebody else takes this bot's updates")
    rig.telegram.say("/pause")
    await trio.sleep(40)
    assert rig.desk.heard, "it goes on"
    for _ in range(5):
        await rig.telegram.poll_elsewhere()
        await trio.sleep(20)
    assert len(rig.told("somebody else takes")) == 1
    assert rig.judge()[0] is Health.ERROR
    await trio.sleep(130)
    assert rig.judge()[0] is Health.OK
    assert rig.told("nobody else takes this bot's updates any more")


async def test_a_webhook_is_the_same(autojump_clock: MockClock) -> None:
    async with open_rig(webhook=True) as rig:
        await trio.sleep(300)
        assert rig.judge()[0] is Health.ERROR
        assert len(rig.telegram.requests) < 30
        (told,) = rig.told("somebody else takes")
        assert "webhook is active" in told


async def test_a_token_that_is_refused_is_asked_with_seldom(rig: Rig, autojump_clock: MockClock) -> None:
    rig.telegram.token = "another:one"
    rig.telegram.say("/help")
    requests = len(rig.telegram.requests)
    await trio.sleep(900)
    status, words = rig.judge()
    assert status is Health.ERROR
    assert words.startswith("TELEGRAM_BOT_TOKEN is refused: getUpdates: 404 Not Found")
    assert len(rig.telegram.requests) - requests <= 10
    rig.telegram.token = TOKEN
    await trio.sleep(310)
    assert rig.judge()[0] is Health.OK, "it was only for a while"


async def test_a_message_that_is_refused_for_good_keeps_no_other_from_being_told(
    rig: Rig, autojump_clock: MockClock
) -> None:
    rig.telegram.chats.clear()
    rig.telegram.say("/help")
    await trio.sleep(10)
    assert rig.chat.outbox.dropped == 1
    metrics = rig.chat.health.metrics(trio.current_time(), rig.chat.outbox.waiting, rig.chat.outbox.dropped)
    assert metrics["last_error"] == "sendMessage: 400 Bad Request: chat not found"
    assert metrics["notes_dropped"] == 1
    for _ in range(5):
        rig.telegram.say("/help")
        await trio.sleep(20)
    status, words = rig.judge()
    assert (status, "nothing can be told" in words, "chat not found" in words) == (Health.WARN, True, True)
    rig.telegram.chats.add(4711)
    rig.telegram.say("/help")
    await rig.telegram.wait_text("/pause [reason]")
    assert rig.judge()[0] is Health.OK


async def test_a_server_that_answers_nothing_at_once_is_not_asked_in_a_circle(
    rig: Rig, autojump_clock: MockClock
) -> None:
    rig.telegram.fail("getUpdates", 200, 100_000, b'{"ok": true, "result": []}')
    rig.telegram.say("/help")
    requests = len(rig.telegram.requests)
    await trio.sleep(30)
    assert len(rig.telegram.requests) - requests <= 101


async def test_what_is_measured_is_shown(rig: Rig, autojump_clock: MockClock) -> None:
    await trio.sleep(60)
    metrics = rig.chat.health.metrics(trio.current_time(), rig.chat.outbox.waiting, rig.chat.outbox.dropped)
    age_s = metrics.pop("last_poll_age_s")
    assert isinstance(age_s, float)
    assert 0 <= age_s <= 26
    assert metrics == {
        "polls": 2, "commands": 0, "ignored": 0, "queue": 0, "messages_sent": 1, "notes_told": 1, "notes_dropped": 0,
        "last_error": None,
    }


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 409, 418, 429, 500, 502])
async def test_an_error_page_that_repeats_the_path_is_quoted_without_the_token(
    rig: Rig, status: int, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    quoted = TOKEN.replace(":", "%3A")
    body = json.dumps({"ok": False, "description": f"no /bot{TOKEN}/sendMessage nor {quoted}\r\nhere"}).encode()
    async with open_bot_api(rig.network, rig.telegram.url, TOKEN) as api:
        rig.telegram.fail("sendMessage", status, 1, body)
        with pytest.raises(ChatError) as caught:
            await api.send(4711, "x")
        assert isinstance(caught.value, KeyRefused) is (status in (401, 404))
        assert str(caught.value) == f"sendMessage: {status} no /bot<token>/sendMessage nor <token>  here"
        assert "Zk3" not in repr(caught.value) + repr(caught.value.__context__) + caplog.text + repr(api)
        rig.network.refuse.add(("127.0.0.1", rig.telegram.port))
        async with open_bot_api(rig.network, rig.telegram.url, TOKEN) as other:
            with pytest.raises(ChatError) as caught:
                await other.send(4711, "x")
        assert "Zk3" not in str(caught.value) + repr(caught.value.__context__) + caplog.text
