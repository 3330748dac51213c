"""Trips when the net exposure stays above one lot step for longer than the hedge deadline."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from attrs import define, field

from propbot.domain.money import amount_text
from propbot.domain.status import Health, Metric
from propbot.guards.watch import Finding


@define(eq=False)
class HedgeGuard:
    exposure: Callable[[], Decimal]
    """Net base over all venues."""
    lot_step: Callable[[], Decimal]
    base: str
    now_s: Callable[[], float]
    deadline_s: float
    _since: float | None = field(default=None, init=False)
    id: str = field(default="hedge", init=False)
    title: str = field(default="Net exposure", init=False)
    interval_s: float = field(default=0.05, init=False)

    def begin_anew(self) -> None:
        """Whatever is open has the whole deadline again: an operator has ordered it to be closed."""
        self._since = None

    def look(self) -> Finding:
        exposure = self.exposure()
        now = self.now_s()
        exposed = abs(exposure) >= self.lot_step()
        if not exposed:
            self._since = None
        elif self._since is None:
            self._since = now
        lasted_s = 0.0 if self._since is None else now - self._since
        text = f"net exposure {amount_text(exposure)} {self.base}"
        metrics: dict[str, Metric] = {"exposure": amount_text(exposure), "lasted_s": round(lasted_s, 2)}
        if not exposed:
            return Finding(Health.OK, text, metrics)
        # one look early: by the deadline it is a HOLD, not an instant later
        over = lasted_s + self.interval_s >= self.deadline_s
        trip = f"{text} for longer than {self.deadline_s:g} s" if over else None
        return Finding(Health.WARN, f"{text} for {lasted_s:.1f} s", metrics, trip, clear=False)
