"""The blotter: what we know of our orders, fills, positions and lots at this moment, in memory, with one writer.

Everything that learns something (an answer to an order, the private stream, a query, the venue's trade list) calls
`observe_*`, which is synchronous: knowledge counts at once, for the gate, for hedging, for HOLD. What must become
durable is put into the outbox, which the bookkeeper writes to the ledger in order. A crash in between loses nothing:
the intent was durable before the order left, and the venue's trades are asked for again from the watermark.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

import trio
from attrs import define, field

from propbot.domain.clock import Clock
from propbot.domain.instruments import VenueId
from propbot.domain.lots import FillRow, Intent, Lot, LotState, OrderRow
from propbot.domain.mode import ExposureChange
from propbot.domain.money import ZERO, amount_text
from propbot.domain.orders import Fill, Funding, OrderReport, OrderRequest, OrderState
from propbot.domain.pnl import PositionAccount
from propbot.execution.order_log import OrderLog
from propbot.kit.trace import Trace

DONE_KEYS_KEPT = 5_000


@define
class LiveOrder:
    """An order of ours until its outcome and all of its fills are known and its lot is concluded."""

    request: OrderRequest
    intent_id: str
    lot_id: str
    state: OrderState
    order_id: str = ""
    filled_qty: Decimal = ZERO
    """The most that any message said."""
    booked_qty: Decimal = ZERO
    """Σ fills that we have seen one by one."""
    reason: str = ""
    sent_mono_s: float | None = None
    """When its first byte left, or may have (a restart does not know: then when it was loaded)."""
    not_found: int = 0
    """How often the venue has said that it does not know it."""
    fill_keys: list[tuple[str, str, str, str]] = field(factory=list)
    """Of the fills that we have seen."""
    presumed_dead: bool = False
    """It can no longer execute (its window at the venue has passed and the venue does not know it), but that is
    not yet proof enough for NEVER_SENT. Hedging goes on without it."""

    @property
    def settled(self) -> bool:
        """The outcome is known, and every fill of it is in the accounts."""
        return self.state.terminal and self.booked_qty >= self.filled_qty

    @property
    def uncertain(self) -> bool:
        return not (self.state.terminal or self.presumed_dead)

    @property
    def pending_base(self) -> Decimal:
        """Signed base that the venue reported as filled and whose fills we have not seen."""
        return self.request.side.sign * max(self.filled_qty - self.booked_qty, ZERO)


@define
class OutboxItem:
    """One durable write that is due: an order's new state, or fills (ours, or of an order that we do not know)."""

    order: LiveOrder | None = None
    state: OrderState | None = None
    fills: tuple[Fill, ...] = ()
    funding: Funding | None = None


