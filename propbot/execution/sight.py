"""What the executor sees of a lot before it acts: what is naked, which orders would lower it, what stands in their way.

Reads the blotter, the books and the gate; changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal

from attrs import define, evolve, field, frozen

from propbot.domain.clock import Clock
from propbot.domain.instruments import VenueId
from propbot.domain.lots import Lot, LotState
from propbot.domain.mode import ExposureChange, GateState
from propbot.domain.money import ZERO
from propbot.domain.orders import Side
from propbot.execution.blotter import Blotter
from propbot.execution.gate import gate_refusal
from propbot.execution.legs import Legs, Seen, Way
from propbot.execution.ports import Market
from propbot.execution.ways import ORPHAN, Unequal, ways_to_reduce


@frozen
class ExecutionRules:
    max_slippage_bps: Decimal
    hedge_slippage_bps_max: Decimal
    """A hedge may pay more than an entry, but not without bound."""
    hedge_deadline_s: float
    hedge_attempts: int = 3
    """On each of the two venues."""


@define(eq=False)
class LotSight:
    blotter: Blotter
    market: Market
    gate_state: Callable[[], GateState]
    rules: ExecutionRules
    clock: Clock
    free_balances: Callable[[], Mapping[tuple[VenueId, str], Decimal]] = field(default=dict)
    """What can be spent; a spot leg is not sent for more. Empty: unknown, the venue will say."""
    reduces_at_venue: Callable[[VenueId, Side, Decimal], bool] = field(default=lambda venue, side, qty: True)
    """Whether reduce-only would pass at the venue, where a foreign position may lie on top of ours."""

    def look(self, lot: Lot, legs: Legs, last_id: str) -> Seen:
        orders = self.blotter.lot_orders(lot.id)
        last = self.blotter.orders.get(last_id)
        return Seen(
            self.clock.mono_s(), any(order.uncertain for order in orders), all(order.settled for order in orders),
            tuple(self._ready(way, legs) for way in self.ways(lot)), "" if last is None else last.reason,
        )

    def needs_concluding(self, lot: Lot) -> bool:
        """Half done; or OPEN, and a fill that came late has made its legs unequal by more than dust."""
        if lot.state is not LotState.OPEN:
            return True
        steps = [each.lot_step for each in self.market.instruments.values()]
        if len(steps) < len(self.blotter.accounts) or abs(self.imbalance(lot)) < max(steps):
            return False
        return next(self.ways(lot), None) is not None

    def base(self, lot: Lot) -> Mapping[VenueId, Decimal]:
        """What is this lot's to trade; an orphan's is all that no other lot holds."""
        if lot.exit_reason != ORPHAN:
            return self.blotter.lot_base(lot.id)
        base = {venue: self.blotter.position(venue) for venue in self.blotter.accounts}
        for other in self.blotter.lots:
            for venue, held in self.blotter.lot_base(other).items() if other != lot.id else ():
                base[venue] -= held
        return base

    def imbalance(self, lot: Lot) -> Decimal:
        return sum(self.base(lot).values(), ZERO)

    def ways(self, lot: Lot) -> Iterator[Way]:
        base = self.base(lot)
        marks = {venue: self.market.mark(venue) for venue in self.market.instruments}
        return ways_to_reduce(
            Unequal(
                lot, base, sum(base.values(), ZERO), self.market.instruments, marks, self.free_balances(),
                self.reduces_at_venue,
            )
        )

    def _ready(self, way: Way, legs: Legs) -> Way:
        """With its price, bounded (each attempt may pay more, up to the bound), or with what stands in its way."""
        if not legs.open(way):
            return way
        before = self.blotter.exposure()
        change = ExposureChange(before, before + way.side.sign * way.qty)
        refusal = gate_refusal(self.gate_state(), way.purpose, change)
        if refusal is not None:
            return evolve(way, refusal=refusal)
        attempt = legs.tried(way.venue) + 1
        slippage_bps = min(self.rules.max_slippage_bps * (1 + 2 * attempt), self.rules.hedge_slippage_bps_max)
        return evolve(way, limit_price=self.market.walk_limit(way.venue, way.side, way.qty, slippage_bps))
