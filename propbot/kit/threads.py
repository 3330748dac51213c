"""The thread seam: one worker that runs blocking calls in order, in a thread of its own or, in simulation, inline.

The ledger's connection lives behind one. Calls that wait together are handed over as one batch, so that the worker
can commit them together (group commit). Waiting can be cancelled; the call is still made.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, TypeVar

import outcome
import trio
from attrs import define, field

T = TypeVar("T")


@define(eq=False)
class Job:
    """One call: run by the worker, answered through `finish`."""

    call: Callable[[], Any]
    result: outcome.Outcome[Any] | None = None
    done: trio.Event = field(factory=trio.Event)


RunBatch = Callable[[Sequence[Job]], None]
"""Runs the jobs in order and sets each one's `result`; never raises."""


def run_each(jobs: Sequence[Job]) -> None:
    """The `RunBatch` of calls that have nothing to do with one another."""
    for job in jobs:
        job.result = outcome.capture(job.call)


class Worker(Protocol):
    async def call(self, fn: Callable[[], T]) -> T:
        """`fn` in the worker, after everything handed in before. Cancelled: the waiting ends, the call is made.
        trio.ClosedResourceError once the worker is closed: nobody would answer."""
        ...

    @property
    def backlog(self) -> int:
        """Calls handed in and not yet answered."""
        ...


OpenWorker = Callable[[str, RunBatch], AbstractAsyncContextManager[Worker]]


class _ThreadWorker:
    def __init__(self, name: str, run_batch: RunBatch) -> None:
        self._run_batch = run_batch
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._token = trio.lowlevel.current_trio_token()
        self._backlog = 0
        self._stopped = False
        self.ended = trio.Event()
        # A daemon: a disk that hangs for ever must not keep the process from ending.
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    @property
    def backlog(self) -> int:
        return self._backlog

    async def call(self, fn: Callable[[], T]) -> T:
        if self._stopped:
            raise trio.ClosedResourceError(f"the worker {self._thread.name} is closed")
        job = Job(fn)
        self._backlog += 1
        self._queue.put(job)
        await job.done.wait()
        assert job.result is not None
        answer: T = job.result.unwrap()
        return answer

    def stop(self) -> None:
        self._stopped = True
        self._queue.put(None)

    def _loop(self) -> None:
        stopping = False
        while not stopping:
            batch = [self._queue.get()]
            while not self._queue.empty():
                batch.append(self._queue.get())
            stopping = None in batch
            jobs = [job for job in batch if job is not None]
            if jobs:
                self._run_batch(jobs)
            try:
                self._token.run_sync_soon(self._finish, jobs, stopping)
            except trio.RunFinishedError:
                return

    def _finish(self, jobs: Sequence[Job], stopping: bool) -> None:
        for job in jobs:
            self._backlog -= 1
            job.done.set()
        if stopping:
            self.ended.set()


@asynccontextmanager
async def open_thread_worker(
    name: str, run_batch: RunBatch, *, abandon_after_s: float = 0.6
) -> AsyncIterator[Worker]:
    """A worker in a thread of its own; at the end what was handed in is finished, or abandoned after that long."""
    worker = _ThreadWorker(name, run_batch)
    try:
        yield worker
    finally:
        worker.stop()
        with trio.move_on_after(abandon_after_s, shield=True):
            await worker.ended.wait()


class _InlineWorker:
    def __init__(self, name: str, run_batch: RunBatch) -> None:
        self._name = name
        self._run_batch = run_batch
        self.closed = False

    @property
    def backlog(self) -> int:
        return 0

    async def call(self, fn: Callable[[], T]) -> T:
        if self.closed:
            raise trio.ClosedResourceError(f"the worker {self._name} is closed")
        job = Job(fn)
        self._run_batch([job])
        await trio.lowlevel.checkpoint()  # after the call: a cancelled wait still means a call that was made
        assert job.result is not None
        answer: T = job.result.unwrap()
        return answer


@asynccontextmanager
async def open_inline_worker(name: str, run_batch: RunBatch) -> AsyncIterator[Worker]:
    """For virtual time, where a real thread would let hours pass while it waits for a disk (trio issue 3089)."""
    await trio.lowlevel.checkpoint()
    worker = _InlineWorker(name, run_batch)
    try:
        yield worker
    finally:
        worker.closed = True
