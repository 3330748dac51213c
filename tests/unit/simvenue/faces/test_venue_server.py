"""The venues' server against peers that misbehave: the damage ends with their own connection."""

from __future__ import annotations

import random

import pytest
import trio

from propbot.domain.instruments import BINANCE_UM
from propbot.kit.net import parse_address
from propbot.simvenue.faces.client import WsClient
from propbot.simvenue.server import IDLE_S_MAX, REQUEST_S_MAX

UM = BINANCE_UM


async def speak(world, *parts: bytes, pause_s: float = 0.0, end: bool = False) -> bytes:
    """What the server answers to raw bytes until it closes, or 400 virtual seconds have passed."""
    stream = await world.network.connect(parse_address(world.access.venues[UM].rest))
    answer = b""
    async with stream:
        for part in parts:
            await stream.send_all(part)
            await trio.sleep(pause_s)
        with trio.move_on_after(400):
            while data := await stream.receive_some(65536):
                answer += data
    return answer


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"GARBAGE\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", b"400"),
        (b"GET /fapi/v1/time HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"431"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n" + b"a" * 70_000, b"413"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n", b"400"),
    ],
)
async def test_malformed_requests_get_their_status_and_the_venue_lives_on(world, text, status, autojump_clock):
    answer = await speak(world, text)
    assert answer.startswith(b"HTTP/1.1 " + status), answer[:80]
    assert (await world.ask(UM, "GET", "/fapi/v1/time")).status == 200


async def test_a_request_that_never_ends_is_a_timeout_and_an_idle_connection_is_just_closed(world, autojump_clock):
    started_s = trio.current_time()
    assert (await speak(world, b"GET /fapi/v1/ti")).startswith(b"HTTP/1.1 408")
    assert trio.current_time() - started_s == pytest.approx(REQUEST_S_MAX)
    started_s = trio.current_time()
    assert await speak(world) == b""
    assert trio.current_time() - started_s == pytest.approx(IDLE_S_MAX)


async def test_keep_alive_pipelining_and_head(world, autojump_clock):
    get = b"GET /fapi/v1/ping HTTP/1.1\r\nHost: x\r\n\r\n"
    head = b"HEAD /fapi/v1/ping HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /fapi/v1/ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = await speak(world, get + head, last)
    assert answer.count(b"HTTP/1.1 200 OK") == 3
    assert answer.count(b"\r\n\r\n{}") == 2


async def test_a_body_may_be_announced_before_it_is_sent(world, autojump_clock):
    head = b"DELETE /fapi/v1/x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n"
    head += b"Connection: close\r\n\r\n"
    answer = await speak(world, head, b"ab", pause_s=1.0)
    assert answer.startswith(b"HTTP/1.1 100")
    assert b"HTTP/1.1 404" in answer


async def test_a_broken_upgrade_ends_its_own_connection_only(world, autojump_clock):
    upgrade = b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    for rest in (b"\r\n", b"Sec-WebSocket-Version: 99\r\nSec-WebSocket-Key: x\r\n\r\n", b"\r\n\xff\xff\xff"):
        await speak(world, upgrade + rest)
    good = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    assert (await speak(world, upgrade + good + b"\xff\x00\x00")).startswith(b"HTTP/1.1 101")
    assert (await world.ask(UM, "GET", "/fapi/v1/time")).status == 200


async def test_unknown_addresses_are_not_upgraded(world, autojump_clock):
    good = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    good += b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    assert (await speak(world, b"GET /nope HTTP/1.1\r\nHost: x\r\n" + good + b"\r\n")).startswith(b"HTTP/1.1 404")


async def test_two_hundred_random_requests_kill_nothing(world, autojump_clock):
    rng = random.Random(5)
    pieces = [b"GET ", b"/ws", b" HTTP/1.1\r\n", b"Host: x\r\n", b"Upgrade: websocket\r\n", b"\r\n", b"\x00"]
    pieces += [b"Upgrade: h2c\r\nHTTP2-Settings: AAA\r\n", b"Content-Length: 3\r\n", b"\xff" * 9]
    pieces += [b"POST / HTTP/1.0\r\n", b"PRI * HTTP/2.0"]
    for _ in range(200):
        await speak(world, b"".join(rng.choices(pieces, k=rng.randint(1, 8))))
    assert (await world.ask(UM, "GET", "/fapi/v1/time")).status == 200


class _StuckConnection:
    """A WebSocket whose peer reads nothing."""

    def __init__(self) -> None:
        self.closed: list[tuple[int, str]] = []
        self._gone = trio.Event()

    async def send_message(self, text: str) -> None:
        await self._gone.wait()

    async def get_message(self) -> str:
        await trio.sleep_forever()
        raise AssertionError

    async def ping(self) -> None:
        await trio.sleep_forever()

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        self.closed.append((code, reason))


async def test_a_client_that_does_not_read_is_cut_and_never_blocks_the_market(autojump_clock):
    connection = _StuckConnection()
    client = WsClient(connection, queue_max=3)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: client.run(lambda _: None, ping_every_s=1000, pong_within_s=10))
            await trio.sleep(0.1)
            for number in range(10):
                client.offer(str(number))
            nursery.cancel_scope.deadline = trio.current_time() + 30
    assert connection.closed
