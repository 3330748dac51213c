"""UNKNOWN is a state: this task gives each order that may have been sent its one outcome, by asking and never by
sending again.

"Not found" is no proof at once (venues answer from replicas that lag): an order is NEVER_SENT only when 10 s have
passed since its first byte, three polls did not find it, and the venue's trades, position and balances agree with
our books without it. Earlier than that, once its window at the venue (recvWindow, 2 s) has surely passed, it is
`presumed_dead`: hedging does not wait for it any longer, the record does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import trio
from attrs import define, frozen

from propbot.domain.clock import Clock
from propbot.domain.errors import LedgerError, OrderNotFound, VenueError
from propbot.domain.instruments import VenueId
from propbot.domain.orders import Fill, OrderState
from propbot.execution.blotter import Blotter, LiveOrder
from propbot.execution.ports import OrderGateway
from propbot.kit.trace import Trace


@frozen
class ResolverRules:
    proof_age_s: float = 10.0
    proof_polls: int = 3
    window_s: float = 3.0
    """The order's recvWindow (2 s) and a second for the way and the clocks."""
    lag_s_max: float = 30.0
    """So long queries may lag behind lists of trades; a trade that nobody explains is somebody else's after that."""
    poll_every_s: float = 0.25
    poll_late_every_s: float = 1.0
    """After `window_s`."""


@define(eq=False)
class Resolver:
    blotter: Blotter
    gateways: Mapping[VenueId, OrderGateway]
    venue_agrees: Callable[[VenueId], Awaitable[bool]]
    """Reconciles one venue now: do its trades, positions and balances agree with our books?"""
    clock: Clock
    trace: Trace
    rules: ResolverRules = ResolverRules()
    read_trades: Callable[[VenueId], Awaitable[Sequence[Fill]]] | None = None
    """The venue's newest trades that may be those of unknown orders: queries may lag behind lists of trades."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            unknown = [order for order in self.blotter.orders.values() if needs_asking(order)]
            if not unknown:
                await self.blotter.wait_change()
                continue
            for order in unknown:
                await self._ask(order)
            young = any(self._age_s(order) < self.rules.window_s for order in unknown)
            await trio.sleep(self.rules.poll_every_s if young else self.rules.poll_late_every_s)

    async def _ask(self, order: LiveOrder) -> None:
        request = order.request
        try:
            report = await self.gateways[request.venue].query(request.symbol, request.client_order_id)
        except OrderNotFound:
            await self._not_found(order)
        except VenueError as error:
            self.trace("query_failed", client_order_id=request.client_order_id, error=str(error))
        else:
            self.blotter.observe_report(report)

    async def _not_found(self, order: LiveOrder) -> None:
        if order.state.terminal:  # the private stream was faster
            return
        order.not_found += 1
        age_s = self._age_s(order)
        enough = order.not_found >= self.rules.proof_polls
        if enough and age_s >= self.rules.window_s and not order.presumed_dead:
            if age_s < self.rules.lag_s_max and await self._may_have_traded(order):
                return
            order.presumed_dead = True
            self.blotter.wake()
        if enough and age_s >= self.rules.proof_age_s and await self.venue_agrees(order.request.venue):
            self.blotter.mark_never_sent(
                order.request.client_order_id, f"not at the venue after {age_s:.0f} s and {order.not_found} polls"
            )

    async def _may_have_traded(self, order: LiveOrder) -> bool:
        """Whether the venue lists a trade that could be its; also while it can't be asked."""
        if self.read_trades is None:
            return False
        try:
            puzzling = await self.read_trades(order.request.venue)
        except (VenueError, LedgerError) as error:
            self.trace("query_failed", client_order_id=order.request.client_order_id, error=str(error))
            return True
        return order.state.terminal or any(trade.side is order.request.side for trade in puzzling)

    def _age_s(self, order: LiveOrder) -> float:
        assert order.sent_mono_s is not None, "an order that was never sent is not asked for"
        return self.clock.mono_s() - order.sent_mono_s


def needs_asking(order: LiveOrder) -> bool:
    """UNKNOWN, or working though all that we send are IOC: its end may have been missed."""
    return order.state in (OrderState.UNKNOWN, OrderState.WORKING) and order.sent_mono_s is not None
