"""GET /metrics: the service's numbers in Prometheus' text format, for whoever watches many of them.

Everything is read from what is measured already, at the moment of the question; nothing is counted here, and asking
changes nothing. What is unknown has no sample. `FAMILIES` is the whole list, and docs/metrics.md is held against it.
Labels are venues, guards, groups and words of ours: no id of an order ever becomes one.

It takes METRICS_TOKEN, which opens nothing else, or an operator's token.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector
from quart import Blueprint, Response

from propbot.api.describe import describe
from propbot.api.stream import Slots
from propbot.control.operators import digest_token
from propbot.domain.mode import Mode
from propbot.domain.orders import OrderState
from propbot.domain.status import Health
from propbot.kit.window import percentile
from propbot.status.desk import Desk
from propbot.status.measures import Measures
from propbot.status.slo import SloState

QUANTILES = (0.5, 0.95, 0.99, 1.0)
HEALTHS = {Health.OK: 0, Health.WARN: 1, Health.ERROR: 2, Health.HOLD: 3}
MetricFamily = GaugeMetricFamily | CounterMetricFamily
Value = Decimal | float | int | bool | None
EXAMPLE = """\
# HELP propbot_mode 1 for the mode that is in force.
# TYPE propbot_mode gauge
propbot_mode{mode="RUN"} 1.0
propbot_mode{mode="DRAIN"} 0.0
propbot_mode{mode="HOLD"} 0.0
"""
Sample = tuple[str, tuple[str, ...], Value]
"""Name of the family, label values in its order, and the value."""

FAMILIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "propbot_build_info": ("Always 1; which version and profile this is.", ("version", "profile")),
    "propbot_uptime_seconds": ("Since the start.", ()),
    "propbot_mode": ("1 for the mode that is in force.", ("mode",)),
    "propbot_safe_mode": ("1 while an operator's safe_mode is set.", ()),
    "propbot_dry_run_only": ("1 while decisions are only simulated.", ()),
    "propbot_holds_total": ("HOLDs asked for, by whomever, in this life.", ()),
    "propbot_overall_health": ("0 OK, 1 WARN, 2 ERROR, 3 HOLD.", ()),
    "propbot_component_health": ("0 OK, 1 WARN, 2 ERROR, 3 HOLD.", ("component", "group")),
    "propbot_alerts": ("Alerts that are active.", ("severity",)),
    "propbot_incidents_open": ("Incidents whose cause is not gone.", ("severity",)),
    "propbot_guard_trips_total": ("Trips in this life.", ("guard",)),
    "propbot_dead_tasks": ("Engine tasks that ended; only a restart brings them back.", ()),
    "propbot_slo_breached": ("1 while a service level is not kept; absent while unknown.", ("slo",)),
    "propbot_venue_usable": ("1 while orders may go there as far as venue and book are concerned.", ("venue",)),
    "propbot_venue_book_synced": ("1 while the book follows the venue's sequence.", ("venue",)),
    "propbot_venue_book_age_seconds": ("Age of the synchronised book.", ("venue",)),
    "propbot_venue_book_resyncs_total": ("Books lost and fetched again.", ("venue",)),
    "propbot_venue_frames_total": ("Market data frames.", ("venue",)),
    "propbot_venue_malformed_total": ("Frames, and pieces of the book, that made no sense.", ("venue",)),
    "propbot_venue_sessions_total": ("Sessions opened; each but the first was a reconnect.", ("venue", "stream")),
    "propbot_venue_private_up": ("1 while the private stream answers.", ("venue",)),
    "propbot_venue_clock_offset_seconds": ("The venue's clock less ours.", ("venue",)),
    "propbot_venue_rate_used_ratio": ("Of the rate limit that is used up the furthest.", ("venue",)),
    "propbot_venue_paused_seconds": ("How long the venue still wants to be left alone.", ("venue",)),
    "propbot_venue_position_base": ("Position by the ledger, signed.", ("venue",)),
    "propbot_fills_total": ("Our fills since the ledger began.", ("venue",)),
    "propbot_orders_total": ("Orders of this life that ended, by how.", ("venue", "outcome")),
    "propbot_orders_in_flight": ("Orders without an outcome.", ()),
    "propbot_lots_open": ("Pairs that are not closed.", ()),
    "propbot_decisions_total": ("Pairs of orders decided on in this life, refused ones too.", ()),
    "propbot_failed_spreads_in_a_row": ("Pairs that filled nothing or were unwound, since the last good one.", ()),
    "propbot_net_edge_bps": ("What the order's size would bring now, after all costs.", ("direction",)),
    "propbot_exposure_base": ("Net of all venues, signed.", ()),
    "propbot_notional_usdt": ("Of all positions, both directions added up.", ()),
    "propbot_equity_usdt": ("All accounts at the venues' mids.", ()),
    "propbot_pnl_realised_usdt": ("Since the ledger began, net of fees and funding.", ()),
    "propbot_pnl_unrealised_usdt": ("Of open positions, at the venues' mids.", ()),
    "propbot_pnl_fees_usdt": ("Paid since the ledger began.", ()),
    "propbot_pnl_funding_usdt": ("Received since the ledger began; negative was paid.", ()),
    "propbot_pnl_day_usdt": ("Since midnight UTC.", ()),
    "propbot_day_drawdown_usdt": ("Below the day's highest profit.", ()),
    "propbot_book_age_seconds": ("Ages of books, the last minute.", ("quantile",)),
    "propbot_tick_to_order_seconds": ("From a frame to the first byte of the order, 10 minutes.", ("quantile",)),
    "propbot_order_round_trip_seconds": ("From the first byte to the venue's answer, 10 minutes.", ("quantile",)),
    "propbot_api_latency_seconds": ("To make an answer, 5 minutes.", ("quantile",)),
    "propbot_loop_lag_seconds": ("How late the event loop was, the last minute.", ("quantile",)),
    "propbot_order_round_trips_total": ("Orders that were answered.", ()),
    "propbot_api_requests_total": ("Requests that were answered.", ()),
    "propbot_api_streams_open": ("Event streams.", ()),
    "propbot_ledger_backlog": ("Calls that wait for the ledger's worker.", ()),
    "propbot_ledger_waiting_seconds": ("Age of the oldest of them.", ()),
    "propbot_ledger_last_write_seconds": ("How long the last durable write took.", ()),
    "propbot_ledger_slowest_write_seconds": ("The slowest of this life.", ()),
    "propbot_journal_rows_total": ("Rows of the journal.", ()),
    "propbot_journal_queue": ("Entries that wait to be written.", ()),
    "propbot_journal_lost_total": ("Entries dropped while the ledger did not answer; the log has them.", ()),
    "propbot_disk_free_bytes": ("In the data directory, as measured last.", ()),
}
"""Name → (what it is, labels). A counter's name ends with _total; all others are gauges."""


