"""Virtual time: a run whose clock jumps from one deadline to the next, and whose every run is the same.

For `propbot replay`, `propbot simulate` and the scenarios. Production never comes through here: there, nobody may know
the order in which tasks run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio._core._run as trio_run
from trio.testing import MockClock

SCHEDULING_SEED = 20_261_123


@contextmanager
def repeatable_scheduling(seed: int = SCHEDULING_SEED) -> Iterator[None]:
    """Inside, `trio.run` schedules its tasks in the same order each time. Trio shuffles them on purpose and has no
    public way to stop that; its own tests use this one."""
    before = trio_run._ALLOW_DETERMINISTIC_SCHEDULING
    state = trio_run._r.getstate()
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]  # final, but for Trio's own tests
    trio_run._r.seed(seed)
    try:
        yield
    finally:
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING = before  # type: ignore[misc]
        trio_run._r.setstate(state)


def jumping_clock() -> MockClock:
    """For `trio.run(…, clock=…)`: time stands still while a task can run, and jumps when none can."""
    return MockClock(autojump_threshold=0)
