"""Where the time goes: a tick's journey station by station, and a sampling profile of the flood.

    python -m tests.bench.anatomy tick [--sync full|normal] [--kind one|burst_last]
    python -m tests.bench.anatomy ingest [--out FILE]      needs py-spy; FILE gets its collapsed stacks

For people; nothing here is a metric. `docs/performance.md` holds what it printed last.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from attrs import field, frozen

from tests.bench.rig import (
    ROOT,
    UM_RECORDING,
    Bench,
    cores_kept_awake,
    median,
    running_bench_bot,
    running_venues,
)
from tests.bench.stages_bot import STATIONS
from tests.bench.tick_to_order import SETTLE_MS
from tests.bench.trace import answered_ticks

CYCLES = 300
FLOODS = 3
RATE = 200
STAGES_BOT = (
    f"import runpy,sys; sys.path.append({str(ROOT)!r}); "
    "runpy.run_module('tests.bench.stages_bot', run_name='__main__', alter_sys=True)"
)
"""The bot runs in a folder of its own."""
ROOMS = (
    ("propbot.books.", "books"), ("propbot.pipeline", "pipeline"), ("propbot.spread.", "pipeline"),
    ("propbot.market", "pipeline"), ("propbot.feeds.", "feeds"), ("propbot.venues.", "dialect (msgspec)"),
    ("propbot.kit.ws", "kit.ws"), ("propbot.", "other propbot"), ("trio_websocket.", "trio-websocket"),
    ("wsproto.", "wsproto"), ("trio.", "trio"), ("outcome.", "trio"), ("ssl.py", "ssl"),
)
"""Part of a frame, with dots for slashes → its room."""


# --- a tick's journey


def journey(stamps: Sequence[tuple[str, int]], ticks: Iterable[tuple[int, int]]) -> list[tuple[str, float, int]]:
    """For each station the median microseconds since the one before it, and how many ticks passed it.

    `ticks` are (sent, first order arrived). A station's moment is the first stamp of its name; but the reader's
    stations are passed twenty times by a burst, and the ledger's worker may have been busy with older jobs: there it is
    the last stamp before the decision, and before the commit's answer.
    """
    names = ["bytes", *dict.fromkeys(name for name, *_ in STATIONS)]
    until = dict.fromkeys(("bytes", "feed", "book", "screen", "screened"), "decide")
    until |= dict.fromkeys(("worker", "durable"), "committed")
    reached: dict[str, list[float]] = {name: [] for name in [*names, "order"]}
    ordered = sorted(stamps, key=lambda stamp: stamp[1])
    at = 0
    for sent_ns, order_ns in sorted(ticks):
        while at < len(ordered) and ordered[at][1] < sent_ns:
            at += 1
        moments: dict[str, int] = {}
        for name, stamped_ns in ordered[at:]:
            if stamped_ns > order_ns:
                break
            if name not in moments or (name in until and until[name] not in moments):
                moments[name] = stamped_ns
        before_ns = sent_ns
        for name in names:
            if name in moments:
                reached[name].append((moments[name] - before_ns) / 1000)
                before_ns = moments[name]
        reached["order"].append((order_ns - before_ns) / 1000)
    return [(name, median(took), len(took)) for name, took in reached.items() if took]


def run_tick(folder: Path, sync: str, kind: str) -> None:
    bench = Bench(folder, launcher=(sys.executable, "-c", STAGES_BOT))
    with running_venues(folder / "venues") as venues:
        with running_bench_bot(folder / "bot", bench, venues, LEDGER_SYNC=sync) as bot:
            bot.wait_trading()
            venues.ask({"do": "ticks", "kind": kind, "count": 20, "settle_ms": SETTLE_MS})
            rows = venues.ask({"do": "ticks", "kind": kind, "count": CYCLES, "settle_ms": SETTLE_MS})["rows"]
        stamps = json.loads((folder / "bot" / "stages.json").read_text())
    opening = {int(row["mono_ns"]) for row in rows if row["kind"] == "tick" and row["what"] == "open"}
    answered = [tick for tick in answered_ticks(rows, legs=2)[0] if tick.sent_ns in opening]
    ticks = [(tick.sent_ns, tick.sent_ns + round(tick.first_us * 1000)) for tick in answered]
    print(f"tick → order, LEDGER_SYNC={sync}, {kind}: p50 {median([tick.first_us for tick in answered]):.0f} µs")
    print("| station | µs since the one before (p50) | ticks |\n|---|---|---|")
    for name, took_us, count in journey(stamps, ticks):
        print(f"| {name} | {took_us:.0f} | {count} |")


# --- the flood's profile


@frozen
class Ranking:
    """Samples of the main thread, where each was running (the innermost frame; generated code without a file counts
    as its caller's room), and by everything of ours that it was running within."""

    by_room: Counter[str] = field(factory=Counter)
    by_function: Counter[str] = field(factory=Counter)
    within: Counter[str] = field(factory=Counter)


def rank(collapsed: str) -> Ranking:
    ranking = Ranking()
    for line in collapsed.splitlines():
        stack, _, count = line.rpartition(" ")
        thread, *frames = stack.split(";")
        if "MainThread" not in thread or not frames:
            continue
        ranking.by_function[_short(frames[-1])] += int(count)
        ranking.by_room[next((room for frame in reversed(frames) if (room := _room(frame))), "other")] += int(count)
        for name in {_short(frame) for frame in frames if "propbot/" in frame}:
            ranking.within[name] += int(count)
    return ranking


def _room(frame: str) -> str | None:
    dotted = frame.replace("/", ".")
    return None if "<string>" in frame else next((room for part, room in ROOMS if part in dotted), "other")


def _short(frame: str) -> str:
    """`function (package/file.py`, without the way there and the line."""
    name, _, place = frame.partition(" (")
    parts = place.rpartition(":")[0].split("/") if ":" in place else place.rstrip(")").split("/")
    return f"{name} ({'/'.join(parts[-2:])})"


def show(counter: Mapping[str, int], total: int, most: int) -> None:
    for name, count in Counter(counter).most_common(most):
        print(f"| {name} | {100 * count / total:.1f} % |")


def run_ingest(folder: Path, out: Path | None) -> None:
    spy = shutil.which("py-spy") or str(Path(sys.executable).with_name("py-spy"))
    collapsed = ""
    with running_venues(folder / "venues", "--recording", str(UM_RECORDING)) as venues:
        for number in range(FLOODS):
            venues.ask({"do": "arm"})
            settings = {"MIN_SPREAD_BPS": "100", "LEDGER_SYNC": "normal"}
            with running_bench_bot(folder / f"bot{number}", Bench(folder), venues, **settings) as bot:
                bot.wait_trading()
                file = folder / f"{number}.txt"
                arguments = ["record", "--pid", str(bot.pid), "--duration", "3", "--rate", str(RATE), "--format", "raw"]
                spying = subprocess.Popen(
                    [spy, *arguments, "--threads", "--full-filenames", "-o", str(file)], stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
                venues.ask({"do": "flood"}, within_s=90)
                spying.wait(30)
                collapsed += file.read_text()
    if out is not None:
        out.write_text(collapsed)
    ranking = rank(collapsed)
    total = sum(ranking.by_room.values())
    for title, counter in (
        ("room", ranking.by_room), ("running in", ranking.by_function), ("running in or below", ranking.within),
    ):
        print(f"\n| {title} | share of {total} samples |\n|---|---|")
        show(counter, total, 25)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.anatomy")
    parser.add_argument("what", choices=("tick", "ingest"))
    parser.add_argument("--sync", choices=("full", "normal"), default="full")
    parser.add_argument("--kind", choices=("one", "burst_last", "burst_first"), default="one")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="propbot-anatomy-") as name, cores_kept_awake():
        if options.what == "tick":
            run_tick(Path(name), options.sync, options.kind)
        else:
            run_ingest(Path(name), options.out)


if __name__ == "__main__":
    main()
