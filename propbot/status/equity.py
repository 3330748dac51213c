"""What the accounts are worth at the venues' mids. Pure; unknown (None) where a mark or a baseline is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal

from propbot.domain.instruments import Kind, VenueId
from propbot.domain.money import ZERO
from propbot.domain.pnl import PositionAccount

Mark = Callable[[VenueId], Decimal | None]


def compute_unrealised(accounts: Iterable[PositionAccount], mark: Mark) -> Decimal | None:
    """Quote; unknown where an open position has no mark."""
    total = ZERO
    for account in accounts:
        price = mark(account.venue)
        if price is not None:
            total += account.unrealised(price)
        elif account.qty:
            return None
    return total


def compute_pnl(accounts: Iterable[PositionAccount], mark: Mark) -> Decimal | None:
    """Quote, realised and unrealised since the ledger began, net of fees and funding: what trading did. What the
    baseline inventory gained or lost is no part of it. Fees in third assets make it unknown rather than wrong."""
    known = tuple(accounts)
    unrealised = compute_unrealised(known, mark)
    if unrealised is None or any(account.has_unvalued_fees for account in known):
        return None
    return sum((account.realised_net for account in known), ZERO) + unrealised


def compute_equity(
    accounts: Iterable[PositionAccount], free: Mapping[tuple[VenueId, str], Decimal], mark: Mark
) -> Decimal | None:
    """Every account's quote and base, the baseline inventory included; unknown before baselines and marks are."""
    total = ZERO
    for account in accounts:
        price = mark(account.venue)
        if price is None or (account.venue, account.quote) not in free:
            return None
        total += free[(account.venue, account.quote)]
        spot = account.kind is Kind.SPOT
        total += free[(account.venue, account.base)] * price if spot else account.unrealised(price)
    return total


def compute_notional(positions: Mapping[VenueId, Decimal], mark: Mark) -> Decimal | None:
    """Quote, both directions added up; unknown where a position has no mark."""
    total = ZERO
    for venue, qty in positions.items():
        price = mark(venue)
        if price is not None:
            total += abs(qty) * price
        elif qty:
            return None
    return total
