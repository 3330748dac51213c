"""Frames of the spot WebSocket API that carries the private stream → events.

The subscription's answer says that the stream is ready; events come wrapped as {"subscriptionId", "event"}.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import UNSET, Raw, UnsetType, field

from propbot.domain.dialect import HttpReply
from propbot.domain.errors import ProtocolViolation, VenueError
from propbot.domain.instruments import VenueId
from propbot.domain.orders import AccountChanged, PrivateEnded, PrivateEvent, PrivateReady
from propbot.venues.binance.errors import CallKind, error_of
from propbot.venues.binance.orders import OrderEvent, event_report
from propbot.venues.binance.wire import decode


class _Penalty(msgspec.Struct, rename="camel"):
    server_time: int | None = None
    retry_after: int | None = None
    """The moment, ms since 1970, at which the ban or the window ends."""


class _Error(msgspec.Struct):
    code: int | None = None
    msg: str = ""
    data: _Penalty | None = None


class _Head(msgspec.Struct):
    wrapped: Raw | UnsetType = field(name="event", default=UNSET)
    status: int | None = None
    error: _Error | None = None
    event: str | None = field(name="e", default=None)


_head_decoder = msgspec.json.Decoder(_Head)
_order_decoder = msgspec.json.Decoder(OrderEvent)

_ENDS = frozenset({"eventStreamTerminated", "serverShutdown"})
_ACCOUNT = frozenset({"outboundAccountPosition", "balanceUpdate", "externalLockUpdate"})


def read_private(frame: str | bytes, venue: VenueId) -> Sequence[PrivateEvent]:
    """A refused subscription raises the error's own branch: keys (AccessRefused), clock (ClockRefused), …"""
    head = decode(_head_decoder, frame, venue, "private frame")
    if isinstance(head.wrapped, Raw):
        return _read_event(decode(_head_decoder, head.wrapped, venue, "private event").event, head.wrapped, venue)
    if head.status is not None:
        if head.status == 200:
            return (PrivateReady(),)
        raise _refusal(head.status, head.error or _Error(), venue)
    return _read_event(head.event, frame, venue)


def _read_event(event: str | None, payload: str | bytes | Raw, venue: VenueId) -> Sequence[PrivateEvent]:
    if event == "executionReport":
        return (event_report(decode(_order_decoder, payload, venue, event), venue),)
    if event in _ACCOUNT:
        return (AccountChanged(event),)
    if event in _ENDS:
        return (PrivateEnded(event),)
    if event is None:
        raise ProtocolViolation(venue, "private frame: neither event nor answer")
    return ()


def _refusal(status: int, error: _Error, venue: VenueId) -> VenueError:
    """As the same refusal over REST, so that there is one table of codes."""
    headers = {}
    if error.data is not None and error.data.server_time is not None and error.data.retry_after is not None:
        pause_ms = max(error.data.retry_after - error.data.server_time, 0)
        headers["retry-after"] = str(-(-pause_ms // 1000))
    body = msgspec.json.encode({"code": error.code, "msg": error.msg})
    return error_of(venue, HttpReply(status, headers, body), CallKind.QUESTION)
