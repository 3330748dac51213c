"""The service's numbers for monitoring, gathered from the parts that measure them. Reading changes nothing."""

from __future__ import annotations

from propbot.domain.instruments import VenueId
from propbot.kit.window import Window
from propbot.seeing import see_caps
from propbot.service import Service
from propbot.status.measures import Distribution, LedgerMeasures, Measures, VenueMeasures


def take_measures(service: Service) -> Measures:
    blotter, caps = service.blotter, see_caps(service)
    return Measures(
        venues={venue: _measure_venue(service, venue) for venue in service.venues},
        distributions=_distributions(service),
        orders_ended={(venue, str(state)): count for (venue, state), count in blotter.outcomes.items()},
        orders_in_flight=len(blotter.in_flight()),
        lots_open=len(blotter.lots),
        decisions=service.pipeline.decisions,
        failed_spreads_in_a_row=service.pipeline.failed_in_a_row,
        exposure_base=blotter.exposure(),
        notional_usdt=caps.notional,
        day_drawdown_usdt=service.day.drawdown,
        holds=service.modes.holds,
        guard_trips=dict.fromkeys(service.watches, 0) | service.trips,
        dead_tasks=len(service.dead_tasks),
        ledger=_measure_ledger(service),
        journal_queued=service.journal.queued,
        journal_lost=service.journal.lost,
        disk_free_bytes=service.disk.free_bytes,
    )


def _measure_venue(service: Service, venue: VenueId) -> VenueMeasures:
    link, book, gateway = service.links[venue], service.market.books[venue], service.gateways[venue]
    return VenueMeasures(
        usable=service.unusable(venue) is None and service.market.distrust(venue) is None,
        book_synced=book.synced,
        book_age_s=service.book_ages_s()[venue],
        book_resyncs=book.resyncs,
        frames=link.feed.frames,
        malformed=link.feed.violations + book.malformed,
        market_sessions=link.feed.sessions,
        private_sessions=link.private.sessions,
        private_up=link.private_up,
        clock_offset_s=None if gateway.offset_ms is None else gateway.offset_ms / 1000,
        rate_used_share=max((use.share for use in gateway.pace.uses()), default=None),
        paused_s=gateway.paused_s,
        position_base=service.blotter.position(venue),
        fills=service.blotter.fill_counts.get(venue, 0),
    )


def _distributions(service: Service) -> dict[str, Distribution]:
    """Some windows are in milliseconds."""
    slo = service.slo
    windows: dict[str, tuple[Window, float]] = {
        "book_age": (slo.book_age_s, 1.0),
        "tick_to_order": (slo.windows.tick_to_order_ms, 0.001),
        "order_round_trip": (slo.windows.order_rtt_ms, 0.001),
        "api_latency": (slo.api_ms, 0.001),
        "loop_lag": (slo.windows.loop_late_s, 1.0),
    }
    now_s = service.seams.clock.mono_s()
    return {
        name: Distribution([value * unit_s for value in sorted(window.values(now_s))], window.taken)
        for name, (window, unit_s) in windows.items()
    }


def _measure_ledger(service: Service) -> LedgerMeasures:
    ledger = service.ledger
    head, health = ledger.head, ledger.health
    return LedgerMeasures(
        ledger.backlog, ledger.waiting_s, health.last_write_s, health.slowest_write_s, 0 if head is None else head.id
    )
