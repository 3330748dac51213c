"""What was replayed and under which thresholds: what a report needs to know of settings, and nothing else of them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

from attrs import frozen

from propbot import __version__
from propbot.compose import paper_fees
from propbot.domain.instruments import Credentials, Fees, VenueId
from propbot.settings import Settings
from propbot.venues.registry import make_dialect


@frozen
class ReportHead:
    pair: str
    venues: tuple[VenueId, ...]
    """In the loop's order, which gives the spread its sign: second over first."""
    files: Mapping[VenueId, str]
    """The recordings' names, without their folders."""
    given: Mapping[str, str]
    """`--set NAME=VALUE`."""
    fees: Mapping[VenueId, Fees]
    order_notional_usdt: Decimal
    min_spread_bps: Decimal
    exit_edge_bps: Decimal
    stop_bps: Decimal
    moving_reference: bool
    """Else it is zero, whatever the basis is."""
    latency_ms: float
    book_age_ms_max: float
    simulated: bool
    """A dry run: its lots are simulated, and so are their costs."""
    version: str


def head_of(settings: Settings, files: Mapping[VenueId, Path], given: Mapping[str, str]) -> ReportHead:
    trading, fees = settings.trading, paper_fees(settings)
    return ReportHead(
        pair=trading.pair,
        venues=trading.venues,
        files={venue: path.name for venue, path in files.items()},
        given=dict(given),
        fees={venue: fees[venue] for venue in trading.venues},
        order_notional_usdt=trading.order_notional_usdt,
        min_spread_bps=trading.min_spread_bps,
        exit_edge_bps=trading.exit_edge_bps,
        stop_bps=trading.stop_bps,
        moving_reference=_moves(settings),
        latency_ms=settings.paper.latency_s * 1000,
        book_age_ms_max=settings.risk.max_book_age_s * 1000,
        simulated=settings.start.dry_run_only,
        version=__version__,
    )


def _moves(settings: Settings) -> bool:
    """As the service decides it: auto is zero between equal instruments."""
    if settings.trading.reference == "auto":
        return len({make_dialect(venue, Credentials("", "")).kind for venue in settings.trading.venues}) > 1
    return settings.trading.reference == "moving"
