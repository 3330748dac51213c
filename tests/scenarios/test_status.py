"""The status page of the whole service: what it measures, and that reading it changes nothing."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
import trio
from quart_trio import QuartTrio
from trio.testing import MockClock

from propbot.api.app import make_api
from propbot.api.auth import Auth
from propbot.control.desk import ServiceDesk
from propbot.domain.mode import Mode
from propbot.service import Service
from propbot.simulate.world import World, open_world

WALK = "/api/ui/audit/verify"
"""Walks over the whole journal in slices, with pauses: time passes meanwhile."""
STREAM = "/api/ui/stream"
"""Has no end; `test_following.py` follows it."""
EXPORT = "/api/ui/events/export"
"""Reads the whole journal each time."""
READS = 1000


def metrics(bot: Service, component_id: str) -> dict[str, Any]:
    component = bot.board.component(component_id)
    assert component is not None
    return component.metrics


async def test_every_part_is_measured_or_says_that_it_is_unknown(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, seed=5, DISK_FREE_MB="1", PRBOT_TYPO="1") as world:
        bot = await world.start_bot()
        await trio.sleep(60)
        assert metrics(bot, "disk")["free_mb"] > 1
        assert metrics(bot, "api")["requests"] == 0
        assert metrics(bot, "exposure")["notional_usdt"] is not None
        assert metrics(bot, "strategy")["decisions"] > 0
        assert metrics(bot, "pnl")["day_usdt"] is not None
        for id in ("telegram", "disk", "config", "api", "pnl", "exposure", "strategy"):
            component = bot.board.component(id)
            assert component is not None
            assert (str(component.status), bool(component.summary)) == ("OK", True), component


async def test_a_disk_without_room_is_a_warning_and_one_that_fails_is_unknown(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=5, DISK_FREE_MB="10000000") as world:
        bot = await world.start_bot()
        await trio.sleep(3)
        component = bot.board.component("disk")
        assert component is not None
        assert (str(component.status), "DISK_FREE_MB=10000000" in component.summary) == ("WARN", True)
        bot.disk.problem, bot.disk.free_bytes = "I/O error", None
        await trio.sleep(1.5)
        component = bot.board.component("disk")
        assert component is not None
        assert (component.summary, component.metrics["free_mb"]) == ("unknown: I/O error", None)


def state_of(world: World, bot: Service) -> Any:
    """Everything that an operator could be told or a restart would read."""
    with sqlite3.connect(tmp_ledger(world)) as ledger:
        tables = [name for (name,) in ledger.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = {name: ledger.execute(f"SELECT * FROM [{name}]").fetchall() for name in tables}
    ledger.close()
    return (
        bot.modes.view, bot.modes.episode, bot.board.components(), bot.board.alerts(), bot.incidents.all(),
        dict(bot.counters.all()), bot.parameters, bot.pipeline.rules, bot.pipeline.limits, bot.pipeline.why_not,
        bot.blotter.activity, rows, (world.tmp_path / "bot" / "runtime_state.json").read_bytes(), len(world.rows),
        {id: watch.tripped for id, watch in bot.watches.items()},
    )


def tmp_ledger(world: World) -> Path:
    return world.tmp_path / "bot" / "ledger.db"


@pytest.mark.timeout(900)
async def test_reading_every_page_a_thousand_times_changes_nothing(tmp_path: Path, autojump_clock: MockClock) -> None:
    """In HOLD, at one moment of virtual time: nothing but the reading happens. The routes are the application's own."""
    async with open_world(tmp_path, seed=5) as world:
        bot = await world.start_bot()
        await trio.sleep(30)
        bot.modes.hold("a look around", "operator:ann")
        await trio.sleep(20.0137)  # a moment at which nothing else is due
        assert bot.modes.view.mode is Mode.HOLD
        app = make_api(ServiceDesk(bot, bot.keeper), auth=Auth(bot.people))
        paths = sorted(
            str(rule) for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ()) and not rule.arguments
        )
        assert {"/api/ui/status/slo", "/api/ui/state", "/api/ui/events", "/healthz", "/docs"} <= set(paths)
        paths.remove(WALK)
        paths.remove(STREAM)
        await get(app, "/openapi.json")
        before, at = state_of(world, bot), trio.current_time()
        for path in paths:
            for _ in range(READS if path != EXPORT else READS // 20):
                assert await get(app, path) in (200, 503), path
        assert trio.current_time() == at, "no task of the service has run on time"
        assert state_of(world, bot) == before
        head = (await bot.ledger.events_page(1))[0]
        for _ in range(20):
            assert await get(app, WALK) == 200
        assert (await bot.ledger.events_page(1))[0] == head


async def get(app: QuartTrio, path: str) -> int:
    """The status of an answer, without a client's own work: seventeen thousand are asked for."""
    scope = {
        "type": "http", "http_version": "1.1", "asgi": {"version": "3.0"}, "method": "GET", "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "extensions": {}, "state": {},
        "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1), "server": ("localhost", 80),
    }
    asked = [{"type": "http.request", "body": b"", "more_body": False}]
    answered = trio.Event()
    statuses: list[int] = []

    async def receive() -> Any:
        if asked:
            return asked.pop()
        await answered.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])
        elif not message.get("more_body", False):
            answered.set()

    await app(scope, receive, send)  # type: ignore[arg-type]
    return statuses[0]
