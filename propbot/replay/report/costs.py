"""A lot's fills against what was decided: where its realised P&L came from, to the last digit.

    realised = spread at decision prices − slippage at entry − slippage at exit − hedging − fees + dust

Every fill is held against the average price that the decision's walk promised for its leg; the difference is slippage,
positive where it cost us. Of a hedge or an unwind that difference is `hedging`: what it cost that a leg missed.
`dust` is what the base left over (lot steps, fees in base) makes of this: it stays in the books at its average entry
price, not at the decision's. Funding is booked by venue, not by lot, and is in no lot's realised.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum

from attrs import frozen

from propbot.domain.instruments import VenueId
from propbot.domain.lots import FillRow, Lot, OrderRow
from propbot.domain.money import BPS, ZERO
from propbot.domain.orders import Purpose, Side
from propbot.domain.pnl import lot_accounts, lot_other_fees
from propbot.replay.report.reading import Decision


class Phase(StrEnum):
    ENTRY = "entry"
    EXIT = "exit"


_MISSED = (Purpose.HEDGE, Purpose.UNWIND)


@frozen
class LegCost:
    """One side of one venue: what was decided, what was got. Amounts in quote; a positive slippage is a cost."""

    phase: Phase
    venue: VenueId
    side: Side
    qty: Decimal
    hedged_qty: Decimal
    """Of `qty`, by a hedge or an unwind."""
    fills: int
    decision_price: Decimal | None
    """Averaged over the fills where there was more than one decision; None: nothing was decided for it."""
    fill_price: Decimal | None
    slippage: Decimal | None

    @property
    def slippage_bps(self) -> Decimal | None:
        if self.slippage is None or not self.decision_price or not self.qty:
            return None
        return self.slippage / (self.decision_price * self.qty) / BPS


@frozen
class LotCosts:
    """Quote; costs are positive. For an open lot only what has been filled so far."""

    gross: Decimal
    slippage_entry: Decimal
    slippage_exit: Decimal
    hedging: Decimal
    fees: Decimal
    dust: Decimal
    other_fees: Mapping[str, Decimal]
    """By asset: fees that are in no sum."""

    @property
    def slippage(self) -> Decimal:
        return self.slippage_entry + self.slippage_exit + self.hedging

    @property
    def realised(self) -> Decimal:
        return self.gross - self.slippage - self.fees + self.dust


def added_up(costs: Sequence[LotCosts]) -> LotCosts:
    """Fees in other assets left out."""
    return LotCosts(
        gross=sum((cost.gross for cost in costs), ZERO),
        slippage_entry=sum((cost.slippage_entry for cost in costs), ZERO),
        slippage_exit=sum((cost.slippage_exit for cost in costs), ZERO),
        hedging=sum((cost.hedging for cost in costs), ZERO),
        fees=sum((cost.fees for cost in costs), ZERO),
        dust=sum((cost.dust for cost in costs), ZERO),
        other_fees={},
    )


@frozen
class _Priced:
    """A fill and the price that was decided for it."""

    row: FillRow
    phase: Phase
    decided: Decimal | None

    @property
    def slippage(self) -> Decimal | None:
        fill = self.row.fill
        return None if self.decided is None else fill.side.sign * fill.qty * (fill.price - self.decided)


@frozen
class LotFills:
    """A lot's fills, each with the price decided for it."""

    lot: Lot
    priced: Sequence[_Priced]
    decisions: Sequence[Decision]

    def legs(self) -> tuple[LegCost, ...]:
        """Entry before exit, the buy venue before the sell venue; those of which something was decided or filled."""
        lot = self.lot
        wanted = [
            (Phase.ENTRY, lot.buy_venue, Side.BUY), (Phase.ENTRY, lot.sell_venue, Side.SELL),
            (Phase.EXIT, lot.buy_venue, Side.SELL), (Phase.EXIT, lot.sell_venue, Side.BUY),
        ]
        return tuple(leg for each in wanted if (leg := self._leg(*each)) is not None)

    def _leg(self, phase: Phase, venue: VenueId, side: Side) -> LegCost | None:
        of_leg = [p for p in self.priced if (p.row.fill.venue, p.row.fill.side) == (venue, side)]
        qty = sum((p.row.fill.qty for p in of_leg), ZERO)
        if not qty:
            decided = _latest(self.decisions, venue, side)
            return None if decided is None else LegCost(phase, venue, side, ZERO, ZERO, 0, decided, None, None)
        return LegCost(
            phase, venue, side, qty,
            sum((p.row.fill.qty for p in of_leg if p.row.purpose in _MISSED), ZERO), len(of_leg),
            _average([(p.decided, p.row.fill.qty) for p in of_leg]),
            _average([(p.row.fill.price, p.row.fill.qty) for p in of_leg]),
            _total([p.slippage for p in of_leg]),
        )

    def costs(self) -> LotCosts | None:
        """None where a fill has no price decided for it: then nothing can be said of slippage."""
        if any(p.decided is None for p in self.priced):
            return None
        slippage: dict[str, Decimal] = defaultdict(lambda: ZERO)
        gross = ZERO
        for p in self.priced:
            assert p.decided is not None
            assert p.slippage is not None
            slippage["hedging" if p.row.purpose in _MISSED else p.phase] += p.slippage
            gross -= p.row.fill.side.sign * p.row.fill.qty * p.decided
        rows = [p.row for p in self.priced]
        left_over = self._value_left_over()
        fees, dust = ZERO, -left_over
        for account in lot_accounts(rows):
            fees += account.fees_quote
            # what left the account beyond the price of its fills is the fees in quote; the others were taken in base
            of_account = [row.fill for row in rows if row.fill.venue == account.venue]
            spent = sum((fill.side.sign * fill.qty * fill.price for fill in of_account), ZERO)
            fees_in_quote = -account.quote_change - spent
            dust += account.cost + account.fees_quote - fees_in_quote
        return LotCosts(
            gross + left_over, slippage[Phase.ENTRY], slippage[Phase.EXIT], slippage["hedging"], fees, dust,
            lot_other_fees(rows),
        )

    def _value_left_over(self) -> Decimal:
        """Base that was bought and not sold again, or the other way round, at the price decided for it."""
        value = ZERO
        for venue, entry in ((self.lot.buy_venue, Side.BUY), (self.lot.sell_venue, Side.SELL)):
            of_venue = [p for p in self.priced if p.row.fill.venue == venue]
            left = sum((p.row.fill.side.sign * p.row.fill.qty for p in of_venue), ZERO)
            side = entry if left * entry.sign > 0 else entry.opposite
            price = _average([(p.decided, p.row.fill.qty) for p in of_venue if p.row.fill.side is side])
            value += left * (price or ZERO)
        return value


