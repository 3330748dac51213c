"""`python -m tests.armour.drill`: a HOLD by API while the API is attacked, and what that costs the loop that trades.

The real service on embedded venues, asked over loopback. First in peace, then under attack, for so many seconds each:
1,000 half-open or slow connections, 500 requests a second with wrong tokens, bodies of a gigabyte, the known vectors
and mutated requests. Meanwhile an operator's HOLD every tenth of a second, each over a connection of its own, from a
process of its own: the attackers' loop is busier than the service's, and would be what is measured. Prints a JSON line
a figure; exit 1 if the service died or a figure missed its bound (game day 14).

The attackers share the machine with the service: on two cores the figures are worse than what a service by itself
gives. What peace costs is told beside them; where that misses its bound already, the figures say nothing.
"""

from __future__ import annotations

import argparse
import json
import random
import ssl
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio
from attrs import asdict, define, field

from tests.armour.raw import VECTORS, mutated, seeds
from tests.bench.rig import Metric, cpu_s, percentile
from tests.e2e.processes import Bot, running_bot

TOKEN = "d" * 40
HOLD_EVERY_S = 0.1
HOLD_P99_MS_MAX = 250.0
LAG_P99_MS_MAX = 50.0
HOLD = json.dumps({"mode": "HOLD", "reason": "armour drill"}).encode()
HOLD_REQUEST = (
    b"PATCH /api/ui/control HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer "
    + TOKEN.encode() + b"\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(HOLD) + HOLD
)
WRONG_REQUEST = b"GET /api/ui/state HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer wrong-%d\r\n\r\n"
BIG_HEAD = b"PATCH /api/ui/control HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n"


@define
class Seen:
    """What the attackers and the operator counted."""

    wrong_answered: int = 0
    slow_opened: int = 0
    fuzzed: int = 0


@define
class Holds:
    """What the operator saw."""

    ms: list[float] = field(factory=list)
    failed: list[str] = field(factory=list)
    """What came instead of a 200."""


async def dial(port: int) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", port)


async def hold_now(port: int, holds: Holds) -> None:
    began = trio.current_time()
    answer, why = b"", "nothing"
    try:
        with trio.fail_after(10):
            async with await dial(port) as stream:
                await stream.send_all(HOLD_REQUEST)
                while data := await stream.receive_some(65536):
                    answer += data
    except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
        why = repr(error)
    if answer.startswith(b"HTTP/1.1 200"):
        holds.ms.append((trio.current_time() - began) * 1000)
    else:
        holds.failed.append(answer[:200].decode("latin-1") or why)


async def keep_holding(port: int, seconds: float) -> Holds:
    holds = Holds()
    with trio.move_on_after(seconds):
        while True:
            await hold_now(port, holds)
            await trio.sleep(HOLD_EVERY_S)
    return holds


async def operate(port: int, seconds: float) -> Holds:
    """`keep_holding` in a process of its own; half a second later, so that what it meets has begun."""
    await trio.sleep(0.5)
    command = [sys.executable, "-m", "tests.armour.drill", "--operate", str(port), "--seconds", str(seconds - 0.5)]
    done = await trio.run_process(command, capture_stdout=True)
    return Holds(**json.loads(done.stdout))


async def be_slow(port: int, seen: Seen, rng: random.Random) -> None:
    """A head that comes a byte a second and has no end; some say nothing at all. Opened again when it is ended."""
    stream = await dial(port)
    seen.slow_opened += 1
    async with stream:
        if rng.random() < 0.3:
            await stream.receive_some(1)
            return
        for byte in b"GET /api/ui/state HTTP/1.1\r\nHost: localhost\r\nX-Slow: " + b"a" * 1000:
            await stream.send_all(bytes([byte]))
            await trio.sleep(1)


async def send_wrong_tokens(port: int, seen: Seen, per_s: float, kept: bool) -> None:
    """At a fixed pace, over one connection, or each over its own."""
    stream = await dial(port)
    due_s = trio.current_time()
    async with stream:
        while True:
            await stream.send_all(WRONG_REQUEST % seen.wrong_answered)
            if not await stream.receive_some(65536):
                return
            seen.wrong_answered += 1
            if not kept:
                return
            due_s += 1 / per_s
            await trio.sleep(max(due_s - trio.current_time(), 0))


async def send_big_body(port: int) -> None:
    async with await dial(port) as stream:
        await stream.send_all(BIG_HEAD)
        for _ in range(100):
            await stream.send_all(b"x" * 65536)


