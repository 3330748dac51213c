"""Start-up: from the process's start to both books synchronised, and to the first order at a venue.

The venues run already, the data directory is empty, and the spread pays from the beginning. Half of the starts are
watched over the API (which costs a little) for the books, the other half only at the venue for the order.
"""

from __future__ import annotations

import http.client
import itertools
import json
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.rig import (
    BOT_SETTINGS,
    Bench,
    BenchBot,
    BenchFailure,
    BenchVenues,
    Metric,
    interleaved,
    median,
    running_venues,
)
from tests.bench.trace import first_order_ns

NAME = "start"
ROUNDS = 4
START_S_MAX = 20.0

_count = itertools.count()


def measure(bench: Bench) -> Iterable[Metric]:
    folder = bench.folder / "start"
    with running_venues(folder / "venues") as venues:
        venues.ask({"do": "stand", "paying": True})
        variants: dict[str, Callable[[], float]] = {
            "start.first_book": partial(_start, bench, folder, venues, _books_synced),
            "start.first_order": partial(_start, bench, folder, venues, _order_arrived),
        }
        for name, took in interleaved(ROUNDS, variants).items():
            yield Metric(name, median(took), "s", ROUNDS)


Happened = Callable[[BenchBot, BenchVenues, float], float | None]
"""Seconds from the start until it happened; None while it has not."""


def _start(bench: Bench, folder: Path, venues: BenchVenues, happened: Happened) -> float:
    bot = BenchBot(folder / f"bot{next(_count)}", bench, PAPER_VENUES=str(venues.file), **BOT_SETTINGS)
    try:
        began_s = bot.spawn()
        while time.monotonic() - began_s < START_S_MAX:
            took_s = happened(bot, venues, began_s)
            if took_s is not None:
                return took_s
            time.sleep(0.02)
        raise BenchFailure(f"nothing after {START_S_MAX:g} s: {bot.log_tail()}")
    finally:
        bot.end()


def _books_synced(bot: BenchBot, venues: BenchVenues, began_s: float) -> float | None:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", bot.port, timeout=5)
        connection.request("GET", "/api/ui/state")
        state: dict[str, Any] = json.loads(connection.getresponse().read())
        connection.close()
    except (OSError, ValueError):
        return None
    books = [venue["book"] for venue in state.get("venues", {}).values()]
    return time.monotonic() - began_s if books and all(book["synced"] for book in books) else None


def _order_arrived(bot: BenchBot, venues: BenchVenues, began_s: float) -> float | None:
    at_ns = first_order_ns(venues.ask({"do": "rows"})["rows"], round(began_s * 1e9))
    return None if at_ns is None else at_ns / 1e9 - began_s
