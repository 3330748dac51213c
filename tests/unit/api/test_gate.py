"""The gate before the framework: Host, who asks, from where; and what every answer carries."""

from __future__ import annotations

from ipaddress import ip_network

import httpx
import pytest
import trio

from propbot.api.app import make_api
from propbot.api.auth import Auth
from propbot.api.gate import Door, bounded
from propbot.api.replies import BODY_BYTES_MAX
from propbot.control.operators import Operators
from tests.unit.api.conftest import TOKEN

HOSTS = {
    "": True,
    "propbot": True,
    "propbot:8000": True,
    "localhost:8000": True,
    "10.0.0.5:8000": True,
    "[::1]:8000": True,
    "[fe80::1]": True,
    "desk.example.com": True,
    "DESK.example.com:443": True,
    "desk.example.com.": True,
    "evil.example": False,
    "evil.example:8000": False,
    "desk.example.com.evil.example": False,
    "evil.desk.example.com": False,
    "127.0.0.1.evil.example": False,
    "desk.example.com@evil.example": False,
    "desk.example.com,evil.example": False,
    "1.2.3.4.5": False,
    "999.1.1.1": False,
    "[::1]evil": False,
    "::1": False,
    "evil.example:80:80": False,
    "evil.ex\xe4mple": False,
    "a" * 63: True,
    "a" * 64: False,
}


@pytest.mark.parametrize(("host", "known"), HOSTS.items())
def test_names_have_to_be_listed(host, known):
    assert Door(hosts=frozenset({"desk.example.com"})).knows(host) is known


@pytest.mark.parametrize("path", ["/", "/healthz", "/api/ui/state", "/nothing"])
async def test_a_host_that_is_not_listed_is_answered_nothing(client, desk, path):
    answer = await client.get(path, headers={"Host": "evil.example"})
    assert answer.status_code == 400
    assert "API_ALLOWED_HOSTS" in answer.json()["error"]["message"]


async def test_by_a_rebound_name_even_a_valid_token_changes_nothing(client, desk):
    headers = {"Host": "evil.example", "Origin": "http://evil.example"}
    assert (await client.patch("/api/ui/control", json={"mode": "HOLD"}, headers=headers)).status_code == 400
    assert desk.heard == []


PROXIES = Door(proxies=(ip_network("10.0.0.2"), ip_network("172.18.0.0/16")))
SAID = [
    # peer, what it forwards, who asks
    ("203.0.113.7", "", "203.0.113.7"),
    ("203.0.113.7", "198.51.100.1", "203.0.113.7"),
    ("10.0.0.3", "198.51.100.1", "10.0.0.3"),
    ("10.0.0.2", "198.51.100.1", "198.51.100.1"),
    ("10.0.0.2", "", "10.0.0.2"),
    ("10.0.0.2", "192.0.2.66, 198.51.100.1", "198.51.100.1"),
    ("10.0.0.2", "198.51.100.1, 172.18.3.4", "198.51.100.1"),
    ("172.18.3.4", "10.0.0.2", "10.0.0.2"),
    ("10.0.0.2", "unknown", "unknown"),
    ("<local>", "198.51.100.1", "<local>"),
    ("10.0.0.2", "198.51.100.1:5555", "198.51.100.1"),
    ("10.0.0.2", "[2001:db8::1]:443", "2001:db8::1"),
    ("10.0.0.2", "[2001:db8::1]", "2001:db8::1"),
    ("::ffff:10.0.0.2", "198.51.100.1, 172.18.3.4:80", "198.51.100.1"),
    ("10.0.0.2", "999.1.1.1:80", "999.1.1.1:80"),
]


@pytest.mark.parametrize(("peer", "forwarded", "address"), SAID)
def test_only_a_listed_proxy_says_whom_it_speaks_for(peer, forwarded, address):
    assert PROXIES.address_of(peer, forwarded) == address


def test_nobody_is_believed_where_no_proxy_is_listed():
    assert Door(tls=True).address_of("10.0.0.2", "198.51.100.1") == "10.0.0.2"


def client_from(app, peer, **headers):
    transport = httpx.ASGITransport(app, client=(peer, 40_000))
    return httpx.AsyncClient(transport=transport, base_url="http://propbot", headers=headers)


