"""The bookkeeper: writes what the blotter learned into the ledger, in order, and finds fills that did not arrive.

It lives in the root nursery, outside the execution scope: a HOLD stops orders, never the record of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import trio
from attrs import define, field

from propbot.domain.errors import LedgerError, TransitionRefused, VenueError
from propbot.domain.instruments import VenueId
from propbot.domain.money import amount_text
from propbot.domain.orders import Fill
from propbot.execution.blotter import Blotter, LiveOrder, OutboxItem, unbooked
from propbot.execution.ports import OrderGateway, OrderLedger
from propbot.kit.crash import CrashPoints
from propbot.kit.trace import Trace


@define(eq=False)
class Bookkeeper:
    """`on_foreign` hears, synchronously, of fills on our account that no order of ours explains."""

    blotter: Blotter
    ledger: OrderLedger
    gateways: Mapping[VenueId, OrderGateway]
    crash: CrashPoints
    trace: Trace
    on_foreign: Callable[[Sequence[Fill]], None]
    on_ledger_failure: Callable[[str], None]
    busy: bool = field(default=False, init=False)
    """Something was taken from the outbox and is not durable yet."""

    @property
    def idle(self) -> bool:
        return not self.busy and self.blotter.outbox_size == 0

    async def run(self) -> None:
        """Until cancelled. A write that fails is a HOLD and is tried again until it goes through: recording a state
        or a fill twice changes nothing."""
        while True:
            items = await self.blotter.take_outbox()
            self.busy = True
            for item in items:
                await self._write_at_last(item)
            self.busy = False
            self.blotter.wake()

    async def _write_at_last(self, item: OutboxItem, retry_s: float = 0.5) -> None:
        while True:
            try:
                await self._write(item)
            except TransitionRefused as error:  # trying again never heals it, and all that waits behind must be written
                self.on_ledger_failure(f"an order's news contradicts what is recorded: {error}")
                return
            except LedgerError as error:
                self.on_ledger_failure(str(error))
                await trio.sleep(retry_s)
            else:
                return

    async def _write(self, item: OutboxItem) -> None:
        if item.order is not None and item.state is not None:
            order = item.order
            await self.ledger.record_order(
                order.request.client_order_id, item.state,
                order_id=order.order_id, filled_qty=order.filled_qty, reason=order.reason,
            )
            self.crash.passage("ack:after")
        if item.funding is not None:
            await self.ledger.book_funding(item.funding)
        if item.fills:
            booked = await self.ledger.book_fills(item.fills)
            self.blotter.adopt(booked.new)
            for row in booked.new:
                fill = row.fill
                self.trace(
                    "fill_booked", venue=fill.venue, symbol=fill.symbol, order_id=fill.order_id,
                    trade_id=fill.trade_id, side=str(fill.side), qty=amount_text(fill.qty),
                    price=amount_text(fill.price), fee=amount_text(fill.fee), fee_asset=fill.fee_asset,
                )
            if booked.foreign:
                self.on_foreign(booked.foreign)

    async def run_fill_search(self, patience_s: float = 0.5) -> None:
        """Until cancelled: an order whose outcome is known and whose fills have not come within `patience_s` (the
        private stream is down, or a message was lost) has them asked for."""
        while True:
            await trio.sleep(patience_s)
            for order in unbooked(self.blotter.orders):
                await self._ask_fills(order)

    async def _ask_fills(self, order: LiveOrder) -> None:
        request = order.request
        try:
            fills = await self.gateways[request.venue].order_trades(request.symbol, order.order_id)
        except VenueError as error:
            self.trace("fill_search_failed", venue=request.venue, error=str(error))
            return
        self.blotter.observe_fills(fills)
