"""`propbot check` and the operators' chat: a wrong token or chat is a problem, an outage a warning, nothing is sent."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from trio.testing import MockClock

from propbot.control.checks import Verdict
from propbot.kit.clock import VirtualClock
from propbot.kit.crash import CrashPoints
from propbot.kit.disk import open_sqlite
from propbot.kit.net import MemoryNetwork
from propbot.kit.threads import open_thread_worker
from propbot.kit.trace import no_trace
from propbot.messaging import check_chat
from propbot.seams import Seams, ServiceConfig
from propbot.settings import load_settings
from tests.unit.telegram.conftest import open_rig


def given(tmp_path: Path, network: MemoryNetwork, **environ: str) -> tuple[ServiceConfig, Seams]:
    config = ServiceConfig(load_settings(environ, None), {}, tmp_path)
    seams = Seams(
        network, VirtualClock(0), random.Random(1), open_thread_worker, open_sqlite, no_trace, CrashPoints()
    )
    return config, seams


async def test_a_chat_that_is_there_is_well_and_is_told_nothing(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        await rig.telegram.wait_text("has started")
        found = await check_chat(*given(tmp_path, rig.network, **rig.telegram.settings))
        assert found is not None
        assert (found.verdict, found.text) == (Verdict.OK, "@DeskBot sees chat 4711")
        assert len(rig.telegram.sent) == 1


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"TELEGRAM_BOT_TOKEN": "123456:AAanother-token-of-nobody-1"}, "TELEGRAM_BOT_TOKEN: Telegram does not know"),
        ({"TELEGRAM_CHAT_ID": "99"}, "TELEGRAM_CHAT_ID 99: getChat: 400 Bad Request: chat not found; write to the bot"),
    ],
)
async def test_what_telegram_does_not_know_is_a_problem_that_names_the_setting(
    tmp_path: Path, changed: dict[str, str], said: str, autojump_clock: MockClock
) -> None:
    async with open_rig() as rig:
        found = await check_chat(*given(tmp_path, rig.network, **{**rig.telegram.settings, **changed}))
        assert found is not None
        assert found.verdict is Verdict.FAILED
        assert found.text.startswith(said)
        assert "AAanother" not in found.text


async def test_an_outage_is_a_warning(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_rig() as rig:
        rig.telegram.hangs = True
        found = await check_chat(*given(tmp_path, rig.network, **rig.telegram.settings))
        assert found is not None
        assert found.verdict is Verdict.WARN
        assert found.text.startswith("Telegram was not reached: getMe")


async def test_without_a_chat_nothing_is_asked(tmp_path: Path) -> None:
    assert await check_chat(*given(tmp_path, MemoryNetwork())) is None
