"""schemathesis asks every documented route for what the document promises, and for what it forbids; with a token and
without. In memory, through the gate: no 5xx, no status or shape that is not told of, nothing taken that is not allowed.

The event stream has no end while the service lives. It is asked of an application that is being stopped: there it is
answered as ever, and then ends by itself.

CI has a fixed set of cases; `PROPBOT_API_CASES=1000` draws as many new ones for each route.
"""

from __future__ import annotations

import os
from decimal import Decimal
from typing import Any

import httpx
import requests
import schemathesis
import trio
from hypothesis import HealthCheck, settings
from quart_trio import QuartTrio
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from propbot.api.app import make_api
from propbot.api.auth import Auth
from propbot.control.operators import Operators
from propbot.domain.instruments import VenueId
from propbot.status.board import Board
from propbot.status.desk import BaselineMoved, BaselineOutcome, LotsWord
from propbot.status.incidents import Incidents
from tests.unit.api.conftest import TOKEN, FakeDesk, FixedClock

CASES = int(os.environ.get("PROPBOT_API_CASES", "0"))
BASE_URL = "http://propbot"
CHECKS: list[Any] = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance,
    response_schema_conformance, negative_data_rejection,
]


class WillingDesk(FakeDesk):
    """Does whatever it is asked to."""

    async def accept_baseline(
        self, venue: VenueId, asset: str, reason: str, operator: str, lots: LotsWord | None = None
    ) -> BaselineOutcome:
        return BaselineMoved(venue, asset, Decimal(2), Decimal("2.5"))


def make_desk() -> FakeDesk:
    clock = FixedClock()
    incidents = Incidents(clock)
    incidents.open("P1", "stale", "feed_stale", "binance-um stale", {})
    return WillingDesk(Board(clock), incidents)


def make_stopping_api() -> QuartTrio:
    closing = trio.Event()
    closing.set()
    return make_api(DESK, auth=Auth(Operators.of(TOKEN)), closing=closing)


DESK = make_desk()
APP = make_api(DESK, auth=Auth(Operators.of(TOKEN)))
STOPPING_APP = make_stopping_api()
SCHEMA = schemathesis.openapi.from_dict(APP.extensions["QUART_SCHEMA"].openapi_provider.schema())
bounded = settings(
    max_examples=CASES or 15, derandomize=not CASES, deadline=None, database=None,
    suppress_health_check=list(HealthCheck),
)


def ask(case: Any, headers: dict[str, str]) -> httpx.Response:
    """What is drawn is written as `requests` writes it, and asked of the application in memory."""
    written = requests.Request(**case.as_transport_kwargs(base_url=BASE_URL, headers=headers)).prepare()
    body = written.body or b""
    request = httpx.Request(
        written.method, written.url, headers=list(written.headers.items()),
        content=body.encode() if isinstance(body, str) else body,
    )

    app = STOPPING_APP if case.path == "/api/ui/stream" else APP

    async def answer() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False)) as client:
            return await client.send(request)

    return trio.run(answer)


def is_written(case: Any, answer: httpx.Response) -> bool:
    """Whether all that was drawn for the query is in it. A parameter that is an empty list is not: what made the
    request an illegal one never left."""
    return set(case.query or ()) <= set(answer.request.url.params)


@SCHEMA.parametrize()
@bounded
def test_with_a_token_every_answer_is_as_told(case: Any) -> None:
    answer = ask(case, {"Authorization": f"Bearer {TOKEN}"})
    DESK.heard.clear()
    if answer.status_code == 503 and case.path in ("/healthz", "/live-readiness"):
        return  # what it is asked for: it does not live, or is not ready; no error of the server
    left_out = [] if is_written(case, answer) else [negative_data_rejection]
    case.validate_response(answer, checks=CHECKS, excluded_checks=left_out)


@SCHEMA.parametrize()
@bounded
def test_without_a_token_nothing_is_said_and_nothing_done(case: Any) -> None:
    """Some of the cases bring a token that was made up."""
    answer = ask(case, {})
    case.validate_response(answer, checks=[status_code_conformance, response_schema_conformance])
    is_health = (case.method, case.path) == ("GET", "/healthz")  # methods that a path does not take are asked too
    assert answer.status_code in ((200, 503) if is_health else (401, 429))
    assert DESK.heard == []
