"""How what is traded looks on a terminal: state, orders, fills, lots, positions and P&L, with their units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from propbotctl.show import Row, clock, line, table, word, wrapped

QUOTE = "USDT"
SIMULATED = "sim"


def show_state(state: Mapping[str, Any]) -> None:
    line(f"mode={state['mode']} safe_mode={word(state['safe_mode'])} dry_run={word(state['dry_run'])}")
    loop = state["loop"]
    line(f"loop {loop['pair']} on {', '.join(loop['venues'])}: {loop['why_not'] or 'trading'}")
    pnl = [f"{name}={money(value)}" for name, value in state["pnl"].items()]
    line("pnl in USDT " + " ".join(pnl[:3]))
    line("            " + " ".join(pnl[3:]))
    for reason in state["risk_reasons"]:
        line(f"risk {reason['code']}: {reason['message']}")
    rows = [_venue_row(name, venue) for name, venue in state["venues"].items()]
    _, quote = units_of([loop], "pair")
    table(("venue", "usable", f"bid{quote}", f"ask{quote}", "book age ms", "keys"), rows, "no venues")
    for name, venue in state["venues"].items():
        for asset, amount in venue["balances"].items():
            line(f"{name} {asset} {amount['total']}")
    show_positions(state["risk"]["positions"])
    show_dry_runs(loop)


def _venue_row(name: str, venue: Mapping[str, Any]) -> tuple[Any, ...]:
    book = venue["book"] or {}
    usable = "yes" if venue["usable"] else f"no: {venue['reason']}"
    age_s = book.get("age_s")
    age_ms = None if age_s is None else f"{age_s * 1000:.0f}"
    return name, usable, book.get("bid"), book.get("ask"), age_ms, venue["key_status"]


def show_orders(items: Sequence[Row]) -> None:
    rows = [
        (
            clock(i["ts"]), i["venue"], i["purpose"], i["side"], i["qty"], i["limit_price"],
            ": ".join(part for part in (i["state"], i.get("reason")) if part),
        )
        for i in items
    ]
    base, quote = units_of(items)
    columns = ("time UTC", "venue", "for", "side", f"qty{base}", f"limit{quote}", "state")
    _table_of_trades(columns, rows, items, "no orders")


def show_fills(items: Sequence[Row]) -> None:
    rows = [
        (clock(i["ts"]), i["venue"], i["purpose"], i["side"], i["qty"], i["price"], f"{i['fee']} {i['fee_asset']}")
        for i in items
    ]
    base, quote = units_of(items)
    columns = ("time UTC", "venue", "for", "side", f"qty{base}", f"price{quote}", "fee")
    _table_of_trades(columns, rows, items, "no fills")


def show_lots(items: Sequence[Row]) -> None:
    rows = [
        (
            clock(i["opened_at"]),
            i["state"],
            i["qty"],
            f"{_venues_of(i['legs'], 'BUY')} / {_venues_of(i['legs'], 'SELL')}",
            i["edge_bps"],
            i["realised_usdt"],
            i["exit_reason"],
        )
        for i in items
    ]
    base, _ = units_of(items, "pair")
    columns = ("opened UTC", "state", f"qty{base}", "bought / sold", "edge bps", "realised USDT", "exit")
    _table_of_trades(columns, rows, items, "no lots")


def _venues_of(legs: Sequence[Row], side: str) -> str:
    return ", ".join(leg["venue"] for leg in legs if leg["side"] == side)


def show_positions(items: Sequence[Row]) -> None:
    rows = [
        (i["venue"], i["symbol"], i["qty"], money(i["avg_price"]), money(i["mark"]), money(i["unrealised_usdt"]))
        for i in items
    ]
    base, quote = units_of(items)
    columns = ("venue", "symbol", f"qty{base}", f"avg price{quote}", f"mark{quote}", "unrealised USDT")
    table(columns, rows, "no open positions")


def show_pnl(pnl: Row) -> None:
    line("P&L in USDT; day: since 00:00 UTC")
    for name in ("equity", "realised", "unrealised", "fees", "funding", "day"):
        line(f"{name}={money(pnl[name])}")


def _table_of_trades(columns: Sequence[str], rows: Sequence[Sequence[Any]], items: Sequence[Row], empty: str) -> None:
    """With a mark on what was only simulated, so that nobody takes it for money."""
    if not any(each["simulated"] for each in items):
        table(columns, rows, empty)
        return
    marked = [(*row, SIMULATED if each["simulated"] else "") for row, each in zip(rows, items, strict=True)]
    table((*columns, ""), marked, empty)
    line(f"{SIMULATED}: a dry run's, nothing was sent to the venue")


def units_of(items: Sequence[Row], name: str = "symbol") -> tuple[str, str]:
    """What stands behind "qty" and "price" in a title: ` BTC`, ` USDT`. Nothing where the rows are of several pairs."""
    pairs = {str(each[name]) for each in items}
    pair = pairs.pop() if len(pairs) == 1 else ""
    return (f" {pair.removesuffix(QUOTE)}", f" {QUOTE}") if pair.endswith(QUOTE) else ("", "")


def show_dry_runs(loop: Row) -> None:
    """Nothing while no dry run has done anything."""
    if (said := said_of_dry_runs(loop)) is not None:
        wrapped(said)


def said_of_dry_runs(loop: Row) -> str | None:
    lots, fills = loop.get("simulated_lots_open", 0), loop.get("simulated_fills", 0)
    if not lots and not fills:
        return None
    realised, unrealised = (money(loop.get(f"simulated_{name}_usdt")) for name in ("realised", "unrealised"))
    made = f"in USDT realised {realised}, unrealised {unrealised}"
    return f"dry runs (simulated): open lots {lots}, fills {fills}; {made}"


def money(amount: str | None) -> str:
    """Four decimals, for people; `--json` has every digit."""
    return "unknown" if amount is None else f"{Decimal(amount):.4f}"
