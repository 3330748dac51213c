"""Who is let in; and that every refusal has the one error shape."""

from __future__ import annotations

import hashlib

import httpx
import pytest
import trio

from propbot.api.app import make_api
from propbot.api.auth import LOCKED_TOLD_PER_MINUTE_MAX, Auth
from propbot.api.replies import ApiError
from propbot.control.operators import Operator, Operators, Role

TOKEN = "t" * 40
OPEN = {"/", "/healthz", "/docs", "/openapi.json", "/docs/assets/<name>"}


async def test_every_route_but_the_open_ones_needs_a_token(app, nobody):
    for rule in app.url_map.iter_rules():
        answer = await nobody.request("PATCH" if "PATCH" in rule.methods else "GET", rule.rule)
        if rule.rule in OPEN:
            assert answer.status_code in (200, 404), rule.rule
        else:
            assert answer.status_code == 401, rule.rule
            assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_a_path_that_does_not_exist_tells_nothing_without_a_token(nobody):
    assert (await nobody.get("/api/ui/secret-thing")).status_code == 401


@pytest.mark.parametrize(
    "header",
    [
        b"Bearer " + b"t" * 39,
        b"Bearer " + b"t" * 41,
        b"Bearer",
        b"Bearer ",
        b"Bearer  ",
        b"",
        b"Basic " + b"t" * 40,
        b"t" * 40,
        "Bearer ключ".encode(),
        b"Bearer \xff\xfe",
        b"Bearer " + b"T" * 40,
    ],
)
async def test_a_wrong_token_is_401_and_never_500(nobody, header):
    answer = await nobody.get("/api/ui/state", headers={b"Authorization": header})
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "unauthorised"


async def test_the_scheme_is_read_in_any_case(nobody):
    answer = await nobody.get("/api/ui/state", headers={"Authorization": f"bearer {TOKEN}"})
    assert answer.status_code == 200


async def test_a_token_that_is_not_ascii_works(desk):
    auth = Auth(Operators.of("ключ" * 10))
    header = f"Bearer {'ключ' * 10}".encode().decode("latin-1")
    assert auth.identify(header, "a").name == "api"


def test_an_empty_token_is_no_token():
    with pytest.raises(ValueError, match="empty"):
        Operators.of(" ")


