"""The thread seam: order, batches, waits that are cancelled, a worker that hangs at the end, and the inline twin."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import outcome
import pytest
import trio
import trio.testing

from propbot.kit.threads import Job, OpenWorker, open_inline_worker, open_thread_worker

both = pytest.mark.parametrize("open_worker", [open_thread_worker, open_inline_worker], ids=["thread", "inline"])


def run_jobs(jobs: Sequence[Job]) -> None:
    for job in jobs:
        job.result = outcome.capture(job.call)


def raiser(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


@both
async def test_calls_run_in_the_order_in_which_they_were_handed_in(open_worker: OpenWorker) -> None:
    ran: list[int] = []
    async with open_worker("w", run_jobs) as worker, trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(worker.call, lambda number=number: ran.append(number))
            await trio.testing.wait_all_tasks_blocked()
    assert ran == list(range(20))


@both
async def test_a_result_or_an_error_comes_back_to_its_own_caller(open_worker: OpenWorker) -> None:
    async with open_worker("w", run_jobs) as worker:
        assert await worker.call(lambda: 42) == 42
        with pytest.raises(LookupError, match="mine"):
            await worker.call(raiser(LookupError("mine")))
        assert await worker.call(lambda: "still alive") == "still alive"
        assert worker.backlog == 0


@both
async def test_a_call_after_the_end_is_an_error_and_no_endless_wait(open_worker: OpenWorker) -> None:
    async with open_worker("books", run_jobs) as worker:
        pass
    with trio.fail_after(1), pytest.raises(trio.ClosedResourceError, match="books is closed"):
        await worker.call(lambda: None)


@both
async def test_a_cancelled_wait_still_means_that_the_call_was_made(open_worker: OpenWorker) -> None:
    made: list[str] = []
    async with open_worker("w", run_jobs) as worker:
        with trio.CancelScope() as scope:
            scope.cancel()
            await worker.call(lambda: made.append("made"))
        assert scope.cancelled_caught
    assert made == ["made"]


async def test_calls_that_wait_together_are_one_batch() -> None:
    sizes: list[int] = []
    gate = threading.Event()

    def run_batch(jobs: Sequence[Job]) -> None:
        sizes.append(len(jobs))
        run_jobs(jobs)

    async with open_thread_worker("w", run_batch) as worker, trio.open_nursery() as nursery:
        nursery.start_soon(worker.call, gate.wait)
        while not sizes:
            await trio.lowlevel.checkpoint()
        for _ in range(5):
            nursery.start_soon(worker.call, lambda: None)
        await trio.testing.wait_all_tasks_blocked()
        assert worker.backlog == 6
        gate.set()
    assert sizes == [1, 5]


async def test_what_was_handed_in_is_finished_before_the_worker_closes() -> None:
    ran: list[int] = []
    gate = threading.Event()
    async with trio.open_nursery() as nursery:
        async with open_thread_worker("w", run_jobs) as worker:
            nursery.start_soon(worker.call, gate.wait)
            for number in range(3):
                nursery.start_soon(worker.call, lambda number=number: ran.append(number))
            await trio.testing.wait_all_tasks_blocked()
            gate.set()
        assert sorted(ran) == [0, 1, 2]


async def test_a_worker_that_hangs_at_the_end_is_abandoned_within_a_second() -> None:
    gate = threading.Event()
    began_s = time.perf_counter()
    with trio.CancelScope() as scope:
        async with open_thread_worker("w", run_jobs, abandon_after_s=0.02) as worker:
            scope.cancel()
            await worker.call(gate.wait)
    assert time.perf_counter() - began_s < 1
    gate.set()


async def test_a_worker_whose_loop_has_ended_leaves_quietly() -> None:
    """Abandoned, the thread wakes when nobody is there any more: that must not raise in it."""
    gate = threading.Event()
    names = [thread.name for thread in threading.enumerate()]
    assert "left-behind" not in names

    def main() -> None:
        async def leave() -> None:
            with trio.CancelScope() as scope:
                async with open_thread_worker("left-behind", run_jobs, abandon_after_s=0.01) as worker:
                    scope.cancel()
                    await worker.call(gate.wait)

        trio.run(leave)

    await trio.to_thread.run_sync(main)
    thread = next(thread for thread in threading.enumerate() if thread.name == "left-behind")
    assert thread.daemon
    gate.set()
    await trio.to_thread.run_sync(thread.join, 5)
    assert not thread.is_alive()


async def test_inline_calls_take_no_virtual_time(autojump_clock: trio.testing.MockClock) -> None:
    async with open_inline_worker("w", run_jobs) as worker:
        before_s = trio.current_time()
        with trio.testing.assert_checkpoints():
            await worker.call(lambda: None)
        assert trio.current_time() == before_s
