"""The two-leg executor: intent, gate, both legs at once, then whatever it takes until the legs are equal.

    commit intent ─► send both legs ─► outcomes ─► equal? ─► lot OPEN / CLOSED
                                          │ no
                                          └─► hedge the rest ─► unwind ─► stuck: HOLD names the exposure

The same `conclude` ends an opening, a closing, what a restart finds half done, and what a HOLD leaves behind; only
the gate tells these apart. Legs are never sent again: each attempt is a new intent with a new id.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, assert_never

import trio
from attrs import define, evolve, field, frozen

from propbot.domain.clock import Clock
from propbot.domain.errors import (
    AccessRefused,
    OutcomeUnknown,
    ProtocolViolation,
    VenueError,
    VenueRefused,
    VenueRetry,
)
from propbot.domain.instruments import VenueId
from propbot.domain.lots import Intent, Lot, LotState
from propbot.domain.mode import ExposureChange, GateState
from propbot.domain.money import ZERO, amount_text, floor_to_step
from propbot.domain.orders import OrderReport, OrderRequest, OrderState, Side
from propbot.domain.pnl import lot_realised
from propbot.execution.blotter import Blotter, LiveOrder
from propbot.execution.gate import GateClosed, gate_refusal
from propbot.execution.legs import Done, GiveUp, Legs, Send, Wait, Way, begin_legs, step
from propbot.execution.ports import Market, OrderGateway, OrderLedger
from propbot.execution.sight import ExecutionRules, LotSight
from propbot.execution.tally import OrderTally
from propbot.execution.ways import ORPHAN
from propbot.kit.crash import CrashPoints
from propbot.kit.ids import Ids
from propbot.kit.trace import Trace, no_trace


@frozen
class Stuck:
    """The legs could not be made equal; `exposure` is the lot's signed base that is left."""

    lot_id: str
    exposure: Decimal
    reason: str


