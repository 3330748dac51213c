"""Recorded BTCUSDT perpetual frames as the bytes that a venue's socket sends: text frames, framed beforehand.

Only the streams that the bot subscribes to (depth and book ticker; the recording also has trades), byte for byte, but
for their times: `E` and `T` are moved by one constant, digits for digits, so that a service that compares them with
its clock takes them for fresh.
"""

from __future__ import annotations

import gzip
import re
import struct
from collections.abc import Sequence
from pathlib import Path

import msgspec
from attrs import frozen

from propbot.domain.instruments import BINANCE_UM
from propbot.domain.market import DepthSnapshot, PriceLevel

_TIMES = re.compile(rb'"([ET])":(\d{13})')
_WANTED = (b'{"stream":"btcusdt@depth', b'{"stream":"btcusdt@bookTicker')
_AFTER_SNAPSHOT = 100
"""So many frames after the one that bridges the snapshot, before the part that is measured."""
CHUNK_BYTES = 64 * 1024


class _Snapshot(msgspec.Struct):
    lastUpdateId: int
    bids: list[PriceLevel]
    asks: list[PriceLevel]


class _Data(msgspec.Struct):
    u: int
    b: str | list[PriceLevel]


class _Envelope(msgspec.Struct):
    stream: str
    data: _Data


@frozen
class Recorded:
    """`prefix` synchronises a book on `snapshot`; `flood` is what is measured. Payloads, not yet framed."""

    snapshot: DepthSnapshot
    prefix: Sequence[bytes]
    flood: Sequence[bytes]
    last_id: int
    mid: float
    """The perpetual's first price."""


def load(path: Path, first_event_ms: int) -> Recorded:
    """The recording with its first event moved to `first_event_ms`."""
    frames: list[bytes] = []
    snapshot: _Snapshot | None = None
    bridged_at: int | None = None
    shift_ms: int | None = None
    last_id, mid = 0, 0.0
    with gzip.open(path, "rb") as file:
        for line in file:
            text = line.rstrip(b"\r\n").partition(b" ")[2]
            if text.startswith(b'{"lastUpdateId"'):
                snapshot = msgspec.json.decode(text, type=_Snapshot)
                continue
            if not text.startswith(_WANTED):
                continue
            envelope = msgspec.json.decode(text, type=_Envelope)
            last_id = max(last_id, envelope.data.u)
            if not mid and isinstance(envelope.data.b, str):
                mid = float(envelope.data.b)
            if shift_ms is None:
                found = _TIMES.search(text)
                assert found is not None, text[:100]
                shift_ms = first_event_ms - int(found[2])
            frames.append(_moved(text, shift_ms))
            is_depth = not isinstance(envelope.data.b, str)
            if bridged_at is None and snapshot is not None and is_depth and envelope.data.u >= snapshot.lastUpdateId:
                bridged_at = len(frames)
    if snapshot is None or bridged_at is None:
        raise ValueError(f"{path}: no snapshot that its diffs reach")
    cut = bridged_at + _AFTER_SNAPSHOT
    state = DepthSnapshot(BINANCE_UM, "BTCUSDT", snapshot.lastUpdateId, snapshot.bids, snapshot.asks)
    return Recorded(state, frames[:cut], frames[cut:], last_id, mid)


def _moved(text: bytes, shift_ms: int) -> bytes:
    return _TIMES.sub(lambda found: b'"%b":%d' % (found[1], int(found[2]) + shift_ms), text)


def text_frame(payload: bytes) -> bytes:
    """`payload` as one unmasked text frame, as servers send it (RFC 6455, section 5.2)."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65_536:
        return struct.pack("!BBH", 0x81, 126, size) + payload
    return struct.pack("!BBQ", 0x81, 127, size) + payload


def chunks(payloads: Sequence[bytes]) -> list[bytes]:
    """All payloads framed and joined, cut where the socket's sender likes it, not at frames."""
    whole = b"".join(text_frame(payload) for payload in payloads)
    return [whole[at : at + CHUNK_BYTES] for at in range(0, len(whole), CHUNK_BYTES)]
