"""How answers leave: JSON made here and nowhere else, and every error in the one shape.

    {"error": {"code", "message", "fields"?}}

Also those that the framework raises (404, 405, 413, 500) and those of the server below it (400, 431, 501, 505): an
operator's tool never has to parse HTML, or to guess at an empty answer.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from itertools import islice
from typing import Any

import trio
from quart import Quart, Response
from werkzeug.exceptions import HTTPException

from propbot.domain.errors import LedgerError

BODY_KIB_MAX = 64
BODY_BYTES_MAX = BODY_KIB_MAX * 1024

log = logging.getLogger(__name__)

# made once: `json.dumps` makes a new one for each call that is not plain
_encode = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode
CODES = {
    400: "bad_request",
    401: "unauthorised",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    409: "conflict",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid",
    429: "too_many_requests",
    431: "headers_too_large",
    500: "internal",
    501: "not_implemented",
    503: "unavailable",
    505: "version_not_supported",
}
_MESSAGES = {
    404: "there is nothing at this path; /docs lists what there is",
    405: "this path does not take this method; /docs lists what it takes",
    408: "the body did not come within ten seconds",
    413: f"the body is larger than {BODY_KIB_MAX} KiB",
    500: "the service failed to answer this request; its log has the error",
}

FIELDS_MAX = 20
"""How many fields an error names; an operator mends those first."""


class ApiError(Exception):
    """A refusal, raised anywhere in a handler. `extra` goes beside `error` in the body."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        fields: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.fields = _first(fields or {})
        self.extra = dict(extra or {})
        self.headers = dict(headers or {})


def said_of(fields: Mapping[str, str]) -> str:
    """The fields in one line, as many as an error names; what is wrong with several of them is said once."""
    names: dict[str, list[str]] = {}
    for name, why in _first(fields).items():
        names.setdefault(why, []).append(name)
    said = [f"{', '.join(those)}: {why}" for why, those in names.items()]
    more = len(fields) - FIELDS_MAX
    return "; ".join([*said, f"and {more} more"] if more > 0 else said)


def _first(fields: Mapping[str, str]) -> dict[str, str]:
    return dict(islice(fields.items(), FIELDS_MAX))


def json_reply(content: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`allow_nan=False`: a NaN that got this far is a bug, not an answer."""
    return Response(json_text(content), status, headers=dict(headers or {}), content_type="application/json")


def error_reply(error: ApiError) -> Response:
    return json_reply(_error(error), error.status, error.headers)


def error_content(error: ApiError) -> bytes:
    """For the gate and the server, which answer what never comes to the framework."""
    return json_text(_error(error)).encode()


def _error(error: ApiError) -> dict[str, Any]:
    body: dict[str, Any] = {"code": CODES.get(error.status, "error"), "message": error.message}
    if error.fields:
        body["fields"] = error.fields
    return {"error": body, **error.extra}


def json_text(content: Mapping[str, Any]) -> str:
    """On one line. ValueError for a NaN."""
    return _encode(content)


def install_error_replies(app: Quart) -> None:
    async def on_api_error(error: ApiError) -> Response:
        return error_reply(error)

    async def on_http_error(error: HTTPException) -> Response:
        status = error.code or 500
        message = _MESSAGES.get(status) or error.description or "refused"
        allowed = error.get_response().headers.get("Allow") if status == 405 else None
        return error_reply(ApiError(status, message, headers={"Allow": allowed} if allowed else None))

    async def on_ledger_error(error: LedgerError) -> Response:
        log.warning("ledger did not answer a request: %s", error)
        return error_reply(ApiError(503, f"the ledger does not answer: {error}"))

    async def on_too_slow(_: trio.TooSlowError) -> Response:
        return error_reply(ApiError(503, "the ledger did not answer in time; see /healthz and component ledger"))

    app.register_error_handler(ApiError, on_api_error)
    app.register_error_handler(HTTPException, on_http_error)
    app.register_error_handler(LedgerError, on_ledger_error)
    app.register_error_handler(trio.TooSlowError, on_too_slow)
