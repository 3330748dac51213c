"""How the service is, in the words of the API: mode and limits, risk, the loop, the venues, the values in force.

`desk.py` shows these, and `changes.py` compares what was in force before and after. Memory only, so that they are there
while the disk hangs; reading changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from propbot.domain.instruments import VenueId
from propbot.domain.money import ZERO
from propbot.domain.orders import Balance
from propbot.sampling import view_pnl
from propbot.service import Service
from propbot.status.equity import compute_unrealised
from propbot.status.views import (
    BookView,
    ControlView,
    DustView,
    FlagValue,
    LoopView,
    PositionView,
    PreflightView,
    RiskReason,
    RiskView,
    StateView,
    Value,
    VenueView,
)


def view_state(service: Service) -> StateView:
    return StateView(
        flags=_view_flags(service),
        risk=_view_risk(service),
        risk_reasons=_refusals(service),
        loop=_view_loop(service),
        pnl=view_pnl(service),
        venues={venue: _view_venue(service, venue) for venue in service.venues},
    )


def view_control(service: Service) -> ControlView:
    rules = service.pipeline.rules
    return ControlView(
        rules.order_notional, rules.min_spread_bps, rules.max_slippage_bps, rules.poll_interval_s, service.pair,
        rules.loop_venues, service.drain_timeout_s, _view_preflight(service), service.approvals.pending(),
    )


def _view_preflight(service: Service) -> PreflightView:
    last = service.preflight.last
    if last is None:
        return PreflightView(None)
    return PreflightView(last.ok, last.failures or last.warnings, last.when_ns)


def _view_flags(service: Service) -> Mapping[str, FlagValue]:
    settings = service.config.settings
    view = service.modes.view
    return {
        "PROFILE": str(settings.profile), "MODE": str(view.mode), "SAFE_MODE": view.safe_mode,
        "DRY_RUN_ONLY": view.dry_run_only, "TWO_MAN_RULE": settings.start.two_man_rule,
        "HOLD_EXIT": str(settings.start.hold_exit), "REFERENCE": settings.trading.reference,
        "LEDGER_SYNC": settings.house.ledger_sync,
    }


def _view_risk(service: Service) -> RiskView:
    limits = service.pipeline.limits
    marks = {venue: service.market.mark(venue) for venue in service.venues}
    notionals = [
        abs(service.blotter.position(venue)) * mark for venue, mark in marks.items() if mark is not None
    ]
    known = len(notionals) == len(service.venues)
    current: dict[str, Value] = {
        "MAX_POSITION_USDT": max(notionals, default=ZERO) if known else None,
        "MAX_TOTAL_NOTIONAL_USDT": sum(notionals, ZERO) if known else None,
        "MAX_OPEN_ORDERS": len(service.blotter.in_flight()),
        "net_exposure_base": service.blotter.exposure(),
    }
    dust = service.blotter.dust()
    return RiskView(
        limits={
            "ORDER_NOTIONAL_USDT": limits.order_notional, "MAX_POSITION_USDT": limits.position,
            "MAX_TOTAL_NOTIONAL_USDT": limits.total_notional, "MAX_OPEN_ORDERS": limits.open_orders,
        },
        current=current,
        positions=_view_positions(service, marks),
        dust=[DustView(_dust_venue(service), service.base, dust)] if dust else [],
        breaches=_refusals(service),
    )


def _refusals(service: Service) -> list[RiskReason]:
    return [
        RiskReason(refused.code, refused.message, refused.limit, refused.value)
        for refused in service.pipeline.refusals
    ]


def _dust_venue(service: Service) -> VenueId:
    """Rounding leaves its rest where steps are finest."""
    instruments = service.instruments
    return min(instruments, key=lambda venue: instruments[venue].lot_step, default=service.venues[0])


def _view_positions(service: Service, marks: Mapping[VenueId, Decimal | None]) -> list[PositionView]:
    """Positions that are more than dust."""
    views: list[PositionView] = []
    for venue, account in service.blotter.accounts.items():
        qty = service.blotter.position(venue)
        if abs(qty) < service.lot_step():
            continue
        mark = marks[venue]
        unrealised = None if mark is None else account.unrealised(mark)
        views.append(PositionView(venue, account.symbol, qty, account.avg_price, mark, unrealised))
    return views


def _view_loop(service: Service) -> LoopView:
    halted = service.modes.switch.halted
    measured: dict[str, Value] = {
        "decisions": service.pipeline.decisions, "lots_open": len(service.blotter.lots),
        "reference_bps": service.basis.value_bps, "reference_warm": service.basis.warm,
        **_measure_simulation(service),
    }
    for direction, edge in service.pipeline.measure_edges().items():
        measured[f"net_edge_bps {direction}"] = round(edge, 3) if abs(edge) < 1e6 else None
    venues = service.pipeline.rules.loop_venues
    return LoopView(service.pair, venues, not halted, service.why_not() or None, measured)


def _measure_simulation(service: Service) -> dict[str, Value]:
    """What dry runs have done since the ledger began; in no other number of this page."""
    blotter = service.simulator.blotter
    return {
        "simulated_lots_open": len(blotter.lots),
        "simulated_fills": sum(blotter.fill_counts.values()),
        "simulated_realised_usdt": sum((each.realised_net for each in blotter.accounts.values()), ZERO),
        "simulated_unrealised_usdt": compute_unrealised(blotter.accounts.values(), service.market.mark),
    }


def _view_venue(service: Service, venue: VenueId) -> VenueView:
    link, book = service.links[venue], service.market.books[venue]
    reason = service.unusable(venue) or service.market.distrust(venue)
    key_status = "refused" if link.access_refused else "ok" if link.met is not None else "unknown"
    balances = [
        Balance(venue, asset, qty) for (of, asset), qty in service.free_balances().items()
        if of == venue and link.met is not None
    ]
    top = book.top()
    age = service.book_ages_s()[venue]
    view = BookView(
        None if top is None else top.bid, None if top is None else top.ask, book.synced,
        None if age is None else round(age, 3), book.resyncs,
    )
    return VenueView(reason is None, reason or "", key_status, balances, view)