def price_fills(
    lot: Lot, fills: Sequence[FillRow], decisions: Sequence[Decision], orders: Mapping[str, OrderRow]
) -> LotFills:
    """`fills` and `decisions` are the lot's; an order tells when it was sent, and so which decision it came of."""
    return LotFills(lot, [_price(lot, row, decisions, orders) for row in fills], decisions)


def _price(lot: Lot, row: FillRow, decisions: Sequence[Decision], orders: Mapping[str, OrderRow]) -> _Priced:
    fill = row.fill
    order = orders.get(fill.client_order_id)
    before = [d for d in decisions if order is None or d.created_ns <= order.created_ns]
    # an unwind takes back what the last decision did, or wanted to do, at that venue
    side = None if row.purpose is Purpose.UNWIND else fill.side
    entry_side = Side.BUY if fill.venue == lot.buy_venue else Side.SELL
    phase = Phase.ENTRY if fill.side is entry_side else Phase.EXIT
    decided = _latest(before, fill.venue, side)
    if decided is None:  # a hedge in the wind-down of a HOLD: nothing was decided for that side
        decided = _latest(before, fill.venue, None)
    return _Priced(row, phase, decided)


def _latest(decisions: Sequence[Decision], venue: VenueId, side: Side | None) -> Decimal | None:
    """The price last decided at `venue`, on either side with None."""
    for decision in reversed(decisions):
        for (its_venue, its_side), price in decision.expected.items():
            if its_venue == venue and side in (None, its_side):
                return price
    return None


def _average(prices: Sequence[tuple[Decimal | None, Decimal]]) -> Decimal | None:
    """By quantity; None without any, or where one is unknown."""
    total = qty = ZERO
    for price, part in prices:
        if price is None:
            return None
        total += price * part
        qty += part
    return total / qty if qty else None


def _total(amounts: Sequence[Decimal | None]) -> Decimal | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known, ZERO) if len(known) == len(amounts) else None