async def send_fuzz(port: int, seen: Seen, rng: random.Random) -> None:
    raw = mutated(rng, seeds("w" * 40)) if rng.random() < 0.9 else rng.choice(list(VECTORS))
    seen.fuzzed += 1
    async with await dial(port) as stream:
        await stream.send_all(raw)
        with trio.move_on_after(0.2):
            await stream.receive_some(65536)


async def again(attack: Callable[[], Awaitable[None]], pause_s: float) -> None:
    """For ever; being thrown out is what an attacker expects."""
    while True:
        try:
            await attack()
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError):
            pass
        await trio.sleep(pause_s)


async def run_attack(port: int, seen: Seen, options: argparse.Namespace, rng: random.Random) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(options.slow):
            nursery.start_soon(again, lambda: be_slow(port, seen, rng), 1.0)
        for _ in range(10):  # nine tenths over kept connections, the rest each over its own
            nursery.start_soon(again, lambda: send_wrong_tokens(port, seen, options.wrong * 0.09, True), 0.05)
            nursery.start_soon(again, lambda: send_wrong_tokens(port, seen, 1, False), 100 / options.wrong)
        for _ in range(4):
            nursery.start_soon(again, lambda: send_big_body(port), 0.2)
            nursery.start_soon(again, lambda: send_fuzz(port, seen, rng), 0.02)


def lag_ms(bot: Bot) -> tuple[float, int]:
    """As the service measures it itself, over the last minutes."""
    found: dict[str, Any] = {}

    def asked() -> bool:
        found.update(bot.get("/api/ui/status/slo")["metrics"]["loop_lag_p99"])
        return True

    bot.wait(asked, "an answer after the attack")
    return found["value"], found["samples"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.armour.drill", description=str(__doc__).splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--slow", type=int, default=1000, help="half-open and slow connections")
    parser.add_argument("--wrong", type=float, default=500, help="requests a second with a wrong token")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--operate", type=int, metavar="PORT", help="only the operator, at a service that runs")
    options = parser.parse_args()
    if options.operate is not None:
        print(json.dumps(asdict(trio.run(keep_holding, options.operate, options.seconds))))
        return 0
    folder = Path(tempfile.mkdtemp(prefix="propbot-armour-"))
    with running_bot(folder, API_TOKEN=TOKEN) as bot:
        bot.http.headers["Authorization"] = f"Bearer {TOKEN}"
        assert bot.process is not None
        failed = False
        for name in ("peace", "attack"):
            seen, used_s, began_s = Seen(), cpu_s(bot.process.pid), time.monotonic()

            async def meanwhile(name: str = name, seen: Seen = seen) -> Holds:
                async with trio.open_nursery() as nursery:
                    if name == "attack":
                        nursery.start_soon(run_attack, bot.port, seen, options, random.Random(options.seed))
                    holds = await operate(bot.port, options.seconds)
                    nursery.cancel_scope.cancel()
                return holds

            holds = trio.run(meanwhile)
            took_s = time.monotonic() - began_s
            lag, samples = lag_ms(bot)
            n = len(holds.ms)
            p99 = percentile(holds.ms, 0.99)
            for metric in (
                Metric(f"armour.{name}.hold_ms_p50", percentile(holds.ms, 0.5), "ms", n),
                Metric(f"armour.{name}.hold_ms_p99", p99, "ms", n),
                Metric(f"armour.{name}.holds_failed", len(holds.failed), "count", n),
                Metric(f"armour.{name}.loop_lag_ms_p99", lag, "ms", samples),
                Metric(f"armour.{name}.cpu_share", (cpu_s(bot.process.pid) - used_s) / took_s, "cores", 1),
                Metric(f"armour.{name}.wrong_tokens_per_s", seen.wrong_answered / took_s, "1/s", seen.wrong_answered),
                Metric(f"armour.{name}.slow_opened", seen.slow_opened, "count", 1),
                Metric(f"armour.{name}.fuzzed", seen.fuzzed, "count", 1),
            ):
                print(metric.line(), flush=True)
            for each in holds.failed:
                print(f"{name}: a HOLD failed: {each}", file=sys.stderr)
            alive = bot.process.poll() is None
            failed = failed or not alive or len(holds.failed) > 0 or p99 > HOLD_P99_MS_MAX or lag > LAG_P99_MS_MAX
        code, stop_s = bot.terminate()
        print(Metric("armour.stop_s", stop_s, "s", 1).line())
        return 1 if failed or code != 0 else 0


if __name__ == "__main__":
    sys.exit(main())
