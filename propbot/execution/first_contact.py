"""Meeting a venue: its clock, our instrument and fees there, and, the very first time, the baseline of the account.

The baseline is what the account held before us. Position = balance − baseline; it is recorded once and only an
audited command moves it. Trades and funding before the first contact belong to it and are never asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Protocol

from attrs import frozen

from propbot.domain.instruments import Fees, Instrument, Kind, VenueId
from propbot.domain.money import ZERO
from propbot.domain.orders import Balance, Fill, VenuePosition


class MeetingGateway(Protocol):
    def ts_ms(self) -> int: ...
    async def measure_clock(self) -> object: ...
    async def instrument(self, symbol: str) -> Instrument: ...
    async def fees(self, symbol: str) -> Fees: ...
    async def balances(self) -> Sequence[Balance]: ...
    async def positions(self, symbol: str) -> Sequence[VenuePosition]: ...
    async def trades(self, symbol: str, from_trade_id: int | None) -> Sequence[Fill]: ...


class MeetingLedger(Protocol):
    async def baselines(self) -> Mapping[tuple[VenueId, str], Decimal]: ...
    async def record_baselines(self, baselines: Mapping[tuple[VenueId, str], Decimal]) -> None: ...
    async def meta_get(self, key: str) -> str | None: ...
    async def meta_put(self, key: str, value: str) -> None: ...


@frozen
class Met:
    """A venue that answered."""

    instrument: Instrument
    fees: Fees
    baselines: Mapping[str, Decimal]
    """Asset → what the account held at the first contact; a perp's base is its position then."""
    first_trade_id: int | None
    first_contact_ms: int
    """Venue clock of the first contact: funding paid before is in the baseline."""


async def meet_venue(venue: VenueId, symbol: str, gateway: MeetingGateway, ledger: MeetingLedger) -> Met:
    """VenueError if the venue does not answer as it should, LedgerError if it can't be recorded; both may be retried:
    the trade watermark is written before the baselines, so a half-done first contact is done again whole."""
    await gateway.measure_clock()
    instrument = await gateway.instrument(symbol)
    fees = await gateway.fees(symbol)
    known = {asset: qty for (of, asset), qty in (await ledger.baselines()).items() if of == venue}
    key, contact_key = f"first_trade_id:{venue}:{symbol}", f"first_contact_ms:{venue}"
    if not known:
        trades = await gateway.trades(symbol, None)
        positions = await gateway.positions(symbol)
        await ledger.meta_put(contact_key, str(gateway.ts_ms()))
        balances = {balance.asset: balance.total for balance in await gateway.balances()}
        known = {asset: balances.get(asset, ZERO) for asset in (instrument.base, instrument.quote)}
        if instrument.kind is Kind.PERP:
            known[instrument.base] = sum((each.qty for each in positions if each.symbol == symbol), ZERO)
        first = max((int(trade.trade_id) for trade in trades), default=-1) + 1
        await ledger.meta_put(key, str(first))
        await ledger.record_baselines({(venue, asset): qty for asset, qty in known.items()})
    stored, contact = await ledger.meta_get(key), await ledger.meta_get(contact_key)
    if contact is None:  # a ledger that was begun before this was kept: from now on
        contact = str(gateway.ts_ms())
        await ledger.meta_put(contact_key, contact)
    return Met(instrument, fees, known, None if stored is None else int(stored), int(contact))
