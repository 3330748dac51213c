"""Trips when a startup or resume check failed, or a venue refuses our key; clears when the checks pass and signed reads
go through."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from attrs import Factory, define, field, frozen

from propbot.domain.status import Health, Metric
from propbot.guards.watch import Finding


@frozen
class PreflightSeen:
    ok: bool | None = None
    """None: not run yet."""
    failures: Sequence[str] = ()
    warnings: Sequence[str] = ()
    refused: Sequence[str] = ()
    """Venues that refuse our key, in words."""
    age_s: float | None = None
    measured: Mapping[str, Metric] = Factory(dict)


@define(eq=False)
class PreflightGuard:
    seen: Callable[[], PreflightSeen]
    id: str = field(default="preflight", init=False)
    title: str = field(default="Preflight", init=False)
    interval_s: float = field(default=0.25, init=False)

    def look(self) -> Finding:
        seen = self.seen()
        metrics = {"age_s": None if seen.age_s is None else round(seen.age_s), **seen.measured}
        failed = [*seen.refused, *seen.failures]
        if failed:
            text = "; ".join(failed)
            return Finding(Health.ERROR, text, metrics, text, clear=False)
        if seen.ok is None:
            return Finding(Health.WARN, "unknown: not run yet", metrics)
        if seen.warnings:
            return Finding(Health.WARN, "; ".join(seen.warnings), metrics)
        return Finding(Health.OK, "every check passed", metrics)
