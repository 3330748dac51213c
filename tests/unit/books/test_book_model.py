"""The book against a naive one that simply knows everything: whatever is lost, doubled or swapped on the way, a book
that says it is synchronised says what the venue's book was at that id."""

from __future__ import annotations

from decimal import Decimal
from math import inf, isnan

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from propbot.books.book import OrderBook, Walk
from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM
from propbot.domain.market import DepthDiff, DepthSnapshot, TopOfBook
from propbot.domain.orders import Side

SYMBOL = "BTCUSDT"
BIDS = [Decimal(9000 + i) / 100 for i in range(8)]
ASKS = [Decimal(9008 + i) / 100 for i in range(8)]
QTYS = [Decimal(0), Decimal("0.001"), Decimal("0.5"), Decimal("2"), Decimal("13.25")]

Change = tuple[bool, int, Decimal]
"""(bid?, which price, quantity)."""


def text(amount: Decimal) -> str:
    return f"{amount:.4f}"


@define
class VenueBook:
    """The truth: one dict of levels a side for every update id."""

    chained: bool
    """Whether diffs carry the previous id, and ids jump (USD-M)."""
    states: dict[int, tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]] = field(factory=dict)
    diffs: list[DepthDiff] = field(factory=list)
    last: int = 100

    def __attrs_post_init__(self) -> None:
        self.states[self.last] = ({BIDS[0]: Decimal(1)}, {ASKS[-1]: Decimal(1)})

    @property
    def venue(self) -> str:
        return BINANCE_UM if self.chained else BINANCE_SPOT

    def change(self, batch: list[Change], jump: int) -> None:
        """One diff that carries `batch`, an update id for each change."""
        prev = self.last
        if self.chained:
            self.last += jump
            self.states[self.last] = self.states[prev]
        first = self.last + 1
        touched: tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]] = ({}, {})
        for is_bid, index, qty in batch:
            bids, asks = (dict(side) for side in self.states[self.last])
            side, price = (bids, BIDS[index]) if is_bid else (asks, ASKS[index])
            side[price] = qty
            if not qty:
                del side[price]
            touched[0 if is_bid else 1][price] = qty
            self.last += 1
            self.states[self.last] = (bids, asks)
        levels = [[(text(price), text(qty)) for price, qty in side.items()] for side in touched]
        prev_id = prev if self.chained else None
        self.diffs.append(DepthDiff(self.venue, SYMBOL, first, self.last, prev_id, *levels, None))

    def at(self, update_id: int) -> tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]:
        return self.states[max(known for known in self.states if known <= update_id)]

    def snapshot(self, update_id: int) -> DepthSnapshot:
        bids, asks = self.at(update_id)
        return DepthSnapshot(
            self.venue, SYMBOL, update_id,
            [(text(price), text(bids[price])) for price in sorted(bids, reverse=True)],
            [(text(price), text(asks[price])) for price in sorted(asks)],
        )

    def ticker(self, update_id: int) -> TopOfBook | None:
        bids, asks = self.at(update_id)
        if not bids or not asks:
            return None
        bid, ask = max(bids), min(asks)
        return TopOfBook(self.venue, SYMBOL, update_id, text(bid), text(bids[bid]), text(ask), text(asks[ask]), None)


def naive_walk(levels: list[tuple[Decimal, Decimal]], qty: Decimal) -> Walk | None:
    left, notional = qty, Decimal(0)
    for count, (price, available) in enumerate(levels, start=1):
        taken = min(left, available)
        left, notional = left - taken, notional + taken * price
        if left == 0:
            return Walk(notional / qty, price, notional, count)
    return None


def assert_tells_the_truth(book: OrderBook, truth: VenueBook, depth_id: int, ticker: TopOfBook | None) -> None:
    """`depth_id`: the newest diff that the book has; `ticker`: the newest one that it was given."""
    bids, asks = (sorted(side.items()) for side in truth.at(depth_id))
    bids.reverse()
    if ticker is not None and ticker.update_id > depth_id:
        bid, ask = Decimal(ticker.bid), Decimal(ticker.ask)
        bids = [(bid, Decimal(ticker.bid_qty))] + [level for level in bids if level[0] < bid]
        asks = [(ask, Decimal(ticker.ask_qty))] + [level for level in asks if level[0] > ask]
    assert book.synced == bool(bids and asks)
    assert not book.crossed
    if not book.synced:
        return
    assert (book.best_bid, book.best_ask) == (float(bids[0][0]), float(asks[0][0]))
    top = book.top()
    assert top is not None
    assert ((top.bid, top.bid_qty), (top.ask, top.ask_qty)) == (bids[0], asks[0])
    for side, levels in ((Side.SELL, bids), (Side.BUY, asks)):
        for qty in (Decimal("0.001"), Decimal("0.7"), Decimal("5"), Decimal("40")):
            walk = naive_walk(levels, qty)
            assert book.walk(side, qty) == walk
            screened = book.screen_avg(side, float(qty))
            assert isnan(screened) if walk is None else screened == pytest.approx(float(walk.avg_price), rel=1e-12)


