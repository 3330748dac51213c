"""The ways to lower a lot's imbalance: which venue, which side, how much. Pure; `legs` chooses among them.

Opening: the leg that is behind is hedged, the leg that is ahead would be unwound. Closing: the same with the venues'
parts exchanged, since there the leg that is ahead is the one that has closed already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal

from attrs import frozen

from propbot.domain.instruments import Instrument, Kind, VenueId
from propbot.domain.lots import Lot, LotState
from propbot.domain.money import ZERO, amount_text, floor_to_step
from propbot.domain.orders import Purpose, Side
from propbot.execution.legs import Way

ORPHAN = "ORPHAN"
"""The exit reason of a lot that was made to take back exposure which belongs to no lot (a fill that came after its lot
was closed). Its imbalance is everything that the other lots do not hold."""


@frozen
class Unequal:
    """A lot's legs and what is known of the venues."""

    lot: Lot
    base: Mapping[VenueId, Decimal]
    """Signed base on each venue that is this lot's to trade."""
    imbalance: Decimal
    instruments: Mapping[VenueId, Instrument]
    marks: Mapping[VenueId, Decimal | None]
    free: Mapping[tuple[VenueId, str], Decimal]
    """What a spot account can spend; absent: unknown, and then the venue says."""
    reduces: Callable[[VenueId, Side, Decimal], bool]
    """Whether the account's whole position, foreign parts included, is lowered by all of the order: reduce-only would
    be refused otherwise."""


def ways_to_reduce(unequal: Unequal) -> Iterator[Way]:
    """Without a price, the hedge before the unwind. Nothing for dust."""
    if unequal.imbalance == 0:
        return
    side = Side.SELL if unequal.imbalance > 0 else Side.BUY
    for venue, purpose in zip(_venues(unequal.lot, side), (Purpose.HEDGE, Purpose.UNWIND), strict=True):
        way = _way(unequal, venue, side, purpose)
        if way is not None:
            yield way


def _venues(lot: Lot, side: Side) -> tuple[VenueId, VenueId]:
    opening = (lot.sell_venue, lot.buy_venue) if side is Side.SELL else (lot.buy_venue, lot.sell_venue)
    return opening[::-1] if lot.state is LotState.CLOSING else opening


def _way(unequal: Unequal, venue: VenueId, side: Side, purpose: Purpose) -> Way | None:
    instrument = unequal.instruments[venue]
    wanted = abs(unequal.imbalance) + _rounding_of(instrument, unequal.instruments)
    qty = floor_to_step(wanted, instrument.lot_step)
    held = unequal.base.get(venue, ZERO)
    ours = held * side.sign < 0 and abs(held) >= qty
    reduce_only = instrument.kind is Kind.PERP and ours and unequal.reduces(venue, side, qty)
    mark = unequal.marks.get(venue)
    if not _is_legal(instrument, qty, reduce_only, mark):
        return None
    affordable = _affordable(unequal, instrument, side, mark)
    if affordable is not None and affordable < qty:
        qty = floor_to_step(affordable, instrument.lot_step)
        if not _is_legal(instrument, qty, reduce_only, mark):
            asset = instrument.base if side is Side.SELL else instrument.quote
            has = amount_text(unequal.free[venue, asset])
            return Way(venue, purpose, side, qty, refusal=f"{venue} has only {has} {asset} free")
    return Way(venue, purpose, side, qty, reduce_only)


def _rounding_of(instrument: Instrument, instruments: Mapping[VenueId, Instrument]) -> Decimal:
    """How much more than the imbalance an order may be: the rounding that a fee in base and the finest step leave.

    Without it 0.015998 naked would be hedged as 0.015 on a venue that steps by 0.001, and the rest on the other
    one: two small positions that belong to nobody.
    """
    finest = min(each.lot_step for each in instruments.values())
    return finest * 2 if instrument.lot_step > finest * 10 else ZERO


def _is_legal(instrument: Instrument, qty: Decimal, reduce_only: bool, mark: Decimal | None) -> bool:
    if qty <= 0 or qty < instrument.qty_min:
        return False
    # without a mark the venue may refuse it; that costs an attempt, skipping it would leave a leg naked
    return reduce_only or mark is None or qty * mark >= instrument.notional_min


def _affordable(unequal: Unequal, instrument: Instrument, side: Side, mark: Decimal | None) -> Decimal | None:
    """How much base a spot account can sell, or buy; None where nothing bounds it here."""
    if instrument.kind is not Kind.SPOT:
        return None
    if side is Side.SELL:
        return unequal.free.get((instrument.venue, instrument.base))
    quote = unequal.free.get((instrument.venue, instrument.quote))
    return None if quote is None or mark is None else max(quote, ZERO) / mark