async def test_without_a_token_configured_everything_is_open(desk):
    app = make_api(desk, auth=Auth(Operators.of(None)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        assert (await client.get("/api/ui/state")).status_code == 200
        assert (await client.patch("/api/ui/control", json={"mode": "HOLD"})).status_code == 200
        assert "securitySchemes" not in (await client.get("/openapi.json")).json()["components"]


HOSTS = {
    "localhost": 200,
    "LOCALHOST:8000": 200,
    "127.0.0.1:8000": 200,
    "[::1]": 200,
    "[::1]:8000": 200,
    "": 400,
    "evil.example": 400,
    "evil.example:8000": 400,
    "localhost.evil.example": 400,
    "evil.localhost": 400,
    "127.0.0.1.evil.example": 400,
    "127a0b0c1": 400,
    "localhost:8000@evil.example": 400,
    "::1": 400,
}


@pytest.mark.parametrize(("host", "status"), HOSTS.items())
@pytest.mark.parametrize("path", ["/", "/api/ui/state", "/openapi.json"])
async def test_without_a_token_only_a_loopback_host_is_answered(desk, path, host, status):
    app = make_api(desk, auth=Auth(Operators.of(None)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        answer = await client.get(path, headers={"Host": host})
        assert answer.status_code == status
        if status == 400:
            assert answer.json()["error"]["code"] == "bad_request"


async def test_another_sites_name_for_this_address_changes_nothing(desk):
    app = make_api(desk, auth=Auth(Operators.of(None)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://evil.example") as client:
        answer = await client.patch("/api/ui/control", json={"mode": "HOLD"}, headers={"Origin": "http://evil.example"})
    assert answer.status_code == 400
    assert desk.heard == []


def answer_to(auth, token, address="10.0.0.1"):
    try:
        return auth.identify(None if token is None else f"Bearer {token}", address).name
    except ApiError as error:
        return error.status


async def test_the_eleventh_wrong_token_in_a_minute_is_429_for_that_address_alone(autojump_clock):
    auth = Auth(Operators.of(TOKEN))
    assert [answer_to(auth, "wrong") for _ in range(12)] == [401] * 10 + [429] * 2
    assert answer_to(auth, "wrong", "10.0.0.2") == 401
    assert answer_to(auth, TOKEN) == "api", "a valid token is never refused"
    assert answer_to(auth, None) == 401, "a missing one does not count"
    await trio.sleep(60)
    assert answer_to(auth, "wrong") == 401


@pytest.fixture
def viewers_app(desk):
    digest = hashlib.sha256(b"v" * 40).digest()
    return make_api(desk, auth=Auth(Operators.of(TOKEN, [Operator("vic", Role.VIEWER, digest)])))


def as_viewer(app):
    headers = {"Authorization": f"Bearer {'v' * 40}"}
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://propbot", headers=headers)


async def test_a_viewer_cannot_fill_the_journal_with_refusals(viewers_app, desk, autojump_clock):
    async with as_viewer(viewers_app) as client:
        for _ in range(30):
            assert (await client.patch("/api/ui/control", json={})).status_code == 403
        assert len(desk.heard) == 10
        assert "not written down" in desk.heard[-1]
        assert "not written down" not in desk.heard[-2]
        await trio.sleep(61)
        assert (await client.patch("/api/ui/control", json={})).status_code == 403
        assert desk.heard[10:] == ["vic was refused PATCH /api/ui/control"]


async def test_a_refused_path_cannot_forge_a_line_of_the_log(viewers_app, desk):
    async with as_viewer(viewers_app) as client:
        assert (await client.post("/x%0a2026-11-28 [info] resumed%1b[2J")).status_code == 403
    assert len(desk.heard) == 1
    assert desk.heard[0].isprintable()


async def test_slashes_too_many_are_no_path_and_no_redirect(client):
    for path in ("/api//ui/state", "/api/ui//control-state", "//evil.example//x"):
        answer = await client.get(f"http://propbot{path}")
        assert answer.status_code == 404, path
        assert answer.json()["error"]["code"] == "not_found"


async def test_no_path_and_no_method_are_answered_in_the_error_shape(client):
    for answer, code in [
        (await client.get("/nothing"), "not_found"),
        (await client.delete("/api/ui/control"), "method_not_allowed"),
        (await client.post("/api/ui/state"), "method_not_allowed"),
    ]:
        assert answer.json()["error"]["code"] == code
        assert answer.json()["error"]["message"]
    assert answer.headers["Allow"]


async def test_a_bug_is_a_500_in_the_error_shape_without_its_text(client, desk, monkeypatch, caplog):
    def broken():
        raise KeyError("some internal detail")

    monkeypatch.setattr(type(desk), "state_view", lambda self: broken())
    answer = await client.get("/api/ui/state")
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal"
    assert "detail" not in answer.text
    assert "some internal detail" in caplog.text


async def test_a_valid_token_is_learned_once_and_a_wrong_one_never(autojump_clock):
    """Of people's tokens only digests are kept: one that is pasted into a reason could not be taken out of it."""
    learned = []
    auth = Auth(Operators.of(TOKEN), learn=learned.append)
    for token in (TOKEN, "w" * 40, TOKEN):
        answer_to(auth, token)
    assert learned == [TOKEN]


async def test_an_address_with_too_many_wrong_tokens_is_told_once_a_minute_and_never_too_many(autojump_clock):
    told = []
    auth = Auth(Operators.of(TOKEN), on_locked=told.append)
    for _ in range(30):
        answer_to(auth, "w" * 40)
    assert told == ["10.0.0.1"]
    await trio.sleep(61)
    for _ in range(12):
        answer_to(auth, "w" * 40)
    assert told == ["10.0.0.1"] * 2
    for number in range(100):
        for _ in range(12):
            answer_to(auth, "w" * 40, f"10.0.1.{number}")
    assert len(told) <= 2 + LOCKED_TOLD_PER_MINUTE_MAX
