"""The switch: a trip is one synchronous step, and no order of trips and arms leaves it deaf."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from propbot.kit.switch import Switch


class Armed:
    """A task that counts its lives."""

    def __init__(self, switch: Switch) -> None:
        self.switch = switch
        self.begun = 0
        self.ended = 0

    @property
    def running(self) -> bool:
        return self.begun > self.ended

    async def run(self) -> None:
        self.begun += 1
        try:
            await trio.sleep_forever()
        finally:
            self.ended += 1


@pytest.fixture
async def armed() -> AsyncIterator[Armed]:
    switch = Switch()
    task = Armed(switch)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(switch.run_while_armed, task.run)
        await trio.testing.wait_all_tasks_blocked()
        yield task
        nursery.cancel_scope.cancel()


async def test_it_is_off_until_armed(armed: Armed) -> None:
    assert armed.switch.halted
    assert not armed.begun
    armed.switch.arm()
    assert not armed.switch.halted
    await trio.testing.wait_all_tasks_blocked()
    assert armed.running


async def test_a_trip_sets_the_flag_and_cancels_the_scope_before_any_checkpoint() -> None:
    switch = Switch()
    steps: list[str] = []

    async def task() -> None:
        switch.trip()
        assert switch.halted
        steps.append("still here: no checkpoint yet")
        await trio.lowlevel.checkpoint()
        steps.append("past a checkpoint")

    switch.arm()
    with trio.move_on_after(0.01):
        await switch.run_while_armed(task)
    assert steps == ["still here: no checkpoint yet"]


async def test_after_a_trip_the_task_runs_again_only_when_armed_again(armed: Armed) -> None:
    armed.switch.arm()
    await trio.testing.wait_all_tasks_blocked()
    armed.switch.trip()
    await trio.testing.wait_all_tasks_blocked()
    assert not armed.running
    armed.switch.arm()
    await trio.testing.wait_all_tasks_blocked()
    assert armed.begun == 2
    assert armed.running


async def test_a_second_trip_while_off_does_not_make_the_next_arm_unheard(armed: Armed) -> None:
    armed.switch.trip()
    armed.switch.trip()
    armed.switch.arm()
    await trio.testing.wait_all_tasks_blocked()
    assert armed.running


async def test_armed_and_tripped_in_one_step_never_runs(armed: Armed) -> None:
    armed.switch.arm()
    armed.switch.trip()
    await trio.testing.wait_all_tasks_blocked()
    assert not armed.begun


async def test_tripped_and_armed_in_one_step_is_a_fresh_run(armed: Armed) -> None:
    armed.switch.arm()
    await trio.testing.wait_all_tasks_blocked()
    armed.switch.trip()
    armed.switch.arm()
    await trio.testing.wait_all_tasks_blocked()
    assert (armed.begun, armed.ended) == (2, 1)


@given(st.lists(st.sampled_from(["arm", "trip", "settle"]), max_size=12))
def test_whatever_came_before_the_last_word_counts(steps: list[str]) -> None:
    async def main() -> None:
        switch = Switch()
        task = Armed(switch)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(switch.run_while_armed, task.run)
            for step in steps:
                if step == "settle":
                    await trio.testing.wait_all_tasks_blocked()
                else:
                    getattr(switch, step)()
            await trio.testing.wait_all_tasks_blocked()
            last = next((step for step in reversed(steps) if step != "settle"), "trip")
            assert task.running == (last == "arm") == (not switch.halted)
            nursery.cancel_scope.cancel()

    trio.run(main)


async def test_a_task_that_returns_by_itself_ends_the_call() -> None:
    switch = Switch()
    switch.arm()
    with trio.fail_after(1):
        await switch.run_while_armed(trio.lowlevel.checkpoint)
    assert not switch.halted


async def test_a_failure_of_the_task_comes_out_even_while_it_is_being_tripped() -> None:
    switch = Switch()
    switch.arm()

    async def task() -> None:
        try:
            switch.trip()
            await trio.sleep_forever()
        finally:
            raise LookupError("in cleanup")

    with pytest.raises(LookupError, match="in cleanup"):
        await switch.run_while_armed(task)
    assert switch.halted


async def test_cancellation_from_outside_is_not_taken_for_a_trip(armed: Armed) -> None:
    switch = Switch()
    switch.arm()
    with trio.move_on_after(0) as scope:
        await switch.run_while_armed(trio.sleep_forever)
    assert scope.cancelled_caught
    assert not switch.halted
