"""Two scripted venues, a real ledger in a temporary folder, and the parts of execution joined to them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define, evolve, field, frozen

from propbot.domain.errors import OrderNotFound, VenueError
from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM, Fees, Instrument, Kind, VenueId
from propbot.domain.lots import Intent, Lot, LotState
from propbot.domain.mode import GateState, HoldExit, Mode
from propbot.domain.money import BPS, ONE, ZERO
from propbot.domain.orders import (
    Balance,
    Fill,
    OrderReport,
    OrderRequest,
    OrderState,
    Purpose,
    Side,
    VenuePosition,
)
from propbot.domain.pnl import PositionAccount
from propbot.execution.blotter import Blotter
from propbot.execution.bookkeeper import Bookkeeper
from propbot.execution.executor import Executor
from propbot.execution.reconcile import Reconciler, ReconResult
from propbot.execution.resolver import Resolver
from propbot.execution.sight import ExecutionRules
from propbot.kit.clock import VirtualClock
from propbot.kit.crash import CrashPoints
from propbot.kit.disk import open_sqlite
from propbot.kit.ids import Ids
from propbot.kit.threads import open_inline_worker
from propbot.kit.trace import MemoryTrace
from propbot.ledger import Ledger, open_ledger

EPOCH_NS = 1_790_000_000_000_000_000
SYMBOL = "BTCUSDT"
PRICE = Decimal("60000.0")
TAKER_BPS = {BINANCE_UM: Decimal("1.7"), BINANCE_SPOT: Decimal(2)}
INSTRUMENTS = {
    BINANCE_UM: Instrument(
        BINANCE_UM, SYMBOL, Kind.PERP, "BTC", "USDT", Decimal("0.1"), Decimal("0.001"), Decimal("0.001"),
        Decimal(1000), Decimal(100),
    ),
    BINANCE_SPOT: Instrument(
        BINANCE_SPOT, SYMBOL, Kind.SPOT, "BTC", "USDT", Decimal("0.01"), Decimal("0.00001"), Decimal("0.00001"),
        Decimal(9000), Decimal(5),
    ),
}  # fmt: skip
BASELINES = {
    (BINANCE_UM, "USDT"): Decimal(100_000),
    (BINANCE_UM, "BTC"): ZERO,
    (BINANCE_SPOT, "USDT"): Decimal(100_000),
    (BINANCE_SPOT, "BTC"): Decimal(2),
}


@frozen
class Answer:
    """What becomes of the next order."""

    filled: Decimal = ONE
    """Share of its quantity."""
    error: VenueError | None = None
    """Raised in place of the answer, after the first byte."""
    refused_before: VenueError | None = None
    """Raised before the last check: no byte left."""
    reaches: bool = True
    """Whether the venue gets it and executes it."""
    before_s: float = 0.0
    answer_s: float = 0.0
    fills_with_reply: bool = True
    hidden_s: float = 0.0
    """How long queries do not find it."""
    streams: bool = False
    """The private stream tells of it before the answer comes."""


@define
class Known:
    """An order at the venue."""

    request: OrderRequest
    report: OrderReport
    fills: tuple[Fill, ...]
    visible_s: float


@define(eq=False)
class ScriptedVenue:
    """An `OrderGateway`. Orders are answered from `script`, and filled whole once it has ended."""

    instrument: Instrument
    script: list[Answer] = field(factory=list)
    attempts: list[OrderRequest] = field(factory=list)
    sent: list[OrderRequest] = field(factory=list)
    """Orders whose first byte left."""
    known: dict[str, Known] = field(factory=dict)
    resting: list[OrderReport] = field(factory=list)
    balance: dict[str, Decimal] = field(factory=dict)
    trade_count: int = 0
    queries: list[str] = field(factory=list)
    cancels: list[str] = field(factory=list)
    order_trades_asked: int = 0
    down: VenueError | None = None
    on_stream: Callable[[OrderReport], object] = field(default=lambda report: None)
    at_checkpoint: Callable[[str], None] = field(default=lambda where: None)
    foreign: list[Fill] = field(factory=list)

    @property
    def venue(self) -> VenueId:
        return self.instrument.venue

    async def place(self, order: OrderRequest, last_check: Callable[[], None], crash: CrashPoints) -> OrderReport:
        answer = self.script.pop(0) if self.script else Answer()
        self.attempts.append(order)
        await self._wait("place:before", answer.before_s)
        if answer.refused_before is not None:
            raise answer.refused_before
        last_check()
        assert order.client_order_id not in [sent.client_order_id for sent in self.sent], "sent twice"
        self.sent.append(order)
        await self._wait("place:sent", answer.answer_s / 2)
        report = self.execute(order, answer) if answer.reaches else None
        await self._wait("place:answer", answer.answer_s / 2)
        if answer.error is not None:
            raise answer.error
        assert report is not None
        return report if answer.fills_with_reply else report.with_fills(())

    async def _wait(self, where: str, delay_s: float) -> None:
        self.at_checkpoint(where)
        await trio.sleep(delay_s)

    def execute(self, order: OrderRequest, answer: Answer) -> OrderReport:
        qty = order.qty * answer.filled
        order_id = str(1000 + len(self.known))
        fills = (self.make_fill(order.side, qty, order_id, order.client_order_id),) if qty else ()
        for fill in fills:
            self._settle(fill)
        state = OrderState.FILLED if answer.filled == 1 else OrderState.PARTIAL if qty else OrderState.CANCELED
        report = OrderReport(
            self.venue, SYMBOL, order.client_order_id, order_id, order.side, state, order.qty, qty, 1, fills
        )
        self.known[order.client_order_id] = Known(order, report, fills, trio.current_time() + answer.hidden_s)
        if answer.streams:
            self.on_stream(report)
        return report

    def make_fill(self, side: Side, qty: Decimal, order_id: str, client_order_id: str) -> Fill:
        """Spot buys pay their fee in base."""
        self.trade_count += 1
        in_base = self.instrument.kind is Kind.SPOT and side is Side.BUY
        fee = qty * (ONE if in_base else PRICE) * TAKER_BPS[self.venue] * BPS
        return Fill(
            self.venue, SYMBOL, order_id, client_order_id, str(self.trade_count), side, qty, PRICE, fee,
            "BTC" if in_base else "USDT", "taker", self.trade_count,
        )

    def trade_foreign(self, side: Side, qty: Decimal) -> Fill:
        fill = self.make_fill(side, qty, f"f{self.trade_count}", "web_1")
        self.foreign.append(fill)
        self._settle(fill)
        return fill

    def _settle(self, fill: Fill) -> None:
        signed = fill.side.sign * fill.qty
        if self.instrument.kind is Kind.SPOT:
            self.balance["USDT"] = self.balance.get("USDT", ZERO) - signed * fill.price
            self.balance["BTC"] = self.balance.get("BTC", ZERO) + signed
            self.balance[fill.fee_asset] -= fill.fee
        else:  # one price for all: nothing is ever realised
            self.balance["USDT"] = self.balance.get("USDT", ZERO) - fill.fee
            self.balance["position"] = self.balance.get("position", ZERO) + signed

    async def query(self, symbol: str, client_order_id: str) -> OrderReport:
        self.queries.append(client_order_id)
        await self._asked()
        known = self.known.get(client_order_id)
        if known is None or known.visible_s > trio.current_time():
            raise OrderNotFound(self.venue, "no such order", code=-2013, http_status=400)
        return known.report.with_fills(())

    async def cancel(self, symbol: str, client_order_id: str) -> OrderReport:
        self.cancels.append(client_order_id)
        await self._asked()
        for report in self.resting:
            if report.client_order_id == client_order_id:
                self.resting.remove(report)
                return evolve(report, state=OrderState.CANCELED)
        raise OrderNotFound(self.venue, "no such order", code=-2011, http_status=400)

    async def open_orders(self, symbol: str, *, urgent: bool = False) -> Sequence[OrderReport]:
        await self._asked()
        return tuple(self.resting)

    async def balances(self) -> Sequence[Balance]:
        await self._asked()
        assets = ("USDT", "BTC") if self.instrument.kind is Kind.SPOT else ("USDT",)
        return [Balance(self.venue, a, BASELINES[(self.venue, a)] + self.balance.get(a, ZERO)) for a in assets]

    async def positions(self, symbol: str) -> Sequence[VenuePosition]:
        await self._asked()
        qty = self.balance.get("position", ZERO)
        return [VenuePosition(self.venue, SYMBOL, qty, PRICE)] if qty else []

    async def trades(self, symbol: str, from_trade_id: int | None) -> Sequence[Fill]:
        """As the venues' lists are: they do not name client ids."""
        await self._asked()
        every = [fill for known in self.known.values() for fill in known.fills] + self.foreign
        wanted = [evolve(fill, client_order_id="") for fill in every if int(fill.trade_id) >= (from_trade_id or 0)]
        return sorted(wanted, key=lambda fill: int(fill.trade_id))

    async def order_trades(self, symbol: str, order_id: str) -> Sequence[Fill]:
        self.order_trades_asked += 1
        await self._asked()
        every = [fill for known in self.known.values() for fill in known.fills]
        return [evolve(fill, client_order_id="") for fill in every if fill.order_id == order_id]

    async def _asked(self) -> None:
        await trio.sleep(0.01)
        if self.down is not None:
            raise self.down


