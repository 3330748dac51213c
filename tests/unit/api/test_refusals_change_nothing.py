"""I20: each 401, 403, 415, 422 and 429 leaves everything as it was, but for a valid operator's HOLD. Requests are drawn
over every route that changes anything, each role, right and wrong tokens, legal and illegal bodies."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from propbot.api.app import make_api
from propbot.api.auth import Auth
from propbot.control.operators import Operator, Operators, Role, digest_token
from propbot.status.board import Board
from propbot.status.incidents import Incidents
from tests.unit.api.conftest import TOKEN, FakeDesk, FixedClock

PEOPLE = {role: f"{role}-" * 8 for role in Role}
TOKENS = [None, "wrong" * 8, TOKEN[:-1], *PEOPLE.values()]
CHANGES = [
    ("PATCH", "/api/ui/control"),
    ("POST", "/api/ui/approvals/k1/approve"),
    ("POST", "/api/ui/approvals/k1/reject"),
    ("POST", "/api/ui/incidents/1/ack"),
    ("POST", "/api/ui/baseline"),
    ("POST", "/api/ui/secret"),
]
NEEDED = {"approve": Role.APPROVER, "reject": Role.APPROVER, "secret": Role.ADMIN}
"""Last part of the path → the role; operator where it is not named."""
VALUES = st.sampled_from(["HOLD", "RUN", "hold", True, None, -1, 0.5, 1000, "x" * 201, [], {}, "binance-um", "BTC"])
NAMES = st.sampled_from([
    "mode", "reason", "safe_mode", "order_notional_usdt", "loop_venues", "venue", "asset", "note", "x",
    "OKX_PERP_API_KEY",
])
ODD = ['{"mode":"HOLD","mode":"HOLD"}', '{"mode":"HOLD","x":NaN}', "[]", "{", '{"mode":"HOLD"', "\ud800"]
BODIES = st.one_of(
    st.dictionaries(NAMES, VALUES, max_size=4).map(json.dumps),
    st.just({"mode": "HOLD"}).map(json.dumps),
    st.sampled_from(ODD),
)


def build() -> tuple[FakeDesk, Any]:
    clock = FixedClock()
    incidents = Incidents(clock)
    incidents.open("P1", "stale", "feed_stale", "binance-um stale", {})
    desk = FakeDesk(Board(clock), incidents)
    listed = [Operator(str(role), role, digest_token(token.encode())) for role, token in PEOPLE.items()]
    return desk, make_api(desk, auth=Auth(Operators.of(TOKEN, listed)))


DESK, APP = build()


def state() -> Any:
    """All that a request could have changed; what is only written down about a refusal is not in it."""
    done = [each for each in DESK.heard if "was refused" not in each]
    incidents = [(each.id, each.acknowledged_by, each.note) for each in DESK.incidents.all()]
    return DESK.now_mode, DESK.record, DESK.notional, DESK.safe, DESK.dry, done, incidents


def ask(method: str, path: str, token: str | None, body: str, content_type: str, origin: str | None) -> httpx.Response:
    headers = {"Content-Type": content_type}
    headers |= {} if token is None else {"Authorization": f"Bearer {token}"}
    headers |= {} if origin is None else {"Origin": origin}

    async def answer() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(APP), base_url="http://propbot") as client:
            content = body.encode("utf-8", "surrogatepass")
            return await client.request(method, path, headers=headers, content=content)

    return trio.run(answer)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.sampled_from(CHANGES), st.sampled_from(TOKENS), BODIES,
    st.sampled_from(["application/json", "application/json", "text/plain"]),
    st.sampled_from([None, None, "http://propbot", "http://evil.example", "null"]),
)
def test_a_refusal_changes_nothing_but_for_an_operators_hold(
    change: tuple[str, str], token: str | None, body: str, content_type: str, origin: str | None
) -> None:
    DESK.now_mode, DESK.record = type(DESK.now_mode).RUN, None
    DESK.heard.clear()
    before = state()
    answer = ask(*change, token, body, content_type, origin)
    assert answer.status_code < 500
    if answer.status_code < 400:
        return
    entered = answer.json().get("hold") == "entered"
    if entered:
        assert token in (PEOPLE[Role.OPERATOR], PEOPLE[Role.APPROVER], PEOPLE[Role.ADMIN])
        assert change == CHANGES[0]
        assert '"HOLD"' in body
        assert DESK.heard == ["hold"]
    else:
        assert state() == before, (answer.status_code, answer.text)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_each_role_may_what_the_design_says(method: str, path: str, role: Role) -> None:
    needed = NEEDED.get(path.rpartition("/")[2], Role.OPERATOR)
    body = '{"venue":"binance-spot"}' if "baseline" in path else "{}"  # a baseline that lacks its reason is a 422
    status = ask(method, path, PEOPLE[role], body, "application/json", None).status_code
    assert (status == 403) is not role.covers(needed)


def test_every_route_that_changes_anything_is_among_those_that_are_asked() -> None:
    """A new one is added to CHANGES."""
    paths = APP.url_map.bind("")
    asked = {paths.match(path, method=method)[0] for method, path in CHANGES}
    changing = {
        rule.endpoint for rule in APP.url_map.iter_rules() if set(rule.methods or ()) - {"GET", "HEAD", "OPTIONS"}
    }
    assert changing == asked
