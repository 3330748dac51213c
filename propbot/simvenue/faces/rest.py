"""The REST side of a face: routes, security, weights, and errors as bodies. The venues' own files fill the table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from typing import Any

import msgspec
from attrs import frozen

from propbot.simvenue.faces.auth import check_signature, check_window, signed_rest_payload
from propbot.simvenue.faces.core import Core
from propbot.simvenue.faces.errors import ApiError, RefusalTable, error_of
from propbot.simvenue.faces.mangle import rewritten
from propbot.simvenue.faces.params import Params
from propbot.simvenue.records import Refused
from propbot.simvenue.server import CutConnection, Request, Response


class Security(Enum):
    NONE = "none"
    KEY = "key"
    SIGNED = "signed"


@frozen
class Call:
    """One request that has passed security."""

    params: Params
    received_ns: int
    recheck: Callable[[], None]
    """The time window once more, for what is delayed before the matching engine."""


Serve = Callable[[Call], Awaitable[Any]]
"""Answers with what becomes the JSON body, or raises ApiError or Refused."""
Weight = int | Callable[[Params], int]


@frozen
class Route:
    method: str
    path: str
    weight: Weight
    security: Security
    serve: Serve
    orders: bool = False
    """Whether the answer carries the order counts."""


class RestFace:
    """Answers the requests of one venue."""

    def __init__(
        self, core: Core, routes: Sequence[Route], refusals: RefusalTable, *, no_such_path: ApiError
    ) -> None:
        self._core = core
        self._routes = {(route.method, route.path): route for route in routes}
        self._refusals = refusals
        self._no_such_path = no_such_path

    async def answer(self, request: Request) -> Response:
        core = self._core
        down = core.faults.lasting(core.venue, "refuse_connections", occasion=False)
        if down is not None and down["cut"]:
            raise CutConnection("refuse_connections")
        core.trace.row(
            core.venue, "in", "request", mono_ns=request.received_ns, method=request.method, path=request.path
        )
        method = "GET" if request.method == "HEAD" else request.method
        route = self._routes.get((method, request.path))
        try:
            body = msgspec.json.encode(await self._serve(request, route))
            if core.faults.armed(core.venue):
                body = rewritten(core, "rest", body.decode(), request.path).encode()
            response = Response(200, body)
        except ApiError as error:
            response = _error_response(error)
        except Refused as refused:
            response = _error_response(error_of(refused, self._refusals))
        crowd, drip = (core.faults.lasting(core.venue, name) for name in ("inflated_weight", "drip_body"))
        core.trace.row(
            core.venue, "out", "reply", method=request.method, path=request.path, status=response.status,
            retry_after=dict(response.headers).get("Retry-After"), used_share=core.counters.used_share(),
        )
        headers = core.counters.headers(
            orders=route is not None and route.orders, others_share=0.0 if crowd is None else crowd["share"]
        )
        return Response(
            response.status, response.body, (*response.headers, *headers), response.content_type,
            drip_s=0.0 if drip is None else drip["every_s"],
        )

    async def _serve(self, request: Request, route: Route | None) -> Any:
        core = self._core
        limited = core.faults.strike(core.venue, "rate_limit_429")
        if limited is not None:
            core.counters.limit_for(limited["retry_after"])
        banned = core.faults.strike(core.venue, "ban_418")
        if banned is not None:
            core.counters.ban_for(banned["retry_after"])
        if route is None:
            core.counters.charge(1)
            raise self._no_such_path
        odd = None if route.orders else core.faults.strike(core.venue, "odd_answer")
        if odd is not None:
            raise ApiError(odd["status"], odd["code"], odd["msg"])
        params = Params.of(request.query, request.body)
        core.counters.charge(route.weight if isinstance(route.weight, int) else route.weight(params))
        return await route.serve(self._admit(request, route, params))

    def _admit(self, request: Request, route: Route, params: Params) -> Call:
        def recheck() -> None:
            """The latency is the way here: an order that comes to the engine after its window is too late, or a bot
            that gave it up would meet its fill."""
            check_window(params, self._core.wall_ms())

        if route.security is not Security.NONE:
            pair = self._core.keys.check(request.headers.get("x-mbx-apikey"))
            if route.security is Security.SIGNED:
                now_ms = self._core.wall_ms()
                payload = signed_rest_payload(request.query, request.body)
                check_signature(pair, payload, params.get("signature"), encoding="latin-1")
                check_window(params, now_ms)
        return Call(params, request.received_ns, recheck)


def _error_response(error: ApiError) -> Response:
    headers = () if error.retry_after_s is None else (("Retry-After", str(error.retry_after_s)),)
    if error.code is None:
        return Response(error.status, error.msg.encode(), headers, "text/plain;charset=UTF-8")
    return Response(error.status, msgspec.json.encode({"code": error.code, "msg": error.msg}), headers)
