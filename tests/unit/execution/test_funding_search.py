"""Funding that nobody told us of is asked for when it may have been missed, and not more often."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, cast

import pytest
import trio
from attrs import define, evolve, field
from trio.testing import MockClock

from propbot.domain.errors import VenueRetry
from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM, Instrument, Kind
from propbot.domain.money import ZERO
from propbot.domain.orders import Balance, Funding, OrderReport, VenuePosition
from propbot.domain.pnl import PositionAccount
from propbot.execution.blotter import Blotter
from propbot.execution.funding import ASK_EVERY_S, OVERLAP_MS, FundingSearch
from propbot.execution.ports import OrderGateway
from propbot.execution.reconcile import Reconciler, ReconResult, Verdict
from propbot.kit.clock import VirtualClock
from propbot.kit.trace import MemoryTrace

HOUR_MS = 3_600_000
FIRST_MS = 1_790_000_000_000
INSTRUMENT = Instrument(
    BINANCE_UM, "BTCUSDT", Kind.PERP, "BTC", "USDT", Decimal("0.1"), Decimal("0.001"), Decimal("0.001"), Decimal(1000),
    Decimal(100),
)  # fmt: skip


def payment(income_id: str = "a", amount: str = "-0.375", ts_ms: int = FIRST_MS + HOUR_MS) -> Funding:
    return Funding(BINANCE_UM, "BTCUSDT", "USDT", Decimal(amount), income_id, ts_ms)


@define(eq=False)
class Venue:
    """As much of a perp venue as reconciliation asks."""

    usdt: Decimal = Decimal(1000)
    payments: list[Funding] = field(factory=list)
    asked_since_ms: list[int] = field(factory=list)
    now_ms: int = FIRST_MS + HOUR_MS // 2
    fails: bool = False

    def ts_ms(self) -> int:
        return self.now_ms

    async def funding_payments(self, symbol: str, since_ms: int) -> Sequence[Funding]:
        await trio.lowlevel.checkpoint()
        self.asked_since_ms.append(since_ms)
        if self.fails:
            raise VenueRetry(BINANCE_UM, "not now")
        return [each for each in self.payments if each.ts_ms >= since_ms]

    async def trades(self, symbol: str, from_trade_id: int | None) -> Sequence[Any]:
        return ()

    async def open_orders(self, symbol: str, *, urgent: bool = False) -> Sequence[OrderReport]:
        return ()

    async def positions(self, symbol: str) -> Sequence[VenuePosition]:
        return ()

    async def balances(self) -> Sequence[Balance]:
        return (Balance(BINANCE_UM, "USDT", self.usdt),)


class NoTrades:
    async def last_trade_id(self, venue: str, symbol: str) -> int | None:
        return None


@define(eq=False)
class Room:
    venue: Venue
    blotter: Blotter
    search: FundingSearch
    reconciler: Reconciler
    results: list[ReconResult]


@pytest.fixture
def room(autojump_clock: MockClock) -> Room:
    clock, trace, venue = VirtualClock(FIRST_MS * 1_000_000), MemoryTrace("bot", []), Venue()
    accounts = {BINANCE_UM: PositionAccount.of(INSTRUMENT)}
    blotter, results = Blotter(accounts, clock, trace), list[ReconResult]()

    def booked() -> bool:  # a bookkeeper that is at once
        blotter._outbox.clear()
        return True

    gateways = {BINANCE_UM: cast(OrderGateway, venue)}
    reconciler = Reconciler(
        blotter, cast(Any, NoTrades()), gateways, {BINANCE_UM: INSTRUMENT},
        {(BINANCE_UM, "USDT"): Decimal(1000), (BINANCE_UM, "BTC"): ZERO}, {}, booked, clock, trace, 5.0,
        results.append, {BINANCE_UM: FIRST_MS},
    )  # fmt: skip
    return Room(venue, blotter, reconciler.funding, reconciler, results)


async def test_a_start_books_what_was_paid_before_balances_are_compared(
    room: Room, autojump_clock: MockClock
) -> None:
    room.venue.payments, room.venue.usdt = [payment()], Decimal("999.625")
    assert await room.reconciler.check(BINANCE_UM)
    assert room.blotter.accounts[BINANCE_UM].funding == Decimal("-0.375")
    assert [result.verdict for result in room.results] == [Verdict.AGREES], "no difference was ever seen"


async def test_rounds_that_agree_do_not_ask_again_until_the_next_connection(
    room: Room, autojump_clock: MockClock
) -> None:
    for _ in range(3):
        assert await room.reconciler.check(BINANCE_UM)
    assert room.venue.asked_since_ms == [FIRST_MS]
    room.search.note_connected(BINANCE_UM)
    assert await room.reconciler.check(BINANCE_UM)
    assert len(room.venue.asked_since_ms) == 2


async def test_a_difference_in_the_quote_balance_is_looked_up_before_it_counts(
    room: Room, autojump_clock: MockClock
) -> None:
    assert await room.reconciler.check(BINANCE_UM)
    room.venue.payments, room.venue.usdt = [payment(amount="0.25")], Decimal("1000.25")
    assert await room.reconciler.check(BINANCE_UM)
    assert [result.verdict for result in room.results] == [Verdict.AGREES, Verdict.AGREES]
    assert room.blotter.accounts[BINANCE_UM].funding == Decimal("0.25")


async def test_a_difference_that_funding_does_not_explain_stays_one_and_is_not_asked_about_every_round(
    room: Room, autojump_clock: MockClock
) -> None:
    assert await room.reconciler.check(BINANCE_UM)
    room.venue.usdt = Decimal(990)
    assert not await room.reconciler.check(BINANCE_UM)
    assert not await room.reconciler.check(BINANCE_UM)
    assert len(room.venue.asked_since_ms) == 2, "one at the start, one for the difference"
    assert room.results[-1].differences == ("binance-um BTCUSDT USDT ledger 1000, venue 990",)
    await trio.sleep(ASK_EVERY_S)
    assert not await room.reconciler.check(BINANCE_UM)
    assert len(room.venue.asked_since_ms) == 3


async def test_right_after_a_full_hour_a_balance_that_moved_waits_for_the_list(
    room: Room, autojump_clock: MockClock
) -> None:
    assert await room.reconciler.check(BINANCE_UM)
    room.venue.now_ms, room.venue.usdt = FIRST_MS // HOUR_MS * HOUR_MS + HOUR_MS + 2_000, Decimal("999.625")
    assert not await room.reconciler.check(BINANCE_UM)
    assert room.results[-1].verdict is Verdict.UNREACHABLE
    room.venue.payments = [payment()]
    await trio.sleep(ASK_EVERY_S)
    assert await room.reconciler.check(BINANCE_UM)
    room.venue.usdt = Decimal(990)
    room.venue.now_ms += 60_000
    assert not await room.reconciler.check(BINANCE_UM)
    assert room.results[-1].verdict is Verdict.DIFFERS, "a minute later it is a difference like any other"


async def test_a_list_that_cannot_be_asked_is_no_agreement_and_is_asked_again(
    room: Room, autojump_clock: MockClock
) -> None:
    room.venue.fails = True
    assert not await room.reconciler.check(BINANCE_UM)
    assert room.results[-1].verdict is Verdict.UNREACHABLE
    room.venue.fails = False
    assert await room.reconciler.check(BINANCE_UM)


async def test_it_is_asked_for_since_a_day_before_the_last_that_is_known_but_never_before_the_first_contact(
    room: Room, autojump_clock: MockClock
) -> None:
    day_ms = 24 * HOUR_MS
    for known_ms in (FIRST_MS + HOUR_MS, FIRST_MS + 3 * day_ms):
        room.blotter.observe_funding(payment(str(known_ms), ts_ms=known_ms))
        room.search.note_connected(BINANCE_UM)
        await room.search.catch_up(BINANCE_UM, "BTCUSDT")
    assert room.venue.asked_since_ms == [FIRST_MS, FIRST_MS + 3 * day_ms - OVERLAP_MS]


async def test_a_venue_without_funding_is_never_asked(room: Room, autojump_clock: MockClock) -> None:
    search = evolve(room.search, first_contact_ms={})
    await search.catch_up(BINANCE_SPOT, "BTCUSDT")
    await search.explain(BINANCE_UM, "BTCUSDT")
    assert not search.may_lag(BINANCE_UM)
    assert room.venue.asked_since_ms == []


def test_one_payment_counts_once_whether_its_teller_names_the_symbol_or_not() -> None:
    blotter = Blotter({BINANCE_UM: PositionAccount.of(INSTRUMENT)}, VirtualClock(0), MemoryTrace("bot", []))
    blotter.observe_funding(evolve(payment(), symbol=""))
    blotter.observe_funding(payment())
    assert blotter.accounts[BINANCE_UM].funding == Decimal("-0.375")
    assert blotter.outbox_size == 1
