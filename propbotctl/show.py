"""How answers look on a terminal: plain lines for what scripts grep, tables of 80 columns for what people read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from shutil import get_terminal_size
from typing import Any

import click

from propbotctl.failures import clean

Row = Mapping[str, Any]
UNCHANGED = "nothing changed: it was so already"


def print_json(answer: Mapping[str, Any]) -> None:
    click.echo(json.dumps(answer, indent=2, ensure_ascii=False))


def print_json_line(answer: Mapping[str, Any]) -> None:
    click.echo(json.dumps(answer, ensure_ascii=False, separators=(",", ":")))


def line(text: str) -> None:
    click.echo(clean(text))


def wrapped(text: str) -> None:
    """For people, on as many lines as the terminal's width wants; what scripts grep is a `line`."""
    from textwrap import wrap

    for row in wrap(clean(text), get_terminal_size().columns, subsequent_indent="    ", break_long_words=True):
        click.echo(row)


def word(value: Any) -> str:
    """Booleans as one writes them, lists with commas, null as "unknown"."""
    if isinstance(value, list):
        return ",".join(map(word, value))
    if value is None:
        return "unknown"
    return str(value).lower() if isinstance(value, bool) else str(value)


def clock(stamp: Any) -> str:
    """`11-23 03:12:09` of an ISO time, under a title that says UTC: the year is known."""
    text = str(stamp or "")
    return f"{text[5:10]} {text[11:19]}" if len(text) >= 19 else text


def moment(stamp: Any) -> str:
    """`11-23 03:12:09Z`, where no title says the zone."""
    return f"{clock(stamp)}Z" if stamp else "unknown"


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], empty: str) -> None:
    if not rows:
        line(empty)
        return
    from propbotctl.terminal import print_table

    print_table(columns, [[clean("" if cell is None else str(cell)) for cell in row] for row in rows])


def show_status(overview: Mapping[str, Any]) -> None:
    said = overview["overall_status"]
    line(f"overall.status={overview['overall']}")
    line(f"mode={overview['mode']}")
    line(f"profile={overview['profile']}")
    line(f"safe_mode={word(overview['safe_mode'])}")
    line(f"dry_run_only={word(overview['dry_run_only'])}")
    if (hold := overview.get("hold")) is not None:
        show_hold(hold)
    elif said["reason"]:
        line(f"{said['status']} by {said['source']} since {moment(said['since'])}: {said['reason']}")
    for alert in overview["alerts"]:
        line(f"alert {alert['severity']} {alert['component_id']}: {alert['msg']}")
    if not overview["alerts"]:
        line("no alerts")
    line(f"version={overview['version']} uptime_s={overview['uptime_s']:.0f}")


def show_hold(hold: Mapping[str, Any]) -> None:
    line(hold["line"])
    for cause in hold["causes"][1:]:
        line(f"  and since {str(cause['since'])[11:19]}Z by {cause['source']}: {cause['reason']}")


def show_components(answer: Mapping[str, Any]) -> None:
    rows = [(c["id"], c["status"], clock(c["since"]), c["summary"]) for c in answer["components"]]
    table(("component", "status", "since UTC", "summary"), rows, "no component has reported yet")
    unresolved = [i for i in answer["incidents"] if i["resolved_at"] is None]
    for incident in unresolved:
        wrapped(f"incident {incident['id']} {incident['severity']} {incident['component_id']}: {incident['summary']}")


def show_incidents(items: Sequence[Row]) -> None:
    rows = [
        (i["id"], clock(i["ts"]), i["severity"], i["component_id"], _standing(i), i["summary"]) for i in items
    ]
    table(("id", "time UTC", "sev", "component", "standing", "summary"), rows, "no incident so far")


def _standing(incident: Row) -> str:
    seen = "seen" if incident["acknowledged_by"] is not None else "unseen"
    return f"{'open' if incident['resolved_at'] is None else 'resolved'}, {seen}"


def show_incident(incident: Row) -> None:
    line(f"incident {incident['id']} {incident['severity']} {incident['component_id']}: {incident['summary']}")
    line(f"standing={_standing(incident)}")
    if incident["acknowledged_by"] is not None:
        when = moment(incident["acknowledged_at"])
        line(f"acknowledged by {incident['acknowledged_by']} at {when}: {incident['note'] or 'no note'}")
    for step in incident["timeline"]:
        line(f"  {moment(step['ts'])} {step['step']}: {step['text']}")
        for name, value in step["details"].items():
            line(f"      {name}={word(value)}")


