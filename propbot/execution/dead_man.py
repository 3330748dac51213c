"""The venue's dead-man switch, kept armed while orders of ours rest: if we die, the venue cancels them.

USD-M's `countdownCancelAll` cancels *every* open order of a symbol when it runs out, whosever it is. So each refresh
asks first what is open: only where orders of ours rest and no foreign one does it is armed; otherwise it is switched
off, and a foreign order that keeps it off is a WARN. All that we send today is immediate-or-cancel, so that normally
nothing rests and nothing is asked; an order that is still open after a second is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import trio
from attrs import define, field

from propbot.domain.clock import Clock
from propbot.domain.errors import VenueError
from propbot.domain.orders import OrderReport
from propbot.kit.ids import is_ours

COUNTDOWN_MS = 30_000
REFRESH_EVERY_S = 10.0
"""A third of the countdown: two refreshes may fail before the venue acts."""
RETRY_S = 2.0
LOOK_EVERY_S = 0.25


class DeadManGateway(Protocol):
    async def open_orders(self, symbol: str, *, urgent: bool = False) -> Sequence[OrderReport]: ...
    async def set_dead_man(self, symbol: str, countdown_ms: int) -> None: ...


@define(eq=False)
class DeadMan:
    """One venue's. What it says is of its last look."""

    gateway: DeadManGateway
    symbol: str
    may_rest: Callable[[], bool]
    """Whether an order of ours may be resting there, by all that we know without asking."""
    clock: Clock
    armed_mono_s: float | None = field(default=None, init=False)
    """When it was last armed (the request left); None while it is off."""
    resting: int = field(default=0, init=False)
    foreign: int = field(default=0, init=False)
    """Open orders of others on the symbol; they keep it off."""
    problem: str = field(default="", init=False)
    """Why the last refresh failed; empty where it did not."""
    _may_be_armed: bool = field(default=True, init=False)
    """Also by an earlier life of ours."""
    _looked_mono_s: float | None = field(default=None, init=False)

    @property
    def age_s(self) -> float | None:
        """Since it was last armed; None while it is off."""
        return None if self.armed_mono_s is None else self.clock.mono_s() - self.armed_mono_s

    async def run(self) -> None:
        """Until cancelled. What the venue refuses is tried again; it is shown meanwhile."""
        while True:
            if self._due():
                await self.refresh()
            await trio.sleep(LOOK_EVERY_S)

    def _due(self) -> bool:
        may_rest = self.may_rest()
        if not may_rest and not self._may_be_armed:
            self.resting = self.foreign = 0
            return False
        if self._looked_mono_s is None:
            return True
        calm = not self.problem and may_rest and (self.armed_mono_s is not None or self.foreign > 0)
        return self.clock.mono_s() - self._looked_mono_s >= (REFRESH_EVERY_S if calm else RETRY_S)

    async def refresh(self) -> None:
        """Ask what is open; arm, or switch off. Cancelled midway: it is as armed as the venue heard of it."""
        self._looked_mono_s = self.clock.mono_s()
        try:
            orders = await self.gateway.open_orders(self.symbol, urgent=True)
            self.resting = sum(is_ours(order.client_order_id) for order in orders)
            self.foreign = len(orders) - self.resting
            if self.resting and not self.foreign:
                await self._arm()
            elif self._may_be_armed:
                await self.gateway.set_dead_man(self.symbol, 0)
                self._may_be_armed, self.armed_mono_s = False, None
            self.problem = ""
        except VenueError as error:
            self.problem = str(error)

    async def _arm(self) -> None:
        asked_mono_s = self.clock.mono_s()
        self._may_be_armed = True
        await self.gateway.set_dead_man(self.symbol, COUNTDOWN_MS)
        self.armed_mono_s = asked_mono_s