def metrics_digest(metrics_token: str | None) -> bytes | None:
    return None if metrics_token is None else digest_token(metrics_token.encode())


def metrics_routes(desk: Desk, slots: Slots) -> Blueprint:
    routes = Blueprint("metrics", __name__)
    registry = CollectorRegistry(auto_describe=False)  # our own: the library's is the whole process's
    registry.register(DeskCollector(desk, slots))
    ProcessCollector(namespace="propbot", registry=registry)

    @routes.get("/metrics")
    @describe(texts={"text/plain": EXAMPLE})
    async def metrics() -> Response:
        """The service's numbers, in Prometheus' text format.

        Takes `METRICS_TOKEN`, which opens nothing else, or an operator's token. What is unknown has no sample;
        docs/metrics.md says what each is."""
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)

    return routes


def is_scraper(authorization: str | None, digest: bytes | None) -> bool:
    """Whether it is METRICS_TOKEN; compared in constant time."""
    scheme, _, token = (authorization or "").strip().partition(" ")
    if digest is None or scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(digest_token(token.strip().encode("latin-1", "replace")), digest)


class DeskCollector(Collector):
    """The desk's numbers, read when they are asked for."""

    def __init__(self, desk: Desk, slots: Slots) -> None:
        self._desk = desk
        self._slots = slots

    def collect(self) -> Iterable[MetricFamily]:
        families = {name: _family(name) for name in FAMILIES}
        for name, labels, value in self._samples():
            if value is not None:
                families[name].add_metric(labels, float(value))
        return families.values()

    def _samples(self) -> Iterator[Sample]:
        measures = self._desk.measures()
        yield from _read_status(self._desk)
        yield from _read_money(self._desk)
        yield from _read_venues(measures)
        yield from _read_trading(measures)
        yield from _read_distributions(measures)
        yield from _read_house(measures)
        yield "propbot_api_streams_open", (), len(self._slots.taken)


def _family(name: str) -> MetricFamily:
    text, labels = FAMILIES[name]
    return (CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily)(name, text, labels=labels)


