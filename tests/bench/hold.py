"""HOLD by API while the bot trades as fast as it can: how long after it was asked for the last open or close leaves.

`PATCH {"mode": "HOLD"}` comes at a random moment of a market that pays every few milliseconds. `handled` is the
time from the HOLD's own `since` (the bot's wall clock, whole milliseconds rounded down; one machine, one clock) to the
arrival of the last `open` or `close` order at a venue, zero if none came later; `asked` counts from right before the
request's bytes were written. Hedges and unwinds of the wind-down are not counted: they are meant to follow. No such
order may come after the answer.
"""

from __future__ import annotations

import http.client
import json
import random
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from attrs import frozen

from tests.bench.rig import (
    Bench,
    BenchBot,
    BenchFailure,
    BenchVenues,
    Metric,
    percentile,
    running_bench_bot,
    running_venues,
)
from tests.bench.trace import Row, count_after, orders_after_us

NAME = "hold"
HOLDS = 40
SETTLE_MS = (2.0, 4.0)
TRADE_S = (0.15, 0.3)
RESUME_S_MAX = 20.0


@frozen
class Held:
    """Monotonic nanoseconds."""

    asked_ns: int
    handled_ns: int
    answered_ns: int


def measure(bench: Bench) -> Iterable[Metric]:
    folder, rng = bench.folder / "hold", random.Random(7)
    held: list[Held] = []
    rows: list[Row] = []
    with (
        running_venues(folder / "venues") as venues,
        running_bench_bot(folder / "bot", bench, venues) as bot,
    ):
        bot.wait_trading()
        for _ in range(HOLDS):
            held.append(_hold_once(bot, venues, rng))
            rows += venues.ask({"do": "rows"})["rows"]
        purposes = {order["client_order_id"]: order["purpose"] for order in bot.items("/api/ui/orders")}
    entering = {name for name, purpose in purposes.items() if purpose in ("open", "close")}
    if sum(1 for row in rows if row["kind"] == "order") < HOLDS * 4:
        raise BenchFailure("the bot hardly traded: there was nothing to stop")
    yield from _figures(held, rows, entering)


def _hold_once(bot: BenchBot, venues: BenchVenues, rng: random.Random) -> Held:
    venues.ask({"do": "trade", "settle_ms": SETTLE_MS})
    connection = http.client.HTTPConnection("127.0.0.1", bot.port, timeout=10)
    connection.connect()
    time.sleep(rng.uniform(*TRADE_S))
    body = json.dumps({"mode": "HOLD", "reason": "benchmark"})
    asked_ns = time.monotonic_ns()
    connection.request("PATCH", "/api/ui/control", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    said = answer.read()
    answered_ns = time.monotonic_ns()
    connection.close()
    if answer.status != 200:
        raise BenchFailure(f"HOLD was answered {answer.status}: {said[:300]!r}")
    time.sleep(0.1)  # what was under way arrives
    venues.ask({"do": "stop"})
    resume(bot)
    since = datetime.fromisoformat(json.loads(said)["control"]["hold"]["since"])
    wall_minus_mono_ns = time.time_ns() - time.monotonic_ns()
    return Held(asked_ns, round(since.timestamp() * 1000) * 1_000_000 - wall_minus_mono_ns, answered_ns)


def resume(bot: BenchBot) -> None:
    """Once the wind-down is over and every guard is content."""
    until_s = time.monotonic() + RESUME_S_MAX
    while True:
        answer = bot.control(mode="RUN")
        if answer.status_code == 200:
            return
        if time.monotonic() > until_s:
            raise BenchFailure(f"HOLD can't be left: {answer.text[:500]}")
        time.sleep(0.05)


def _figures(held: list[Held], rows: list[Row], entering: set[str]) -> Iterable[Metric]:
    ends: list[Any] = [each.asked_ns for each in held[1:]] + [None]
    after_asked, after_handled, late = [], [], 0
    for each, end_ns in zip(held, ends, strict=True):
        own = [row for row in rows if int(row["mono_ns"]) < (end_ns or 1 << 63)]
        until_resumed = [row for row in own if int(row["mono_ns"]) < each.answered_ns + 90_000_000]
        after_asked.append(orders_after_us(until_resumed, each.asked_ns, entering) / 1000)
        after_handled.append(orders_after_us(until_resumed, each.handled_ns, entering) / 1000)
        late += count_after(until_resumed, each.answered_ns, entering)
    for name, latencies in (("handled", after_handled), ("asked", after_asked)):
        yield Metric(f"hold.{name}_to_last_order.p50", percentile(latencies, 0.5), "ms", len(held))
        yield Metric(f"hold.{name}_to_last_order.max", max(latencies), "ms", len(held))
    raced = sum(1 for each in after_asked if each > 0)
    yield Metric("hold.with_orders_after_asked", raced, "holds", len(held))
    answers = [(each.answered_ns - each.asked_ns) / 1e6 for each in held]
    yield Metric("hold.answer.p50", percentile(answers, 0.5), "ms", len(held))
    yield Metric("hold.orders_after_answer", late, "orders", len(held))