changes = st.tuples(st.booleans(), st.integers(0, 7), st.sampled_from(QTYS))
batches = st.lists(st.tuples(st.lists(changes, min_size=1, max_size=4), st.integers(0, 3)), min_size=1, max_size=12)


def grow(truth: VenueBook, planned: list[tuple[list[Change], int]]) -> None:
    for batch, jump in planned:
        legal: list[Change] = []
        sides = [dict(side) for side in truth.states[truth.last]]
        for is_bid, index, qty in batch:
            side, price = (sides[0], BIDS[index]) if is_bid else (sides[1], ASKS[index])
            if qty or price in side:
                side[price] = qty
                if not qty:
                    del side[price]
                legal.append((is_bid, index, qty))
        if legal:
            truth.change(legal, jump)


@settings(max_examples=200, deadline=None)
@given(batches, st.booleans(), st.data())
def test_in_order_the_book_is_the_venues_book_and_never_lost(
    planned: list[tuple[list[Change], int]], chained: bool, data: st.DataObject
) -> None:
    truth = VenueBook(chained)
    grow(truth, planned)
    book = OrderBook(truth.venue, SYMBOL)
    if not truth.diffs:
        return
    at = data.draw(st.integers(0, len(truth.diffs) - 1), label="the snapshot arrives after this diff")
    snapshot_id = data.draw(st.integers(100, truth.last), label="its id")
    synced_from: int | None = None
    ticker: TopOfBook | None = None
    for index, diff in enumerate(truth.diffs):
        book.apply(diff)
        if index == at:
            book.apply_snapshot(truth.snapshot(snapshot_id))
            assert not book.needs_snapshot
        if index >= at and diff.last_id >= snapshot_id:
            synced_from = index
        if data.draw(st.booleans()):
            update_id = data.draw(st.integers(diff.first_id - 1, truth.last), label="a ticker's id")
            newer = truth.ticker(update_id)
            if newer is not None:
                book.apply(newer)
                ticker = newer if ticker is None or newer.update_id > ticker.update_id else ticker
        if synced_from is not None:
            assert_tells_the_truth(book, truth, diff.last_id, ticker)
        else:
            assert (book.synced, book.best_bid, book.best_ask) == (False, 0.0, inf)
    assert synced_from is not None, "the last diff reaches any snapshot"
    assert (book.resyncs, book.malformed) == (0, 0)
    check_id = data.draw(st.integers(100, truth.last), label="id of a snapshot to check against")
    verdict = book.check_against(truth.snapshot(check_id))
    assert verdict is True
    assert_tells_the_truth(book, truth, truth.last, ticker)


@settings(max_examples=300, deadline=None)
@given(batches, st.booleans(), st.data())
def test_whatever_is_lost_doubled_or_swapped_no_price_is_wrong(
    planned: list[tuple[list[Change], int]], chained: bool, data: st.DataObject
) -> None:
    truth = VenueBook(chained)
    grow(truth, planned)
    book = OrderBook(truth.venue, SYMBOL)
    arriving: list[DepthDiff] = []
    for diff in truth.diffs:
        fate = data.draw(st.sampled_from(["arrives", "arrives", "arrives", "lost", "doubled", "overtakes"]))
        if fate == "overtakes" and arriving:
            arriving.insert(len(arriving) - 1, diff)
        elif fate != "lost":
            arriving += [diff, diff] if fate == "doubled" else [diff]
    newest = 0
    for diff in arriving:
        book.apply(diff)
        newest = max(newest, diff.last_id)
        if book.needs_snapshot and data.draw(st.booleans()):
            book.apply_snapshot(truth.snapshot(data.draw(st.integers(100, truth.last))))
        if book.synced:
            assert_tells_the_truth(book, truth, newest, None)
    assert book.malformed == 0


@given(st.lists(st.tuples(st.text(max_size=6), st.text(max_size=6)), max_size=5))
def test_no_text_that_a_venue_could_send_raises(levels: list[tuple[str, str]]) -> None:
    book = OrderBook(BINANCE_SPOT, SYMBOL)
    book.apply(DepthDiff(BINANCE_SPOT, SYMBOL, 1, 1, None, levels, levels, None))
    book.apply_snapshot(DepthSnapshot(BINANCE_SPOT, SYMBOL, 0, [("1", "1")], [("2", "1")]))
    book.apply(DepthDiff(BINANCE_SPOT, SYMBOL, 2, 2, None, levels, [], None))
    for price, qty in levels:
        book.apply(TopOfBook(BINANCE_SPOT, SYMBOL, 3, price, qty, qty, price, None))
    book.walk(Side.BUY, Decimal(1))
    assert not (book.synced and book.crossed)
