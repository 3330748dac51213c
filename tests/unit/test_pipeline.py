"""One tick from real books to what is carried out: what opens, what closes, in which order, and why nothing does."""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
import trio
from attrs import define, evolve, field

from propbot.books.book import OrderBook
from propbot.decision.decide import ExitRules
from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM, Fees, Instrument, Kind, VenueId
from propbot.domain.lots import Intent, Lot, LotState
from propbot.domain.market import DepthDiff, DepthSnapshot
from propbot.domain.mode import GateState, HoldExit, Mode
from propbot.domain.money import BPS, ONE, ZERO
from propbot.domain.orders import Fill, OrderReport, OrderRequest, OrderState, Purpose, Side
from propbot.domain.pnl import PositionAccount
from propbot.execution.blotter import Blotter
from propbot.execution.executor import Stuck
from propbot.execution.simulation import SimulatedExecutor
from propbot.kit.clock import VirtualClock
from propbot.kit.ids import Ids
from propbot.kit.trace import no_trace
from propbot.market import TradingMarket
from propbot.pipeline import Pipeline, TradeRules
from propbot.risk.limits import Limits
from propbot.spread.funding import FundingDue
from propbot.spread.reference import MovingBasis

UM, SPOT = BINANCE_UM, BINANCE_SPOT
INSTRUMENTS = {
    UM: Instrument(
        UM, "BTCUSDT", Kind.PERP, "BTC", "USDT", Decimal("0.1"), Decimal("0.001"), Decimal("0.001"), Decimal(1000),
        Decimal(100),
    ),
    SPOT: Instrument(
        SPOT, "BTCUSDT", Kind.SPOT, "BTC", "USDT", Decimal("0.01"), Decimal("0.00001"), Decimal("0.00001"),
        Decimal(9000), Decimal(5),
    ),
}  # fmt: skip
FEES = {UM: Fees(ZERO, Decimal("1.7")), SPOT: Fees(ONE, Decimal(2))}
RULES = TradeRules(
    order_notional=Decimal(1000), min_spread_bps=Decimal(1), max_slippage_bps=Decimal(2),
    expected_slippage_bps=Decimal("0.5"), exits=ExitRules(ZERO, Decimal(20), 300.0), poll_interval_s=1.0,
    moving_reference=False, loop_venues=(UM, SPOT),
)  # fmt: skip
LIMITS = Limits(Decimal(1000), Decimal(5000), Decimal(20_000), 10)
RICH = {(UM, "USDT"): Decimal(100_000), (SPOT, "USDT"): Decimal(100_000), (SPOT, "BTC"): Decimal(2)}


@define(eq=False)
class WholeFills:
    """Stands for the executor: every leg fills whole at its limit price. What it was given is in `intents`."""

    blotter: Blotter
    clock: VirtualClock
    intents: list[Intent] = field(factory=list)
    concluded: list[str] = field(factory=list)
    stuck: Stuck | None = None

    async def carry_out(self, intent: Intent, lot: Lot) -> Stuck | None:
        await trio.lowlevel.checkpoint()
        self.intents.append(intent)
        self.blotter.put_lot(lot)
        self.blotter.register(intent)
        for leg in intent.legs:
            self.blotter.mark_sending(leg.client_order_id)
            self.blotter.observe_report(self._fill(leg))
        return await self.conclude(lot.id)

    def reduces_at_venue(self, venue: VenueId, side: Side, qty: Decimal) -> bool:
        return True

    def needs_concluding(self, lot: Lot) -> bool:
        return lot.state is not LotState.OPEN

    async def conclude(self, lot_id: str) -> Stuck | None:
        await trio.lowlevel.checkpoint()
        self.concluded.append(lot_id)
        if self.stuck is not None:
            return self.stuck
        lot = self.blotter.lots[lot_id]
        state = LotState.CLOSED if lot.state is LotState.CLOSING else LotState.OPEN
        self.blotter.put_lot(evolve(lot, state=state))
        self.blotter.forget_settled(lot_id)
        return None

    def _fill(self, leg: OrderRequest) -> OrderReport:
        assert leg.limit_price is not None
        in_base = leg.venue == SPOT and leg.side is Side.BUY
        fee = leg.qty * FEES[leg.venue].taker_bps * BPS * (ONE if in_base else leg.limit_price)
        fill = Fill(
            leg.venue, leg.symbol, leg.client_order_id, leg.client_order_id, "1", leg.side, leg.qty, leg.limit_price,
            fee, "BTC" if in_base else "USDT", "taker", 1,
        )  # fmt: skip
        return OrderReport(
            leg.venue, leg.symbol, leg.client_order_id, leg.client_order_id, leg.side, OrderState.FILLED, leg.qty,
            leg.qty, 1, (fill,),
        )  # fmt: skip


