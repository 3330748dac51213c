"""After a HOLD: hedge what is naked, cancel our open orders by id, and read back what the venues still have.

It lives outside the execution scope that the HOLD has just cancelled, and is bounded: the gate lets a hedge through
only while it lowers the exposure and only within the HOLD's deadline. Foreign orders are never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import trio
from attrs import define, field

from propbot.domain.clock import Clock
from propbot.domain.errors import LedgerError, VenueError
from propbot.domain.instruments import VenueId
from propbot.domain.lots import LotState
from propbot.domain.mode import CancelResult
from propbot.execution.blotter import Blotter
from propbot.execution.executor import Executor, Stuck
from propbot.execution.ports import OrderGateway
from propbot.kit.ids import is_ours
from propbot.kit.trace import Trace


@define(eq=False)
class WindDown:
    blotter: Blotter
    executor: Executor
    gateways: Mapping[VenueId, OrderGateway]
    symbol: str
    clock: Clock
    trace: Trace
    on_stuck: Callable[[Stuck], None]
    on_ledger_failure: Callable[[str], None]
    note_cancel: Callable[[CancelResult], None]
    episode: int = 0
    """The last HOLD, by the mode keeper's count, that got its wind-down."""
    done: trio.Event = field(factory=trio.Event)
    """Set when the wind-down of the HOLD in force has ended."""

    async def run_once(self, deadline_s: float) -> None:
        """Ends by `deadline_s` after the HOLD at the latest."""
        self.trace("winddown", state="begins")
        with trio.move_on_after(deadline_s):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._cancel_and_read_back)
                nursery.start_soon(self._equalise_all, deadline_s)
        self.trace("winddown", state="ended")
        self.done.set()

    async def _equalise_all(self, deadline_s: float) -> None:
        for lot in list(self.blotter.lots.values()):
            if lot.state is LotState.OPEN:
                continue
            try:
                stuck = await self.executor.conclude(lot.id, within_s=deadline_s)
            except LedgerError as error:
                self.on_ledger_failure(str(error))
                return
            if stuck is not None and stuck.exposure:
                self.on_stuck(stuck)

    async def _cancel_and_read_back(self) -> None:
        began_s = self.clock.mono_s()
        left: dict[VenueId, int | None] = {}

        async def clear(venue: VenueId) -> None:
            left[venue] = await self._clear_venue(venue)

        async with trio.open_nursery() as nursery:
            for venue in self.gateways:
                nursery.start_soon(clear, venue)
        counts = list(left.values())
        if None not in counts:
            total = sum(count for count in counts if count is not None)
            self.note_cancel(CancelResult(total, round(self.clock.mono_s() - began_s, 3)))

    async def _clear_venue(self, venue: VenueId) -> int | None:
        """Our orders still open at `venue` after cancelling them; None if it does not answer."""
        gateway = self.gateways[venue]
        try:
            for order in await gateway.open_orders(self.symbol):
                if is_ours(order.client_order_id):
                    await self._cancel(venue, order.client_order_id)
            return sum(is_ours(order.client_order_id) for order in await gateway.open_orders(self.symbol))
        except VenueError as error:
            self.trace("cancel_failed", venue=venue, error=str(error))
            return None

    async def _cancel(self, venue: VenueId, client_order_id: str) -> None:
        try:
            report = await self.gateways[venue].cancel(self.symbol, client_order_id)
        except VenueError as error:
            # a cancel that is refused most often means that the order has just ended; the read-back tells
            self.trace("cancel_failed", venue=venue, client_order_id=client_order_id, error=str(error))
        else:
            self.blotter.observe_report(report)
