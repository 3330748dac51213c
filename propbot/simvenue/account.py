"""One account at one venue: what a trade, a fee and a funding payment do to it. Exact, to the eighth digit.

Fees, realised profit and funding are quantised to 1e-8 of the asset once, here, as Binance books them; so every
balance is a sum of what the trades say, with no rest (invariant I8). The perp keeps the entry *cost* of its position,
not the average price, because a quotient would lose digits: what a partial close takes of the cost is quantised, the
last close takes all that is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Protocol

from attrs import define, field, frozen

from propbot.domain.instruments import Instrument, Kind
from propbot.domain.money import BPS, ZERO, floor_to_step
from propbot.domain.orders import Side

ASSET_STEP = Decimal("0.00000001")


@frozen
class Booking:
    """What one trade cost and earned."""

    fee: Decimal
    fee_asset: str
    realised: Decimal
    changed: tuple[str, ...]
    """Assets whose balance moved."""


@define
class PerpPosition:
    """`qty` is signed; `cost` is Σ price × |quantity| of what is open, never negative."""

    qty: Decimal = ZERO
    cost: Decimal = ZERO

    @property
    def entry_price(self) -> Decimal:
        return self.cost / abs(self.qty) if self.qty else ZERO

    def profit_at(self, mark: Decimal) -> Decimal:
        """Unrealised, in quote."""
        value = abs(self.qty) * mark
        return value - self.cost if self.qty > 0 else self.cost - value


class Account(Protocol):
    """Balances are totals, locked amounts included."""

    balances: dict[str, Decimal]
    positions: dict[str, PerpPosition]

    def book(self, instrument: Instrument, side: Side, qty: Decimal, price: Decimal, fee_bps: Decimal) -> Booking: ...


@define
class SpotAccount:
    """Base and quote change hands; the fee comes off whatever is received."""

    balances: dict[str, Decimal]
    positions: dict[str, PerpPosition] = field(factory=dict)

    def book(self, instrument: Instrument, side: Side, qty: Decimal, price: Decimal, fee_bps: Decimal) -> Booking:
        base, quote = instrument.base, instrument.quote
        self._move(base, side.sign * qty)
        self._move(quote, -side.sign * qty * price)
        received, fee_asset = (qty, base) if side is Side.BUY else (qty * price, quote)
        fee = floor_to_step(received * fee_bps * BPS, ASSET_STEP)
        self._move(fee_asset, -fee)
        return Booking(fee, fee_asset, ZERO, (base, quote))

    def _move(self, asset: str, amount: Decimal) -> None:
        self.balances[asset] = self.balances.get(asset, ZERO) + amount


@define
class PerpAccount:
    """A wallet in the quote asset and one net position a symbol (one-way mode, cross margin)."""

    balances: dict[str, Decimal]
    positions: dict[str, PerpPosition] = field(factory=dict)

    def book(self, instrument: Instrument, side: Side, qty: Decimal, price: Decimal, fee_bps: Decimal) -> Booking:
        position = self.positions.setdefault(instrument.symbol, PerpPosition())
        closing = min(qty, abs(position.qty)) if position.qty * side.sign < 0 else ZERO
        realised = self._close(position, closing, price) if closing else ZERO
        opening = qty - closing
        position.qty += side.sign * opening
        position.cost += opening * price
        fee = floor_to_step(qty * price * fee_bps * BPS, ASSET_STEP)
        self.balances[instrument.quote] = self.balances.get(instrument.quote, ZERO) + realised - fee
        return Booking(fee, instrument.quote, realised, (instrument.quote,))

    def _close(self, position: PerpPosition, qty: Decimal, price: Decimal) -> Decimal:
        """Take `qty` (> 0, at most what is open) off the position; the profit in quote."""
        whole = qty == abs(position.qty)
        cost = position.cost if whole else floor_to_step(position.cost * qty / abs(position.qty), ASSET_STEP)
        direction = 1 if position.qty > 0 else -1
        position.qty -= direction * qty
        position.cost -= cost
        return direction * (qty * price - cost)

    def fund(self, instrument: Instrument, rate: Decimal, mark: Decimal) -> Decimal:
        """Pay or receive funding on the open position; the amount booked (positive: received). Longs pay a positive
        rate."""
        position = self.positions.get(instrument.symbol, PerpPosition())
        amount = floor_to_step(-position.qty * mark * rate, ASSET_STEP)
        self.balances[instrument.quote] = self.balances.get(instrument.quote, ZERO) + amount
        return amount


def restore_account(
    kind: Kind, balances: Mapping[str, Decimal], positions: Mapping[str, tuple[Decimal, Decimal]]
) -> SpotAccount | PerpAccount:
    """The account as the store has it; `positions` holds (signed quantity, cost)."""
    if kind is Kind.SPOT:
        return SpotAccount(dict(balances))
    return PerpAccount(dict(balances), {symbol: PerpPosition(qty, cost) for symbol, (qty, cost) in positions.items()})
