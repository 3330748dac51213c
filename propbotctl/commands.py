"""The commands: how it is now, and what steers it. Those that look at what happened are in `records`.

Each asks, prints, and ends with an exit code that a script can rely on. What is slow to import is imported by the
command that needs it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from propbotctl import records, show, trades
from propbotctl.approvals import approvals
from propbotctl.failures import PENDING, Conflicting, Held, Unusable, otherwise, reader_may_leave
from propbotctl.options import Target, target_options
from propbotctl.records import page_options, page_params, print_answer, print_page

CONTEXT = {"help_option_names": ["-h", "--help"]}
VERIFY_S_MAX = 60.0
"""For what asks the venue or walks the whole journal."""
REASON_MAX = 200
SECRET_PATH = "/api/ui/secret"  # noqa: S105 (a path)


@click.group(context_settings=CONTEXT)
@click.version_option(package_name="propbot", prog_name="propbotctl")
@target_options
def propbotctl(target: Target) -> None:
    """Look at a running PropBot, and steer it.

    Exit codes: 0 ok, 1 refused or failed, 2 usage, 3 unreachable, 4 unauthorised, 5 waits for an approval.
    """


for _command in (*records.COMMANDS, approvals):
    propbotctl.add_command(_command)


@propbotctl.command()
@target_options
def status(target: Target) -> None:
    """Overall status, mode, HOLD and alerts."""
    answer = target.get("/api/ui/status/overview")
    print_answer(target, answer, show.show_status)
    if not target.json:
        records.show_unseen(target)
        records.show_simulated(target)


@propbotctl.command()
@target_options
def components(target: Target) -> None:
    """Every component, and the open incidents."""
    print_answer(target, target.get("/api/ui/status/components"), show.show_components)


@propbotctl.command()
@target_options
def state(target: Target) -> None:
    """Loop, P&L, risk, venues and positions."""
    print_answer(target, target.get("/api/ui/state"), trades.show_state)


@propbotctl.command()
@target_options
def slo(target: Target) -> None:
    """Each service level: what was measured, against its threshold."""
    print_answer(target, target.get("/api/ui/status/slo"), show.show_slo)


@propbotctl.command()
@target_options
def doctor(target: Target) -> None:
    """Can I reach it, is it well, and what should I do next? Exit 1 when something is wrong."""
    from propbotctl.doctor import Doctor

    examined = Doctor(target)
    examined.examine()
    print_answer(target, examined.to_json(), show.show_checks)
    if not examined.well:
        raise SystemExit(1)


@propbotctl.command()
@click.option("--once", is_flag=True, help="Print one screen and end.")
@click.option("--interval", type=click.FloatRange(0.2, 60), default=1.0, show_default=True, metavar="SEC")
@target_options
def top(target: Target, once: bool, interval: float) -> None:
    """The whole desk on one screen, live, until Ctrl-C."""
    from propbotctl.top import print_once, read_snapshot, run_live

    snapshot = read_snapshot(target)
    if target.json:
        show.print_json(snapshot)
    elif once or not sys.stdout.isatty():
        print_once(snapshot)
    else:
        run_live(target, interval, snapshot)


@propbotctl.command()
@click.option("--reason", metavar="TEXT", help="Why; it is shown wherever the HOLD is.")
@target_options
def pause(target: Target, reason: str | None) -> None:
    """HOLD: stop orders at once. In HOLD already: one more cause of it, which voids what waits for approval."""
    body = {"mode": "HOLD"} | ({} if reason is None else {"reason": _sendable(reason)})
    try:
        _patch(target, body, unchanged="it was in HOLD already: yours is one more cause of it")
    except Held as held:  # what was asked for is done
        if target.json:
            show.print_json(held.answer)
        held.show()


def _sendable(reason: str) -> str:
    """As the service takes it: a HOLD must not end in an argument about its reason."""
    sent = "".join(char if char.isprintable() else " " for char in reason)
    if sent != reason:
        click.echo("warning: the reason has characters that are no text: sent with blanks in their place", err=True)
    if len(sent) > REASON_MAX:
        click.echo(f"warning: the reason is longer than {REASON_MAX} characters: sent without its end", err=True)
    return sent[:REASON_MAX]


@propbotctl.command()
@target_options
def resume(target: Target) -> None:
    """Leave HOLD. SAFE_MODE, if it is set, stays."""
    with otherwise(["what stands in the way, and what to do about it: propbotctl doctor"], Conflicting):
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
    print_answer(target, target.get("/api/ui/control-state"), show.show_control)


@control.command("set")
@click.argument("assignments", nargs=-1, required=True, metavar="NAME=VALUE...")
@target_options
def control_set(target: Target, assignments: Sequence[str]) -> None:
    """Change them: all or nothing."""
    from propbotctl.parameters import hints, read_assignments

    body = read_assignments(assignments)
    with otherwise(hints(list(body)), Unusable, Held):
        _patch(target, body)


@propbotctl.command("rotate-key")
@click.option(
    "--name", "names", multiple=True, metavar="N",
    help="The secret; again for a pair.  [default: that of the first loop venue, _TESTNET unless live]",
)
@click.option(
    "--value", "values", multiple=True, metavar="V",
    help="Its new value; others of this machine can see it here.  [default: from standard input]",
)
@target_options
def rotate_key(target: Target, names: Sequence[str], values: Sequence[str]) -> None:
    """Store new keys, and swap them in. Values from standard input: a line for each --name, or a JSON object."""
    from propbotctl.secrets import gather

    secrets = gather(target, names, values)
    if values:
        click.echo("warning: --value is seen by `ps` and kept by the shell's history: use standard input", err=True)
    _, answer = target.call("POST", SECRET_PATH, body=secrets, timeout_s=VERIFY_S_MAX)
    print_answer(target, answer, show.show_rotated)


@propbotctl.command("secrets")
@page_options
@target_options
def secrets(target: Target, limit: int, cursor: str | None) -> None:
    """Which secrets are stored, since when, and which source is in force; never their values."""
    print_page(target, "secret", page_params(limit, cursor), show.show_secrets)


@propbotctl.group()
@target_options
def baseline(target: Target) -> None:
    """What the accounts hold that is not PropBot's."""


