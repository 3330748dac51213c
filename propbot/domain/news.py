"""A place in the ledger, and what came after it: for those who follow it from outside and must neither miss nor repeat
anything."""

from __future__ import annotations

from attrs import frozen

from propbot.domain.events import GENESIS_HASH, EventRow
from propbot.domain.lots import FillRow


@frozen
class Place:
    """Everything up to this event and this fill is known; nothing after them."""

    event_id: int = 0
    event_hash: str = GENESIS_HASH
    """Of the event of that id: it tells one ledger from another."""
    event_ns: int = 0
    fill_seq: int = 0


@frozen
class News:
    """What came after a place, oldest first, up to a bound of each."""

    events: tuple[EventRow, ...] = ()
    fills: tuple[tuple[int, FillRow], ...] = ()
    """Each with its `seq`."""
