"""The report's tables: lots with their costs, legs with their prices, book ages, reasons, guards and modes."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from attrs import evolve, frozen

from propbot.replay.report.costs import LegCost, LotCosts, Phase, added_up
from propbot.replay.report.figures import ages_ms
from propbot.replay.report.head import ReportHead
from propbot.replay.report.lots import LotLine, Skew, Totals, share_of
from propbot.replay.report.markup import Content, Markup, element, together
from propbot.replay.report.numbers import NONE, UNKNOWN, decimals, plain, span_text, time_ms, utc_ms
from propbot.replay.report.reading import Recorded
from propbot.replay.report.reasons import ReasonShare

LOTS_SHOWN_MAX = 1000
REASONS_SHOWN_MAX = 12
GUARD_TRIP = "guard_trip"


@frozen
class Cell:
    content: Content
    sort: str | None = None
    """What the column is sorted by, where that is not the text; empty for unknown."""
    kind: str = ""
    title: str | None = None

    def html(self) -> Markup:
        return element("td", self.content, class_=self.kind or None, data_sort=self.sort, title=self.title)


def amount(value: Decimal | float | None, digits: int, *, signed: bool = False, coloured: bool = False,
           absent: str = NONE, title: str | None = None) -> Cell:
    kind = "n"
    if coloured and value:
        kind += " gain" if value > 0 else " loss"
    sort = "" if value is None else plain(value)
    return Cell(decimals(value, digits, signed=signed, absent=absent), sort, kind, title)


def table(
    headings: Sequence[tuple[str, str]], rows: Sequence[Sequence[Cell]], *, sortable: bool, kind: str = "",
    foot: Sequence[Cell] = (),
) -> Markup:
    """`headings` are (text, explanation)."""

    def heading(column: int, text: str, explanation: str) -> Markup:
        content: Content = element("button", text, type="button") if sortable else text
        is_number = bool(rows) and rows[0][column].kind.startswith("n")
        return element("th", content, class_="n" if is_number else None, title=explanation or None, scope="col")

    parts = [
        element("thead", element("tr", [heading(column, *each) for column, each in enumerate(headings)])),
        element("tbody", [element("tr", [cell.html() for cell in row]) for row in rows]),
    ]
    if foot:
        parts.append(element("tfoot", element("tr", [cell.html() for cell in foot])))
    whole = element("table", parts, class_=kind or None)
    return element("div", whole, class_="scroll", tabindex="0")


LOT_HEADINGS = (
    ("Lot", "number in this report, and id in the ledger"),
    ("Buy / sell", "venue bought on / venue sold on at entry"),
    ("Opened, UTC", "when it was decided on"),
    ("Held, s", "from the decision to the close, s"),
    ("Qty", "base"),
    ("Net edge, ref., bps", "net edge decided on, in bps of mid; below it the reference in the lot's direction"),
    ("Skew in, ms", "first trade of the sell leg after that of the buy leg, at entry; below it the orders' arrival"),
    ("Skew out, ms", "the same at exit"),
    ("Spread, USDT", "P&L had every leg traded at its decision price"),
    ("−\u00a0Slip. in", "slippage of the entry orders against their decision prices, USDT; positive is a cost"),
    ("−\u00a0Slip. out", "slippage of the exit orders against their decision prices, USDT; positive is a cost"),
    ("−\u00a0Hedge", "what hedges and unwinds cost against the decision prices of their legs, USDT"),
    ("−\u00a0Fees", "USDT; fees in base at the fill's price"),
    ("+\u00a0Dust", "base left over by lot steps and fees in base, carried at its entry price, USDT"),
    ("=\u00a0Realised, USDT", "as booked in the ledger; below it in bps of the notional of one leg"),
    ("Exit", "why it was closed"),
)


def lots_table(lines: Sequence[LotLine], totals: Totals) -> Markup:
    rows = [_lot_row(line) for line in lines[:LOTS_SHOWN_MAX]]
    return together(
        table(LOT_HEADINGS, rows, sortable=True, kind="lots", foot=_lot_foot(lines, totals)), _cut_note(len(lines))
    )


def _cut_note(count: int) -> Content:
    if count <= LOTS_SHOWN_MAX:
        return ""
    return element("p", f"The first {LOTS_SHOWN_MAX} of {count} lots; ledger.db has them all.", class_="note")


def _lot_row(line: LotLine) -> list[Cell]:
    lot, costs = line.lot, line.costs
    state = lot.exit_reason if line.closed else f"{lot.state.lower()}: not closed when the replay ended"
    return [
        _lot_name(line),
        Cell(together(lot.buy_venue, element("br"), lot.sell_venue)),
        Cell(time_ms(lot.opened_ns), str(lot.opened_ns), "n", utc_ms(lot.opened_ns)),
        amount(line.held_s, 3),
        Cell(plain(lot.qty), plain(lot.qty), "n"),
        _two_lines(amount(lot.edge_bps, 2, signed=True), decimals(lot.reference_bps, 2, signed=True)),
        _skew(line.entry_skew),
        _skew(line.exit_skew),
        *_cost_cells(costs if line.closed else None),
        _realised(line),
        Cell(state, kind="reason"),
    ]


def _lot_name(line: LotLine) -> Cell:
    name = together(element("b", f"#{line.number}"), element("br"), element("small", line.lot.id))
    return Cell(name, str(line.number))


def _two_lines(above: Cell, below: str) -> Cell:
    """Sorted by what is above."""
    return evolve(above, content=together(above.content, element("br"), element("small", below)))


def _skew(skew: Skew) -> Cell:
    arrival = decimals(skew.arrival_ms, 1, signed=True, absent=NONE)
    title = f"first trades {decimals(skew.trade_ms, 3)} ms, arrivals {decimals(skew.arrival_ms, 3)} ms"
    return _two_lines(amount(skew.trade_ms, 1, signed=True, title=title), arrival)


def _realised(line: LotLine) -> Cell:
    realised = line.lot.realised
    shown = amount(
        realised, 4, signed=True, coloured=True, absent=UNKNOWN if line.closed else NONE,
        title=None if realised is None else f"{plain(realised)} USDT",
    )
    return shown if line.realised_bps is None else _two_lines(
        shown, f"{decimals(line.realised_bps, 2, signed=True)} bps"
    )


def _cost_cells(costs: LotCosts | None) -> list[Cell]:
    if costs is None:
        return [amount(None, 4)] * 6
    return [
        amount(costs.gross, 4, signed=True), amount(costs.slippage_entry, 4), amount(costs.slippage_exit, 4),
        amount(costs.hedging, 4), amount(costs.fees, 4), amount(costs.dust, 4),
    ]


def _lot_foot(lines: Sequence[LotLine], totals: Totals) -> list[Cell]:
    costs = [line.costs for line in lines if line.closed and line.filled]
    known = [each for each in costs if each is not None]
    total = added_up(known) if known and len(known) == len(costs) else None
    return [
        Cell(f"{totals.closed} closed"), *[Cell("")] * 4, amount(totals.edge_bps, 2, signed=True, title="average"),
        *[Cell("")] * 2, *_cost_cells(total),
        _two_lines(amount(totals.realised, 4, signed=True, coloured=True),
                   decimals(totals.realised_bps, 2, signed=True, absent=NONE) + " bps"),
        Cell("sums; bps: averages", kind="reason"),
    ]


LEG_HEADINGS = (
    ("Lot", "number in this report"),
    ("Leg", "what it was for, and where"),
    ("Side", ""),
    ("Decision price", "the average price of walking the book for the full size when it was decided"),
    ("Average fill", "by quantity, hedges included"),
    ("Qty", "base, filled"),
    ("Fills", "number of executions"),
    ("Hedged", "base, of the quantity: by a hedge or an unwind after the order missed"),
    ("Slippage, bps", "average fill against decision price; positive is a cost"),
    ("Slippage, USDT", "positive is a cost"),
)


def legs_table(lines: Sequence[LotLine]) -> Markup:
    rows = [_leg_row(line, leg) for line in lines[:LOTS_SHOWN_MAX] for leg in line.legs]
    return table(LEG_HEADINGS, rows, sortable=True, kind="legs")


def _leg_row(line: LotLine, leg: LegCost) -> list[Cell]:
    order = f"{line.number}.{0 if leg.phase is Phase.ENTRY else 1}"
    return [
        Cell(element("b", f"#{line.number}"), str(line.number), title=line.lot.id),
        Cell(f"{leg.phase}, {leg.venue}", f"{leg.phase} {leg.venue} {order}"),
        Cell(leg.side.lower(), kind=f"side {leg.side.lower()}"),
        amount(leg.decision_price, 3),
        amount(leg.fill_price, 3, absent="no fill"),
        Cell(plain(leg.qty), plain(leg.qty), "n"),
        amount(Decimal(leg.fills), 0),
        Cell(plain(leg.hedged_qty) if leg.hedged_qty else NONE, plain(leg.hedged_qty), "n"),
        amount(leg.slippage_bps, 2, signed=True),
        amount(leg.slippage, 4, signed=True),
    ]


def ages_table(head: ReportHead, recorded: Recorded) -> Markup:
    rows = []
    for venue in head.venues:
        ages = ages_ms(recorded, venue)
        shares = [amount(share_of(ages, share), 1, absent=UNKNOWN) for share in (0.5, 0.95, 0.99, 1.0)]
        rows.append([Cell(venue), *shares, amount(Decimal(len(recorded.samples) - len(ages)), 0)])
    headings = [("Venue", ""), ("p50, ms", ""), ("p95, ms", ""), ("p99, ms", ""), ("max, ms", ""),
                ("samples without a book", "the book was not synchronised")]
    return table(headings, rows, sortable=False)


def reasons_table(shares: Sequence[ReasonShare]) -> Markup:
    shown = [(each.reason, each.share, each.seconds, each.samples) for each in shares[:REASONS_SHOWN_MAX]]
    if rest := shares[REASONS_SHOWN_MAX:]:
        shown.append((
            f"{len(rest)} other reasons", sum(each.share for each in rest), sum(each.seconds for each in rest),
            sum(each.samples for each in rest),
        ))
    rows = [
        [
            Cell(reason, kind="reason"),
            Cell(element("div", "", class_="bar", style=f"width:{max(share * 100, 0.3):.2f}%"), plain(share), "bars"),
            amount(share * 100, 1), Cell(span_text(seconds), plain(seconds), "n"), amount(Decimal(count), 0),
        ]
        for reason, share, seconds, count in shown
    ]
    headings = [("Why nothing was sent", ""), ("", ""), ("share, %", ""), ("time", ""), ("samples", "")]
    return table(headings, rows, sortable=False, kind="reasons")


def guards_table(recorded: Recorded) -> Markup:
    trips: dict[str, list[tuple[int, str]]] = {}
    for event in recorded.events:
        if event.kind == GUARD_TRIP:
            trips.setdefault(event.source, []).append((event.ts_ns, event.message))
    if not trips:
        return element("p", "No guard tripped.", class_="empty")
    rows = [
        [Cell(guard), amount(Decimal(len(of_guard)), 0), Cell(utc_ms(of_guard[0][0]), kind="n"),
         Cell(of_guard[-1][1], kind="reason")]
        for guard, of_guard in sorted(trips.items())
    ]
    return table([("Guard", ""), ("trips", ""), ("first, UTC", ""), ("last reason", "")], rows, sortable=False)


def modes_table(recorded: Recorded) -> Markup:
    rows = [
        [Cell(time_ms(recorded.wall_ns(row.t)), kind="n"), amount(row.t, 3), Cell(row.mode or "cause added"),
         Cell(row.source), Cell(row.reason or NONE, kind="reason")]
        for row in recorded.modes
    ]
    headings = [("UTC", ""), ("s since the start", "virtual time"), ("mode", ""), ("by", ""), ("reason", "")]
    return table(headings, rows, sortable=False)


def modes_bar(recorded: Recorded) -> Markup:
    """One strip from start to end, a piece a mode, as wide as it lasted."""
    changes = [(row.t, row.mode) for row in recorded.modes if row.mode]
    if not changes:
        return together()
    end = max([t for t, _ in changes] + [sample.t for sample in recorded.samples[-1:]], default=0.0)
    pieces = []
    for (begin, mode), (until, _) in zip(changes, [*changes, (end, "")][1:], strict=True):
        lasted = f"{mode} for {span_text(until - begin)}"
        pieces.append(element("span", lasted, class_=f"mode {mode.lower()}", style=f"flex-grow:{until - begin:.3f}",
                              title=lasted))
    return element("div", pieces, class_="modes")


def skew_text(totals: Totals) -> str:
    if not totals.skews_ms:
        return NONE
    return " / ".join(decimals(share_of(totals.skews_ms, share), 1) for share in (0.5, 0.95))


def slippage_share(totals: Totals) -> str:
    """Of the spread at decision prices."""
    if totals.slippage is None or not totals.gross:
        return NONE
    return f"{decimals(totals.slippage / totals.gross * 100, 0)} % of the spread at decision prices"