class NoSimulation:
    """A `SimulationLedger` that nothing is written to here."""

    async def book_simulated(self, *_: object) -> tuple[()]:
        await trio.lowlevel.checkpoint()
        return ()


@define(eq=False)
class Desk:
    """A pipeline on books that the test writes."""

    pipeline: Pipeline
    executor: WholeFills
    market: TradingMarket
    clock: VirtualClock
    state: GateState
    unusable: dict[VenueId, str] = field(factory=dict)
    stuck: list[Stuck] = field(factory=list)
    drained: int = 0
    free: dict[tuple[VenueId, str], Decimal] = field(factory=lambda: dict(RICH))
    update_id: int = 10

    def quote(self, venue: VenueId, bid: str, ask: str, qty: str = "5") -> None:
        """A new book of one level a side, fresh as of now."""
        self.update_id += 10
        id = self.update_id
        book = OrderBook(venue, "BTCUSDT")
        prev = id - 1 if venue == UM else None
        book.apply(DepthDiff(venue, "BTCUSDT", id, id, prev, [], [], None))
        book.apply_snapshot(DepthSnapshot(venue, "BTCUSDT", id - 1, [(bid, qty)], [(ask, qty)]))
        assert book.synced
        book.touch(trio.current_time(), 0.0)
        self.market.books[venue] = book  # type: ignore[index]
        self.pipeline.on_book(venue)

    def equal(self) -> None:
        self.quote(SPOT, "60000.00", "60000.10")
        self.quote(UM, "60000.0", "60000.1")

    def spot_cheap(self) -> None:
        """20 bps: buy spot, sell the perp."""
        self.quote(SPOT, "59940.00", "59940.01")
        self.quote(UM, "60060.0", "60060.1")

    def spot_dear(self) -> None:
        self.quote(SPOT, "60060.00", "60060.01")
        self.quote(UM, "59940.0", "59940.1")

    @property
    def lots(self) -> list[Lot]:
        return list(self.executor.blotter.lots.values())

    async def open_lots(self, count: int) -> list[Lot]:
        for _ in range(count):
            assert await self.pipeline.tick(), self.pipeline.why_not
        return self.lots

    async def why_not(self) -> str:
        """Nothing is done, and this is said."""
        before = len(self.executor.intents)
        assert not await self.pipeline.tick()
        assert len(self.executor.intents) == before
        return self.pipeline.why_not


def _accounts() -> dict[VenueId, PositionAccount]:
    return {venue: PositionAccount.of(instrument) for venue, instrument in INSTRUMENTS.items()}


@pytest.fixture
async def desk() -> Desk:
    clock = VirtualClock(1_790_000_000_000_000_000)
    clock.wall_ns()
    books = {venue: OrderBook(venue, "BTCUSDT") for venue in (UM, SPOT)}
    market = TradingMarket(books, dict(INSTRUMENTS), dict(FEES), clock, 1.5)
    market.funding[UM] = FundingDue(ZERO, trio.current_time() + 8 * 3600)
    executor = WholeFills(Blotter(_accounts(), clock, no_trace), clock)
    simulator = SimulatedExecutor(NoSimulation(), Blotter(_accounts(), clock, no_trace), market, clock)
    state = GateState(Mode.RUN, False, False, False, HoldExit.UNWIND, None, 5.0)
    made: list[Desk] = []
    failed: list[int] = []

    def drained() -> None:
        made[0].drained += 1

    pipeline = Pipeline(
        "BTCUSDT", (UM, SPOT), market, MovingBasis(120, 30), RULES, LIMITS, executor, simulator,  # type: ignore[arg-type]
        lambda: made[0].state, lambda venue: made[0].unusable.get(venue), lambda simulating: made[0].free,
        lambda stuck: made[0].stuck.append(stuck), drained, failed.append, clock, Ids(clock, random.Random(1)),
        no_trace,
    )  # fmt: skip
    made.append(Desk(pipeline, executor, market, clock, state))
    made[0].equal()
    return made[0]


