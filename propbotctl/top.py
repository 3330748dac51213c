"""`top`: the whole desk on one screen, asked anew every second or so. What is old is said to be old."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from propbotctl.failures import Failure, NotNow, Unreachable, clean
from propbotctl.options import Target
from propbotctl.show import clock, moment
from propbotctl.terminal import open_terminal
from propbotctl.trades import SIMULATED, money, said_of_dry_runs, units_of

ROWS = 5
STYLES = {"OK": "green", "WARN": "yellow", "ERROR": "bold red", "HOLD": "bold magenta"}
Snapshot = Mapping[str, Any]


def read_snapshot(target: Target) -> Snapshot:
    """What one screen shows, as the API answered it; Failure if one of the questions was refused."""
    few = {"limit": str(ROWS)}
    return {
        "overview": target.get("/api/ui/status/overview"),
        "state": target.get("/api/ui/state"),
        "lots": target.get("/api/ui/lots", few)["items"],
        "events": target.get("/api/ui/events", few)["items"],
    }


def print_once(snapshot: Snapshot) -> None:
    open_terminal().print(draw(snapshot))


def run_live(target: Target, every_s: float, first: Snapshot, monotonic: Callable[[], float] = time.monotonic) -> None:
    """Until Ctrl-C. A service that does not answer for a while stays on the screen, and the screen says since when."""
    shown, asked_s = first, monotonic()
    with suppress(KeyboardInterrupt), Live(draw(first), screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(every_s)
            note = ""
            try:
                shown, asked_s = read_snapshot(target), monotonic()
            except (Unreachable, NotNow) as failure:
                note = f"{monotonic() - asked_s:.0f} s old: {failure.message}"
            except Failure as failure:
                live.stop()
                raise failure
            live.update(draw(shown, note), refresh=True)


def draw(snapshot: Snapshot, note: str = "") -> RenderableType:
    overview, state = snapshot["overview"], snapshot["state"]
    parts: list[RenderableType] = [_head(overview, state)]
    if note:
        parts.insert(0, Text(clean(note), style="bold white on red"))
    if overview["hold"] is not None:
        parts.append(_text(overview["hold"]["line"], "bold magenta"))
    elif state["loop"]["why_not"]:
        parts.append(_text(f"opens nothing: {state['loop']['why_not']}", "yellow"))
    parts += [_text(f"{each['severity']} {each['component_id']}: {each['msg']}", "red") for each in overview["alerts"]]
    pnl = [f"{name} {money(value)}" for name, value in state["pnl"].items()]
    parts += [_text("P&L USDT  " + "  ".join(pnl[:3])), _text("          " + "  ".join(pnl[3:]))]
    _, quote = units_of([state["loop"]], "pair")
    parts += [_venues(state["venues"], quote), _positions(state["risk"]["positions"]), _lots(snapshot["lots"])]
    if (simulated := said_of_dry_runs(state["loop"])) is not None:
        parts.append(_text(simulated, "yellow"))
    parts += [_text(_event_line(event), "dim") for event in snapshot["events"]]
    return Group(*parts)


def _head(overview: Mapping[str, Any], state: Mapping[str, Any]) -> Text:
    head = Text()
    head.append(f" {overview['overall']} ", style=f"reverse {STYLES.get(overview['overall'], '')}".strip())
    loop = state["loop"]
    safety = [name.upper() for name in ("safe_mode", "dry_run_only") if overview[name]]
    head.append(
        clean(
            f" {overview['mode']} {overview['profile']} {loop['pair']} on {', '.join(loop['venues'])}"
            f"{' ' + ' '.join(safety) if safety else ''}  {moment(overview['ts'])}"
        )
    )
    return head


def _venues(venues: Mapping[str, Mapping[str, Any]], quote: str) -> Table:
    rows = []
    for name, venue in venues.items():
        book = venue["book"] or {}
        age_s = book.get("age_s")
        age = "unknown" if age_s is None else f"{age_s * 1000:.0f}"
        rows.append((name, "yes" if venue["usable"] else venue["reason"], book.get("bid"), book.get("ask"), age))
    return _table(("venue", "usable", f"bid{quote}", f"ask{quote}", "age ms"), rows)


def _positions(positions: Sequence[Mapping[str, Any]]) -> RenderableType:
    rows = [(each["venue"], each["qty"], money(each["mark"]), money(each["unrealised_usdt"])) for each in positions]
    if not rows:
        return _text("no open positions", "dim")
    base, quote = units_of(positions)
    return _table(("position", f"qty{base}", f"mark{quote}", "unrealised USDT"), rows)


def _lots(lots: Sequence[Mapping[str, Any]]) -> RenderableType:
    if not lots:
        return _text("no lots", "dim")
    rows = [
        (
            clock(lot["opened_at"]), lot["state"], lot["qty"], f"{lot['edge_bps']:.2f}", lot["realised_usdt"] or "",
            SIMULATED if lot["simulated"] else "",
        )
        for lot in lots
    ]
    base, _ = units_of(lots, "pair")
    return _table(("lot opened UTC", "state", f"qty{base}", "edge bps", "realised USDT", ""), rows)


def _event_line(event: Mapping[str, Any]) -> str:
    return f"{moment(event['ts'])} {event['level']} {event['kind']}: {event['message']}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(clean("unknown" if cell is None else str(cell))) for cell in row))
    return table


def _text(text: str, style: str = "") -> Text:
    return Text(clean(text), style=style)
