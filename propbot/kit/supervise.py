"""Keeping tasks alive, or ending them with a reason. The only place where a broad `except` may stand."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import trio
from attrs import define, field

AsyncFn = Callable[[], Awaitable[None]]


@define
class Backoff:
    """Delays that double from `first_s` to `most_s`, each with ±50 % jitter; `reset` after healthy data only."""

    rng: random.Random
    first_s: float = 0.2
    most_s: float = 10.0
    _failures: int = field(default=0, init=False)

    def reset(self) -> None:
        self._failures = 0

    def next_delay_s(self) -> float:
        delay_s: float = min(self.most_s, self.first_s * 2.0**self._failures)
        self._failures = min(self._failures + 1, 30)
        return delay_s * self.rng.uniform(0.5, 1.5)


def describe(error: BaseException) -> str:
    """The innermost story of an error: groups unwrapped, each leaf as `Type: message`."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(dict.fromkeys(describe(part) for part in error.exceptions))
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """The errors of a group of groups, flat."""
    found: list[BaseException] = []
    for part in group.exceptions:
        found += leaves(part) if isinstance(part, BaseExceptionGroup) else [part]
    return found


def sole_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one error in a group of groups; the group itself where there are several, so that none is lost."""
    found = leaves(group)
    return found[0] if len(found) == 1 else group


async def run_restarting(
    name: str,
    session: Callable[[Backoff], Awaitable[None]],
    *,
    backoff: Backoff,
    on_failure: Callable[[str, BaseException], None],
) -> None:
    """Run `session` for ever: when it returns or fails, start it again after a delay; `on_failure` hears of failures.

    The session resets the back-off itself once it has seen healthy data. Cancellation passes through, also out of a
    group that holds errors beside it, and so does a failure that is not an Exception (KeyboardInterrupt).
    """
    while True:
        try:
            await session(backoff)
        except Exception as error:
            on_failure(name, error)
        except BaseExceptionGroup as group:
            _tell_and_raise_rest(group, lambda errors: on_failure(name, errors))
        await trio.sleep(backoff.next_delay_s())


async def run_reporting_crash(name: str, fn: AsyncFn, *, on_crash: Callable[[str, BaseException | None], None]) -> None:
    """Run a task that must not end: `on_crash` hears of any failure, or None if it simply returned.

    The task stays dead; the caller's reaction (HOLD, an incident) is what `on_crash` does, synchronously.
    """
    try:
        await fn()
    except Exception as error:
        on_crash(name, error)
    except BaseExceptionGroup as group:
        _tell_and_raise_rest(group, lambda errors: on_crash(name, errors))
    else:
        on_crash(name, None)


async def run_shielding_others(fn: AsyncFn, *, on_error: Callable[[BaseException], None]) -> None:
    """Run one client's task so that nothing it raises reaches its siblings; Cancelled passes, also out of a group that
    holds both: what a client's task raises while it is being cancelled is no crash of the server."""
    try:
        await fn()
    except Exception as error:
        on_error(error)
    except BaseExceptionGroup as group:
        _tell_and_raise_rest(group, on_error)


def _tell_and_raise_rest(
    group: BaseExceptionGroup[BaseException], on_error: Callable[[BaseException], None]
) -> None:
    """A group that is no ExceptionGroup holds Cancelled or worse, perhaps beside errors: those are told, it passes."""
    errors, rest = group.split(Exception)
    if errors is not None:
        on_error(errors)
    if rest is not None:
        raise rest from None
