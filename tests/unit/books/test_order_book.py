"""The book's rules one by one: synchronising, losing, the ticker over the depth, walking, checking."""

from __future__ import annotations

from decimal import Decimal
from math import inf, isnan
from typing import TYPE_CHECKING

import pytest

from propbot.books import book as book_module
from propbot.books.book import OrderBook
from propbot.domain.market import VenueNotice
from propbot.domain.orders import Side

if TYPE_CHECKING:
    from tests.unit.books.conftest import Events

D = Decimal


# --- synchronising


def test_without_a_snapshot_there_is_no_price(spot: Events) -> None:
    book = spot.book()
    assert not book.needs_snapshot, "asked for only when diffs are coming in: else it may be older than the stream"
    book.apply(spot.diff(10, 12, bids=[("99", "1")], asks=[("101", "1")]))
    book.apply(spot.ticker(13, "99", "101"))
    assert book.needs_snapshot
    assert not book.synced
    assert (book.best_bid, book.best_ask, book.top(), book.walk(Side.BUY, D(1))) == (0.0, inf, None, None)
    assert isnan(book.mid)
    assert isnan(book.screen_avg(Side.BUY, 1.0))
    assert not book.crossed


@pytest.mark.parametrize(
    ("first", "last", "snapshot"),
    [(8, 12, 10), (11, 12, 10), (10, 11, 10), (9, 10, 10)],
    ids=["in the middle", "U = lastUpdateId + 1 (ETH spot recording)", "U = lastUpdateId", "u = lastUpdateId"],
)
def test_spot_bridges_where_the_diff_continues_the_snapshot(spot: Events, first: int, last: int, snapshot: int) -> None:
    book = spot.book()
    book.apply(spot.diff(first, last, bids=[("99.5", "3")]))
    book.apply_snapshot(spot.snapshot(snapshot))
    assert book.synced
    assert book.update_id == max(last, snapshot)
    assert book.best_bid == (99.5 if last > snapshot else 99.0)
    assert book.resyncs == 0


@pytest.mark.parametrize(
    ("first", "last", "prev", "snapshot"),
    [(8, 12, 7, 10), (8, 10, 7, 10), (10, 12, 7, 10), (12, 14, 8, 10)],
    ids=["in the middle", "u = lastUpdateId (ETH um recording)", "U = lastUpdateId", "between pu and U"],
)
def test_um_bridges_where_the_diff_continues_the_snapshot(
    um: Events, first: int, last: int, prev: int, snapshot: int
) -> None:
    book = um.book()
    book.apply(um.diff(first, last, prev, asks=[("100", "3")]))
    book.apply_snapshot(um.snapshot(snapshot))
    assert book.synced
    assert book.best_ask == (100.0 if last > snapshot else 101.0)


def test_a_snapshot_ahead_of_the_stream_waits_for_the_diff_that_reaches_it(spot: Events) -> None:
    book = spot.book()
    book.apply(spot.diff(10, 11))
    book.apply_snapshot(spot.snapshot(13))
    assert not book.synced
    assert not book.needs_snapshot
    book.apply(spot.diff(12, 12, bids=[("100", "9")]))
    assert not book.synced
    book.apply(spot.diff(13, 14, bids=[("99", "7")]))
    assert book.synced
    assert (book.best_bid, book.resyncs) == (99.0, 0), "what came before the snapshot is in it already"


def test_a_snapshot_older_than_the_first_diff_is_not_used_and_another_is_wanted(um: Events) -> None:
    book = um.book()
    book.apply(um.diff(20, 22, 19))
    book.apply_snapshot(um.snapshot(18))
    assert not book.synced
    assert book.needs_snapshot
    book.apply_snapshot(um.snapshot(21))
    assert book.synced


def test_a_diff_that_is_missing_between_the_buffered_ones_restarts_the_row(spot: Events) -> None:
    book = spot.book()
    book.apply(spot.diff(10, 11))
    book.apply(spot.diff(13, 14))
    book.apply_snapshot(spot.snapshot(11))
    assert not book.synced
    book.apply_snapshot(spot.snapshot(12))
    assert book.synced
    assert book.resyncs == 0, "the first synchronisation is no resync"


