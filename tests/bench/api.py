"""The API: answers a second of the overview over one kept connection, and what asking it costs the tick."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial

from tests.bench.rig import (
    Bench,
    BenchBot,
    BenchVenues,
    Metric,
    cpu_s,
    interleaved,
    median,
    metrics_of,
    running_bench_bot,
    running_venues,
)
from tests.bench.tick_to_order import run_ticks

NAME = "api"
PATH = "/api/ui/status/overview"
FLAT_OUT_S = 2.0
ROUNDS = 4
CYCLES = 25
PACED_PER_S = 50.0


def measure(bench: Bench) -> Iterable[Metric]:
    folder = bench.folder / "api"
    with (
        running_venues(folder / "venues") as venues,
        running_bench_bot(folder / "bot", bench, venues, LEDGER_SYNC="normal") as bot,
    ):
        bot.wait_trading()
        run_ticks(venues, "one", 10)
        asked = interleaved(3, {"flat_out": partial(_ask_flat_out, bot)})["flat_out"]
        n = sum(count for count, _, _ in asked)
        yield Metric("api.overview.requests_per_s", median([count / took for count, took, _ in asked]), "requests/s", n)
        yield Metric("api.overview.cpu_us", median([used / count * 1e6 for count, _, used in asked]), "us", n)
        variants: dict[str, Callable[[], list[float]]] = {
            "quiet": partial(_tick, venues),
            "50_per_s": partial(_tick_while_asked, bot, venues, 1 / PACED_PER_S),
            "flat_out": partial(_tick_while_asked, bot, venues, 0.0),
        }
        found = interleaved(ROUNDS, variants)
    for name, rounds in found.items():
        yield from metrics_of(f"api.tick_to_order.{name}", rounds)


def _ask_flat_out(bot: BenchBot) -> tuple[int, float, float]:
    """How many answers, in how many seconds, for how much of the bot's CPU time."""
    connection = http.client.HTTPConnection("127.0.0.1", bot.port, timeout=10)
    used_s, began_s, count = cpu_s(bot.pid), time.monotonic(), 0
    while time.monotonic() - began_s < FLAT_OUT_S:
        _ask(connection)
        count += 1
    took_s = time.monotonic() - began_s
    connection.close()
    return count, took_s, cpu_s(bot.pid) - used_s


def _ask(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", PATH)
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 200, answer.status


def _tick(venues: BenchVenues) -> list[float]:
    return [tick.first_us for tick in run_ticks(venues, "one", CYCLES)[0]]


def _tick_while_asked(bot: BenchBot, venues: BenchVenues, pause_s: float) -> list[float]:
    with _asking(bot, pause_s):
        return _tick(venues)


@contextmanager
def _asking(bot: BenchBot, pause_s: float) -> Iterator[None]:
    stop = threading.Event()

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", bot.port, timeout=10)
        due_s = time.monotonic()
        while not stop.is_set():
            _ask(connection)
            due_s += pause_s
            if pause_s:
                time.sleep(max(due_s - time.monotonic(), 0.0))
        connection.close()

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        yield
    finally:
        stop.set()
        asker.join()
