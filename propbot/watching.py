"""Which guards there are, what each is given to look at, and what follows from what it finds.

Each sees only what it judges (`seeing.py`); all it can do is trip. One that hangs has tripped.
"""

from __future__ import annotations

from functools import partial

from propbot.domain.orders import OrderRequest, Purpose
from propbot.domain.status import Health
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
from propbot.guards.watch import Finding, Guard, Watch
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

GUARD_GROUP = "guards"


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
    service.watches = {guard.id: Watch(guard, service.trip, partial(_report_guard, service)) for guard in guards}
    service.watchdog = Watchdog(
        service.watches, mono_s, partial(_on_silent_guard, service), partial(_on_heard_guard, service)
    )
    service.watchdog_watch = Watchdog({"watchdog": service.watchdog}, mono_s, partial(_on_silent_watchdog, service))


def _report_guard(service: Service, id: str, title: str, finding: Finding) -> None:
    watch = service.watches.get(id)
    if watch is not None and watch.silent is not None:
        return  # whoever asked it to look: its task does not, and that is what has to be seen
    service.board.put(id, title, GUARD_GROUP, finding.health, finding.summary, finding.metrics, severity="P0")
    # not merely not tripped: after a restart a guard needs a while to know
    if watch is not None and watch.tripped is None and finding.clear:
        service.incidents.resolve_of(id, "its cause is gone")


def _on_silent_guard(service: Service, guard_id: str, story: str) -> None:
    """A guard's task hangs: as good as tripped."""
    if f"guard:{guard_id}" in service.dead_tasks:
        return  # it has ended, and that was told
    watch = service.watches[guard_id]
    watch.silent = f"guard {story}"
    service.board.put(guard_id, watch.guard.title, GUARD_GROUP, Health.ERROR, watch.silent, severity="P0")
    service.trip(watch.silent, f"guard:{guard_id}")


def _on_heard_guard(service: Service, guard_id: str) -> None:
    service.watches[guard_id].silent = None


def _on_silent_watchdog(service: Service, name: str, story: str) -> None:
    if name not in service.dead_tasks:
        service.trip(f"the guards' {story}", f"guard:{name}")


def on_lag_sample(service: Service, late_s: float) -> None:
    """The one task that is measured all the time also watches the watchdog."""
    service.watchdog_watch.look()
    if late_s > service.config.settings.guarding.loop_stall_s_max:
        service.look_now("loop_lag")  # before anything is decided on what is old by now


def order_rate_refusal(service: Service, order: OrderRequest, legs_unsent: int) -> str | None:
    """The breaker, at the last byte: what it refuses is a HOLD before the other leg can ask."""
    reduces = order.purpose in (Purpose.HEDGE, Purpose.UNWIND)
    refusal = service.breaker.order_refusal(legs_unsent, reduces_imbalance=reduces)
    if refusal is not None:
        service.look_now(service.breaker.id)
    return refusal
