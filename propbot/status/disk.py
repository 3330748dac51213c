"""How much room the data directory has, as last measured. Measured in a worker: a disk that hangs keeps only it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import outcome
import trio
from attrs import define, field

from propbot.domain.clock import Clock
from propbot.kit.threads import Job, OpenWorker

EVERY_S = 10.0


@define(eq=False)
class DiskSpace:
    folder: Path
    free: Callable[[Path], int]
    """Bytes; OSError if the disk can't tell."""
    clock: Clock
    open_worker: OpenWorker
    free_bytes: int | None = field(default=None, init=False)
    measured_mono_s: float | None = field(default=None, init=False)
    problem: str = field(default="", init=False)
    """Why the last measurement failed."""

    async def run(self) -> None:
        """Until cancelled."""
        async with self.open_worker("disk-space", _run_jobs) as worker:
            while True:
                try:
                    self.free_bytes = await worker.call(lambda: self.free(self.folder))
                    self.problem = ""
                except OSError as error:
                    self.free_bytes, self.problem = None, str(error)
                self.measured_mono_s = self.clock.mono_s()
                await trio.sleep(EVERY_S)


def _run_jobs(jobs: Sequence[Job]) -> None:
    for job in jobs:
        job.result = outcome.capture(job.call)
