"""Resident memory after the start, and what it grows by over a synthetic market at its normal pace.

Twice, side by side: the README's `propbot run`, which holds the embedded venues too, and the service alone with its
venues in another process. Warm is ten seconds after the start. By default the growth is that of a minute, which shows
caches filling as well; with `--long` it is that of the hour after the first five minutes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from tests.bench.rig import Bench, BenchBot, Metric, rss_mb
from tests.e2e.processes import running_venues as running_synthetic_venues

NAME = "memory"
WARM_S = 10.0
LONG_WARM_S = 300.0
GROWTH_S = 60.0
LONG_GROWTH_S = 3600.0


def measure(bench: Bench) -> Iterable[Metric]:
    folder = bench.folder / "memory"
    with running_synthetic_venues(folder / "venues") as venues:
        bots = {
            "all_in_one": BenchBot(folder / "all", bench, LOG_LEVEL="WARNING"),
            "service": BenchBot(folder / "service", bench, LOG_LEVEL="WARNING", PAPER_VENUES=str(venues.file)),
        }
        try:
            for bot in bots.values():
                bot.start()
            yield from _watch(bench, bots)
        finally:
            for bot in bots.values():
                bot.end()


def _watch(bench: Bench, bots: dict[str, BenchBot]) -> Iterable[Metric]:
    time.sleep(WARM_S)
    started = {name: rss_mb(bot.pid) for name, bot in bots.items()}
    warm = started
    growth_s = GROWTH_S
    if bench.long:
        growth_s = LONG_GROWTH_S
        bench.say(f"an hour of market, until {time.strftime('%H:%M', time.localtime(time.time() + growth_s + 300))}")
        time.sleep(LONG_WARM_S - WARM_S)
        warm = {name: rss_mb(bot.pid) for name, bot in bots.items()}
    time.sleep(growth_s)
    for name, bot in bots.items():
        fills = len(bot.items("/api/ui/fills"))
        yield Metric(f"memory.{name}.rss_after_start", started[name], "MB", 1)
        yield Metric(f"memory.{name}.growth_in_{growth_s:.0f}s", rss_mb(bot.pid) - warm[name], "MB", fills)
