"""One order is one grep: its whole life in JSON log lines, and nothing about an order without its names."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import trio
from trio.testing import MockClock

from propbot.simulate.truth import read_ledger
from propbot.simulate.world import open_world
from tests.secret_search import Search

NAMES = {"client_order_id", "venue", "lot_id"}


def lines_of(search: Search) -> list[dict[str, Any]]:
    return [each for line in search.lines if (each := json.loads(line)).get("kind") == "order"]


async def test_an_order_can_be_followed_from_its_intent_to_its_fills(
    tmp_path: Path, autojump_clock: MockClock, secret_search: Search
) -> None:
    async with open_world(tmp_path, EXIT_EDGE_BPS="-3") as world:
        await world.start_bot()
        world.inject("binance-um", "reject_order", after=1)
        with trio.fail_after(90):
            while len(world.of_kind("fill_booked")) < 6:
                await trio.sleep(0.1)
        await world.stop_bot()
        ledger = read_ledger(world)
    said = lines_of(secret_search)
    assert all(set(line) >= NAMES and all(line[name] for name in NAMES) for line in said)
    assert {line["client_order_id"] for line in said} == {row["client_order_id"] for row in ledger.orders}
    for row in ledger.orders:
        own = [line for line in said if line["client_order_id"] == row["client_order_id"]]
        assert {(line["venue"], line["lot_id"]) for line in own} == {(row["venue"], row["lot_id"])}
        events = [line["event"] for line in own]
        assert events[0] == "order decided"
        assert Decimal(own[0]["qty"]) == Decimal(row["qty"])
        if row["state"] != "NEVER_SENT":
            assert events[1] == "order SENT"
        assert own[-1]["event"] in (f"order {row['state']}", "order fill")
        assert f"order {row['state']}" in events
        fills = [line for line in own if line["event"] == "order fill"]
        assert sum((Decimal(line["qty"]) for line in fills), Decimal(0)) == Decimal(row["filled_qty"])
    assert {row["state"] for row in ledger.orders} >= {"FILLED", "REJECTED"}
    rejected = next(line for line in said if line["event"] == "order REJECTED")
    assert rejected["reason"]
    of_one_lot = [line for line in said if line["lot_id"] == said[0]["lot_id"]]
    assert {line["venue"] for line in of_one_lot} == {"binance-um", "binance-spot"}, "both legs of it"


async def test_a_dry_run_s_orders_are_told_apart(
    tmp_path: Path, autojump_clock: MockClock, secret_search: Search
) -> None:
    async with open_world(tmp_path, DRY_RUN_ONLY="true") as world:
        bot = await world.start_bot()
        with trio.fail_after(90):
            while not bot.simulator.blotter.lots:
                await trio.sleep(0.1)
        await trio.sleep(1)
        await world.stop_bot()
    said = lines_of(secret_search)
    assert said
    assert all(line["simulated"] is True for line in said)
