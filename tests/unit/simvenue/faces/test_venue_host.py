"""The host: its admin port, its trace, its JSON line, a market that ends, and the whole over real loopback TLS."""

from __future__ import annotations

import json
import random
import ssl
import time
from functools import partial
from types import SimpleNamespace

import httpx
import pytest
import trio
from trio_websocket import open_websocket_url

from propbot.domain.dialect import HttpCall
from propbot.domain.errors import RecordingError
from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM, VenueId
from propbot.domain.market import DepthSnapshot
from propbot.kit.clock import SystemClock
from propbot.kit.net import MemoryNetwork, TcpNetwork
from propbot.kit.trace import no_trace
from propbot.simvenue.access import HostAccess, VenueAccess
from propbot.simvenue.admin import Admin
from propbot.simvenue.faults import FaultBox
from propbot.simvenue.host import HostConfig, run_host
from propbot.simvenue.server import Request
from propbot.simvenue.synthetic import SyntheticMarket
from propbot.simvenue.trace import VenueTrace

UM = BINANCE_UM
VENUES = (BINANCE_UM, BINANCE_SPOT)


async def admin(world, method, path, body=None):
    content = b"" if body is None else json.dumps(body).encode()
    reply = await world.send(world.access.admin, HttpCall(method, path, (), content))
    return reply.status, json.loads(reply.body)


@pytest.mark.parametrize("origin", ["http://evil.example", "null"])
async def test_the_admin_port_takes_nothing_from_a_web_page(world, origin, autojump_clock):
    """A browser sends it to loopback from anywhere, as text/plain without asking first."""
    body = b'{"venue": "binance-um", "fault": "reject_order"}'
    reply = await world.send(world.access.admin, HttpCall("POST", "/faults", (("Origin", origin),), body))
    assert reply.status == 403
    assert (await admin(world, "GET", "/faults"))[1]["faults"] == []


@pytest.mark.parametrize(
    ("host", "status"), [("evil.example:8000", 403), ("127.0.0.1.evil.example", 403), ("", 403), ("LOCALHOST:1", 404)]
)
async def test_the_admin_port_is_no_host_but_this_machine(host, status):
    """A name of the page's own may resolve to 127.0.0.1."""
    asked = Request("GET", "/nope", "", {"host": host}, b"", 0)
    assert (await Admin(FaultBox, VenueTrace, bool, {}, bool).answer(asked)).status == status


async def test_faults_are_made_listed_and_cleared_over_the_admin_port(world, autojump_clock):
    status, made = await admin(world, "POST", "/faults", {"venue": UM, "fault": "reject_order", "count": None})
    assert status == 201
    assert (await world.order(UM, "BUY", "0.002", "60000.10")).status == 400
    _, listed = await admin(world, "GET", "/faults")
    assert [(row["id"], row["hits"], row["count"]) for row in listed["faults"]] == [(made["id"], 1, None)]
    assert await admin(world, "DELETE", f"/faults?id={made['id']}") == (200, {"cleared": 1})
    assert (await world.order(UM, "BUY", "0.002", "60000.10")).status == 200
    assert (await admin(world, "DELETE", "/faults?id=f99"))[0] == 404
    assert await admin(world, "DELETE", "/faults") == (200, {"cleared": 0})


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"venue": UM, "fault": "nope"}, "fault"),
        ({"venue": "nope", "fault": "lost_ack"}, "venue"),
        ({"venue": UM, "fault": "lost_ack", "often": 3}, "often"),
        ({"venue": UM, "fault": ["lost_ack"]}, "fault"),
        ([], "body"),
    ],
)
async def test_a_wrong_fault_is_a_400_that_names_its_field_and_the_known_faults(world, body, field, autojump_clock):
    status, answer = await admin(world, "POST", "/faults", body)
    assert (status, answer["error"]["field"]) == (400, field)
    assert "lost_ack" in answer["error"]["known_faults"]


