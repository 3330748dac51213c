"""Virtual time: a run whose clock jumps from one deadline to the next, and whose every run is the same.

For `propbot replay`, `propbot simulate` and the scenarios. Production never comes through here: there, nobody may know
the order in which tasks run.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf

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
    """For `trio.run(…, clock=…)`: time stands still while a task can run, and jumps when none can.

    It is asked for the time a thousand times a virtual second, and jumps a hundred times in it. At rate 0 the answer is
    one attribute, and where to jump is the next deadline; the long ways there took a twentieth of a simulation.
    """
    clock = MockClock(autojump_threshold=0)

    def jump() -> None:
        deadline = trio_run.GLOBAL_RUN_CONTEXT.runner.deadlines.next_deadline()
        if clock._virtual_base < deadline < inf:
            clock._virtual_base = deadline

    clock.current_time = lambda: clock._virtual_base  # type: ignore[method-assign]
    clock._autojump = jump  # type: ignore[method-assign]
    return clock


@contextmanager
def rare_collections() -> Iterator[None]:
    """Inside, the garbage collector leaves alone what lives already, and looks seldom: a trace of a hundred thousand
    rows, walked again and again, would cost more than what it finds."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 200)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
