"""A venue's pause as text that survives a restart: a ban must be sat out by the next life too, or it grows.

Kept among the counters of `runtime_state.json` under `pause:<venue>` as "status until_wall_ns told_s": when it ends by
our clock then, and how long it was meant to last. A clock that was an hour ahead then and is right now would otherwise
make an hour of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import ceil
from typing import Protocol

from propbot.domain.instruments import VenueId
from propbot.execution.pace import PAUSE_S_MAX, VenuePace


class Memory(Protocol):
    def get(self, name: str) -> str | None: ...
    def put(self, name: str, value: str | None) -> None: ...


class PacedLine(Protocol):
    @property
    def pace(self) -> VenuePace: ...


def remember_pauses(lines: Mapping[VenueId, PacedLine], memory: Memory) -> list[str]:
    """Take up what an earlier life was told, then keep what comes. Call it before the first byte. The result: one line
    for people about each pause that was taken up."""
    told: list[str] = []
    for venue, line in lines.items():
        name, pace = f"pause:{venue}", line.pace
        remembered = _parse(memory.get(name))
        if remembered is None or not pace.take_up_pause(*remembered):
            memory.put(name, None)
        else:
            status = remembered[0]
            told.append(f"{venue}: HTTP {status} of an earlier run is remembered; not asked for {pace.paused_s:.0f} s")
        pace.on_pause = partial(_remember, memory, name, pace)
    return told


def _remember(memory: Memory, name: str, pace: VenuePace, status: int, until_wall_ns: int) -> None:
    told_s = ceil(pace.paused_s)
    memory.put(name, f"{status} {until_wall_ns} {told_s}")


def _parse(text: str | None) -> tuple[int, int, int] | None:
    """None for nothing, and for what this version did not write."""
    parts = [] if text is None else text.split(" ")
    if len(parts) not in (2, 3) or not all(part.isascii() and part.isdigit() and len(part) < 20 for part in parts):
        return None
    return int(parts[0]), int(parts[1]), int(parts[2]) if len(parts) == 3 else round(PAUSE_S_MAX)
