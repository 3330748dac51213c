"""What every plot is made of: plain data in plotly's own words; report.js gives it the page's colours.

Built without plotly's classes, which would only be turned into the same data. A test has plotly check every figure.
Floats are for eyes: amounts have been summed before. Text that came from files is escaped, since plotly reads markup.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Any, TypeAlias

from attrs import frozen

from propbot.replay.report.reading import Recorded, Sample

Figure = dict[str, Any]
Trace = dict[str, Any]
Points: TypeAlias = tuple[list[Any], list[Any]]

BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, GREY = (
    "#0f7ac0", "#e08e00", "#009e73", "#d55e00", "#c2679a", "#56b4e9", "#808890"
)
"""Okabe and Ito's colours, which colour-blind people tell apart, a little shifted to be read on black and on white."""
POINTS_MAX = 4000


@frozen
class TimeAxis:
    """UTC where the wall clock is known, else seconds since the start."""

    recorded: Recorded

    def at(self, t: float) -> float:
        wall_ns = self.recorded.wall_ns(t)
        return round(t, 4) if wall_ns is None else wall_ns / 1e6

    def layout(self, **more: Any) -> Figure:
        if self.recorded.origin_ns is None:
            return {"title": {"text": "market time since the start, s"}, **more}
        return {"type": "date", "hoverformat": "%H:%M:%S.%L", "title": {"text": "UTC"}, **more}


def series(samples: Sequence[Sample], axis: TimeAxis, value: Callable[[Sample], float | None]) -> Points:
    points = thinned([(sample.t, value(sample)) for sample in samples])
    return [axis.at(t) for t, _ in points], [None if y is None else round(y, 4) for _, y in points]


def thinned(
    points: Sequence[tuple[float, float | None]], points_max: int = POINTS_MAX
) -> Sequence[tuple[float, float | None]]:
    """All of them, or of each of `points_max` / 2 equal stretches the lowest and the highest, so that no peak is lost.

    A stretch without a known value leaves one unknown: a gap.
    """
    if len(points) <= points_max:
        return points
    size = math.ceil(len(points) * 2 / points_max)
    kept: list[tuple[float, float | None]] = []
    for begin in range(0, len(points), size):
        stretch = points[begin : begin + size]
        known = [(y, t) for t, y in stretch if y is not None]
        if not known:
            kept.append((stretch[0][0], None))
            continue
        ends = sorted({min(known)[::-1], max(known)[::-1]})
        kept += ends
    return kept


def curve(
    points: Points, name: str, colour: str, *, yaxis: str = "y", dash: str = "solid", width: float = 1.5, **more: Any
) -> Trace:
    shape = more.pop("shape", "linear")
    return {
        "type": "scatter", "mode": "lines", "name": name, "x": points[0], "y": points[1], "yaxis": yaxis,
        "line": {"color": colour, "width": width, "dash": dash, "shape": shape},
        "hovertemplate": f"%{{x}}<br>%{{y}}<extra>{escape(name)}</extra>", **more,
    }


def threshold(y: float, yref: str) -> Figure:
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": yref, "y0": y, "y1": y,
            "line": {"color": VERMILION, "width": 1.3, "dash": "dash"}}


def value_range(values: Sequence[float | None]) -> list[float] | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    pad = max((max(known) - min(known)) * 0.06, 0.1)
    return [round(min(known) - pad, 3), round(max(known) + pad, 3)]


def figure(data: list[Trace], layout: Figure) -> Figure:
    common = {
        "margin": {"l": 62, "r": 14, "t": 12, "b": 46},
        "legend": {"orientation": "h", "x": 0, "y": 1.01, "yanchor": "bottom", "font": {"size": 11},
                   "traceorder": "normal"},
        "hoverlabel": {"align": "left"},
    }
    return {"data": data, "layout": {**common, **layout}}


def markers(points: Sequence[tuple[float, float, str]], name: str, marker: Figure, yaxis: str = "y") -> Trace:
    return {
        "type": "scatter", "mode": "markers", "name": name, "yaxis": yaxis, "marker": marker,
        "x": [x for x, _, _ in points], "y": [round(y, 4) for _, y, _ in points], "text": [text for *_, text in points],
        "hovertemplate": "%{x}<br>%{text}<extra></extra>",
    }