def show_control(control: Mapping[str, Any]) -> None:
    for name, value in control.items():
        if name not in ("hold", "preflight", "approvals"):
            line(f"{name}=" if name == "reason" and value is None else f"{name}={word(value)}")
    preflight = control["preflight"]
    line(f"preflight.ok={word(preflight['ok'])}" + "".join(f"; {reason}" for reason in preflight["reasons"]))
    line(f"approvals={len(control['approvals'])}")
    if control["hold"] is not None:
        show_hold(control["hold"])


def show_events(items: Sequence[Row]) -> None:
    rows = [(i["id"], clock(i["ts"]), i["level"], i["kind"], i["source"] or i["venue"], i["message"]) for i in items]
    table(("id", "time UTC", "level", "kind", "from", "message"), rows, "no events")


def show_change(answer: Row, unchanged: str = UNCHANGED) -> None:
    after = answer["control"]
    for name, change in answer["changes"].items():
        line(f"{name}: {word(change['old'])} -> {word(change['new'])}")
    if not answer["changes"]:
        line(unchanged)
    for warning in answer["warnings"]:
        click.echo(f"warning: {clean(warning)}", err=True)
    line(f"mode={after['mode']}")
    if after["hold"] is not None:
        show_hold(after["hold"])
    elif after["safe_mode"]:
        line("SAFE_MODE is still on: no order is sent. To clear it: propbotctl control set safe_mode=false")


def show_proposed(approval: Row, held: bool = False) -> None:
    """`held`: a HOLD of the same request took effect."""
    waits = f"waits for another person: approval {approval['id']}"
    line(f"the HOLD took effect; the rest {waits}" if held else f"{waits}; nothing changed yet")
    line(f"until {moment(approval['expires_at'])} that person may: propbotctl approvals approve {approval['id']}")


def show_approvals(items: Sequence[Row]) -> None:
    rows = [
        (i["id"], i["state"], _asked(i["change"]), i["proposer"], clock(i["expires_at"]), _decided(i)) for i in items
    ]
    table(("id", "state", "change", "by", "until UTC", "decided"), rows, "nothing was proposed")


def show_approval(approval: Row) -> None:
    said = _decided(approval)
    about = f"approval {approval['id']} ({_asked(approval['change'])}) of {approval['proposer']}"
    line(f"{about}: {approval['state']}{' ' + said if said else ''}")


def _asked(change: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={word(v)}" for name, v in change.items())


def _decided(approval: Row) -> str:
    by = f"by {approval['decided_by']}" if approval["state"] in ("APPROVED", "REJECTED") else ""
    return ": ".join(part for part in (by, approval["reason"]) if part)


def show_journal_check(answer: Mapping[str, Any]) -> None:
    if answer["ok"]:
        line(f"ok: {answer['rows']} rows, head {answer['head'] or 'none'}")
    else:
        line(f"first bad row: {answer['first_bad']}: {answer.get('reason') or 'it breaks the chain'}")
        line(f"{answer['rows']} rows before it are as they were written")


def show_event_line(event: Row) -> None:
    """One of a live list: a line each, so that it can be piped."""
    where = event["venue"] or event["source"]
    about = f"{event['level']} {event['kind']}" + (f" {where}" if where else "")
    line(f"{moment(event['ts'])} {about}: {event['message']}")


def show_slo(answer: Row) -> None:
    rows = [
        (name, each["state"], word(each["value"]), each["threshold"], each["unit"], each["samples"])
        for name, each in answer["metrics"].items()
    ]
    table(("service level", "state", "value", "threshold", "unit", "samples"), rows, "nothing is measured yet")


def show_checks(answer: Row) -> None:
    rows = [(each["check"], each["result"], each["found"]) for each in answer["checks"]]
    table(("check", "result", "found"), rows, "nothing was checked")
    for each in answer["checks"]:
        if each["next"]:
            line(f"{each['check']}: {each['next']}")
    counts = Counter(each["result"] for each in answer["checks"])
    line(", ".join(f"{count} {result}" for result, count in counts.items()))


def show_rotated(answer: Row) -> None:
    line(f"status={answer['status']}")
    for name in answer["updated"]:
        checked = answer["checked"].get(name)
        line(f"{name}: stored, {'checked with a signed read' if checked else 'not checked with the venue'}")
    for warning in answer.get("warnings", ()):
        line(f"warning: {warning}")


def show_secrets(items: Sequence[Row]) -> None:
    rows = [(i["name"], i["version"], clock(i["ts"]), i["source"]) for i in items]
    table(("secret", "version", "since UTC", "source"), rows, "no secret is stored")