# --- opening


async def test_an_edge_that_pays_opens_a_lot_of_the_wanted_size(desk: Desk) -> None:
    desk.spot_cheap()
    assert await desk.pipeline.tick()
    (intent,) = desk.executor.intents
    buy, sell = intent.legs
    assert (buy.venue, buy.side, sell.venue, sell.side) == (SPOT, Side.BUY, UM, Side.SELL)
    assert (intent.purpose, buy.purpose, sell.purpose) == (Purpose.OPEN,) * 3
    assert sell.qty == Decimal("0.016")
    assert buy.qty == Decimal("0.01601"), "its fee on top, rounded up to spot's own step"
    assert buy.limit_price == Decimal("59951.99"), "2 bps beyond the level, down to a tick"
    assert sell.limit_price == Decimal("60048.0"), "2 bps beyond the level, up to a tick"
    assert not buy.reduce_only
    assert not sell.reduce_only
    assert intent.decided_on == desk.market.book_ids()
    (lot,) = desk.lots
    assert (lot.buy_venue, lot.sell_venue, lot.qty) == (SPOT, UM, Decimal("0.016"))
    assert lot.edge_bps == pytest.approx(Decimal("12.05"), abs=Decimal("0.1"))
    assert lot.entry_bps == pytest.approx(Decimal(20), abs=Decimal("0.1"))


async def test_the_other_direction_opens_the_other_way_round(desk: Desk) -> None:
    desk.spot_dear()
    assert await desk.pipeline.tick()
    buy, sell = desk.executor.intents[0].legs
    assert (buy.venue, sell.venue) == (UM, SPOT)
    assert buy.qty == sell.qty == Decimal("0.016")


async def test_equal_books_open_nothing_and_say_the_edge(desk: Desk) -> None:
    assert await desk.why_not() == "net edge -7.93 bps below 1 bps"


async def test_the_threshold_itself_opens(desk: Desk) -> None:
    desk.spot_cheap()
    opened = await desk.open_lots(1)
    net = desk.executor.intents[0].edge_bps
    assert net is not None
    desk.pipeline.rules = evolve(RULES, min_spread_bps=net)
    assert await desk.pipeline.tick()
    desk.pipeline.rules = evolve(RULES, min_spread_bps=net + Decimal("0.1"))
    assert "below" in await desk.why_not()
    assert len(opened) == 1


async def test_the_whole_size_is_priced_and_not_the_top(desk: Desk) -> None:
    desk.quote(UM, "60060.0", "60060.1")
    desk.update_id += 10
    book = OrderBook(SPOT, "BTCUSDT")
    book.apply(DepthDiff(SPOT, "BTCUSDT", 900, 900, None, [], [], None))
    asks = [("59940.01", "0.001"), ("60080.00", "5")]
    book.apply_snapshot(DepthSnapshot(SPOT, "BTCUSDT", 899, [("59940.00", "5")], asks))
    book.touch(trio.current_time(), 0.0)
    desk.market.books[SPOT] = book  # type: ignore[index]
    assert "below" in await desk.why_not()


async def test_a_book_that_is_too_thin_says_so(desk: Desk) -> None:
    desk.spot_cheap()
    desk.quote(SPOT, "59940.00", "59940.01", qty="0.001")
    assert await desk.why_not() == "a book is too thin for the order"


async def test_a_size_below_the_smallest_legal_order_says_what_that_is(desk: Desk) -> None:
    desk.spot_cheap()
    desk.pipeline.rules = evolve(RULES, order_notional=Decimal(110))
    assert await desk.why_not() == "smallest legal order is 0.002 BTC = 120 USDT"


