"""Roles on every route, and the routes of the Two-Man Rule."""

from __future__ import annotations

import hashlib

import httpx
import pytest

from propbot.api import models
from propbot.api.app import make_api
from propbot.api.auth import Auth
from propbot.control.operators import Operator, Operators, Role
from propbot.domain.approvals import Approval, ApprovalState
from propbot.status.desk import Conflict, Decided, Forbidden, Unknown

OPEN = {"/", "/healthz", "/docs", "/openapi.json", "/docs/assets/<name>"}
APPROVER_PATHS = {"/api/ui/approvals/<id>/approve", "/api/ui/approvals/<id>/reject"}


def bearer(name):
    return {"Authorization": f"Bearer token of {name}"}


def needed_role(method, path):
    """What DESIGN says, written down apart from the code."""
    if method in ("GET", "HEAD"):
        return 0
    return 3 if path == "/api/ui/secret" else 2 if path in APPROVER_PATHS else 1


@pytest.fixture
def staff():
    digests = {role: hashlib.sha256(f"token of {role}".encode()).digest() for role in Role}
    return Operators.of(None, [Operator(str(role), role, digest) for role, digest in digests.items()])


@pytest.fixture
async def anyone(desk, staff):
    app = make_api(desk, auth=Auth(staff))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://propbot") as client:
        client.app = app
        yield client


def routes_of(app):
    return [
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in sorted(rule.methods - {"OPTIONS", "HEAD"})
    ]


async def test_every_route_without_a_token_is_401_in_every_method(anyone):
    for method, path in routes_of(anyone.app):
        for each in {method, "POST", "PATCH", "DELETE", "PUT", "HEAD"}:
            status = (await anyone.request(each, path)).status_code
            assert status == 401 or (path in OPEN and each in ("GET", "HEAD")), (each, path, status)


async def test_every_route_takes_the_roles_that_the_design_says(anyone):
    routes = routes_of(anyone.app)
    assert len([path for _, path in routes if path not in OPEN]) > 10
    for method, path in routes:
        if path in OPEN:
            continue
        for rank, role in enumerate(Role):
            # an id that nobody gave out: the stream, which would not end by itself, refuses it
            headers = {**bearer(role), "Last-Event-ID": "nobody's"}
            answer = await anyone.request(method, path.replace("<id>", "k1"), headers=headers, json={})
            allowed = rank >= needed_role(method, path)
            assert (answer.status_code != 403) is allowed, (method, path, role, answer.text)
            assert answer.status_code != 401


async def test_a_viewer_changes_nothing_and_the_attempt_is_noted(anyone, desk):
    for method, path in [("PATCH", "/api/ui/control"), ("POST", "/api/ui/nothing"), ("DELETE", "/api/ui/state")]:
        answer = await anyone.request(method, path, headers=bearer("viewer"), json={"mode": "HOLD"})
        assert answer.status_code == 403
        assert "viewer is viewer; this needs the role operator" in answer.json()["error"]["message"]
    assert desk.heard == [
        "viewer was refused PATCH /api/ui/control", "viewer was refused POST /api/ui/nothing",
        "viewer was refused DELETE /api/ui/state",
    ]


@pytest.mark.parametrize("role", ["operator", "approver", "admin"])
async def test_hold_works_for_everybody_else(anyone, desk, role):
    answer = await anyone.patch("/api/ui/control", headers=bearer(role), json={"mode": "HOLD"})
    assert answer.status_code == 200
    assert answer.json()["control"]["hold"]["source"] == f"operator:{role}"


async def test_a_token_taken_off_the_list_stops_working_at_once(anyone, staff):
    assert (await anyone.get("/api/ui/state", headers=bearer("admin"))).status_code == 200
    staff.replace([each for each in staff.listed if each.name != "admin"])
    assert (await anyone.get("/api/ui/state", headers=bearer("admin"))).status_code == 401
    staff.replace([])
    assert (await anyone.get("/api/ui/state")).status_code == 401, "nobody is listed: that lets nobody in"