def test_the_buffer_is_bounded_and_keeps_the_newest(spot: Events) -> None:
    book = spot.book()
    for update_id in range(1, book_module.RECENT_DIFFS + 11):
        book.apply(spot.diff(update_id, update_id))
    book.apply_snapshot(spot.snapshot(9))
    assert book.needs_snapshot
    book.apply_snapshot(spot.snapshot(10))
    assert book.synced


# --- losing it


def test_a_gap_takes_the_prices_away_and_counts_once(synced: OrderBook, spot: Events) -> None:
    synced.apply(spot.diff(12, 12))
    assert (synced.synced, synced.best_bid, synced.resyncs) == (False, 0.0, 1)
    assert "between 10 and 12" in synced.loss_reason
    synced.apply(spot.diff(14, 14))
    assert synced.resyncs == 1
    assert synced.needs_snapshot
    synced.apply_snapshot(spot.snapshot(14))
    assert synced.synced


def test_um_looks_at_pu_and_not_at_the_distance_of_ids(um: Events) -> None:
    book = um.book()
    book.apply(um.diff(5, 10, 4))
    book.apply_snapshot(um.snapshot(9))
    book.apply(um.diff(15, 20, 10))
    assert book.synced
    book.apply(um.diff(21, 22, 19))
    assert not book.synced


def test_a_diff_delivered_twice_or_late_changes_nothing(synced: OrderBook, spot: Events) -> None:
    synced.apply(spot.diff(11, 11, bids=[("99", "5")]))
    synced.apply(spot.diff(11, 11, bids=[("99", "6")]))
    synced.apply(spot.diff(9, 10, bids=[("99", "7")]))
    top = synced.top()
    assert top is not None
    assert (top.bid_qty, synced.resyncs) == (D(5), 0)


def test_a_crossed_book_is_lost_and_may_come_back_with_the_next_snapshot(synced: OrderBook, spot: Events) -> None:
    synced.apply(spot.diff(11, 11, bids=[("101", "1")]))
    assert (synced.synced, synced.resyncs) == (False, 1)
    assert "crossed" in synced.loss_reason
    synced.apply_snapshot(spot.snapshot(11))
    assert synced.synced


@pytest.mark.parametrize(
    "level",
    [("0", "1"), ("-5", "1"), ("nan", "1"), ("inf", "1"), ("abc", "1"), ("", "1"), ("1e999", "1"), ("99", "-1"),
     ("99", "nan"), ("99", "inf"), ("99", "x")],
)  # fmt: skip
def test_an_absurd_level_is_counted_and_never_priced(synced: OrderBook, spot: Events, level: tuple[str, str]) -> None:
    synced.apply(spot.diff(11, 11, bids=[("99.5", "1"), level]))
    assert (synced.synced, synced.malformed, synced.resyncs) == (False, 1, 1)
    synced.apply(spot.diff(12, 12))
    synced.apply_snapshot(spot.snapshot(11))
    assert synced.synced, "the row begins anew after the frame that could not be read"


def test_a_malformed_snapshot_is_counted_and_another_is_wanted(spot: Events) -> None:
    book = spot.book()
    book.apply(spot.diff(10, 10))
    book.apply_snapshot(spot.snapshot(9, bids=[("0", "1")]))
    assert (book.synced, book.malformed, book.needs_snapshot) == (False, 1, True)


@pytest.mark.parametrize("bid", ["0.00", "-1", "nan", "x", "inf"])
def test_an_absurd_ticker_is_ignored(synced: OrderBook, spot: Events, bid: str) -> None:
    synced.apply(spot.ticker(20, bid, "101"))
    assert (synced.synced, synced.malformed, synced.best_bid) == (True, 1, 99.0)


def test_a_crossed_ticker_takes_the_book_away(synced: OrderBook, spot: Events) -> None:
    synced.apply(spot.ticker(20, "100", "100"))
    assert (synced.synced, synced.malformed, synced.resyncs) == (False, 1, 1)


