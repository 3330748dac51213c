"""A replay as people see it: a bar while it runs, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from propbot.replay.result import ReplayResult


@contextmanager
def showing_progress() -> Iterator[Callable[[float, float], None]]:
    """A bar on standard error, where that is a terminal; what it yields takes (share of the files, market seconds)."""
    console = Console(stderr=True)
    with Progress(
        TextColumn("replaying"), BarColumn(), TaskProgressColumn(),
        TextColumn("{task.fields[market_s]:.0f} s of market"), TimeElapsedColumn(), TimeRemainingColumn(),
        console=console, disable=not console.is_terminal, transient=True,
    ) as progress:
        task = progress.add_task("replay", total=1.0, market_s=0.0)
        yield lambda share, market_s: progress.update(task, completed=share, market_s=market_s)


def show_result(result: ReplayResult, report: Path | None) -> None:
    """On standard output, in eighty columns."""
    json = result.to_json()
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    speed = result.market_s / result.wall_s if result.wall_s else 0.0
    table.add_row("market", f"{result.market_s:.1f} s, {result.frames} frames")
    table.add_row("took", f"{result.wall_s:.1f} s, {speed:.1f} times as fast as real time")
    table.add_row(
        "lots", f"{json['spreads_opened']} opened, {json['spreads_closed']} closed, {json['spreads_open']} left open"
    )
    table.add_row("orders", f"{json['orders']} in {json['intents']} intents, {json['fills']} fills")
    table.add_row("P&L", _usdt(json["pnl_usdt"]) + f", after fees of {_usdt(json['fees_usdt'])}")
    for venue, book in json["books"].items():
        state = "synchronised" if book["synced"] else "not synchronised"
        table.add_row(venue, f"{book['bid']} / {book['ask']}, {state}, {book['resyncs']} resyncs,")
        table.add_row("", f"position {json['final_positions'][venue]}")
    table.add_row("ended in", result.at_end.reason)
    table.add_row("trace", f"sha256 {result.trace_sha256}")
    if report is not None:
        table.add_row("report", str(report / "report.html"))
    Console(highlight=False, soft_wrap=True).print(table)


def _usdt(amount: str | None) -> str:
    return "unknown" if amount is None else f"{amount} USDT"
