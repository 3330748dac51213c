"""The market figure: spread and reference, net edges with the threshold, and the lots, over one time axis."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from attrs import frozen

from propbot.replay.report.costs import Phase
from propbot.replay.report.head import ReportHead
from propbot.replay.report.lots import LotLine
from propbot.replay.report.numbers import decimals, plain, time_ms
from propbot.replay.report.plots import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    VERMILION,
    Figure,
    Points,
    TimeAxis,
    Trace,
    curve,
    figure,
    markers,
    series,
    thinned,
    threshold,
    value_range,
)
from propbot.replay.report.reading import SAMPLE_S, Recorded, Sample

BAND = "rgba(128,136,144,0.35)"


def market_figure(head: ReportHead, recorded: Recorded, lines: Sequence[LotLine]) -> Figure:
    """Spread and reference above, net edges below them, lots at the foot, over one time axis."""
    axis = TimeAxis(recorded)
    first, second = head.venues[:2]
    spread = series(recorded.samples, axis, lambda sample: spread_bps(sample, first, second))
    reference = series(recorded.samples, axis, lambda sample: sample.reference_bps if head.moving_reference else 0.0)
    trades = [_trades(head, line, axis) for line in lines if line.filled]
    band = _band(recorded, axis)
    data = [
        *band,
        curve(spread, f"spread: {second} over {first}", GREY, width=1.2, shape="hv"),
        curve(reference, "reference", PURPLE, dash="dash"),
        *_exit_levels(head, reference),
        _stops(head, recorded, lines, axis),
        _joins(trades),
        *_trade_markers(head, trades),
        *_edges(head, recorded, axis, lines),
        curve(series(recorded.samples, axis, lambda s: s.lots_open), "lots open", GREEN, yaxis="y3", shape="hv",
              fill="tozeroy"),
    ]
    at_fills = [bps for trade in trades for _, bps, _ in trade.points]
    seen = [*spread[1], *reference[1], *at_fills, *(y for each in band for y in each["y"])]
    layout = {
        "height": 760,
        "hovermode": "closest",
        "xaxis": axis.layout(anchor="y3"),
        "yaxis": {"domain": [0.56, 1], "title": {"text": "spread, bps"}, "range": value_range(seen)},
        "yaxis2": {"domain": [0.15, 0.52], "title": {"text": "net edge, bps"}},
        "yaxis3": {"domain": [0, 0.1], "title": {"text": "lots"}, "rangemode": "tozero", "nticks": 3},
        "shapes": [threshold(float(head.min_spread_bps), "y2")],
        "annotations": [{
            "xref": "paper", "x": 0.005, "xanchor": "left", "yref": "y2", "y": float(head.min_spread_bps),
            "yanchor": "bottom", "showarrow": False, "font": {"size": 11, "color": VERMILION},
            "text": f"MIN_SPREAD_BPS {plain(head.min_spread_bps)}",
        }],
    }
    return figure(data, layout)


def spread_bps(sample: Sample, first: str, second: str) -> float | None:
    """Second mid over first mid, in bps of their mean; positive: buying on the first and selling on the second."""
    a, b = sample.mids.get(first), sample.mids.get(second)
    return None if a is None or b is None else (b - a) / (a + b) * 20_000


def _band(recorded: Recorded, axis: TimeAxis) -> list[Trace]:
    """The spread by all frames: what happened between the samples."""
    ranges = {sample.t: recorded.spreads.bps.get(int(sample.t / SAMPLE_S)) for sample in recorded.samples
              if None not in sample.mids.values()}
    lows = thinned([(t, None if each is None else each[0]) for t, each in ranges.items()])
    highs = thinned([(t, None if each is None else each[1]) for t, each in ranges.items()])
    edge = {"type": "scatter", "mode": "lines", "hoverinfo": "skip", "line": {"width": 0, "shape": "hv"}}
    shown = {"name": "spread: range of all frames", "fill": "tonexty", "fillcolor": BAND}
    return [
        {**edge, **more, "x": [axis.at(t) for t, _ in points], "y": [y and round(y, 3) for _, y in points]}
        for points, more in ((lows, {"name": "low", "showlegend": False}), (highs, shown))
    ]


@frozen
class _Trades:
    """A lot's opening and, where it has been closed, its closing: time, spread at the fills' prices, hover text."""

    sells_spread: bool
    points: tuple[tuple[float, float, str], ...]


def _trades(head: ReportHead, line: LotLine, axis: TimeAxis) -> _Trades:
    first, second = head.venues[:2]
    lot = line.lot
    points = []
    for phase, t in ((Phase.ENTRY, line.opened_s), (Phase.EXIT, line.closed_s)):
        a, b = line.fill_price(phase, first), line.fill_price(phase, second)
        if t is None or a is None or b is None:
            continue
        bps = float((b - a) / (a + b) * 20_000)
        text = [f"<b>lot #{line.number} {'opened' if phase is Phase.ENTRY else 'closed'}</b>",
                f"{escape(lot.id)}", f"buy {escape(lot.buy_venue)}, sell {escape(lot.sell_venue)}",
                f"spread at the fills {decimals(bps, 2, signed=True)} bps",
                f"net edge decided on {decimals(lot.edge_bps, 2, signed=True)} bps"]
        if lot.realised is not None:
            text.append(f"realised {decimals(lot.realised, 4, signed=True)} USDT "
                        f"({decimals(line.realised_bps, 2, signed=True)} bps)")
        if phase is Phase.EXIT:
            text.append(escape(lot.exit_reason))
        points.append((axis.at(t), bps, "<br>".join(text)))
    return _Trades(lot.buy_venue == first, tuple(points))


def _trade_markers(head: ReportHead, trades: Sequence[_Trades]) -> list[Trace]:
    first, second = head.venues[:2]
    found = []
    for sells_spread, colour, symbol, way in (
        (True, BLUE, "triangle-down", f"buy {first}, sell {second}"),
        (False, ORANGE, "triangle-up", f"buy {second}, sell {first}"),
    ):
        for which, name in ((0, f"opened: {way}"), (1, f"closed: bought {way.split(', ')[0][4:]}")):
            points = [t.points[which] for t in trades if t.sells_spread is sells_spread and len(t.points) > which]
            marker = {"color": colour, "size": 10, "symbol": symbol if which == 0 else "x-thin",
                      "line": {"width": 1 if which == 0 else 2, "color": colour}}
            found.append(markers(points, name, marker))
    return [trace for trace in found if trace["x"]]


def _joins(trades: Sequence[_Trades]) -> Trace:
    """A thin line from each opening to its closing."""
    pairs = [trade.points for trade in trades if len(trade.points) == 2]
    points = [each for opened, closed in pairs for each in (opened[:2], closed[:2], (None, None))]
    return {
        "type": "scatter", "mode": "lines", "hoverinfo": "skip", "showlegend": False, "name": "held",
        "x": [x for x, _ in points], "y": [y for _, y in points], "line": {"color": GREEN, "width": 1, "dash": "dot"},
    }


def _exit_levels(head: ReportHead, reference: Points) -> list[Trace]:
    """Where the gap is EXIT_EDGE_BPS: for zero that is the reference itself."""
    edge = float(head.exit_edge_bps)
    if not edge:
        return []
    first, second = head.venues[:2]
    return [
        curve((reference[0], [None if y is None else y + sign * edge for y in reference[1]]),
              f"exit level of buy {buy}", colour, dash="dot")
        for sign, buy, colour in ((1, first, BLUE), (-1, second, ORANGE))
    ]


def _stops(head: ReportHead, recorded: Recorded, lines: Sequence[LotLine], axis: TimeAxis) -> Trace:
    """Where each lot would have been stopped, by the reference at its opening; mostly far off the first view."""
    x: list[float | None] = []
    y: list[float | None] = []
    for line in lines:
        if not line.filled:
            continue
        end_s = recorded.samples[-1].t if line.closed_s is None and recorded.samples else line.closed_s
        lot = line.lot
        sign = 1 if lot.buy_venue == head.venues[0] else -1
        level = round(sign * float(lot.reference_bps + lot.entry_bps + head.stop_bps), 3)
        x += [axis.at(line.opened_s), axis.at(line.opened_s if end_s is None else end_s), None]
        y += [level, level, None]
    name = f"stop: gap {plain(head.stop_bps)} bps above entry (zoom out)"
    return {**curve((x, y), name, VERMILION), "connectgaps": False}


def _edges(head: ReportHead, recorded: Recorded, axis: TimeAxis, lines: Sequence[LotLine]) -> list[Trace]:
    first, second = head.venues[:2]
    ways = ((first, second, BLUE, "triangle-down"), (second, first, ORANGE, "triangle-up"))
    traces = []
    for buy, sell, colour, _ in ways:
        way = f"{buy}>{sell}"
        points = series(recorded.samples, axis, lambda sample, way=way: sample.edges_bps.get(way))  # type: ignore[misc]
        traces.append(curve(points, f"net edge: buy {buy}, sell {sell}", colour, yaxis="y2", width=1.2, shape="hv"))
    for buy, _, colour, symbol in ways:
        decided = [
            (axis.at(line.opened_s), float(line.lot.edge_bps), f"lot #{line.number} decided on "
             f"{decimals(line.lot.edge_bps, 2, signed=True)} bps at {time_ms(line.lot.opened_ns)}")
            for line in lines if line.filled and line.lot.buy_venue == buy
        ]
        marker = {"color": colour, "size": 8, "symbol": symbol, "line": {"width": 1, "color": colour}}
        traces.append({**markers(decided, "decided", marker, "y2"), "showlegend": False})
    return traces
