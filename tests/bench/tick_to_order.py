"""Tick → order on the wire, seen by the venues' process: from the bytes of the tick that makes the spread pay to the
order that arrived in full, on one clock.

A cycle is a tick that pays, two orders, a tick that ends it, two orders; 20 to 28 ms of quiet before each tick.
`first` is the earlier of the two legs, `both` the later one (they share the venues' one core there). Kinds: `one` tick
alone; `burst_last`: twenty ticks in one write, of which the last one pays; `burst_first`: the first one pays, and
nineteen more have to be taken while the order goes out. Only opening ticks count in these; `close` has the others.

Bots with LEDGER_SYNC full and normal run side by side and take turns; the minimal client takes its turn at the same
kind of venue. What the minimal client needs is the rig's own share of every figure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.bench.rig import (
    Bench,
    BenchFailure,
    BenchVenues,
    Metric,
    interleaved,
    metrics_of,
    running_bench_bot,
    running_child,
    running_venues,
)
from tests.bench.trace import Answered, answered_ticks

NAME = "tick_to_order"
ROUNDS = 5
CYCLES = 40
SETTLE_MS = (20.0, 28.0)
KINDS = ("one", "burst_last", "burst_first")
LEGS = 2
MISSED_SHARE_MAX = 0.05


def measure(bench: Bench) -> Iterable[Metric]:
    folder = bench.folder / "tick"
    with (
        running_venues(folder / "venues-full") as at_full,
        running_venues(folder / "venues-normal") as at_normal,
        running_venues(folder / "venues-floor") as at_floor,
        running_bench_bot(folder / "full", bench, at_full, LEDGER_SYNC="full") as full,
        running_bench_bot(folder / "normal", bench, at_normal, LEDGER_SYNC="normal") as normal,
        minimal_client(folder, at_floor),
    ):
        full.wait_trading()
        normal.wait_trading()
        sides = {"full": at_full, "normal": at_normal, "floor": at_floor}
        for venues in sides.values():
            run_ticks(venues, "one", 10)
        variants = {
            f"{side}.{kind}": partial(run_ticks, venues, kind, CYCLES)
            for kind in KINDS for side, venues in sides.items() if kind != "burst_first" or side == "normal"
        }
        found = interleaved(ROUNDS, variants)
    for name, rounds in found.items():
        side, kind = name.split(".")
        prefix = "floor.minimal_client" if side == "floor" else f"tick_to_order.{side}"
        yield from metrics_of(f"{prefix}.{kind}.first", [[tick.first_us for tick in each[0]] for each in rounds])
        if kind == "one":
            yield from metrics_of(f"{prefix}.{kind}.both", [[tick.last_us for tick in each[0]] for each in rounds])
            yield from metrics_of(f"{prefix}.{kind}.close", [[tick.first_us for tick in each[1]] for each in rounds])


def run_ticks(
    venues: BenchVenues, kind: str, cycles: int, settle_ms: tuple[float, float] = SETTLE_MS
) -> tuple[list[Answered], list[Answered]]:
    """The opening and the closing ticks of so many cycles. BenchFailure if too many were not answered by two orders."""
    rows = venues.ask({"do": "ticks", "kind": kind, "count": cycles, "settle_ms": settle_ms})["rows"]
    what = {int(row["mono_ns"]): row["what"] for row in rows if row["kind"] == "tick"}
    answered, missed = answered_ticks(rows, legs=LEGS)
    if missed > MISSED_SHARE_MAX * cycles * 2:
        raise BenchFailure(f"{missed} of {cycles * 2} ticks ({kind}) were not answered by {LEGS} orders")
    opening = [tick for tick in answered if what[tick.sent_ns] == "open"]
    return opening, [tick for tick in answered if what[tick.sent_ns] == "close"]


@contextmanager
def minimal_client(folder: Path, venues: BenchVenues, spot_ask: float = 60_000.01) -> Iterator[None]:
    access = folder / "minimal.json"
    access.write_text(json.dumps({**venues.access, "spot_ask": spot_ask}))
    with running_child("tests.bench.loops", "order", "--access", str(access), log=folder / "minimal.log") as client:
        client.answer()
        yield
