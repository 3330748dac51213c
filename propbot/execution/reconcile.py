"""Reconciliation: the venue's trades, open orders, position and balances against our books, one venue at a time.

The venue's trades since the watermark are booked first wherever some may have been missed, and its funding likewise, so
that what was merely missed is no difference. Then the numbers must be equal. An answer taken while our own orders were
on their way proves nothing: it is `INCONCLUSIVE` and asked again. Two differences in a row, a moment apart, are a
mismatch; what follows (HOLD) is the recon guard's business.

Asking costs the venue's weight, which orders need too. Each venue has its own rounds, so that one that hangs delays
nobody; a round waits for a quiet moment before it asks; the dear list of trades is read where it can tell something;
and rounds that prove nothing come less and less often, up to the interval.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum

import trio
from attrs import define, field, frozen

from propbot.domain.clock import Clock
from propbot.domain.errors import LedgerError, VenueError, VenueRetry
from propbot.domain.instruments import Instrument, VenueId
from propbot.domain.money import ZERO
from propbot.domain.orders import Balance, Fill, OrderReport, VenuePosition
from propbot.execution.blotter import Blotter
from propbot.execution.differences import (
    OurBooks,
    balance_differences,
    foreign_positions,
    order_differences,
    position_differences,
)
from propbot.execution.funding import FundingSearch
from propbot.execution.ports import OrderGateway, OrderLedger
from propbot.kit.ids import is_ours
from propbot.kit.supervise import Backoff
from propbot.kit.trace import Trace

TRADES_EVERY_S = 30.0
"""Numbers that agree leave no room for a missed trade, but for two that cancel each other out to the last digit."""
QUIET_WAIT_S = 1.0
"""How long a round waits for a moment without orders under way."""
TRIES = 3
"""Within one round, when orders began while it was asking."""
DOUBTFUL_FIRST_S = 1.0
"""After a round that did not agree the next one comes this soon at first, then each twice as late."""


class Verdict(StrEnum):
    AGREES = "agrees"
    DIFFERS = "differs"
    INCONCLUSIVE = "inconclusive"
    UNREACHABLE = "unreachable"


@frozen
class ReconResult:
    """`differences` name venue, symbol and quantity; `foreign_orders` are open orders that are not ours, and
    `foreign_positions` ("ETHUSDT 0.5") what the account holds in other symbols (both a WARN, and never touched)."""

    venue: VenueId
    verdict: Verdict
    differences: tuple[str, ...] = ()
    foreign_orders: int = 0
    detail: str = ""
    foreign_positions: tuple[str, ...] = ()


@define
class VenueRecon:
    """What the last rounds said of one venue."""

    last: ReconResult | None = None
    last_agreed_mono_s: float | None = None
    agreed_in_a_row: int = 0
    differed_in_a_row: int = 0
    foreign: list[Fill] = field(factory=list)
    """Fills on the account that no order of ours explains, newest last, the last ten."""
    foreign_orders: int = 0
    """Open orders on our symbol that are not ours, when it was last asked for them."""
    own_orders: int = 0
    """Those that are."""


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
    cost_gaps: Mapping[VenueId, Decimal] = field(factory=dict)
    """The venue's cost of a perp position less ours, when its quote baseline was last accepted; absent: 0."""
    state: dict[VenueId, VenueRecon] = field(factory=dict)
    rng: random.Random = field(factory=lambda: random.Random(0))
    """Jitters the back-off."""
    funding: FundingSearch = field(init=False)
    _wake: dict[VenueId, trio.Event] = field(factory=dict)
    _trades_asked_mono_s: dict[VenueId, float] = field(factory=dict)
    """When the venue's trades were last read; absent where some may have been missed since."""
    _listed_to: dict[VenueId, int] = field(factory=dict)
    """Up to where the venue's lists of trades have been taken in this life, as a trade id."""

    def __attrs_post_init__(self) -> None:
        self.funding = FundingSearch(self.blotter, self.gateways, self.first_contact_ms, self.clock)
        for venue in self.gateways:
            self.state.setdefault(venue, VenueRecon())
            self._wake[venue] = trio.Event()

    def note_foreign(self, fills: Sequence[Fill]) -> None:
        """Somebody else traded on the account: look at once."""
        for fill in fills:
            recon = self.state[fill.venue]
            if fill.key not in {known.key for known in recon.foreign}:
                recon.foreign = [*recon.foreign, fill][-10:]
            self.look_now(fill.venue)

    def look_now(self, *venues: VenueId) -> None:
        """At `venues`, or at all: something may have been missed there."""
        for venue in venues or tuple(self._wake):
            self._trades_asked_mono_s.pop(venue, None)
            self._wake[venue].set()

    async def run(self) -> None:
        """Until cancelled: each venue every `interval_s`, and at once when asked."""
        async with trio.open_nursery() as nursery:
            for venue in self.gateways:
                nursery.start_soon(self._run_venue, venue)

    async def _run_venue(self, venue: VenueId) -> None:
        backoff = Backoff(self.rng, min(self.interval_s, DOUBTFUL_FIRST_S), self.interval_s)
        while True:
            wake = self._wake[venue] = trio.Event()  # before looking: what comes meanwhile is looked at again
            agrees = await self.check(venue)
            if agrees:
                backoff.reset()
            with trio.move_on_after(self.interval_s if agrees else min(backoff.next_delay_s(), self.interval_s)):
                await wake.wait()
                backoff.reset()

    async def check(self, venue: VenueId) -> bool:
        """Compare now; a difference is looked at again after a moment. True if they agree."""
        result = await self._conclusive(venue)
        if result.verdict is Verdict.DIFFERS:
            self._note(result)
            await trio.sleep(0.3)
            result = await self._conclusive(venue)
        self._note(result)
        return result.verdict is Verdict.AGREES

    async def _conclusive(self, venue: VenueId) -> ReconResult:
        """Compare until no order of ours was on its way meanwhile, a few times at most."""
        for _ in range(TRIES):
            quiet = await self._wait_quiet(venue)
            result = await self._compare(venue)
            if result.verdict is not Verdict.INCONCLUSIVE or not quiet:
                return result
            await trio.sleep(0.1)
        return result

    async def _wait_quiet(self, venue: VenueId) -> bool:
        """False if there was no such moment in time."""
        with trio.move_on_after(QUIET_WAIT_S):
            while self._busy(venue):
                with trio.move_on_after(0.02):  # the books' own writing wakes nobody
                    await self.blotter.wait_change()
        return not self._busy(venue)

    def _busy(self, venue: VenueId) -> bool:
        """Whether an answer of the venue would prove nothing now."""
        return any(not order.presumed_dead for order in self.blotter.in_flight(venue)) or not self.books_idle()

    async def _compare(self, venue: VenueId) -> ReconResult:
        gateway, instrument = self.gateways[venue], self.instruments[venue]
        under_way = ReconResult(venue, Verdict.INCONCLUSIVE, detail="orders or fills were on their way")
        began_mono_s = self.clock.mono_s()
        try:
            await self.funding.catch_up(venue, instrument.symbol)
            if self._trades_due(venue):  # also while orders are under way: it may be their fills that are missing
                await self.read_trades(venue)
            if self._busy(venue):
                return under_way
            before = self.blotter.activity
            positions = await gateway.positions(instrument.symbol)
            balances = await gateway.balances()
            open_orders = await gateway.open_orders(instrument.symbol)
            self.state[venue].own_orders = sum(is_ours(order.client_order_id) for order in open_orders)
            self.state[venue].foreign_orders = len(open_orders) - self.state[venue].own_orders
            if self.blotter.activity != before or self._busy(venue):
                return under_way
            return await self._judge(instrument, positions, balances, open_orders, began_mono_s)
        except VenueError as error:
            return ReconResult(venue, Verdict.UNREACHABLE, detail=str(error))
        except LedgerError as error:  # the disk fails for a while: that must not end reconciliation for good
            return ReconResult(venue, Verdict.UNREACHABLE, detail=f"our side can't be read: {error}")

    async def _judge(
        self,
        instrument: Instrument,
        positions: Sequence[VenuePosition],
        balances: Sequence[Balance],
        open_orders: Sequence[OrderReport],
        began_mono_s: float,
    ) -> ReconResult:
        """No checkpoint since the answers were found to be of a quiet moment, until there is a difference."""
        venue, before = instrument.venue, self.blotter.activity
        ours = self._our_books(instrument)
        in_balances = balance_differences(ours, balances, positions)
        differences = (
            *position_differences(ours, positions), *in_balances, *order_differences(ours, open_orders),
        )
        if differences and self._trades_asked_mono_s.get(venue, -math.inf) < began_mono_s:
            await self.read_trades(venue)
            if self.blotter.activity != before or self._busy(venue):
                return ReconResult(venue, Verdict.INCONCLUSIVE, detail="missed trades were found")
        if in_balances:
            unexplained = await self._explain_by_funding(instrument, only=len(differences) == len(in_balances))
            if unexplained is not None:
                return unexplained
        return ReconResult(
            venue, Verdict.DIFFERS if differences else Verdict.AGREES, differences, self.state[venue].foreign_orders,
            foreign_positions=foreign_positions(ours, positions),
        )

    def _our_books(self, instrument: Instrument) -> OurBooks:
        venue, foreign = instrument.venue, self.state[instrument.venue].foreign
        return OurBooks(
            instrument, self.blotter.accounts[venue], self.baselines, self.blotter.fill_counts.get(venue, 0),
            self.blotter.orders, foreign[-1] if foreign else None, self.cost_gaps.get(venue, ZERO),
        )

    async def _explain_by_funding(self, instrument: Instrument, *, only: bool) -> ReconResult | None:
        """What to say instead of a difference in balances that funding explains, or may explain in a moment if it is
        the `only` difference; None if funding has nothing to do with it."""
        venue, before = instrument.venue, self.blotter.activity
        await self.funding.explain(venue, instrument.symbol)
        if self.blotter.activity != before:
            return ReconResult(venue, Verdict.INCONCLUSIVE, detail="missed funding was found")
        if only and self.funding.may_lag(venue):
            detail = "the balance moved, and funding of this hour may not be listed yet"
            return ReconResult(venue, Verdict.UNREACHABLE, detail=detail)
        return None

    # --- the venue's trades

    def _trades_due(self, venue: VenueId) -> bool:
        asked, last = self._trades_asked_mono_s.get(venue), self.state[venue].last
        if asked is None or last is None or last.verdict is not Verdict.AGREES:
            return True
        if self.blotter.in_flight(venue):  # an order that is presumed dead is proved so by them too
            return True
        return self.clock.mono_s() - asked >= TRADES_EVERY_S

    async def read_trades(self, venue: VenueId) -> Sequence[Fill]:
        """Book what the venue lists beyond what it has listed before; what may belong to an order whose outcome is
        unknown. VenueError, also while the venue has not been met; LedgerError."""
        if venue not in self.instruments:  # an order that a restart found unknown is asked for before its venue is met
            raise VenueRetry(venue, "it has not been met yet")
        symbol, asked_mono_s = self.instruments[venue].symbol, self.clock.mono_s()
        from_id = await self._watermark(venue, symbol)
        puzzling = self._take_trades(venue, from_id, await self.gateways[venue].trades(symbol, from_id))
        self._trades_asked_mono_s[venue] = asked_mono_s
        return puzzling

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
