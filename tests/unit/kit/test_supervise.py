"""Supervision: restarts with a growing, jittered delay; crashes are told; Cancelled is never swallowed."""

from __future__ import annotations

import random

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from propbot.kit.supervise import (
    Backoff,
    describe,
    leaves,
    run_reporting_crash,
    run_restarting,
    run_shielding_others,
)


@given(st.integers(), st.integers(min_value=1, max_value=80))
def test_delays_double_up_to_the_most_within_their_jitter(seed: int, failures: int) -> None:
    backoff = Backoff(random.Random(seed), first_s=0.2, most_s=10)
    for failure in range(failures):
        plain_s = min(10.0, 0.2 * 2**failure)
        assert 0.5 * plain_s <= backoff.next_delay_s() <= 1.5 * plain_s
    backoff.reset()
    assert backoff.next_delay_s() <= 0.3


def test_a_seed_repeats_its_delays() -> None:
    def delays() -> list[float]:
        backoff = Backoff(random.Random(7))
        return [backoff.next_delay_s() for _ in range(5)]

    assert delays() == delays()
    assert len(set(delays())) == 5


async def test_a_session_that_fails_or_returns_is_started_again_after_a_delay(
    autojump_clock: trio.testing.MockClock,
) -> None:
    begun: list[float] = []
    told: list[str] = []

    async def session(backoff: Backoff) -> None:
        begun.append(trio.current_time())
        if len(begun) == 1:
            raise OSError("refused")
        if len(begun) == 3:
            await trio.sleep_forever()

    with trio.move_on_after(60):
        await run_restarting(
            "feed", session, backoff=Backoff(random.Random(1)),
            on_failure=lambda name, error: told.append(f"{name} {error}"),
        )
    assert len(begun) == 3
    assert told == ["feed refused"]
    assert 0.1 <= begun[1] - begun[0] <= 0.3
    assert 0.2 <= begun[2] - begun[1] <= 0.6


async def test_healthy_data_resets_the_delay(autojump_clock: trio.testing.MockClock) -> None:
    begun: list[float] = []

    async def session(backoff: Backoff) -> None:
        begun.append(trio.current_time())
        if len(begun) > 6:
            backoff.reset()
        raise OSError

    with trio.move_on_after(60):
        await run_restarting("feed", session, backoff=Backoff(random.Random(1)), on_failure=lambda *_: None)
    assert begun[6] - begun[5] > 3
    assert begun[8] - begun[7] <= 0.3


async def test_a_failure_that_is_no_exception_passes_the_restarter() -> None:
    async def session(backoff: Backoff) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await run_restarting("feed", session, backoff=Backoff(random.Random(1)), on_failure=lambda *_: None)


async def fail_while_cancelled() -> None:
    """A nursery with a task that fails in its cleanup: Cancelled and the error come out in one group."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)

        @nursery.start_soon
        async def fails() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise LookupError("in cleanup")


@pytest.mark.parametrize("supervisor", ["restarting", "reporting", "shielding"])
async def test_an_error_beside_cancelled_is_told_and_cancelled_passes(supervisor: str) -> None:
    told: list[str] = []

    async def supervise() -> None:
        if supervisor == "restarting":
            await run_restarting(
                "x", lambda _: fail_while_cancelled(), backoff=Backoff(random.Random(1)),
                on_failure=lambda _, error: told.append(describe(error)),
            )
        elif supervisor == "reporting":
            await run_reporting_crash(
                "x", fail_while_cancelled, on_crash=lambda _, error: told.append(describe(error or AssertionError()))
            )
        else:
            await run_shielding_others(fail_while_cancelled, on_error=lambda error: told.append(describe(error)))

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervise)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught
    assert told == ["LookupError: in cleanup"]


@pytest.mark.parametrize("supervisor", ["restarting", "reporting", "shielding"])
async def test_cancellation_alone_is_no_failure(supervisor: str) -> None:
    told: list[object] = []
    with trio.move_on_after(0) as scope:
        if supervisor == "restarting":
            await run_restarting(
                "x", lambda _: trio.sleep_forever(), backoff=Backoff(random.Random(1)),
                on_failure=lambda *args: told.append(args),
            )
        elif supervisor == "reporting":
            await run_reporting_crash("x", trio.sleep_forever, on_crash=lambda *args: told.append(args))
        else:
            await run_shielding_others(trio.sleep_forever, on_error=told.append)
    assert scope.cancelled_caught
    assert not told


async def test_a_task_that_must_not_end_is_reported_when_it_fails_and_when_it_returns() -> None:
    told: list[tuple[str, BaseException | None]] = []

    async def fails() -> None:
        raise ValueError("bad")

    def hear(name: str, error: BaseException | None) -> None:
        told.append((name, error))

    await run_reporting_crash("loop", fails, on_crash=hear)
    await run_reporting_crash("guard", trio.lowlevel.checkpoint, on_crash=hear)
    assert [name for name, _ in told] == ["loop", "guard"]
    assert isinstance(told[0][1], ValueError)
    assert told[1][1] is None


async def test_a_clients_failure_does_not_reach_its_siblings() -> None:
    told: list[BaseException] = []
    served = trio.Event()

    async def fails() -> None:
        raise ExceptionGroup("client", [ValueError("bad")])

    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def bad_client() -> None:
            await run_shielding_others(fails, on_error=told.append)

        await trio.testing.wait_all_tasks_blocked()
        served.set()
    assert served.is_set()
    assert describe(told[0]) == "ValueError: bad"


def test_the_story_of_nested_groups_is_told_once_and_flat() -> None:
    inner = ExceptionGroup("a", [ValueError("bad"), KeyError("x")])
    outer = ExceptionGroup("b", [inner, ValueError("bad"), TimeoutError()])
    assert describe(outer) == "ValueError: bad; KeyError: 'x'; ValueError: bad; TimeoutError"
    assert [type(leaf) for leaf in leaves(outer)] == [ValueError, KeyError, ValueError, TimeoutError]
