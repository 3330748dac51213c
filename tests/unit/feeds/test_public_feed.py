"""The public feed over memory streams, with a real dialect and a real book: connecting, reading, resyncing, silence."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import trio
from attrs import define, field

from propbot.books.book import OrderBook
from propbot.domain.errors import RateLimited, VenueRetry
from propbot.domain.instruments import Credentials, Endpoints
from propbot.domain.market import DepthSnapshot
from propbot.feeds.public import PublicFeed
from propbot.kit.clock import VirtualClock
from propbot.kit.supervise import Backoff
from propbot.venues.binance_spot import BinanceSpot

if TYPE_CHECKING:
    from tests.unit.feeds.conftest import Session, Supervisor, WsVenue

EPOCH_MS = 1_700_000_000_000
SYMBOL = "BTCUSDT"
DIALECT = BinanceSpot(Credentials("key", "secret"))


def depth(first: int, last: int, *, bids: list[list[str]] | None = None, event_ms: int = EPOCH_MS) -> str:
    data = {"e": "depthUpdate", "E": event_ms, "s": SYMBOL, "U": first, "u": last, "b": bids or [], "a": []}
    return json.dumps({"stream": "btcusdt@depth@100ms", "data": data})


def ticker(update_id: int, bid: str, ask: str) -> str:
    data = {"u": update_id, "s": SYMBOL, "b": bid, "B": "1", "a": ask, "A": "1"}
    return json.dumps({"stream": "btcusdt@bookTicker", "data": data})


def snapshot(last: int, bid_qty: str = "1") -> DepthSnapshot:
    return DepthSnapshot(DIALECT.venue, SYMBOL, last, [("99", bid_qty)], [("101", "1")])


@define(eq=False)
class Desk:
    """Everything around one feed."""

    feed: PublicFeed
    book: OrderBook
    changes: list[int]
    problems: list[str]
    snapshots: list[DepthSnapshot | Exception]
    """Answers to the next fetches; the last one again and again."""
    fetched_s: list[float]
    clock: VirtualClock
    fetch_delay_s: float = 0.05
    fetching: int = field(default=0)

    async def fetch(self) -> DepthSnapshot:
        assert self.fetching == 0, "one at a time"
        self.fetching += 1
        try:
            self.fetched_s.append(trio.current_time())
            await trio.sleep(self.fetch_delay_s)
        finally:
            self.fetching -= 1
        answer = self.snapshots.pop(0) if len(self.snapshots) > 1 else self.snapshots[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


MakeDesk = Callable[..., Desk]


@pytest.fixture
def make_desk(venue: WsVenue) -> MakeDesk:
    def make(**options: Any) -> Desk:
        book, clock = OrderBook(DIALECT.venue, SYMBOL), VirtualClock(EPOCH_MS * 1_000_000)
        changes: list[int] = []
        problems: list[str] = []

        async def fetch() -> DepthSnapshot:
            return await desk.fetch()

        feed = PublicFeed(
            venue.network, Endpoints("http://venue", "ws://venue", "ws://venue/ws-api"), DIALECT, SYMBOL, book, fetch,
            clock, random.Random(1), lambda: changes.append(book.update_id), problems.append, **options,
        )
        desk = Desk(feed, book, changes, problems, [snapshot(10)], [], clock)
        return desk

    return make


@pytest.fixture
def desk(make_desk: MakeDesk, supervisor: Supervisor) -> Desk:
    desk = make_desk()
    supervisor.run(desk.feed.run_session, Backoff(random.Random(2)))
    return desk


async def synced_session(venue: WsVenue, number: int = 1) -> Session:
    session = await venue.session(number)
    await session.say(depth(10, 11))
    await trio.sleep(0.5)
    return session


async def test_it_subscribes_fetches_one_snapshot_and_has_a_book(
    venue: WsVenue, desk: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    session = await venue.session()
    assert session.target == "/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker"
    await trio.sleep(1)
    assert desk.fetched_s == [], "no snapshot before the stream is there"
    await session.say(depth(10, 11), depth(12, 12, bids=[["99.5", "2"]]), ticker(13, "99.6", "101"))
    await trio.sleep(0.06)
    assert (desk.book.synced, desk.book.best_bid, len(desk.fetched_s)) == (True, 99.6, 1)
    assert desk.changes[-1] == 13
    assert len(desk.changes) == 4, "each frame, and the snapshot"
    health = desk.feed.health
    assert (health.connected, health.frames, health.sessions, health.snapshots) == (True, 3, 1, 1)


async def test_frames_that_carry_nothing_keep_the_book_fresh(
    venue: WsVenue, desk: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    session = await synced_session(venue)
    await trio.sleep(5)
    changes = len(desk.changes)
    await session.say('{"stream":"btcusdt@trade","data":{"e":"trade","s":"BTCUSDT"}}')
    assert not desk.book.stale(desk.clock.mono_s(), 0.1)
    assert len(desk.changes) == changes


async def test_a_gap_brings_a_new_snapshot_and_flapping_is_paced(
    venue: WsVenue, desk: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    session = await synced_session(venue)
    for number in range(1, 6):
        at = 10 + number * 10
        desk.snapshots = [snapshot(at)]
        await session.say(depth(at, at + 1))
        assert not desk.book.synced
        while not desk.book.synced:
            await trio.sleep(0.01)
    assert desk.book.resyncs == 5
    pauses = [later - earlier for earlier, later in pairwise(desk.fetched_s)]
    assert len(pauses) == 5
    assert pauses[-1] > 1.0, "each costs the venue's weight"


async def test_a_snapshot_that_is_too_old_is_followed_by_another(
    venue: WsVenue, desk: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    desk.snapshots = [snapshot(5), snapshot(6), snapshot(10)]
    await synced_session(venue)
    await trio.sleep(2)
    assert (desk.book.synced, len(desk.fetched_s), desk.book.resyncs) == (True, 3, 0)


async def test_failed_fetches_are_told_and_tried_again_when_the_venue_allows(
    venue: WsVenue, desk: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    limited = RateLimited(DIALECT.venue, "too many", retry_after_s=5.0, code=None, http_status=429)
    desk.snapshots = [VenueRetry(DIALECT.venue, "timed out"), limited, snapshot(10)]
    await synced_session(venue)
    await trio.sleep(7)
    assert desk.book.synced
    assert desk.feed.health.snapshot_failures == 2
    assert desk.fetched_s[2] - desk.fetched_s[1] > 5.0
    assert ["timed out" in problem for problem in desk.problems] == [True, False]


async def test_a_lost_connection_takes_the_book_away_and_the_next_one_brings_it_back(
    venue: WsVenue, desk: Desk, supervisor: Supervisor, autojump_clock: trio.testing.MockClock
) -> None:
    session = await synced_session(venue)
    changes = len(desk.changes)
    await session.cut()
    assert (desk.book.synced, desk.feed.health.connected, len(desk.changes)) == (False, False, changes + 1)
    assert "WebSocket closed, code 1006" in supervisor.ends[0]
    assert desk.feed.health.last_error == supervisor.ends[0]
    again = await venue.session(2)
    desk.snapshots = [snapshot(500)]
    await again.say(depth(500, 501))
    await trio.sleep(0.5)
    assert (desk.book.synced, desk.book.resyncs, desk.feed.health.sessions) == (True, 0, 2)


async def test_the_back_off_grows_until_an_event_was_applied(
    venue: WsVenue, desk: Desk, supervisor: Supervisor, autojump_clock: trio.testing.MockClock
) -> None:
    for number in range(1, 6):
        await (await venue.session(number)).cut()
    await venue.session(6)
    pauses = [later.opened_s - earlier.opened_s for earlier, later in pairwise(venue.sessions)]
    assert pauses[4] > 4 * pauses[0]
    session = await synced_session(venue, 6)
    await session.cut()
    await venue.session(7)
    assert venue.sessions[6].opened_s - trio.current_time() < 0.5


async def test_silence_ends_the_session_though_pings_are_answered(
    venue: WsVenue, desk: Desk, supervisor: Supervisor, autojump_clock: trio.testing.MockClock
) -> None:
    session = await synced_session(venue)
    for number in range(12, 17):
        await session.say(depth(number, number))
        await trio.sleep(9)
    assert supervisor.ends == []
    await trio.sleep(1.5)
    assert supervisor.ends == ["VenueRetry: binance-spot: no frame for 10 s"]
    assert not desk.book.synced


async def test_a_venue_that_cannot_be_reached_is_named(
    venue: WsVenue, desk: Desk, supervisor: Supervisor, autojump_clock: trio.testing.MockClock
) -> None:
    await synced_session(venue)
    venue.network.refuse.add(("venue", 80))
    await venue.sessions[0].cut()
    await trio.sleep(2)
    assert "no connection to venue" in supervisor.ends[1]
    venue.network.refuse.clear()
    await venue.session(2)


async def test_a_frame_that_makes_no_sense_is_counted_and_five_in_a_row_end_the_session(
    venue: WsVenue, desk: Desk, supervisor: Supervisor, autojump_clock: trio.testing.MockClock
) -> None:
    session = await synced_session(venue)
    for _ in range(3):
        await session.say("}{", "[]", '"x"', "\x00", depth(12, 12))
    assert (supervisor.ends, desk.book.synced) == ([], True)
    assert desk.feed.health.violations == len(desk.problems) == 12
    await session.say(*["}{"] * 5)
    assert len(supervisor.ends) == 1
    assert "ProtocolViolation" in supervisor.ends[0]
    assert not desk.book.synced


async def test_a_refused_subscription_ends_the_session_in_the_venues_words(
    venue: WsVenue, desk: Desk, supervisor: Supervisor, autojump_clock: trio.testing.MockClock
) -> None:
    session = await synced_session(venue)
    await session.say('{"error":{"code":2,"msg":"Invalid request"},"id":1}')
    assert "Invalid request" in supervisor.ends[0]


async def test_every_minute_the_book_is_compared_with_a_snapshot(
    venue: WsVenue, desk: Desk, autojump_clock: trio.testing.MockClock
) -> None:
    session = await synced_session(venue)
    update_id = 11

    async def market(seconds: int) -> None:
        nonlocal update_id
        for _ in range(seconds):
            update_id += 1
            await session.say(depth(update_id, update_id))
            desk.snapshots = [snapshot(update_id - 1)]
            await trio.sleep(1)

    await market(62)
    assert (desk.book.snapshot_checks, desk.book.snapshot_mismatches, len(desk.fetched_s)) == (1, 0, 2)
    await market(57)
    desk.snapshots = [snapshot(update_id, bid_qty="7")]
    await trio.sleep(4)
    assert (desk.book.snapshot_mismatches, desk.book.resyncs) == (1, 1)
    assert any("differs" in problem for problem in desk.problems)
    assert desk.book.synced, "and synchronised again, on what the venue says"
    top = desk.book.top()
    assert top is not None
    assert top.bid_qty == 7


async def test_frames_that_come_late_by_the_venues_own_clock_make_the_book_stale(
    venue: WsVenue, make_desk: MakeDesk, supervisor: Supervisor, autojump_clock: trio.testing.MockClock
) -> None:
    desk = make_desk(venue_now_ms=lambda: EPOCH_MS + trio.current_time() * 1000)
    supervisor.run(desk.feed.run_session, Backoff(random.Random(2)))
    session = await synced_session(venue)
    assert not desk.book.stale(desk.clock.mono_s(), 1.5)
    await trio.sleep(5)
    await session.say(depth(12, 12, event_ms=EPOCH_MS))
    assert desk.book.stale(desk.clock.mono_s(), 1.5), "data flows, its time stands still"
    now_ms = EPOCH_MS + round(trio.current_time() * 1000)
    await session.say(depth(13, 13, event_ms=now_ms))
    assert not desk.book.stale(desk.clock.mono_s(), 1.5)
    assert desk.book.venue_lag_ms == pytest.approx(0, abs=1)
