"""The event stream over real loopback sockets: it outlives deadlines that are meant for others, and delays nothing."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from propbot.api.app import make_api
from propbot.api.auth import Auth
from propbot.api.server import GRACE_S, run_api
from propbot.api.stream import STREAMS_MAX
from propbot.control.operators import Operators
from tests.unit.api.conftest import TOKEN
from tests.unit.api.test_server import Serving

ASKED = f"GET /api/ui/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()


@pytest.fixture
async def serving(desk):
    """As `serve.ApiServer` does it: the application knows the server's shutdown."""
    shutdown, ended = trio.Event(), trio.Event()
    app = make_api(desk, auth=Auth(Operators.of(TOKEN)), closing=shutdown)

    async def serve(task_status=trio.TASK_STATUS_IGNORED):
        await run_api(app, "127.0.0.1", 0, shutdown=shutdown, task_status=task_status)
        ended.set()

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            url = await nursery.start(serve)
            yield Serving(url, nursery, shutdown, ended)
            nursery.cancel_scope.cancel()


async def open_one(serving):
    stream = await serving.connect()
    await stream.send_all(ASKED)
    received = await stream.receive_some(65536)
    assert received.startswith((b"HTTP/1.1 200", b"HTTP/1.1 429")), received[:100]
    return stream, received


async def read_to_end(stream, received=b""):
    while data := await stream.receive_some(65536):
        received += data
    return received


async def test_the_end_of_the_server_ends_streams_whole_and_at_once(serving):
    streams = [await open_one(serving) for _ in range(3)]
    assert await serving.stop() < GRACE_S / 2
    for stream, received in streams:
        async with stream:
            assert (await read_to_end(stream, received)).endswith(b"\r\n0\r\n\r\n"), "the last chunk: nothing was cut"


async def test_a_client_that_only_listens_is_not_taken_for_one_that_is_stuck(desk, monkeypatch):
    """hypercorn's read deadline would end each stream after it."""
    monkeypatch.setattr("propbot.api.server.READ_S_MAX", 0.3)
    monkeypatch.setattr("propbot.api.server.KEEP_ALIVE_S", 0.3)
    shutdown = trio.Event()
    app = make_api(desk, auth=Auth(Operators.of(TOKEN)), closing=shutdown)
    async with trio.open_nursery() as nursery:
        url = await nursery.start(partial(run_api, app, "127.0.0.1", 0, shutdown=shutdown))
        port = int(url.rpartition(":")[2])
        async with (
            await trio.open_tcp_stream("127.0.0.1", port) as stuck,
            await trio.open_tcp_stream("127.0.0.1", port) as stream,
        ):
            await stuck.send_all(b"GET /healthz HT")
            await stream.send_all(ASKED)
            await read_to_end(stuck)
            await trio.sleep(0.7)
            desk.happen()
            received = b""
            with trio.fail_after(5):
                while b"event: event" not in received:
                    data = await stream.receive_some(65536)
                    assert data, "it was ended"
                    received += data
        shutdown.set()


async def test_clients_that_vanish_free_their_places(serving):
    for _ in range(2):
        streams = [await open_one(serving) for _ in range(STREAMS_MAX)]
        assert [received[:12] for _, received in streams] == [b"HTTP/1.1 200"] * STREAMS_MAX
        eleventh, refused = await open_one(serving)
        assert refused.startswith(b"HTTP/1.1 429")
        for stream, _ in [*streams, (eleventh, b"")]:
            await trio.aclose_forcefully(stream)
        await trio.sleep(0.5)
    assert await serving.healthz() == 200
