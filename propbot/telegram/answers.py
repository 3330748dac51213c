"""What the chat is answered: what happened, and what to do next. Plain text, made from the desk's words. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from propbot.domain.approvals import Approval
from propbot.domain.clock import iso_utc
from propbot.domain.mode import Mode
from propbot.domain.money import amount_text
from propbot.status.desk import (
    ApprovalOutcome,
    Change,
    Conflict,
    ControlOutcome,
    Decided,
    Desk,
    Done,
    Forbidden,
    Pending,
    Unknown,
    Unusable,
)

HELP = """/status: how it is
/pause [reason]: HOLD, now
/drain: close everything, open nothing, then HOLD
/resume: leave HOLD and clear safe_mode
/approve ID, /reject ID: what another person proposed
/positions, /pnl
/help"""
ALERTS_SHOWN_MAX = 10


def clock_of(ns: int) -> str:
    """`03:12:09Z`."""
    return f"{iso_utc(ns)[11:19]}Z"


def say_status(desk: Desk) -> str:
    mode, hold = desk.mode(), desk.hold()
    overall = desk.board.overall_status(mode)
    why = "" if hold is not None or not overall.reason else f" ({overall.source}: {overall.reason})"
    lines = [f"PropBot {desk.version}, {desk.profile}: {overall.status}{why}"]
    lines.append(f"mode {mode}" if hold is None else hold.line())
    if hold is not None:
        lines += [f"also {cause.source}: {cause.reason}" for cause in hold.causes[1:4]]
    lines += _flags(desk)
    why_not = desk.state_view().loop.why_not
    if why_not and mode is not Mode.HOLD:
        lines.append(f"opens nothing: {why_not}")
    alerts = desk.board.alerts()
    lines += [f"{alert.severity} {alert.title}: {alert.msg}" for alert in alerts[:ALERTS_SHOWN_MAX]]
    if len(alerts) > ALERTS_SHOWN_MAX:
        lines.append(f"… and {len(alerts) - ALERTS_SHOWN_MAX} more alerts: propbotctl status")
    lines += [say_waiting(each) for each in desk.control_view().approvals]
    return "\n".join(lines)


def say_positions(desk: Desk) -> str:
    risk = desk.state_view().risk
    lines = [
        f"{each.venue} {each.symbol} {amount_text(each.qty)} at {_amount(each.avg_price)}, mark {_amount(each.mark)},"
        f" unrealised {_amount(each.unrealised_usdt)} USDT"
        for each in risk.positions
    ]
    lines += [f"dust: {each.venue} {amount_text(each.qty)} {each.asset}" for each in risk.dust]
    return "\n".join(lines) or "no position is open"


def say_pnl(desk: Desk) -> str:
    pnl = desk.state_view().pnl
    return (
        f"today (UTC) {_amount(pnl.day)} USDT\n"
        f"since the ledger began: realised {_amount(pnl.realised)}, of it fees {_amount(pnl.fees)} and funding "
        f"{_amount(pnl.funding)}\n"
        f"unrealised {_amount(pnl.unrealised)}, equity {_amount(pnl.equity)}"
    )


def say_held(desk: Desk, outcome: ControlOutcome | None, problem: str) -> str:
    """After /pause. The HOLD is in force whatever `outcome` is; `problem` says why it may not be durable."""
    hold = desk.hold()
    lines = ["HOLD was entered, and somebody has left it since" if hold is None else hold.line()]
    if problem:
        lines.append(f"in force, but perhaps not durable: {problem}")
    if isinstance(outcome, Done):
        lines += outcome.warnings
    lines.append("/status shows what is left, /resume goes on")
    return "\n".join(lines)


def say_changed(desk: Desk, command: str, outcome: ControlOutcome) -> str:
    """After /resume or /drain."""
    match outcome:
        case Done(changes=changes, warnings=warnings):
            return "\n".join([*_done(desk, changes), *warnings])
        case Pending(approval=approval):
            return f"nothing has changed yet: {say_waiting(approval)}"
        case Conflict(reasons=reasons):
            return _not_now(reasons, f"mend that, then /{command} again")
        case Forbidden(message=message):
            return f"refused: {message}"
        case Unusable(fields=fields):
            return "refused: " + "; ".join(f"{name}: {why}" for name, why in fields.items())


def say_decided(desk: Desk, outcome: ApprovalOutcome) -> str:
    match outcome:
        case Decided(approval=approval, done=done):
            changed = _done(desk, done.changes) if done.changes else [f"mode {desk.mode()}"]
            return "\n".join([approval.line(), *changed, *done.warnings])
        case Conflict(reasons=reasons):
            return _not_now(reasons, "/status shows what waits")
        case Forbidden(message=message):
            return f"refused: {message}"
        case Unknown():
            return "there is no such proposal; /status shows what waits"


def _done(desk: Desk, changes: Mapping[str, Change]) -> list[str]:
    """What became of it, and what still keeps orders in."""
    lines = [f"{name}: {_plain(change.old)} → {_plain(change.new)}" for name, change in changes.items()]
    hold = desk.hold()
    if hold is not None:
        lines.append(hold.line())
    elif not lines:
        lines.append(f"nothing had to be changed: mode {desk.mode()}")
    if desk.mode() is Mode.DRAIN:
        lines.append("DRAIN opens nothing, closes and hedges until flat, then it is HOLD")
    return [*lines, *_flags(desk)]


def _flags(desk: Desk) -> list[str]:
    lines = []
    if desk.safe_mode():
        lines.append("safe_mode is on: no order is sent; /resume clears it")
    if desk.dry_run_only():
        lines.append("dry_run_only is on: fills are simulated; propbotctl control set clears it")
    return lines


def say_waiting(approval: Approval) -> str:
    until = clock_of(approval.expires_ns)
    return (
        f"approval {approval.id} ({approval.said()}) of {approval.proposer} waits for another person until {until}: "
        f"/approve {approval.id} or /reject {approval.id}"
    )


def _not_now(reasons: Sequence[str], next_step: str) -> str:
    return "\n".join(["not possible now:", *(f"- {reason}" for reason in reasons), next_step])


def _amount(amount: Decimal | None) -> str:
    return "unknown" if amount is None else amount_text(round(amount, 4))


def _plain(value: object) -> str:
    if isinstance(value, Decimal):
        return amount_text(value)
    if isinstance(value, tuple):
        return ", ".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
