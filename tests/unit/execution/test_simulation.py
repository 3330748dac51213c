"""The dry run's executor: fills level by level as the venue would charge them, one whole outcome, nothing real."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
import trio
from attrs import define, field

from propbot.domain.errors import LedgerError
from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM, Fees, Instrument, Kind, VenueId
from propbot.domain.lots import Intent, Lot, LotState
from propbot.domain.orders import OrderRequest, OrderState, Purpose, Side
from propbot.domain.pnl import PositionAccount
from propbot.execution.blotter import Blotter
from propbot.execution.simulation import SimulatedExecutor, mark_simulated
from propbot.kit.clock import VirtualClock
from propbot.kit.crash import CrashPoints
from propbot.kit.disk import open_sqlite
from propbot.kit.threads import open_inline_worker
from propbot.kit.trace import MemoryTrace
from propbot.ledger import Ledger, open_ledger

SYMBOL = "BTCUSDT"
KINDS = {BINANCE_SPOT: Kind.SPOT, BINANCE_UM: Kind.PERP}
ASKS = ((Decimal(60000), Decimal("0.010")), (Decimal("60001.5"), Decimal(1)))
BIDS = ((Decimal(59990), Decimal("0.004")), (Decimal(59980), Decimal(1)))


@define
class TwoLevels:
    """The same two levels on both venues; `ids` are the books' update ids."""

    instruments: Mapping[VenueId, Instrument] = field(
        factory=lambda: {
            venue: Instrument(
                venue, SYMBOL, kind, "BTC", "USDT", Decimal("0.01"), Decimal("0.001"), Decimal("0.001"), Decimal(9),
                Decimal(5),
            )
            for venue, kind in KINDS.items()
        }
    )
    fees: Mapping[VenueId, Fees] = field(
        factory=lambda: {
            BINANCE_SPOT: Fees(Decimal(1), Decimal(2)), BINANCE_UM: Fees(Decimal(0), Decimal("1.7")),
        }
    )
    ids: dict[VenueId, int] = field(factory=lambda: {BINANCE_SPOT: 7, BINANCE_UM: 9})

    def take(self, venue: VenueId, side: Side, qty: Decimal) -> tuple[tuple[Decimal, Decimal], ...] | None:
        first, second = ASKS if side is Side.BUY else BIDS
        if qty <= first[1]:
            return ((first[0], qty),)
        return (first, (second[0], qty - first[1]))

    def book_ids(self) -> Mapping[VenueId, int]:
        return self.ids


@pytest.fixture
async def ledger(tmp_path: Any) -> Any:
    async with open_ledger(
        tmp_path / "ledger.db", clock=VirtualClock(1_790_000_000_000_000_000), open_worker=open_inline_worker,
        open_connection=open_sqlite, crash=CrashPoints(), synchronous="normal",
    ) as opened:
        yield opened


def make_simulator(ledger: Any, rows: list[dict[str, Any]] | None = None) -> SimulatedExecutor:
    clock = VirtualClock(1_790_000_000_000_000_000)
    accounts = {venue: PositionAccount(venue, SYMBOL, kind, "BTC", "USDT") for venue, kind in KINDS.items()}
    trace = mark_simulated(MemoryTrace("bot", [] if rows is None else rows))
    return SimulatedExecutor(ledger, Blotter(accounts, clock, trace), TwoLevels(), clock)


def leg(client_order_id: str, venue: VenueId, side: Side, purpose: Purpose, qty: str) -> OrderRequest:
    return OrderRequest(client_order_id, venue, SYMBOL, side, purpose, Decimal(qty), None)


def opening() -> tuple[Intent, Lot]:
    lot = Lot(
        "lot-1", SYMBOL, LotState.OPENING, BINANCE_SPOT, BINANCE_UM, Decimal("0.015"), 1, Decimal(3), Decimal(0)
    )
    legs = (
        leg("pb1", BINANCE_SPOT, Side.BUY, Purpose.OPEN, "0.016"),
        leg("pb2", BINANCE_UM, Side.SELL, Purpose.OPEN, "0.015"),
    )
    return Intent("intent-1", SYMBOL, Purpose.OPEN, lot.id, legs, 1, Decimal(3)), lot


def closing(lot: Lot) -> tuple[Intent, Lot]:
    legs = (
        leg("pb3", BINANCE_SPOT, Side.SELL, Purpose.CLOSE, "0.015"),
        leg("pb4", BINANCE_UM, Side.BUY, Purpose.CLOSE, "0.015"),
    )
    return Intent("intent-2", SYMBOL, Purpose.CLOSE, lot.id, legs, 2), lot


async def test_a_leg_takes_level_by_level_and_pays_the_taker_fee(ledger: Ledger) -> None:
    simulator = make_simulator(ledger)
    await simulator.carry_out(*opening())
    rows = await ledger.all_fills(simulated=True)
    bought = [row.fill for row in rows if row.fill.venue == BINANCE_SPOT]
    sold = [row.fill for row in rows if row.fill.venue == BINANCE_UM]
    assert [(fill.price, fill.qty, fill.fee, fill.fee_asset) for fill in bought] == [
        (Decimal(60000), Decimal("0.01"), Decimal("0.000002"), "BTC"),
        (Decimal("60001.5"), Decimal("0.006"), Decimal("0.0000012"), "BTC"),
    ]
    assert [(fill.price, fill.qty, fill.fee, fill.fee_asset) for fill in sold] == [
        (Decimal(59990), Decimal("0.004"), Decimal("0.0407932"), "USDT"),
        (Decimal(59980), Decimal("0.011"), Decimal("0.1121626"), "USDT"),
    ]
    assert {fill.liquidity for fill in (*bought, *sold)} == {"taker"}


