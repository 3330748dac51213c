"""The trace of a replay: one JSON object a line, hashed while it is written.

Its rows are those of `kit.trace`, in the order in which they happened: the bot's, and of the venues those about orders
and trades (their market frames are the recording itself, their requests are wire). Two more kinds are made here:

    top      what one source alone says is best, for each frame that carries prices
    sample   every quarter of a second: mids, edges, reference, book ages, equity, and why nothing is done
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import trio
from attrs import define, field

from propbot.domain.instruments import VenueId

VENUE_KINDS = frozenset({"order", "order_reply", "cancel", "cancel_reply", "trade", "fault", "note"})
_BUFFER_BYTES = 1024 * 1024


@define(eq=False)
class ReplayTrace:
    """Writes rows, counts them by kind, and knows their hash."""

    file: BinaryIO
    counts: Counter[str] = field(factory=Counter)
    _hash: Any = field(factory=hashlib.sha256)
    _encode: Any = field(factory=lambda: msgspec.json.Encoder().encode)

    def bot(self, kind: str, **fields: Any) -> None:
        self._write({"t": trio.current_time(), "who": "bot", "kind": kind, **fields})

    def venue(self, kind: str, **fields: Any) -> None:
        if kind in VENUE_KINDS:
            self._write({"t": trio.current_time(), "who": "venue", "kind": kind, **fields})

    def top(self, venue: VenueId, source: str, update_id: int, bid: str | None, ask: str | None) -> None:
        """`books.book.TopSeen`. None is an empty side."""
        self._write(
            {
                "t": trio.current_time(), "who": "bot", "kind": "top", "venue": venue, "src": source, "u": update_id,
                "bid": bid, "ask": ask,
            }
        )

    def sample(self, fields: Mapping[str, Any]) -> None:
        self._write({"t": trio.current_time(), "who": "bot", "kind": "sample", **fields})

    def sha256(self) -> str:
        """Of all that was written so far."""
        digest: str = self._hash.hexdigest()
        return digest

    def _write(self, row: Mapping[str, Any]) -> None:
        self.counts[row["kind"]] += 1
        line: bytes = self._encode(row) + b"\n"
        self._hash.update(line)
        self.file.write(line)


@contextmanager
def open_replay_trace(path: Path) -> Iterator[ReplayTrace]:
    with open(path, "wb", buffering=_BUFFER_BYTES) as file:
        yield ReplayTrace(file)
