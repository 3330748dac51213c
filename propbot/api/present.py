"""Views → JSON, in the shapes of the REST contract. Pure.

Amounts are strings, settings, ratios and measurements numbers, times ISO 8601 in UTC, unknown values null.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from propbot.domain.approvals import Approval
from propbot.domain.clock import iso_utc
from propbot.domain.events import Detail
from propbot.domain.mode import HoldRecord, Mode
from propbot.domain.money import amount_text
from propbot.domain.status import Alert, Component, Incident
from propbot.status.desk import Change, Desk
from propbot.status.series import Point
from propbot.status.views import (
    DustView,
    LoopView,
    PnlView,
    PositionView,
    RiskReason,
    RiskView,
    SpreadView,
    Value,
    VenueView,
)

Json = dict[str, Any]


def money(amount: Decimal | None) -> str | None:
    return None if amount is None else amount_text(amount)


def stamp(wall_ns: int | None) -> str | None:
    return None if wall_ns is None else iso_utc(wall_ns)


def value(given: Value) -> str | bool | int | float | None:
    """Amounts as text; what is no amount as it is."""
    return amount_text(given) if isinstance(given, Decimal) else given


def setting(given: Any) -> Any:
    """Settings are numbers, also where we keep them as Decimals."""
    if isinstance(given, Decimal):
        return int(given) if given == given.to_integral_value() else float(given)
    return list(given) if isinstance(given, tuple) else given


def shown_safe_mode(desk: Desk) -> bool:
    """On in HOLD too: no order is sent in either."""
    return desk.safe_mode() or desk.mode() is Mode.HOLD


def hold(record: HoldRecord | None) -> Json | None:
    if record is None:
        return None
    return {
        "reason": record.first.reason,
        "source": record.first.source,
        "since": iso_utc(record.first.since_ns),
        "causes": [{"reason": c.reason, "source": c.source, "since": iso_utc(c.since_ns)} for c in record.causes],
        "cancel": None if record.cancel is None else {
            "left": record.cancel.left, "seconds": record.cancel.seconds,
            "not_read_back": list(record.cancel.not_read_back),
        },
        "line": record.line(),
    }


def component(item: Component) -> Json:
    return {
        "id": item.id,
        "title": item.title,
        "group": item.group,
        "status": str(item.status),
        "summary": item.summary,
        "since": iso_utc(item.since_ns),
        "metrics": dict(item.metrics),
    }


def alert(item: Alert) -> Json:
    return {
        "severity": item.severity,
        "title": item.title,
        "msg": item.msg,
        "since": iso_utc(item.since_ns),
        "component_id": item.component_id,
    }


def incident(item: Incident) -> Json:
    return {
        "id": item.id,
        "ts": iso_utc(item.ts_ns),
        "severity": item.severity,
        "kind": item.kind,
        "component_id": item.component_id,
        "summary": item.summary,
        "details": item.details or _said(item.steps[0].details if item.steps else {}),
        "acknowledged_by": item.acknowledged_by,
        "acknowledged_at": stamp(item.acknowledged_ns),
        "note": item.note,
        "resolved_at": stamp(item.resolved_ns),
        "timeline": [
            {"ts": iso_utc(step.ts_ns), "step": step.step, "text": step.text, "details": dict(step.details)}
            for step in item.steps
        ],
    }


def _said(details: Mapping[str, Detail]) -> str:
    return ", ".join(f"{name} {'unknown' if value is None else value}" for name, value in details.items())


def overall_status(desk: Desk) -> Json:
    """In HOLD the HOLD record speaks; else the worst component does."""
    mode, record = desk.mode(), desk.hold()
    worst = desk.board.overall_status(mode)
    if mode is Mode.HOLD and record is not None:
        first = record.first
        said: Json = {"reason": first.reason, "source": first.source, "since": iso_utc(first.since_ns)}
    else:
        said = {"reason": worst.reason, "source": worst.source, "since": stamp(worst.since_ns)}
    return {"status": str(worst.status), **said}


def overview(desk: Desk) -> Json:
    mode = desk.mode()
    return {
        "ts": iso_utc(desk.now_ns()),
        "overall": str(desk.board.overall(mode)),
        "overall_status": overall_status(desk),
        "mode": str(mode),
        "profile": str(desk.profile),
        "safe_mode": shown_safe_mode(desk),
        "dry_run_only": desk.dry_run_only(),
        "hold": hold(desk.hold()) if mode is Mode.HOLD else None,
        "alerts": [alert(item) for item in desk.board.alerts()],
        "scores": dict(desk.board.scores()),
        "components": [component(item) for item in desk.board.components()],
        "version": desk.version,
        "uptime_s": round(desk.uptime_s(), 3),
    }


def components(desk: Desk) -> Json:
    return {
        "ts": iso_utc(desk.now_ns()),
        "components": [component(item) for item in desk.board.components()],
        "incidents": [incident(item) for item in desk.incidents.all()],
    }


def slo(desk: Desk) -> Json:
    """By id. A `window_s` of null is "since midnight UTC"."""
    return {
        "ts": iso_utc(desk.now_ns()),
        "metrics": {
            item.id: {
                "title": item.title,
                "value": item.value,
                "threshold": item.threshold,
                "unit": item.unit,
                "window_s": item.window_s,
                "state": str(item.state),
                "samples": item.samples,
                "severity": item.severity,
            }
            for item in desk.slo()
        },
    }


def position(item: PositionView) -> Json:
    return {
        "venue": item.venue,
        "symbol": item.symbol,
        "qty": money(item.qty),
        "avg_price": money(item.avg_price),
        "mark": money(item.mark),
        "unrealised_usdt": money(item.unrealised_usdt),
    }


def _dust(item: DustView) -> Json:
    return {"venue": item.venue, "asset": item.asset, "qty": money(item.qty)}


def risk_reason(item: RiskReason) -> Json:
    return {"code": item.code, "message": item.message, "limit": value(item.limit), "value": value(item.value)}


def _values(named: Mapping[str, Value]) -> Json:
    return {name: value(given) for name, given in named.items()}


def _risk(view: RiskView) -> Json:
    return {
        "limits": _values(view.limits),
        "current": _values(view.current),
        "positions": [position(item) for item in view.positions],
        "dust": [_dust(item) for item in view.dust],
        "breaches": [risk_reason(item) for item in view.breaches],
    }


def _loop(view: LoopView) -> Json:
    said = {"pair": view.pair, "venues": list(view.venues), "running": view.running, "why_not": view.why_not}
    return {**_values(view.measured), **said}


def pnl(view: PnlView) -> Json:
    return {
        "equity": money(view.equity),
        "realised": money(view.realised),
        "unrealised": money(view.unrealised),
        "fees": money(view.fees),
        "funding": money(view.funding),
        "day": money(view.day),
    }


def pnl_point(point: Point[PnlView]) -> Json:
    return {"ts": iso_utc(point.ts_ns), **pnl(point.value)}


def spread_point(point: Point[SpreadView]) -> Json:
    view = point.value
    return {
        "ts": iso_utc(point.ts_ns),
        "pair": view.pair,
        "mids": {venue: money(mid) for venue, mid in view.mids.items()},
        "spread_bps": view.spread_bps,
        "reference_bps": view.reference_bps,
        "net_edge_bps": dict(view.net_edge_bps),
        "why_not": view.why_not,
    }


def _venue(view: VenueView) -> Json:
    book = view.book
    return {
        "balances": {
            b.asset: {"free": money(b.free), "locked": money(b.locked), "total": money(b.total)} for b in view.balances
        },
        "key_status": view.key_status,
        "usable": view.usable,
        "reason": view.reason,
        "book": None
        if book is None
        else {
            "bid": money(book.bid),
            "ask": money(book.ask),
            "synced": book.synced,
            "age_s": book.age_s,
            "resyncs": book.resyncs,
        },
    }


def state(desk: Desk) -> Json:
    view = desk.state_view()
    return {
        "ts": iso_utc(desk.now_ns()),
        "mode": str(desk.mode()),
        "safe_mode": shown_safe_mode(desk),
        "dry_run": desk.dry_run_only(),
        "flags": dict(view.flags),
        "risk": _risk(view.risk),
        "risk_blocked": bool(view.risk_reasons),
        "risk_reasons": [risk_reason(item) for item in view.risk_reasons],
        "loop": _loop(view.loop),
        "pnl": pnl(view.pnl),
        "venues": {venue: _venue(item) for venue, item in view.venues.items()},
    }


def approval(item: Approval) -> Json:
    return {
        "id": item.id,
        "change": item.asked(),
        "proposer": item.proposer,
        "proposed_at": iso_utc(item.proposed_ns),
        "expires_at": iso_utc(item.expires_ns),
        "state": str(item.state),
        "decided_by": item.decided_by,
        "decided_at": stamp(item.decided_ns),
        "reason": item.reason,
    }


def changes(given: Mapping[str, Change]) -> Json:
    return {name: {"old": setting(change.old), "new": setting(change.new)} for name, change in given.items()}


def control(desk: Desk) -> Json:
    view, record = desk.control_view(), desk.hold()
    return {
        "mode": str(desk.mode()),
        "reason": None if record is None else record.first.reason,
        "safe_mode": shown_safe_mode(desk),
        "dry_run_only": desk.dry_run_only(),
        "order_notional_usdt": setting(view.order_notional_usdt),
        "min_spread_bps": setting(view.min_spread_bps),
        "max_slippage_bps": setting(view.max_slippage_bps),
        "poll_interval_sec": view.poll_interval_sec,
        "loop_pair": view.loop_pair,
        "loop_venues": list(view.loop_venues),
        "drain_timeout_sec": view.drain_timeout_sec,
        "approvals": [approval(item) for item in view.approvals],
        "preflight": {
            "ok": view.preflight.ok, "reasons": list(view.preflight.reasons), "when": stamp(view.preflight.when_ns),
        },
        "hold": hold(record),
    }
