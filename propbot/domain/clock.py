"""Two clocks that are never subtracted from one another: wall (records, signatures) and monotonic (durations)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def wall_ns(self) -> int:
        """Nanoseconds since 1970, UTC; may step."""
        ...

    def mono_s(self) -> float:
        """Seconds on a clock that never steps back; only differences mean anything."""
        ...


def iso_utc(wall_ns: int) -> str:
    """`2026-11-23T03:12:09.123Z`: how every timestamp leaves the service."""
    stamp = datetime.fromtimestamp(wall_ns // 1_000_000 / 1000, UTC)
    return stamp.strftime("%Y-%m-%dT%H:%M:%S.") + f"{stamp.microsecond // 1000:03d}Z"
