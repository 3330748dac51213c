"""Named crash points: places where a test may end the process, so that every half-done step is met on purpose.

`PROPBOT_CRASH_AT=name[:n]` sends SIGKILL to this process at the n-th passage. A simulation hands in an action of
its own instead of the signal.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

CRASH_POINTS = {
    "intent-commit:before": "the decision is made, its intent is not yet in the ledger",
    "intent-commit:after": "the intent is durable, no byte has left",
    "first-byte:before": "the gate has said yes, the first byte of the order is about to leave",
    "first-byte:after": "the order's bytes were handed to the connection",
    "ack:before": "the venue's answer has arrived, nothing of it is recorded",
    "ack:after": "the answer is recorded",
    "fill-booked:before": "a fill has arrived, the ledger does not have it",
    "fill-booked:after": "the fill is in the ledger",
    "approval-commit:before": "another person has approved, nothing of it is recorded",
    "approval-commit:after": "the approval is durable and spent, the change is not yet in force",
    "state-rename:before": "the new runtime state is written and synced under its temporary name",
    "state-rename:after": "the new runtime state has its name",
    "secret-swap:before": "new keys were checked at the venue and written under a temporary name; the old ones hold",
    "secret-swap:after": "the file of secrets has the new keys, the old ones still sign",
}


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class CrashPoints:
    """`passage(name)` does nothing unless `at` names this passage; then it runs `action`."""

    def __init__(self, at: str | None = None, action: Callable[[], None] = _kill) -> None:
        self._action = action
        self._name: str | None = None
        self._left = 0
        if at:
            self._name, self._left = parse_crash_at(at)

    def passage(self, name: str) -> None:
        assert name in CRASH_POINTS, name
        if name == self._name:
            self._left -= 1
            if self._left == 0:
                self._action()


def parse_crash_at(text: str) -> tuple[str, int]:
    """`name` or `name:n` (names contain one colon themselves); ValueError says what is known."""
    name, _, count = text.rpartition(":")
    if text in CRASH_POINTS:
        return text, 1
    if name not in CRASH_POINTS or not count.isdigit() or int(count) < 1:
        raise ValueError(f"{text!r} is no crash point; known: {', '.join(CRASH_POINTS)} (then :n for the n-th passage)")
    return name, int(count)
