"""Makers of orders, intents, lots and fills, an open ledger, and connections that fail, hang or count."""

from __future__ import annotations

import itertools
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve

from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM
from propbot.domain.lots import Intent, Lot, LotState
from propbot.domain.orders import Fill, OrderRequest, Purpose, Side
from propbot.kit.crash import CrashPoints
from propbot.kit.disk import OpenSqlite, open_sqlite
from propbot.kit.threads import open_inline_worker, open_thread_worker
from propbot.ledger import Ledger, open_ledger


class StubClock:
    """Wall time that counts up by a microsecond a look, so that rows have an order."""

    def __init__(self) -> None:
        self._ticks = itertools.count(1_700_000_000_000_000_000, 1000)

    def wall_ns(self) -> int:
        return next(self._ticks)

    def mono_s(self) -> float:
        return trio.current_time()


class Faults:
    """Counts the statements and commits of the connections that it opens; the `fail_at`-th fails, or hangs."""

    def __init__(self) -> None:
        self.count = 0
        self.fail_at: int | None = None
        self.fail_only: str | None = None
        """Only statements that begin so are counted (`COMMIT` for commits)."""
        self.after_effect = False
        """Fail after the statement was carried out: an answer that got lost."""
        self.stick = False
        """Every operation from `fail_at` on fails: a disk that is gone."""
        self.hang: threading.Event | None = None
        self.hanging = threading.Event()

    def open(self, path: Path) -> sqlite3.Connection:
        faults = self

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
                cursor: sqlite3.Cursor = faults.pass_through(sql, lambda: sqlite3.Connection.execute(self, sql, *args))
                return cursor

            def commit(self) -> None:
                faults.pass_through("COMMIT", lambda: sqlite3.Connection.commit(self))

        return sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=0.05, factory=Connection)

    def pass_through(self, sql: str, act: Callable[[], Any]) -> Any:
        if self.fail_only is not None and not sql.startswith(self.fail_only):
            return act()
        self.count += 1
        hit = self.fail_at is not None and (self.count == self.fail_at or (self.stick and self.count > self.fail_at))
        if hit and self.hang is not None:
            self.hanging.set()
            self.hang.wait()
        elif hit:
            if self.after_effect:
                act()
            raise sqlite3.OperationalError("disk I/O error")
        return act()


@pytest.fixture
def faults() -> Faults:
    return Faults()


OpenLedger = Callable[..., AbstractAsyncContextManager[Ledger]]


@pytest.fixture
def open_at(tmp_path: Path) -> OpenLedger:
    """`open_at(open_connection=…, threaded=…, crash=…)`: the test's one ledger file."""

    def open_it(
        *,
        path: Path | None = None,
        open_connection: OpenSqlite = open_sqlite,
        threaded: bool = False,
        crash: CrashPoints | None = None,
    ) -> AbstractAsyncContextManager[Ledger]:
        return open_ledger(
            path or tmp_path / "ledger.db",
            clock=StubClock(),
            open_worker=partial(open_thread_worker, abandon_after_s=0.2) if threaded else open_inline_worker,
            open_connection=open_connection,
            crash=crash or CrashPoints(),
            synchronous="normal",
        )

    return open_it


@pytest.fixture
async def ledger(open_at: OpenLedger) -> AsyncIterator[Ledger]:
    async with open_at() as opened:
        yield opened


class Make:
    """Domain values with what a test does not care about filled in."""

    def order(self, client_order_id: str = "pb1", **changes: Any) -> OrderRequest:
        plain = OrderRequest(
            client_order_id, BINANCE_UM, "BTCUSDT", Side.BUY, Purpose.OPEN, Decimal("0.010"), Decimal("60000.10")
        )
        return evolve(plain, **changes)

    def intent(self, *legs: OrderRequest, **changes: Any) -> Intent:
        chosen = legs or (self.order(),)
        plain = Intent(
            id=f"intent-{chosen[0].client_order_id}",
            pair="BTCUSDT",
            purpose=Purpose.OPEN,
            lot_id="lot-1",
            legs=chosen,
            created_ns=1_700_000_000_123_456_789,
            edge_bps=Decimal("1.25"),
            decided_on={BINANCE_UM: 17, BINANCE_SPOT: 23},
        )
        return evolve(plain, **changes)

    def lot(self, lot_id: str = "lot-1", **changes: Any) -> Lot:
        plain = Lot(
            id=lot_id,
            pair="BTCUSDT",
            state=LotState.OPENING,
            buy_venue=BINANCE_SPOT,
            sell_venue=BINANCE_UM,
            qty=Decimal("0.01"),
            opened_ns=1_700_000_000_000_000_001,
            edge_bps=Decimal("1.5"),
            reference_bps=Decimal("-0.3"),
        )
        return evolve(plain, **changes)

    def fill(self, trade_id: str = "7", **changes: Any) -> Fill:
        plain = Fill(
            venue=BINANCE_UM,
            symbol="BTCUSDT",
            order_id="900",
            client_order_id="pb1",
            trade_id=trade_id,
            side=Side.BUY,
            qty=Decimal("0.004"),
            price=Decimal("60000.1"),
            fee=Decimal("0.0408"),
            fee_asset="USDT",
            liquidity="taker",
            ts_ms=1_700_000_000_500,
        )
        return evolve(plain, **changes)


@pytest.fixture
def make() -> Make:
    return Make()
