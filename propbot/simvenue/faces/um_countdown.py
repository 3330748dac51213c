"""USD-M's dead man's switch: all open orders of a symbol are cancelled unless the countdown is set again in time."""

from __future__ import annotations

import math
from collections.abc import Callable

import trio


class Countdown:
    """`fire` is called with the symbol whose time is up."""

    def __init__(self, fire: Callable[[str], None]) -> None:
        self._fire = fire
        self._due_s: dict[str, float] = {}
        self._changed = trio.Event()

    def set(self, symbol: str, after_s: float) -> None:
        """Start again from `after_s`; zero switches it off."""
        if after_s > 0:
            self._due_s[symbol] = trio.current_time() + after_s
        else:
            self._due_s.pop(symbol, None)
        self._changed.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with trio.move_on_at(min(self._due_s.values(), default=math.inf)):
                await self._changed.wait()
            self._changed = trio.Event()
            now_s = trio.current_time()
            for symbol in [symbol for symbol, due_s in self._due_s.items() if due_s <= now_s]:
                del self._due_s[symbol]
                self._fire(symbol)
