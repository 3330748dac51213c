"""How late the event loop is: a task sleeps a moment, again and again, and notes by how much it woke too late.

A loop that is blocked measures nothing meanwhile; the first sample afterwards tells how long it stood still.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from propbot.kit.window import Window

EVERY_S = 0.1
KEPT_S = 60.0


class LoopLag:
    """`window` has the lateness of the last minute, in seconds; virtual time is never late."""

    def __init__(self) -> None:
        self.window = Window(KEPT_S)

    async def run(self, on_sample: Callable[[float], None]) -> None:
        """Until cancelled; `on_sample` hears each lateness at once."""
        while True:
            due_s = trio.current_time() + EVERY_S
            await trio.sleep_until(due_s)
            now_s = trio.current_time()
            late_s = max(now_s - due_s, 0.0)
            self.window.note(now_s, late_s)
            on_sample(late_s)
