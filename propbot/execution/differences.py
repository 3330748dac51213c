"""What differs between our books and a venue's numbers, in words that name venue, symbol and quantity. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal

from attrs import frozen

from propbot.domain.instruments import Instrument, Kind, VenueId
from propbot.domain.money import ZERO, amount_text
from propbot.domain.orders import Balance, Fill, OrderReport, VenuePosition
from propbot.domain.pnl import PositionAccount
from propbot.kit.ids import is_ours

CENT_OF_A_SATOSHI = Decimal("1e-8")
"""Venues keep eight digits; each fill may be rounded by one of them."""

TOLERANCE_MAX = Decimal("1e-5")
"""However many fills there were: a lot step of spot is a difference."""


@frozen
class OurBooks:
    """One venue as we know it. `foreign`: the newest fill on the account that no order of ours explains."""

    instrument: Instrument
    account: PositionAccount
    baselines: Mapping[tuple[VenueId, str], Decimal]
    fill_count: int
    known_orders: Collection[str]
    foreign: Fill | None = None
    cost_gap: Decimal = ZERO
    """The venue's cost of a perp position less ours, when its quote baseline was last accepted."""

    def baseline(self, asset: str) -> Decimal:
        return self.baselines.get((self.instrument.venue, asset), ZERO)

    def text(self, what: str, booked: Decimal, held: Decimal) -> str:
        text = f"{self.instrument.venue} {what} ledger {amount_text(booked)}, venue {amount_text(held)}"
        last = self.foreign
        if last is not None:
            text += f" (foreign trade: {last.side} {amount_text(last.qty)} {last.symbol} at {amount_text(last.price)})"
        return text


def position_differences(ours: OurBooks, positions: Sequence[VenuePosition]) -> Sequence[str]:
    """Of our symbol; spot has none. No tolerance: a perp's position is a sum of quantities."""
    instrument = ours.instrument
    if instrument.kind is not Kind.PERP:
        return ()
    held = sum((each.qty for each in positions if each.symbol == instrument.symbol), ZERO)
    booked = ours.account.qty + ours.baseline(instrument.base)
    return () if held == booked else (ours.text(instrument.symbol, booked, held),)


def balance_differences(
    ours: OurBooks, balances: Sequence[Balance], positions: Sequence[VenuePosition]
) -> Sequence[str]:
    instrument = ours.instrument
    changes = {instrument.quote: ours.account.quote_change}
    if instrument.kind is Kind.SPOT:
        changes[instrument.base] = ours.account.qty
    held = {balance.asset: balance.total for balance in balances}
    tolerance = min(CENT_OF_A_SATOSHI * (1 + ours.fill_count), TOLERANCE_MAX)
    found: list[str] = []
    for asset, change in changes.items():
        booked, venue_has = ours.baseline(asset) + change, held.get(asset, ZERO)
        if asset == instrument.quote and abs(booked + _netted(ours, positions) - venue_has) <= tolerance:
            continue
        if abs(booked - venue_has) > tolerance:
            found.append(ours.text(f"{instrument.symbol} {asset}", booked, venue_has))
    return found


def _netted(ours: OurBooks, positions: Sequence[VenuePosition]) -> Decimal:
    """What a foreign position moves between a perp's wallet and its cost: the venue nets both together, so that a close
    of ours realises another amount than by our own average. Wallet less cost is the same for both."""
    if ours.instrument.kind is not Kind.PERP:
        return ZERO
    return position_cost(positions, ours.instrument.symbol) - ours.account.cost - ours.cost_gap


def position_cost(positions: Sequence[VenuePosition], symbol: str) -> Decimal:
    """What the venue says that the position of `symbol` has cost, signed, in quote."""
    return sum((each.qty * each.entry_price for each in positions if each.symbol == symbol), ZERO)


def order_differences(ours: OurBooks, open_orders: Sequence[OrderReport]) -> Sequence[str]:
    instrument = ours.instrument
    return [
        f"{instrument.venue} {instrument.symbol} order {order.client_order_id} is open at the venue, unknown here"
        for order in open_orders
        if is_ours(order.client_order_id) and order.client_order_id not in ours.known_orders
    ]


def foreign_positions(ours: OurBooks, positions: Sequence[VenuePosition]) -> tuple[str, ...]:
    """What the account holds in symbols that we don't trade, as "ETHUSDT 0.5"."""
    mine = ours.instrument.symbol
    return tuple(sorted(f"{each.symbol} {amount_text(each.qty)}" for each in positions if each.symbol != mine))
