"""Recorded Binance streams as a market source: the frames as they were received, at their pace, with their clock.

A file is gzip text, one message a line: `<local receive time, ns> <JSON>`; messages are combined-stream envelopes,
and one bare REST depth snapshot stands near the top. Files are read lazily and merged by receive time, so a replay
holds a few lines in memory, not sixty megabytes.

The recorder's clock was off (by 1.27 s in the files of August 2024), which shows as event times ahead of receive
times. The source's wall clock is therefore receive time plus the median of (event time − receive time) over the
first events of all files: one clock for all venues, since they were recorded on one host.
"""

from __future__ import annotations

import gzip
import heapq
import math
import statistics
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import trio
from attrs import define, frozen

from propbot.domain.errors import RecordingError
from propbot.domain.instruments import BINANCE_UM, VenueId
from propbot.domain.market import DepthDiff, DepthSnapshot, PriceLevel, TopOfBook
from propbot.simvenue.records import MarketFrame

CLOCK_SAMPLES = 4000
"""Events of a file whose time is compared with the receive time; well past the first second of either stream."""

STAMP_DIGITS_MAX = 19
"""Nanoseconds since 1970, until the year 2286."""
GAP_S_MAX = 3600.0
"""Longer without a line is a damaged stamp, or two recordings in one file: nobody trades on an hour of silence."""


class _Envelope(msgspec.Struct):
    stream: str
    data: msgspec.Raw


class _Snapshot(msgspec.Struct):
    lastUpdateId: int
    bids: list[PriceLevel]
    asks: list[PriceLevel]


class _Depth(msgspec.Struct):
    E: int
    U: int
    u: int
    b: list[PriceLevel]
    a: list[PriceLevel]
    pu: int | None = None


class _Ticker(msgspec.Struct):
    u: int
    b: str
    B: str
    a: str
    A: str
    E: int | None = None


class _Timed(msgspec.Struct):
    E: int | None = None


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_snapshot = msgspec.json.Decoder(_Snapshot).decode
_decode_depth = msgspec.json.Decoder(_Depth).decode
_decode_ticker = msgspec.json.Decoder(_Ticker).decode
_decode_timed = msgspec.json.Decoder(_Timed).decode


class _Line(msgspec.Struct, frozen=True, gc=False):
    """One line of a file, not yet understood."""

    receive_ns: int
    text: bytes
    venue: VenueId
    path: Path
    number: int

    @property
    def is_snapshot(self) -> bool:
        return self.text.startswith(b'{"lastUpdateId"')

    def error(self, what: object) -> RecordingError:
        return RecordingError(f"{self.path}: line {self.number}: {what}")


@frozen
class _Head:
    """What the top of a file tells before the replay starts."""

    symbol: str
    snapshot: DepthSnapshot
    first_ns: int
    clock_ns: Sequence[int]
    """Event time minus receive time, as often as it was there."""


@define(eq=False)
class _Reading:
    """How far a file has been read, in its own (compressed) bytes."""

    path: Path
    bytes_read: int = 0


def _read_lines(venue: VenueId, reading: _Reading) -> Iterator[_Line]:
    """Line by line; `RecordingError` for a file that is damaged, cut off, malformed or out of order."""
    path, number, last_ns = reading.path, 0, 0
    try:
        with open(path, "rb") as packed, gzip.open(packed, "rb") as file:
            for raw in file:
                reading.bytes_read = packed.tell()
                number += 1
                stamp, _, text = raw.rstrip(b"\r\n").partition(b" ")
                if not stamp.isdigit() or len(stamp) > STAMP_DIGITS_MAX or not text:
                    raise RecordingError(f"{path}: line {number}: not `<receive time, ns> <JSON>`")
                receive_ns = int(stamp)
                if receive_ns < last_ns:
                    raise RecordingError(f"{path}: line {number}: received before the line above it")
                if last_ns and receive_ns - last_ns > GAP_S_MAX * 1e9:
                    gap_s = (receive_ns - last_ns) / 1e9
                    raise RecordingError(f"{path}: line {number}: received {gap_s:.0f} s after the line above it")
                last_ns = receive_ns
                yield _Line(receive_ns, text, venue, path, number)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise RecordingError(f"{path}: {error.strerror}") from error
    except (OSError, EOFError, zlib.error) as error:  # BadGzipFile is an OSError
        raise RecordingError(f"{path}: line {number + 1}: {error}") from error


def _read_head(venue: VenueId, path: Path) -> _Head:
    symbol, first_ns, snapshot = "", 0, None
    clock_ns: list[int] = []
    for line in _read_lines(venue, _Reading(path)):
        first_ns = first_ns or line.receive_ns
        try:
            if line.is_snapshot:
                snapshot = snapshot or _decode_snapshot(line.text)
            else:
                envelope = _decode_envelope(line.text)
                symbol = symbol or _symbol_of(envelope.stream)
                event_ms = _decode_timed(envelope.data).E
                if event_ms is not None and len(clock_ns) < CLOCK_SAMPLES:
                    clock_ns.append(event_ms * 1_000_000 - line.receive_ns)
        except msgspec.MsgspecError as error:
            raise line.error(error) from error
        if snapshot is not None and symbol and len(clock_ns) >= CLOCK_SAMPLES:
            break
    if snapshot is None or not symbol or not clock_ns:
        raise RecordingError(f"{path}: line 1: no depth snapshot, or no timed stream message, in the whole file")
    state = DepthSnapshot(venue, symbol, snapshot.lastUpdateId, snapshot.bids, snapshot.asks)
    return _Head(symbol, state, first_ns, clock_ns)


