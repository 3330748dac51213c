"""`propbot run` and a Bot API on real loopback: the chat's commands, pushes, and a stop while Telegram hangs."""

from __future__ import annotations

import ssl
import time
from datetime import datetime
from functools import partial
from pathlib import Path

import trio

from propbot.kit.net import TcpNetwork
from tests.e2e.processes import Bot
from tests.telegram_api import TOKEN, start_telegram

HELD_S_MAX = 1.0
"""From the message to the HOLD, on a machine that is busy with other tests; alone it takes milliseconds."""


async def in_thread(call, *arguments, **named):
    return await trio.to_thread.run_sync(partial(call, *arguments, **named))


def held_since_s(bot: Bot) -> float:
    since = bot.get("/api/ui/status/overview")["hold"]["since"]
    return datetime.fromisoformat(since).timestamp()


async def test_the_chat_pauses_resumes_and_is_told_and_its_outage_delays_no_stop(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        telegram = await start_telegram(nursery, TcpNetwork(ssl.create_default_context()), time.time_ns)
        bot = Bot(tmp_path, LOG_LEVEL="DEBUG", **telegram.settings)
        try:
            await in_thread(bot.start)
            await telegram.wait_text("has started")
            assert "Telegram" not in bot.log.read_text().partition("  off ")[2].splitlines()[0]
            await in_thread(bot.wait, lambda: bot.get("/api/ui/lots")["items"], "a lot")
            asked_s = time.time()
            telegram.say("/pause looks odd")
            await telegram.wait_text("by operator:telegram: looks odd")
            held_s = await in_thread(held_since_s, bot)
            assert -0.002 < held_s - asked_s < HELD_S_MAX, "milliseconds are rounded down"
            with trio.fail_after(30):
                while not telegram.texts("mode: HOLD → RUN"):  # the wind-down ends, and guards look
                    telegram.say("/resume")
                    await trio.sleep(1)
            component = next(
                each for each in (await in_thread(bot.get, "/api/ui/status/components"))["components"]
                if each["id"] == "telegram"
            )
            assert component["status"] == "OK"
            assert component["metrics"]["commands"] >= 2
            telegram.hangs = True
            telegram.say("/help")
            await trio.sleep(0.5)
            code, took_s = await in_thread(bot.terminate)
            assert (code, took_s < 5) == (0, True), took_s
            written = "".join(
                path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()
            )
            assert not [piece for piece in (TOKEN, TOKEN[7:15], TOKEN[-8:]) if piece in written]
        finally:
            bot.close()
            nursery.cancel_scope.cancel()