@define(eq=False)
class Blotter:
    """Synchronous, no checkpoint anywhere; `changed` wakes those who wait for an outcome."""

    accounts: dict[VenueId, PositionAccount]
    clock: Clock
    trace: Trace
    orders: dict[str, LiveOrder] = field(factory=dict)
    """By client order id; only those that are not done with."""
    lots: dict[str, Lot] = field(factory=dict)
    """Live lots, oldest first."""
    lot_fills: dict[str, list[FillRow]] = field(factory=dict)
    fill_counts: dict[VenueId, int] = field(factory=dict)
    """Fills in each account since the ledger began."""
    outcomes: dict[tuple[VenueId, OrderState], int] = field(factory=dict)
    """How many orders of this life ended so at their venue."""
    funding_last_ms: dict[VenueId, int] = field(factory=dict)
    """Venue wall clock of the newest funding payment in each account."""
    activity: int = 0
    """Grows with everything that could make a venue's answer and our books differ for a moment."""
    log: OrderLog = field(factory=OrderLog)
    _outbox: list[OutboxItem] = field(factory=list)
    _outbox_grew: trio.Event = field(factory=trio.Event)
    _changed: trio.Event = field(factory=trio.Event)
    _seen: set[tuple[str, str, str, str]] = field(factory=set)
    """Keys of fills of live orders, and the last of those done with. What comes again later the ledger knows."""
    _done_with: deque[tuple[str, str, str, str]] = field(factory=deque)
    _handed_on: set[tuple[str, str, str, str]] = field(factory=set)
    """Keys of fills that we could not name and that the ledger was given since any order last changed: given again
    and again, a reconciliation that meets one would never find the books at rest. What the ledger makes of one
    depends on the orders that it knows."""
    _by_order_id: dict[tuple[VenueId, str], str] = field(factory=dict)
    _lot_base: dict[str, dict[VenueId, Decimal]] = field(factory=dict)
    _exposure_told: Decimal = field(default=ZERO)

    # --- loading, at a start

    def load(
        self,
        fills: Iterable[FillRow],
        lots: Iterable[Lot],
        unfinished: Iterable[OrderRow],
        funding: Iterable[Funding] = (),
    ) -> None:
        """Take up what the ledger has. Orders without an outcome are UNKNOWN now: they may have been sent."""
        self.lots = {lot.id: lot for lot in lots}
        self.lot_fills = {lot_id: [] for lot_id in self.lots}
        for row in unfinished:
            state = row.state if row.state.terminal else OrderState.UNKNOWN
            live = LiveOrder(row.request, row.intent_id, row.lot_id, state, row.order_id, row.filled_qty)
            live.sent_mono_s = self.clock.mono_s()
            self._keep(live)
        for fill_row in fills:
            if fill_row.simulated:
                continue
            self._book(fill_row)
            order = self._find_by_order_id(fill_row.fill.venue, fill_row.fill.order_id)
            if order is not None:
                self._note_seen(order, fill_row.fill)
        for payment in funding:
            self._take_funding(payment)
        self._tell_exposure()

    # --- orders

    def register(self, intent: Intent) -> None:
        """The intent is durable; its orders may be sent now."""
        for leg in intent.legs:
            self._keep(LiveOrder(leg, intent.id, intent.lot_id, OrderState.INTENT))
        self.log.note_intent(intent)
        self.activity += 1

    def mark_sending(self, client_order_id: str) -> None:
        """Called with no checkpoint before the first byte: from here on it may exist at the venue."""
        order = self.orders[client_order_id]
        order.sent_mono_s = self.clock.mono_s()
        self._move(order, OrderState.SENT, durable=False)

    def mark_never_sent(self, client_order_id: str, reason: str) -> None:
        """Known here: not one byte left, or everybody agrees that it never arrived."""
        self._settle_unless_gone(client_order_id, OrderState.NEVER_SENT, reason)

    def mark_rejected(self, client_order_id: str, reason: str) -> None:
        self._settle_unless_gone(client_order_id, OrderState.REJECTED, reason)

    def mark_unknown(self, client_order_id: str, reason: str) -> None:
        """No answer, or none that says. A report that came meanwhile (the private stream's) already told more."""
        order = self.orders.get(client_order_id)
        if order is not None and order.state in (OrderState.INTENT, OrderState.SENT):
            self._move(order, OrderState.UNKNOWN, reason=reason)

    def _settle_unless_gone(self, client_order_id: str, state: OrderState, reason: str) -> None:
        """The private stream may have told all of an order, and its lot be concluded, before its answer was lost."""
        order = self.orders.get(client_order_id)
        if order is not None:
            self._move(order, state, reason=reason)

    def observe_report(self, report: OrderReport) -> bool:
        """Merge what the venue says of one order; False if the order is not one of ours that is alive."""
        order = self.orders.get(report.client_order_id) or self._find_by_order_id(report.venue, report.order_id)
        if order is None:
            self.observe_fills(report.fills)
            return False
        if report.order_id and not order.order_id:
            order.order_id = report.order_id
            self._by_order_id[(report.venue, report.order_id)] = order.request.client_order_id
            self._handed_on.clear()
        grew = report.filled_qty > order.filled_qty
        if grew:
            order.filled_qty = report.filled_qty
            self.activity += 1
        self.observe_fills(report.fills)
        if not order.state.terminal and (order.state is not report.state or grew):
            self._move(order, report.state, reason=report.reason)
        else:
            self._woke()
        return True

    def observe_fills(self, fills: Sequence[Fill]) -> None:
        """Each fill counts once, whoever brings it. One whose order we can't name goes to the bookkeeper, who asks
        the ledger; it is never guessed."""
        ours: list[Fill] = []
        unnamed: list[Fill] = []
        for fill in fills:
            if fill.key in self._seen:
                continue
            order = self.orders.get(fill.client_order_id) or self._find_by_order_id(fill.venue, fill.order_id)
            if order is None:
                if fill.key not in self._handed_on:
                    self._handed_on.add(fill.key)
                    unnamed.append(fill)
                continue
            self._note_seen(order, fill)
            order.filled_qty = max(order.filled_qty, order.booked_qty)
            row = FillRow(fill, order.lot_id, order.request.purpose, self.clock.wall_ns())
            self._apply(row)
            self.log.note_fill(order.request.client_order_id, row)
            ours.append(fill)
        for group in (ours, unnamed):
            if group:
                self._post(OutboxItem(fills=tuple(group)))
        if ours:
            self._woke()

    def may_explain(self, fill: Fill) -> bool:
        """Whether a fill of an order that we can't name may be one of an order whose venue id we don't know yet. Lists
        of trades carry no client id."""
        if fill.client_order_id or fill.key in self._seen or self._find_by_order_id(fill.venue, fill.order_id):
            return False
        return any(
            order.request.venue == fill.venue and order.request.side is fill.side and fill.qty <= order.request.qty
            for order in self.orders.values()
            if not order.order_id and order.uncertain and order.sent_mono_s is not None
        )

    def observe_funding(self, funding: Funding) -> None:
        """A funding payment counts once, by its income id."""
        if self._take_funding(funding):
            self.activity += 1
            self._post(OutboxItem(funding=funding))

    def adopt(self, rows: Sequence[FillRow], *, news: bool = True) -> None:
        """Fills that the ledger could name though the blotter could not (orders of an earlier life). Not `news`: the
        log of that life has them."""
        for row in rows:
            if row.fill.key not in self._seen:
                self._seen.add(row.fill.key)
                self._remember([row.fill.key])
                self._apply(row)
                if news:
                    self.log.note_fill(row.fill.client_order_id, row)
        if rows:
            self._woke()

    def forget_settled(self, lot_id: str) -> None:
        """The lot is concluded: its settled orders need no memory any more."""
        for client_order_id, order in list(self.orders.items()):
            if order.lot_id == lot_id and order.settled:
                del self.orders[client_order_id]
                self._by_order_id.pop((order.request.venue, order.order_id), None)
                self._remember(order.fill_keys)

    # --- lots

    def put_lot(self, lot: Lot) -> None:
        """A new or changed lot; a CLOSED one leaves."""
        if lot.state is LotState.CLOSED:
            self.lots.pop(lot.id, None)
            self.lot_fills.pop(lot.id, None)
            self._lot_base.pop(lot.id, None)
        else:
            self.lots[lot.id] = lot
            self.lot_fills.setdefault(lot.id, [])

    def lot_orders(self, lot_id: str) -> list[LiveOrder]:
        return [order for order in self.orders.values() if order.lot_id == lot_id]

    def lot_base(self, lot_id: str) -> dict[VenueId, Decimal]:
        """Signed base of the lot on each venue, net of fees taken in base, fills still to come included."""
        base = dict(self._lot_base.get(lot_id, {}))
        for order in self.lot_orders(lot_id):
            venue = order.request.venue
            base[venue] = base.get(venue, ZERO) + order.pending_base
        return base

    # --- what is held

    def position(self, venue: VenueId) -> Decimal:
        """Signed base on `venue`; on spot relative to the baseline."""
        pending = sum((o.pending_base for o in self.orders.values() if o.request.venue == venue), ZERO)
        return self.accounts[venue].qty + pending

    def exposure(self) -> Decimal:
        """Net base over all venues, dust included."""
        return sum((self.position(venue) for venue in self.accounts), ZERO)

    def exposure_change(self, order: OrderRequest) -> ExposureChange:
        before = self.exposure()
        return ExposureChange(before, before + order.side.sign * order.qty)

    def dust(self) -> Decimal:
        """Net base that belongs to no live lot: what rounding has left over."""
        in_lots = sum((sum(self.lot_base(lot_id).values(), ZERO) for lot_id in self.lots), ZERO)
        return self.exposure() - in_lots

    def in_flight(self, venue: VenueId | None = None) -> list[LiveOrder]:
        """Orders whose outcome is open, on one venue or all."""
        return [
            order for order in self.orders.values()
            if not order.settled and (venue is None or order.request.venue == venue)
        ]

    # --- waiting

    async def wait_change(self) -> None:
        await self._changed.wait()

    async def wait_certain(self, lot_id: str) -> None:
        """Until no order of the lot can change the exposure any more (known, or presumed dead)."""
        while any(order.uncertain for order in self.lot_orders(lot_id)):
            await self._changed.wait()

    async def wait_settled(self, lot_id: str) -> None:
        while not all(order.settled for order in self.lot_orders(lot_id)):
            await self._changed.wait()

    async def take_outbox(self) -> list[OutboxItem]:
        """What must become durable, oldest first; waits until there is something."""
        while not self._outbox:
            await self._outbox_grew.wait()
        taken, self._outbox = self._outbox, []
        return taken

    @property
    def outbox_size(self) -> int:
        return len(self._outbox)

    # --- inside

    def _keep(self, order: LiveOrder) -> None:
        self.orders[order.request.client_order_id] = order
        if order.order_id:
            self._by_order_id[(order.request.venue, order.order_id)] = order.request.client_order_id

    def _find_by_order_id(self, venue: VenueId, order_id: str) -> LiveOrder | None:
        client_order_id = self._by_order_id.get((venue, order_id))
        return self.orders.get(client_order_id) if client_order_id else None

    def _move(self, order: LiveOrder, state: OrderState, *, reason: str = "", durable: bool = True) -> None:
        """Forward only: a terminal state stays. `durable=False` where the ledger needs no row of its own."""
        if order.state.terminal:
            return
        order.state = state
        order.reason = reason or order.reason
        if state.terminal:
            ended = (order.request.venue, state)
            self.outcomes[ended] = self.outcomes.get(ended, 0) + 1
        self._handed_on.clear()
        self.activity += 1
        self.trace(
            "order_state", client_order_id=order.request.client_order_id, intent_id=order.intent_id, state=str(state)
        )
        self.log.note_state(order.request, order.lot_id, state, order.reason)
        if durable:
            self._post(OutboxItem(order=order, state=state))
        self._woke()

    def _apply(self, row: FillRow) -> None:
        fill = row.fill
        self._book(row)
        self.activity += 1
        self.trace(
            "fill_known", venue=fill.venue, symbol=fill.symbol, order_id=fill.order_id, trade_id=fill.trade_id,
            qty=amount_text(fill.qty),
        )

    def _book(self, row: FillRow) -> None:
        venue = row.fill.venue
        effect = self.accounts[venue].apply(row.fill)
        self.fill_counts[venue] = self.fill_counts.get(venue, 0) + 1
        if row.lot_id in self.lots:
            self.lot_fills[row.lot_id].append(row)
            base = self._lot_base.setdefault(row.lot_id, {})
            base[venue] = base.get(venue, ZERO) + effect.base_change

    def _remember(self, keys: Iterable[tuple[str, str, str, str]]) -> None:
        """Keys of fills whose order is done with: the last ones stay known, so that what the bookkeeper still has in
        its hands is not counted twice; the memory of a long run stays bounded."""
        self._done_with.extend(keys)
        while len(self._done_with) > DONE_KEYS_KEPT:
            self._seen.discard(self._done_with.popleft())

    def _note_seen(self, order: LiveOrder, fill: Fill) -> None:
        key = fill.key  # one object in both: it stays for long
        self._seen.add(key)
        order.fill_keys.append(key)
        order.booked_qty += fill.qty

    def _take_funding(self, funding: Funding) -> bool:
        key = (funding.venue, "", "funding", funding.income_id)  # not every source names the symbol
        if key in self._seen or funding.venue not in self.accounts:
            return False
        self._seen.add(key)
        self.accounts[funding.venue].apply_funding(funding)
        self.funding_last_ms[funding.venue] = max(self.funding_last_ms.get(funding.venue, 0), funding.ts_ms)
        return True

    def _post(self, item: OutboxItem) -> None:
        self._outbox.append(item)
        self._outbox_grew.set()
        self._outbox_grew = trio.Event()

    def _woke(self) -> None:
        self._tell_exposure()
        self._changed.set()
        self._changed = trio.Event()

    def wake(self) -> None:
        """Somebody changed an order in place (presumed dead)."""
        self.activity += 1
        self._woke()

    def _tell_exposure(self) -> None:
        exposure = self.exposure()
        if exposure != self._exposure_told:
            self._exposure_told = exposure
            self.trace("exposure", base=amount_text(exposure))


def unbooked(orders: Mapping[str, LiveOrder]) -> list[LiveOrder]:
    """Orders whose outcome is known but some of whose fills have not arrived one by one."""
    return [order for order in orders.values() if order.filled_qty > order.booked_qty and order.order_id]


