"""What the figures are held against: goals, and the floors that a figure is a multiple of. Shown on stderr only.

    python -m tests.bench.goals FILE      the JSON lines of a run as a table for docs/performance.md

A goal is a target on an otherwise idle two-core machine; no run fails by missing one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen

from tests.bench.rig import Metric


@frozen
class Goal:
    """`most` or `least` that is wanted."""

    value: float
    at_least: bool = False

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '<'} {self.value:g}"

    def met(self, value: float) -> bool:
        return value >= self.value if self.at_least else value < self.value


GOALS: Mapping[str, Goal] = {
    "ingest.tls.frames_per_s": Goal(50_000, at_least=True),
    "ingest.plain.frames_per_s": Goal(50_000, at_least=True),
    "ingest.tls.cpu_us_per_frame": Goal(20),
    "ingest.plain.cpu_us_per_frame": Goal(20),
    "tick_to_order.full.one.first.p50": Goal(1200),
    "tick_to_order.normal.one.first.p50": Goal(800),
    "tick_to_order.full.burst_last.first.p50": Goal(1500),
    "tick_to_order.normal.burst_last.first.p50": Goal(1500),
    "hold.handled_to_last_order.p50": Goal(5),
    "hold.handled_to_last_order.max": Goal(5),
    "trip.last_order.max": Goal(5),
    "trip.persisted.max": Goal(250),
    "trip.cancelled.max": Goal(1000),
    "start.first_order": Goal(3),
    "memory.all_in_one.rss_after_start": Goal(120),
    "memory.service.rss_after_start": Goal(120),
    "virtual_time.replay": Goal(15, at_least=True),
}

FLOORS: Mapping[str, str] = {
    "ingest.tls": "floor.bare_frames.tls",
    "ingest.plain": "floor.bare_frames.plain",
    "floor.ws_layer.tls": "floor.bare_frames.tls",
    "floor.ws_layer.plain": "floor.bare_frames.plain",
    "floor.decode_book": "floor.decode",
    "floor.decode_book_edge": "floor.decode",
    "tick_to_order.full": "floor.minimal_client",
    "tick_to_order.normal": "floor.minimal_client",
    "commit.full": "floor.sqlite_insert.full",
    "commit.normal": "floor.sqlite_insert.normal",
}
"""Prefix of a metric → prefix of its floor's metric of the same kind."""


def floor_of(name: str, found: Mapping[str, Metric]) -> Metric | None:
    """The floor's metric that `name` is compared with, if it was measured."""
    for prefix, floor in FLOORS.items():
        if name.startswith(prefix + "."):
            return found.get(floor + name[len(prefix) :])
    return None


HEAD = ("metric", "value", "unit", "n", "goal", "times its floor")


def _cells(metrics: Sequence[Metric]) -> list[tuple[str, ...]]:
    """Figure, goal, and how many times its floor a figure is."""
    found = {metric.metric: metric for metric in metrics}
    rows: list[tuple[str, ...]] = []
    for metric in metrics:
        goal, floor = GOALS.get(metric.metric), floor_of(metric.metric, found)
        shown = "" if goal is None else f"{goal}{'' if goal.met(metric.value) else ', missed'}"
        times = "" if floor is None or not floor.value else f"{metric.value / floor.value:.2f}"
        digits = 0 if abs(metric.value) >= 100 else 2
        rows.append((metric.metric, f"{metric.value:,.{digits}f}", metric.unit, str(metric.n), shown, times))
    return rows


def table(metrics: Sequence[Metric]) -> str:
    """For a terminal."""
    rows = [HEAD, *_cells(metrics)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def markdown(metrics: Sequence[Metric]) -> str:
    """For docs/performance.md."""
    rows = [HEAD, ("---",) * len(HEAD), *_cells(metrics)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


if __name__ == "__main__":
    lines = Path(sys.argv[1]).read_text().splitlines()
    print(markdown([Metric(**json.loads(line)) for line in lines]))