async def test_its_ids_are_no_venues_and_no_real_watermark(ledger: Ledger) -> None:
    await make_simulator(ledger).carry_out(*opening())
    rows = await ledger.all_fills(simulated=True)
    assert len({row.fill.key for row in rows}) == 4
    assert all(row.fill.order_id.startswith("sim-") and row.fill.trade_id.startswith("sim-") for row in rows)
    assert await ledger.last_trade_id(BINANCE_UM, SYMBOL) is None
    assert await ledger.all_fills() == ()
    assert await ledger.live_lots() == ()


async def test_intent_orders_fills_and_lot_are_durable_together_with_their_outcome(ledger: Ledger) -> None:
    await make_simulator(ledger).carry_out(*opening())
    for client_order_id in ("pb1", "pb2"):
        order = await ledger.order(client_order_id)
        assert order is not None
        assert (order.state, order.simulated, order.filled_qty) == (OrderState.FILLED, True, order.request.qty)
    assert await ledger.unfinished_orders(simulated=True) == ()
    (lot,) = await ledger.live_lots(simulated=True)
    assert (lot.state, lot.simulated, lot.qty) == (LotState.OPEN, True, Decimal("0.015"))


async def test_a_closed_lot_has_realised_what_its_fills_made(ledger: Ledger) -> None:
    simulator = make_simulator(ledger)
    await simulator.carry_out(*opening())
    await simulator.carry_out(*closing(simulator.blotter.lots["lot-1"]))
    assert simulator.blotter.lots == {}
    (lot,), _ = await ledger.lots_page(10)
    assert lot.state is LotState.CLOSED
    realised = sum(account.realised_net for account in simulator.blotter.accounts.values())
    assert lot.realised == realised
    assert realised < 0, "it bought at the ask, sold at the bid, and paid four fees"


async def test_a_book_is_taken_from_once(ledger: Ledger) -> None:
    simulator = make_simulator(ledger)
    assert simulator.spent_book() is None
    await simulator.carry_out(*opening())
    assert simulator.spent_book() == f"{BINANCE_SPOT}: the last simulated pair took from this very book"
    market = simulator.market
    assert isinstance(market, TwoLevels)
    market.ids[BINANCE_SPOT] += 1
    assert simulator.spent_book() == f"{BINANCE_UM}: the last simulated pair took from this very book"
    market.ids[BINANCE_UM] += 1
    assert simulator.spent_book() is None


async def test_a_restart_takes_up_lots_and_accounts(ledger: Ledger) -> None:
    before = make_simulator(ledger)
    await before.carry_out(*opening())
    after = make_simulator(ledger)
    after.load(await ledger.live_lots(simulated=True), await ledger.all_fills(simulated=True))
    assert after.blotter.lots == before.blotter.lots
    assert after.blotter.accounts == before.blotter.accounts
    assert after.blotter.lot_base("lot-1") == before.blotter.lot_base("lot-1")
    assert after.blotter.outbox_size == 0
    await after.carry_out(*closing(after.blotter.lots["lot-1"]))
    assert await ledger.live_lots(simulated=True) == ()


async def test_cancelled_while_the_ledger_writes_both_know_the_pair(ledger: Ledger) -> None:
    simulator = make_simulator(ledger)
    with trio.CancelScope() as scope:
        scope.cancel()
        await simulator.carry_out(*opening())
    assert scope.cancelled_caught
    assert list(simulator.blotter.lots) == ["lot-1"]
    assert tuple(simulator.blotter.lots.values()) == await ledger.live_lots(simulated=True)
    assert len(simulator.blotter.lot_fills["lot-1"]) == len(await ledger.all_fills(simulated=True)) == 4


async def test_what_the_ledger_refuses_did_not_happen() -> None:
    class Broken:
        async def book_simulated(self, intent: Intent, fills: Any, lot: Lot) -> Any:
            await trio.lowlevel.checkpoint()
            raise LedgerError("disk full")

    simulator = make_simulator(Broken())
    with pytest.raises(LedgerError):
        await simulator.carry_out(*opening())
    assert simulator.blotter.lots == {}
    assert all(account.qty == 0 for account in simulator.blotter.accounts.values())


async def test_its_trace_is_never_taken_for_a_real_one(ledger: Ledger) -> None:
    rows: list[dict[str, Any]] = []
    await make_simulator(ledger, rows).carry_out(*opening())
    assert rows
    assert all(row["kind"].startswith("simulated_") for row in rows)


async def test_real_rows_and_real_lots_are_refused_as_simulated(ledger: Ledger) -> None:
    intent, lot = opening()
    with pytest.raises(AssertionError):
        await ledger.book_simulated(intent, (), lot)
    assert await ledger.live_lots() == await ledger.live_lots(simulated=True) == ()
