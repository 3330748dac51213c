"""The commands that look at what happened: orders, fills, lots, positions, P&L, the journal and incidents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from propbotctl import show, trades
from propbotctl.failures import Failure, Misused, NotThere, otherwise, reader_may_leave
from propbotctl.options import Target, target_options

LEVELS = ("INFO", "WARN", "ERROR")
_FILTERS = ("since", "until", "level", "kind", "venue", "symbol")


def print_answer(target: Target, answer: Mapping[str, Any], plain: Callable[[Mapping[str, Any]], None]) -> None:
    with reader_may_leave():
        if target.json:
            show.print_json(answer)
        else:
            plain(answer)


def print_page(
    target: Target, name: str, params: Mapping[str, str], print_items: Callable[[Sequence[Mapping[str, Any]]], None]
) -> None:
    answer = target.get(f"/api/ui/{name}", params)
    if "cursor" in params and not answer["items"] and not target.json:
        show.line("there are none older")
    else:
        print_answer(target, answer, lambda page: print_items(page["items"]))
    if answer["next_cursor"] is not None and not target.json:
        click.echo(f"older ones: --cursor {answer['next_cursor']}", err=True)


def _show_beside(target: Target, name: str, path: str, print_it: Callable[[Mapping[str, Any]], None]) -> None:
    """Whoever looked at something else is told that, also where this can't be asked for."""
    try:
        answer = target.get(path)
    except Failure as failure:
        show.line(f"{name}: unknown: {failure.message}")
    else:
        print_it(answer)


def show_simulated(target: Target) -> None:
    """What dry runs have made, which is in no other number."""
    _show_beside(target, "dry runs", "/api/ui/state", lambda state: trades.show_dry_runs(state["loop"]))


def show_unseen(target: Target) -> None:
    """How many incidents nobody has acknowledged."""
    _show_beside(target, "open incidents", "/api/ui/status/components", lambda told: _count_unseen(told["incidents"]))


def _count_unseen(incidents: Sequence[Mapping[str, Any]]) -> None:
    unseen = [each for each in incidents if each["resolved_at"] is None and each["acknowledged_by"] is None]
    if unseen:
        worst = min(each["severity"] for each in unseen)
        many = "1 incident is" if len(unseen) == 1 else f"{len(unseen)} incidents are"
        show.line(f"{many} open and not acknowledged ({worst}): propbotctl incidents")


def page_options(command: Callable[..., Any]) -> Callable[..., Any]:
    limit = click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
    cursor = click.option("--cursor", metavar="C", help="The next page, as the page before named it.")
    return limit(cursor(command))


def page_params(limit: int, cursor: str | None) -> dict[str, str]:
    return {"limit": str(limit)} | ({} if cursor is None else {"cursor": cursor})


def _list_command(
    name: str, about: str, print_items: Callable[[Sequence[Mapping[str, Any]]], None]
) -> click.Command:
    @click.command(name, help=about)
    @page_options
    @target_options
    def list_items(target: Target, limit: int, cursor: str | None) -> None:
        print_page(target, name, page_params(limit, cursor), print_items)

    return list_items


orders = _list_command("orders", "Orders, newest first.", trades.show_orders)
fills = _list_command("fills", "Fills, newest first.", trades.show_fills)
lots = _list_command("lots", "Opened pairs, newest first.", trades.show_lots)


@click.command("positions", help="Open positions.")
@page_options
@target_options
def positions(target: Target, limit: int, cursor: str | None) -> None:
    print_page(target, "positions", page_params(limit, cursor), trades.show_positions)
    if not target.json:
        show_simulated(target)


@click.command("pnl")
@target_options
def pnl(target: Target) -> None:
    """Profit and loss in USDT: `realised` is net of the fees and the funding shown beside it; `day` is UTC."""
    state = target.get("/api/ui/state")
    print_answer(target, {"ts": state["ts"], **state["pnl"]}, trades.show_pnl)
    if not target.json:
        trades.show_dry_runs(state["loop"])


