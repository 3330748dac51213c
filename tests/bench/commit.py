"""Intent commit: the ledger's own `commit_intent` of two legs and a lot, through its worker thread, one at a time.

This is what stands between a decision and its first byte. Beside it the least that the machine needs for the same
promise: a bare SQLite insert and commit with the same pragmas, and one appended page with `fdatasync`.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path

import trio

from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM
from propbot.domain.lots import Intent, Lot, LotState
from propbot.domain.orders import OrderRequest, Purpose, Side
from propbot.kit.clock import SystemClock
from propbot.kit.crash import CrashPoints
from propbot.kit.disk import open_sqlite
from propbot.kit.ids import Ids
from propbot.kit.threads import open_thread_worker
from propbot.ledger.schema import Sync
from propbot.ledger.store import open_ledger
from tests.bench.rig import Bench, Metric, interleaved, metrics_of, running_child

NAME = "commit"
ROUNDS = 4
EACH = 500
FLOOR_EACH = 250
PAGE = b"\0" * 4096


def measure(bench: Bench) -> Iterable[Metric]:
    folder = bench.folder / "commit"
    folder.mkdir(parents=True, exist_ok=True)
    variants: dict[str, Callable[[], list[float]]] = {}
    for sync in ("full", "normal"):
        variants[f"commit.{sync}"] = partial(_in_a_process, folder, "ledger", sync)
        variants[f"floor.sqlite_insert.{sync}"] = partial(_in_a_process, folder, "sqlite", sync)
    variants["floor.fdatasync"] = partial(_in_a_process, folder, "fdatasync", "full")
    for name, rounds in interleaved(ROUNDS, variants).items():
        yield from metrics_of(name, rounds)


def _in_a_process(folder: Path, what: str, sync: str) -> list[float]:
    with running_child("tests.bench.commit", str(folder), what, sync, log=folder / "commit.log") as child:
        return [float(each) for each in child.answer()["us"]]


async def _commit_intents(path: Path, sync: Sync, count: int) -> list[float]:
    clock = SystemClock()
    ids = Ids(clock, random.Random(1))
    took: list[float] = []
    async with open_ledger(
        path, clock=clock, open_worker=open_thread_worker, open_connection=open_sqlite, crash=CrashPoints(None),
        synchronous=sync,
    ) as ledger:
        for _ in range(count):
            intent, lot = _made(ids, clock)
            began_ns = time.monotonic_ns()
            await ledger.commit_intent(intent, lot)
            took.append((time.monotonic_ns() - began_ns) / 1000)
            await trio.sleep(0.001)
    return took


def _made(ids: Ids, clock: SystemClock) -> tuple[Intent, Lot]:
    qty, now_ns = Decimal("0.016"), clock.wall_ns()
    legs = tuple(
        OrderRequest(ids.client_order_id(), venue, "BTCUSDT", side, Purpose.OPEN, qty, Decimal("60000.1"))
        for venue, side in ((BINANCE_UM, Side.SELL), (BINANCE_SPOT, Side.BUY))
    )
    edge = Decimal("5.123")
    lot = Lot(
        ids.name("lot"), "BTCUSDT", LotState.OPENING, BINANCE_SPOT, BINANCE_UM, qty, now_ns, edge, Decimal(0), edge
    )
    ids_decided_on = {BINANCE_UM: 1, BINANCE_SPOT: 2}
    return Intent(ids.name("intent"), "BTCUSDT", Purpose.OPEN, lot.id, legs, now_ns, edge, ids_decided_on), lot


def _insert(path: Path, sync: str, count: int) -> Iterator[float]:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA synchronous={sync}")
    connection.execute("CREATE TABLE t (id TEXT PRIMARY KEY, body TEXT)")
    for number in range(count):
        began_ns = time.monotonic_ns()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO t VALUES (?, ?)", (str(number), "x" * 800))
        connection.execute("COMMIT")
        yield (time.monotonic_ns() - began_ns) / 1000
        time.sleep(0.001)
    connection.close()


def _append(path: Path, count: int) -> Iterator[float]:
    with open(path, "wb", buffering=0) as file:
        for _ in range(count):
            began_ns = time.monotonic_ns()
            file.write(PAGE)
            os.fdatasync(file.fileno())
            yield (time.monotonic_ns() - began_ns) / 1000
            time.sleep(0.001)


def main() -> None:
    folder, what, sync = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    free = (folder / f"{what}-{number}" for number in itertools.count())
    path = next(each for each in free if not each.exists())
    match what:
        case "ledger":
            took = trio.run(_commit_intents, path, sync, EACH)
        case "sqlite":
            took = list(_insert(path, sync, FLOOR_EACH))
        case "fdatasync":
            took = list(_append(path, FLOOR_EACH))
        case _:
            raise ValueError(what)
    print(json.dumps({"us": took}), flush=True)


if __name__ == "__main__":
    main()