@define(eq=False)
class Executor:
    gateways: Mapping[VenueId, OrderGateway]
    ledger: OrderLedger
    blotter: Blotter
    market: Market
    gate_state: Callable[[], GateState]
    on_access_refused: Callable[[VenueId, str], None]
    rules: ExecutionRules
    ids: Ids
    clock: Clock
    trace: Trace
    crash: CrashPoints
    free_balances: Callable[[], Mapping[tuple[VenueId, str], Decimal]] = field(default=dict)
    """What can be spent; a spot leg is not sent for more. Empty: unknown, the venue will say."""
    reduces_at_venue: Callable[[VenueId, Side, Decimal], bool] = field(default=lambda venue, side, qty: True)
    """Whether reduce-only would pass at the venue, where a foreign position may lie on top of ours."""
    rate_refusal: Callable[[OrderRequest, int], str | None] = lambda order, legs_unsent: None
    """The breaker's word right before the first byte: why no more may leave. `legs_unsent`: this leg and its siblings
    that have not left."""
    on_first_byte: Callable[[str], None] = lambda intent_id: None
    """Right before an order's first byte; cheap."""
    sight: LotSight = field(init=False)
    tally: OrderTally = field(init=False)
    _concluding: trio.Lock = field(factory=trio.Lock)
    _seen: dict[str, Mapping[VenueId, Mapping[str, Any]]] = field(factory=dict)
    """For the trace: what the books said when an intent was decided, until its legs leave."""

    def __attrs_post_init__(self) -> None:
        self.tally = OrderTally(self.clock)
        self.sight = LotSight(
            self.blotter, self.market, self.gate_state, self.rules, self.clock, self.free_balances,
            self.reduces_at_venue,
        )

    def needs_concluding(self, lot: Lot) -> bool:
        return self.sight.needs_concluding(lot)

    async def execute(self, intent: Intent, lot: Lot | None = None) -> None:
        """Make `intent` (and a new `lot`) durable, then send its legs; returns when each was answered, refused or is
        UNKNOWN. Cancelled midway: every leg whose first byte left is UNKNOWN, every other one NEVER_SENT."""
        if self.trace is not no_trace:
            sights = self.market.book_sights()
            self._seen |= {leg.client_order_id: sights for leg in intent.legs}
        try:
            await self.ledger.commit_intent(intent, lot)
        except trio.Cancelled:
            # the commit is made all the same (the worker has it); what it holds was never sent
            self._register(intent, lot)
            for leg in intent.legs:
                self.blotter.mark_never_sent(leg.client_order_id, "cancelled before the first byte")
            raise
        self.trace(
            "intent_committed", intent_id=intent.id, purpose=str(intent.purpose), lot_id=intent.lot_id,
            client_order_ids=[leg.client_order_id for leg in intent.legs],
        )
        self._register(intent, lot)
        if len(intent.legs) == 1:
            await self._send(intent.legs[0])
            return
        first, *others = intent.legs
        async with trio.open_nursery() as nursery:
            for leg in others:
                nursery.start_soon(self._send, leg)
            await self._send(first)  # in this task: the bytes of the first leg need not wait for another to begin

    def _register(self, intent: Intent, lot: Lot | None) -> None:
        if lot is not None:
            self.blotter.put_lot(lot)
        self.blotter.register(intent)

    async def carry_out(self, intent: Intent, lot: Lot) -> Stuck | None:
        """`execute`, then `conclude`."""
        await self.execute(intent, lot)
        return await self.conclude(lot.id)

    async def conclude(self, lot_id: str, *, within_s: float | None = None) -> Stuck | None:
        """Equalise the lot's legs and give the lot its next state. Ends within the hedge deadline."""
        async with self._concluding:  # a HOLD's wind-down begins where the cancelled execution has let go
            if lot_id not in self.blotter.lots:
                return None
            return await self._conclude(lot_id, self.rules.hedge_deadline_s if within_s is None else within_s)

    async def _conclude(self, lot_id: str, deadline_s: float) -> Stuck | None:
        """The shell of `legs.step`: look, step, do what it says, until it says that it has ended."""
        lot = self.blotter.lots[lot_id]
        unmet = [venue for venue in (lot.buy_venue, lot.sell_venue) if venue not in self.market.instruments]
        if unmet:
            return Stuck(lot_id, self.sight.imbalance(lot), f"{unmet[0]} has not been met yet")
        legs = begin_legs(self.clock.mono_s(), deadline_s, self.rules.hedge_attempts)
        last_id = ""
        while True:
            legs, action = step(legs, self.sight.look(lot, legs, last_id))
            match action:
                case Wait(until_mono_s=until):
                    with trio.move_on_after(max(until - self.clock.mono_s(), 0.0)):
                        await self.blotter.wait_change()
                case Send(way=way):
                    order = self._order(way)
                    self._trace_step(lot, legs, order.client_order_id)
                    last_id = order.client_order_id
                    with trio.move_on_after(max(legs.over_mono_s - self.clock.mono_s(), 0.0)):
                        await self.execute(self._intent(lot, order))
                case GiveUp(reason=reason):
                    self._trace_step(lot, legs, last_id)
                    return Stuck(lot_id, self.sight.imbalance(lot), reason)
                case Done(settled=settled):
                    if settled:
                        await self._give_next_state(lot)
                    return None
                case _:
                    assert_never(action)

    async def take_back_orphan(self) -> Stuck | None:
        """Exposure that belongs to no lot (a fill came after its lot was closed) gets a lot that takes it back.

        Only called where no lot is half done: what looks like nobody's would else be somebody's.
        """
        exposure = self.blotter.exposure()
        first, second = sorted(self.market.instruments, key=self.blotter.position, reverse=exposure > 0)[:2]
        buy, sell = (first, second) if exposure > 0 else (second, first)
        lot = Lot(
            self.ids.name("lot"), next(iter(self.market.instruments.values())).symbol, LotState.CLOSING, buy, sell,
            abs(exposure), self.clock.wall_ns(), ZERO, ZERO, exit_reason=ORPHAN,
        )
        await self.ledger.save_lot(lot)
        self.blotter.put_lot(lot)
        self.trace("lot", lot_id=lot.id, state=str(lot.state), qty=amount_text(lot.qty))
        return await self.conclude(lot.id)

    # --- one leg

    async def _send(self, leg: OrderRequest) -> None:
        """One order, once. Every way out leaves the blotter knowing the truth: answered, refused, or UNKNOWN."""
        client_order_id = leg.client_order_id
        order = self.blotter.orders[client_order_id]

        def last_check() -> None:
            # no checkpoint from here to the first byte: what the gate saw is what holds when the byte leaves
            state = self.gate_state()
            change = self.blotter.exposure_change(leg)
            refusal = gate_refusal(state, leg.purpose, change)
            refusal = refusal or self.rate_refusal(leg, self._unsent_of(order.intent_id))
            if refusal is not None:
                raise GateClosed(refusal)
            self.blotter.mark_sending(client_order_id)
            self.on_first_byte(order.intent_id)
            if self.trace is not no_trace:
                self._trace_send(leg, state, change)

        try:
            report = await self._place(leg, order, last_check)
        except GateClosed as closed:
            self.blotter.mark_never_sent(client_order_id, str(closed))
        except OutcomeUnknown as error:
            self.blotter.mark_unknown(client_order_id, str(error))
        except ProtocolViolation as error:
            # an answer that we can't read says nothing about the order; a definite no of the venue does
            if error.http_status is not None and 400 <= error.http_status < 500:
                self.blotter.mark_rejected(client_order_id, str(error))
            else:
                self.blotter.mark_unknown(client_order_id, str(error))
        except AccessRefused as error:
            self.blotter.mark_rejected(client_order_id, str(error))
            self.on_access_refused(leg.venue, str(error))
        except VenueRefused as error:
            self.blotter.mark_rejected(client_order_id, str(error))
        except VenueRetry as error:
            if order.sent_mono_s is None:
                self.blotter.mark_never_sent(client_order_id, str(error))
            else:
                self.blotter.mark_rejected(client_order_id, str(error))
        else:
            self.blotter.observe_report(report)
        finally:
            # cancelled, a bug below us, or an answer that names another order; changes nothing that is known already
            if order.sent_mono_s is None:
                self.blotter.mark_never_sent(client_order_id, "interrupted before the first byte")
            else:
                self.blotter.mark_unknown(client_order_id, "interrupted while the answer was awaited")

    async def _place(self, leg: OrderRequest, order: LiveOrder, last_check: Callable[[], None]) -> OrderReport:
        """The venue's answer, counted before anybody acts on it."""
        try:
            report = await self.gateways[leg.venue].place(leg, last_check, self.crash)
        except VenueError as error:
            self.tally.note_error(leg.venue, error, order.sent_mono_s)
            raise
        self.tally.note_report(report, order.sent_mono_s)
        return report

    def _unsent_of(self, intent_id: str) -> int:
        return sum(o.state is OrderState.INTENT for o in self.blotter.orders.values() if o.intent_id == intent_id)

    def _trace_send(self, leg: OrderRequest, state: GateState, change: ExposureChange) -> None:
        if self.trace is no_trace:
            return
        self.trace(
            "order_send", client_order_id=leg.client_order_id, venue=leg.venue, symbol=leg.symbol,
            side=str(leg.side), purpose=str(leg.purpose), qty=amount_text(leg.qty),
            price=None if leg.limit_price is None else amount_text(leg.limit_price),
            reduce_only=leg.reduce_only, mode=str(state.mode), books=dict(self.market.book_ids()),
            exposure_before=amount_text(change.before), exposure_after=amount_text(change.after),
            seen=dict(self._seen.pop(leg.client_order_id)),
        )

    # --- unequal legs

    def _order(self, way: Way) -> OrderRequest:
        return OrderRequest(
            self.ids.client_order_id(), way.venue, self.market.instruments[way.venue].symbol, way.side, way.purpose,
            way.qty, way.limit_price, reduce_only=way.reduce_only,
        )

    def _intent(self, lot: Lot, order: OrderRequest) -> Intent:
        return Intent(
            self.ids.name("intent"), lot.pair, order.purpose, lot.id, (order,), self.clock.wall_ns(),
            decided_on=dict(self.market.book_ids()),
        )

    def _trace_step(self, lot: Lot, legs: Legs, client_order_id: str) -> None:
        self.trace(
            "legs", lot_id=lot.id, state=str(legs.state), client_order_id=client_order_id, reason=legs.reason,
        )

    # --- the lot's next state

    async def _give_next_state(self, lot: Lot) -> None:
        """Both legs are equal: what is left of the lot is OPEN, or nothing is and it is CLOSED.

        A lot whose fills have not all arrived keeps its state; the next round concludes it.
        """
        if not all(order.settled for order in self.blotter.lot_orders(lot.id)):
            return
        base = self.blotter.lot_base(lot.id)
        step_size = max(instrument.lot_step for instrument in self.market.instruments.values())
        bought, sold = base.get(lot.buy_venue, ZERO), -base.get(lot.sell_venue, ZERO)
        # they differ by dust only; the larger one, or a lot of one step that used up dust would count as nothing
        qty = floor_to_step(max(bought, sold), step_size) if min(bought, sold) > 0 else ZERO
        if qty > 0 and lot.exit_reason != ORPHAN:
            changed = evolve(lot, state=LotState.OPEN, qty=qty, exit_reason="")
        else:
            # an orphan's fills are one half of something whose other half is closed: alone they earned nothing
            realised = None if lot.exit_reason == ORPHAN else lot_realised(self.blotter.lot_fills.get(lot.id, []))
            never_filled = lot.state is LotState.OPENING and not self.blotter.lot_fills.get(lot.id)
            changed = evolve(
                lot, state=LotState.CLOSED, closed_ns=self.clock.wall_ns(), realised=realised,
                exit_reason="NOT_FILLED" if never_filled else lot.exit_reason or "UNWOUND",
            )
        await self.ledger.save_lot(changed)
        self.blotter.put_lot(changed)
        self.blotter.forget_settled(lot.id)
        self.trace("lot", lot_id=lot.id, state=str(changed.state), qty=amount_text(changed.qty))


