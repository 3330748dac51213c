"""The order path's HTTP client against scripted servers: what it knows after each way in which a request can end."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trio
import trustme

from propbot.domain.dialect import HttpCall
from propbot.kit.http1 import BODY_BYTES_MAX, AnswerLost, HttpClient, NotSent, open_http_client
from propbot.kit.memory import MemoryStream
from propbot.kit.net import Address, MemoryNetwork, TcpNetwork

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Used: 7\r\n\r\nok"
GET = HttpCall("GET", "/fapi/v1/time")
ORDER = HttpCall("POST", "/fapi/v1/order?signature=cafe", headers=(("X-MBX-APIKEY", "k"),), is_order=True)
URL = "http://venue:80"

Script = Callable[[trio.abc.Stream], Awaitable[None]]


async def read_request(stream: trio.abc.Stream) -> bytes:
    """Up to the end of a request without a body; empty at the end of the stream."""
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        part = await stream.receive_some(4096)
        if not part:
            return b""
        received += part
    return received


class Venue:
    """Keeps what arrived on each connection and plays `script` on it."""

    def __init__(self) -> None:
        self.network = MemoryNetwork()
        self.requests: list[bytes] = []
        self.connections = 0
        self.ended = 0
        self.reply = OK
        self.script: Script = self.serve_replies

    async def handle(self, stream: trio.abc.Stream) -> None:
        self.connections += 1
        try:
            await self.script(stream)
        finally:
            self.ended += 1

    async def serve_replies(self, stream: trio.abc.Stream) -> None:
        while request := await read_request(stream):
            self.requests.append(request)
            await stream.send_all(self.reply)

    async def answer(self, stream: trio.abc.Stream, *parts: bytes) -> None:
        self.requests.append(await read_request(stream))
        for part in parts:
            await stream.send_all(part)


@pytest.fixture
async def venue(nursery: trio.Nursery) -> Venue:
    venue = Venue()
    await nursery.start(
        lambda task_status: venue.network.serve(venue.handle, "venue", 80, tls=None, task_status=task_status)
    )
    return venue


@pytest.fixture
async def client(venue: Venue) -> AsyncIterator[HttpClient]:
    async with open_http_client(venue.network, URL, connections_max=2) as client:
        yield client


async def test_the_reply_has_status_lower_case_headers_and_body(venue: Venue, client: HttpClient) -> None:
    reply = await client.request(ORDER, timeout_s=1)
    assert (reply.status, reply.headers["x-used"], reply.body) == (200, "7", b"ok")
    assert venue.requests == [
        b"POST /fapi/v1/order?signature=cafe HTTP/1.1\r\nHost: venue\r\nUser-Agent: propbot\r\n"
        b"Accept-Encoding: identity\r\nX-MBX-APIKEY: k\r\nContent-Length: 0\r\n\r\n"
    ]


async def test_one_connection_serves_request_after_request(venue: Venue, client: HttpClient) -> None:
    for _ in range(3):
        await client.request(GET, timeout_s=1)
    assert (venue.connections, client.idle_connections) == (1, 1)


async def test_a_body_in_chunks_and_one_that_ends_with_the_connection_are_whole(
    venue: Venue, client: HttpClient
) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    venue.script = lambda stream: venue.answer(stream, chunked)
    assert (await client.request(GET, timeout_s=1)).body == b"abc"
    venue.script = lambda stream: venue.answer(stream, b"HTTP/1.0 200 OK\r\n\r\nabc")
    assert (await client.request(GET, timeout_s=1)).body == b"abc"
    assert client.idle_connections == 0


async def test_an_error_status_is_a_reply(venue: Venue, client: HttpClient) -> None:
    venue.reply = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n"
    reply = await client.request(GET, timeout_s=1)
    assert (reply.status, reply.headers["retry-after"]) == (429, "3")


async def test_a_refused_connection_means_not_sent(venue: Venue, client: HttpClient) -> None:
    venue.network.refuse.add(("venue", 80))
    with pytest.raises(NotSent, match="nothing listens"):
        await client.request(ORDER, timeout_s=1)
    with pytest.raises(NotSent):
        await client.warm(1)


class NeverConnects(MemoryNetwork):
    async def connect(self, address: Address) -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError


async def test_a_connection_that_does_not_open_in_time_means_not_sent(autojump_clock: trio.abc.Clock) -> None:
    async with open_http_client(NeverConnects(), URL) as client:
        with pytest.raises(NotSent, match="no byte was sent"):
            await client.request(ORDER, timeout_s=1)
        with pytest.raises(NotSent, match="no connection within 5 s"):
            await client.warm(1)
    assert trio.current_time() == pytest.approx(6)


async def test_waiting_for_a_free_connection_counts_and_means_not_sent(
    venue: Venue, client: HttpClient, nursery: trio.Nursery, autojump_clock: trio.abc.Clock
) -> None:
    venue.script = lambda stream: trio.sleep_forever()

    async def occupy() -> None:
        with pytest.raises(AnswerLost):
            await client.request(GET, timeout_s=5)

    nursery.start_soon(occupy)
    nursery.start_soon(occupy)
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(NotSent, match="no byte was sent"):
        await client.request(ORDER, timeout_s=1)


async def test_no_answer_in_time_is_a_lost_answer_and_the_connection_is_closed(
    venue: Venue, client: HttpClient, autojump_clock: trio.abc.Clock
) -> None:
    async def swallow(stream: trio.abc.Stream) -> None:
        while await stream.receive_some(4096):
            pass

    venue.script = swallow
    with pytest.raises(AnswerLost, match="within 2 s") as caught:
        await client.request(ORDER, timeout_s=2)
    assert "cafe" not in str(caught.value)
    await trio.testing.wait_all_tasks_blocked()
    assert (venue.ended, client.idle_connections) == (1, 0)


async def test_one_deadline_bounds_a_reply_that_drips(
    venue: Venue, client: HttpClient, autojump_clock: trio.abc.Clock
) -> None:
    async def drip(stream: trio.abc.Stream) -> None:
        await venue.answer(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            await trio.sleep(0.5)
            await stream.send_all(b".")

    venue.script = drip
    began_s = trio.current_time()
    with pytest.raises(AnswerLost):
        await client.request(ORDER, timeout_s=3)
    assert trio.current_time() - began_s == pytest.approx(3)


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [b"HTTP/1.1 200 OK\r\nContent-Le"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"],
        [b"220 smtp.example.com ESMTP\r\n"],
        [b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100_000],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", b"x" * (BODY_BYTES_MAX + 1)],
        [b"HTTP/1.1 100 Continue\r\n\r\n"],
    ],
    ids=["nothing", "half a head", "half a body", "half a chunk", "not HTTP", "endless head", "endless body", "1xx"],
)
async def test_a_reply_that_breaks_off_or_makes_no_sense_is_a_lost_answer(
    venue: Venue, client: HttpClient, parts: list[bytes]
) -> None:
    venue.script = lambda stream: venue.answer(stream, *parts)
    with pytest.raises(AnswerLost):
        await client.request(ORDER, timeout_s=5)
    assert client.idle_connections == 0


async def test_the_head_is_told_as_soon_as_it_is_there_though_the_body_never_comes(
    venue: Venue, client: HttpClient
) -> None:
    head = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 40\r\n\r\n{"
    venue.script = lambda stream: venue.answer(stream, head)
    told: list[tuple[int, str]] = []
    with pytest.raises(AnswerLost):
        await client.request(
            ORDER, timeout_s=5, on_head=lambda status, headers: told.append((status, headers["retry-after"]))
        )
    assert told == [(429, "7")]


async def test_a_server_that_wants_to_close_or_says_too_much_is_not_asked_again_on_that_connection(
    venue: Venue, client: HttpClient
) -> None:
    venue.reply = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    await client.request(GET, timeout_s=1)
    assert client.idle_connections == 0
    venue.reply = OK + b"HTTP/1.1 200 OK\r\n"
    await client.request(GET, timeout_s=1)
    assert client.idle_connections == 0


async def test_an_idle_connection_that_the_peer_closed_is_not_used(venue: Venue, client: HttpClient) -> None:
    venue.script = lambda stream: venue.answer(stream, OK)  # then hangs up
    await client.request(GET, timeout_s=1)
    await trio.testing.wait_all_tasks_blocked()
    assert client.idle_connections == 1
    await client.request(ORDER, timeout_s=1)
    assert venue.connections == 2


async def test_an_idle_connection_is_given_up_after_half_a_minute(
    venue: Venue, client: HttpClient, autojump_clock: trio.abc.Clock
) -> None:
    await client.request(GET, timeout_s=1)
    await trio.sleep(29)
    await client.request(GET, timeout_s=1)
    assert venue.connections == 1
    await trio.sleep(31)
    await client.request(GET, timeout_s=1)
    assert venue.connections == 2


async def test_warm_opens_ahead_and_replaces_what_has_grown_old(
    venue: Venue, client: HttpClient, autojump_clock: trio.abc.Clock
) -> None:
    await client.warm(9)
    await trio.testing.wait_all_tasks_blocked()
    assert (client.idle_connections, venue.connections) == (2, 2)
    await client.warm(2)
    assert venue.connections == 2
    await trio.sleep(16)
    await client.warm(2)
    await trio.testing.wait_all_tasks_blocked()
    assert (client.idle_connections, venue.connections) == (2, 4)


class Stopped(Exception):
    pass


async def test_a_last_check_that_refuses_lets_nothing_leave_and_keeps_the_connection(
    venue: Venue, client: HttpClient
) -> None:
    def refuse() -> None:
        raise Stopped

    await client.warm(1)
    with pytest.raises(Stopped):
        await client.request(ORDER, timeout_s=1, last_check=refuse, after_send=pytest.fail)
    await trio.testing.wait_all_tasks_blocked()
    assert venue.requests == []
    assert client.idle_connections == 1
    await client.request(GET, timeout_s=1)
    assert venue.connections == 1


async def test_no_other_task_runs_between_the_last_check_and_the_first_byte(
    venue: Venue, client: HttpClient, nursery: trio.Nursery
) -> None:
    """A task that is runnable the whole time never finds the check done and the wire empty."""
    checks: list[bool] = []
    on_the_wire = trio.Event()
    ends: list[MemoryStream] = []

    async def serve_late(stream: trio.abc.Stream) -> None:
        assert isinstance(stream, MemoryStream)
        ends.append(stream)
        await on_the_wire.wait()
        await venue.serve_replies(stream)

    async def watch() -> None:
        while not ends[0].readable:
            assert not checks, "checked, and nothing left yet"
            await trio.lowlevel.checkpoint()
        on_the_wire.set()

    venue.script = serve_late
    await client.warm(1)
    await trio.testing.wait_all_tasks_blocked()
    nursery.start_soon(watch)
    await client.request(ORDER, timeout_s=1, last_check=lambda: checks.append(True))
    assert checks == [True]


async def test_the_hooks_run_in_order_around_the_bytes(venue: Venue, client: HttpClient) -> None:
    seen: list[str] = []
    await client.request(
        ORDER,
        timeout_s=1,
        last_check=lambda: seen.append(f"check {len(venue.requests)}"),
        after_send=lambda: seen.append("sent"),
    )
    assert seen == ["check 0", "sent"]


async def test_cancelled_after_any_number_of_turns_no_connection_is_left_over(venue: Venue) -> None:
    """Cancel after the first, second, … turn of the loop, until a request gets through."""
    for turns in range(100):
        async with open_http_client(venue.network, URL, connections_max=1) as client:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_cancel_after, turns, scope)
                    await client.request(ORDER, timeout_s=1)
                    nursery.cancel_scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert venue.connections - venue.ended == client.idle_connections
            if not scope.cancelled_caught:
                return
            await client.request(GET, timeout_s=1)  # and its place in the pool is free again
        await trio.testing.wait_all_tasks_blocked()
    pytest.fail("no request ever got through")


async def _cancel_after(turns: int, scope: trio.CancelScope) -> None:
    for _ in range(turns):
        await trio.lowlevel.checkpoint()
    scope.cancel()


class BlockedSend(MemoryNetwork):
    """The peer's window is full: the first bytes went, the rest does not."""

    async def connect(self, address: Address) -> trio.abc.Stream:
        stream = await super().connect(address)
        whole_send = stream.send_all

        async def send_some(data: bytes) -> None:
            await whole_send(data[:10])
            await trio.sleep_forever()

        stream.send_all = send_some
        return stream


