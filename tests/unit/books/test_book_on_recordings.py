"""The books on what Binance really sent on 2024-08-08: never lost, and right at every id that can be compared."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from propbot.books.book import OrderBook
from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM, VenueId
from propbot.domain.market import DepthDiff, DepthSnapshot, PublicEvent, TopOfBook

RECORDINGS = Path(__file__).parents[4] / "shared" / "recordings" / "binance"
SYMBOL = "BTCUSDT"


def read_events(path: Path, venue: VenueId) -> Iterator[PublicEvent | DepthSnapshot]:
    with gzip.open(path, "rt") as lines:
        for line in lines:
            message = json.loads(line.partition(" ")[2])
            if "lastUpdateId" in message:
                yield DepthSnapshot(venue, SYMBOL, message["lastUpdateId"], _levels(message["bids"]),
                                    _levels(message["asks"]))  # fmt: skip
                continue
            frame = message["data"]
            if "@depth" in message["stream"]:
                yield DepthDiff(venue, SYMBOL, frame["U"], frame["u"], frame.get("pu"), _levels(frame["b"]),
                                _levels(frame["a"]), frame["E"])  # fmt: skip
            elif "@bookTicker" in message["stream"]:
                yield TopOfBook(venue, SYMBOL, frame["u"], frame["b"], frame["B"], frame["a"], frame["A"], None)


def _levels(rows: list[list[str]]) -> list[tuple[str, str]]:
    return [(price, qty) for price, qty in rows]


@pytest.mark.parametrize(
    ("file", "venue", "equal_ids"),
    [("usdm_btcusdt_20240808.gz", BINANCE_UM, 629), ("spot_btcusdt_20240808.gz", BINANCE_SPOT, 564)],
)
def test_the_book_stays_whole_and_its_best_prices_are_the_tickers(file: str, venue: VenueId, equal_ids: int) -> None:
    path = RECORDINGS / file
    if not path.exists():
        pytest.skip(f"the recording {file} is not beside this checkout")
    book, depth_only = OrderBook(venue, SYMBOL), OrderBook(venue, SYMBOL)
    depth_best: dict[int, tuple[float, float]] = {}
    ticker_best: dict[int, tuple[float, float]] = {}
    last: PublicEvent | None = None
    was_synced = False
    for event in read_events(path, venue):
        if isinstance(event, DepthSnapshot):
            book.apply_snapshot(event)
            depth_only.apply_snapshot(event)
            continue
        book.apply(event)
        if isinstance(event, TopOfBook):
            ticker_best[event.update_id] = (float(event.bid), float(event.ask))
            last = event
        else:
            depth_only.apply(event)
            if depth_only.synced:
                depth_best[depth_only.update_id] = (depth_only.best_bid, depth_only.best_ask)
        assert book.synced or not was_synced
        assert not book.crossed
        was_synced = book.synced
    assert (book.synced, book.resyncs, book.malformed) == (True, 0, 0)
    both = depth_best.keys() & ticker_best.keys()
    assert len(both) == equal_ids
    assert all(depth_best[update_id] == ticker_best[update_id] for update_id in both)
    assert isinstance(last, TopOfBook)
    top = book.top()
    assert top is not None
    assert (top.bid, top.ask) == (Decimal(last.bid), Decimal(last.ask))
