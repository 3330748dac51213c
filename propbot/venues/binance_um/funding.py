"""Funding as USD-M tells it: payments over REST and on the private stream, and what is expected next.

The same payment comes from two places that share no id: the stream's event has no `tranId` and, for a cross position,
no symbol, and the REST row's time is cut to the second and may be one later than the event's (seen in
ccxt/node-binance-api#686). Both have the hour that was settled, the asset and the exact amount, so those are the id.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from propbot.domain.instruments import FundingOutlook, VenueId
from propbot.domain.money import amount_text
from propbot.domain.orders import Funding
from propbot.venues.binance.wire import amount, decode

HOUR_MS = 3_600_000
HISTORY_MS = 89 * 24 * HOUR_MS
"""The venue tells three months; what is older must be in the ledger."""


class _Income(msgspec.Struct, rename="camel"):
    symbol: str
    income_type: str
    income: str
    asset: str
    time: int


class _Premium(msgspec.Struct, rename="camel"):
    last_funding_rate: str
    next_funding_time: int


_income_decoder = msgspec.json.Decoder(list[_Income])
_premium_decoder = msgspec.json.Decoder(_Premium)


def income_id(ts_ms: int, asset: str, paid: Decimal) -> str:
    """The nearest full hour (funding settles within a minute of one), the asset and the amount."""
    hour_ms = (ts_ms + HOUR_MS // 2) // HOUR_MS * HOUR_MS
    return f"{hour_ms}-{asset}-{amount_text(paid)}"


def make_funding(venue: VenueId, symbol: str, asset: str, change: str, ts_ms: int, field: str) -> Funding:
    paid = amount(change, venue, field)
    return Funding(venue, symbol, asset, paid, income_id(ts_ms, asset, paid), ts_ms)


def read_payments(body: bytes, venue: VenueId) -> Sequence[Funding]:
    return tuple(
        make_funding(venue, row.symbol, row.asset, row.income, row.time, "income")
        for row in decode(_income_decoder, body, venue, "income")
        if row.income_type == "FUNDING_FEE"
    )


def read_outlook(body: bytes, venue: VenueId) -> FundingOutlook:
    found = decode(_premium_decoder, body, venue, "premiumIndex")
    return FundingOutlook(
        amount(found.last_funding_rate, venue, "premiumIndex lastFundingRate"), found.next_funding_time
    )