@define(eq=False)
class ScriptedMarket:
    """One price on both venues; a distrusted book has no limit price."""

    instruments: dict[VenueId, Instrument]
    fees: dict[VenueId, Fees]
    distrusted: set[VenueId] = field(factory=set)
    walks: list[tuple[VenueId, Decimal]] = field(factory=list)

    def mark(self, venue: VenueId) -> Decimal | None:
        return PRICE

    def walk_limit(self, venue: VenueId, side: Side, qty: Decimal, slippage_bps: Decimal) -> Decimal | None:
        self.walks.append((venue, slippage_bps))
        return None if venue in self.distrusted else PRICE

    def book_ids(self) -> dict[VenueId, int]:
        return {BINANCE_UM: 7, BINANCE_SPOT: 8}

    def book_sights(self) -> dict[VenueId, dict[str, Any]]:
        return {venue: {"u": u} for venue, u in self.book_ids().items()}


@define(eq=False)
class Rig:
    """Everything that execution is; `start` runs the tasks that live beside the executor."""

    um: ScriptedVenue
    spot: ScriptedVenue
    market: ScriptedMarket
    ledger: Ledger
    blotter: Blotter
    clock: VirtualClock
    trace: MemoryTrace
    nursery: trio.Nursery
    state: GateState
    refused_access: list[tuple[VenueId, str]] = field(factory=list)
    foreign: list[Fill] = field(factory=list)
    ledger_failures: list[str] = field(factory=list)
    recon_results: list[ReconResult] = field(factory=list)
    executor: Executor = field(init=False)
    bookkeeper: Bookkeeper = field(init=False)
    resolver: Resolver = field(init=False)
    reconciler: Reconciler = field(init=False)
    count: int = 0

    def __attrs_post_init__(self) -> None:
        gateways = {BINANCE_UM: self.um, BINANCE_SPOT: self.spot}
        crash = CrashPoints()
        self.executor = Executor(
            gateways, self.ledger, self.blotter, self.market, lambda: self.state,
            lambda venue, text: self.refused_access.append((venue, text)),
            ExecutionRules(Decimal(2), Decimal(20), 5.0), Ids(self.clock, random.Random(1)), self.clock, self.trace,
            crash,
        )  # fmt: skip
        self.bookkeeper = Bookkeeper(
            self.blotter, self.ledger, gateways, crash, self.trace, self.foreign.extend, self.ledger_failures.append
        )
        self.reconciler = Reconciler(
            self.blotter, self.ledger, gateways, INSTRUMENTS, BASELINES, {}, lambda: self.bookkeeper.idle, self.clock,
            self.trace, 5.0, self.recon_results.append,
        )  # fmt: skip
        self.resolver = Resolver(self.blotter, gateways, self.reconciler.check, self.clock, self.trace)
        for venue in (self.um, self.spot):
            venue.on_stream = self.blotter.observe_report

    @property
    def venues(self) -> tuple[ScriptedVenue, ScriptedVenue]:
        return (self.um, self.spot)

    def start(self, *, fill_search: bool = True, resolver: bool = True) -> None:
        self.nursery.start_soon(self.bookkeeper.run)
        if fill_search:
            self.nursery.start_soon(self.bookkeeper.run_fill_search)
        if resolver:
            self.nursery.start_soon(self.resolver.run)

    async def settle(self) -> None:
        """Until all that is known is durable."""
        while not self.bookkeeper.idle:
            await self.blotter.wait_change()

    def leg(self, venue: VenueId, side: Side, qty: str = "0.01", purpose: Purpose = Purpose.OPEN) -> OrderRequest:
        return OrderRequest(
            self.executor.ids.client_order_id(), venue, SYMBOL, side, purpose, Decimal(qty), PRICE,
            reduce_only=purpose is Purpose.CLOSE and venue == BINANCE_UM,
        )

    def lot(self, *, buy: VenueId = BINANCE_SPOT, sell: VenueId = BINANCE_UM, **changes: Any) -> Lot:
        self.count += 1
        plain = Lot(
            f"lot-{self.count}", SYMBOL, LotState.OPENING, buy, sell, Decimal("0.01"), self.clock.wall_ns(),
            Decimal("1.5"), ZERO, Decimal(3),
        )
        return evolve(plain, **changes)

    def intent(self, lot: Lot, *legs: OrderRequest) -> Intent:
        self.count += 1
        return Intent(
            f"intent-{self.count}", SYMBOL, legs[0].purpose, lot.id, legs, self.clock.wall_ns(), Decimal("1.5"),
            {BINANCE_UM: 7},
        )

    def opening(
        self, lot: Lot | None = None, *, buy_qty: str = "0.01001", sell_qty: str = "0.01"
    ) -> tuple[Intent, Lot]:
        """Buy on spot, with its fee on top; sell on USD-M."""
        lot = lot or self.lot()
        qtys = (buy_qty, sell_qty) if lot.buy_venue == BINANCE_SPOT else (sell_qty, buy_qty)
        legs = (self.leg(lot.buy_venue, Side.BUY, qtys[0]), self.leg(lot.sell_venue, Side.SELL, qtys[1]))
        return self.intent(lot, *legs), lot

    async def open_lot(self) -> Lot:
        intent, lot = self.opening()
        await self.executor.execute(intent, lot)
        assert await self.executor.conclude(lot.id) is None
        return self.blotter.lots[lot.id]

    def hold(self, **changes: Any) -> None:
        self.state = evolve(self.state, mode=Mode.HOLD, halted=True, hold_age_s=0.0, **changes)

    def states(self, *client_order_ids: str) -> list[OrderState]:
        return [self.blotter.orders[id].state for id in client_order_ids]

    def sent_counts(self) -> Counter[str]:
        return Counter(order.client_order_id for venue in self.venues for order in venue.sent)

    def assert_nothing_was_sent_twice(self) -> None:
        assert all(count == 1 for count in self.sent_counts().values())
        attempts = Counter(order.client_order_id for venue in self.venues for order in venue.attempts)
        assert all(count == 1 for count in attempts.values())


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(EPOCH_NS)


@pytest.fixture
async def rig(tmp_path: Path, clock: VirtualClock, nursery: trio.Nursery) -> AsyncIterator[Rig]:
    trace = MemoryTrace("bot")
    accounts = {venue: PositionAccount.of(instrument) for venue, instrument in INSTRUMENTS.items()}
    fees = {venue: Fees(ZERO, taker_bps) for venue, taker_bps in TAKER_BPS.items()}
    state = GateState(
        mode=Mode.RUN, halted=False, safe_mode=False, dry_run_only=False, hold_exit=HoldExit.UNWIND, hold_age_s=None,
        hedge_deadline_s=5.0,
    )
    async with open_ledger(
        tmp_path / "ledger.db", clock=clock, open_worker=open_inline_worker, open_connection=open_sqlite,
        crash=CrashPoints(), synchronous="normal",
    ) as ledger:
        yield Rig(
            ScriptedVenue(INSTRUMENTS[BINANCE_UM]), ScriptedVenue(INSTRUMENTS[BINANCE_SPOT]),
            ScriptedMarket(dict(INSTRUMENTS), fees), ledger, Blotter(accounts, clock, trace), clock, trace, nursery,
            state,
        )


@pytest.fixture
def answer() -> type[Answer]:
    return Answer
