"""The public trades that a venue has shown: the last ones whole, and a day of minutes for the statistics over 24 hours.

Each trade is read as it comes (3 µs, November 2026): to pile frames up until somebody asks was tried, and stopped the
event loop for 10 ms a thousand. What was before the host started is not known: a young venue's day is shorter.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from decimal import Decimal

import msgspec
from attrs import define, evolve, field, frozen

from propbot.domain.money import ZERO
from propbot.simvenue.records import MarketFrame

TRADES_KEPT = 1000
DAY_MS = 24 * 3600 * 1000
_MINUTE_MS = 60_000


class PrintedTrade(msgspec.Struct, frozen=True, gc=False):
    """A public trade, in the field names of both venues' streams."""

    trade_id: int = msgspec.field(name="t")
    price: str = msgspec.field(name="p")
    qty: str = msgspec.field(name="q")
    ts_ms: int = msgspec.field(name="T")
    buyer_is_maker: bool = msgspec.field(name="m")


_decoder = msgspec.json.Decoder(PrintedTrade)


@define
class _Span:
    """What traded from `start_ms` on. One trade at least."""

    start_ms: int
    first_id: int
    last_id: int
    open: Decimal
    high: Decimal
    low: Decimal
    last: Decimal
    last_qty: Decimal
    qty: Decimal
    quote_qty: Decimal
    count: int

    def append(self, later: _Span) -> None:
        self.last_id, self.last, self.last_qty = later.last_id, later.last, later.last_qty
        self.high, self.low = max(self.high, later.high), min(self.low, later.low)
        self.qty += later.qty
        self.quote_qty += later.quote_qty
        self.count += later.count


@frozen
class Day:
    """The last 24 hours. Prices are zero and ids −1 while nothing has traded."""

    first_id: int = -1
    last_id: int = -1
    open: Decimal = ZERO
    high: Decimal = ZERO
    low: Decimal = ZERO
    last: Decimal = ZERO
    last_qty: Decimal = ZERO
    qty: Decimal = ZERO
    quote_qty: Decimal = ZERO
    count: int = 0


@define(eq=False)
class Tape:
    """One symbol's trades."""

    _trades: deque[PrintedTrade] = field(factory=lambda: deque(maxlen=TRADES_KEPT))
    _minutes: deque[_Span] = field(factory=lambda: deque(maxlen=DAY_MS // _MINUTE_MS + 1))

    def see(self, frame: MarketFrame) -> None:
        """What can't be read is left out: statistics are no reason to stop a market."""
        try:
            trade = _decoder.decode(frame.data)
            price, qty = Decimal(trade.price), Decimal(trade.qty)
        except (msgspec.DecodeError, ArithmeticError):
            return
        if not qty:
            return  # the perp's stream has rows that are no trades (X is not MARKET)
        self._trades.append(trade)
        start_ms = trade.ts_ms // _MINUTE_MS * _MINUTE_MS
        span = _Span(start_ms, trade.trade_id, trade.trade_id, price, price, price, price, qty, qty, price * qty, 1)
        if self._minutes and self._minutes[-1].start_ms >= start_ms:
            self._minutes[-1].append(span)
        else:
            self._minutes.append(span)

    def last_trades(self, limit: int) -> Sequence[PrintedTrade]:
        """Oldest first, the newest `limit`."""
        return list(self._trades)[-limit:]

    def day(self, now_ms: int) -> Day:
        spans = [span for span in self._minutes if span.start_ms > now_ms - DAY_MS]
        if not spans:
            return Day()
        total = evolve(spans[0])
        for span in spans[1:]:
            total.append(span)
        return Day(
            total.first_id, total.last_id, total.open, total.high, total.low, total.last, total.last_qty, total.qty,
            total.quote_qty, total.count,
        )


@define(eq=False)
class Tapes:
    """All symbols of one venue."""

    _by_symbol: dict[str, Tape] = field(factory=dict)

    def see(self, frame: MarketFrame) -> None:
        """Any frame; only trades are kept."""
        if frame.event is None and frame.stream.endswith("@trade"):
            self.of(frame.symbol).see(frame)

    def of(self, symbol: str) -> Tape:
        return self._by_symbol.setdefault(symbol, Tape())
