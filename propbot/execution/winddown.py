"""After a HOLD: hedge what is naked, cancel our open orders by id, and read back what the venues still have.

It lives outside the execution scope that the HOLD has just cancelled, and is bounded: the gate lets a hedge through
only while it lowers the exposure and only within the HOLD's deadline. Each venue has a task of its own, so that one
which hangs keeps no cancel from another. A venue that could not be read back is asked again for as long as the HOLD
lasts: when it comes back it gets its cancels. Foreign orders are never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import trio
from attrs import define, field

from propbot.domain.clock import Clock
from propbot.domain.errors import LedgerError, VenueError
from propbot.domain.instruments import VenueId
from propbot.domain.lots import LotState
from propbot.domain.mode import CancelResult
from propbot.domain.money import ZERO, amount_text
from propbot.execution.blotter import Blotter
from propbot.execution.executor import Executor, Stuck
from propbot.execution.ports import OrderGateway
from propbot.kit.ids import is_ours
from propbot.kit.trace import Trace

RETRY_S = (1.0, 2.0, 4.0, 8.0, 15.0)
"""How long a venue that was not read back is left alone before it is asked again; the last one goes on."""


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
    on_cancel_answer: Callable[[VenueError | None], None] = lambda error: None
    """Each cancel that was sent, and what was wrong with it."""
    episode: int = 0
    """The last HOLD, by the mode keeper's count, that got its wind-down."""
    done: trio.Event = field(factory=trio.Event)
    """Set when the wind-down of the HOLD in force has ended; the asking of venues that did not answer goes on."""
    left: dict[VenueId, int | None] = field(factory=dict)
    """Own orders still open as each venue said last; None: not read back."""
    _began_mono_s: float = 0.0

    async def run_once(self, deadline_s: float) -> None:
        """Ends by `deadline_s` after the HOLD at the latest."""
        self.trace("winddown", state="begins")
        self._began_mono_s = self.clock.mono_s()
        self.left = dict.fromkeys(self.gateways)
        with trio.move_on_after(deadline_s):
            async with trio.open_nursery() as nursery:
                for venue in self.gateways:
                    nursery.start_soon(self._clear, venue)
                nursery.start_soon(self._equalise_all, deadline_s)
        if None in self.left.values():  # a venue that has not answered by now is named
            self._note()
        self.trace("winddown", state="ended")
        self.done.set()

    @property
    def cleared(self) -> bool:
        """Every venue said that no order of ours is open."""
        return all(left == 0 for left in self.left.values())

    async def clear_rest(self) -> None:
        """Until every venue has said that nothing of ours is open: ask again those that have not."""
        async with trio.open_nursery() as nursery:
            for venue, left in self.left.items():
                if left != 0:
                    nursery.start_soon(self._clear_at_last, venue)

    async def _clear_at_last(self, venue: VenueId) -> None:
        for number in range(1_000_000):
            await trio.sleep(RETRY_S[min(number, len(RETRY_S) - 1)])
            await self._clear(venue)
            if self.left[venue] == 0:
                return

    # --- hedges

    async def _equalise_all(self, deadline_s: float) -> None:
        """Each lot in its turn, and none may use up the time of those behind it."""
        over_mono_s = self._began_mono_s + deadline_s
        lots = [lot for lot in self.blotter.lots.values() if self.executor.needs_concluding(lot)]
        for number, lot in enumerate(lots):
            share_s = (over_mono_s - self.clock.mono_s()) / (len(lots) - number)
            try:
                stuck = await self.executor.conclude(lot.id, within_s=max(share_s, 0.0))
            except LedgerError as error:
                self.on_ledger_failure(str(error))
                return
            if stuck is not None and stuck.exposure:
                self.on_stuck(stuck)

    # --- cancels

    async def _clear(self, venue: VenueId) -> None:
        self.left[venue] = await self._clear_venue(venue)
        if all(left is not None for left in self.left.values()) or self.done.is_set():
            self._note()

    def _note(self) -> None:
        counts = [left for left in self.left.values() if left is not None]
        silent = [venue for venue, left in self.left.items() if left is None]
        seconds = round(self.clock.mono_s() - self._began_mono_s, 3)
        self.note_cancel(CancelResult(sum(counts) if counts else None, seconds, silent))

    async def _clear_venue(self, venue: VenueId) -> int | None:
        """Our orders still open at `venue` after cancelling them; None if it does not say."""
        gateway = self.gateways[venue]
        known = self._may_be_open(venue)
        async with trio.open_nursery() as nursery:
            for client_order_id in known:  # from memory, at once: no question has to be answered first
                nursery.start_soon(self._cancel, venue, client_order_id)
            nursery.start_soon(self._cancel_others, venue, frozenset(known))
        try:
            return sum(is_ours(order.client_order_id) for order in await gateway.open_orders(self.symbol, urgent=True))
        except VenueError as error:
            self.trace("read_back_failed", venue=venue, error=str(error))
            return None

    def _may_be_open(self, venue: VenueId) -> list[str]:
        return [
            order.request.client_order_id for order in self.blotter.orders.values()
            if order.request.venue == venue and order.uncertain and order.sent_mono_s is not None
        ]

    async def _cancel_others(self, venue: VenueId, asked: Collection[str]) -> None:
        """What the venue has open of ours beyond what we know of: a crash may have forgotten it."""
        try:
            found = await self.gateways[venue].open_orders(self.symbol, urgent=True)
        except VenueError as error:
            self.trace("read_back_failed", venue=venue, error=str(error))
            return
        async with trio.open_nursery() as nursery:
            for order in found:
                if is_ours(order.client_order_id) and order.client_order_id not in asked:
                    nursery.start_soon(self._cancel, venue, order.client_order_id)

    async def _cancel(self, venue: VenueId, client_order_id: str) -> None:
        self.trace("cancel_send", venue=venue, client_order_id=client_order_id)
        try:
            report = await self.gateways[venue].cancel(self.symbol, client_order_id)
        except VenueError as error:
            # a cancel that is refused most often means that the order has just ended; the read-back tells
            self.trace("cancel_failed", venue=venue, client_order_id=client_order_id, error=str(error))
            self.on_cancel_answer(error)
        else:
            self.on_cancel_answer(None)
            self.blotter.observe_report(report)

    # --- what it could not finish

    def describe_rest(self, base: str) -> str:
        """What a stop leaves for the next start; empty when nothing is left."""
        silent = sorted(venue for venue, left in self.left.items() if left is None)
        parts = [describe_half_done(self.blotter, base)]
        if silent:
            parts.append(f"not read back: {', '.join(silent)}")
        return "; ".join(part for part in parts if part)


def describe_half_done(blotter: Blotter, base: str) -> str:
    """Lots whose legs may be unequal and orders whose outcome is open; empty when there are none."""
    parts: list[str] = []
    for lot in blotter.lots.values():
        if lot.state is not LotState.OPEN:
            naked = sum(blotter.lot_base(lot.id).values(), ZERO)
            parts.append(f"lot {lot.id} is {lot.state} with a naked {amount_text(naked)} {base}")
    uncertain = [order.request.client_order_id for order in blotter.orders.values() if order.uncertain]
    if uncertain:
        parts.append(f"the outcome of {len(uncertain)} orders is open, first {uncertain[0]}")
    return "; ".join(parts)
