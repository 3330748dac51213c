"""The two-leg executor: intent, gate, both legs at once, then whatever it takes until the legs are equal.

    commit intent ─► send both legs ─► outcomes ─► equal? ─► lot OPEN / CLOSED
                                          │ no
                                          └─► hedge the rest ─► unwind ─► stuck: HOLD names the exposure

The same `conclude` ends an opening, a closing, what a restart finds half done, and what a HOLD leaves behind; only
the gate tells these apart. Legs are never sent again: each attempt is a new intent with a new id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal

import trio
from attrs import define, evolve, field, frozen

from propbot.domain.clock import Clock
from propbot.domain.errors import AccessRefused, OutcomeUnknown, ProtocolViolation, VenueRefused, VenueRetry
from propbot.domain.instruments import Instrument, Kind, VenueId
from propbot.domain.lots import Intent, Lot, LotState
from propbot.domain.mode import ExposureChange, GateState
from propbot.domain.money import ZERO, amount_text, floor_to_step
from propbot.domain.orders import OrderRequest, Purpose, Side
from propbot.domain.pnl import lot_realised
from propbot.execution.blotter import Blotter
from propbot.execution.gate import GateClosed, gate_refusal
from propbot.execution.ports import Market, OrderGateway, OrderLedger
from propbot.kit.crash import CrashPoints
from propbot.kit.ids import Ids
from propbot.kit.trace import Trace, no_trace

BLIND_LOOKS_AT_HEDGE = 3
"""So often the hedge's book is looked at, 50 ms apart, before the leg that is ahead may be unwound instead."""


