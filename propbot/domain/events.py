"""The journal's rows and their hash chain: each row carries the hash of the one before, so that an edit shows.

The ledger writes them in the change's own transaction; `first_bad` is what `audit verify` asks. A cut tail does not
show in the chain itself: that is what the head kept outside of the ledger is for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence

from attrs import Factory, frozen

Detail = str | int | bool | None
"""What an event's details may hold; amounts go in as text."""

GENESIS_HASH = "0" * 64

# made once: `json.dumps` makes a new one for each call that is not plain, and this stands on the way to an order
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
_encode_sorted = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


@frozen
class EventRow:
    """One thing that happened. `id` counts from 1 without gaps; `venue` and `symbol` are empty where none is meant."""

    id: int
    ts_ns: int
    level: str
    kind: str
    message: str
    venue: str = ""
    symbol: str = ""
    source: str = ""
    details: Mapping[str, Detail] = Factory(dict)
    prev_hash: str = GENESIS_HASH
    hash: str = ""


@frozen
class Head:
    """The last row of the journal at some moment; kept outside of it, it shows a tail that was cut."""

    id: int
    hash: str


@frozen
class JournalCheck:
    """What a walk over the whole journal found."""

    ok: bool
    rows: int
    """That are as they were written, from the first on."""
    head: str | None
    """The hash of the last of them; None without any."""
    first_bad: int | None
    reason: str
    """What is wrong with the first bad row; empty while all is well."""


def canonical_details(details: Mapping[str, Detail]) -> str:
    """One spelling for one content: sorted keys, no spaces, no NaN."""
    return _encode_sorted(dict(details))


def event_hash(event: EventRow) -> str:
    """SHA-256, in hex, over the previous hash and the row's canonical JSON (everything but the hashes)."""
    row = (event.id, event.ts_ns, event.level, event.kind, event.message, event.venue, event.symbol, event.source)
    return row_hash(event.prev_hash, row, canonical_details(event.details))


def row_hash(prev_hash: str, columns: Sequence[str | int], details: str) -> str:
    """The same from the columns `id` to `source` as they are stored, and the details as stored text."""
    text = _encode([*columns, details])
    return hashlib.sha256(f"{prev_hash}\n{text}".encode()).hexdigest()


def first_bad(events: Iterable[EventRow]) -> int | None:
    """The id of the first row, of all rows oldest first, that breaks the chain; None while it is whole."""
    prev_hash = GENESIS_HASH
    for due_id, event in enumerate(events, start=1):
        if event.id != due_id or event.prev_hash != prev_hash or event.hash != event_hash(event):
            return event.id
        prev_hash = event.hash
    return None
