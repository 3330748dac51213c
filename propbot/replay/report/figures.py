"""The other figures: equity, where the P&L came from, book ages, slippage and skew."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import accumulate

from propbot.replay.report.costs import Phase, added_up
from propbot.replay.report.head import ReportHead
from propbot.replay.report.lots import LotLine
from propbot.replay.report.numbers import decimals
from propbot.replay.report.plots import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    Figure,
    TimeAxis,
    Trace,
    curve,
    figure,
    series,
    threshold,
)
from propbot.replay.report.reading import Recorded, Sample

VENUE_COLOURS = (BLUE, ORANGE, GREEN, PURPLE)
AGE_MS_LEAST = 0.1
"""Ages are shown on a logarithmic axis; what is younger is drawn here."""
BINS = 40
SHARES = 400
"""Points of a distribution's curve."""


def equity_figure(recorded: Recorded) -> Figure:
    axis = TimeAxis(recorded)
    begin = next((amount for sample in recorded.samples if (amount := _number(sample.equity_usdt)) is not None), 0.0)

    def pnl(sample: Sample) -> float | None:
        realised, unrealised = _number(sample.realised_usdt), _number(sample.unrealised_usdt)
        return None if realised is None or unrealised is None else realised + unrealised

    def account(sample: Sample) -> float | None:
        equity = _number(sample.equity_usdt)
        return None if equity is None else equity - begin

    parts: tuple[tuple[Callable[[Sample], float | None], str, str, float], ...] = (
        (pnl, "equity change by trading", GREEN, 2.4),
        (lambda sample: _number(sample.realised_usdt), "realised, net", BLUE, 1.5),
        (lambda sample: _number(sample.unrealised_usdt), "unrealised", ORANGE, 1.2),
        (lambda sample: _number(sample.fees_usdt), "fees paid", VERMILION, 1.2),
    )
    data = [
        curve(series(recorded.samples, axis, part), name, colour, width=width, shape="hv")
        for part, name, colour, width in parts
    ]
    accounts = curve(series(recorded.samples, axis, account), "account, baseline included", GREY)
    data.append({**accounts, "visible": "legendonly"})
    return figure(data, {
        "height": 380, "hovermode": "x unified", "xaxis": axis.layout(),
        "yaxis": {"title": {"text": "USDT"}},
    })


def costs_figure(lines: Sequence[LotLine]) -> Figure:
    """What the closed lots were worth at the prices decided on, and what became of it."""
    total = added_up([line.costs for line in lines if line.closed and line.costs is not None])
    steps = (
        ("spread", total.gross), ("slippage in", -total.slippage_entry), ("slippage out", -total.slippage_exit),
        ("hedging", -total.hedging), ("fees", -total.fees), ("dust", total.dust),
    )
    amounts = [float(amount) for _, amount in steps]
    bars = {
        "type": "waterfall", "orientation": "h", "x": [*amounts, 0.0], "y": [*(name for name, _ in steps), "realised"],
        "measure": ["absolute", *["relative"] * (len(steps) - 1), "total"],
        "text": [decimals(amount, 2, signed=True) for amount in [*amounts, sum(amounts)]], "textposition": "outside",
        "increasing": {"marker": {"color": GREEN}}, "decreasing": {"marker": {"color": VERMILION}},
        "totals": {"marker": {"color": BLUE}}, "connector": {"line": {"color": GREY, "width": 1, "dash": "dot"}},
        "hovertemplate": "%{y}: %{text} USDT<extra></extra>", "cliponaxis": False,
    }
    reached = [0.0, *accumulate(amounts)]
    room = (max(reached) - min(reached)) * 0.14 or 1.0  # for the amounts, which stand beside their bars
    on_axis = [min(reached) - (room if min(reached) < 0 else 0.0), max(reached) + room]
    return figure([bars], {
        "height": 380, "showlegend": False, "yaxis": {"autorange": "reversed"},
        "xaxis": {"title": {"text": "USDT"}, "range": on_axis},
        "margin": {"l": 62, "r": 40, "t": 34, "b": 46},
    })


def ages_ms(recorded: Recorded, venue: str) -> list[float]:
    """Ascending; moments without a synchronised book left out."""
    ages = (sample.ages_s.get(venue) for sample in recorded.samples)
    return sorted(age * 1000 for age in ages if age is not None)


