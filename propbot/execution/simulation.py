"""The dry run's executor: what was decided becomes fills at the prices of the books at that moment; nothing is sent.

It stands where the executor stands and has a blotter of its own, so that a simulated lot is decided on, limited and
closed by the same rules as a real one and never meets a real position, P&L or reconciliation. Whatever it books is
marked `simulated`; ids of its orders and trades begin with `sim-`, which no venue's do.

A simulated pair has one outcome, both legs filled whole, and reaches the ledger in one transaction with it: a crash
finds it there or not, never half done. What it took is still in the venue's book, so it takes from the same book only
once. Latency, competition for the levels and funding are not simulated: a dry run looks better than trading by these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

import trio
from attrs import define, evolve, field

from propbot.domain.clock import Clock
from propbot.domain.instruments import Fees, Instrument, Kind, VenueId
from propbot.domain.lots import FillRow, Intent, Lot, LotState
from propbot.domain.money import BPS, amount_text, floor_to_step
from propbot.domain.orders import Fill, OrderRequest, Purpose, Side
from propbot.domain.pnl import lot_realised
from propbot.execution.blotter import Blotter
from propbot.kit.trace import Trace

ID_PREFIX = "sim-"
FEE_STEP = Decimal("1e-8")
"""Venues cut a fee's digits here."""


class VisibleMarket(Protocol):
    instruments: Mapping[VenueId, Instrument]
    fees: Mapping[VenueId, Fees]

    def take(self, venue: VenueId, side: Side, qty: Decimal) -> tuple[tuple[Decimal, Decimal], ...] | None:
        """(price, quantity) of each level that the order would take, best first; None if it can't be filled."""
        ...

    def book_ids(self) -> Mapping[VenueId, int]: ...


class SimulationLedger(Protocol):
    async def book_simulated(self, intent: Intent, fills: Sequence[Fill], lot: Lot) -> tuple[FillRow, ...]:
        """Durable together once it returns."""
        ...


def mark_simulated(trace: Trace) -> Trace:
    """Rows of a dry run's blotter, under kinds that nobody takes for real ones."""

    def traced(kind: str, **fields: Any) -> None:
        trace(f"simulated_{kind}", **fields)

    return traced


@define(eq=False)
class SimulatedExecutor:
    """`blotter` is its alone: no order is ever in it, only lots and what their fills did to its accounts."""

    ledger: SimulationLedger
    blotter: Blotter
    market: VisibleMarket
    clock: Clock
    taken_from: dict[VenueId, int] = field(factory=dict)
    """Update ids of the books that the last pair took from."""

    def load(self, lots: Sequence[Lot], fills: Sequence[FillRow]) -> None:
        """Take up what earlier dry runs have left."""
        self.blotter.load((), lots, ())
        self.blotter.adopt(fills, news=False)

    def spent_book(self) -> str | None:
        """Why nothing can be simulated now: a book that has not changed since the last pair took from it."""
        for venue, update_id in self.market.book_ids().items():
            if self.taken_from.get(venue) == update_id:
                return f"{venue}: the last simulated pair took from this very book"
        return None

    async def carry_out(self, intent: Intent, lot: Lot) -> None:
        """Book `intent` as filled and give `lot` its next state. No checkpoint lies between the decision and the
        prices. Cancelled midway: the ledger has it all, or will, and so has the blotter."""
        self.taken_from = dict(self.market.book_ids())
        fills = tuple(fill for leg in intent.legs for fill in self._fill(leg))
        rows = tuple(FillRow(fill, lot.id, intent.purpose, self.clock.wall_ns(), simulated=True) for fill in fills)
        after = self._next_state(lot, intent.purpose, rows)
        try:
            await self.ledger.book_simulated(evolve(intent, simulated=True), fills, after)
        except trio.Cancelled:
            self._keep(after, rows)
            raise
        self._keep(after, rows)

    def _fill(self, leg: OrderRequest) -> list[Fill]:
        """One fill a level, as the venue would report and charge it."""
        levels = self.market.take(leg.venue, leg.side, leg.qty)
        assert levels is not None, "the leg was priced from this very book"
        return [self._fill_at(leg, number, price, qty) for number, (price, qty) in enumerate(levels, start=1)]

    def _fill_at(self, leg: OrderRequest, number: int, price: Decimal, qty: Decimal) -> Fill:
        instrument = self.market.instruments[leg.venue]
        received_base = instrument.kind is Kind.SPOT and leg.side is Side.BUY
        charged = qty if received_base else qty * price
        order_id = f"{ID_PREFIX}{leg.client_order_id}"
        return Fill(
            leg.venue, leg.symbol, order_id, leg.client_order_id, f"{order_id}-{number}", leg.side, qty, price,
            floor_to_step(charged * self.market.fees[leg.venue].taker_bps * BPS, FEE_STEP),
            instrument.base if received_base else instrument.quote, "taker", self.clock.wall_ns() // 1_000_000,
        )

    def _next_state(self, lot: Lot, purpose: Purpose, rows: Sequence[FillRow]) -> Lot:
        if purpose is Purpose.OPEN:
            return evolve(lot, state=LotState.OPEN, simulated=True)
        realised = lot_realised([*self.blotter.lot_fills[lot.id], *rows])
        return evolve(lot, state=LotState.CLOSED, closed_ns=self.clock.wall_ns(), realised=realised)

    def _keep(self, lot: Lot, rows: Sequence[FillRow]) -> None:
        """An opened lot before its fills, which are counted to it; a closed one leaves after them."""
        if lot.state is LotState.OPEN:
            self.blotter.put_lot(lot)
        self.blotter.adopt(rows)
        self.blotter.put_lot(lot)
        self.blotter.trace("lot", lot_id=lot.id, state=str(lot.state), qty=amount_text(lot.qty))
