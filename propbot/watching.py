"""Which guards there are, and what each is given to look at. Each sees only what it judges; all it can do is trip."""

from __future__ import annotations

from functools import partial

from propbot.guards.book_integrity import BookIntegrityGuard
from propbot.guards.cancel_on_disconnect import CancelOnDisconnectGuard
from propbot.guards.clock_skew import ClockSkewGuard
from propbot.guards.feed_stale import FeedStaleGuard
from propbot.guards.hedge import HedgeGuard
from propbot.guards.kill_caps import Caps, KillCaps
from propbot.guards.ledger import LedgerGuard
from propbot.guards.listing import ListingGuard
from propbot.guards.loop_lag import LoopLagGuard
from propbot.guards.maintenance_calendar import MaintenanceCalendar
from propbot.guards.preflight import PreflightGuard
from propbot.guards.rate_limit import RateLimitGuard
from propbot.guards.recon import ReconGuard
from propbot.guards.runaway_breaker import RunawayBreaker
from propbot.guards.slo import SloGuard
from propbot.guards.watch import Guard, Watch
from propbot.guards.watchdog import LOOK_S_MAX, Watchdog
from propbot.seeing import (
    see_books,
    see_cancels_last_minute,
    see_caps,
    see_disconnects,
    see_lag,
    see_ledger,
    see_listings,
    see_preflight,
    see_rates,
    see_recon,
    see_rejections,
)
from propbot.service import Service


def join_guards(service: Service) -> None:
    settings = service.config.settings
    mono_s, guarding = service.seams.clock.mono_s, settings.guarding
    service.breaker = RunawayBreaker(
        service.orders_last_minute, partial(see_cancels_last_minute, service), partial(see_rejections, service), mono_s,
        guarding.orders_per_min_max, guarding.cancels_per_min_max, guarding.equal_rejections_max,
    )
    guards: tuple[Guard, ...] = (
        ReconGuard(partial(see_recon, service), lambda: mono_s() - service.started_mono_s),
        PreflightGuard(partial(see_preflight, service)),
        FeedStaleGuard(
            service.book_ages_s, service.exposed, mono_s, settings.risk.max_book_age_s, guarding.feed_stale_s,
            guarding.feed_stale_exposed_s,
        ),
        HedgeGuard(
            service.blotter.exposure, service.lot_step, service.base, mono_s, settings.start.hedge_deadline_s
        ),
        LedgerGuard(partial(see_ledger, service), guarding.ledger_write_s_max),
        ListingGuard(partial(see_listings, service), service.pair),
        ClockSkewGuard(
            lambda: {venue: gateway.offset_ms for venue, gateway in service.gateways.items()}, mono_s,
            guarding.clock_skew_warn_s * 1000, guarding.clock_skew_trip_s * 1000,
        ),
        CancelOnDisconnectGuard(partial(see_disconnects, service), mono_s, guarding.disconnect_s_max),
        RateLimitGuard(partial(see_rates, service), guarding.rate_pace_share, guarding.rate_trip_share),
        service.breaker,
        KillCaps(
            partial(see_caps, service), lambda: service.incidents.acknowledged("kill_caps"), service.day.accept_loss,
            service.counters.get, service.counters.put,
            Caps(
                guarding.daily_loss_usdt_max, settings.risk.max_total_notional_usdt, guarding.failed_spreads_max
            ),
        ),
        LoopLagGuard(partial(see_lag, service), mono_s, guarding.loop_lag_p95_s_max, guarding.loop_stall_s_max),
        SloGuard(service.slo.readings),
        BookIntegrityGuard(partial(see_books, service), mono_s, guarding.resyncs_per_min_max),
        MaintenanceCalendar(guarding.maintenance_windows, lambda: service.seams.clock.wall_ns() / 1e9),
    )
    assert all(guard.interval_s <= LOOK_S_MAX for guard in guards), "the watchdog would take it for one that hangs"
    service.watches = {guard.id: Watch(guard, service.trip, service.report_guard) for guard in guards}
    service.watchdog = Watchdog(service.watches, mono_s, service.on_silent_guard, service.on_heard_guard)
    service.watchdog_watch = Watchdog({"watchdog": service.watchdog}, mono_s, service.on_silent_watchdog)
