"""What monitoring takes beside the status page: plain numbers, each measured already when it is asked for.

None is "unknown". Counts are of this life where nothing else is said; durations are seconds, amounts quote or base.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from attrs import frozen

from propbot.domain.instruments import VenueId


@frozen
class VenueMeasures:
    usable: bool
    book_synced: bool
    book_age_s: float | None
    book_resyncs: int
    frames: int
    malformed: int
    """Frames, and pieces of the book, that made no sense."""
    market_sessions: int
    private_sessions: int
    private_up: bool
    clock_offset_s: float | None
    """The venue's less ours."""
    rate_used_share: float | None
    """Of the limit that is used up the furthest; unknown before the limits are."""
    paused_s: float
    position_base: Decimal
    fills: int
    """Since the ledger began."""


@frozen
class Distribution:
    """Samples of a rolling window, ascending, in seconds; and how many there have been since the start."""

    sorted_s: Sequence[float]
    taken: int


@frozen
class LedgerMeasures:
    backlog: int
    """Calls handed in and not yet answered."""
    waiting_s: float
    """Age of the oldest of them."""
    last_write_s: float | None
    slowest_write_s: float | None
    journal_rows: int


@frozen
class Measures:
    venues: Mapping[VenueId, VenueMeasures]
    distributions: Mapping[str, Distribution]
    """book_age, tick_to_order, order_round_trip, api_latency, loop_lag."""
    orders_ended: Mapping[tuple[VenueId, str], int]
    """(venue, outcome) → how many."""
    orders_in_flight: int
    lots_open: int
    decisions: int
    failed_spreads_in_a_row: int
    exposure_base: Decimal
    notional_usdt: Decimal | None
    day_drawdown_usdt: Decimal | None
    holds: int
    guard_trips: Mapping[str, int]
    """Of every guard, those that never tripped too."""
    dead_tasks: int
    ledger: LedgerMeasures
    journal_queued: int
    journal_lost: int
    disk_free_bytes: int | None
