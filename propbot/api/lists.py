"""The lists: what the ledger has, newest first, page by page. Each read has a deadline: a hung disk is a 503."""

from __future__ import annotations

import trio
from quart import Blueprint, Response, request
from quart_schema import document_querystring, document_response

from propbot.api import models, present, rows
from propbot.api.bodies import EventArgs, PageArgs
from propbot.api.describe import describe
from propbot.api.query import read_events, read_page
from propbot.api.replies import json_reply
from propbot.api.samples import INCIDENT, POSITION, TS
from propbot.status.desk import Desk

READ_S_MAX = 5.0
ORDER = {
    "ts": TS,
    "updated_at": "2026-11-23T03:12:09.130Z",
    "venue": "binance-um",
    "symbol": "BTCUSDT",
    "order_id": "8389765",
    "client_order_id": "pb01JD9ZK3W5A",
    "intent_id": "01JD9ZK3W5",
    "lot_id": "01JD9ZK3W5",
    "purpose": "open",
    "side": "BUY",
    "qty": "0.016",
    "limit_price": "61234.5",
    "time_in_force": "IOC",
    "reduce_only": False,
    "state": "FILLED",
    "filled_qty": "0.016",
    "reason": "",
    "simulated": False,
}
FILL = {
    "ts": TS,
    "venue": "binance-um",
    "symbol": "BTCUSDT",
    "order_id": "8389765",
    "client_order_id": "pb01JD9ZK3W5A",
    "trade_id": "4402113",
    "side": "BUY",
    "qty": "0.016",
    "price": "61234.5",
    "fee": "0.16656",
    "fee_asset": "USDT",
    "liquidity": "taker",
    "lot_id": "01JD9ZK3W5",
    "purpose": "open",
    "simulated": False,
}
LOT = {
    "id": "01JD9ZK3W5",
    "pair": "BTCUSDT",
    "state": "CLOSED",
    "opened_at": TS,
    "closed_at": "2026-11-23T03:12:31.480Z",
    "qty": "0.016",
    "legs": [
        {"venue": "binance-um", "side": "BUY", "qty": "0.016"},
        {"venue": "binance-spot", "side": "SELL", "qty": "0.016"},
    ],
    "edge_bps": 3.25,
    "realised_usdt": "0.311",
    "exit_reason": "EXIT_EDGE: gap 0.84 bps",
    "simulated": False,
}
EVENT = {
    "id": 42,
    "ts": TS,
    "level": "WARN",
    "kind": "feed",
    "venue": "binance-um",
    "symbol": "BTCUSDT",
    "source": "",
    "message": "book stale",
    "details": {"age_s": "1.6"},
}


def list_routes(desk: Desk) -> Blueprint:
    routes = Blueprint("lists", __name__)

    @routes.get("/api/ui/orders")
    @describe(answers={200: {"items": [ORDER], "next_cursor": "41"}}, refuses=(503,))
    @document_querystring(PageArgs)
    @document_response(models.Orders)
    async def orders() -> Response:
        """Every order, newest first.

        Client order ids are ours, order ids the venue's own. `state` UNKNOWN: the venue is still being asked."""
        page = read_page(request.args)
        with trio.fail_after(READ_S_MAX):
            found, next_cursor = await desk.orders(page.limit, page.cursor)
        return json_reply(rows.page(map(rows.order, found), next_cursor))

    @routes.get("/api/ui/fills")
    @describe(answers={200: {"items": [FILL], "next_cursor": "41"}}, refuses=(503,))
    @document_querystring(PageArgs)
    @document_response(models.Fills)
    async def fills() -> Response:
        """Every fill, newest first, each exactly once."""
        page = read_page(request.args)
        with trio.fail_after(READ_S_MAX):
            found, next_cursor = await desk.fills(page.limit, page.cursor)
        return json_reply(rows.page(map(rows.fill, found), next_cursor))

    @routes.get("/api/ui/lots")
    @describe(answers={200: {"items": [LOT], "next_cursor": "41"}}, refuses=(503,))
    @document_querystring(PageArgs)
    @document_response(models.Lots)
    async def lots() -> Response:
        """Every lot, newest first: the pair of legs that was opened together, and what it earned."""
        page = read_page(request.args)
        with trio.fail_after(READ_S_MAX):
            found, next_cursor = await desk.lots(page.limit, page.cursor)
        return json_reply(rows.page(map(rows.lot, found), next_cursor))

    @routes.get("/api/ui/events")
    @describe(answers={200: {"items": [EVENT], "next_cursor": "41"}}, refuses=(503,))
    @document_querystring(EventArgs)
    @document_response(models.Events)
    async def events() -> Response:
        """What happened, newest first, filtered.

        Every filter that is given has to match."""
        page, wanted = read_events(request.args)
        with trio.fail_after(READ_S_MAX):
            found, next_cursor = await desk.events(page.limit, page.cursor, wanted)
        return json_reply(rows.page(map(rows.event, found), next_cursor))

    @routes.get("/api/ui/incidents")
    @describe(answers={200: {"items": [INCIDENT], "next_cursor": None}}, refuses=(503,))
    @document_querystring(PageArgs)
    @document_response(models.IncidentPage)
    async def incidents() -> Response:
        """Every incident that there ever was, newest first, with its timeline."""
        page = read_page(request.args)
        with trio.fail_after(READ_S_MAX):
            found, next_cursor = await desk.incidents_page(page.limit, page.cursor)
        return json_reply(rows.page(map(present.incident, found), next_cursor))

    @routes.get("/api/ui/positions")
    @describe(answers={200: {"items": [POSITION], "next_cursor": None}})
    @document_querystring(PageArgs)
    @document_response(models.Positions)
    async def positions() -> Response:
        """The positions as the ledger has them, with the venue's mark."""
        page = read_page(request.args)
        shown = [present.position(item) for item in desk.state_view().risk.positions]
        return json_reply(rows.slice_page(shown, page.limit, page.cursor))

    return routes
