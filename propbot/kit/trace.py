"""The trace: one row for each thing that happened in the domain, for tests, replay and the invariant checker.

Rows carry Trio's clock (`t`, seconds) and never wire bytes. In production the sink is `no_trace`, which costs a call.
"""

from __future__ import annotations

from typing import Any, Protocol

import trio


class Trace(Protocol):
    def __call__(self, kind: str, **fields: Any) -> None: ...


def no_trace(kind: str, **fields: Any) -> None:
    """Keeps nothing."""


class MemoryTrace:
    """Rows in order, in memory: `{"t": seconds, "who": …, "kind": …, **fields}`."""

    def __init__(self, who: str, rows: list[dict[str, Any]] | None = None) -> None:
        self._who = who
        self.rows: list[dict[str, Any]] = [] if rows is None else rows

    def __call__(self, kind: str, **fields: Any) -> None:
        self.rows.append({"t": trio.current_time(), "who": self._who, "kind": kind, **fields})
