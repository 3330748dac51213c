"""Order entry: from a well-formed order to the engine and back, with the latency of both ways and the faults between.

Both faces, REST and WebSocket API alike, come through here; an order's journey stands in `place`, top to bottom.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import trio
from attrs import evolve

from propbot.domain.money import amount_text, floor_to_step
from propbot.simvenue.faces.core import Core
from propbot.simvenue.faces.errors import ApiError, RefusalTable, error_of, unknown_503
from propbot.simvenue.faults import Params as FaultParams
from propbot.simvenue.records import NewOrder, Refusal, Refused, SimOrder
from propbot.simvenue.server import CutConnection


class OrderEntry:
    """`refusals` and `cancel_refusals` are the venue's words for the engine's no."""

    def __init__(self, core: Core, refusals: RefusalTable) -> None:
        self._core = core
        self._refusals = refusals

    async def place(self, asked: NewOrder, recheck: Callable[[], None]) -> SimOrder:
        """The order as it stood right after matching. `recheck` runs when the order reaches the engine."""
        core = self._core
        self._strike(asked, "drop_request", raise_cut=True)
        await trio.sleep(core.latency_s)
        try:
            recheck()
            order = self._match(asked)
        except (ApiError, Refused) as refused:
            error = refused if isinstance(refused, ApiError) else error_of(refused, self._refusals)
            self._reply(asked.client_order_id, None, error)
            await trio.sleep(core.latency_s)
            raise error from None
        self._strike(asked, "lost_ack", raise_cut=True)
        delay = self._strike(asked, "delayed_ack")
        await trio.sleep(core.latency_s + (0.0 if delay is None else delay["seconds"]))
        self._reply(asked.client_order_id, order, None)
        return order

    async def cancel(
        self, symbol: str, order_id: int | None, client_order_id: str | None, cancel_id: str | None = None
    ) -> SimOrder:
        """The cancelled order, or the venue's -2011."""
        core = self._core
        core.trace.row(core.venue, "in", "cancel", client_order_id=client_order_id, order_id=order_id)
        await trio.sleep(core.latency_s)
        try:
            found = core.engine.find(symbol, order_id=order_id, client_order_id=client_order_id)
            self._reject_cancel(found)
            if cancel_id is not None and found.status.open:
                core.cancel_ids[found.order_id] = cancel_id
            order = _snapshot(core.engine.cancel(symbol, order_id=found.order_id))
            core.cancel_ids.pop(found.order_id, None)
        except Refused as refused:
            unknown = refused.refusal is Refusal.UNKNOWN_ORDER
            error = ApiError(400, -2011, "Unknown order sent.") if unknown else error_of(refused, self._refusals)
            core.trace.row(core.venue, "out", "cancel_reply", client_order_id=client_order_id, code=error.code)
            await trio.sleep(core.latency_s)
            raise error from None
        await trio.sleep(core.latency_s)
        core.trace.row(
            core.venue, "out", "cancel_reply", client_order_id=order.request.client_order_id, order_id=order.order_id
        )
        return order

    def _reject_cancel(self, found: SimOrder) -> None:
        """Fault reject_cancel: the order was filled while its cancel was on the way."""
        core = self._core
        rejected = core.faults.strike(core.venue, "reject_cancel", found.request.client_order_id)
        if rejected is None:
            return
        if rejected["fill"] and found.status.open:
            core.engine.fill_rest(found.request.symbol, found.order_id)
        raise Refused(Refusal.UNKNOWN_ORDER)

    async def cancel_all(self, symbol: str) -> list[SimOrder]:
        core = self._core
        core.trace.row(core.venue, "in", "cancel", symbol=symbol, all=True)
        await trio.sleep(core.latency_s)
        orders = [
            _snapshot(core.engine.cancel(symbol, order_id=order.order_id))
            for order in list(core.engine.open_orders(symbol))
        ]
        await trio.sleep(core.latency_s)
        return orders

    def find(self, symbol: str, order_id: int | None, client_order_id: str | None) -> SimOrder:
        """For queries; -2013 where there is none, or where it is not visible yet."""
        try:
            order = self._core.engine.find(symbol, order_id=order_id, client_order_id=client_order_id)
        except Refused as refused:
            raise error_of(refused, self._refusals) from None
        if not self.visible(order):
            raise error_of(Refused(Refusal.UNKNOWN_ORDER), self._refusals)
        return order

    def visible(self, order: SimOrder) -> bool:
        until_s = self._core.hidden_until_s.get(order.request.client_order_id)
        return until_s is None or trio.current_time() >= until_s

    def _match(self, asked: NewOrder) -> SimOrder:
        core = self._core
        core.counters.check_orders()
        rejected = self._strike(asked, "reject_order")
        if rejected is not None:
            raise self._injected(rejected)
        odd = self._strike(asked, "odd_reply")
        if odd is not None:
            if odd["executed"]:
                core.engine.place(asked)
            raise ApiError(odd["status"], odd["code"], odd["msg"])
        unknown = self._strike(asked, "unknown_503")
        if unknown is not None:
            if unknown["executed"]:
                core.engine.place(asked)
            raise unknown_503()
        late = None if asked.limit_price is None else self._strike(asked, "late_match")
        if late is not None:
            until_ms = core.engine.now_ms() + round(late["seconds"] * 1000)
            return _snapshot(core.engine.place(asked, late_until_ms=until_ms))
        partial = self._strike(asked, "partial_fill")
        order = core.engine.place(asked, fill_at_most=None if partial is None else self._part(asked, partial))
        hidden = self._strike(asked, "hide_order")
        if hidden is not None:
            core.hidden_until_s[asked.client_order_id] = trio.current_time() + hidden["seconds"]
        return _snapshot(order)

    def _part(self, asked: NewOrder, partial: FaultParams) -> Decimal:
        if partial["qty"] is not None:
            qty: Decimal = partial["qty"]
            return qty
        step = self._core.instrument(asked.symbol).lot_step
        return floor_to_step(asked.qty * Decimal(str(partial["fraction"])), step)

    def _injected(self, rejected: FaultParams) -> ApiError:
        code, msg = self._refusals[Refusal.INJECTED]
        if rejected["code"] is None:
            return ApiError(400, code, rejected["msg"] or msg)
        return ApiError(400, rejected["code"], rejected["msg"] or "Order refused by an injected fault.")

    def _strike(self, asked: NewOrder, fault: str, *, raise_cut: bool = False) -> FaultParams | None:
        params = self._core.faults.strike(self._core.venue, fault, asked.client_order_id)
        if params is not None and raise_cut:
            raise CutConnection(fault)
        return params

    def _reply(self, client_order_id: str, order: SimOrder | None, error: ApiError | None) -> None:
        core = self._core
        core.trace.row(
            core.venue,
            "out",
            "order_reply",
            client_order_id=client_order_id,
            order_id=None if order is None else order.order_id,
            status=None if order is None else order.status.value,
            filled=None if order is None else amount_text(order.filled_qty),
            code=None if error is None else error.code,
            http_status=200 if error is None else error.status,
        )

    def trace_order(self, asked: NewOrder, received_ns: int) -> None:
        """The row that says when an order had arrived in full."""
        core = self._core
        core.trace.row(
            core.venue,
            "in",
            "order",
            mono_ns=received_ns,
            client_order_id=asked.client_order_id,
            symbol=asked.symbol,
            side=asked.side.value,
            type=asked.type.value,
            tif=asked.tif.value,
            qty=amount_text(asked.qty),
            price=None if asked.limit_price is None else amount_text(asked.limit_price),
            reduce_only=asked.reduce_only,
        )


def _snapshot(order: SimOrder) -> SimOrder:
    """The engine goes on changing its own; a reply tells of one moment."""
    return evolve(order, trades=list(order.trades))
