"""The caps on what may go wrong: the day's loss from its peak, the total notional, spreads that failed in a row.

A trip stays, over restarts too, until an operator acknowledges the incident; the loss also ends with its day. What was
acknowledged is accepted: the loss is counted again from there, and a notional or a count that is still beyond its cap
trips again once it has been back within it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal

from attrs import define, field, frozen

from propbot.domain.money import amount_text
from propbot.domain.status import Health, Metric
from propbot.guards.watch import Finding

LOSS, NOTIONAL, SPREADS = "loss", "notional", "spreads"
HELD = "kill_caps.held"


@frozen
class CapsSeen:
    """Quote amounts; None is "unknown"."""

    day: str | None
    """UTC date that `drawdown` belongs to."""
    drawdown: Decimal | None
    """Of the day's trading P&L from its peak, 0 or more."""
    notional: Decimal | None
    failed_spreads: int
    """In a row, of real ones."""


@frozen
class Caps:
    loss_usdt: Decimal = Decimal(500)
    notional_usdt: Decimal = Decimal(20_000)
    failed_spreads: int = 5


@define(eq=False)
class KillCaps:
    seen: Callable[[], CapsSeen]
    acknowledged: Callable[[], bool]
    """Whether an operator has acknowledged every open incident of this guard."""
    accept_loss: Callable[[], None]
    recall: Callable[[str], str | None]
    keep: Callable[[str, str | None], None]
    caps: Caps
    _held: dict[str, tuple[str, str]] | None = field(default=None, init=False)
    """Cap → (reason, the day when it was broken)."""
    _accepted: set[str] = field(factory=set, init=False)
    """Caps that an operator has accepted as broken, until they hold again."""
    id: str = field(default="kill_caps", init=False)
    title: str = field(default="Kill caps", init=False)
    interval_s: float = field(default=0.2, init=False)

    def look(self) -> Finding:
        seen = self.seen()
        before = self._take_up() if self._held is None else self._held
        broken = self._broken(seen)
        self._accepted &= broken.keys()
        held = self._still_held(before, seen, broken)
        for cap, reason in broken.items():
            if cap not in self._accepted:
                held.setdefault(cap, (reason, seen.day or ""))
        if held != before:
            self.keep(HELD, json.dumps(held) if held else None)
        self._held = held
        trip = "; ".join(reason for reason, _ in held.values()) or None
        health, summary = self._words(seen, trip)
        return Finding(health, summary, self._metrics(seen), trip, clear=trip is None)

    def _broken(self, seen: CapsSeen) -> dict[str, str]:
        caps, broken = self.caps, {}
        if seen.drawdown is not None and seen.drawdown > caps.loss_usdt:
            broken[LOSS] = f"the day's loss from its peak is beyond {amount_text(caps.loss_usdt)} USDT"
        if seen.notional is not None and seen.notional > caps.notional_usdt:
            broken[NOTIONAL] = f"the total notional is beyond {amount_text(caps.notional_usdt)} USDT"
        if seen.failed_spreads >= caps.failed_spreads:
            broken[SPREADS] = f"{caps.failed_spreads} spreads in a row failed; see orders for the venues' reasons"
        return broken

    def _still_held(
        self, before: Mapping[str, tuple[str, str]], seen: CapsSeen, broken: dict[str, str]
    ) -> dict[str, tuple[str, str]]:
        if before and self.acknowledged():
            self._accepted |= broken.keys() - {LOSS}
            if LOSS in before:
                self.accept_loss()
                broken.pop(LOSS, None)
            return {}
        new_day = {LOSS} if LOSS in before and seen.day is not None and seen.day > before[LOSS][1] else set()
        return {cap: reason for cap, reason in before.items() if cap not in new_day}

    def _take_up(self) -> dict[str, tuple[str, str]]:
        """What an earlier life was held by."""
        try:
            kept = json.loads(self.recall(HELD) or "{}")
            return {str(cap): (str(reason), str(day)) for cap, (reason, day) in kept.items()}
        except (ValueError, TypeError, AttributeError):
            return {"memory": ("what had tripped before the restart can't be read", "")}

    def _words(self, seen: CapsSeen, trip: str | None) -> tuple[Health, str]:
        if trip is not None:
            return Health.ERROR, trip
        if self._accepted:
            return Health.WARN, f"beyond its cap, and acknowledged: {', '.join(sorted(self._accepted))}"
        unknown = [name for name, value in (("loss", seen.drawdown), ("notional", seen.notional)) if value is None]
        if unknown:
            return Health.WARN, f"unknown now: {', '.join(unknown)}"
        return Health.OK, "loss, notional and failed spreads are within their caps"

    def _metrics(self, seen: CapsSeen) -> dict[str, Metric]:
        return {
            "day": seen.day,
            "drawdown_usdt": None if seen.drawdown is None else amount_text(seen.drawdown.quantize(Decimal("1e-8"))),
            "notional_usdt": None if seen.notional is None else amount_text(seen.notional.quantize(Decimal("1e-8"))),
            "failed_spreads_in_a_row": seen.failed_spreads,
        }