async def test_with_fewer_loop_venues_than_two_nothing_is_opened_and_what_is_open_is_closed(desk: Desk) -> None:
    desk.spot_cheap()
    await desk.open_lots(1)
    desk.pipeline.rules = evolve(RULES, loop_venues=(UM,))
    assert await desk.why_not() == "loop_venues has fewer than two venues: nothing is opened"
    desk.equal()  # the lot's exit
    assert await desk.pipeline.tick()
    assert [intent.purpose for intent in desk.executor.intents] == [Purpose.OPEN, Purpose.CLOSE]
    assert desk.lots == []
    desk.spot_cheap()
    await desk.why_not()
    desk.pipeline.rules = RULES
    assert await desk.pipeline.tick()


async def test_a_dry_run_opens_nothing_on_fewer_loop_venues_than_two_either(desk: Desk) -> None:
    desk.spot_cheap()
    desk.state = evolve(desk.state, dry_run_only=True)
    desk.pipeline.rules = evolve(RULES, loop_venues=(SPOT,))
    assert await desk.why_not() == "loop_venues has fewer than two venues: nothing is opened"
    assert desk.pipeline.simulator.blotter.lots == {}


async def test_with_fewer_loop_venues_than_two_the_edge_is_still_shown_and_a_refusal_is_over(desk: Desk) -> None:
    desk.spot_cheap()
    shown = dict(desk.pipeline.measure_edges())
    desk.free = {}
    await desk.why_not()
    assert desk.pipeline.refusals
    desk.pipeline.rules = evolve(RULES, loop_venues=(UM,))
    desk.pipeline.wake()
    await desk.why_not()
    assert desk.pipeline.refusals == ()
    assert dict(desk.pipeline.measure_edges()) == shown


async def test_lots_of_the_other_direction_are_closed_before_anything_opens(desk: Desk) -> None:
    desk.spot_cheap()
    desk.pipeline.rules = evolve(RULES, exits=ExitRules(Decimal(-1000), Decimal(1000), 1e9))
    await desk.open_lots(1)
    desk.spot_dear()
    assert await desk.why_not() == "lots of the other direction are open"


async def test_pairs_are_opened_until_risk_refuses_and_the_refusal_is_shown(desk: Desk) -> None:
    desk.spot_cheap()
    await desk.open_lots(5)
    assert (await desk.why_not()).startswith("risk: ")
    (refused,) = desk.pipeline.refusals
    assert refused.code == "max_position"
    assert len(desk.lots) == 5
    desk.equal()  # the lots' exits: the refusal is over
    assert await desk.pipeline.tick()
    assert desk.pipeline.refusals == ()


async def test_a_cap_on_the_order_is_a_refusal_too(desk: Desk) -> None:
    desk.spot_cheap()
    desk.free = {}
    assert "not enough" in await desk.why_not()
    assert desk.pipeline.refusals[0].code == "balance"


# --- why nothing is done


@pytest.mark.parametrize(
    ("arrange", "said"),
    [
        (lambda desk: setattr(desk, "state", evolve(desk.state, safe_mode=True)), "safe_mode is on"),
        (lambda desk: desk.unusable.update({SPOT: "binance-spot: private stream is down"}), "private stream is down"),
        (lambda desk: desk.market.books[UM].disconnected(), "binance-um: the book is not synchronised"),
        (lambda desk: desk.market.books[UM].touch(trio.current_time() - 2, 0.0), "binance-um: no frame for 1.5 s"),
        (lambda desk: setattr(desk.market.books[UM], "venue_lag_ms", None), "late its frames come is not known yet"),
        (lambda desk: desk.market.books[UM].touch(trio.current_time(), 1600.0), "own time in its frames is older"),
        (lambda desk: desk.market.funding.clear(), "funding of binance-um is unknown"),
        (lambda desk: setattr(desk.pipeline, "venues", (UM,)), "fewer than two venues"),
        (
            lambda desk: setattr(desk.pipeline, "rules", evolve(RULES, moving_reference=True)),
            "the reference basis is warming up",
        ),
    ],
)  # fmt: skip
async def test_what_keeps_it_from_trading_is_said(desk: Desk, arrange: Callable[[Desk], None], said: str) -> None:
    desk.spot_cheap()
    arrange(desk)
    assert said in await desk.why_not()


