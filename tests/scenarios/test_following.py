"""Following the whole service from outside: the event stream over a kill, the series, the metrics."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import trio
from prometheus_client.parser import text_string_to_metric_families
from trio.testing import MockClock

from propbot.serve import make_app
from propbot.service import Service
from propbot.simulate.world import open_world
from tests.unit.api.streams import open_stream

PATH = "/api/ui/stream?types=event,fill"


def rows_after(tmp_path: Path, sql: str) -> list[Any]:
    ledger = sqlite3.connect(tmp_path / "bot" / "ledger.db")
    try:
        return ledger.execute(sql).fetchall()
    finally:
        ledger.close()


async def get(bot: Service, path: str) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(make_app(bot)), base_url="http://localhost") as client:
        return await client.get(path)


async def scrape(bot: Service) -> dict[tuple[str, ...], float]:
    """(name, *label values in the order of their names) → value."""
    families = text_string_to_metric_families((await get(bot, "/metrics")).text)
    return {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}


async def test_a_stream_that_is_taken_up_after_a_kill_has_every_event_and_every_fill_once(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=5) as world:
        bot = await world.start_bot()
        await trio.sleep(10)
        (first_event,), (first_fill,) = rows_after(
            tmp_path, "SELECT max(id) FROM events UNION ALL SELECT coalesce(max(seq), 0) FROM fills"
        )
        async with open_stream(make_app(bot), PATH) as before:
            await trio.sleep(15)
            await world.kill_bot()
            await trio.sleep(1)
        seen = before.messages()
        assert any(each["event"] == "fill" for each in seen), "it traded"
        seen = seen[: len(seen) * 2 // 3]  # what a client had read when it was cut, in the middle of anything
        bot = await world.start_bot()
        async with open_stream(make_app(bot), PATH, last_id=seen[-1]["id"]) as after:
            await trio.sleep(10)
        whole = [*seen, *after.messages()]
        events = [each["data"]["id"] for each in whole if each["event"] == "event"]
        fills = [each["data"]["trade_id"] for each in whole if each["event"] == "fill"]
        assert events == list(range(first_event + 1, events[-1] + 1))
        wanted = rows_after(tmp_path, f"SELECT trade_id FROM fills WHERE seq > {first_fill} ORDER BY seq")
        assert fills == [trade_id for (trade_id,) in wanted[: len(fills)]]
        assert len(wanted) - len(fills) <= 2, "but for what came in the last quarter of a second"


async def test_series_and_metrics_have_what_was_measured_while_it_traded(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=5) as world:
        bot = await world.start_bot()
        await trio.sleep(30)
        spreads = (await get(bot, "/api/ui/spreads?limit=1000")).json()["items"]
        assert 28 <= len(spreads) <= 32
        newest = spreads[0]
        assert set(newest["mids"]) == {"binance-um", "binance-spot"}
        first, second = (Decimal(newest["mids"][venue]) for venue in bot.venues)
        assert newest["spread_bps"] == round(float((second - first) / (first + second) * 20_000), 3)
        assert len(newest["net_edge_bps"]) == 2
        assert spreads[-1]["mids"]["binance-um"] is None, "nothing was known at the start, and it says so"
        metrics = await scrape(bot)
        for venue in bot.venues:
            assert metrics["propbot_fills_total", venue] == bot.blotter.fill_counts[venue]
            (filled,), = rows_after(
                tmp_path, f"SELECT count(*) FROM orders WHERE venue = '{venue}' AND state = 'FILLED'"
            )
            assert metrics["propbot_orders_total", "FILLED", venue] == filled > 0
            assert 0 <= metrics["propbot_venue_book_age_seconds", venue] < 1
        assert metrics["propbot_decisions_total",] == bot.pipeline.decisions
        assert metrics["propbot_mode", "RUN"] == 1
        assert metrics["propbot_guard_trips_total", "recon"] == 0
        bot.trip("binance-um BTCUSDT ledger 0.012, venue 0.010", "guard:recon")
        metrics = await scrape(bot)
        assert (metrics["propbot_mode", "HOLD"], metrics["propbot_guard_trips_total", "recon"]) == (1, 1)
        pnl = (await get(bot, "/api/ui/pnl")).json()
        assert 6 <= len(pnl["items"]) <= 8
        assert pnl["items"][-1]["equity"] is None
        assert Decimal(pnl["items"][0]["realised"]) != 0
        assert set(pnl["now"]) == {*pnl["items"][0]} - {"ts"}


def write_people(path: Path, *names: str) -> None:
    people = [
        {"name": name, "role": "viewer", "token_sha256": hashlib.sha256(name.encode() * 20).hexdigest()}
        for name in names
    ]
    path.write_text(json.dumps(people))
    path.chmod(0o600)


async def test_a_token_that_is_taken_out_of_the_file_ends_its_stream_within_five_seconds(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    file = tmp_path / "people.json"
    write_people(file, "ann", "bob")
    async with open_world(tmp_path, seed=5, OPERATORS_FILE=str(file)) as world:
        app = make_app(await world.start_bot())
        async with open_stream(app, token="ann" * 20) as ann, open_stream(app, token="bob" * 20) as bob:
            for stream in (ann, bob):
                await stream.wait(lambda it: it.messages())
            write_people(file, "bob")
            await ann.wait(lambda it: it.ended.is_set(), within_s=5)
            assert not bob.ended.is_set()