@frozen
class ExecutionRules:
    max_slippage_bps: Decimal
    hedge_slippage_bps_max: Decimal
    """A hedge may pay more than an entry, but not without bound."""
    hedge_deadline_s: float
    hedge_attempts: int = 3
    """On each of the two venues."""


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
    _concluding: trio.Lock = field(factory=trio.Lock)

    async def execute(self, intent: Intent, lot: Lot | None = None) -> None:
        """Make `intent` (and a new `lot`) durable, then send its legs; returns when each was answered, refused or is
        UNKNOWN. Cancelled midway: every leg whose first byte left is UNKNOWN, every other one NEVER_SENT."""
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
        lot = self.blotter.lots[lot_id]
        unmet = [venue for venue in (lot.buy_venue, lot.sell_venue) if venue not in self.market.instruments]
        if unmet:
            exposure = sum(self.blotter.lot_base(lot_id).values(), ZERO)
            return Stuck(lot_id, exposure, f"{unmet[0]} has not been met yet")
        stuck: Stuck | None = Stuck(lot_id, ZERO, "an order's outcome is unknown")
        with trio.move_on_after(deadline_s * 0.9):
            await self.blotter.wait_certain(lot_id)
            stuck = await self._equalise(lot, self.clock.mono_s() + deadline_s * 0.8)
        if stuck is not None:
            return evolve(stuck, exposure=sum(self.blotter.lot_base(lot_id).values(), ZERO))
        with trio.move_on_after(deadline_s):
            await self.blotter.wait_settled(lot_id)
        await self._give_next_state(lot)
        return None

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
            if refusal is not None:
                raise GateClosed(refusal)
            self.blotter.mark_sending(client_order_id)
            if self.trace is not no_trace:
                self._trace_send(leg, state, change)

        try:
            report = await self.gateways[leg.venue].place(leg, last_check, self.crash)
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

    def _trace_send(self, leg: OrderRequest, state: GateState, change: ExposureChange) -> None:
        self.trace(
            "order_send", client_order_id=leg.client_order_id, venue=leg.venue, symbol=leg.symbol,
            side=str(leg.side), purpose=str(leg.purpose), qty=amount_text(leg.qty),
            price=None if leg.limit_price is None else amount_text(leg.limit_price),
            reduce_only=leg.reduce_only, mode=str(state.mode), books=dict(self.market.book_ids()),
            exposure_before=amount_text(change.before), exposure_after=amount_text(change.after),
        )

    # --- unequal legs

    async def _equalise(self, lot: Lot, give_up_mono_s: float) -> Stuck | None:
        """Hedge, then unwind, until what is left can't be traded any more; Stuck if it still could be.

        Books that can't be trusted cost no attempt: they are waited for, the hedge's a moment longer than the unwind's.
        """
        tries: dict[VenueId, int] = {}
        blind_looks = 0
        reason = ""
        while True:
            imbalance = sum(self.blotter.lot_base(lot.id).values(), ZERO)
            options = list(self._ways_to_reduce(lot, imbalance))
            if not options:
                return None  # equal, or dust
            untried = [option for option in options if tries.get(option.venue, 0) < self.rules.hedge_attempts]
            if not untried:
                return Stuck(lot.id, imbalance, reason or "no venue would take the hedge")
            hedge_first = untried[:1] if blind_looks < BLIND_LOOKS_AT_HEDGE else untried
            found = (self._priced(option, tries.get(option.venue, 0) + 1) for option in hedge_first)
            priced = next((order for order in found if order is not None), None)
            if priced is None:
                reason = f"{untried[0].venue}: its book can't be trusted"
                if self.clock.mono_s() >= give_up_mono_s:
                    return Stuck(lot.id, imbalance, reason)
                blind_looks += 1
                await trio.sleep(0.05)
                continue
            tries[priced.venue] = tries.get(priced.venue, 0) + 1
            intent = Intent(
                self.ids.name("intent"), lot.pair, priced.purpose, lot.id, (priced,), self.clock.wall_ns(),
                decided_on=dict(self.market.book_ids()),
            )
            await self.execute(intent)
            await self.blotter.wait_certain(lot.id)
            reason = self._last_reason(priced.client_order_id) or reason

    def _last_reason(self, client_order_id: str) -> str:
        order = self.blotter.orders.get(client_order_id)
        return "" if order is None else order.reason

    def _ways_to_reduce(self, lot: Lot, imbalance: Decimal) -> Iterator[OrderRequest]:
        """Orders without a price that would lower `imbalance`, the hedge before the unwind. Nothing for dust.

        Opening: the leg that is behind is hedged, the leg that is ahead would be unwound. Closing: the same, with
        the venues' parts exchanged, since there the leg that is ahead is the one that has closed already.
        """
        if imbalance == 0:
            return
        side = Side.SELL if imbalance > 0 else Side.BUY
        opening_order = (lot.sell_venue, lot.buy_venue) if side is Side.SELL else (lot.buy_venue, lot.sell_venue)
        venues = opening_order if lot.state is not LotState.CLOSING else opening_order[::-1]
        base = self.blotter.lot_base(lot.id)
        for venue, purpose in zip(venues, (Purpose.HEDGE, Purpose.UNWIND), strict=True):
            instrument = self.market.instruments[venue]
            qty = floor_to_step(abs(imbalance) + self._rounding_of(instrument), instrument.lot_step)
            reduces = base.get(venue, ZERO) * side.sign < 0
            reduce_only = instrument.kind is Kind.PERP and reduces and abs(base[venue]) >= qty
            if self._is_legal(instrument, qty, reduce_only):
                yield OrderRequest(
                    self.ids.client_order_id(), venue, instrument.symbol, side, purpose, qty, None,
                    reduce_only=reduce_only,
                )

    def _rounding_of(self, instrument: Instrument) -> Decimal:
        """How much more than the imbalance an order may be: the rounding that a fee in base and the finest step leave.

        Without it 0.015998 naked would be hedged as 0.015 on a venue that steps by 0.001, and the rest on the other
        one: two small positions that belong to nobody.
        """
        finest = min(each.lot_step for each in self.market.instruments.values())
        return finest * 2 if instrument.lot_step > finest * 10 else ZERO

    def _is_legal(self, instrument: Instrument, qty: Decimal, reduce_only: bool) -> bool:
        if qty <= 0 or qty < instrument.qty_min:
            return False
        mark = self.market.mark(instrument.venue)
        # without a mark the venue may refuse it; that costs an attempt, skipping it would leave a leg naked
        return reduce_only or mark is None or qty * mark >= instrument.notional_min

    def _priced(self, order: OrderRequest, attempt: int) -> OrderRequest | None:
        """Bounded in price: each attempt may pay more, up to the bound."""
        slippage_bps = min(self.rules.max_slippage_bps * (1 + 2 * attempt), self.rules.hedge_slippage_bps_max)
        limit = self.market.walk_limit(order.venue, order.side, order.qty, slippage_bps)
        return None if limit is None else evolve(order, limit_price=limit)

    # --- the lot's next state

    async def _give_next_state(self, lot: Lot) -> None:
        """Both legs are equal: what is left of the lot is OPEN, or nothing is and it is CLOSED.

        A lot whose fills have not all arrived keeps its state; the next round concludes it.
        """
        if not all(order.settled for order in self.blotter.lot_orders(lot.id)):
            return
        base = self.blotter.lot_base(lot.id)
        step = max(instrument.lot_step for instrument in self.market.instruments.values())
        bought, sold = base.get(lot.buy_venue, ZERO), -base.get(lot.sell_venue, ZERO)
        # they differ by dust only; the larger one, or a lot of one step that used up dust would count as nothing
        qty = floor_to_step(max(bought, sold), step) if min(bought, sold) > 0 else ZERO
        if qty > 0:
            changed = evolve(lot, state=LotState.OPEN, qty=qty, exit_reason="")
        else:
            realised = lot_realised(self.blotter.lot_fills.get(lot.id, []))
            never_filled = lot.state is LotState.OPENING and not self.blotter.lot_fills.get(lot.id)
            changed = evolve(
                lot, state=LotState.CLOSED, closed_ns=self.clock.wall_ns(), realised=realised,
                exit_reason="NOT_FILLED" if never_filled else lot.exit_reason or "UNWOUND",
            )
        await self.ledger.save_lot(changed)
        self.blotter.put_lot(changed)
        self.blotter.forget_settled(lot.id)
        self.trace("lot", lot_id=lot.id, state=str(changed.state), qty=amount_text(changed.qty))


