"""A guard's trip while the bot trades as fast as it can: the last open or close order, what is durable, the cancels.

An order that carries the bot's prefix and that it never made appears at both venues, far from the market. The recon
guard trips on it; the wind-down cancels it at each venue. Times are counted from the HOLD's own `since` (the bot's wall
clock, whole milliseconds rounded down; one machine, one clock): to the arrival of the last `open` or `close` order at a
venue, to the moment when a reader first finds HOLD in the state file (looked at every half millisecond), and to the
arrival of the last venue's cancel.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from attrs import define, frozen

from tests.bench.hold import SETTLE_MS, resume
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
from tests.bench.trace import Row, orders_after_us

NAME = "trip"
LIVES, TRIPS = 8, 2
"""More trips within ten minutes would be a breach of a service level, which holds for as long."""
TRADE_S = (0.2, 0.5)
TRIP_S_MAX = 20.0
SETTINGS = {"RECON_INTERVAL_SEC": "0.5", "MAX_CANCELS_PER_MIN": "100000"}
VENUES = 2


@frozen
class Tripped:
    """Milliseconds after the HOLD's `since`."""

    last_order_ms: float
    persisted_ms: float
    cancelled_ms: float


@define
class Persisted:
    """When the state file first said HOLD; monotonic nanoseconds, 0 while it does not."""

    at_ns: int = 0


def measure(bench: Bench) -> Iterable[Metric]:
    rng = random.Random(11)
    tripped: list[Tripped] = []
    for life in range(LIVES):
        folder = bench.folder / f"trip{life}"
        with (
            running_venues(folder / "venues") as venues,
            running_bench_bot(folder / "bot", bench, venues, **SETTINGS) as bot,
        ):
            bot.wait_trading()
            for number in range(TRIPS):
                tripped.append(_trip_once(bot, venues, rng, f"pbBench{number:024d}"))
    for name in ("last_order", "persisted", "cancelled"):
        figures = [getattr(each, f"{name}_ms") for each in tripped]
        yield Metric(f"trip.{name}.p50", percentile(figures, 0.5), "ms", len(figures))
        yield Metric(f"trip.{name}.max", max(figures), "ms", len(figures))


def _trip_once(bot: BenchBot, venues: BenchVenues, rng: random.Random, id: str) -> Tripped:
    venues.ask({"do": "rows"})
    venues.ask({"do": "trade", "settle_ms": SETTLE_MS})
    time.sleep(rng.uniform(*TRADE_S))
    with watching(bot.folder / "data" / "runtime_state.json") as persisted:
        venues.ask({"do": "rest", "id": id})
        bot.wait(lambda: bot.get("/api/ui/status/overview")["mode"] == "HOLD", "the trip", TRIP_S_MAX)
        bot.wait(lambda: persisted.at_ns > 0, "the state file", 5)
    time.sleep(0.3)  # what was under way arrives
    venues.ask({"do": "stop"})
    hold = bot.get("/api/ui/status/overview")["hold"]
    if not hold["source"].startswith("guard:"):
        raise BenchFailure(f"no guard tripped: {hold['line']}")
    rows: list[Row] = venues.ask({"do": "rows"})["rows"]
    since_ns = _mono_ns(hold["since"])
    purposes = {order["client_order_id"]: order["purpose"] for order in bot.get("/api/ui/orders", limit=200)["items"]}
    entering = {name for name, purpose in purposes.items() if purpose in ("open", "close")}
    cancels = {row["venue"]: int(row["mono_ns"]) for row in rows if row["kind"] == "cancel" and row["dir"] == "in"}
    if len(cancels) < VENUES:
        raise BenchFailure(f"cancels reached {sorted(cancels)} only")
    resume(bot)
    return Tripped(
        orders_after_us(rows, since_ns, entering) / 1000,
        max(persisted.at_ns - since_ns, 0) / 1e6,
        max(max(cancels.values()) - since_ns, 0) / 1e6,
    )


def _mono_ns(stamp: str) -> int:
    wall_minus_mono_ns = time.time_ns() - time.monotonic_ns()
    return round(datetime.fromisoformat(stamp).timestamp() * 1000) * 1_000_000 - wall_minus_mono_ns


@contextmanager
def watching(path: Path) -> Iterator[Persisted]:
    """A thread that reads the file again and again; a file that is renamed into place is never half there."""
    found, stop = Persisted(), threading.Event()

    def look() -> None:
        while not stop.is_set() and not found.at_ns:
            if b'"mode": "HOLD"' in path.read_bytes():
                found.at_ns = time.monotonic_ns()
            stop.wait(0.0005)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()
