"""`propbot simulate`: seeds → processes → a log line each, and the seeds that broke something.

Seeds are independent, so each process takes the next one; a worker runs seed after seed. The log is appended to line by
line as seeds end, and what it has is not run again: a long run may be stopped and taken up.
"""

from __future__ import annotations

import json
import multiprocessing
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from attrs import frozen

from propbot.domain.errors import SettingsError
from propbot.simulate.run import SeedResult, run_seed

Told = Mapping[str, Any]


@frozen
class SimulateOptions:
    seeds: Sequence[int]
    hours: float
    jobs: int
    log: Path | None
    twice: bool = False
    """Run each seed a second time, in another process, and hold its trace against the first (I22)."""


def parse_seeds(text: str) -> range:
    """`7` or `1..100`, both ends included; ValueError says what is accepted."""
    first, dots, last = text.partition("..")
    if not first.isdigit() or (dots and not last.isdigit()):
        raise ValueError(f"a seed such as 7, or seeds such as 1..100, not {text!r}")
    seeds = range(int(first), int(last or first) + 1)
    if not seeds:
        raise ValueError(f"the last seed must not lie before the first: {text!r}")
    return seeds


def read_log(path: Path, hours: float) -> dict[int, Told]:
    """What it has of seeds of this length; SettingsError for a file that is no such log. A torn last line is none."""
    found: dict[int, Told] = {}
    if not path.exists():
        return found
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            if row["hours"] == hours:
                found[int(row["seed"])] = row
        except (ValueError, KeyError, TypeError):
            if number < len(lines):
                raise SettingsError([f"--log {path}: line {number} is no line of `propbot simulate`"]) from None
    return found


def simulate(options: SimulateOptions) -> Iterator[Told]:
    """The result of each seed that is not in the log yet, as they end. OSError for a log that can't be written."""
    known = {} if options.log is None else read_log(options.log, options.hours)
    todo = [seed for seed in options.seeds if seed not in known]
    if options.log is not None:
        options.log.parent.mkdir(parents=True, exist_ok=True)
        _mend_last_line(options.log)
    for told in _run_all(todo, options):
        if options.log is not None:
            with open(options.log, "a", encoding="utf-8") as file:
                file.write(json.dumps(told) + "\n")
        yield told


def _mend_last_line(path: Path) -> None:
    """A run that was killed while it wrote leaves a line without an end: it is cut off."""
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        path.write_bytes(whole)


def _run_all(seeds: Sequence[int], options: SimulateOptions) -> Iterator[Told]:
    if not seeds:
        return
    work = partial(_run_one, hours=options.hours)
    if options.jobs == 1 and not options.twice:
        yield from map(work, seeds)
        return
    with _pool(min(options.jobs, len(seeds))) as pool:
        told_of: Iterable[Told] = pool.imap_unordered(work, seeds)
        if options.twice:
            told_of = _compared(told_of, pool.imap_unordered(work, seeds))
        yield from told_of


def _compared(firsts: Iterable[Told], seconds: Iterable[Told]) -> Iterator[Told]:
    """Each first result, with a violation where its twin has another trace."""
    by_seed = {told["seed"]: told for told in firsts}
    for twin in seconds:
        told = dict(by_seed[twin["seed"]])
        if told["trace_sha256"] != twin["trace_sha256"]:
            story = f"I22: the same seed made {told['trace_sha256'][:16]} and, again, {twin['trace_sha256'][:16]}"
            told["violations"] = [*told["violations"], story]
        yield told


def _run_one(seed: int, hours: float) -> Told:
    result: SeedResult = run_seed(seed, hours)
    return result.to_json()


@contextmanager
def _pool(jobs: int) -> Iterator[Any]:
    """Fresh processes, one seed each: nothing of one seed is left for the next. They leave Ctrl-C to us."""
    context = multiprocessing.get_context("spawn")
    pool = context.Pool(jobs, initializer=_leave_signals, maxtasksperchild=1)
    try:
        yield pool
        pool.close()
    finally:
        pool.terminate()
        pool.join()


def _leave_signals() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def again(told: Told) -> str:
    """The command that runs this seed again."""
    return f"propbot simulate --seed {told['seed']} --hours {told['hours']:g}"


def describe_seed(told: Told) -> str:
    """One line for people."""
    verdict = "ok" if not told["violations"] else f"{len(told['violations'])} VIOLATIONS"
    return (
        f"seed {told['seed']}: {verdict}; {told['hours']:g} h in {told['wall_s']:.0f} s ({told['speed']:.0f}x), "
        f"{sum(told['faults'].values())} blows, {told['kills']} kills, {told['orders']} orders, "
        f"{sum(told['holds'].values())} holds, ended in {told['ended_in']}"
    )