def _read_status(desk: Desk) -> Iterator[Sample]:
    mode, board = desk.mode(), desk.board
    yield "propbot_build_info", (desk.version, str(desk.profile)), 1
    yield "propbot_uptime_seconds", (), desk.uptime_s()
    for each in Mode:
        yield "propbot_mode", (str(each),), each is mode
    yield "propbot_safe_mode", (), desk.safe_mode()
    yield "propbot_dry_run_only", (), desk.dry_run_only()
    yield "propbot_overall_health", (), HEALTHS[board.overall(mode)]
    for component in board.components():
        yield "propbot_component_health", (component.id, component.group), HEALTHS[component.status]
    severities = ("P0", "P1", "P2")
    yield from _count("propbot_alerts", severities, [alert.severity for alert in board.alerts()])
    yield from _count("propbot_incidents_open", severities, [each.severity for each in desk.incidents.open_ones()])
    for slo in desk.slo():
        if slo.state is not SloState.UNKNOWN:
            yield "propbot_slo_breached", (slo.id,), slo.state is SloState.BREACH


def _count(name: str, words: Sequence[str], found: Sequence[str]) -> Iterator[Sample]:
    """Zero for a word that was not found: a rate needs it."""
    for word in words:
        yield name, (word,), found.count(word)


def _read_money(desk: Desk) -> Iterator[Sample]:
    pnl, spread = desk.state_view().pnl, desk.spreads.newest
    yield "propbot_equity_usdt", (), pnl.equity
    yield "propbot_pnl_realised_usdt", (), pnl.realised
    yield "propbot_pnl_unrealised_usdt", (), pnl.unrealised
    yield "propbot_pnl_fees_usdt", (), pnl.fees
    yield "propbot_pnl_funding_usdt", (), pnl.funding
    yield "propbot_pnl_day_usdt", (), pnl.day
    for direction, edge_bps in ({} if spread is None else spread.value.net_edge_bps).items():
        yield "propbot_net_edge_bps", (direction,), edge_bps


def _read_venues(measures: Measures) -> Iterator[Sample]:
    for venue, each in measures.venues.items():
        label = (venue,)
        yield "propbot_venue_usable", label, each.usable
        yield "propbot_venue_book_synced", label, each.book_synced
        yield "propbot_venue_book_age_seconds", label, each.book_age_s
        yield "propbot_venue_book_resyncs_total", label, each.book_resyncs
        yield "propbot_venue_frames_total", label, each.frames
        yield "propbot_venue_malformed_total", label, each.malformed
        yield "propbot_venue_sessions_total", (venue, "market"), each.market_sessions
        yield "propbot_venue_sessions_total", (venue, "private"), each.private_sessions
        yield "propbot_venue_private_up", label, each.private_up
        yield "propbot_venue_clock_offset_seconds", label, each.clock_offset_s
        yield "propbot_venue_rate_used_ratio", label, each.rate_used_share
        yield "propbot_venue_paused_seconds", label, each.paused_s
        yield "propbot_venue_position_base", label, each.position_base
        yield "propbot_fills_total", label, each.fills
        for state in (state for state in OrderState if state.terminal):
            yield "propbot_orders_total", (venue, str(state)), measures.orders_ended.get((venue, str(state)), 0)


def _read_trading(measures: Measures) -> Iterator[Sample]:
    yield "propbot_orders_in_flight", (), measures.orders_in_flight
    yield "propbot_lots_open", (), measures.lots_open
    yield "propbot_decisions_total", (), measures.decisions
    yield "propbot_failed_spreads_in_a_row", (), measures.failed_spreads_in_a_row
    yield "propbot_exposure_base", (), measures.exposure_base
    yield "propbot_notional_usdt", (), measures.notional_usdt
    yield "propbot_day_drawdown_usdt", (), measures.day_drawdown_usdt
    yield "propbot_holds_total", (), measures.holds
    yield "propbot_dead_tasks", (), measures.dead_tasks
    for guard, trips in measures.guard_trips.items():
        yield "propbot_guard_trips_total", (guard,), trips


def _read_distributions(measures: Measures) -> Iterator[Sample]:
    """Quantiles of what was measured: nearest rank, 1 is the worst."""
    for name, each in measures.distributions.items():
        for share in QUANTILES:
            yield f"propbot_{name}_seconds", (f"{share:g}",), percentile(each.sorted_s, share)
    yield "propbot_order_round_trips_total", (), measures.distributions["order_round_trip"].taken
    yield "propbot_api_requests_total", (), measures.distributions["api_latency"].taken


def _read_house(measures: Measures) -> Iterator[Sample]:
    ledger = measures.ledger
    yield "propbot_ledger_backlog", (), ledger.backlog
    yield "propbot_ledger_waiting_seconds", (), ledger.waiting_s
    yield "propbot_ledger_last_write_seconds", (), ledger.last_write_s
    yield "propbot_ledger_slowest_write_seconds", (), ledger.slowest_write_s
    yield "propbot_journal_rows_total", (), ledger.journal_rows
    yield "propbot_journal_queue", (), measures.journal_queued
    yield "propbot_journal_lost_total", (), measures.journal_lost
    yield "propbot_disk_free_bytes", (), measures.disk_free_bytes
