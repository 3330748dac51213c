"""The commands. Each asks once, prints, and ends with an exit code that a script can rely on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from propbotctl import show
from propbotctl.failures import PENDING, Failure, clean
from propbotctl.options import Target, target_options

CONTEXT = {"help_option_names": ["-h", "--help"]}
_WORDS: Mapping[str, bool] = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}
_FLAGS = ("safe_mode", "dry_run_only")
VERIFY_S_MAX = 60.0
UNCHANGED = "nothing changed: it was so already"
_TEXTS = ("mode", "reason", "loop_pair")


@click.group(context_settings=CONTEXT)
@target_options
def propbotctl(target: Target) -> None:
    """Look at a running PropBot, and steer it.

    Exit codes: 0 ok, 1 refused or failed, 2 usage, 3 unreachable, 4 unauthorised, 5 waits for an approval.
    """


@propbotctl.command()
@target_options
def status(target: Target) -> None:
    """Overall status, mode, HOLD and alerts."""
    _print(target, target.get("/api/ui/status/overview"), show.show_status)


@propbotctl.command()
@target_options
def components(target: Target) -> None:
    """Every component, and the open incidents."""
    _print(target, target.get("/api/ui/status/components"), show.show_components)


@propbotctl.command()
@target_options
def state(target: Target) -> None:
    """Loop, P&L, risk, venues and positions."""
    _print(target, target.get("/api/ui/state"), show.show_state)


@propbotctl.command()
@click.option("--reason", metavar="TEXT", help="Why; it is shown wherever the HOLD is.")
@target_options
def pause(target: Target, reason: str | None) -> None:
    """HOLD: stop orders at once. In HOLD already: one more cause of it, which voids what waits for approval."""
    _patch(
        target, {"mode": "HOLD"} | ({} if reason is None else {"reason": reason}),
        unchanged="it was in HOLD already: yours is one more cause of it",
    )


@propbotctl.command()
@target_options
def resume(target: Target) -> None:
    """Leave HOLD. SAFE_MODE, if it is set, stays."""
    _patch(target, {"mode": "RUN"})


@propbotctl.command()
@click.option("--timeout", "timeout_s", type=click.FloatRange(1, 3600), metavar="SEC", help="Then HOLD, flat or not.")
@target_options
def drain(target: Target, timeout_s: float | None) -> None:
    """Open nothing, close and hedge until flat, then HOLD."""
    _patch(target, {"mode": "DRAIN"} | ({} if timeout_s is None else {"drain_timeout_sec": timeout_s}))


@propbotctl.group()
@target_options
def control(target: Target) -> None:
    """The parameters in force."""


@control.command("get")
@target_options
def control_get(target: Target) -> None:
    """Show them."""
    _print(target, target.get("/api/ui/control-state"), show.show_control)


@control.command("set")
@click.argument("assignments", nargs=-1, required=True, metavar="NAME=VALUE...")
@target_options
def control_set(target: Target, assignments: Sequence[str]) -> None:
    """Change them: all or nothing."""
    _patch(target, dict(_assignment(text) for text in assignments))


@propbotctl.group()
@target_options
def approvals(target: Target) -> None:
    """What waits for a second person, under the Two-Man Rule."""


@approvals.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--cursor", metavar="C", help="The next page, as the page before named it.")
@target_options
def approvals_list(target: Target, limit: int, cursor: str | None) -> None:
    """Proposals, newest first."""
    _print_page(target, "approvals", limit, cursor, show.show_approvals)


@approvals.command()
@click.argument("approval_id", metavar="ID")
@target_options
def approve(target: Target, approval_id: str) -> None:
    """Let a proposal of another person take effect."""
    _, answer = target.post(_approval_path(approval_id, "approve"), {})
    if target.json:
        show.print_json(answer)
        return
    show.show_approval(answer["approval"])
    _show_change(answer)


@approvals.command()
@click.argument("approval_id", metavar="ID")
@click.option("--reason", metavar="TEXT", help="Why not.")
@target_options
def reject(target: Target, approval_id: str, reason: str | None) -> None:
    """Refuse a proposal. Approvers may; also to withdraw their own (`pause` voids all that wait)."""
    _, answer = target.post(_approval_path(approval_id, "reject"), {} if reason is None else {"reason": reason})
    _print(target, answer, lambda shown: show.show_approval(shown["approval"]))


def _approval_path(approval_id: str, verb: str) -> str:
    if not (approval_id.isascii() and approval_id.isalnum()):
        raise click.UsageError(f"{approval_id!r} is no ID; propbotctl approvals list shows them")
    return f"/api/ui/approvals/{approval_id}/{verb}"


@propbotctl.group()
@target_options
def baseline(target: Target) -> None:
    """What the accounts hold that is not PropBot's."""


@baseline.command("accept")
@click.argument("venue")
@click.argument("asset")
@click.option("--reason", required=True, metavar="TEXT", help="Why; it stays in the journal.")
@target_options
def baseline_accept(target: Target, venue: str, asset: str, reason: str) -> None:
    """In HOLD: take what VENUE holds of ASSET beyond our fills as given."""
    code, answer = target.post("/api/ui/baseline", {"venue": venue, "asset": asset, "reason": reason})
    if target.json:
        show.print_json(answer)
    elif code == 202:
        show.line(f"waits for another person: approval {answer['approval'].get('id', '')}; nothing changed yet")
    else:
        show.line(f"baseline of {answer['venue']} {answer['asset']}: {answer['old']} -> {answer['new']}")
    if code == 202:
        raise SystemExit(PENDING)


