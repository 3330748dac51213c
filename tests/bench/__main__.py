"""`python -m tests.bench`: every measurement in turn. Stdout: JSON lines. Exit 1 if a figure would be worth nothing."""

from __future__ import annotations

import argparse
import http.client
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import httpx

from tests.bench import api, commit, hold, ingest, memory, start, tick_to_order, trip, virtual_time
from tests.bench.goals import table
from tests.bench.rig import Bench, BenchFailure, MachineTime, Metric, cores_kept_awake

FAILURES = (
    BenchFailure, AssertionError, OSError, httpx.HTTPError, http.client.HTTPException, subprocess.SubprocessError,
)
"""What ends one measurement and lets the next one begin."""
ROOMS: tuple[ModuleType, ...] = (ingest, tick_to_order, commit, hold, trip, api, start, virtual_time, memory)


def main() -> int:
    names = [room.NAME for room in ROOMS]
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure PropBot from outside of it.")
    parser.add_argument("--only", action="append", choices=names, help="this measurement alone; may be repeated")
    parser.add_argument("--long", action="store_true", help="an hour of market for the growth of memory")
    parser.add_argument("--json-file", type=Path, help="the JSON lines go here as well")
    parser.add_argument("--keep", action="store_true", help="keep logs and data directories, and say where")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="propbot-bench-"))
    say(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    metrics: list[Metric] = []
    failed = False
    with cores_kept_awake():
        for room in ROOMS:
            if options.only and room.NAME not in options.only:
                continue
            failed = not run_room(room, Bench(folder, options.long), metrics, options.json_file) or failed
    say(table(metrics))
    if options.keep or failed:
        say(f"logs are in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed else 0


def run_room(room: ModuleType, bench: Bench, metrics: list[Metric], json_file: Path | None) -> bool:
    """Whether it came to its end; what it found before is kept."""
    say(f"{room.NAME}: {str(room.__doc__).splitlines()[0]}")
    before = MachineTime.now()
    try:
        for metric in room.measure(bench):
            metrics.append(metric)
            print(metric.line(), flush=True)
            if json_file is not None:
                with open(json_file, "a") as file:
                    file.write(metric.line() + "\n")
    except FAILURES as error:
        say(f"  FAILED: {type(error).__name__}: {error}")
        return False
    after = MachineTime.now()
    say(f"  {after.mono_s - before.mono_s:.0f} s; others used {after.others_share(before):.0%} of the machine")
    return True


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
