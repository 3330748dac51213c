"""Keeps mode, basis, counters and parameters on disk: one worker of its own, so that a hung disk keeps nobody but this
from going on."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import outcome
import trio
from attrs import define, field, frozen

from propbot.control.modes import ModeView
from propbot.control.parameters import Parameters
from propbot.control.state_file import FILE_NAME, BadStateFile, RuntimeState, load_state, save_state
from propbot.domain.events import Head
from propbot.kit.crash import CrashPoints
from propbot.kit.disk import RESERVE_BYTES, ReplaceFile, Reserve, replace_file
from propbot.kit.level import Level
from propbot.kit.threads import Job, OpenWorker, Worker
from propbot.kit.trace import Trace
from propbot.spread.reference import BasisState

RESERVE_NAME = "reserve"
FULL_DISK = (
    f"the disk is full: the {RESERVE_BYTES // 1_000_000} MB that were kept for that are given up, so that state and"
    " journal can still be written; make room and restart"
)
SAVE_S_MAX = 10.0
"""A disk that takes longer does not answer. What may not wait that long is in memory or in the ledger, whose guard has
less patience; a rename and two syncs on a busy disk were seen to take more than 2 s."""


@frozen
class Wanted:
    """What must be durable before an operator's change is answered."""

    view: ModeView
    parameters: Parameters
    ended: bool = False


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
    _patience_s: float = SAVE_S_MAX
    failed: str | None = None
    """Why the last save failed; None since one went through."""
    ending: bool = False
    """The service has been asked to stop: what is saved from now on says so."""
    reserve_used: bool = False
    """The disk was full, and what was kept for that has been given up."""
    _reserve: Reserve = field(init=False)
    _saved: Level[Wanted | None] = field(factory=lambda: Level(None))

    def __attrs_post_init__(self) -> None:
        self._reserve = Reserve(self.folder / RESERVE_NAME)

    def make_reserve(self) -> None:
        """Blocking."""
        self._reserve.make()

    @property
    def generation(self) -> int:
        """Of the newest save that was tried."""
        return self._generation

    def go_on_from(self, generation: int) -> None:
        """The ledger remembers a later state than the one that was found, or one where none could be used: what is
        saved from now on is newer than that as well, or an old copy would not be known as one."""
        self._generation = max(self._generation, generation)

    async def save(
        self,
        view: ModeView,
        basis: BasisState | None,
        *,
        counters: Mapping[str, str] | None = None,
        parameters: Parameters | None = None,
        head: Head | None = None,
    ) -> None:
        """Durable when it returns. OSError if the disk fails, or does not answer within its patience; `failed` says
        so until a save goes through."""
        if self._worker.backlog:  # one that was given up still hangs in the worker: no queue of them behind it
            raise self._fail(TimeoutError(f"{FILE_NAME}: the disk does not answer"))
        self._generation += 1
        kept = parameters or Parameters()
        state = RuntimeState(view, basis, self._generation, counters or {}, kept, head, self.ending)
        with trio.move_on_after(self._patience_s) as scope:
            try:
                await self._worker.call(lambda: self._save(state))
            except OSError as error:
                raise self._fail(error) from None
        if scope.cancelled_caught:
            raise self._fail(TimeoutError(f"{FILE_NAME}: the disk does not answer"))
        self.failed = None
        before, now = self._saved.value, Wanted(view, state.parameters, state.ended)
        if before is None or before.view != view:
            self._trace("state_saved", mode=str(view.mode), generation=state.generation)
        if before != now:
            self._saved.value = now

    def _save(self, state: RuntimeState) -> None:
        try:
            save_state(self.folder, state, self._crash, self._replace)
        except OSError as error:
            if not self._reserve.gives_room_for(error):
                raise
            self.reserve_used = True
            save_state(self.folder, state, self._crash, self._replace)

    def lacks(self, view: ModeView, parameters: Parameters) -> bool:
        """Whether these are not durable, or not as those of a life that was asked to stop."""
        return self._saved.value != Wanted(view, parameters, ended=True)

    async def wait_saved(
        self, in_force: Callable[[], ModeView], parameters: Callable[[], Parameters] | None = None
    ) -> None:
        """Until what is in force is durable, whatever it has become meanwhile; once the service has been asked to stop,
        with that. The caller sets the deadline."""

        def is_saved(saved: Wanted | None) -> bool:
            if saved is None or saved.view != in_force() or saved.ended < self.ending:
                return False
            return parameters is None or saved.parameters == parameters()

        await self._saved.wait(is_saved)

    def _fail(self, error: OSError) -> OSError:
        self.failed = f"{FILE_NAME}: {error.strerror}" if error.strerror else str(error)
        return error


@asynccontextmanager
async def open_state_keeper(
    folder: Path,
    open_worker: OpenWorker,
    crash: CrashPoints,
    trace: Trace,
    replace: ReplaceFile = replace_file,
    *,
    wall_ns: Callable[[], int] = time.time_ns,
    patience_s: float = SAVE_S_MAX,
) -> AsyncIterator[StateKeeper]:
    stored, problem = None, None
    try:
        stored = load_state(folder)
    except BadStateFile as error:
        problem = f"{error}; {keep_aside(folder, wall_ns())}"
    async with open_worker("state", _run_jobs) as worker:
        keeper = StateKeeper(
            folder, stored, problem, worker, crash, trace, 0 if stored is None else stored.generation, replace,
            patience_s,
        )
        keeper.make_reserve()
        yield keeper


def keep_aside(folder: Path, now_ns: int) -> str:
    """Keep the bad file under a name of its own; says so, and what is lost with it.

    It keeps its first name as well until a new state replaces it there: a kill in between must not find no file at
    all, which would be a fresh start. Done again after such a kill, it finds that it has been done.
    """
    path = folder / FILE_NAME
    aside = folder / f"{FILE_NAME}.bad-{now_ns // 1_000_000_000}"
    lost = "safe_mode, dry_run_only and parameters are the environment's, positions the ledger's: check and resume"
    earlier = [each for each in sorted(folder.glob(f"{FILE_NAME}.bad-*")) if _same(each, path)]
    if earlier:
        return f"it is kept as {earlier[0].name}; {lost}"
    try:
        if path.is_dir():  # can't be replaced by a file, so that it has to leave
            path.rename(aside)
        else:
            _copy(path, aside)
    except OSError as error:
        return f"it could not be kept aside ({error.strerror}); {lost}"
    return f"it is kept as {aside.name}; {lost}"


def _same(one: Path, other: Path) -> bool:
    with suppress(OSError):
        return one.is_file() and one.read_bytes() == other.read_bytes()
    return False


def _copy(path: Path, aside: Path) -> None:
    try:
        os.link(path, aside)
    except OSError:  # a file system without links
        shutil.copyfile(path, aside)


def _run_jobs(jobs: Sequence[Job]) -> None:
    for job in jobs:
        job.result = outcome.capture(job.call)
