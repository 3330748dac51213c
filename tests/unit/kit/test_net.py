"""The network seam: addresses, the in-memory internet, and TCP with TLS that is verified."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import pytest
import trio
import trio.testing
import trustme

from propbot.kit.net import Address, Handler, MemoryNetwork, Network, TcpNetwork, parse_address


async def echo(stream: trio.abc.Stream) -> None:
    async for part in stream:
        await stream.send_all(part.upper())


async def cut(stream: trio.abc.Stream) -> None:
    raise trio.BrokenResourceError("the peer went away")


async def ask(network: Network, address: Address) -> bytes:
    with trio.fail_after(5):
        stream = await network.connect(address)
        async with stream:
            await stream.send_all(b"hello")
            answer = await stream.receive_some()
    return bytes(answer)


# --- addresses


@pytest.mark.parametrize(
    ("url", "address", "authority"),
    [
        ("https://fapi.binance.com", Address("fapi.binance.com", 443, True, ""), "fapi.binance.com"),
        ("wss://127.0.0.1:9443/ws-api/v3", Address("127.0.0.1", 9443, True, "/ws-api/v3"), "127.0.0.1:9443"),
        ("http://venue:80/", Address("venue", 80, False, "/"), "venue"),
        ("ws://venue:443", Address("venue", 443, False, ""), "venue:443"),
    ],
)
def test_an_address_is_read_from_its_url(url: str, address: Address, authority: str) -> None:
    assert parse_address(url) == address
    assert address.authority == authority


@pytest.mark.parametrize("url", ["", "fapi.binance.com", "ftp://x", "https://", "https://x:99999", "https://x:y"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        parse_address(url)


# --- in memory


async def start(nursery: trio.Nursery, network: Network, handler: Handler, port: int = 0) -> int:
    async def serve(task_status: trio.TaskStatus[int]) -> None:
        await network.serve(handler, "venue", port, tls=None, task_status=task_status)

    bound: int = await nursery.start(serve)
    return bound


async def test_in_memory_two_ends_meet_on_a_port(nursery: trio.Nursery) -> None:
    network = MemoryNetwork()
    first, second = await start(nursery, network, echo), await start(nursery, network, echo)
    assert first != second
    assert await ask(network, Address("venue", first, False, "")) == b"HELLO"


async def test_in_memory_nobody_there_and_refused_are_connection_errors(nursery: trio.Nursery) -> None:
    network = MemoryNetwork()
    port = await start(nursery, network, echo)
    with pytest.raises(ConnectionRefusedError, match="nothing listens"):
        await ask(network, Address("elsewhere", port, False, ""))
    network.refuse.add(("venue", port))
    with pytest.raises(ConnectionRefusedError):
        await ask(network, Address("venue", port, False, ""))
    network.refuse.clear()
    assert await ask(network, Address("venue", port, False, "")) == b"HELLO"


async def test_in_memory_a_port_is_free_again_when_its_server_ended() -> None:
    network = MemoryNetwork()
    for _ in range(2):
        async with trio.open_nursery() as nursery:
            await start(nursery, network, echo, port=7)
            with pytest.raises(OSError, match="in use"):
                await network.serve(echo, "venue", 7, tls=None)
            nursery.cancel_scope.cancel()
    with pytest.raises(ConnectionRefusedError):
        await ask(network, Address("venue", 7, False, ""))


async def test_in_memory_a_connection_that_breaks_leaves_the_others_alone(nursery: trio.Nursery) -> None:
    network = MemoryNetwork()
    broken, whole = await start(nursery, network, cut), await start(nursery, network, echo)
    stream = await network.connect(Address("venue", broken, False, ""))
    assert await stream.receive_some() == b""
    assert await ask(network, Address("venue", whole, False, "")) == b"HELLO"


# --- TCP


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def server_tls(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


async def start_tcp(nursery: trio.Nursery, network: TcpNetwork, handler: Handler, tls: ssl.SSLContext | None) -> int:
    async def serve(task_status: trio.TaskStatus[int]) -> None:
        await network.serve(handler, "127.0.0.1", 0, tls=tls, task_status=task_status)

    bound: int = await nursery.start(serve)
    return bound


async def test_over_tcp_a_trusted_certificate_carries_the_conversation(
    nursery: trio.Nursery, authority: trustme.CA
) -> None:
    network = TcpNetwork(client_tls(authority))
    port = await start_tcp(nursery, network, echo, server_tls(authority, "127.0.0.1"))
    assert await ask(network, Address("127.0.0.1", port, True, "")) == b"HELLO"


async def test_over_tcp_without_tls(nursery: trio.Nursery, authority: trustme.CA) -> None:
    network = TcpNetwork(client_tls(authority))
    port = await start_tcp(nursery, network, echo, None)
    assert await ask(network, Address("127.0.0.1", port, False, "")) == b"HELLO"


@pytest.mark.parametrize("case", ["another host", "another authority", "no TLS at all"])
async def test_a_certificate_that_does_not_fit_is_refused_and_the_server_lives_on(
    nursery: trio.Nursery, authority: trustme.CA, case: str
) -> None:
    network = TcpNetwork(client_tls(authority))
    tls: ssl.SSLContext | None = server_tls(authority, "127.0.0.1")
    if case == "another host":
        tls = server_tls(authority, "example.org")
    elif case == "another authority":
        tls = server_tls(trustme.CA(), "127.0.0.1")
    else:
        tls = None
    port = await start_tcp(nursery, network, echo, tls)
    with trio.fail_after(5), pytest.raises((ssl.SSLError, trio.BrokenResourceError)):
        await network.connect(Address("127.0.0.1", port, True, ""))
    trusting = client_tls(authority)
    trusting.check_hostname = False
    if case == "another host":
        assert await ask(TcpNetwork(trusting), Address("127.0.0.1", port, True, "")) == b"HELLO"


async def test_over_tcp_a_connection_that_breaks_leaves_the_listener_alive(
    nursery: trio.Nursery, authority: trustme.CA
) -> None:
    network = TcpNetwork(client_tls(authority))
    calls: list[int] = []

    async def once_cut(stream: trio.abc.Stream) -> None:
        calls.append(1)
        await (cut(stream) if len(calls) == 1 else echo(stream))

    port = await start_tcp(nursery, network, once_cut, server_tls(authority, "127.0.0.1"))
    address = Address("127.0.0.1", port, True, "")
    with trio.fail_after(5), pytest.raises((trio.BrokenResourceError, ssl.SSLError, AssertionError)):
        assert await ask(network, address)
    assert await ask(network, address) == b"HELLO"


async def test_a_hung_handshake_can_be_cancelled_and_leaves_no_socket_behind(
    nursery: trio.Nursery, authority: trustme.CA
) -> None:
    network = TcpNetwork(client_tls(authority))
    closed = trio.Event()

    async def silent(stream: trio.abc.Stream) -> None:
        with trio.move_on_after(5):
            while await stream.receive_some():
                pass
            closed.set()

    port = await start_tcp(nursery, network, silent, None)
    with trio.move_on_after(0.05) as scope:
        await network.connect(Address("127.0.0.1", port, True, ""))
    assert scope.cancelled_caught
    with trio.fail_after(5):
        await closed.wait()


async def test_a_name_that_does_not_resolve_is_an_error_of_the_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class NoNames(trio.abc.HostnameResolver):
        async def getaddrinfo(self, *_: Any, **__: Any) -> Any:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        async def getnameinfo(self, *_: Any, **__: Any) -> Any:
            raise NotImplementedError

    trio.socket.set_custom_hostname_resolver(NoNames())
    network = TcpNetwork(ssl.create_default_context())
    with pytest.raises(OSError, match="Name or service not known"):
        await network.connect(Address("fapi.venue.example", 443, True, ""))
