"""What the status page says of the parts that are no guards. Each value was measured lately, or is None.

The status task calls `report_engine` (mode, loop, venues) four times a second, and once a second `report_parts`: P1
(disk, config, secrets, API, Telegram) and P2 (P&L, exposure, strategy). Approvals and operators are reported by whoever
looks after them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

from propbot.control.modes import ModeView
from propbot.domain.approvals import Approval
from propbot.domain.instruments import VenueId
from propbot.domain.money import amount_text
from propbot.domain.status import Health, Metric
from propbot.kit.window import percentile
from propbot.seeing import see_caps
from propbot.service import Service
from propbot.status.equity import compute_unrealised

ENGINE, VENUES, CHANNELS, HOUSE, TRADING, CONTROL = "engine", "venues", "channels", "house", "trading", "control"
MEASURE_AGE_S_MAX = 30.0
"""An older measurement of the disk says nothing of now."""
KEPT = Decimal("0.00000001")


def report_engine(service: Service) -> None:
    view = service.modes.view
    if view.hold is not None:
        service.board.put("mode", "Mode", ENGINE, Health.HOLD, view.hold.line())
    else:
        service.board.put("mode", "Mode", ENGINE, Health.OK, str(view.mode))
    _report_loop(service, view)
    for venue in service.venues:
        _report_venue(service, venue)


def _report_loop(service: Service, view: ModeView) -> None:
    why_not = service.why_not()
    usable = [v for v in service.venues if service.unusable(v) is None and service.market.distrust(v) is None]
    few = len(usable) < 2
    metrics: dict[str, Metric] = {
        "lots_open": len(service.blotter.lots), "decisions": service.pipeline.decisions, "usable_venues": len(usable),
        "reference_bps": None if service.basis.value_bps is None else round(service.basis.value_bps, 3),
        "simulated_lots_open": len(service.simulator.blotter.lots),
    }
    doing = "simulating: dry_run_only is on" if view.dry_run_only else "trading"
    summary = f"{len(usable)} of {len(service.venues)} venues usable; {why_not or doing}"
    health = Health.HOLD if view.hold is not None else Health.WARN if few else Health.OK
    service.board.put("loop", "Spread loop", ENGINE, health, summary, metrics)


def _report_venue(service: Service, venue: VenueId) -> None:
    link, book, gateway = service.links[venue], service.market.books[venue], service.gateways[venue]
    problem = service.unusable(venue) or service.market.distrust(venue)
    age = service.book_ages_s()[venue]
    metrics: dict[str, Metric] = {
        "book_age_s": None if age is None else round(age, 3), "resyncs": book.resyncs,
        "frames": link.feed.frames, "malformed": link.feed.violations + book.malformed,
        "clock_offset_ms": None if gateway.offset_ms is None else round(gateway.offset_ms, 1),
    }
    health = Health.OK if problem is None else Health.WARN
    summary = problem or "connected, synchronised, reconciled"
    service.board.put(f"venue:{venue}", venue, VENUES, health, summary, metrics)


def report_parts(service: Service) -> None:
    _report_telegram(service)
    _report_disk(service)
    _report_config(service)
    _report_secrets(service)
    _report_api(service)
    _report_pnl(service)
    _report_exposure(service)
    _report_strategy(service)


def _report_telegram(service: Service) -> None:
    chat, now_s = service.chat, service.seams.clock.mono_s()
    if chat is None:
        off = "off: TELEGRAM_BOT_TOKEN is not set (a stored one alone does not turn it on)"
        service.board.put("telegram", "Telegram", CHANNELS, Health.OK, off)
        return
    health, words = chat.health.judge(now_s)
    metrics = chat.health.metrics(now_s, chat.outbox.waiting, chat.outbox.dropped)
    service.board.put("telegram", "Telegram", CHANNELS, health, words, metrics)


def _report_disk(service: Service) -> None:
    disk, least_mb = service.disk, service.config.settings.guarding.disk_free_mb_min
    age_s = None if disk.measured_mono_s is None else service.seams.clock.mono_s() - disk.measured_mono_s
    known = age_s is not None and age_s <= MEASURE_AGE_S_MAX
    free_mb = disk.free_bytes // 1_000_000 if known and disk.free_bytes is not None else None
    metrics: dict[str, Metric] = {"free_mb": free_mb, "free_mb_min": least_mb}
    if free_mb is None:
        why = disk.problem or ("not measured yet" if age_s is None else "the disk does not answer")
        service.board.put("disk", "Disk", HOUSE, Health.WARN, f"unknown: {why}", metrics)
    elif free_mb < least_mb:
        words = f"{free_mb} MB free in DATA_DIR, less than DISK_FREE_MB={least_mb}: make room, or writes will fail"
        service.board.put("disk", "Disk", HOUSE, Health.WARN, words, metrics, severity="P1")
    else:
        service.board.put("disk", "Disk", HOUSE, Health.OK, f"{free_mb} MB free in DATA_DIR", metrics)


def _report_config(service: Service) -> None:
    """A name that nobody reads is a WARN: whoever set it believes that it works."""
    settings = service.config.settings
    patched = sorted(service.parameters.patched)
    metrics: dict[str, Metric] = {
        "settings_given": len(settings.given), "warnings": len(settings.warnings), "set_by_operators": len(patched),
    }
    said = list(settings.warnings)
    if patched:
        said.append(f"set by operators, and stronger than the environment until it changes: {', '.join(patched)}")
    health = Health.WARN if settings.warnings else Health.OK
    service.board.put("config", "Settings", HOUSE, health, "; ".join(said) or "every name is known", metrics)


def _report_secrets(service: Service) -> None:
    """Where each key comes from, and how old it is: None where that is not known."""
    vault, rows = service.config.keyring.vault, service.config.keyring.rows()
    now_ns = service.seams.clock.wall_ns()
    metrics: dict[str, Metric] = {"secrets": len(rows), "stored": len(vault.stored)}
    for row in rows:
        metrics |= {
            f"{row.name}.source": str(row.source), f"{row.name}.version": row.version,
            f"{row.name}.age_s": None if row.ts_ns is None else round((now_ns - row.ts_ns) / 1e9),
        }
    counts = Counter(str(row.source) for row in rows)
    words = ", ".join(f"{count} {source}" for source, count in sorted(counts.items())) or "there are none"
    health = Health.OK if vault.problem is None else Health.ERROR
    service.board.put("secrets", "Secrets", HOUSE, health, vault.problem or words, metrics)


def _report_api(service: Service) -> None:
    window = service.slo.api_ms
    latencies_ms = window.values(service.seams.clock.mono_s())
    p99_ms = percentile(latencies_ms, 0.99)
    metrics: dict[str, Metric] = {
        "requests": window.taken, "requests_in_window": len(latencies_ms), "window_s": window.span_s,
        "latency_p99_ms": None if p99_ms is None else round(p99_ms, 1),
    }
    if "api" in service.dead_tasks:
        service.board.put("api", "API", HOUSE, Health.ERROR, "its task has ended: restart the service", metrics)
    elif service.api_url is None:
        service.board.put("api", "API", HOUSE, Health.OK, "not served in this run", metrics)
    else:
        words = f"listens on {service.api_url}; {window.taken} requests since the start"
        service.board.put("api", "API", HOUSE, Health.OK, words, metrics)


def _report_pnl(service: Service) -> None:
    accounts = service.blotter.accounts.values()
    unvalued = any(account.has_unvalued_fees for account in accounts)
    realised = None if unvalued else sum((account.realised_net for account in accounts), Decimal(0))
    unrealised = compute_unrealised(accounts, service.market.mark)
    day = service.day
    metrics: dict[str, Metric] = {
        "day_usdt": _amount(day.pnl), "drawdown_usdt": _amount(day.drawdown), "realised_usdt": _amount(realised),
        "unrealised_usdt": _amount(unrealised),
    }
    if day.pnl is None:
        why = "a fee in an asset without a price" if unvalued else "not every position has a mark"
        service.board.put("pnl", "Profit and loss", TRADING, Health.WARN, f"unknown: {why}", metrics)
    else:
        words = f"{day.pnl:+.2f} {service.quote} today, {day.drawdown or Decimal(0):.2f} below the day's peak"
        service.board.put("pnl", "Profit and loss", TRADING, Health.OK, words, metrics)


def _report_exposure(service: Service) -> None:
    """How much is held; `hedge` and `kill_caps` say whether it is too much."""
    positions = {venue: service.blotter.position(venue) for venue in service.venues}
    exposure, dust = service.blotter.exposure(), service.blotter.dust()
    notional = see_caps(service).notional
    metrics: dict[str, Metric] = {f"{venue}.position": amount_text(qty) for venue, qty in positions.items()}
    metrics |= {
        "exposure": amount_text(exposure), "dust": amount_text(dust), "notional_usdt": _amount(notional),
        "lots_open": len(service.blotter.lots),
    }
    held = "notional unknown" if notional is None else f"{notional:.2f} {service.quote} held"
    words = f"net {amount_text(exposure)} {service.base}, {held}"
    service.board.put("exposure", "Exposure", TRADING, Health.OK, words, metrics)


def _report_strategy(service: Service) -> None:
    """The best edge now against what is asked for, and why nothing is opened."""
    pipeline = service.pipeline
    nets = [net for net in pipeline.measure_edges().values() if abs(net) < 1e6]
    best = max(nets, default=None)
    why_not = service.why_not()
    metrics: dict[str, Metric] = {
        "net_edge_bps": None if best is None else round(best, 3),
        "min_spread_bps": float(pipeline.rules.min_spread_bps), "decisions": pipeline.decisions,
        "failed_spreads_in_a_row": pipeline.failed_in_a_row, "why_not": why_not or None,
    }
    edge = "edge unknown" if best is None else f"best net edge {best:.2f} bps"
    service.board.put("strategy", "Strategy", TRADING, Health.OK, f"{edge}; {why_not or 'trading'}", metrics)


def report_approvals(service: Service, pending: Sequence[Approval]) -> None:
    """A proposal that waits is a WARN: a person has to do something."""
    metrics: dict[str, Metric] = {"pending": len(pending), "two_man_rule": service.config.settings.start.two_man_rule}
    waiting = [f"{each.id} ({each.said()}) of {each.proposer}" for each in pending]
    idle = "nothing waits" if metrics["two_man_rule"] else "the Two-Man Rule is off"
    summary = f"waits for another person: {', '.join(waiting)}" if waiting else idle
    health = Health.WARN if waiting else Health.OK
    service.board.put("approvals", "Approvals", CONTROL, health, summary, metrics)


def report_operators(service: Service, problem: str) -> None:
    """`problem` is why OPERATORS_FILE can't be used as it is now; the list in force is then an older one."""
    people, approvers = service.people.people, service.people.approvers
    metrics: dict[str, Metric] = {"people": len(people), "can_approve": len(approvers)}
    few = service.config.settings.start.two_man_rule and len(approvers) < 2
    health = Health.WARN if problem or few else Health.OK
    summary = f"{len(people)} people, {len(approvers)} can approve"
    if few:
        summary += ": the Two-Man Rule needs two, nobody can leave HOLD"
    if problem:
        summary = f"the older list is in force ({summary}): {problem}"
    service.board.put("operators", "Operators", CONTROL, health, summary, metrics)


def _amount(amount: Decimal | None) -> str | None:
    return None if amount is None else amount_text(amount.quantize(KEPT))
