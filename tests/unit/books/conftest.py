"""Short ways to write book events in these tests."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from attrs import frozen

from propbot.books.book import OrderBook
from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM, VenueId
from propbot.domain.market import DepthDiff, DepthSnapshot, PriceLevel, TopOfBook

SYMBOL = "BTCUSDT"
Levels = Sequence[PriceLevel]


@frozen
class Events:
    """Events of one venue; `prev` is given on USD-M only."""

    venue: VenueId

    def book(self) -> OrderBook:
        return OrderBook(self.venue, SYMBOL)

    def diff(
        self, first: int, last: int, prev: int | None = None, *, bids: Levels = (), asks: Levels = ()
    ) -> DepthDiff:
        return DepthDiff(self.venue, SYMBOL, first, last, prev, list(bids), list(asks), None)

    def snapshot(
        self, last: int, *, bids: Levels = (("99", "1"), ("98", "2")), asks: Levels = (("101", "1"), ("102", "2"))
    ) -> DepthSnapshot:
        return DepthSnapshot(self.venue, SYMBOL, last, list(bids), list(asks))

    def ticker(self, update_id: int, bid: str, ask: str, qty: str = "1") -> TopOfBook:
        return TopOfBook(self.venue, SYMBOL, update_id, bid, qty, ask, qty, None)


@pytest.fixture
def spot() -> Events:
    return Events(BINANCE_SPOT)


@pytest.fixture
def um() -> Events:
    return Events(BINANCE_UM)


@pytest.fixture
def synced(spot: Events) -> OrderBook:
    """99/98 against 101/102, at id 10."""
    book = spot.book()
    book.apply(spot.diff(10, 10))
    book.apply_snapshot(spot.snapshot(9))
    assert book.synced
    return book
