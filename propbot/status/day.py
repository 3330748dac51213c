"""The trading day's profit and loss, UTC: where it began, its peak, and how far below the peak it is.

Noted by the status task four times a second; kept in the counters, so that a restart goes on with the same day. Days
only go forward: a wall clock that steps back across midnight begins no day twice.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Protocol

from attrs import define, field

DAY, START, PEAK = "day", "day.start_pnl_usdt", "day.peak_pnl_usdt"


class Memory(Protocol):
    """`control.counters.Counters`."""

    def get(self, name: str) -> str | None: ...
    def put(self, name: str, value: str | None) -> None: ...


@define(eq=False)
class TradingDay:
    """All amounts are quote. P&L is what trading did since the ledger began; a day's is the difference."""

    memory: Memory
    _now_pnl: Decimal | None = field(default=None, init=False)

    def note(self, pnl: Decimal | None, wall_ns: int) -> None:
        """None: unknown now; what was noted stays, and the day's values are unknown until it is known again."""
        self._now_pnl = pnl
        if pnl is None:
            return
        today = datetime.fromtimestamp(wall_ns / 1e9, UTC).date().isoformat()
        peak = self._recall(PEAK)
        if self.date is None or today > self.date or peak is None or self._recall(START) is None:
            self.memory.put(DAY, today)
            self.memory.put(START, str(pnl))
            self.memory.put(PEAK, str(pnl))
        elif pnl > peak:
            self.memory.put(PEAK, str(pnl))

    @property
    def date(self) -> str | None:
        """`2026-11-28`; None before anything was measured."""
        return self.memory.get(DAY)

    @property
    def pnl(self) -> Decimal | None:
        """Since midnight UTC; on a day that was begun later, since the first measurement of it."""
        return self._since(START)

    def pnl_of(self, pnl: Decimal | None) -> Decimal | None:
        """The day's, where the whole is `pnl` at this moment: for an answer whose other numbers are of this moment."""
        before = self._recall(START)
        return None if before is None or pnl is None else pnl - before

    @property
    def drawdown(self) -> Decimal | None:
        """How far it is below the day's peak, 0 or more."""
        below = self._since(PEAK)
        return None if below is None else -below

    def accept_loss(self) -> None:
        """An operator has seen the loss: the peak is counted again from here."""
        if self._now_pnl is not None:
            self.memory.put(PEAK, str(self._now_pnl))

    def _since(self, name: str) -> Decimal | None:
        before = self._recall(name)
        return None if before is None or self._now_pnl is None else self._now_pnl - before

    def _recall(self, name: str) -> Decimal | None:
        text = self.memory.get(name)
        try:
            amount = None if text is None else Decimal(text)
        except InvalidOperation:
            return None
        return amount if amount is not None and amount.is_finite() else None