@pytest.mark.parametrize(("bid", "ask"), [("600000.00", "600000.01"), ("6000.00", "6000.01"), ("56000.00", "56000.01")])
async def test_a_price_far_from_the_other_venues_is_no_price(desk: Desk, bid: str, ask: str) -> None:
    desk.equal()
    basis = desk.pipeline.basis.value_bps
    desk.quote(SPOT, bid, ask)
    assert "its price is more than 5 % from the one at" in await desk.why_not()
    assert desk.market.mark(UM) is None, "which of the two is wrong can't be told"
    assert desk.market.mark(SPOT) is None
    assert desk.pipeline.basis.value_bps == basis
    desk.equal()
    assert desk.market.mark(UM) is not None


async def test_nothing_is_closed_either_on_books_that_cannot_be_trusted(desk: Desk) -> None:
    desk.spot_cheap()
    await desk.open_lots(1)
    desk.equal()
    desk.market.books[SPOT].disconnected()
    assert "not synchronised" in await desk.why_not()
    assert len(desk.lots) == 1


async def test_unknown_funding_keeps_from_opening_and_not_from_closing(desk: Desk) -> None:
    desk.spot_cheap()
    await desk.open_lots(1)
    desk.market.funding.clear()
    desk.equal()
    assert await desk.pipeline.tick()
    assert desk.lots == []


async def test_funding_that_is_due_is_a_cost(desk: Desk) -> None:
    """A negative rate: shorts pay. 13 bps are more than the edge."""
    desk.spot_cheap()
    desk.market.funding[UM] = FundingDue(Decimal("-0.0013"), trio.current_time() + 60)
    assert "below" in await desk.why_not()


# --- closing


async def test_a_gap_that_is_gone_closes_both_legs_and_reduces_only(desk: Desk) -> None:
    desk.spot_cheap()
    (lot,) = await desk.open_lots(1)
    desk.equal()
    assert await desk.pipeline.tick()
    intent = desk.executor.intents[-1]
    assert (intent.purpose, intent.lot_id) == (Purpose.CLOSE, lot.id)
    legs = {leg.venue: leg for leg in intent.legs}
    assert (legs[SPOT].side, legs[SPOT].qty, legs[SPOT].reduce_only) == (Side.SELL, Decimal("0.016"), False)
    assert (legs[UM].side, legs[UM].qty, legs[UM].reduce_only) == (Side.BUY, Decimal("0.016"), True)
    assert desk.lots == []
    assert abs(desk.executor.blotter.exposure()) < Decimal("0.00002")


