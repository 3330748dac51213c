"""Profit and loss by average cost, exact: what fills and funding did to position, cash and fees.

The identity that everything here keeps, at any mark and after any fills (DESIGN 6):

    Δ quote + Σ base × mark = realised − fees + funding + unrealised

A position's share of its cost is rounded once, to `COST_STEP`, and what is taken out is what leaves: the identity
has no rounding error. `lot_realised` applies the same accounts to the fills of one lot.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from attrs import Factory, define, frozen

from propbot.domain.instruments import Instrument, Kind, VenueId
from propbot.domain.lots import FillRow
from propbot.domain.money import ZERO
from propbot.domain.orders import Fill, Funding

COST_STEP = Decimal("1e-12")
"""Quote. The cost of a partly closed position divides without end; this is where its digits end."""


@frozen
class FillEffect:
    """What one fill did to its account, signed: base of the position, balance of the quote asset."""

    base_change: Decimal
    quote_change: Decimal
    """Quote. Spot: the cash that changed hands. Perp: what the wallet got, realised less fee."""
    realised: Decimal
    """Quote, gross of fees."""
    fee_quote: Decimal
    """Quote; a fee in base at the fill's price. Zero where the fee's asset is neither (see `other_fees`)."""


@define
class PositionAccount:
    """One instrument's fills since the ledger began. On spot `qty` is what was added to the baseline."""

    venue: VenueId
    symbol: str
    kind: Kind
    base: str
    quote: str
    qty: Decimal = ZERO
    """Base, signed, after fees that were taken in base."""
    cost: Decimal = ZERO
    """Quote, signed as `qty`: what the open position was bought (sold) for."""
    realised: Decimal = ZERO
    """Quote, gross of fees and funding."""
    fees_quote: Decimal = ZERO
    funding: Decimal = ZERO
    """Quote, positive was received."""
    quote_change: Decimal = ZERO
    """Quote: what fills and funding did to the balance so far."""
    other_fees: dict[str, Decimal] = Factory(dict)
    """Fees (and, negative, funding) in assets that are neither base nor quote: shown apart, in no sum of ours."""

    @classmethod
    def of(cls, instrument: Instrument) -> PositionAccount:
        return cls(instrument.venue, instrument.symbol, instrument.kind, instrument.base, instrument.quote)

    @property
    def realised_net(self) -> Decimal:
        """Quote, net of fees and funding; `other_fees` are not in it."""
        return self.realised - self.fees_quote + self.funding

    @property
    def has_unvalued_fees(self) -> bool:
        return any(self.other_fees.values())

    @property
    def avg_price(self) -> Decimal | None:
        """What the open position cost on average; None while flat."""
        return self.cost / self.qty if self.qty else None

    def unrealised(self, mark: Decimal) -> Decimal:
        return self.qty * mark - self.cost

    def apply(self, fill: Fill) -> FillEffect:
        """Book `fill`, which must be of this account's instrument; each fill once, in any order."""
        assert (fill.venue, fill.symbol) == (self.venue, self.symbol), fill.key
        base_fee, quote_fee = self._split_fee(fill)
        base_change = fill.side.sign * fill.qty - base_fee
        realised = self._trade(base_change, fill.price)
        fee_quote = quote_fee + base_fee * fill.price
        self.fees_quote += fee_quote
        cash = realised if self.kind is Kind.PERP else -fill.side.sign * fill.qty * fill.price
        self.quote_change += cash - quote_fee
        return FillEffect(base_change, cash - quote_fee, realised, fee_quote)

    def apply_funding(self, funding: Funding) -> None:
        if funding.asset != self.quote:
            self._add_other_fee(funding.asset, -funding.amount)
            return
        self.funding += funding.amount
        self.quote_change += funding.amount

    def _split_fee(self, fill: Fill) -> tuple[Decimal, Decimal]:
        """The fee as (base, quote); a fee in a third asset goes to `other_fees`."""
        if fill.fee_asset == self.quote:
            return ZERO, fill.fee
        if fill.fee_asset == self.base and self.kind is Kind.SPOT:
            return fill.fee, ZERO
        self._add_other_fee(fill.fee_asset, fill.fee)
        return ZERO, ZERO

    def _add_other_fee(self, asset: str, amount: Decimal) -> None:
        if amount:
            self.other_fees[asset] = self.other_fees.get(asset, ZERO) + amount

    def _trade(self, change: Decimal, price: Decimal) -> Decimal:
        """Move the position by `change` at `price`; what that realised. A change through zero closes, then opens."""
        closing = ZERO
        if self.qty * change < 0:
            closing = change if abs(change) <= abs(self.qty) else -self.qty
        cost_out = self.cost if closing == -self.qty else self._cost_share(-closing)
        realised = -closing * price - cost_out
        self.cost += (change - closing) * price - cost_out
        self.qty += change
        self.realised += realised
        return realised

    def _cost_share(self, qty: Decimal) -> Decimal:
        return (self.cost * qty / self.qty).quantize(COST_STEP)


def lot_realised(fills: Sequence[FillRow]) -> Decimal:
    """Quote: the cash flows of a lot's fills, net of fees, what base is left over (dust) at its average entry price.

    Fees in a third asset are not in it: `lot_other_fees` has them.
    """
    return sum((account.realised_net for account in lot_accounts(fills)), ZERO)


def lot_other_fees(fills: Sequence[FillRow]) -> dict[str, Decimal]:
    """The lot's fees in assets that are neither base nor quote, by asset."""
    total: dict[str, Decimal] = {}
    for account in lot_accounts(fills):
        for asset, amount in account.other_fees.items():
            total[asset] = total.get(asset, ZERO) + amount
    return total


def lot_accounts(fills: Sequence[FillRow]) -> Iterable[PositionAccount]:
    """A lot's fills as accounts, one an instrument.

    A lot needs no wallet, so all may count as spot: only there is a fee in base.
    """
    accounts: dict[tuple[str, str], PositionAccount] = {}
    for fill in sorted((row.fill for row in fills), key=lambda fill: fill.ts_ms):
        key = (fill.venue, fill.symbol)
        account = accounts.setdefault(key, PositionAccount(fill.venue, fill.symbol, Kind.SPOT, "", ""))
        account.base, account.quote = _fee_sides(fill)
        account.apply(fill)
    return accounts.values()


def _fee_sides(fill: Fill) -> tuple[str, str]:
    """(base, quote) as far as this fill's fee asks: a symbol begins with its base and ends with its quote."""
    if fill.symbol.startswith(fill.fee_asset):
        return fill.fee_asset, ""
    return "", fill.fee_asset if fill.symbol.endswith(fill.fee_asset) else ""