@baseline.command("accept")
@click.argument("venue")
@click.argument("asset")
@click.option("--reason", required=True, metavar="TEXT", help="Why; it stays in the journal.")
@click.option(
    "--lots", type=click.Choice(["keep", "write_off"]),
    help="After a restore: whether the open lots are still at the venue, or were closed there since the backup.",
)
@target_options
def baseline_accept(target: Target, venue: str, asset: str, reason: str, lots: str | None) -> None:
    """In HOLD: take what VENUE holds of ASSET beyond our fills as given."""
    asked = {"venue": venue, "asset": asset, "reason": reason} | ({} if lots is None else {"lots": lots})
    code, answer = target.post("/api/ui/baseline", asked)
    with reader_may_leave():
        if target.json:
            show.print_json(answer)
        elif code == 202:
            show.show_proposed(answer["approval"])
        else:
            show.line(f"baseline of {answer['venue']} {answer['asset']}: {answer['old']} -> {answer['new']}")
            if answer.get("written_off"):
                show.line(f"written off: {', '.join(answer['written_off'])}")
    if code == 202:
        raise SystemExit(PENDING)


@propbotctl.group()
@target_options
def audit(target: Target) -> None:
    """The journal of everything that changed."""


@audit.command("verify")
@target_options
def audit_verify(target: Target) -> None:
    """Is the journal the one that was written? Exit 1 with the first bad row if not."""
    _, answer = target.call("GET", "/api/ui/audit/verify", timeout_s=VERIFY_S_MAX)
    print_answer(target, answer, show.show_journal_check)
    if not answer["ok"]:
        raise SystemExit(1)


def _patch(target: Target, body: dict[str, Any], unchanged: str = show.UNCHANGED) -> None:
    code, answer = target.patch(body)
    with reader_may_leave():
        if target.json:
            show.print_json(answer)
        elif code == 202:
            show.show_proposed(answer["approval"], held=answer.get("hold") == "entered")
        else:
            show.show_change(answer, unchanged)
    if code == 202:
        raise SystemExit(PENDING)
