"""The rig: metrics, percentiles, processes, and what keeps the figures of a shared machine comparable.

Two things matter on two virtual cores. A core that sleeps takes up to half a millisecond to wake, so a spinner of the
lowest priority keeps each one awake. And the machine drifts, so that variants which are compared take turns
(`interleaved`) instead of running one after the other.
"""

from __future__ import annotations

import json
import math
import os
import resource
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from attrs import frozen

from propbot.settings_groups import known_names
from tests.e2e.processes import PROPBOT, Bot, clean_environ

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
RECORDINGS = ROOT.parent / "shared" / "recordings" / "binance"
UM_RECORDING = RECORDINGS / "usdm_btcusdt_20240808.gz"
SPOT_RECORDING = RECORDINGS / "spot_btcusdt_20240808.gz"

ANSWER_S_MAX = 60.0


class BenchFailure(Exception):
    """A figure would be worth nothing: frames were lost, the bot did not trade, a process ended."""


@frozen
class Metric:
    """One figure. `n` is how many samples, frames or rounds it rests on."""

    metric: str
    value: float
    unit: str
    n: int

    def line(self) -> str:
        value = round(self.value, 4 if abs(self.value) < 10 else 1)
        return json.dumps({"metric": self.metric, "value": value, "unit": self.unit, "n": self.n})


@frozen
class Bench:
    """What every measurement is given."""

    folder: Path
    """For data directories; on a disk, not in memory, or `LEDGER_SYNC=full` costs nothing."""
    long: bool = False
    launcher: Sequence[str] = PROPBOT
    """The program whose `run` is the bot: another one to take it apart."""

    def say(self, text: str) -> None:
        print(f"  {text}", file=sys.stderr, flush=True)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0..1) of `values` do not exceed. ValueError if there are none."""
    if not values:
        raise ValueError("no values")
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"a share lies in 0..1: {share}")
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]


def median(values: Sequence[float]) -> float:
    return percentile(values, 0.5)


def median_of_rounds(rounds: Sequence[Sequence[float]], share: float) -> float:
    """The median over rounds of each round's percentile: one disturbed round does not move it."""
    return median([percentile(each, share) for each in rounds if each])