async def test_the_log_tells_of_requests_orders_and_frames_since_a_row(world, autojump_clock):
    await world.order(UM, "BUY", "0.002", "60000.10", newClientOrderId="pb1", newOrderRespType="RESULT")
    _, log = await admin(world, "GET", "/log")
    kinds = [row["kind"] for row in log["rows"]]
    assert kinds == ["request", "order", "trade", "order_reply", "reply"]
    order = log["rows"][1]
    told = {name: order[name] for name in ("client_order_id", "side", "qty", "price", "type", "reduce_only")}
    assert told == {
        "client_order_id": "pb1",
        "side": "BUY",
        "qty": "0.002",
        "price": "60000.1",
        "type": "LIMIT",
        "reduce_only": False,
    }
    assert order["mono_ns"] <= log["rows"][2]["mono_ns"]
    world.market.ticker(UM, "60000.00", "60000.10")
    _, newer = await admin(world, "GET", f"/log?since={log['next']}")
    assert [(row["kind"], row["u"]) for row in newer["rows"]] == [("frame", 101)]
    assert (await admin(world, "GET", "/log?since=x"))[0] == 400
    assert (await admin(world, "GET", "/nope"))[0] == 404
    assert (await admin(world, "PUT", "/log"))[0] == 405


async def test_an_account_may_have_two_keys_and_one_may_be_taken_back(world, autojump_clock):
    status, made = await admin(world, "POST", "/keys", {"venue": UM})
    assert status == 201
    first = world.access.venues[UM].api_key
    _, listed = await admin(world, "GET", "/keys")
    assert [row["api_key"] for row in listed["keys"] if row["venue"] == UM] == [first, made["api_key"]]
    assert made["api_secret"] not in str(listed)
    keys = world.access.inside.keys[UM]
    assert keys.check(made["api_key"]).api_secret == made["api_secret"]
    assert (await admin(world, "DELETE", f"/keys?venue={UM}&api_key={first}")) == (200, {"revoked": 1})
    assert (await world.order(UM, "BUY", "0.002", "60000.10")).status == 401
    assert (await admin(world, "DELETE", f"/keys?venue={UM}&api_key={first}"))[0] == 404
    assert (await admin(world, "DELETE", f"/keys?venue=nope&api_key={first}"))[0] == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"venue": "nope"}, "venue"), ({"venue": UM, "api_key": "short"}, "api_key"), ({"venue": [UM]}, "venue"),
        ({"venue": UM, "api_secret": "with-a-dash"}, "api_secret"), ({"venue": UM, "secret": "x"}, "secret"),
        ([], "body"),
    ],
)
async def test_a_wrong_key_is_a_400_that_names_its_field(world, body, field, autojump_clock):
    status, answer = await admin(world, "POST", "/keys", body)
    assert (status, answer["error"]["field"]) == (400, field)


async def test_a_known_key_can_get_another_secret(world, autojump_clock):
    first = world.access.venues[UM].api_key
    await admin(world, "POST", "/keys", {"venue": UM, "api_key": first, "api_secret": "another0secret"})
    assert (await world.order(UM, "BUY", "0.002", "60000.10")).body["code"] == -1022


async def test_when_the_market_ends_the_host_says_so_and_stays(world, autojump_clock):
    assert await admin(world, "GET", "/market") == (200, {"ended": False})
    world.market.over.set()
    with trio.fail_after(1):
        await world.access.ended.wait()
    assert await admin(world, "GET", "/market") == (200, {"ended": True})
    assert (await world.ask(UM, "GET", "/fapi/v1/time")).status == 200


def test_the_json_line_comes_back_as_it_went():
    venue = VenueAccess("https://127.0.0.1:1", "wss://127.0.0.1:1", "wss://127.0.0.1:1/ws-api/v3", "key", "secret")
    access = HostAccess(None, "http://127.0.0.1:2", {BINANCE_SPOT: venue})
    line = access.to_json()
    assert "\n" not in line
    assert HostAccess.from_json(line) == access
    assert "secret" not in repr(access)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"admin": None}, "admin"),
        ({"venues": None}, "venues"),
        ({"venues": {"binance-um": {"rest": "x"}}}, "venues.binance-um.ws"),
        ({"ca_file": 3}, "ca_file"),
    ],
)
def test_a_damaged_json_line_names_the_field(change, named):
    content = {"ca_file": "ca.pem", "admin": "http://x", "venues": {}, **change}
    with pytest.raises(ValueError, match=named):
        HostAccess.from_json(json.dumps(content))
    with pytest.raises(ValueError, match="propbot venues"):
        HostAccess.from_json("{")