def test_a_disconnect_forgets_all_and_is_no_resync(synced: OrderBook, spot: Events) -> None:
    synced.apply(spot.ticker(20, "99", "100"))
    synced.touch(5.0, 3.0)
    synced.disconnected()
    assert (synced.synced, synced.resyncs, synced.needs_snapshot, synced.venue_lag_ms) == (False, 0, False, None)
    synced.apply(spot.diff(3, 3))  # a restarted venue may count from anywhere
    synced.apply_snapshot(spot.snapshot(3))
    assert (synced.synced, synced.best_ask) == (True, 101.0)


def test_a_side_without_levels_has_no_prices_and_needs_no_snapshot(synced: OrderBook, spot: Events) -> None:
    synced.apply(spot.diff(11, 11, asks=[("101", "0"), ("102", "0.000")]))
    assert (synced.synced, synced.needs_snapshot, synced.resyncs) == (False, False, 0)
    synced.apply(spot.diff(12, 12, asks=[("103", "1")]))
    assert (synced.synced, synced.best_ask) == (True, 103.0)


def test_other_symbols_and_notices_are_not_for_this_book(synced: OrderBook, spot: Events) -> None:
    other = OrderBook(spot.venue, "ETHUSDT")
    other.apply(spot.diff(1, 1))
    other.apply(spot.ticker(1, "1", "2"))
    assert (other.needs_snapshot, other.update_id) == (False, 0)
    synced.apply(VenueNotice(spot.venue, "maintenance"))
    assert synced.synced


# --- the ticker over the depth


def test_the_newer_of_ticker_and_depth_is_the_top(synced: OrderBook, spot: Events) -> None:
    synced.apply(spot.ticker(12, "99.5", "100.5", qty="4"))
    assert (synced.best_bid, synced.best_ask, synced.update_id) == (99.5, 100.5, 12)
    top = synced.top()
    assert top is not None
    assert (top.bid, top.bid_qty, top.ask, top.update_id) == (D("99.5"), D(4), D("100.5"), 12)
    synced.apply(spot.diff(11, 12, bids=[("99.4", "1")]))
    assert (synced.best_bid, synced.best_ask) == (99.4, 101.0), "at equal ids the depth says the same and more"
    synced.apply(spot.ticker(11, "99.9", "100"))
    assert synced.best_bid == 99.4


def test_levels_better_than_a_newer_ticker_are_skipped_and_come_back_never(synced: OrderBook, spot: Events) -> None:
    synced.apply(spot.ticker(12, "97", "103", qty="1"))
    assert (synced.best_bid, synced.best_ask, synced.crossed) == (97.0, 103.0, False)
    assert synced.walk(Side.SELL, D("1.5")) is None
    synced.apply(spot.ticker(13, "98", "102", qty="1"))
    walk = synced.walk(Side.SELL, D("1"))
    assert walk is not None
    assert (walk.worst_price, walk.levels) == (D(98), 1)
    assert synced.walk(Side.SELL, D("1.5")) is None, "the ticker's quantity replaces the level's own"


def test_ticker_and_depth_of_different_moments_never_cross_each_other(synced: OrderBook, spot: Events) -> None:
    synced.apply(spot.ticker(12, "102.5", "103"))
    assert (synced.synced, synced.crossed, synced.best_ask) == (True, False, 103.0)
    walk = synced.walk(Side.BUY, D(1))
    assert walk is not None
    assert walk.worst_price == D(103)


# --- walking


def test_what_is_taken_is_what_walking_costs(synced: OrderBook) -> None:
    for qty in (D("0.3"), D("1"), D("1.5")):
        walk, taken = synced.walk(Side.BUY, qty), synced.take(Side.BUY, qty)
        assert walk is not None
        assert taken is not None
        assert sum(each for _, each in taken) == qty
        assert sum(price * each for price, each in taken) == walk.notional
        assert (taken[-1][0], len(taken)) == (walk.worst_price, walk.levels)
    assert synced.take(Side.BUY, D("1000000")) is None


def test_walking_takes_level_after_level_exactly(synced: OrderBook) -> None:
    walk = synced.walk(Side.BUY, D("1.5"))
    assert walk is not None
    assert (walk.notional, walk.worst_price, walk.levels) == (D("152.0"), D(102), 2)
    assert walk.avg_price * D("1.5") == pytest.approx(walk.notional)
    assert synced.screen_avg(Side.BUY, 1.5) == pytest.approx(float(walk.avg_price))
    assert synced.screen_avg(Side.SELL, 1.0) == 99.0