async def test_cancelled_or_timed_out_in_the_middle_of_sending_is_not_sent_twice_nor_reused(
    autojump_clock: trio.abc.Clock, nursery: trio.Nursery
) -> None:
    venue = Venue()
    venue.network = BlockedSend()
    await nursery.start(
        lambda task_status: venue.network.serve(venue.handle, "venue", 80, tls=None, task_status=task_status)
    )
    async with open_http_client(venue.network, URL) as client:
        with pytest.raises(AnswerLost):
            await client.request(ORDER, timeout_s=1, after_send=pytest.fail)
        with trio.move_on_after(1) as scope:
            await client.request(ORDER, timeout_s=5, after_send=pytest.fail)
        assert scope.cancelled_caught
        await trio.testing.wait_all_tasks_blocked()
        assert (venue.connections, venue.ended, venue.requests) == (2, 2, [])


@pytest.mark.parametrize(
    "parts", [[], [b"HTTP/1.1 200 OK\r\n"], [OK[:-1]]], ids=["before the reply", "in its head", "in its body"]
)
async def test_cancelled_while_the_reply_comes_the_connection_is_closed(
    venue: Venue, client: HttpClient, autojump_clock: trio.abc.Clock, parts: list[bytes]
) -> None:
    async def answer_in_part(stream: trio.abc.Stream) -> None:
        await venue.answer(stream, *parts)
        await stream.receive_some(1)

    venue.script = answer_in_part
    sent: list[bool] = []
    with trio.move_on_after(1) as scope:
        await client.request(ORDER, timeout_s=5, after_send=lambda: sent.append(True))
    assert scope.cancelled_caught
    assert sent == [True]
    await trio.testing.wait_all_tasks_blocked()
    assert (venue.ended, client.idle_connections) == (1, 0)