def _list_command(name: str, about: str, print_items: Callable[[Sequence[Mapping[str, Any]]], None]) -> None:
    @propbotctl.command(name, help=about)
    @click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
    @click.option("--cursor", metavar="C", help="The next page, as the page before named it.")
    @target_options
    def list_items(target: Target, limit: int, cursor: str | None) -> None:
        _print_page(target, name, limit, cursor, print_items)


_list_command("orders", "Orders, newest first.", show.show_orders)
_list_command("fills", "Fills, newest first.", show.show_fills)
_list_command("lots", "Opened pairs, newest first.", show.show_lots)
_list_command("positions", "Open positions.", show.show_positions)
_list_command("events", "The journal, newest first.", show.show_events)


@propbotctl.group("incidents", invoke_without_command=True)
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.pass_context
@target_options
def incidents(context: click.Context, target: Target, limit: int) -> None:
    """What went wrong, newest first; `incidents ack` says that you have seen one."""
    if context.invoked_subcommand is None:
        answer = target.get("/api/ui/incidents", {"limit": str(limit)})
        _print(target, answer, lambda page: show.show_incidents(page["items"]))


@incidents.command("show")
@click.argument("incident_id", metavar="ID", type=click.IntRange(1))
@target_options
def show_incident(target: Target, incident_id: int) -> None:
    """One incident with its timeline."""
    answer = target.get("/api/ui/incidents", {"limit": "1", "cursor": str(incident_id + 1)})
    found = [item for item in answer["items"] if item["id"] == incident_id]
    if not found:
        raise Failure(f"there is no incident {incident_id}", "`propbotctl incidents` lists them")
    _print(target, found[0], show.show_incident)


@incidents.command("ack")
@click.argument("incident_id", metavar="ID", type=click.IntRange(1))
@click.option("--note", metavar="TEXT", help="What you found, or what you do about it.")
@target_options
def acknowledge_incident(target: Target, incident_id: int, note: str | None) -> None:
    """Acknowledge an incident."""
    body = {} if note is None else {"note": note}
    _, answer = target.call("POST", f"/api/ui/incidents/{incident_id}/ack", body=body)
    _print(target, answer, show.show_incident)


def _print_page(
    target: Target, name: str, limit: int, cursor: str | None,
    print_items: Callable[[Sequence[Mapping[str, Any]]], None],
) -> None:
    params = {"limit": str(limit)} | ({} if cursor is None else {"cursor": cursor})
    answer = target.get(f"/api/ui/{name}", params)
    _print(target, answer, lambda page: print_items(page["items"]))
    if answer["next_cursor"] is not None and not target.json:
        click.echo(f"older ones: --cursor {answer['next_cursor']}", err=True)


@propbotctl.group()
@target_options
def audit(target: Target) -> None:
    """The journal of everything that changed."""


@audit.command("verify")
@target_options
def audit_verify(target: Target) -> None:
    """Is the journal the one that was written? Exit 1 with the first bad row if not."""
    _, answer = target.call("GET", "/api/ui/audit/verify", timeout_s=VERIFY_S_MAX)
    _print(target, answer, show.show_journal_check)
    if not answer["ok"]:
        raise SystemExit(1)


def _print(target: Target, answer: dict[str, Any], plain: Callable[[dict[str, Any]], None]) -> None:
    if target.json:
        show.print_json(answer)
    else:
        plain(answer)


def _patch(target: Target, body: dict[str, Any], unchanged: str = UNCHANGED) -> None:
    code, answer = target.patch(body)
    if target.json:
        show.print_json(answer)
    elif code == 202:
        show.show_proposed(answer["approval"])
    else:
        _show_change(answer, unchanged)
    if code == 202:
        raise SystemExit(PENDING)


def _show_change(answer: Mapping[str, Any], unchanged: str = UNCHANGED) -> None:
    after = answer["control"]
    for name, change in answer["changes"].items():
        show.line(f"{name}: {_shown(change['old'])} -> {_shown(change['new'])}")
    if not answer["changes"]:
        show.line(unchanged)
    for warning in answer["warnings"]:
        click.echo(f"warning: {clean(warning)}", err=True)
    show.line(f"mode={after['mode']}")
    if after["hold"] is not None:
        show.show_hold(after["hold"])
    elif after["safe_mode"]:
        show.line("SAFE_MODE is still on: no order is sent. To clear it: propbotctl control set safe_mode=false")


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else show.word(value)


def _assignment(text: str) -> tuple[str, Any]:
    """`NAME=VALUE` as JSON would have it; what is no number, flag or list is text, for the service to judge."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.UsageError(f"{text!r} is not NAME=VALUE, such as order_notional_usdt=100")
    if name in _TEXTS:
        return name, value
    if name in _FLAGS and value.lower() in _WORDS:
        return name, _WORDS[value.lower()]
    if name == "loop_venues" and not value.startswith("["):
        return name, value.split(",")
    try:
        return name, json.loads(value, parse_constant=_no_number)
    except ValueError:
        return name, value


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