def test_a_quantity_beyond_what_is_visible_has_no_price(synced: OrderBook) -> None:
    assert synced.walk(Side.BUY, D("3")) is not None
    assert synced.walk(Side.BUY, D("3.001")) is None
    assert isnan(synced.screen_avg(Side.BUY, 3.001))


# --- freshness


def test_a_book_is_stale_without_frames_and_when_frames_are_late(synced: OrderBook) -> None:
    assert synced.stale(0.0, 1.5)
    synced.touch(10.0)
    assert not synced.stale(11.5, 1.5)
    assert synced.stale(11.6, 1.5)
    synced.touch(12.0, 1600.0)
    assert synced.stale(12.0, 1.5), "it arrives, but the venue's own time stands still"
    synced.touch(12.1)
    assert synced.stale(12.1, 1.5), "frames without a time say nothing about it"
    synced.touch(12.2, -20.0)
    assert not synced.stale(12.2, 1.5)
    synced.touch(13.8)
    assert synced.stale(13.8, 1.5), "a frame without a time may have been on its way for as long"
    assert synced.age_s(13.8) == pytest.approx(1.6)


# --- checking against a snapshot


def test_a_book_that_agrees_goes_on_with_the_snapshots_wider_view(synced: OrderBook, spot: Events) -> None:
    wider = spot.snapshot(10, bids=[("99", "1"), ("98", "2"), ("97", "3")])
    assert synced.check_against(wider) is True
    assert synced.walk(Side.SELL, D(6)) is not None
    assert (synced.snapshot_checks, synced.snapshot_mismatches, synced.resyncs) == (1, 0, 0)


def test_a_check_applies_what_came_after_the_snapshot(synced: OrderBook, spot: Events) -> None:
    synced.apply(spot.diff(11, 11, bids=[("99.5", "1")]))
    assert synced.check_against(spot.snapshot(10)) is True
    assert synced.best_bid == 99.5


def test_a_book_that_differs_is_lost(synced: OrderBook, spot: Events) -> None:
    assert synced.check_against(spot.snapshot(10, bids=[("99", "1.1"), ("98", "2")])) is False
    assert (synced.synced, synced.needs_snapshot, synced.resyncs, synced.snapshot_mismatches) == (False, True, 1, 1)
    synced.apply_snapshot(spot.snapshot(10))
    assert synced.synced, "the diffs kept for checks bridge the next one"


def test_a_phantom_level_is_found(synced: OrderBook, spot: Events) -> None:
    assert synced.check_against(spot.snapshot(10, asks=[("102", "2")])) is False


def test_levels_beyond_what_the_snapshot_tells_are_not_compared(synced: OrderBook, spot: Events) -> None:
    assert synced.check_against(spot.snapshot(10, asks=[("101", "1")])) is True


def test_a_snapshot_ahead_is_compared_by_the_diff_that_reaches_it(synced: OrderBook, spot: Events) -> None:
    assert synced.check_against(spot.snapshot(12)) is None
    synced.apply(spot.diff(11, 11))
    assert synced.snapshot_checks == 0
    synced.apply(spot.diff(12, 12, bids=[("99", "8")]))
    assert (synced.snapshot_checks, synced.snapshot_mismatches, synced.synced) == (1, 1, False)


def test_what_can_not_be_compared_says_nothing(synced: OrderBook, spot: Events) -> None:
    assert synced.check_against(spot.snapshot(3, bids=[("1", "1")])) is None
    assert synced.check_against(spot.snapshot(10, bids=[("x", "1")])) is None
    assert synced.synced
    synced.disconnected()
    assert synced.check_against(spot.snapshot(10)) is None


def test_levels_far_from_the_market_are_forgotten_before_memory_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from propbot.books import ladder as ladder_module

    monkeypatch.setattr(ladder_module, "LEVELS_MAX", 20)
    ladder = ladder_module.Ladder(1, [(str(price), "1") for price in range(100, 110)])
    for price in range(99, 60, -1):
        ladder.put([(str(price), "1")])
    assert len(ladder.keys) <= 20
    assert ladder.best == 109.0
    assert ladder.known_key >= ladder.keys[0]
