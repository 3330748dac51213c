"""The WebSocket API: REST's calls as messages over one connection, signed over their sorted, raw parameters.

A method of the table is served by the very function that serves its REST route. Requests run side by side, so that an
order in flight does not hold up a ping.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
import trio
from attrs import frozen

from propbot.simvenue.faces.auth import check_signature, check_window, signed_ws_payload
from propbot.simvenue.faces.client import WsClient
from propbot.simvenue.faces.core import Core
from propbot.simvenue.faces.errors import ApiError, RefusalTable, error_of
from propbot.simvenue.faces.params import Params
from propbot.simvenue.faces.rest import Call, Security, Weight
from propbot.simvenue.records import Refused
from propbot.simvenue.server import CutConnection


class _Asked(msgspec.Struct):
    id: int | str | None
    method: str
    params: dict[str, msgspec.Raw] = msgspec.field(default_factory=dict)


@frozen
class WsMethod:
    weight: Weight
    security: Security
    serve: Callable[[Call], Awaitable[Any]]
    orders: bool = False


class WsApiSession:
    """One connection. `methods` is the venue's table, with what belongs to this session bound already."""

    def __init__(
        self,
        core: Core,
        client: WsClient,
        methods: Mapping[str, WsMethod],
        refusals: RefusalTable,
        *,
        rate_limits: bool,
    ) -> None:
        self._core = core
        self._client = client
        self._methods = methods
        self._refusals = refusals
        self._rate_limits = rate_limits

    async def run(self, *, ping_every_s: float, pong_within_s: float) -> None:
        async with trio.open_nursery() as nursery:

            def on_message(text: str) -> None:
                nursery.start_soon(self._answer, text, self._core.trace.mono_ns())

            await self._client.run(on_message, ping_every_s=ping_every_s, pong_within_s=pong_within_s)
            nursery.cancel_scope.cancel()

    async def _answer(self, text: str, received_ns: int) -> None:
        request_id: int | str | None = None
        method: WsMethod | None = None
        try:
            asked = _decode(text)
            request_id = asked.id
            method = self._methods.get(asked.method)
            reply: dict[str, Any] = {"status": 200, "result": await self._serve(asked, method, received_ns)}
        except CutConnection:
            self._client.cut()
            return
        except ApiError as error:
            reply = _error_reply(error)
        except Refused as refused:
            reply = _error_reply(error_of(refused, self._refusals))
        if self._rate_limits:
            reply["rateLimits"] = self._core.counters.rows(orders=method is not None and method.orders)
        self._client.offer(msgspec.json.encode({"id": request_id, **reply}).decode())

    async def _serve(self, asked: _Asked, method: WsMethod | None, received_ns: int) -> Any:
        core = self._core
        core.trace.row(core.venue, "in", "request", mono_ns=received_ns, method="WS", path=asked.method[:80])
        limited = core.faults.strike(core.venue, "rate_limit_429")
        if limited is not None:
            core.counters.limit_for(limited["retry_after"])
        if method is None:
            core.counters.charge(1)
            raise ApiError(400, -1000, "An unknown error occurred while processing the request: no such method.")
        values = {name: _plain(raw) for name, raw in asked.params.items()}
        params = Params(values)
        core.counters.charge(method.weight if isinstance(method.weight, int) else method.weight(params))
        if method.security is not Security.NONE:
            pair = core.keys.check(params.get("apiKey"))
            if method.security is Security.SIGNED:
                check_signature(pair, signed_ws_payload(values), params.get("signature"), encoding="utf-8")
                check_window(params, core.wall_ms())
        return await method.serve(Call(params, received_ns, lambda: check_window(params, core.wall_ms())))


def _decode(text: str) -> _Asked:
    try:
        return msgspec.json.decode(text, type=_Asked)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise ApiError(400, -1135, "Invalid JSON request.") from None


def _plain(raw: msgspec.Raw) -> str:
    """The value as its sender signed it: a string's content, anything else as it stands in the JSON."""
    text = bytes(raw).decode("utf-8")
    return msgspec.json.decode(text, type=str) if text.startswith('"') else text


def _error_reply(error: ApiError) -> dict[str, Any]:
    # There is no plain text over this road; what is unknown is -1006 here.
    body: dict[str, Any] = {"code": -1006 if error.code is None else error.code, "msg": error.msg}
    if error.retry_after_s is not None:
        body["data"] = {"retryAfter": error.retry_after_s}
    return {"status": error.status, "error": body}
