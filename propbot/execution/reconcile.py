"""Reconciliation: the venue's trades, open orders, position and balances against our books, one venue at a time.

First the venue's trades since the watermark are booked, and its funding where some may have been missed, so that what
was merely missed is no difference. Then the numbers must be equal. An answer taken while our own orders were on their
way proves nothing: it is `INCONCLUSIVE` and asked again. Two differences in a row, a moment apart, are a mismatch;
what follows (HOLD) is the recon guard's business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum

import trio
from attrs import define, field, frozen

from propbot.domain.clock import Clock
from propbot.domain.errors import LedgerError, VenueError
from propbot.domain.instruments import Instrument, Kind, VenueId
from propbot.domain.money import ZERO, amount_text
from propbot.domain.orders import Balance, Fill, OrderReport
from propbot.execution.blotter import Blotter
from propbot.execution.funding import FundingSearch
from propbot.execution.ports import OrderGateway, OrderLedger
from propbot.kit.ids import is_ours
from propbot.kit.trace import Trace

CENT_OF_A_SATOSHI = Decimal("1e-8")
"""Venues keep eight digits; each fill may be rounded by one of them."""

TOLERANCE_MAX = Decimal("1e-5")
"""However many fills there were: a lot step of spot is a difference."""


class Verdict(StrEnum):
    AGREES = "agrees"
    DIFFERS = "differs"
    INCONCLUSIVE = "inconclusive"
    UNREACHABLE = "unreachable"


@frozen
class ReconResult:
    """`differences` name venue, symbol and quantity; `foreign_orders` are open orders that are not ours (a WARN)."""

    venue: VenueId
    verdict: Verdict
    differences: tuple[str, ...] = ()
    foreign_orders: int = 0
    detail: str = ""


@define
class VenueRecon:
    """What the last rounds said of one venue."""

    last: ReconResult | None = None
    last_agreed_mono_s: float | None = None
    agreed_in_a_row: int = 0
    differed_in_a_row: int = 0
    foreign: list[Fill] = field(factory=list)
    """Fills on the account that no order of ours explains, newest last, the last ten."""


@define(eq=False)
class Reconciler:
    blotter: Blotter
    ledger: OrderLedger
    gateways: Mapping[VenueId, OrderGateway]
    instruments: Mapping[VenueId, Instrument]
    baselines: Mapping[tuple[VenueId, str], Decimal]
    first_trade_ids: Mapping[VenueId, int]
    """The first trade id after the account was first met; what was traded before is in the baseline."""
    books_idle: Callable[[], bool]
    """Everything that the blotter knows is durable."""
    clock: Clock
    trace: Trace
    interval_s: float
    on_result: Callable[[ReconResult], None]
    first_contact_ms: Mapping[VenueId, int] = field(factory=dict)
    """Of the venues that pay funding; what was paid before is in the baseline."""
    state: dict[VenueId, VenueRecon] = field(factory=dict)
    funding: FundingSearch = field(init=False)
    _wake: trio.Event = field(factory=trio.Event)
    _listed_to: dict[VenueId, int] = field(factory=dict)
    """Up to where the venue's lists of trades have been taken in this life, as a trade id."""

    def __attrs_post_init__(self) -> None:
        self.funding = FundingSearch(self.blotter, self.gateways, self.first_contact_ms, self.clock)
        for venue in self.gateways:
            self.state.setdefault(venue, VenueRecon())

    def note_foreign(self, fills: Sequence[Fill]) -> None:
        """Somebody else traded on the account: look at once."""
        for fill in fills:
            recon = self.state[fill.venue]
            if fill.key not in {known.key for known in recon.foreign}:
                recon.foreign = [*recon.foreign, fill][-10:]
        self.look_now()

    def look_now(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled: all venues every `interval_s`, and at once when asked."""
        while True:
            async with trio.open_nursery() as nursery:
                for venue in self.gateways:
                    nursery.start_soon(self.check, venue)
            doubtful = any(r.last is not None and r.last.verdict is not Verdict.AGREES for r in self.state.values())
            with trio.move_on_after(min(self.interval_s, 1.0) if doubtful else self.interval_s):
                await self._wake.wait()
            self._wake = trio.Event()

    async def check(self, venue: VenueId) -> bool:
        """Compare now; a difference is looked at again after a moment. True if they agree."""
        result = await self._conclusive(venue)
        if result.verdict is Verdict.DIFFERS:
            self._note(result)
            await trio.sleep(0.3)
            result = await self._conclusive(venue)
        self._note(result)
        return result.verdict is Verdict.AGREES

    async def _conclusive(self, venue: VenueId, tries: int = 8) -> ReconResult:
        """Compare until no order of ours was on its way meanwhile, a few times at most."""
        for _ in range(tries):
            result = await self._compare(venue)
            if result.verdict is not Verdict.INCONCLUSIVE:
                return result
            await trio.sleep(0.1)
        return result

    async def _compare(self, venue: VenueId) -> ReconResult:
        gateway = self.gateways[venue]
        instrument = self.instruments[venue]
        try:
            await self.funding.catch_up(venue, instrument.symbol)
            before = self.blotter.activity
            from_id = await self._watermark(venue, instrument.symbol)
            trades = await gateway.trades(instrument.symbol, from_id)
            open_orders = await gateway.open_orders(instrument.symbol)
            positions = await gateway.positions(instrument.symbol)
            balances = await gateway.balances()
        except VenueError as error:
            return ReconResult(venue, Verdict.UNREACHABLE, detail=str(error))
        except LedgerError as error:  # the disk fails for a while: that must not end reconciliation for good
            return ReconResult(venue, Verdict.UNREACHABLE, detail=f"our side can't be read: {error}")
        moved = self.blotter.activity != before or any(not o.presumed_dead for o in self.blotter.in_flight(venue))
        # also while orders are under way: it may be their fills that are missing
        self._take_trades(venue, from_id, trades)
        if moved or not self.books_idle():
            return ReconResult(venue, Verdict.INCONCLUSIVE, detail="orders or fills were on their way")
        held = sum((position.qty for position in positions), ZERO)
        in_balances = self._balance_differences(instrument, balances)
        differences = [
            *self._position_difference(instrument, held),
            *in_balances,
            *self._order_differences(instrument, open_orders),
        ]
        if in_balances:
            unexplained = await self._explain_by_funding(instrument, only=len(differences) == len(in_balances))
            if unexplained is not None:
                return unexplained
        foreign = sum(not is_ours(order.client_order_id) for order in open_orders)
        verdict = Verdict.DIFFERS if differences else Verdict.AGREES
        return ReconResult(venue, verdict, tuple(differences), foreign)

    async def _explain_by_funding(self, instrument: Instrument, *, only: bool) -> ReconResult | None:
        """What to say instead of a difference in balances that funding explains, or may explain in a moment if it is
        the `only` difference; None if funding has nothing to do with it."""
        venue, before = instrument.venue, self.blotter.activity
        try:
            await self.funding.explain(venue, instrument.symbol)
        except VenueError as error:
            return ReconResult(venue, Verdict.UNREACHABLE, detail=str(error))
        if self.blotter.activity != before:
            return ReconResult(venue, Verdict.INCONCLUSIVE, detail="missed funding was found")
        if only and self.funding.may_lag(venue):
            detail = "the balance moved, and funding of this hour may not be listed yet"
            return ReconResult(venue, Verdict.UNREACHABLE, detail=detail)
        return None

    async def read_trades(self, venue: VenueId) -> Sequence[Fill]:
        """Book what the venue lists beyond what it has listed before; what may belong to an order whose outcome is
        unknown. VenueError, LedgerError."""
        symbol = self.instruments[venue].symbol
        from_id = await self._watermark(venue, symbol)
        return self._take_trades(venue, from_id, await self.gateways[venue].trades(symbol, from_id))

    def _take_trades(self, venue: VenueId, from_id: int | None, trades: Sequence[Fill]) -> Sequence[Fill]:
        """A trade that may be an unknown order's is neither that order's yet nor somebody else's: it is asked for
        again."""
        puzzling = [trade for trade in trades if self.blotter.may_explain(trade)]
        self.blotter.observe_fills([trade for trade in trades if trade not in puzzling])
        if puzzling:
            self._listed_to[venue] = min(int(trade.trade_id) for trade in puzzling) - 1
        elif trades:
            self._listed_to[venue] = max(int(trade.trade_id) for trade in trades)
        else:
            self._listed_to[venue] = (from_id or 0) - 1
        return puzzling

    async def _watermark(self, venue: VenueId, symbol: str) -> int | None:
        """What was listed counts, not what is booked: a fill that was told otherwise may be newer than one that
        nobody has told."""
        last = self._listed_to.get(venue)
        if last is None:
            last = await self.ledger.last_trade_id(venue, symbol)
        first = self.first_trade_ids.get(venue)
        return max(first or 0, last + 1) if last is not None else first

    def _position_difference(self, instrument: Instrument, held: Decimal) -> Sequence[str]:
        if instrument.kind is not Kind.PERP:
            return ()
        booked = self.blotter.accounts[instrument.venue].qty
        booked += self.baselines.get((instrument.venue, instrument.base), ZERO)
        if held == booked:
            return ()
        return (self._difference_text(instrument, f"{instrument.symbol}", booked, held),)

    def _balance_differences(self, instrument: Instrument, balances: Sequence[Balance]) -> Sequence[str]:
        account = self.blotter.accounts[instrument.venue]
        changes = {instrument.quote: account.quote_change}
        if instrument.kind is Kind.SPOT:
            changes[instrument.base] = account.qty
        held = {balance.asset: balance.total for balance in balances}
        tolerance = min(CENT_OF_A_SATOSHI * (1 + self.blotter.fill_counts.get(instrument.venue, 0)), TOLERANCE_MAX)
        found: list[str] = []
        for asset, change in changes.items():
            booked = self.baselines.get((instrument.venue, asset), ZERO) + change
            venue_has = held.get(asset, ZERO)
            if abs(booked - venue_has) > tolerance:
                found.append(self._difference_text(instrument, f"{instrument.symbol} {asset}", booked, venue_has))
        return found

    def _difference_text(self, instrument: Instrument, what: str, booked: Decimal, held: Decimal) -> str:
        text = f"{instrument.venue} {what} ledger {amount_text(booked)}, venue {amount_text(held)}"
        foreign = self.state[instrument.venue].foreign
        if foreign:
            last = foreign[-1]
            text += f" (foreign trade: {last.side} {amount_text(last.qty)} {last.symbol} at {amount_text(last.price)})"
        return text

    def _order_differences(self, instrument: Instrument, open_orders: Sequence[OrderReport]) -> Sequence[str]:
        return [
            f"{instrument.venue} {instrument.symbol} order {order.client_order_id} is open at the venue, unknown here"
            for order in open_orders
            if is_ours(order.client_order_id) and order.client_order_id not in self.blotter.orders
        ]

    def _note(self, result: ReconResult) -> None:
        recon = self.state[result.venue]
        recon.last = result
        if result.verdict is Verdict.AGREES:
            recon.agreed_in_a_row += 1
            recon.differed_in_a_row = 0
            recon.last_agreed_mono_s = self.clock.mono_s()
        elif result.verdict is Verdict.DIFFERS:
            recon.differed_in_a_row += 1
            recon.agreed_in_a_row = 0
        self.trace(
            "recon", venue=result.venue, agrees=result.verdict is Verdict.AGREES, verdict=str(result.verdict),
            detail="; ".join(result.differences) or result.detail,
        )
        self.on_result(result)
