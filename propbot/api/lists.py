"""The lists: what the ledger has, newest first, page by page. Each read has a deadline: a hung disk is a 503."""

from __future__ import annotations

import trio
from quart import Blueprint, Response, request
from quart_schema import document_querystring, document_response

from propbot.api import models, present, rows
from propbot.api.bodies import EventArgs, PageArgs
from propbot.api.query import read_events, read_page
from propbot.api.replies import json_reply
from propbot.status.desk import Desk

READ_S_MAX = 5.0


def list_routes(desk: Desk) -> Blueprint:
    routes = Blueprint("lists", __name__)

    @routes.get("/api/ui/orders")
    @document_querystring(PageArgs)
    @document_response(models.Orders)
    async def orders() -> Response:
        page = read_page(request.args)
        with trio.fail_after(READ_S_MAX):
            found, next_cursor = await desk.orders(page.limit, page.cursor)
        return json_reply(rows.page(map(rows.order, found), next_cursor))

    @routes.get("/api/ui/fills")
    @document_querystring(PageArgs)
    @document_response(models.Fills)
    async def fills() -> Response:
        page = read_page(request.args)
        with trio.fail_after(READ_S_MAX):
            found, next_cursor = await desk.fills(page.limit, page.cursor)
        return json_reply(rows.page(map(rows.fill, found), next_cursor))

    @routes.get("/api/ui/lots")
    @document_querystring(PageArgs)
    @document_response(models.Lots)
    async def lots() -> Response:
        page = read_page(request.args)
        with trio.fail_after(READ_S_MAX):
            found, next_cursor = await desk.lots(page.limit, page.cursor)
        return json_reply(rows.page(map(rows.lot, found), next_cursor))

    @routes.get("/api/ui/events")
    @document_querystring(EventArgs)
    @document_response(models.Events)
    async def events() -> Response:
        page, wanted = read_events(request.args)
        with trio.fail_after(READ_S_MAX):
            found, next_cursor = await desk.events(page.limit, page.cursor, wanted)
        return json_reply(rows.page(map(rows.event, found), next_cursor))

    @routes.get("/api/ui/incidents")
    @document_querystring(PageArgs)
    @document_response(models.IncidentPage)
    async def incidents() -> Response:
        """Every incident that there ever was, newest first, with its timeline."""
        page = read_page(request.args)
        with trio.fail_after(READ_S_MAX):
            found, next_cursor = await desk.incidents_page(page.limit, page.cursor)
        return json_reply(rows.page(map(present.incident, found), next_cursor))

    @routes.get("/api/ui/positions")
    @document_querystring(PageArgs)
    @document_response(models.Positions)
    async def positions() -> Response:
        page = read_page(request.args)
        shown = [present.position(item) for item in desk.state_view().risk.positions]
        return json_reply(rows.slice_page(shown, page.limit, page.cursor))

    return routes
