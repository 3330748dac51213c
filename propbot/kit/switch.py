"""The switch: whatever runs under it stops in one synchronous step, and nothing can stand in the way.

`trip()` sets the flag and cancels the scope with no checkpoint between. Cancellation reaches a task at its next
checkpoint, up to a millisecond later; the flag is what is checked right before each send.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio


class Switch:
    """Off until `arm`ed; `run_while_armed` is where the armed task's life begins and ends."""

    def __init__(self) -> None:
        self._armed = trio.Event()
        self._scope: trio.CancelScope | None = None
        self.halted = True

    def arm(self) -> None:
        """Let the task run. The caller has checked that it may."""
        self.halted = False
        self._armed.set()

    def trip(self) -> None:
        """Stop. Synchronous, idempotent, callable from any task of the loop."""
        self.halted = True
        if self._armed.is_set():  # an unset one has a waiter already, who would miss the next `arm` on another
            self._armed = trio.Event()
        if self._scope is not None:
            self._scope.cancel()

    async def run_while_armed(self, task: Callable[[], Awaitable[None]]) -> None:
        """For ever: wait until armed, run `task` in a fresh scope until it is tripped. A task that returns with the
        switch still on, or fails, ends this call: the caller decides what that means."""
        while True:
            await self._armed.wait()
            if self.halted:  # tripped between arm and here
                continue
            with trio.CancelScope() as scope:
                self._scope = scope
                try:
                    await task()
                finally:
                    self._scope = None
            if not scope.cancel_called:
                return