@pytest.mark.parametrize(
    "call",
    [
        HttpCall("GET", "fapi/v1/time"),
        HttpCall("GET", "/a b"),
        HttpCall("GET", "/a\r\nX: y"),
        HttpCall("GET /", "/"),
        HttpCall("GET", "/", headers=(("X", "a\r\nY: b"),)),
        HttpCall("GET", "/", headers=(("X:", "a"),)),
    ],
)
async def test_what_is_not_one_line_is_never_sent(venue: Venue, client: HttpClient, call: HttpCall) -> None:
    with pytest.raises(ValueError, match="not a"):
        await client.request(call, timeout_s=1)
    assert venue.connections == 0


async def test_a_closed_client_sends_nothing(venue: Venue) -> None:
    async with open_http_client(venue.network, URL) as client:
        await client.request(GET, timeout_s=1)
    with pytest.raises(NotSent, match="closed"):
        await client.request(ORDER, timeout_s=1)
    await trio.testing.wait_all_tasks_blocked()
    assert venue.ended == 1


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def tls(nursery: trio.Nursery, authority: trustme.CA) -> tuple[Venue, TcpNetwork, str]:
    """A venue on a real loopback socket under TLS."""
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(server_side)
    client_side = ssl.create_default_context()
    authority.configure_trust(client_side)
    network, venue = TcpNetwork(client_side), Venue()
    port = await nursery.start(
        lambda task_status: network.serve(venue.handle, "127.0.0.1", 0, tls=server_side, task_status=task_status)
    )
    return venue, network, f"https://127.0.0.1:{port}"


