"""One tick's journey: book → spread → decision → risk → gate → execution.

`on_book` runs in the feed reader's task after each applied frame: it keeps the basis and screens in floats, a few
microseconds, no await. Only when something looks worth doing does it wake `run`, the one task of the execution scope,
which decides in Decimals and sends. One pair of orders is under way at a time.

With dry_run_only the same decisions go to the simulator in the executor's place, over lots of its own; the real lots
wait, untouched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from math import floor, inf, isnan

import trio
from attrs import define, evolve, field, frozen

from propbot.books.ladder import Walk
from propbot.decision.decide import (
    ExitRules,
    compute_leg_qty,
    compute_limit_price,
    compute_lot_qty,
    compute_lot_step,
    compute_smallest_qty,
    decide_exit,
)
from propbot.domain.clock import Clock
from propbot.domain.instruments import Instrument, Kind, VenueId
from propbot.domain.lots import Intent, Lot, LotState
from propbot.domain.mode import GateState, Mode
from propbot.domain.money import ZERO, amount_text
from propbot.domain.orders import OrderRequest, Purpose, Side
from propbot.execution.blotter import Blotter
from propbot.execution.executor import Executor, Stuck
from propbot.execution.simulation import SimulatedExecutor
from propbot.kit.ids import Ids
from propbot.kit.trace import Trace, no_trace
from propbot.kit.window import Window
from propbot.market import TradingMarket, is_absurd
from propbot.risk.limits import Approved, Holdings, Limits, Refused, check_intent
from propbot.spread.edge import Costs, Edge, Prices, compute_edge
from propbot.spread.reference import MovingBasis
from propbot.spread.screen import SLACK_BPS, Terms, compute_edges_bps

SIZE_SHY = 0.999
"""The decision divides by the mean of both mids, the screen by the first one: they are never this far apart."""
TERMS_GOOD_S = 1.0
"""How long the screen goes on with the fees and the funding that it knows."""
REFUSED_PAUSE_S = 0.1
"""What risk refused is not decided again with each frame while nothing of ours has moved."""
FIRST_PAUSE_S = 0.125
PAUSE_DOUBLINGS_MAX = 6
TIMED_S = 600.0
"""How far back the way from tick to order is measured."""
KEPT_BPS = Decimal("0.001")
"""What is kept of an edge in the ledger; more digits say nothing."""


@frozen
class TradeRules:
    """What an operator may change while the service runs."""

    order_notional: Decimal
    min_spread_bps: Decimal
    max_slippage_bps: Decimal
    expected_slippage_bps: Decimal
    exits: ExitRules
    poll_interval_s: float
    moving_reference: bool
    loop_venues: tuple[VenueId, ...]
    """Where lots may be opened: some of the pipeline's venues, in its order. Open lots are closed wherever they are."""


@frozen
class Opportunity:
    """An entry in one direction, priced for its full size."""

    buy: VenueId
    sell: VenueId
    edge: Edge[Decimal]
    qty: Decimal
    legs: tuple[OrderRequest, OrderRequest]


Walks = tuple[Walk, Walk, Walk, Walk]
_NO_TERMS = Terms(0.0, 0.0, 0.0, 1.0, -inf)


def _averages(walks: Walks) -> Prices[Decimal]:
    return Prices(*(walk.avg_price for walk in walks))


def _refusal_text(refused: Refused) -> str:
    return f"risk: {refused.message} (limit {refused.limit}, value {refused.value})"


