"""The series behind charts: profit and loss, and the spread, as they were now and then. Memory only, newest first.

A chart asks for a step and turns the items round; to follow, it takes `spread` of GET /api/ui/stream, whose data is
such an item.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from quart import Blueprint, Response, request
from quart_schema import document_querystring, document_response

from propbot.api import models, present, rows
from propbot.api.bodies import SeriesArgs
from propbot.api.describe import describe
from propbot.api.present import Json
from propbot.api.query import read_series
from propbot.api.replies import json_reply
from propbot.api.samples import TS
from propbot.domain.clock import iso_utc
from propbot.status.desk import Desk
from propbot.status.series import Point, Series

T = TypeVar("T")
_PNL_NOW = {
    "equity": "223456.7", "realised": "1.5", "unrealised": "0.072", "fees": "0.4", "funding": "0", "day": "1.5",
}
PNL = {
    "ts": TS, "now": _PNL_NOW, "step_s": 5, "steps_s": [5, 60], "next_cursor": "359",
    "items": [{"ts": "2026-11-23T03:12:05.001Z", **_PNL_NOW, "unrealised": None}],
}
_SPREAD = {
    "ts": "2026-11-23T03:12:09.001Z",
    "pair": "BTCUSDT",
    "mids": {"binance-um": "61230.15", "binance-spot": "61251.5"},
    "spread_bps": -3.49,
    "reference_bps": -4.1,
    "net_edge_bps": {"binance-um>binance-spot": -8.2, "binance-spot>binance-um": None},
    "why_not": "edge -8.2 bps is below 1 bps",
}
SPREADS = {"ts": TS, "now": _SPREAD, "step_s": 1, "steps_s": [1, 10, 60], "items": [_SPREAD], "next_cursor": None}


def series_routes(desk: Desk) -> Blueprint:
    routes = Blueprint("series", __name__)

    def reply(series: Series[T], show: Callable[[Point[T]], Json], now: Json | None) -> Response:
        asked = read_series(request.args, series.steps_s)
        points, before_seq = series.page(
            asked.step_s, asked.page.limit, None if asked.page.cursor is None else int(asked.page.cursor),
            asked.since_ns, asked.until_ns,
        )
        return json_reply({
            "ts": iso_utc(desk.now_ns()), "now": now, "step_s": asked.step_s, "steps_s": list(series.steps_s),
            **rows.page(map(show, points), None if before_seq is None else str(before_seq)),
        })

    @routes.get("/api/ui/pnl")
    @describe(answers={200: PNL})
    @document_querystring(SeriesArgs)
    @document_response(models.PnlPoints)
    async def pnl() -> Response:
        """Profit and loss, as it is now and as it was, newest first.

        Since the start: every 5 seconds (half an hour) or every minute (a day). What each lot realised is in
        /api/ui/lots, for ever. null: it was not known."""
        return reply(desk.pnl_points, present.pnl_point, present.pnl(desk.state_view().pnl))

    @routes.get("/api/ui/spreads")
    @describe(answers={200: SPREADS})
    @document_querystring(SeriesArgs)
    @document_response(models.SpreadPoints)
    async def spreads() -> Response:
        """Mids, spread, its reference and the net edge of both directions, newest first.

        Since the start: every second (ten minutes), every 10 seconds (three hours) or every minute (a day). null: it
        was not known."""
        newest = desk.spreads.newest
        return reply(desk.spreads, present.spread_point, None if newest is None else present.spread_point(newest))

    return routes
