"""The page's sections, from the market to the settings: a title, how to read it, and the thing itself."""

from __future__ import annotations

import json

from propbot.replay.report import figures, tables
from propbot.replay.report.findings import Findings
from propbot.replay.report.market_figure import market_figure
from propbot.replay.report.markup import Content, Markup, element, together
from propbot.replay.report.numbers import UNKNOWN, plain
from propbot.replay.report.plots import Figure


def sections(found: Findings) -> Markup:
    return together(
        _market(found), _money(found), _lots(found), _legs(found), _spreads_of_costs(found), _reasons(found),
        _ages(found), _guards(found), _replayed(found),
    )


def _section(title: str, note: str, *content: Content) -> Markup:
    return element("section", element("h2", title), element("p", note, class_="note") if note else "", *content)


def _plot(name: str, figure: Figure, *, empty: bool = False) -> Markup:
    """Its data are a block that no browser runs; report.js finds it by its name."""
    if empty or not any(trace.get("x") for trace in figure["data"]):
        return element("p", "Nothing to show: there are no such values in this replay.", class_="empty")
    text = json.dumps(figure, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return together(
        element("div", "", class_="plot", id=f"plot-{name}", data_figure=f"figure-{name}",
                style=f"min-height:{figure['layout']['height']}px"),
        Markup(f'<script type="application/json" id="figure-{name}">{text}</script>'),
    )


def _market(found: Findings) -> Markup:
    first, second = found.head.venues[:2] if len(found.head.venues) > 1 else (found.head.venues[0], "")
    if not second:
        return _section("Spread, edge and trades", "", element("p", "One venue has no spread.", class_="empty"))
    return _section(
        "Spread, edge and trades",
        f"Above: the mid of {second} over the mid of {first} in bps of their mean, and the reference. A lot closes "
        f"when its gap to the reference is at most EXIT_EDGE_BPS ({plain(found.head.exit_edge_bps)} bps); it is "
        f"stopped STOP_BPS ({plain(found.head.stop_bps)} bps) beyond the gap of its entry. Triangles are openings, "
        "crosses closings, both at the spread of their fills. Middle: the net edge of the full order in both "
        "directions, all costs taken off; triangles are the edges decided on. Lines are sampled every 0.25 s and "
        "decisions are made in between, so a triangle may stand off its line. Drag to zoom, double-click to zoom out.",
        _plot("market", market_figure(found.head, found.recorded, found.lines)),
    )


def _money(found: Findings) -> Markup:
    equity = _section(
        "Equity",
        "What trading did to equity since the start (realised, net of fees and funding, and unrealised), USDT, "
        "marked at the venues' mids. The account's own change, a click in the legend away, also holds what the price "
        "did to the baseline inventory.",
        _plot("equity", figures.equity_figure(found.recorded)),
    )
    closed = any(line.closed and line.costs is not None and line.filled for line in found.lines)
    costs = _section(
        "From decision to P&L", "The closed lots: what they would have made at the prices that were decided on, and "
        "what was lost or won on the way to what was realised, USDT.",
        _plot("costs", figures.costs_figure(found.lines), empty=not closed),
    )
    return element("div", equity, costs, class_="two")


def _lots(found: Findings) -> Markup:
    if not found.lines:
        return _section("Lots", "", element("p", "No lot was opened. ", most_frequent_reason(found), class_="empty"))
    return _section(
        "Lots",
        "Amounts in USDT. Spread − slippage in − slippage out − hedging − fees + dust = realised, exactly. Slippage is "
        "the average fill against the average price that the decision's walk through the book promised; positive is a "
        "cost, negative a gain. Hedging is the same for hedges and unwinds, sent when a leg missed. Dust is what the "
        "base left over by lot steps and fees in base makes of it. Skew: the first trade of the sell leg after the "
        "first trade of the buy leg at their venues, in ms of market time (negative: before); below it, small, the "
        "same of the orders' arrivals. Funding is booked by venue and is in no lot. Click a heading to sort.",
        tables.lots_table(found.lines, found.totals),
    )


def _legs(found: Findings) -> Markup:
    if not any(line.legs for line in found.lines):
        return Markup("")
    return _section(
        "Legs: decision price against fills",
        "Four legs a lot: two to open it, two to close it. Prices in USDT, quantities in base; a positive slippage is "
        "a cost on either side. The decision price is the average of walking the book for the full size.",
        tables.legs_table(found.lines),
    )


def _spreads_of_costs(found: Findings) -> Markup:
    if not any(line.legs for line in found.lines):
        return Markup("")
    slippage = _section("Slippage of the legs", "", _plot("slippage", figures.slippage_figure(found.lines)))
    skew = _section("Skew of the legs", "", _plot("skew", figures.skew_figure(found.lines)))
    return element("div", slippage, skew, class_="two")


def _reasons(found: Findings) -> Markup:
    return _section(
        "Why nothing was sent",
        "What stood in the way, by the share of time: sampled every 0.25 s, with the numbers taken out of the texts.",
        tables.reasons_table(found.reasons),
    )


def _ages(found: Findings) -> Markup:
    head, recorded = found.head, found.recorded
    return element(
        "section",
        element("h2", "Book ages"),
        element("p", "Time since the last frame of each synchronised book, ms, at each sample. Beyond the dashed line "
                f"(MAX_BOOK_AGE_MS, {plain(head.book_age_ms_max)} ms) a book is not traded on.", class_="note"),
        tables.ages_table(head, recorded),
        element(
            "div",
            element("div", element("h3", "Over time"), _plot("ages", figures.ages_figure(head, recorded))),
            element("div", element("h3", "Distribution"),
                    _plot("ages-distribution", figures.ages_distribution_figure(head, recorded))),
            class_="two",
        ),
    )


def _guards(found: Findings) -> Markup:
    return element(
        "section",
        element("h2", "Guard trips, HOLD and modes"),
        tables.modes_bar(found.recorded),
        element("h3", "HOLD line at the end"),
        element("p", found.result.at_end.reason or "none"),
        element("h3", "Guard trips"),
        tables.guards_table(found.recorded),
        element("h3", "Modes and causes"),
        tables.modes_table(found.recorded),
    )


def _replayed(found: Findings) -> Markup:
    head, result = found.head, found.result
    rows: list[tuple[str, Content]] = [("Pair", head.pair)]
    rows += [
        (venue, f"{head.files.get(venue, UNKNOWN)}; taker {plain(head.fees[venue].taker_bps)} bps, maker "
         f"{plain(head.fees[venue].maker_bps)} bps")
        for venue in head.venues
    ]
    rows += [
        ("Settings given", ", ".join(f"{name}={value}" for name, value in head.given.items()) or "none"),
        ("Order notional", f"{plain(head.order_notional_usdt)} USDT"),
        ("MIN_SPREAD_BPS", f"{plain(head.min_spread_bps)} bps"),
        ("EXIT_EDGE_BPS", f"{plain(head.exit_edge_bps)} bps"),
        ("STOP_BPS", f"{plain(head.stop_bps)} bps"),
        ("Latency to the venue", f"{plain(head.latency_ms)} ms each way"),
        ("Books at the end", _books(found)),
        ("Positions at the end", ", ".join(f"{venue} {plain(qty)}" for venue, qty in result.at_end.positions.items())
         + " (base, signed)"),
        ("trace.jsonl, sha256", element("code", result.trace_sha256)),
    ]
    listed = [together(element("dt", name), element("dd", content)) for name, content in rows]
    return element("section", element("h2", "What was replayed"), element("dl", listed))


def _books(found: Findings) -> str:
    return "; ".join(
        f"{venue} {book.bid or UNKNOWN} / {book.ask or UNKNOWN} USDT, "
        f"{'synchronised' if book.synced else 'not synchronised'}, {book.resyncs} resyncs"
        for venue, book in found.result.at_end.books.items()
    )


def most_frequent_reason(found: Findings) -> str:
    if not found.reasons:
        return "Nothing was sampled."
    first = found.reasons[0]
    return f"The most frequent reason ({first.share * 100:.0f} % of the time): {first.reason}."