async def wrong(client, forwarded):
    headers = {"Authorization": "Bearer wrong", "X-Forwarded-For": forwarded}
    return (await client.get("/api/ui/state", headers=headers)).status_code


async def test_behind_a_proxy_each_client_is_counted_by_itself(desk):
    app = make_api(desk, auth=Auth(Operators.of(TOKEN)), door=PROXIES)
    async with client_from(app, "10.0.0.2") as client:
        assert [await wrong(client, "198.51.100.1") for _ in range(11)] == [401] * 10 + [429]
        assert await wrong(client, "198.51.100.2") == 401


async def test_a_made_up_address_gives_no_further_guess(desk):
    app = make_api(desk, auth=Auth(Operators.of(TOKEN)), door=PROXIES)
    async with client_from(app, "203.0.113.7") as client:
        assert [await wrong(client, f"198.51.100.{n}") for n in range(11)] == [401] * 10 + [429]


async def test_a_lockout_keeps_no_hold_out(desk, app):
    async with client_from(app, "203.0.113.7") as client:
        for _ in range(12):
            await client.get("/api/ui/state", headers={"Authorization": "Bearer wrong"})
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert (await client.patch("/api/ui/control", json={"mode": "HOLD"}, headers=headers)).status_code == 200
    assert desk.heard[0] == "hold"


async def test_what_nobodys_token_asks_for_never_comes_to_the_framework(app, nobody, monkeypatch):
    asked = []
    monkeypatch.setattr(app, "handle_request", asked.append)
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Host": "evil.example"}):
        assert (await nobody.patch("/api/ui/control", json={"mode": "HOLD"}, headers=headers)).status_code in (400, 401)
    assert asked == []


EVERY_ANSWER = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/healthz", "/metrics"])
async def test_an_open_path_is_open_to_be_read_and_for_nothing_else(nobody, path):
    for method in ("OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE"):
        assert (await nobody.request(method, path)).status_code == 401, method
    expected = 401 if path == "/metrics" else 200  # its own token is looked at where it is made
    for method in ("GET", "HEAD"):
        assert (await nobody.request(method, path)).status_code == expected, method


@pytest.mark.parametrize("tls", [False, True])
async def test_every_answer_is_hardened_whoever_gives_it(desk, tls):
    app = make_api(desk, auth=Auth(Operators.of(TOKEN)), door=Door(tls=tls))
    async with client_from(app, "127.0.0.1", Authorization=f"Bearer {TOKEN}") as client:
        answers = [
            await client.get("/"),
            await client.get("/docs"),
            await client.get("/docs/assets/swagger-ui.css"),
            await client.get("/openapi.json"),
            await client.get("/api/ui/state"),
            await client.get("/nothing"),
            await client.delete("/api/ui/control"),
            await client.patch("/api/ui/control", content="{"),
            await client.get("/api/ui/state", headers={"Authorization": "Bearer wrong"}),
            await client.get("/api/ui/state", headers={"Host": "evil.example"}),
        ]
    for answer in answers:
        assert {name: answer.headers.get(name) for name in EVERY_ANSWER} == EVERY_ANSWER, answer.url
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'self'; ")
        assert "frame-ancestors 'none'" in policy
        assert ("Strict-Transport-Security" in answer.headers) is tls
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "Server" not in answer.headers


async def test_of_a_body_without_end_no_more_is_handed_on_than_is_refused():
    """Whatever the framework would do with it: quart 0.23 keeps it for as long as it comes."""
    pieces = [b"x" * 10_000] * 1000
    gone = False

    async def receive():
        nonlocal gone
        await trio.lowlevel.checkpoint()
        if pieces:
            return {"type": "http.request", "body": pieces.pop(), "more_body": True}
        gone = True
        return {"type": "http.disconnect"}

    taken, more = b"", True
    asked = bounded(receive)
    while more:
        message = await asked()
        taken, more = taken + message["body"], message["more_body"]
    assert len(taken) == BODY_BYTES_MAX + 1
    assert not gone
    assert await asked() == {"type": "http.disconnect"}
