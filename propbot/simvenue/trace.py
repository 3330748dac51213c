"""What the embedded venues saw and did, row by row: for `propbot venues --trace`, the admin port's `GET /log`, and the
invariant checker, which reads it beside the bot's own trace.

A row is `{"mono_ns","venue","dir","kind","u","client_order_id", …}`. Kinds: `frame` (a market frame goes out), `order`
(read in full, not yet judged), `order_reply`, `cancel`, `cancel_reply`, `request`, `reply`, `trade` (the venue booked
one), `fault`, `note`. Amounts are text. `mono_ns` comes from an injected clock: the machine's monotonic one (two
processes compare by it; Trio's has an offset of its own), or virtual time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from propbot.kit.trace import Trace

Row = dict[str, Any]

ROWS_KEPT_MAX = 10_000
FRAMES_KEPT_MAX = 5_000
"""Frames come by the hundred a second and would push everything else out, so they are kept apart."""
_FILE_BUFFER_BYTES = 256 * 1024


class VenueTrace:
    """All venues of one host write here. `sink` gets each row's fields as well."""

    def __init__(self, mono_ns: Callable[[], int], sink: Trace, file: BinaryIO | None = None) -> None:
        self.mono_ns = mono_ns
        self._sink = sink
        self._file = file
        self._encode = msgspec.json.Encoder().encode
        self._count = 0
        self._rows: deque[tuple[int, bytes]] = deque(maxlen=ROWS_KEPT_MAX)
        """As JSON: a third of what the dictionaries would take."""
        self._frames: deque[tuple[int, bytes]] = deque(maxlen=FRAMES_KEPT_MAX)

    def row(
        self,
        venue: str,
        direction: str,
        kind: str,
        *,
        mono_ns: int | None = None,
        u: int | None = None,
        client_order_id: str | None = None,
        **fields: Any,
    ) -> None:
        """`direction`: `in` is towards the venue, `out` from it. `mono_ns`: when it happened, if not now."""
        row: Row = {
            "mono_ns": self.mono_ns() if mono_ns is None else mono_ns,
            "venue": venue,
            "dir": direction,
            "kind": kind,
            "u": u,
            "client_order_id": client_order_id,
            **fields,
        }
        self._count += 1
        encoded = self._encode(row)
        (self._frames if kind == "frame" else self._rows).append((self._count, encoded))
        if self._file is not None:
            self._file.write(encoded + b"\n")
        self._sink(kind, venue=venue, dir=direction, u=u, client_order_id=client_order_id, **fields)

    def since(self, number: int) -> tuple[list[Row], int]:
        """The kept rows after row `number`, in order, and the number to ask with next time."""
        kept = sorted(chain(self._newer(self._rows, number), self._newer(self._frames, number)), key=lambda at: at[0])
        return [msgspec.json.decode(row) for _, row in kept], self._count

    @staticmethod
    def _newer(kept: deque[tuple[int, bytes]], number: int) -> Iterator[tuple[int, bytes]]:
        for at in reversed(kept):
            if at[0] <= number:
                return
            yield at

    def flush(self) -> None:
        if self._file is not None:
            self._file.flush()


@contextmanager
def open_venue_trace(mono_ns: Callable[[], int], sink: Trace, path: Path | None) -> Iterator[VenueTrace]:
    """A trace that also goes to `path`, one JSON object a line (its folder is made); None: to no file."""
    if path is None:
        yield VenueTrace(mono_ns, sink)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb", buffering=_FILE_BUFFER_BYTES) as file:
        yield VenueTrace(mono_ns, sink, file)
