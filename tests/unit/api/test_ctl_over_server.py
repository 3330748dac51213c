"""The two halves together: propbotctl, as its own process would, against the real server with a known desk."""

from __future__ import annotations

from functools import partial

import trio
from click.testing import CliRunner

from propbot.api.server import run_api
from propbot.domain.mode import Mode
from propbotctl.commands import propbotctl

TOKEN = "t" * 40
LOOKS = ["status", "components", "state", "orders", "fills", "lots", "positions", "events"]


async def test_the_runbooks_commands_work_against_the_server(app, desk):
    shutdown = trio.Event()
    async with trio.open_nursery() as nursery:
        url = await nursery.start(partial(run_api, app, "127.0.0.1", 0, shutdown=shutdown))

        async def run(*args):
            runner = CliRunner(env={"PROPBOT_BASE_URL": url, "API_TOKEN": TOKEN})
            return await trio.to_thread.run_sync(partial(runner.invoke, propbotctl, args))

        for name in LOOKS:
            result = await run(name)
            assert result.exit_code == 0, result.output
        assert "mode=RUN" in (await run("status")).stdout.splitlines()

        paused = await run("pause", "--reason", "обед")
        assert "HOLD since 03:12:09Z by operator:api: обед; 0 orders left" in paused.stdout.splitlines()
        assert desk.mode() is Mode.HOLD
        assert "overall.status=HOLD" in (await run("status")).stdout.splitlines()

        desk.safe = True
        resumed = await run("resume")
        assert "SAFE_MODE is still on" in resumed.stdout
        assert desk.mode() is Mode.RUN

        assert (await run("control", "set", "order_notional_usdt=250.5")).exit_code == 0
        assert "order_notional_usdt=250.5" in (await run("control", "get")).stdout.splitlines()
        assert (await run("control", "set", "order_notional_usdt=0")).exit_code == 1
        assert (await run("status", "--token", "wrong")).exit_code == 4
        shutdown.set()
