"""Each error body lands on the branch that tells the caller what to do; nothing unknown counts as a definite no."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from propbot.domain import errors
from propbot.domain.dialect import HttpReply
from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM, VenueId
from propbot.venues.binance.errors import CallKind, error_of

SHARED = Path(__file__).resolve().parents[3].parent / "shared"

RETRY, UNKNOWN = errors.VenueRetry, errors.OutcomeUnknown
ACCESS, BUG = errors.AccessRefused, errors.ProtocolViolation
REFUSED, NOT_FOUND = errors.VenueRefused, errors.OrderNotFound

BOTH = {
    (400, -1021): errors.ClockRefused,
    (400, -1022): ACCESS,
    (401, -2014): ACCESS,
    (401, -2015): ACCESS,
    (429, -1003): errors.RateLimited,
    (418, -1003): errors.Banned,
    (429, -1015): errors.RateLimited,
    (503, -1007): UNKNOWN,
    (503, -1006): UNKNOWN,
    (400, -1111): BUG,
    (400, -1121): BUG,
    (400, -1102): BUG,
    (400, -2011): NOT_FOUND,
    (400, -2013): NOT_FOUND,
}
EXPECTED: dict[VenueId, dict[tuple[int, int | str | None], type[errors.VenueError]]] = {
    BINANCE_UM: {
        **BOTH,
        (503, "Unknown error, please check your request or try again later."): UNKNOWN,
        (503, "Service Unavailable."): RETRY,
        (503, -1008): RETRY,
        (400, -2019): REFUSED,
        (400, -2022): REFUSED,
        (400, -2021): REFUSED,
        (400, -4014): REFUSED,
        (400, -4023): REFUSED,
        (400, -4003): REFUSED,
        (400, -4164): REFUSED,
        (400, -4116): errors.AlreadyThere,
        (400, -4046): REFUSED,
        (400, -4059): REFUSED,
        (400, -4061): BUG,
        (400, -4067): REFUSED,
        (400, -4068): REFUSED,
        (400, -4120): BUG,
        (400, -5021): REFUSED,
        (400, -5022): REFUSED,
        (400, -1125): REFUSED,
    },
    BINANCE_SPOT: {
        **BOTH,
        (400, -2010): REFUSED,
        (400, -1013): REFUSED,
        (410, None): BUG,
    },
}
"""(HTTP status, code or text) → branch, for an order call. The texts that matter are in tests of their own."""


def order_error(venue: VenueId, status: int, body: Any, headers: dict[str, str] | None = None) -> errors.VenueError:
    raw = body.encode() if isinstance(body, str) else msgspec.json.encode(body)
    return error_of(venue, HttpReply(status, headers or {}, raw), CallKind.ORDER)


def question_error(venue: VenueId, status: int, body: Any) -> errors.VenueError:
    raw = body.encode() if isinstance(body, str) else msgspec.json.encode(body)
    return error_of(venue, HttpReply(status, {}, raw), CallKind.QUESTION)


@pytest.mark.parametrize(
    ("venue", "status", "key", "branch"),
    [(venue, *key, branch) for venue, table in EXPECTED.items() for key, branch in table.items()],
)
def test_each_known_refusal_of_an_order_takes_its_branch(
    venue: VenueId, status: int, key: int | str | None, branch: type[errors.VenueError]
) -> None:
    error = order_error(venue, status, key if isinstance(key, str) else {"code": key, "msg": "said the venue"})
    assert type(error) is branch
    assert error.venue == venue
    assert error.http_status == status
    assert error.code == (None if isinstance(key, str) else key)


def shared_bodies() -> list[Any]:
    found = []
    for venue in (BINANCE_UM, BINANCE_SPOT):
        path = SHARED / f"venues/error_bodies/{venue}.json"
        rows = msgspec.json.decode(path.read_bytes()) if path.exists() else []
        found += [pytest.param(venue, row, id=f"{venue}-{i}") for i, row in enumerate(rows)]
    return found or [pytest.param(None, None, marks=pytest.mark.skip("the shared error bodies are not here"))]


@pytest.mark.parametrize(("venue", "row"), shared_bodies())
def test_every_shared_error_body_takes_the_branch_of_the_table(venue: VenueId, row: dict[str, Any]) -> None:
    body = row["body"]
    key = body if isinstance(body, str) else body["code"]
    error = order_error(venue, row["http"], body)
    if key == -2010 and body["msg"].startswith("Duplicate"):
        assert type(error) is errors.AlreadyThere
    else:
        assert type(error) is EXPECTED[venue][row["http"], key]
    assert (body if isinstance(body, str) else body["msg"])[:200] in str(error)


@pytest.mark.parametrize(
    ("text", "branch"),
    [
        ("Account has insufficient balance for requested action.", REFUSED),
        ("Order would immediately match and take.", REFUSED),
        ("Duplicate order sent.", errors.AlreadyThere),
    ],
)
def test_a_spot_rejection_is_told_apart_by_its_text(text: str, branch: type[errors.VenueError]) -> None:
    assert type(order_error(BINANCE_SPOT, 400, {"code": -2010, "msg": text})) is branch


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, ""), (502, "<html>Bad Gateway</html>"), (504, "gateway timeout"), (408, "Request Timeout"),
        (503, {"code": -2010, "msg": "a code that a 5xx makes worthless"}), (400, {"code": -98765, "msg": "new"}),
        (302, ""), (400, "<html>"), (400, {"code": -1000, "msg": ""}),
        (400, {"code": -1001, "msg": ""}), (400, '{"code": "text"}'), (599, {"code": None, "msg": "?"}),
    ],
)
def test_what_proves_nothing_leaves_an_order_s_outcome_unknown(status: int, body: Any) -> None:
    assert type(order_error(BINANCE_UM, status, body)) is UNKNOWN


def test_spot_promises_nothing_of_a_503() -> None:
    assert type(order_error(BINANCE_SPOT, 503, "Service Unavailable.")) is UNKNOWN


@pytest.mark.parametrize(
    ("status", "body", "branch"),
    [
        (503, {"code": -1007, "msg": ""}, RETRY), (500, "", RETRY), (408, "", RETRY),
        (400, {"code": -98765, "msg": "new"}, REFUSED), (400, "<html>", BUG), (302, "", BUG), (404, "", BUG),
        (403, "<html>WAF</html>", ACCESS), (451, {"code": 0, "msg": "restricted location"}, ACCESS), (401, "", ACCESS),
    ],
)
def test_a_question_may_be_asked_again(status: int, body: Any, branch: type[errors.VenueError]) -> None:
    assert type(question_error(BINANCE_UM, status, body)) is branch


@pytest.mark.parametrize(
    ("headers", "pause_s"),
    [({"retry-after": "7"}, 7.0), ({}, 60.0), ({"retry-after": "soon"}, 60.0), ({"retry-after": "-1"}, 60.0)],
)
def test_a_rate_limit_pauses_as_long_as_the_venue_says_or_one_window(headers: dict[str, str], pause_s: float) -> None:
    error = order_error(BINANCE_UM, 429, {"code": -1003, "msg": "Too many requests"}, headers)
    assert isinstance(error, errors.RateLimited)
    assert not isinstance(error, errors.Banned)
    assert error.retry_after_s == pause_s


@pytest.mark.parametrize(
    ("headers", "pause_s"),
    [
        ({"date": "Thu, 08 Aug 2024 23:50:00 GMT"}, 600.0),
        ({"date": "Thu, 08 Aug 2024 23:50:00 GMT", "retry-after": "900"}, 900.0),
        ({"date": "Thu, 08 Aug 2024 23:50:00 GMT", "retry-after": "5"}, 600.0),
        ({"retry-after": "5"}, 5.0),
        ({}, 120.0),
        ({"date": "no date"}, 120.0),
        ({"date": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"}, 120.0),
        ({"date": "Fri, 09 Aug 2024 01:00:00 GMT"}, 0.0),
    ],
)
def test_a_ban_lasts_until_the_moment_that_the_venue_names(headers: dict[str, str], pause_s: float) -> None:
    text = "Way too many requests; IP(127.0.0.1) banned until 1723161600000. Please use the websocket"
    error = order_error(BINANCE_UM, 418, {"code": -1003, "msg": text}, headers)
    assert isinstance(error, errors.Banned)
    assert error.retry_after_s == pause_s


def test_a_page_of_html_is_cut_to_one_short_line() -> None:
    error = order_error(BINANCE_UM, 502, "<html>\n" + "x" * 5000)
    assert len(str(error)) < 300
    assert "\n" not in str(error)
