"""Keeps mode and basis on disk: one worker of its own, so that a hung disk keeps nobody but this from going on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import outcome
from attrs import define, field

from propbot.control.modes import ModeView
from propbot.control.state_file import BadStateFile, RuntimeState, load_state, save_state
from propbot.kit.crash import CrashPoints
from propbot.kit.disk import ReplaceFile, replace_file
from propbot.kit.level import Level
from propbot.kit.threads import Job, OpenWorker, Worker
from propbot.kit.trace import Trace
from propbot.spread.reference import BasisState


@define(eq=False)
class StateKeeper:
    """`stored` is what an earlier life left; `problem` says why a file that is there could not be used."""

    folder: Path
    stored: RuntimeState | None
    problem: str | None
    _worker: Worker
    _crash: CrashPoints
    _trace: Trace
    _generation: int
    _replace: ReplaceFile
    _saved: Level[ModeView | None] = field(factory=lambda: Level(None))

    async def save(self, view: ModeView, basis: BasisState | None) -> None:
        """Durable when it returns. OSError if the disk fails."""
        self._generation += 1
        state = RuntimeState(view, basis, self._generation)
        await self._worker.call(lambda: save_state(self.folder, state, self._crash, self._replace))
        if self._saved.value != view:
            self._trace("state_saved", mode=str(view.mode), generation=state.generation)
            self._saved.value = view

    async def wait_saved(self, in_force: Callable[[], ModeView]) -> None:
        """Until what is in force is durable, whatever it has become meanwhile; the caller sets the deadline."""
        await self._saved.wait(lambda saved: saved == in_force())


@asynccontextmanager
async def open_state_keeper(
    folder: Path, open_worker: OpenWorker, crash: CrashPoints, trace: Trace, replace: ReplaceFile = replace_file
) -> AsyncIterator[StateKeeper]:
    stored, problem = None, None
    try:
        stored = load_state(folder)
    except BadStateFile as error:
        problem = f"{error}; positions are taken from the ledger, check them and resume"
    async with open_worker("state", _run_jobs) as worker:
        yield StateKeeper(
            folder, stored, problem, worker, crash, trace, 0 if stored is None else stored.generation, replace,
        )


def _run_jobs(jobs: Sequence[Job]) -> None:
    for job in jobs:
        job.result = outcome.capture(job.call)