@define(eq=False)
class Pipeline:
    """One pair on two venues; with fewer it watches and says so."""

    pair: str
    venues: tuple[VenueId, ...]
    market: TradingMarket
    basis: MovingBasis
    rules: TradeRules
    limits: Limits
    executor: Executor
    simulator: SimulatedExecutor
    gate_state: Callable[[], GateState]
    unusable: Callable[[VenueId], str | None]
    """Why a venue can't be used, beyond its book: feed, private stream, reconciliation, pauses."""
    balances: Callable[[bool], Mapping[tuple[VenueId, str], Decimal]]
    """What can be spent; with True, after what the simulated fills would have done."""
    on_stuck: Callable[[Stuck], None]
    on_drained: Callable[[], None]
    on_failed_pairs: Callable[[int], None]
    """That many pairs in a row failed: whoever caps it may have to enter HOLD now."""
    clock: Clock
    ids: Ids
    trace: Trace
    orders_last_minute: Callable[[], int] = lambda: 0
    """What left, over all venues."""
    why_not: str = "starting"
    refusals: tuple[Refused, ...] = ()
    decisions: int = 0
    failed_in_a_row: int = 0
    """Real pairs that filled nothing or had to be unwound, since the last that succeeded or since trading was armed."""
    simulating: bool = False
    """Set by each tick: decisions are for the simulator and its lots."""
    tick_to_order_ms: Window = field(factory=lambda: Window(TIMED_S), init=False)
    """From the arrival of the frame that woke the trading task to the first byte of the first order decided on it."""
    _wake: trio.Event = field(factory=trio.Event)
    _woken_mono_s: float | None = field(default=None, init=False)
    """When the frame came that woke the trading task; the newest of several, since on that one it decides."""
    _acting_on_mono_s: float | None = field(default=None, init=False)
    _timed: tuple[str, float] | None = field(default=None, init=False)
    """The intent whose first byte is waited for, and when its frame came."""
    _terms: Terms = field(default=_NO_TERMS, init=False)
    _refused_until_mono_s: float = field(default=-inf, init=False)

    @property
    def blotter(self) -> Blotter:
        """The lots and accounts that are decided on: the real ones, or the dry run's."""
        return self.simulator.blotter if self.simulating else self.executor.blotter

    # --- the reader's task: no await, no Decimal

    def on_book(self, venue: VenueId) -> None:
        """A frame of `venue` was applied, or its book was lost."""
        if len(self.venues) < 2 or len(self.market.fees) < len(self.venues):
            return  # a single venue, or one that has not been met yet
        first, second = (self.market.books[each] for each in self.venues)
        now = self.clock.mono_s()
        if not (first.synced and second.synced):
            self.basis.pause(now)
            return
        bid, ask, other_bid, other_ask = first.best_bid, first.best_ask, second.best_bid, second.best_ask
        mids, other_mids = bid + ask, other_bid + other_ask
        if is_absurd(mids, other_mids) or not self.market.note_mids(self.venues, mids, other_mids, now):
            self.basis.pause(now)  # one second of it would spoil the basis for minutes
            return
        self.basis.observe((other_mids - mids) / (mids + other_mids) * 20_000.0, now)
        if self.blotter.lots or self._pays(bid, ask, other_bid, other_ask, now):
            self._look_closer(now)

    def wake(self) -> None:
        """Something else than a book changed: a mode, an outcome, a parameter."""
        self._terms = _NO_TERMS
        self._refused_until_mono_s = -inf
        self._wake.set()

    def _pays(self, bid: float, ask: float, other_bid: float, other_ask: float, now_mono_s: float) -> bool:
        """Whether an entry in either direction would pay at these prices."""
        terms = self._terms_of(now_mono_s)
        there, back = compute_edges_bps(bid, ask, other_bid, other_ask, self.reference_bps(self.venues[0]))
        least = terms.least - SLACK_BPS
        return there - terms.there_costs >= least or back - terms.back_costs >= least

    def _terms_of(self, now_mono_s: float) -> Terms:
        if self._terms.good_until_mono_s < now_mono_s:
            self._terms = self._make_terms(now_mono_s)
        return self._terms

    def _make_terms(self, now_mono_s: float) -> Terms:
        first, second = self.venues
        fees, rules = self.market.fees, self.rules
        fixed = (fees[first].taker_bps + fees[second].taker_bps) * 2 + rules.expected_slippage_bps
        least = inf if self.too_few_venues() else float(rules.min_spread_bps)
        return Terms(
            float(fixed + self._funding_bps(first, second)), float(fixed + self._funding_bps(second, first)),
            least, float(compute_lot_step(self._instruments())), now_mono_s + TERMS_GOOD_S,
        )

    def _look_closer(self, now_mono_s: float) -> None:
        """Wake the trading task if an entry pays for its full size, or a lot may be due."""
        bid, ask, other_bid, other_ask = walked = self._walk_roughly(self._terms_of(now_mono_s))
        if self._pays(*walked, now_mono_s) or (
            self.blotter.lots and self._may_be_due(bid + ask, other_bid + other_ask)
        ):
            self._woken_mono_s = max(self.market.books[each].last_frame_mono_s or 0.0 for each in self.venues)
            self._wake.set()

    def _walk_roughly(self, terms: Terms) -> tuple[float, float, float, float]:
        """(bid, ask) of the first and of the second book: average prices for the order's size, in floats. The size is
        rounded down to lots as the decision does it, and rather a lot too low: a larger one would promise less."""
        first, second = (self.market.books[each] for each in self.venues)
        step = terms.lot_step
        size = max(floor(float(self.rules.order_notional) / first.mid * SIZE_SHY / step), 1) * step
        return (
            first.screen_avg(Side.SELL, size), first.screen_avg(Side.BUY, size),
            second.screen_avg(Side.SELL, size), second.screen_avg(Side.BUY, size),
        )

    def _may_be_due(self, mids: float, other_mids: float) -> bool:
        """`compute_edge`'s deviation in each lot's direction, against the exits. `mids` are twice a mid each."""
        exits = self.rules.exits
        exit_bps, stop_bps = float(exits.exit_edge_bps) + SLACK_BPS, float(exits.stop_bps)
        deviation = (other_mids - mids) / (mids + other_mids) * 20_000.0 - self.reference_bps(self.venues[0])
        for lot in self.blotter.lots.values():
            if lot.state is LotState.OPEN:
                gap = deviation if lot.buy_venue == self.venues[0] else -deviation
                if gap <= exit_bps or gap - float(lot.entry_bps) >= stop_bps:
                    return True
        return False

    def measure_edges(self) -> Mapping[str, float]:
        """`buy>sell` → net edge in bps for the full size, now; NaN where a book can't fill it, nothing where one can't
        be trusted."""
        if len(self.venues) < 2 or len(self.market.fees) < len(self.venues):
            return {}
        if not all(self.market.books[venue].synced for venue in self.venues):
            return {}
        nets = self._nets(self._make_terms(self.clock.mono_s()))  # not the kept ones: who reads changes nothing
        return {f"{buy}>{sell}": net for (buy, sell), net in zip(self._directions(), nets, strict=True)}

    def _nets(self, terms: Terms) -> tuple[float, float]:
        """Net edges in bps for the order's size, in floats, in the order of `_directions`."""
        there, back = compute_edges_bps(*self._walk_roughly(terms), self.reference_bps(self.venues[0]))
        return there - terms.there_costs, back - terms.back_costs

    def _funding_bps(self, buy: VenueId, sell: VenueId) -> Decimal:
        held_s_max = self.rules.exits.age_s_max
        return self.market.funding_bps(buy, Side.BUY, held_s_max) + self.market.funding_bps(sell, Side.SELL, held_s_max)

    def reference_bps(self, buy: VenueId) -> float:
        """The reference in the direction that buys on `buy`, sell mid over buy mid."""
        if not self.rules.moving_reference:
            return 0.0
        value = self.basis.value_bps or 0.0
        return value if buy == self.venues[0] else -value

    # --- the execution scope's task

    async def run(self) -> None:
        """Until cancelled, at first at once: act when woken, and look at least every `poll_interval_s`."""
        self.failed_in_a_row = 0  # armed again: whoever resumed has seen what failed
        while True:
            self._acting_on_mono_s, self._woken_mono_s = self._woken_mono_s, None
            acted = await self.tick()
            if acted and self.failed_in_a_row:  # not after a mere look: exits must not wait for it
                await self._pause_after_failure()
            if acted:
                await trio.lowlevel.checkpoint()
                continue
            with trio.move_on_after(self.rules.poll_interval_s):
                await self._wake.wait()
            self._wake = trio.Event()

    async def _pause_after_failure(self) -> None:
        """A pair that filled nothing, or had to be unwound, costs money each time: tell it, and wait longer after
        each."""
        self.on_failed_pairs(self.failed_in_a_row)
        await trio.sleep(FIRST_PAUSE_S * 2.0 ** min(self.failed_in_a_row, PAUSE_DOUBLINGS_MAX))

    async def tick(self) -> bool:
        """Conclude what is half done, else close what is due, else open what pays. True if something was sent (or
        simulated)."""
        for lot in list(self.executor.blotter.lots.values()):
            if self.executor.needs_concluding(lot):
                stuck = await self.executor.conclude(lot.id)
                if stuck is not None:
                    self.on_stuck(stuck)
                    return False
        state = self.gate_state()
        self.simulating = state.dry_run_only
        self.why_not = self._blocked(state) or ""
        if self.why_not:
            return False
        exit_ = self._choose_exit(draining=state.mode is Mode.DRAIN)
        if exit_ is not None:
            return await self._close(*exit_)
        if state.mode is Mode.DRAIN:
            self.why_not = "draining: nothing is opened"
            return await self._finish_draining()
        if any(lot.state is not LotState.OPEN for lot in self.blotter.lots.values()):
            self.why_not = "the outcome of the last pair is not wholly known yet"
            return False
        if self.refusals and self.clock.mono_s() < self._refused_until_mono_s:
            self.why_not = _refusal_text(self.refusals[0])
            return False
        return await self._open(self._choose_entry())

    async def _finish_draining(self) -> bool:
        """No lot is left to close now: flat, or exposure that belongs to no lot is taken back first."""
        real = self.executor.blotter
        if self.blotter.lots or real.lots or real.in_flight():
            return False
        if abs(real.exposure()) < compute_lot_step(self._instruments()):
            self.on_drained()
            return False
        stuck = await self.executor.take_back_orphan()
        if stuck is not None:
            self.on_stuck(stuck)
        return stuck is None

    def _blocked(self, state: GateState) -> str | None:
        if state.safe_mode:
            return "safe_mode is on"
        if len(self.venues) < 2:
            return "fewer than two venues in LOOP_VENUES: watching only"
        for venue in self.venues:
            reason = self.unusable(venue) or self.market.distrust(venue)
            if reason is not None:
                return reason
        return self.simulator.spent_book() if self.simulating else None

    # --- closing

    def _choose_exit(self, *, draining: bool) -> tuple[Lot, str] | None:
        """The oldest lot that should be closed (first in, first out) and can be, and why."""
        for lot in self.blotter.lots.values():
            if lot.state is not LotState.OPEN:
                continue
            walks = self._walk(lot.buy_venue, lot.sell_venue, lot.qty, lot.qty)
            if walks is None:  # too large for the books of now; younger and smaller ones need not wait for it
                continue
            deviation = self._edge(lot.buy_venue, lot.sell_venue, _averages(walks)).deviation
            age_s = (self.clock.wall_ns() - lot.opened_ns) / 1e9
            reason = decide_exit(lot, deviation, age_s, self.rules.exits, draining=draining)
            if reason is not None:
                return lot, reason
        return None

    async def _close(self, lot: Lot, reason: str) -> bool:
        base = self.blotter.lot_base(lot.id)
        legs = [
            leg for venue, side in ((lot.buy_venue, Side.SELL), (lot.sell_venue, Side.BUY))
            if (leg := self._closing_leg(venue, side, abs(base.get(venue, ZERO)))) is not None
        ]
        if len(legs) < 2:  # one alone would be a naked leg, made on purpose
            self.why_not = f"lot {lot.id} can't be closed: its books are too thin or it is below the smallest order"
            return False
        closing = evolve(lot, state=LotState.CLOSING, exit_reason=reason)
        return await self._execute(Purpose.CLOSE, closing, tuple(legs), None)

    def _closing_leg(self, venue: VenueId, side: Side, held: Decimal) -> OrderRequest | None:
        instrument = self.market.instruments[venue]
        dust = self._usable_dust(instrument)
        qty = compute_leg_qty(held, side, instrument, self.market.fees[venue], dust)
        walk = self.market.books[venue].walk(side, qty) if qty > 0 else None
        return None if walk is None else self._leg(venue, side, Purpose.CLOSE, qty, walk)

    # --- opening

    def _choose_entry(self) -> Opportunity | str:
        """The better direction if it pays, or why there is none."""
        too_few = self.too_few_venues()
        if too_few is not None:
            return too_few
        if self.rules.moving_reference and not self.basis.warm:
            return "the reference basis is warming up"
        for venue in self.venues:
            problem = self.market.funding_problem(venue)
            if problem is not None:
                return problem
        # only the direction that looks better in floats is priced exactly: at equal edges either will do
        net, (buy, sell) = max(
            zip(self._nets(self._terms_of(self.clock.mono_s())), self._directions(), strict=True)
        )
        if isnan(net):
            return self.size_problem() or "a book is too thin for the order"
        if net < float(self.rules.min_spread_bps) - SLACK_BPS:
            return f"net edge {net:.2f} bps below {self.rules.min_spread_bps} bps"
        best = self._price(buy, sell)
        if best is None:
            return self.size_problem() or "a book is too thin for the order"
        if best.edge.net < self.rules.min_spread_bps:
            return f"net edge {best.edge.net:.2f} bps below {self.rules.min_spread_bps} bps"
        if any(lot.buy_venue != best.buy for lot in self.blotter.lots.values()):
            return "lots of the other direction are open"
        return best

    def too_few_venues(self) -> str | None:
        enough = len(self.rules.loop_venues) >= 2
        return None if enough else "loop_venues has fewer than two venues: nothing is opened"

    def size_problem(self) -> str | None:
        mid = self._mid()
        if mid is None or compute_lot_qty(self.rules.order_notional, mid, self._instruments()) is not None:
            return None
        smallest = compute_smallest_qty(self._instruments(), mid)
        base, quote = self._instruments()[0].base, self._instruments()[0].quote
        return f"smallest legal order is {amount_text(smallest)} {base} = {smallest * mid:.0f} {quote}"

    def _price(self, buy: VenueId, sell: VenueId) -> Opportunity | None:
        mid = self._mid()
        qty = None if mid is None else compute_lot_qty(self.rules.order_notional, mid, self._instruments())
        if qty is None:
            return None
        instruments, fees = self.market.instruments, self.market.fees
        buy_qty = compute_leg_qty(qty, Side.BUY, instruments[buy], fees[buy], self._usable_dust(instruments[buy]))
        sell_qty = compute_leg_qty(qty, Side.SELL, instruments[sell], fees[sell], ZERO)
        walks = self._walk(buy, sell, buy_qty, sell_qty)
        if walks is None:
            return None
        legs = (
            self._leg(buy, Side.BUY, Purpose.OPEN, buy_qty, walks[0]),
            self._leg(sell, Side.SELL, Purpose.OPEN, sell_qty, walks[2]),
        )
        return Opportunity(buy, sell, self._edge(buy, sell, _averages(walks)), qty, legs)

    async def _open(self, choice: Opportunity | str) -> bool:
        if isinstance(choice, str):
            self.why_not = choice
            self.refusals = ()
            return False
        edge = choice.edge
        net, reference, deviation = (bps.quantize(KEPT_BPS) for bps in (edge.net, edge.reference, edge.deviation))
        lot = Lot(
            self.ids.name("lot"), self.pair, LotState.OPENING, choice.buy, choice.sell, choice.qty,
            self.clock.wall_ns(), net, reference, deviation,
        )
        return await self._execute(Purpose.OPEN, lot, choice.legs, choice.edge.net)

    # --- both

    async def _execute(
        self, purpose: Purpose, lot: Lot, legs: Sequence[OrderRequest], edge_bps: Decimal | None
    ) -> bool:
        intent = Intent(
            self.ids.name("intent"), self.pair, purpose, lot.id, tuple(legs), self.clock.wall_ns(), edge_bps,
            dict(self.market.book_ids()),
        )
        self.decisions += 1
        verdict = check_intent(intent, self.market.instruments, self._holdings(), self.limits)
        match verdict:
            case Refused():
                self.refusals = (verdict,)
                self.why_not = _refusal_text(verdict)
                self._refused_until_mono_s = self.clock.mono_s() + REFUSED_PAUSE_S
                return False
            case Approved():
                self.refusals = ()
        self._trace_decision(intent, lot)
        self._timed = None if self._acting_on_mono_s is None else (intent.id, self._acting_on_mono_s)
        trader = self.simulator if self.simulating else self.executor
        stuck = await trader.carry_out(verdict.intent, lot)
        if stuck is not None:
            self.on_stuck(stuck)
        if self.simulating:
            return True  # what a dry run fails at costs nothing
        after = self.blotter.lots.get(lot.id)
        succeeded = (after is not None and after.state is LotState.OPEN) if purpose is Purpose.OPEN else after is None
        self.failed_in_a_row = 0 if succeeded else self.failed_in_a_row + 1
        return True

    def note_first_byte(self, intent_id: str) -> None:
        """Right before the first byte of one of its orders."""
        if self._timed is not None and self._timed[0] == intent_id:
            now = self.clock.mono_s()
            self.tick_to_order_ms.note(now, (now - self._timed[1]) * 1000)
            self._timed = None

    def _trace_decision(self, intent: Intent, lot: Lot) -> None:
        """What was expected, so that what came of it can be held against it."""
        if self.trace is no_trace:
            return
        walks = [self.market.books[leg.venue].walk(leg.side, leg.qty) for leg in intent.legs]
        self.trace(
            "decision", intent_id=intent.id, lot_id=lot.id, purpose=str(intent.purpose),
            edge_bps=None if intent.edge_bps is None else amount_text(intent.edge_bps.quantize(KEPT_BPS)),
            exit_reason=lot.exit_reason,
            legs=[
                {
                    "client_order_id": leg.client_order_id, "venue": leg.venue, "side": str(leg.side),
                    "qty": amount_text(leg.qty),
                    "limit": None if leg.limit_price is None else amount_text(leg.limit_price),
                    "expected_price": None if walk is None else amount_text(walk.avg_price),
                }
                for leg, walk in zip(intent.legs, walks, strict=True)
            ],
        )

    def _leg(self, venue: VenueId, side: Side, purpose: Purpose, qty: Decimal, walk: Walk) -> OrderRequest:
        instrument = self.market.instruments[venue]
        limit = compute_limit_price(walk.worst_price, side, instrument, self.rules.max_slippage_bps)
        return OrderRequest(
            self.ids.client_order_id(), venue, instrument.symbol, side, purpose, qty, limit,
            reduce_only=purpose is Purpose.CLOSE and instrument.kind is Kind.PERP
            and self.executor.reduces_at_venue(venue, side, qty),
        )

    def _walk(self, buy: VenueId, sell: VenueId, buy_qty: Decimal, sell_qty: Decimal) -> Walks | None:
        """Entry and exit on `buy`, then on `sell`; None if a book can't fill one of them."""
        a, b = self.market.books[buy], self.market.books[sell]
        entry, exit_ = a.walk(Side.BUY, buy_qty), a.walk(Side.SELL, buy_qty)
        other_entry, other_exit = b.walk(Side.SELL, sell_qty), b.walk(Side.BUY, sell_qty)
        if entry is None or exit_ is None or other_entry is None or other_exit is None:
            return None
        return entry, exit_, other_entry, other_exit

    def _edge(self, buy: VenueId, sell: VenueId, prices: Prices[Decimal]) -> Edge[Decimal]:
        fees = self.market.fees
        costs = Costs(
            fees[buy].taker_bps, fees[sell].taker_bps, self.rules.expected_slippage_bps, self._funding_bps(buy, sell)
        )
        return compute_edge(prices, Decimal(repr(self.reference_bps(buy))), costs)

    def _usable_dust(self, instrument: Instrument) -> Decimal:
        """Dust that one order may use up: two steps at most, so that its legs stay equal but for dust."""
        bound = 2 * instrument.lot_step
        return max(-bound, min(bound, self.blotter.dust()))

    def _directions(self) -> tuple[tuple[VenueId, VenueId], ...]:
        first, second = self.venues
        return ((first, second), (second, first))

    def _instruments(self) -> tuple[Instrument, ...]:
        return tuple(self.market.instruments[venue] for venue in self.venues)

    def _mid(self) -> Decimal | None:
        marks = [mark for venue in self.venues if (mark := self.market.mark(venue)) is not None]
        return sum(marks, ZERO) / len(marks) if len(marks) == len(self.venues) else None

    def _holdings(self) -> Holdings:
        marks = {venue: mark for venue in self.venues if (mark := self.market.mark(venue)) is not None}
        return Holdings(
            {venue: self.blotter.position(venue) for venue in self.venues},
            self.balances(self.simulating), marks, len(self.blotter.in_flight()), self.orders_last_minute(),
        )