def ages_figure(head: ReportHead, recorded: Recorded) -> Figure:
    axis = TimeAxis(recorded)

    def age_of(venue: str) -> Callable[[Sample], float | None]:
        def age_ms(sample: Sample) -> float | None:
            age_s = sample.ages_s.get(venue)
            return None if age_s is None else max(age_s * 1000, AGE_MS_LEAST)

        return age_ms

    data = [
        curve(series(recorded.samples, axis, age_of(venue)), venue, colour, width=1)
        for venue, colour in zip(head.venues, VENUE_COLOURS, strict=False)
    ]
    return figure(data, {
        "height": 330, "hovermode": "x unified", "xaxis": axis.layout(),
        "yaxis": {"title": {"text": "age, ms"}, **_LOGARITHMIC},
        "shapes": [threshold(head.book_age_ms_max, "y")],
    })


def ages_distribution_figure(head: ReportHead, recorded: Recorded) -> Figure:
    """The share of samples in which a book was no older than that."""
    data = []
    for venue, colour in zip(head.venues, VENUE_COLOURS, strict=False):
        ages = ages_ms(recorded, venue)
        steps = range(1, min(SHARES, len(ages)) + 1)
        shares = [step / len(steps) for step in steps]
        at = [round(max(ages[round(share * len(ages)) - 1], AGE_MS_LEAST), 3) for share in shares]
        of_venue = curve((at, [round(share * 100, 2) for share in shares]), venue, colour)
        data.append({**of_venue, "hovertemplate": f"%{{y}} % up to %{{x}} ms<extra>{venue}</extra>"})
    limit = {**threshold(0, "paper"), "xref": "x", "x0": head.book_age_ms_max, "x1": head.book_age_ms_max, "y1": 1}
    return figure(data, {
        "height": 330, "hovermode": "closest", "xaxis": {"title": {"text": "age, ms"}, **_LOGARITHMIC},
        "yaxis": {"title": {"text": "share of samples, %"}, "range": [0, 102]}, "shapes": [limit],
    })


def slippage_figure(lines: Sequence[LotLine]) -> Figure:
    """Of each leg, its hedges included."""
    return _histogram(
        [
            ([leg.slippage_bps for line in lines for leg in line.legs if leg.phase is phase], f"at {phase}", colour)
            for phase, colour in ((Phase.ENTRY, BLUE), (Phase.EXIT, ORANGE))
        ],
        "slippage, bps (right of zero is a cost)", "legs", 2.0,
    )


def skew_figure(lines: Sequence[LotLine]) -> Figure:
    return _histogram(
        [
            ([line.entry_skew.trade_ms for line in lines], "entries", BLUE),
            ([line.exit_skew.trade_ms for line in lines], "exits", SKY),
        ],
        "sell leg's first trade after the buy leg's, ms", "lots", 10.0,
    )


def _histogram(
    groups: Sequence[tuple[Sequence[Decimal | float | None], str, str]], what: str, counted: str, span_min: float
) -> Figure:
    known = [[round(float(value), 4) for value in values if value is not None] for values, _, _ in groups]
    every = [value for values in known for value in values]
    low, high = min(every, default=0.0), max(every, default=0.0)
    size = max(high - low, span_min) / BINS
    first = (math.floor(low / size + 0.5) - 0.5) * size  # so that zero is the middle of a bin
    data: list[Trace] = [
        {
            "type": "histogram", "name": name, "x": values, "marker": {"color": colour},
            "xbins": {"start": first, "end": high + size, "size": size},
            "hovertemplate": f"%{{x}}: %{{y}} {counted}<extra>{name}</extra>",
        }
        for values, (_, name, colour) in zip(known, groups, strict=True) if values  # plotly complains of none
    ]
    middle, half = (low + high) / 2, max(high - low, span_min) / 2 + size
    return figure(data, {
        "height": 300, "barmode": "stack", "bargap": 0.04, "yaxis": {"title": {"text": counted}},
        "xaxis": {"title": {"text": what}, "range": [middle - half, middle + half]},
    })


_LOGARITHMIC: Figure = {"type": "log", "dtick": 1, "exponentformat": "none"}


def _number(amount: str | None) -> float | None:
    return None if amount is None else float(amount)
