"""The liquidity that an embedded venue shows, and how much of it our own orders have already taken.

The depth part is exactly what the depth stream says; the newest book ticker lies over it until depth catches up, as
on the real venue, where the ticker is ahead. What our orders took stays taken until the market next updates that
level: a diff that names it, or a ticker that changes its price or quantity.

Levels are kept as the venue's text, keyed by the price as a float (a key and an order, never an amount); Decimals
are made only for the few levels that an order walks. Recorded frames come by the ten thousand, orders by the dozen.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from decimal import Decimal

from attrs import frozen

from propbot.domain.market import DepthDiff, DepthSnapshot, PriceLevel, TopOfBook
from propbot.domain.money import ZERO
from propbot.domain.orders import Side


@frozen
class OpenLevel:
    """One visible level with what is left of it for us."""

    price: Decimal
    qty: Decimal


class _BookSide:
    """One side's levels, best first whatever the side: bid prices are kept negated."""

    def __init__(self, side: Side, levels: list[PriceLevel]) -> None:
        self.sign = -1.0 if side is Side.BUY else 1.0
        self.levels: dict[float, PriceLevel] = {}
        self.keys: list[float] = []
        self.ticker: PriceLevel | None = None
        self.ticker_key = 0.0
        self.taken: dict[float, Decimal] = {}
        self.apply(levels)

    def key(self, price: str | Decimal) -> float:
        return self.sign * float(price)

    def apply(self, levels: list[PriceLevel]) -> None:
        book, keys, taken, sign = self.levels, self.keys, self.taken, self.sign
        for level in levels:
            key = sign * float(level[0])
            if taken:
                taken.pop(key, None)
            if float(level[1]) == 0.0:
                if book.pop(key, None) is not None:
                    del keys[bisect_left(keys, key)]
            else:
                if key not in book:
                    insort(keys, key)
                book[key] = level

    def lay_ticker(self, price: str, qty: str) -> None:
        key = self.key(price)
        if self.taken:
            shown = self.level_at(key)
            if shown is None or shown[1] != qty:
                self.taken.pop(key, None)
            for better in [k for k in self.taken if k < key]:
                del self.taken[better]
        self.ticker, self.ticker_key = (price, qty), key

    def level_at(self, key: float) -> PriceLevel | None:
        if self.ticker is not None and key <= self.ticker_key:
            return self.ticker if key == self.ticker_key else None
        return self.levels.get(key)

    def walk(self) -> Iterator[tuple[float, PriceLevel]]:
        """Best first; the ticker hides every depth level that is better than it."""
        start = 0
        if self.ticker is not None:
            yield self.ticker_key, self.ticker
            start = bisect_left(self.keys, self.ticker_key)
            if start < len(self.keys) and self.keys[start] == self.ticker_key:
                start += 1
        for index in range(start, len(self.keys)):
            key = self.keys[index]
            yield key, self.levels[key]

    def best(self) -> PriceLevel | None:
        return next((level for _, level in self.walk()), None)


class VisibleBook:
    """One symbol's visible book, from a snapshot on."""

    def __init__(self, snapshot: DepthSnapshot) -> None:
        self.venue = snapshot.venue
        self.symbol = snapshot.symbol
        self.last_id = snapshot.last_id
        """Of depth alone."""
        self._ticker: TopOfBook | None = None
        self._sides = {
            Side.BUY: _BookSide(Side.BUY, snapshot.bids),
            Side.SELL: _BookSide(Side.SELL, snapshot.asks),
        }

    def apply(self, event: DepthDiff | TopOfBook) -> bool:
        """Whether the frame was news. Frames up to the snapshot's id are not."""
        if isinstance(event, DepthDiff):
            return self._apply_diff(event)
        return self._apply_ticker(event)

    def _apply_diff(self, diff: DepthDiff) -> bool:
        if diff.last_id <= self.last_id:
            return False
        self.last_id = diff.last_id
        if self._ticker is not None and self._ticker.update_id <= diff.last_id:
            self._ticker = None
            for side in self._sides.values():
                side.ticker = None
        self._sides[Side.BUY].apply(diff.bids)
        self._sides[Side.SELL].apply(diff.asks)
        return True

    def _apply_ticker(self, top: TopOfBook) -> bool:
        known = self.last_id if self._ticker is None else self._ticker.update_id
        if top.update_id <= known:
            return False
        self._ticker = top
        self._sides[Side.BUY].lay_ticker(top.bid, top.bid_qty)
        self._sides[Side.SELL].lay_ticker(top.ask, top.ask_qty)
        return True

    def depth(self, limit: int) -> DepthSnapshot:
        """What depth alone says at `last_id`: a client that continues it with diffs gets the venue's book."""
        bids, asks = (
            [side.levels[key] for key in side.keys[:limit]] for side in (self._sides[Side.BUY], self._sides[Side.SELL])
        )
        return DepthSnapshot(self.venue, self.symbol, self.last_id, bids, asks)

    def top(self) -> TopOfBook | None:
        """The newest best prices, by ticker or depth; None while a side is empty."""
        if self._ticker is not None:
            return self._ticker
        bid, ask = self._sides[Side.BUY].best(), self._sides[Side.SELL].best()
        if bid is None or ask is None:
            return None
        return TopOfBook(self.venue, self.symbol, self.last_id, bid[0], bid[1], ask[0], ask[1], None)

    def qty_at(self, side: Side, price: Decimal) -> Decimal:
        """What the market shows on `side` at `price`, ours taken or not."""
        book_side = self._sides[side]
        level = book_side.level_at(book_side.key(price))
        return ZERO if level is None else Decimal(level[1])

    def reaches(self, side: Side, limit_price: Decimal) -> bool:
        """Whether an order of `side` at `limit_price` would meet a visible level of the other side."""
        book_side = self._sides[side.opposite]
        best = book_side.best()
        return best is not None and book_side.key(best[0]) <= book_side.key(limit_price)

    def walk(self, side: Side, limit_price: Decimal | None) -> Iterator[OpenLevel]:
        """What an order of `side` may take, best first, within its limit (None: any price)."""
        book_side = self._sides[side.opposite]
        bound = None if limit_price is None else book_side.key(limit_price)
        for key, (price, qty) in book_side.walk():
            if bound is not None and key > bound:
                return
            left = Decimal(qty) - book_side.taken.get(key, ZERO)
            if left > 0:
                yield OpenLevel(Decimal(price), left)

    def take(self, side: Side, price: Decimal, qty: Decimal) -> None:
        """An order of `side` took `qty` at the visible level `price`."""
        book_side = self._sides[side.opposite]
        key = book_side.key(price)
        book_side.taken[key] = book_side.taken.get(key, ZERO) + qty
