"""One seed from beginning to end: its plan on a world of its own, brought to rest, and judged.

`run_seed` blocks, starts its own `trio.run` in virtual time, and leaves nothing behind. Everything that happened is in
the trace, which is hashed as it is made; the rows that no rule reads are hashed and not kept.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import trio
from attrs import asdict, define, field, frozen

from propbot.domain.mode import Mode
from propbot.kit.supervise import describe
from propbot.kit.virtual import jumping_clock, rare_collections, repeatable_scheduling
from propbot.simulate.checker import Violation, check
from propbot.simulate.logs import captured_log
from propbot.simulate.nemesis import Nemesis
from propbot.simulate.operator import API_TOKEN, People
from propbot.simulate.plan import FIRST_BLOW_S, Plan, draw_plan
from propbot.simulate.rest import note_resources, note_rest
from propbot.simulate.truth import evidence
from propbot.simulate.world import World, open_world

QUIET_S = 125.0
PATIENCE_S = 4.0
"""How long a HOLD lasts before the operator on duty tries to leave it."""
VIOLATIONS_TOLD_MAX = 30
NOT_KEPT = frozenset({"frame", "note"})
MEMORY = Path("/dev/shm")  # noqa: S108 (a folder of our own is made in it)

Tell = Callable[[float], None]


@frozen
class SeedResult:
    """What the log says of one seed."""

    seed: int
    hours: float
    wall_s: float
    cpu_s: float
    speed: float
    """Virtual seconds a second of wall time, the coming to rest and the judging included."""
    virtual_s: float
    faults: Mapping[str, int]
    kills: int
    restarts: int
    orders: int
    fills: int
    rows: int
    holds: Mapping[str, int]
    """Entered, by who caused it."""
    resumed: int
    ended_in: str
    violations: Sequence[str]
    trace_sha256: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@define(eq=False)
class HashedTrace:
    """One trace for all who write: hashes every row, keeps what the oracle reads."""

    folder: bytes
    digest: Any = field(factory=hashlib.sha256)
    counts: Counter[str] = field(factory=Counter)
    _encode: Any = field(factory=lambda: msgspec.json.Encoder(enc_hook=str).encode)

    def of(self, who: str, rows: list[dict[str, Any]]) -> Callable[..., None]:
        def write(kind: str, **fields: Any) -> None:
            row = {"t": trio.current_time(), "who": who, "kind": kind, **fields}
            line: bytes = self._encode(row)
            # where the run lies on this machine's disk is no part of what happened
            self.digest.update(line.replace(self.folder, b"") if self.folder in line else line)
            self.counts[kind] += 1
            if kind not in NOT_KEPT:
                rows.append(row)

        return write


@define(eq=False)
class _Run:
    """What is known of a run while it lasts, also when it ends in the middle."""

    plan: Plan
    trace: HashedTrace
    nemesis: Nemesis | None = None
    world: World | None = None
    violations: list[Violation] = field(factory=list)
    ended_in: str = "it did not come to rest"
    virtual_s: float = 0.0


def run_seed(seed: int, hours: float, tell: Tell = lambda share: None) -> SeedResult:
    """`tell` hears the share of the virtual time that is over."""
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    plan = draw_plan(seed, hours)
    with (
        tempfile.TemporaryDirectory(prefix="propbot-simulate-", dir=MEMORY if MEMORY.is_dir() else None) as folder,
        repeatable_scheduling(),
        rare_collections(),
        captured_log() as log,
    ):
        run = _Run(plan, HashedTrace(folder.encode()))
        try:
            trio.run(partial(_play, run, Path(folder), log, tell), clock=jumping_clock())
        except BaseExceptionGroup as group:
            run.violations.append(Violation("I19", run.virtual_s, f"the service broke out: {describe(group)}"))
    wall_s = time.perf_counter() - began_s
    return _result_of(run, hours, wall_s, time.process_time() - began_cpu_s)


async def _play(run: _Run, folder: Path, log: list[str], tell: Tell) -> None:
    plan = run.plan
    began = trio.current_time()
    async with open_world(
        folder, seed=plan.seed, updates_per_s=plan.updates_per_s, make_trace=run.trace.of,
        given={"API_TOKEN": API_TOKEN, **plan.settings},
    ) as world:
        people = People(world)
        async with trio.open_nursery() as nursery:
            nemesis = Nemesis(world, people, nursery)
            run.world, run.nemesis = world, nemesis
            nursery.start_soon(_report_progress, run, began, tell)
            nursery.start_soon(_measure_beginning, world)
            nursery.start_soon(nemesis.run_watchman)
            nursery.start_soon(people.run_duty, PATIENCE_S)
            nursery.start_soon(nemesis.deal, plan.blows)
            await trio.sleep(plan.length_s)
            await nemesis.come_to_rest(QUIET_S)
            await _stop(run, nemesis, people)
            nursery.cancel_scope.cancel()
        run.virtual_s = trio.current_time() - began
        written = {"the log": log, "the API's answers": people.answers}
        run.violations += check(evidence(world, written=written))


async def _stop(run: _Run, nemesis: Nemesis, people: People) -> None:
    world = nemesis.world
    bot = world.bot
    assert bot is not None
    if world.dead:
        world.note("at_rest", mode=None)
        return
    note_resources(world)
    note_rest(world, bot)
    view = bot.modes.view
    run.ended_in = str(view.mode) if view.hold is None else view.hold.line()
    nemesis.ending()
    if view.mode is not Mode.HOLD:
        await people.hold()
    with trio.move_on_after(30):
        await bot.winddown.done.wait()
        await trio.sleep(2)
    await world.stop_bot()


async def _measure_beginning(world: World) -> None:
    """What a service that trades undisturbed holds on to."""
    await trio.sleep(FIRST_BLOW_S - 1)
    note_resources(world)


async def _report_progress(run: _Run, began: float, tell: Tell) -> None:
    whole_s = run.plan.length_s + QUIET_S
    while True:
        await trio.sleep(60)
        run.virtual_s = trio.current_time() - began
        tell(min(1.0, run.virtual_s / whole_s))


def _result_of(run: _Run, hours: float, wall_s: float, cpu_s: float) -> SeedResult:
    rows = [] if run.world is None else run.world.rows
    holds = Counter(
        str(row["source"]) for row in rows if row["kind"] == "mode" and row["who"] == "bot" and row["mode"] == "HOLD"
    )
    counts, nemesis = run.trace.counts, run.nemesis
    return SeedResult(
        run.plan.seed, hours, round(wall_s, 2), round(cpu_s, 2), round(run.virtual_s / wall_s, 1),
        round(run.virtual_s, 1), {} if nemesis is None else dict(sorted(nemesis.dealt.items())),
        0 if nemesis is None else nemesis.kills, 0 if nemesis is None else nemesis.restarts, counts["order_send"],
        counts["fill_booked"], sum(counts.values()), dict(sorted(holds.items())), counts["resume"], run.ended_in,
        [f"{each.invariant} at {each.t:g} s: {each.text}" for each in run.violations[:VIOLATIONS_TOLD_MAX]],
        run.trace.digest.hexdigest(),
    )
