"""Two thousand malformed requests against the real server over loopback: it dies of none, and answers none with a 5xx
of its own making. `PROPBOT_FUZZ_CASES=50000 PROPBOT_FUZZ_SEED=7` asks for more, or for others."""

from __future__ import annotations

import os
import random
import re

import pytest
import trio

from propbot.api.app import make_api
from propbot.api.auth import Auth
from propbot.control.operators import Operators
from propbot.status.board import Board
from propbot.status.incidents import Incidents
from tests.armour.raw import VECTORS, mutated, seeds
from tests.unit.api.conftest import TOKEN, FakeDesk, FixedClock
from tests.unit.api.test_server import open_serving

CASES = int(os.environ.get("PROPBOT_FUZZ_CASES", "2000"))
SEED = int(os.environ.get("PROPBOT_FUZZ_SEED", "20261128"))
AT_ONCE = 25
LOOK_EVERY = 250
ANSWER_S_MAX = 0.05
"""What is not whole is waited on by the server; we do not wait with it."""
STATUSES = {100, 200, 400, 401, 403, 404, 405, 413, 415, 422, 429, 431, 501, 505}
"""100 is what one that has become `Expect: 100-continue` is told first."""
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


@pytest.fixture
def desk() -> FakeDesk:
    clock = FixedClock()
    return FakeDesk(Board(clock), Incidents(clock))


async def send(serving, raw: bytes, rng: random.Random) -> bytes:
    """What came back."""
    received = b""
    stream = await serving.connect()
    try:
        at = 0
        while at < len(raw):
            part = rng.choice((1, 7, 100, 5000, 70_000)) if len(raw) < 2000 else 5000
            await stream.send_all(raw[at : at + part])
            at += part
        with trio.move_on_after(ANSWER_S_MAX):
            while data := await stream.receive_some(65536):
                received += data
    except trio.BrokenResourceError:
        pass  # closed on us before it had everything: its right
    finally:
        await trio.aclose_forcefully(stream)
    return received


async def attack(serving, cases: list[bytes], rng: random.Random) -> set[int]:
    """The statuses that were answered."""
    seen: set[int] = set()
    limit = trio.CapacityLimiter(AT_ONCE)

    async def one(raw: bytes) -> None:
        async with limit:
            seen.update(int(each) for each in _STATUS.findall(await send(serving, raw, rng)))

    async with trio.open_nursery() as nursery:
        for raw in cases:
            nursery.start_soon(one, raw)
    return seen


@pytest.mark.timeout(max(120, CASES // 20))
async def test_no_raw_request_ends_the_server_or_breaks_it(desk: FakeDesk, caplog: pytest.LogCaptureFixture) -> None:
    rng = random.Random(SEED)
    legal = seeds(TOKEN)
    seen: set[int] = set()
    app = make_api(desk, auth=Auth(Operators.of(TOKEN)))
    async with open_serving(app, seconds=max(100, CASES // 20)) as serving:
        for first in range(0, CASES, LOOK_EVERY):
            cases = [mutated(rng, legal) for _ in range(min(LOOK_EVERY, CASES - first))]
            seen |= await attack(serving, cases, rng)
            assert await serving.healthz() == 200, f"after case {first} of seed {SEED}"
        assert await serving.stop() < 1.5
    assert seen <= STATUSES, seen - STATUSES
    assert {200, 400, 401} <= seen
    assert "hold" in desk.heard, "some of the requests were still a HOLD"
    assert [each.message for each in caplog.records if each.levelname == "ERROR"] == []


@pytest.mark.parametrize("raw", VECTORS)
async def test_the_known_vectors_end_nothing(desk: FakeDesk, raw: bytes) -> None:
    app = make_api(desk, auth=Auth(Operators.of(TOKEN)))
    async with open_serving(app) as serving:
        for _ in range(5):
            await send(serving, raw, random.Random(1))
        assert await serving.healthz() == 200
