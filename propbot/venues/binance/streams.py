"""Public frames → DepthDiff, TopOfBook, VenueNotice. The hot path: 0.7 µs for a book ticker, of which the typed
decode is 0.4 µs, and 6 µs for a depth diff of 68 levels (Python 3.11, November 2026).

A frame of a combined stream says early which stream it is of, so a substring check picks the typed decoder and each
frame is decoded once. Everything else (bare frames, control answers) takes the second path, which looks at the
frame's shape. Prices stay text: the book reads them, and counts what is no number.
"""

from __future__ import annotations

from typing import NoReturn

import msgspec
from msgspec import UNSET, Raw, UnsetType, field

from propbot.domain.errors import ProtocolViolation
from propbot.domain.instruments import VenueId
from propbot.domain.market import DepthDiff, PriceLevel, PublicEvent, TopOfBook, VenueNotice
from propbot.venues.binance.wire import decode


class _Ticker(msgspec.Struct, gc=False):
    update_id: int = field(name="u")
    symbol: str = field(name="s")
    bid: str = field(name="b")
    bid_qty: str = field(name="B")
    ask: str = field(name="a")
    ask_qty: str = field(name="A")
    event_ms: int | None = field(name="E", default=None)
    """Spot sends none."""


class _Depth(msgspec.Struct, gc=False):
    symbol: str = field(name="s")
    first_id: int = field(name="U")
    last_id: int = field(name="u")
    bids: list[PriceLevel] = field(name="b")
    asks: list[PriceLevel] = field(name="a")
    event_ms: int | None = field(name="E", default=None)
    prev_id: int | None = field(name="pu", default=None)


class _TickerEnvelope(msgspec.Struct, gc=False):
    data: _Ticker


class _DepthEnvelope(msgspec.Struct, gc=False):
    data: _Depth


class _Error(msgspec.Struct):
    msg: str = ""
    code: int | None = None


class _AnyFrame(msgspec.Struct):
    """Only what tells the kinds of frames apart."""

    stream: str | None = None
    data: Raw | UnsetType = UNSET
    event: str | None = field(name="e", default=None)
    ask_qty: Raw | UnsetType = field(name="A", default=UNSET)
    """Without an event name: a spot book ticker."""
    error: _Error | None = None
    request_id: Raw | UnsetType = field(name="id", default=UNSET)


_ticker_decoder = msgspec.json.Decoder(_Ticker)
_depth_decoder = msgspec.json.Decoder(_Depth)
_ticker_envelope = msgspec.json.Decoder(_TickerEnvelope)
_depth_envelope = msgspec.json.Decoder(_DepthEnvelope)
_any_decoder = msgspec.json.Decoder(_AnyFrame)


class PublicFrames(msgspec.Struct, frozen=True):
    """Reads one venue's public frames. `chained`: depth diffs must name the previous one (USD-M `pu`)."""

    venue: VenueId
    chained: bool

    def read(self, frame: str | bytes) -> PublicEvent | None:
        """None for what carries nothing for us; ProtocolViolation for nonsense."""
        is_text = isinstance(frame, str)
        try:
            # an "@" occurs in stream names only, never in prices: the scan of a long frame ends at its start
            if ("@bookTicker" in frame) if is_text else (b"@bookTicker" in frame):
                return self._top(_ticker_envelope.decode(frame).data)
            if ("@depth" in frame) if is_text else (b"@depth" in frame):
                return self._diff(_depth_envelope.decode(frame).data)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            self._refuse(frame, error)
        return self._read_by_shape(frame)

    def _top(self, ticker: _Ticker) -> TopOfBook:
        return TopOfBook(
            self.venue, ticker.symbol, ticker.update_id, ticker.bid, ticker.bid_qty, ticker.ask, ticker.ask_qty,
            ticker.event_ms,
        )

    def _diff(self, depth: _Depth) -> DepthDiff:
        prev_id = depth.prev_id
        if (prev_id is None) is self.chained:
            raise ProtocolViolation(self.venue, f"depth: `pu` is {'missing' if self.chained else 'not of this venue'}")
        return DepthDiff(
            self.venue, depth.symbol, depth.first_id, depth.last_id, prev_id, depth.bids, depth.asks, depth.event_ms
        )

    def _read_by_shape(self, frame: str | bytes) -> PublicEvent | None:
        head = decode(_any_decoder, frame, self.venue, "public frame")
        if not isinstance(head.data, Raw):
            return self._read_bare(head, frame)
        if head.stream is not None and "@" in head.stream:
            return None  # a stream that we did not ask for
        return self._read_bare(decode(_any_decoder, head.data, self.venue, "public frame data"), head.data)

    def _read_bare(self, head: _AnyFrame, payload: str | bytes | Raw) -> PublicEvent | None:
        if head.event == "depthUpdate":
            return self._diff(decode(_depth_decoder, payload, self.venue, "depth"))
        if head.event == "bookTicker" or (head.event is None and head.ask_qty is not UNSET):
            return self._top(decode(_ticker_decoder, payload, self.venue, "bookTicker"))
        if head.event == "serverShutdown":
            return VenueNotice(self.venue, "the venue is about to close this connection", fatal=True)
        if head.error is not None:  # our streams stand in the URL: an error answer means that one of them is wrong
            return VenueNotice(self.venue, f"{head.error.msg} (code {head.error.code})", fatal=True)
        if head.event is None and head.request_id is UNSET:
            raise ProtocolViolation(self.venue, "public frame: neither stream, event nor answer")
        return None

    def _refuse(self, frame: str | bytes, error: Exception) -> NoReturn:
        what = "bookTicker" if "@bookTicker" in str(frame[:64]) else "depth"
        raise ProtocolViolation(self.venue, f"{what}: {error}") from None