async def test_a_closing_that_risk_refuses_was_no_act_and_is_said(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an act it would be decided again without a pause, and with the whole of the processor."""
    desk.spot_cheap()
    await desk.open_lots(1)
    desk.equal()
    leg = Pipeline._leg
    monkeypatch.setattr(
        Pipeline, "_leg", lambda self, venue, side, purpose, qty, walk: leg(self, venue, side, purpose, qty * 90, walk)
    )
    assert "more than is held" in await desk.why_not()


async def test_lots_close_first_in_first_out_one_at_a_time(desk: Desk) -> None:
    desk.spot_cheap()
    opened = await desk.open_lots(3)
    desk.equal()
    for lot in opened:
        assert await desk.pipeline.tick()
        assert desk.executor.intents[-1].lot_id == lot.id
    assert desk.lots == []
    assert "below" in await desk.why_not()


async def test_a_lot_that_goes_against_us_is_stopped(desk: Desk) -> None:
    desk.spot_cheap()
    await desk.open_lots(1)
    desk.quote(UM, "60300.0", "60300.1")
    assert await desk.pipeline.tick()
    assert desk.executor.intents[-1].purpose is Purpose.CLOSE


async def test_a_lot_that_is_too_old_is_closed(desk: Desk) -> None:
    desk.spot_cheap()
    await desk.open_lots(1)
    desk.pipeline.rules = evolve(RULES, min_spread_bps=Decimal(100))
    desk.clock.step_ns(299 * 10**9)
    assert "below" in await desk.why_not()
    desk.clock.step_ns(2 * 10**9)
    assert await desk.pipeline.tick()
    assert desk.lots == []


@pytest.mark.parametrize(("spot_qty", "um_qty"), [("0.0159", "5"), ("5", "0.0159")])
async def test_a_lot_is_closed_with_both_legs_or_not_at_all(desk: Desk, spot_qty: str, um_qty: str) -> None:
    """Half of it closed on purpose would be a naked leg."""
    desk.spot_cheap()
    await desk.open_lots(1)
    desk.executor.blotter.put_lot(evolve(desk.lots[0], qty=Decimal("0.015")))  # what is priced; held is more
    desk.quote(SPOT, "60000.00", "60000.10", qty=spot_qty)
    desk.quote(UM, "60000.0", "60000.1", qty=um_qty)
    assert "can't be closed" in await desk.why_not()


async def test_closing_comes_before_opening(desk: Desk) -> None:
    desk.spot_cheap()
    await desk.open_lots(1)
    desk.spot_dear()
    assert await desk.pipeline.tick()
    assert await desk.pipeline.tick()
    assert [intent.purpose for intent in desk.executor.intents] == [Purpose.OPEN, Purpose.CLOSE, Purpose.OPEN]


async def test_a_half_done_lot_is_concluded_before_anything_else(desk: Desk) -> None:
    desk.spot_cheap()
    (lot,) = await desk.open_lots(1)
    desk.executor.concluded.clear()
    desk.executor.blotter.put_lot(evolve(lot, state=LotState.OPENING))
    assert await desk.pipeline.tick()
    assert desk.executor.concluded[0] == lot.id


async def test_a_stuck_lot_is_told_and_nothing_is_opened(desk: Desk) -> None:
    desk.spot_cheap()
    desk.executor.stuck = Stuck("lot-x", Decimal("0.01"), "nobody takes it")
    assert await desk.pipeline.tick()
    assert desk.stuck == [desk.executor.stuck]
    assert not await desk.pipeline.tick()
    assert len(desk.stuck) == 2
    assert len(desk.executor.intents) == 1


# --- DRAIN


async def test_a_drain_closes_what_is_open_opens_nothing_and_says_when_it_is_flat(desk: Desk) -> None:
    desk.spot_cheap()
    opened = await desk.open_lots(2)
    desk.state = evolve(desk.state, mode=Mode.DRAIN)
    for lot in opened:
        assert await desk.pipeline.tick()
        assert (desk.executor.intents[-1].lot_id, desk.executor.intents[-1].purpose) == (lot.id, Purpose.CLOSE)
        assert desk.drained == 0
    assert await desk.why_not() == "draining: nothing is opened"
    assert desk.drained == 1


async def test_a_drain_is_not_over_while_an_order_is_under_way(desk: Desk) -> None:
    desk.state = evolve(desk.state, mode=Mode.DRAIN)
    leg = OrderRequest("pb1", UM, "BTCUSDT", Side.BUY, Purpose.HEDGE, Decimal("0.01"), Decimal(60_000))
    desk.executor.blotter.register(Intent("i", "BTCUSDT", Purpose.HEDGE, "gone", (leg,), 1))
    await desk.why_not()
    assert desk.drained == 0


# --- the reader's side


async def test_what_looks_worth_it_wakes_the_loop_at_once_and_the_rest_does_not(
    desk: Desk, autojump_clock: Any
) -> None:
    desk.pipeline.rules = evolve(RULES, poll_interval_s=3600.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.pipeline.run)
        await trio.sleep(1)
        desk.equal()
        await trio.sleep(1)
        assert desk.executor.intents == []
        desk.spot_cheap()
        began = trio.current_time()
        await trio.testing.wait_all_tasks_blocked()
        assert desk.executor.intents
        assert trio.current_time() == began
        nursery.cancel_scope.cancel()


async def test_without_news_it_looks_every_poll_interval(desk: Desk, autojump_clock: Any) -> None:
    looks: list[float] = []

    def look() -> GateState:
        looks.append(trio.current_time())
        return desk.state

    desk.pipeline.gate_state = look
    with trio.move_on_after(10.5):
        await desk.pipeline.run()
    assert len(looks) == 11


async def test_the_screen_shows_both_edges_and_agrees_with_the_decision(desk: Desk) -> None:
    desk.spot_cheap()
    shown = dict(desk.pipeline.measure_edges())
    assert set(shown) == {"binance-um>binance-spot", "binance-spot>binance-um"}
    await desk.open_lots(1)
    decided = desk.executor.intents[0].edge_bps
    assert decided is not None
    assert shown["binance-spot>binance-um"] == pytest.approx(float(decided), abs=0.01)


async def test_the_basis_is_observed_in_the_direction_of_the_first_venue_and_rests_without_a_book(
    desk: Desk, autojump_clock: Any
) -> None:
    desk.quote(UM, "60000.0", "60000.1")
    desk.quote(SPOT, "60060.00", "60060.10")
    await trio.sleep(60)
    desk.pipeline.on_book(SPOT)
    assert desk.pipeline.basis.value_bps == pytest.approx(9.995, abs=0.01)
    desk.market.books[UM].disconnected()
    desk.pipeline.on_book(UM)
    await trio.sleep(3600)
    desk.quote(UM, "50000.0", "50000.1")
    assert desk.pipeline.basis.value_bps == pytest.approx(9.995, abs=0.01)


async def test_a_constant_gap_between_unlike_venues_is_no_edge(desk: Desk, autojump_clock: Any) -> None:
    desk.pipeline.rules = evolve(RULES, moving_reference=True)
    desk.spot_cheap()
    await trio.sleep(60)
    desk.spot_cheap()
    assert "net edge -7." in await desk.why_not()
    assert desk.pipeline.reference_bps(SPOT) == pytest.approx(-desk.pipeline.reference_bps(UM))
    desk.quote(UM, "60180.0", "60180.1")  # 20 bps more than usual
    assert await desk.pipeline.tick()
    (lot,) = desk.lots
    assert lot.reference_bps == pytest.approx(Decimal(20), abs=Decimal("0.1"))
    assert lot.entry_bps == pytest.approx(Decimal(20), abs=Decimal("0.1"))


async def test_what_risk_refused_is_decided_again_after_a_moment_or_when_something_moved(
    desk: Desk, autojump_clock: Any
) -> None:
    desk.pipeline.limits = evolve(LIMITS, position=Decimal(10))
    desk.spot_cheap()
    refusal = await desk.why_not()
    assert "risk" in refusal
    decided = desk.pipeline.decisions
    desk.spot_cheap()
    assert await desk.why_not() == refusal
    assert desk.pipeline.decisions == decided
    await trio.sleep(0.11)
    desk.spot_cheap()
    assert await desk.why_not() == refusal
    assert desk.pipeline.decisions == decided + 1
    desk.pipeline.limits = LIMITS
    desk.pipeline.wake()
    assert await desk.pipeline.tick()


async def test_a_lower_threshold_is_screened_with_at_once_when_it_is_told(desk: Desk, autojump_clock: Any) -> None:
    desk.pipeline.rules = evolve(RULES, min_spread_bps=Decimal(100), poll_interval_s=3600.0)
    desk.spot_cheap()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.pipeline.run)
        await trio.testing.wait_all_tasks_blocked()
        assert desk.executor.intents == []
        desk.pipeline.rules = evolve(RULES, poll_interval_s=3600.0)
        desk.pipeline.wake()
        await trio.testing.wait_all_tasks_blocked()
        assert desk.executor.intents
        nursery.cancel_scope.cancel()


async def test_an_entry_that_may_not_be_opened_wakes_nobody(desk: Desk, autojump_clock: Any) -> None:
    looks: list[float] = []

    def look() -> GateState:
        looks.append(trio.current_time())
        return desk.state

    desk.pipeline.gate_state = look
    desk.pipeline.rules = evolve(RULES, loop_venues=(UM,), poll_interval_s=3600.0)
    desk.pipeline.wake()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.pipeline.run)
        await trio.testing.wait_all_tasks_blocked()
        before = len(looks)
        desk.spot_cheap()
        await trio.testing.wait_all_tasks_blocked()
        assert len(looks) == before
        desk.pipeline.rules = evolve(RULES, poll_interval_s=3600.0)
        desk.pipeline.wake()
        await trio.testing.wait_all_tasks_blocked()
        assert desk.executor.intents
        nursery.cancel_scope.cancel()


async def test_a_size_is_screened_in_whole_lots_as_it_is_decided(desk: Desk, autojump_clock: Any) -> None:
    """0.0029 BTC are wanted, 0.002 can be had at the best price: the rest of the book is of no concern."""
    desk.pipeline.rules = evolve(RULES, order_notional=Decimal(174), poll_interval_s=3600.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.pipeline.run)
        await trio.testing.wait_all_tasks_blocked()
        desk.quote(SPOT, "59940.00", "59940.01", "0.00201")
        desk.quote(UM, "60060.0", "60060.1", "0.002")
        await trio.testing.wait_all_tasks_blocked()
        assert desk.executor.intents[0].legs[1].qty == Decimal("0.002")
        nursery.cancel_scope.cancel()


async def test_after_a_failed_pair_only_acts_are_followed_by_a_pause(desk: Desk, autojump_clock: Any) -> None:
    desk.pipeline.failed_in_a_row = 3
    looks: list[float] = []

    def look() -> GateState:
        looks.append(trio.current_time())
        return desk.state

    desk.pipeline.gate_state = look
    with trio.move_on_after(0.5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(desk.pipeline.run)
            await trio.sleep(0.1)
            desk.pipeline.wake()
            await trio.sleep(0.1)
            desk.pipeline.wake()
            await trio.sleep_forever()
    assert looks == pytest.approx([0.0, 0.1, 0.2])


async def test_the_way_from_tick_to_order_begins_with_the_frame_that_woke(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, autojump_clock: Any
) -> None:
    desk.spot_cheap()
    for book in desk.market.books.values():
        book.touch(desk.clock.mono_s(), 0.0)
    desk.pipeline.on_book(SPOT)
    send = WholeFills.carry_out

    async def send_late(executor: WholeFills, intent: Intent, lot: Lot) -> Stuck | None:
        await trio.sleep(0.004)
        desk.pipeline.note_first_byte(intent.id)
        await trio.sleep(0.001)
        desk.pipeline.note_first_byte(intent.id)
        return await send(executor, intent, lot)

    monkeypatch.setattr(WholeFills, "carry_out", send_late)
    with trio.move_on_after(0.5):
        await desk.pipeline.run()
    assert desk.pipeline.tick_to_order_ms.values(desk.clock.mono_s())[0] == pytest.approx(4.0), "the first byte alone"
    assert desk.pipeline.tick_to_order_ms.taken == 1, "what no frame woke is not measured"


async def test_failed_pairs_are_counted_until_one_succeeds_and_a_dry_run_s_never(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.spot_cheap()

    async def fail(executor: object, intent: Intent, lot: Lot) -> None:
        await trio.lowlevel.checkpoint()  # neither leg filled: there is no lot

    with monkeypatch.context() as patch:
        patch.setattr(WholeFills, "carry_out", fail)
        patch.setattr(SimulatedExecutor, "carry_out", fail)
        for count in (1, 2):
            assert await desk.pipeline.tick()
            assert desk.pipeline.failed_in_a_row == count
        desk.state = evolve(desk.state, dry_run_only=True)
        assert await desk.pipeline.tick()
        assert (desk.pipeline.simulating, desk.pipeline.failed_in_a_row) == (True, 2)
    desk.state = evolve(desk.state, dry_run_only=False)
    assert await desk.pipeline.tick()
    assert desk.pipeline.failed_in_a_row == 0


async def test_arming_again_forgets_what_failed_before(desk: Desk, autojump_clock: Any) -> None:
    desk.pipeline.failed_in_a_row = 4
    with trio.move_on_after(0.1):
        await desk.pipeline.run()
    assert desk.pipeline.failed_in_a_row == 0