def _symbol_of(stream: str) -> str:
    return stream.partition("@")[0].upper()


def _read_frame(line: _Line) -> MarketFrame:
    try:
        envelope = _decode_envelope(line.text)
        symbol = _symbol_of(envelope.stream)
        event = _read_event(line.venue, symbol, envelope)
        text, data = line.text.decode(), bytes(envelope.data).decode()
    except (msgspec.MsgspecError, ValueError) as error:
        raise line.error(error) from error
    return MarketFrame(line.venue, symbol, envelope.stream, text, data, event)


def _read_event(venue: VenueId, symbol: str, envelope: _Envelope) -> DepthDiff | TopOfBook | None:
    kind = envelope.stream.partition("@")[2]
    if kind.startswith("depth"):
        d = _decode_depth(envelope.data)
        if (d.pu is None) is (venue == BINANCE_UM):
            raise ValueError(f"depth: `pu` is {'missing' if d.pu is None else 'there'}: no recording of {venue}")
        _check_levels(d.b)
        _check_levels(d.a)
        return DepthDiff(venue, symbol, d.U, d.u, d.pu, d.b, d.a, d.E)
    if kind == "bookTicker":
        t = _decode_ticker(envelope.data)
        _check_levels([(t.b, t.B), (t.a, t.A)])
        return TopOfBook(venue, symbol, t.u, t.b, t.B, t.a, t.A, t.E)
    return None


def _check_levels(levels: Sequence[PriceLevel]) -> None:
    for price, qty in levels:
        if not (0.0 < float(price) < math.inf and 0.0 <= float(qty) < math.inf):
            raise ValueError(f"not a level: {price!r}, {qty!r}")


class RecordedMarket:
    """A `MarketSource` over recordings; `run` returns at their end."""

    def __init__(self, paths: Mapping[VenueId, Path], heads: Mapping[VenueId, _Head], speed: float) -> None:
        self._files = {venue: _Reading(path) for venue, path in paths.items()}
        self._bytes = sum(path.stat().st_size for path in paths.values())
        self._speed = speed
        self._snapshots = {(venue, head.symbol): head.snapshot for venue, head in heads.items()}
        self._first_ns = min(head.first_ns for head in heads.values())
        self.clock_offset_ns = int(statistics.median([ns for head in heads.values() for ns in head.clock_ns]))
        self._position_ns = self._first_ns
        self._started_s: float | None = None
        self.ended = False

    @property
    def snapshots(self) -> Mapping[tuple[VenueId, str], DepthSnapshot]:
        return self._snapshots

    @property
    def played_s(self) -> float:
        """Recorded time that has been published so far."""
        return (self._position_ns - self._first_ns) / 1e9

    @property
    def share_read(self) -> float:
        """Of the files' bytes, 0 to 1."""
        return sum(reading.bytes_read for reading in self._files.values()) / self._bytes

    def wall_ns(self) -> int:
        """The replay position as the venues' time; goes on after the end, but for a replay at unbounded speed."""
        if self._started_s is None or self._speed == math.inf:
            return self._position_ns + self.clock_offset_ns
        replayed_s = (trio.current_time() - self._started_s) * self._speed
        return self._first_ns + round(replayed_s * 1e9) + self.clock_offset_ns

    async def run(self, publish: Callable[[MarketFrame], None]) -> None:
        """Publish every frame, in order of receive time; `RecordingError` where a file goes wrong."""
        self._started_s = start_s = trio.current_time()
        files = [_read_lines(venue, reading) for venue, reading in self._files.items()]
        for line in heapq.merge(*files, key=lambda line: line.receive_ns):
            if line.is_snapshot:
                continue
            frame = _read_frame(line)
            due_s = start_s + (line.receive_ns - self._first_ns) / 1e9 / self._speed
            if due_s > trio.current_time():
                await trio.sleep_until(due_s)
            else:
                await trio.lowlevel.checkpoint()
            self._position_ns = line.receive_ns
            publish(frame)
        self.ended = True


def open_recording(paths: Mapping[VenueId, Path], speed: float = 1.0) -> RecordedMarket:
    """A market that replays `paths`, `speed` times faster (infinity: as fast as it is read). Reads the files' heads
    at once; `RecordingError` names file and line of what is wrong there."""
    if not paths:
        raise ValueError("no recording given")
    if not speed > 0:
        raise ValueError(f"speed must be above zero, not {speed}")
    heads = {venue: _read_head(venue, path) for venue, path in paths.items()}
    earliest = min(heads, key=lambda venue: heads[venue].first_ns)
    for venue, head in heads.items():
        late_s = (head.first_ns - heads[earliest].first_ns) / 1e9
        if late_s > GAP_S_MAX:
            raise RecordingError(f"{paths[venue]}: line 1: begins {late_s:.0f} s after {paths[earliest]} does")
    return RecordedMarket(paths, heads, speed)