def _filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    level = click.option("--level", type=click.Choice(LEVELS, case_sensitive=False), help="Only those of this level.")
    command = level(command)
    for name, example in (
        ("symbol", "such as BTCUSDT"), ("venue", "such as binance-um"), ("kind", "such as hold"),
        ("until", "not after this time"), ("since", "not before this time, such as 2026-11-23T03:12Z"),
    ):
        command = click.option(f"--{name}", metavar=name.upper(), help=f"Only: {example}.")(command)
    return command


def _wanted(given: Mapping[str, Any]) -> dict[str, str]:
    return {name: given[name] for name in _FILTERS if given[name] is not None}


@click.command("events")
@page_options
@_filter_options
@click.option("--follow", "-f", is_flag=True, help="Go on with what happens, until Ctrl-C; --json: an object a line.")
@target_options
def events(target: Target, limit: int, cursor: str | None, follow: bool, **given: str | None) -> None:
    """The journal, newest first; with --follow the newest last."""
    wanted = _wanted(given)
    if not follow:
        print_page(target, "events", {**page_params(limit, cursor), **wanted}, show.show_events)
        return
    if cursor is not None or "until" in wanted:
        raise Misused("--follow goes on for ever: it takes no --cursor and no --until")
    from propbotctl.follow import Follower

    follower = Follower(target, wanted, show.print_json_line if target.json else show.show_event_line)
    try:
        follower.begin(limit)
        follower.run()
    except KeyboardInterrupt:
        return


@click.command("export-log")
@click.option("--out", metavar="F", type=click.Path(), help="The file; its folder is made.  [default: standard output]")
@click.option(
    "--format", "format", type=click.Choice(("json", "csv")), help="[default: by the suffix of F, else json]"
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="The newest N events.  [default: all]")
@_filter_options
@target_options
def export_log(target: Target, out: str | None, format: str | None, limit: int | None, **given: str | None) -> None:
    """The journal as a file that its owner alone may read, newest first."""
    from propbotctl.export import format_of, write_export
    from propbotctl.journal import read_export

    chosen = format_of(out, format)
    rows = read_export(target, _wanted(given), limit)
    count = write_export(rows, out, chosen, "events")
    if out is None:
        return
    if target.json:
        show.print_json({"status": "ok", "out": out, "format": chosen, "rows": count})
    else:
        show.line(f"{count} events written to {out} ({chosen})")


@click.group("incidents", invoke_without_command=True)
@page_options
@click.pass_context
@target_options
def incidents(context: click.Context, target: Target, limit: int, cursor: str | None) -> None:
    """What went wrong, newest first; `incidents ack` says that you have seen one."""
    if context.invoked_subcommand is None:
        print_page(target, "incidents", page_params(limit, cursor), show.show_incidents)


@incidents.command("show")
@click.argument("incident_id", metavar="ID", type=click.IntRange(1))
@target_options
def show_incident(target: Target, incident_id: int) -> None:
    """One incident with its timeline."""
    answer = target.get("/api/ui/incidents", {"limit": "1", "cursor": str(incident_id + 1)})
    found = [item for item in answer["items"] if item["id"] == incident_id]
    if not found:
        raise Failure(f"there is no incident {incident_id}", "`propbotctl incidents` lists them")
    print_answer(target, found[0], show.show_incident)


@incidents.command("ack")
@click.argument("incident_id", metavar="ID", type=click.IntRange(1))
@click.option("--note", metavar="TEXT", help="What you found, or what you do about it.")
@target_options
def acknowledge_incident(target: Target, incident_id: int, note: str | None) -> None:
    """Acknowledge an incident."""
    body = {} if note is None else {"note": note}
    with otherwise(["`propbotctl incidents` lists them"], NotThere):
        _, answer = target.post(f"/api/ui/incidents/{incident_id}/ack", body)
    print_answer(target, answer, show.show_incident)


COMMANDS: Sequence[click.Command] = (orders, fills, lots, positions, pnl, events, export_log, incidents)
