"""What each guard is given to look at: the service's parts as they are at this moment, in the guard's own words.

`watching.py` hands these to the guards. They read memory only and change nothing; unknown is None. A guard judges what
it is shown and knows nothing of the rest.
"""

from __future__ import annotations

from collections.abc import Mapping

from propbot.guards.book_integrity import BookSeen
from propbot.guards.cancel_on_disconnect import DeadManSeen, DisconnectSeen
from propbot.guards.kill_caps import CapsSeen
from propbot.guards.ledger import LedgerSeen
from propbot.guards.listing import ListingSeen
from propbot.guards.loop_lag import WINDOW_S, LagSeen
from propbot.guards.preflight import PreflightSeen
from propbot.guards.rate_limit import RateSeen, RateWindow
from propbot.guards.recon import ReconSeen
from propbot.guards.runaway_breaker import EqualRejections
from propbot.kit.window import percentile
from propbot.service import Service
from propbot.status.equity import compute_notional


def see_listings(service: Service) -> Mapping[str, ListingSeen]:
    now = service.seams.clock.mono_s()
    return {
        venue: ListingSeen(
            None if venue not in service.instruments else service.instruments[venue].status,
            None if link.listed_mono_s is None else now - link.listed_mono_s,
        )
        for venue, link in service.links.items()
    }


def see_recon(service: Service) -> Mapping[str, ReconSeen | None]:
    now = service.seams.clock.mono_s()
    seen: dict[str, ReconSeen | None] = {}
    for venue, state in service.reconciler.state.items():
        last = state.last
        age_s = None if state.last_agreed_mono_s is None else now - state.last_agreed_mono_s
        seen[venue] = None if last is None else ReconSeen(
            str(last.verdict), last.differences, last.detail, state.differed_in_a_row, state.agreed_in_a_row,
            age_s, state.foreign_orders, last.foreign_positions,
        )
    return seen


def see_rejections(service: Service) -> Mapping[str, EqualRejections]:
    runs = service.executor.tally.rejections
    return {venue: EqualRejections(run.what, run.count, run.last_mono_s) for venue, run in runs.items()}


def see_cancels_last_minute(service: Service) -> int:
    """What left, over all venues."""
    return sum(gateway.cancels_last_minute() for gateway in service.gateways.values())


def see_caps(service: Service) -> CapsSeen:
    positions = {venue: service.blotter.position(venue) for venue in service.venues}
    notional = compute_notional(positions, service.market.mark)
    return CapsSeen(service.day.date, service.day.drawdown, notional, service.pipeline.failed_in_a_row)


def see_books(service: Service) -> Mapping[str, BookSeen]:
    return {
        venue: BookSeen(book.resyncs, book.snapshot_checks, book.snapshot_mismatches, book.loss_reason)
        for venue, book in service.market.books.items()
    }


def see_ledger(service: Service) -> LedgerSeen:
    health = service.ledger.health
    last_ms = None if health.last_write_s is None else health.last_write_s * 1000
    return LedgerSeen(health.failed or service.keeper.failed, service.ledger.waiting_s, last_ms)


def see_preflight(service: Service) -> PreflightSeen:
    refused = [
        f"{venue} refuses our key: {link.access_refused}" for venue, link in service.links.items()
        if link.access_refused
    ]
    last = service.preflight.last
    if last is None:
        return PreflightSeen(refused=refused)
    age_s = (service.seams.clock.wall_ns() - last.when_ns) / 1e9
    return PreflightSeen(last.ok, last.failures, last.warnings, refused, age_s, last.measured)


def see_lag(service: Service) -> LagSeen:
    window, now_s = service.lag.window, service.seams.clock.mono_s()
    late_s = window.values(now_s, WINDOW_S)
    full = now_s - service.started_mono_s >= WINDOW_S
    return LagSeen(percentile(late_s, 0.95), max(late_s, default=None), window.taken, full)


def see_rates(service: Service) -> Mapping[str, RateSeen]:
    paces = {venue: gateway.pace for venue, gateway in service.gateways.items()}
    return {
        venue: RateSeen(
            tuple(RateWindow(use.key, use.used, use.limit) for use in pace.uses()), pace.paused_s, pace.pause_status,
            pace.paused_until_wall_ns,
        )
        for venue, pace in paces.items()
    }


def see_disconnects(service: Service) -> Mapping[str, DisconnectSeen]:
    seen: dict[str, DisconnectSeen] = {}
    for venue, gateway in service.gateways.items():
        man = service.dead_men.get(venue)
        seen[venue] = DisconnectSeen(
            not service.links[venue].private_up, gateway.lost_since_mono_s is not None, service.orders_open(venue),
            service.reconciler.state[venue].agreed_in_a_row > 0,
            None if man is None else DeadManSeen(man.age_s, man.resting, man.foreign, man.problem),
        )
    return seen
