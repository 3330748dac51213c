"""Trips when a ledger write failed or has been waiting too long: what can't be recorded isn't traded."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field, frozen

from propbot.domain.status import Health
from propbot.guards.watch import Finding


@frozen
class LedgerSeen:
    failed: str | None
    """The last failure, None once a later write went through."""
    waiting_s: float
    """How long the oldest write has been waiting; 0 when none is."""
    last_write_ms: float | None


@define(eq=False)
class LedgerGuard:
    seen: Callable[[], LedgerSeen]
    write_s_max: float = 2.0
    id: str = field(default="ledger", init=False)
    title: str = field(default="Ledger", init=False)
    interval_s: float = field(default=0.2, init=False)

    def look(self) -> Finding:
        seen = self.seen()
        last_ms = None if seen.last_write_ms is None else round(seen.last_write_ms, 3)
        metrics = {"last_write_ms": last_ms, "waiting_s": round(seen.waiting_s, 2)}
        if seen.failed is not None:
            text = f"a write failed: {seen.failed}"
            return Finding(Health.ERROR, text, metrics, text, clear=False)
        if seen.waiting_s > self.write_s_max:
            text = f"a write takes longer than {self.write_s_max:g} s"
            return Finding(Health.ERROR, text, metrics, text, clear=False)
        return Finding(Health.OK, "writes are durable", metrics)
