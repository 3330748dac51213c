"""A level: a value that may be overwritten before anyone looked, and a way to wait until it changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class Level(Generic[T]):
    """The latest value. Readers may miss values in between, never the last one.

    level = Level(Mode.RUN)
    level.value = Mode.HOLD                        # any task, no checkpoint
    await level.wait(lambda m: m is Mode.HOLD)     # returns at once if it holds already
    """

    def __init__(self, value: T) -> None:
        self._value = value
        self._changed = trio.Event()

    @property
    def value(self) -> T:
        return self._value

    @value.setter
    def value(self, value: T) -> None:
        self._value = value
        self._changed.set()
        self._changed = trio.Event()

    def touch(self) -> None:
        """Wake the waiters without a new value (the value's inside changed)."""
        self.value = self._value

    async def wait(self, holds: Callable[[T], bool]) -> T:
        """The first value seen for which `holds` is true; a value that was overwritten meanwhile may be missed."""
        while not holds(self._value):
            await self._changed.wait()
        return self._value

    async def wait_change(self) -> T:
        """Returns after the next assignment, with what the value is then."""
        await self._changed.wait()
        return self._value
