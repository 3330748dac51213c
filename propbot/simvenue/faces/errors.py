"""Binance's refusals: status, code and text as the venues send them (venues/error_bodies, binance-spot-api-docs).

`ApiError` is what a face raises to answer with an error. What both markets say alike stands here; where they differ
(filters, balances), each face has its own table of `Refusal`s.
"""

from __future__ import annotations

from collections.abc import Mapping

from propbot.simvenue.records import Refusal, Refused

UNKNOWN_503_TEXT = "Unknown error, please check your request or try again later."


class ApiError(Exception):
    """An error answer. `code` None: a plain text body, as the venue's front sends it."""

    def __init__(self, status: int, code: int | None, msg: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(f"{status} {code}: {msg}")
        self.status = status
        self.code = code
        self.msg = msg
        self.retry_after_s = retry_after_s


RefusalTable = Mapping[Refusal, tuple[int, str]]
"""Refusal → (code, text)."""


def error_of(refused: Refused, table: RefusalTable) -> ApiError:
    code, msg = table[refused.refusal]
    return ApiError(400, code, msg)


def missing(name: str) -> ApiError:
    return ApiError(400, -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def illegal(name: str, legal: str) -> ApiError:
    return ApiError(400, -1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'.")


def bad_value(name: str) -> ApiError:
    return ApiError(400, -1130, f"Data sent for parameter '{name}' is not valid.")


def not_required(name: str) -> ApiError:
    return ApiError(400, -1106, f"Parameter '{name}' sent when not required.")


def bad_key_format() -> ApiError:
    return ApiError(401, -2014, "API-key format invalid.")


def bad_key() -> ApiError:
    return ApiError(401, -2015, "Invalid API-key, IP, or permissions for action, request ip: 127.0.0.1")


def bad_signature() -> ApiError:
    return ApiError(400, -1022, "Signature for this request is not valid.")


def bad_window() -> ApiError:
    return ApiError(400, -1131, "recvWindow must be less than 60000.")


def outside_window(*, ahead: bool) -> ApiError:
    if ahead:
        return ApiError(400, -1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    return ApiError(400, -1021, "Timestamp for this request is outside of the recvWindow.")


def bad_symbol() -> ApiError:
    return ApiError(400, -1121, "Invalid symbol.")


def too_many_requests(limit: int, retry_after_s: int) -> ApiError:
    msg = (
        f"Too many requests; current limit of IP(127.0.0.1) is {limit} requests per minute. "
        "Please use the websocket for live updates to avoid polling the API."
    )
    return ApiError(429, -1003, msg, retry_after_s=retry_after_s)


def banned(until_ms: int, retry_after_s: int) -> ApiError:
    msg = (
        f"Way too many requests; IP(127.0.0.1) banned until {until_ms}. "
        "Please use the websocket for live updates to avoid bans."
    )
    return ApiError(418, -1003, msg, retry_after_s=retry_after_s)


def too_many_orders(limit: int, interval: str, retry_after_s: int) -> ApiError:
    msg = f"Too many new orders; current limit is {limit} orders per {interval}."
    return ApiError(429, -1015, msg, retry_after_s=retry_after_s)


def unknown_503() -> ApiError:
    return ApiError(503, None, UNKNOWN_503_TEXT)