async def test_over_tls_requests_share_a_warm_connection(tls: tuple[Venue, TcpNetwork, str]) -> None:
    venue, network, url = tls
    async with open_http_client(network, url) as client:
        await client.warm(1)
        for _ in range(3):
            assert (await client.request(ORDER, timeout_s=5)).body == b"ok"
        assert venue.connections == 1


async def test_over_tls_a_refusing_last_check_lets_nothing_leave(tls: tuple[Venue, TcpNetwork, str]) -> None:
    venue, network, url = tls

    def refuse() -> None:
        raise Stopped

    async with open_http_client(network, url) as client:
        await client.warm(1)
        with pytest.raises(Stopped):
            await client.request(ORDER, timeout_s=5, last_check=refuse)
        assert client.idle_connections == 0  # the refused record can't be taken back out of a TLS session
        assert (await client.request(GET, timeout_s=5)).status == 200
        assert len(venue.requests) == 1


async def test_over_tls_a_connection_that_the_peer_closed_is_not_used(tls: tuple[Venue, TcpNetwork, str]) -> None:
    venue, network, url = tls
    hung_up = trio.Event()

    async def answer_once(stream: trio.abc.Stream) -> None:
        await venue.answer(stream, OK)
        await trio.aclose_forcefully(stream)
        hung_up.set()

    venue.script = answer_once
    async with open_http_client(network, url) as client:
        await client.request(GET, timeout_s=5)
        await hung_up.wait()
        venue.script = venue.serve_replies
        await client.request(ORDER, timeout_s=5)
        assert venue.connections == 2


async def test_a_certificate_of_a_stranger_means_not_sent(tls: tuple[Venue, TcpNetwork, str]) -> None:
    venue, _, url = tls
    async with open_http_client(TcpNetwork(ssl.create_default_context()), url) as client:
        with pytest.raises(NotSent, match="certificate"):
            await client.request(ORDER, timeout_s=5)
    assert venue.requests == []


async def test_a_secret_path_is_on_the_wire_and_in_no_error(venue: Venue, nursery: trio.Nursery) -> None:
    async with open_http_client(venue.network, URL, secret_path="/bot1:secret") as client:
        await client.request(HttpCall("GET", "/getMe"), timeout_s=1)
        assert venue.requests[0].startswith(b"GET /bot1:secret/getMe HTTP/1.1\r\n")
        venue.reply = b"nonsense\r\n\r\n"
        errors: list[Exception] = []
        for call in (HttpCall("GET", "/getMe"), HttpCall("GET", "/getMe")):
            try:
                await client.request(call, timeout_s=1)
            except (NotSent, AnswerLost) as error:
                errors.append(error)
            venue.network.refuse.add(("venue", 80))
        with pytest.raises(ValueError, match="not a request line") as bad:
            await client.request(HttpCall("GET", "/a b"), timeout_s=1)
        assert [type(each) for each in errors] == [AnswerLost, NotSent]
        assert "secret" not in "".join(map(str, [*errors, bad.value]))
