"""The two halves together: propbotctl, as its own process would, against the real server with a known desk."""

from __future__ import annotations

import re
from functools import partial

import trio
from click.testing import CliRunner

from propbot.api.server import run_api
from propbot.domain.mode import Mode
from propbotctl.answers import ANSWERS, misfit, shape_of
from propbotctl.commands import propbotctl

TOKEN = "t" * 40
LOOKS = [
    "status", "components", "state", "orders", "fills", "lots", "positions", "events", "pnl", "slo", "incidents",
    "approvals list", "secrets", "control get", "top --once",
]


async def test_the_runbooks_commands_work_against_the_server(app, desk):
    shutdown = trio.Event()
    async with trio.open_nursery() as nursery:
        url = await nursery.start(partial(run_api, app, "127.0.0.1", 0, shutdown=shutdown))

        async def run(*args):
            runner = CliRunner(env={"PROPBOT_BASE_URL": url, "API_TOKEN": TOKEN})
            return await trio.to_thread.run_sync(partial(runner.invoke, propbotctl, args))

        for name in LOOKS:
            result = await run(*name.split())
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


async def test_what_the_service_documents_fits_the_shapes_that_propbotctl_holds_answers_to(nobody):
    """With the documented examples, which are held to the service's own models elsewhere."""
    document = (await nobody.get("/openapi.json")).json()
    judged = set()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for status in ("200", "202"):
                question = f"{method.upper()} {re.sub('{.*?}', '7', path)}"
                known = next((known for known in ANSWERS if re.fullmatch(known, question)), None)
                if known is None or status not in operation["responses"]:
                    continue
                content = operation["responses"][status]["content"]["application/json"]
                shape = shape_of(*question.split(), int(status))
                for example in [each["value"] for each in content.get("examples", {}).values()] or [content["example"]]:
                    assert misfit(example, shape) is None, (question, status)
                    judged.add(known)
    assert judged == set(ANSWERS)
