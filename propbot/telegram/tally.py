"""Something that strangers can make happen as often as they like: told at once, then once a minute with the number."""

from __future__ import annotations

from collections.abc import Callable

import trio
from attrs import define

TOLD_EVERY_S = 60.0


@define(eq=False)
class Tally:
    """Synchronous. What comes within a minute is told with the first that comes after it."""

    _tell: Callable[[str], None]
    _told_mono_s: float | None = None
    _untold: int = 0

    def count(self, text: str) -> None:
        now_s = trio.current_time()
        if self._told_mono_s is not None and now_s - self._told_mono_s < TOLD_EVERY_S:
            self._untold += 1
            return
        more = f" (and {self._untold} more since the last line of this kind)" if self._untold else ""
        self._told_mono_s, self._untold = now_s, 0
        self._tell(text + more)