def interleaved(rounds: int, variants: Mapping[str, Callable[[], T]]) -> dict[str, list[T]]:
    """Every variant once a round, each round in another order, so that none always follows the same neighbour."""
    found: dict[str, list[T]] = {name: [] for name in variants}
    names = list(variants)
    for number in range(rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            found[name].append(variants[name]())
    return found


# --- processes


@contextmanager
def cores_kept_awake() -> Iterator[None]:
    """A busy loop of the lowest priority on each core. It ends with us, whatever ends us."""
    spin = (
        "import os,sys,time\n"
        "os.sched_setaffinity(0,{int(sys.argv[1])}); os.nice(19)\n"
        "try: os.sched_setscheduler(0,os.SCHED_IDLE,os.sched_param(0))\n"
        "except (AttributeError,OSError): pass\n"
        "while os.getppid()==int(sys.argv[2]):\n"
        "    until=time.monotonic()+0.2\n"
        "    while time.monotonic()<until: pass\n"
    )
    spinners = [
        subprocess.Popen([sys.executable, "-c", spin, str(core), str(os.getpid())])
        for core in sorted(os.sched_getaffinity(0))
    ]
    try:
        yield
    finally:
        for each in spinners:
            each.kill()
            each.wait()


class Child:
    """A program of ours that is commanded by JSON lines and answers each with one."""

    def __init__(self, module: str, *arguments: str, log: Path) -> None:
        with open(log, "ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments], cwd=ROOT, env=clean_environ(), stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=file,
            )
        self._log = log
        self.pid = self._process.pid

    def tell(self, command: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()

    def ask(self, command: Mapping[str, Any], *, within_s: float = ANSWER_S_MAX) -> dict[str, Any]:
        self.tell(command)
        return self.answer(within_s=within_s)

    def answer(self, *, within_s: float = ANSWER_S_MAX) -> dict[str, Any]:
        """The next line, as it is answered in one piece. BenchFailure if none comes or it tells of an error."""
        out = self._process.stdout
        assert out is not None
        ready, _, _ = select.select([out], [], [], within_s)
        line = out.readline() if ready else b""
        if not line:
            why = "said nothing" if self._process.poll() is None else f"ended with {self._process.returncode}"
            raise BenchFailure(f"{self._process.args[2]} {why}: {self._log.read_text(errors='replace')[-2000:]}")
        found: dict[str, Any] = json.loads(line)
        if "error" in found:
            raise BenchFailure(str(found["error"]))
        return found

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass
        try:
            self._process.wait(3)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def running_child(module: str, *arguments: str, log: Path) -> Iterator[Child]:
    child = Child(module, *arguments, log=log)
    try:
        yield child
    finally:
        child.close()


class BenchVenues(Child):
    """The venues' process (`tests.bench.venues`); `file` is what PAPER_VENUES takes."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__("tests.bench.venues", "--folder", str(folder), *arguments, log=folder / "venues.log")
        self.access: dict[str, Any] = self.answer()["access"]
        self.file = folder / "venues.json"
        self.file.write_text(json.dumps(self.access))


@contextmanager
def running_venues(folder: Path, *arguments: str) -> Iterator[BenchVenues]:
    venues = BenchVenues(folder, *arguments)
    try:
        yield venues
    finally:
        venues.close()


BOT_SETTINGS = {
    "BASIS_WARMUP_SEC": "0", "REFERENCE": "zero", "MIN_SPREAD_BPS": "5", "EXIT_EDGE_BPS": "1",
    "EXPECTED_SLIPPAGE_BPS": "0", "MAX_POSITION_USDT": "1500", "MAX_BOOK_AGE_MS": "60000", "POLL_INTERVAL_SEC": "60",
    "LOG_LEVEL": "WARNING", "MAX_ORDERS_PER_MIN": "100000",
}
"""Only the benchmark's tick pays, and one lot at a time; the loop's own poll, which a tick could meet, is rare."""


class BenchBot(Bot):
    """A real `propbot run` on the benchmark's venues."""

    def __init__(self, folder: Path, bench: Bench, **settings: str) -> None:
        known = known_names()
        super().__init__(folder, **{name: value for name, value in settings.items() if name in known})
        self._launcher = list(bench.launcher)

    def spawn(self) -> float:
        """Starts the process and waits for nothing; the monotonic time right before."""
        self.folder.mkdir(parents=True, exist_ok=True)
        began_s = time.monotonic()
        with open(self.folder / "bot.log", "ab") as log:
            self.process = subprocess.Popen(
                [*self._launcher, "run"], cwd=self.folder, env=clean_environ(**self.settings), stdout=log,
                stderr=log,
            )
        return began_s

    def start(self) -> None:
        self.spawn()
        self.wait(lambda: self.get("/healthz")["status"] == "ok", "the API")

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def wait_trading(self) -> None:
        """Until both books are synchronised and the loop says that it only lacks an edge."""
        self.wait(lambda: "bps below" in self.get("/api/ui/state")["loop"]["why_not"], "the loop's readiness")

    def end(self) -> None:
        """An ordered stop."""
        if self.process is not None and self.process.poll() is None:
            self.terminate()
        self.close()


@contextmanager
def running_bench_bot(folder: Path, bench: Bench, venues: BenchVenues, **settings: str) -> Iterator[BenchBot]:
    bot = BenchBot(folder, bench, PAPER_VENUES=str(venues.file), **{**BOT_SETTINGS, **settings})
    try:
        bot.start()
        yield bot
    finally:
        bot.end()


# --- what a process used


def cpu_s(pid: int) -> float:
    """CPU time of all threads of `pid` so far, user and system, in nanoseconds' resolution where the kernel has it."""
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
    except (FileNotFoundError, PermissionError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@frozen
class MachineTime:
    """CPU seconds since boot: of everybody at normal priority (the spinner is not), and of us with all children that
    have ended."""

    everybody_s: float
    ours_s: float
    mono_s: float

    @staticmethod
    def now() -> MachineTime:
        user, _, system, *rest = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
        busy = int(user) + int(system) + sum(int(each) for each in rest[2:4])  # interrupts
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        ours_s = sum(each.ru_utime + each.ru_stime for each in used)
        return MachineTime(busy / os.sysconf("SC_CLK_TCK"), ours_s, time.monotonic())

    def others_share(self, since: MachineTime) -> float:
        """How much of all cores others used since then, 0..1."""
        others_s = (self.everybody_s - since.everybody_s) - (self.ours_s - since.ours_s)
        cores = len(os.sched_getaffinity(0))
        return max(others_s / ((self.mono_s - since.mono_s) * cores), 0.0)


def rss_mb(pid: int) -> float:
    """Resident memory of `pid` now."""
    return parse_rss_mb(Path(f"/proc/{pid}/status").read_text())


def parse_rss_mb(status: str) -> float:
    """`VmRSS` of a /proc/PID/status, in MB of 1024² bytes. ValueError where there is none."""
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            number, unit = line.split()[1:3]
            if unit == "kB":
                return int(number) / 1024
    raise ValueError("no VmRSS in this status")


def metrics_of(name: str, rounds: Sequence[Sequence[float]], unit: str = "us") -> Iterable[Metric]:
    """p10, p50 and p99 of samples that came in rounds: the median of the rounds' p10 and p50, the p99 over all. On a
    machine that others use, p10 is what it takes when the core is free, and the others tell of them too."""
    samples = [value for each in rounds for value in each]
    yield Metric(f"{name}.p10", median_of_rounds(rounds, 0.1), unit, len(samples))
    yield Metric(f"{name}.p50", median_of_rounds(rounds, 0.5), unit, len(samples))
    yield Metric(f"{name}.p99", percentile(samples, 0.99), unit, len(samples))


__all__ = [
    "BOT_SETTINGS", "PROPBOT", "ROOT", "SPOT_RECORDING", "UM_RECORDING", "Bench", "BenchBot", "BenchFailure",
    "BenchVenues", "Child", "MachineTime", "Metric", "clean_environ", "cores_kept_awake", "cpu_s", "interleaved",
    "median", "median_of_rounds", "metrics_of", "parse_rss_mb", "percentile", "rss_mb", "running_bench_bot",
    "running_child", "running_venues",
]
