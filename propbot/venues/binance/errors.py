"""Non-2xx answers → the branch of `domain.errors` that tells the caller what to do.

Decided by status and code; texts only where Binance gives one code to two meanings (-2010, 503). A question that
was not answered may be asked again (VenueRetry); an order that was not answered clearly is OutcomeUnknown. A code
that is not in these tables proves nothing, so on an order call it is OutcomeUnknown too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum

import msgspec

from propbot.domain.dialect import HttpReply
from propbot.domain.errors import (
    AccessRefused,
    AlreadyThere,
    Banned,
    ClockRefused,
    OrderNotFound,
    OutcomeUnknown,
    ProtocolViolation,
    RateLimited,
    VenueError,
    VenueRefused,
    VenueRetry,
)
from propbot.domain.instruments import BINANCE_UM, VenueId


class CallKind(StrEnum):
    ORDER = "order"
    """Place, cancel, or the query for one order: it may have changed, or have to tell of, an order."""
    QUESTION = "question"
    """Changes nothing; asking again is harmless."""


_RATE = frozenset({-1003, -1015})
_UNKNOWN = frozenset({-1000, -1001, -1006, -1007})
_ACCESS = frozenset({-1002, -1022, -1109, -2008, -2014, -2015, -2017})
_NOT_FOUND = frozenset({-2011, -2013})
_OUR_BUG = frozenset(
    {-1014, -1020, -1023, *range(-1108, -1099), -1110, -1111, *range(-1121, -1113), -1127, -1128, -1130, -1131, -1134}
    | {-1135, -1139, -1145, -1151, -4015, -4061, -4120}
)
_REFUSED = frozenset(
    # filters, balances, margin, and "no need to change" (-4046, -4059): checked before anything is executed
    {-1010, -1013, -1112, -1125, -2010, -2016, *range(-2028, -2017), *range(-4014, -3999), -4016, -4023, -4024, -4025}
    | {-4026, -4027, -4028, -4029, -4030, -4044, -4046, -4047, -4048, -4050, -4051, -4055, -4059, -4067, -4068, -4087}
    | {-4088, -4104, -4118, -4131, -4140, -4141, -4142, -4164, -4183, -4192, -4202, -4203, -4205, -4206, -4208, -4400}
    | {-4401, -5021, -5022, *range(-5028, -5023), -5037, -5038, -5039, -5040, -5041}
)

_RATE_LIMIT_PAUSE_S = 60.0
"""429 without Retry-After: the length of the weight window; all that counted against us has left it by then."""
_BAN_PAUSE_S = 120.0
"""418 that names no end: the shortest ban (2 min … 3 d)."""
_BUSY_PAUSE_S = 1.0
_PAUSE_S_MAX = 7 * 86_400.0
_BANNED_UNTIL = re.compile(r"banned until (\d{13})\b")
_TEXT_LENGTH_MAX = 200


class _Body(msgspec.Struct):
    code: int | None = None
    msg: str = ""


_body_decoder = msgspec.json.Decoder(_Body)


def error_of(venue: VenueId, reply: HttpReply, kind: CallKind) -> VenueError:
    """The error that `reply`, which has no 2xx status, stands for."""
    code, text = _code_and_text(reply)
    message = f"HTTP {reply.status}: {text}" if text else f"HTTP {reply.status}"
    status = reply.status
    if status == 418:
        return Banned(venue, message, retry_after_s=_ban_pause_s(reply, text), code=code, http_status=status)
    if status == 429 or (status < 500 and code in _RATE):
        return RateLimited(venue, message, retry_after_s=_rate_pause_s(reply), code=code, http_status=status)
    branch = _branch_of_code(code, text) if status < 500 else None
    if code == -1008 or _is_definite_503(venue, status, text):
        return _retry(venue, message, code, status, _BUSY_PAUSE_S)
    if branch is None:
        branch = _branch_of_status(status, code, kind)
    if branch is OutcomeUnknown and kind is CallKind.QUESTION:
        return _retry(venue, message, code, status, 0.0)
    return branch(venue, message, code=code, http_status=status)


def _branch_of_code(code: int | None, text: str) -> type[VenueError] | None:
    if code == -1021:
        return ClockRefused
    if code == -4116 or (code == -2010 and text.lower().startswith("duplicate order")):
        return AlreadyThere
    tables: tuple[tuple[frozenset[int], type[VenueError]], ...] = (
        (_UNKNOWN, OutcomeUnknown), (_ACCESS, AccessRefused), (_NOT_FOUND, OrderNotFound),
        (_OUR_BUG, ProtocolViolation), (_REFUSED, VenueRefused),
    )
    return next((branch for table, branch in tables if code in table), None)


def _branch_of_status(status: int, code: int | None, kind: CallKind) -> type[VenueError]:
    """For a status whose body says nothing that we know: a proxy's page, or a code of next year."""
    if status in (401, 403, 451):  # 403: the firewall in front; 451: this country is not served
        return AccessRefused
    if status in (404, 405, 410):  # no such endpoint (410: spot listen keys, removed 2026-02-20)
        return ProtocolViolation
    if status >= 500 or status == 408 or kind is CallKind.ORDER:
        return OutcomeUnknown
    return ProtocolViolation if code is None else VenueRefused


def _is_definite_503(venue: VenueId, status: int, text: str) -> bool:
    """USD-M documents that this text means "not executed"; spot promises nothing of any 5xx."""
    return venue == BINANCE_UM and status == 503 and text.strip().rstrip(".").lower() == "service unavailable"


def _retry(venue: VenueId, message: str, code: int | None, status: int, pause_s: float) -> VenueRetry:
    error = VenueRetry(venue, message, code=code, http_status=status)
    error.retry_after_s = pause_s
    return error


def _code_and_text(reply: HttpReply) -> tuple[int | None, str]:
    try:
        body = _body_decoder.decode(reply.body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        text = " ".join(reply.body.decode("utf-8", "replace").split())
        return None, text.strip('"')[:_TEXT_LENGTH_MAX]
    return body.code, body.msg[:_TEXT_LENGTH_MAX]


def _rate_pause_s(reply: HttpReply) -> float:
    pause_s = _retry_after_s(reply.headers)
    return _RATE_LIMIT_PAUSE_S if pause_s is None else pause_s


def _ban_pause_s(reply: HttpReply, text: str) -> float:
    """The longer of Retry-After and the end named in the text, measured against the reply's own Date header."""
    named = [_retry_after_s(reply.headers), _until_s(reply.headers, text)]
    return max((pause_s for pause_s in named if pause_s is not None), default=_BAN_PAUSE_S)


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    text = headers.get("retry-after", "").strip()
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        return None
    return min(float(text), _PAUSE_S_MAX)


def _until_s(headers: Mapping[str, str], text: str) -> float | None:
    until = _BANNED_UNTIL.search(text)
    if until is None or "date" not in headers:
        return None
    try:
        sent = parsedate_to_datetime(headers["date"])
    except (ValueError, OverflowError):
        return None
    sent = sent if sent.tzinfo is not None else sent.replace(tzinfo=UTC)
    return min(max(int(until[1]) / 1000 - sent.timestamp(), 0.0), _PAUSE_S_MAX)