async def test_who_asks_while_no_token_exists_is_local(desk):
    app = make_api(desk, auth=Auth(Operators.of(None)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        answer = await client.patch("/api/ui/control", json={"mode": "HOLD"})
    assert answer.json()["control"]["hold"]["source"] == "operator:local"


async def test_the_list_is_a_page_newest_first(anyone):
    answer = await anyone.get("/api/ui/approvals?limit=2", headers=bearer("viewer"))
    page = models.Approvals.model_validate(answer.json())
    assert [item.id for item in page.items] == ["k3", "k2"]
    assert page.items[0].change == {"mode": "RUN"}
    assert page.next_cursor == "2"
    assert (await anyone.get("/api/ui/approvals?limit=0", headers=bearer("viewer"))).status_code == 422


async def test_approve_and_reject_answer_with_the_proposal(anyone, desk):
    approved = await anyone.post("/api/ui/approvals/k1/approve", headers=bearer("approver"))
    models.ApprovedAnswer.model_validate(approved.json())
    assert approved.json()["changes"] == {"mode": {"old": "HOLD", "new": "RUN"}}
    desk.approval_outcome = Decided(Approval("k1", "{}", "d", "ann", 0, 1, ApprovalState.REJECTED, "approver", 1, "no"))
    rejected = await anyone.post("/api/ui/approvals/k1/reject", headers=bearer("approver"), json={"reason": " no "})
    models.RejectedAnswer.model_validate(rejected.json())
    assert desk.heard == ["approver approves k1", "approver rejects k1: no"]


OUTCOMES = [(Conflict(["VOID", "late"]), 409), (Forbidden("needs another person"), 403), (Unknown("no such"), 404)]


@pytest.mark.parametrize(("outcome", "status"), OUTCOMES)
@pytest.mark.parametrize("verb", ["approve", "reject"])
async def test_a_refusal_has_its_status_and_the_error_shape(anyone, desk, verb, outcome, status):
    desk.approval_outcome = outcome
    answer = await anyone.post(f"/api/ui/approvals/k1/{verb}", headers=bearer("admin"))
    assert answer.status_code == status
    assert answer.json()["error"]["message"]
    if status == 409:
        assert answer.json()["reasons"] == ["VOID", "late"]


BODIES = [
    (b'{"approved": true}', 422),
    (b'{"reason": 5}', 422),
    (b'{"reason": null}', 422),
    (b'{"reason": "a", "reason": "b"}', 422),
    (b'{"reason": "%s"}' % (b"x" * 201), 422),
    (b'{"reason": NaN}', 422),
    (b"[]", 422),
    (b"{", 400),
    (b"\xff", 400),
]


@pytest.mark.parametrize(("body", "status"), BODIES)
@pytest.mark.parametrize("verb", ["approve", "reject"])
async def test_a_body_that_is_not_meant_so_decides_nothing(anyone, desk, verb, body, status):
    headers = {**bearer("admin"), "Content-Type": "application/json"}
    answer = await anyone.post(f"/api/ui/approvals/k1/{verb}", headers=headers, content=body)
    assert answer.status_code == status
    assert desk.heard == []


async def test_a_body_of_another_type_is_415(anyone, desk):
    answer = await anyone.post("/api/ui/approvals/k1/reject", headers=bearer("admin"), data={"reason": "x"})
    assert answer.status_code == 415
    assert desk.heard == []


async def test_a_page_of_another_site_approves_nothing(anyone, desk):
    headers = {**bearer("admin"), "Origin": "http://evil.example"}
    assert (await anyone.post("/api/ui/approvals/k1/approve", headers=headers)).status_code == 403
    assert desk.heard == []


async def test_a_ledger_that_does_not_answer_is_a_503(anyone, desk, autojump_clock):
    desk.ledger_hangs = True
    answer = await anyone.post("/api/ui/approvals/k1/approve", headers=bearer("admin"))
    assert answer.status_code == 503