async def test_a_market_without_a_listed_book_is_refused_by_name(autojump_clock):
    market = SimpleNamespace(snapshots={(UM, "ETHUSDT"): DepthSnapshot(UM, "ETHUSDT", 1, [], [])}, wall_ns=lambda: 1)
    with pytest.raises(RecordingError, match="ETHUSDT"):
        await _run(HostConfig(venues=(UM,)), MemoryNetwork(), market, None, tls=False)
    with pytest.raises(ValueError, match="okx-perp"):
        await _run(HostConfig(venues=(VenueId("okx-perp"),)), MemoryNetwork(), market, None, tls=False)


async def _run(config, network, source, folder, *, tls, task_status=trio.TASK_STATUS_IGNORED):
    await run_host(
        config,
        network=network,
        source=source,
        store_path=None if folder is None else folder / "made" / "simvenue.db",
        rng=random.Random(3),
        mono_ns=time.monotonic_ns,
        trace=no_trace,
        tls=tls,
        ca_file=None if folder is None else folder / "also" / "ca.pem",
        task_status=task_status,
    )


async def test_over_loopback_tls_a_foreign_client_trusts_the_written_certificate(tmp_path):
    source = SyntheticMarket(VENUES, 1, SystemClock().wall_ns, 20.0)
    trace_file = tmp_path / "traces" / "trace.jsonl"
    config = HostConfig(venues=VENUES, trace_file=trace_file)
    network = TcpNetwork(ssl.create_default_context())
    async with trio.open_nursery() as nursery:
        access = await nursery.start(partial(_run, config, network, source, tmp_path, tls=True))
        assert access.ca_file.stat().st_mode & 0o777 == 0o644
        assert b"PRIVATE" not in access.ca_file.read_bytes()
        trusting = ssl.create_default_context(cafile=str(access.ca_file))
        async with httpx.AsyncClient(verify=trusting) as client:
            for name in ("127.0.0.1", "localhost"):
                url = access.venues[UM].rest.replace("127.0.0.1", name)
                assert (await client.get(f"{url}/fapi/v1/time")).status_code == 200
        url = f"{access.venues[UM].ws}/public/stream?streams=btcusdt@bookTicker"
        async with open_websocket_url(url, ssl_context=trusting) as session:
            with trio.fail_after(5):
                assert json.loads(await session.get_message())["stream"] == "btcusdt@bookTicker"
        with pytest.raises(ssl.SSLError):
            async with httpx.AsyncClient() as stranger:
                await _get_or_ssl_error(stranger, f"{access.venues[UM].rest}/fapi/v1/time")
        nursery.cancel_scope.cancel()
    rows = [json.loads(line) for line in trace_file.read_text().splitlines()]
    assert {"mono_ns", "venue", "dir", "kind", "u", "client_order_id"} <= rows[0].keys()
    assert (tmp_path / "made" / "simvenue.db").exists()


async def _get_or_ssl_error(client, url):
    try:
        await client.get(url)
    except httpx.ConnectError as error:
        raise ssl.SSLError(str(error)) from error


async def test_accounts_outlive_the_host(tmp_path, autojump_clock):
    clock = SystemClock()
    seen = []
    for _ in range(2):
        source = SyntheticMarket(VENUES, 1, clock.wall_ns)
        async with trio.open_nursery() as nursery:
            access = await nursery.start(
                partial(_run, HostConfig(venues=VENUES), MemoryNetwork(), source, tmp_path, tls=False)
            )
            seen.append(access.inside.engines[UM].position("BTCUSDT")[0])
            access.inside.faults.inject(UM, "foreign_trade", params={"side": "BUY", "qty": "0.002"})
            nursery.cancel_scope.cancel()
    assert [str(qty) for qty in seen] == ["0", "0.002"]
