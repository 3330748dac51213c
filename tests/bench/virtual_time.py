"""Virtual time: the whole service and its venues over both recordings, market seconds a second of wall time.

`propbot replay` as a process, its start included; `virtual_time.replay_loop` is what it says of itself without that.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterable

from tests.bench.rig import PROPBOT, SPOT_RECORDING, UM_RECORDING, Bench, BenchFailure, Metric, clean_environ

NAME = "virtual_time"
REPLAY_S_MAX = 300.0


def measure(bench: Bench) -> Iterable[Metric]:
    if not (UM_RECORDING.exists() and SPOT_RECORDING.exists()):
        bench.say("left out: the recordings are not beside this checkout")
        return
    folder = bench.folder / "virtual_time"
    folder.mkdir(parents=True, exist_ok=True)
    environ = clean_environ()
    known = subprocess.run([*PROPBOT, "replay", "--help"], env=environ, cwd=folder, capture_output=True, check=False)
    if known.returncode != 0:
        bench.say("left out: this version has no `propbot replay`")
        return
    command = [
        *PROPBOT, "replay", "--market", f"binance-um={UM_RECORDING}", "--market", f"binance-spot={SPOT_RECORDING}",
        "--set", "TAKER_FEE_BPS=0", "--set", "MIN_SPREAD_BPS=1.2", "--json",
    ]
    began_s = time.monotonic()
    done = subprocess.run(command, env=environ, cwd=folder, capture_output=True, check=False, timeout=REPLAY_S_MAX)
    took_s = time.monotonic() - began_s
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace")[-1000:]
        raise BenchFailure(f"propbot replay ended with {done.returncode}: {said}")
    told = json.loads(done.stdout)
    yield Metric("virtual_time.replay", told["market_s"] / took_s, "market s/s", told["frames"])
    yield Metric("virtual_time.replay_loop", told["market_s"] / told["wall_s"], "market s/s", told["frames"])
