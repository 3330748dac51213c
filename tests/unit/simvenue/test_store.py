"""A venue that is opened again is the venue that was left: balances, positions, orders, trades, ids."""

from __future__ import annotations

import sqlite3
from decimal import Decimal as D

import pytest

from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM
from propbot.domain.orders import Side
from propbot.simvenue.records import SimStatus, SimTif
from propbot.simvenue.store import open_store

BUY, SELL = Side.BUY, Side.SELL


def test_a_reopened_venue_equals_the_one_that_was_left(tmp_path, bench_on):
    path = tmp_path / "simvenue.db"
    with open_store(path) as store:
        perp, spot = bench_on(BINANCE_UM, store), bench_on(BINANCE_SPOT, store)
        perp.place(BUY, "0.8", "60000.50", SimTif.GTC)
        perp.place(SELL, "0.1", "60000.00")
        perp.engine.fund("BTCUSDT", D("0.0001"))
        spot.place(SELL, "0.5", "61000.00", SimTif.GTC)
        spot.place(BUY, "0.5", None)
        left = [_state(bench) for bench in (perp, spot)]
    with open_store(path) as store:
        again = [bench_on(BINANCE_UM, store), bench_on(BINANCE_SPOT, store)]
        assert [_state(bench) for bench in again] == left
        assert len(again[0].engine.fundings()) == 1
        # and it goes on: the resting order fills, ids grow
        again[0].ticker("59990.00", "1.000", "60000.40", "0.200")
        resting = again[0].engine.open_orders()[0]
        assert resting.filled_qty == D("0.7")
        assert resting.trades[-1].trade_id > left[0]["trades"][-1].trade_id


def _state(bench):
    engine = bench.engine
    return {
        "balances": engine.balances(),
        "position": engine.position("BTCUSDT"),
        "open": list(engine.open_orders()),
        "orders": list(engine.all_orders("BTCUSDT")),
        "trades": list(engine.trades("BTCUSDT")),
    }


def test_starting_balances_are_given_once(tmp_path, bench_on):
    path = tmp_path / "simvenue.db"
    with open_store(path) as store:
        bench_on(BINANCE_UM, store).place(BUY, "0.5", "60000.10")
    with open_store(path) as store:
        assert bench_on(BINANCE_UM, store).engine.balances()["USDT"][0] < D(100_000)


def test_two_venues_in_one_store_do_not_mix(bench_on):
    with open_store(None) as store:
        perp, spot = bench_on(BINANCE_UM, store), bench_on(BINANCE_SPOT, store)
        order = perp.place(BUY, "0.1", "60000.10")
        assert spot.engine.trades("BTCUSDT") == []
        assert order.order_id != spot.place(BUY, "0.1", "60000.10").order_id
        assert spot.engine.position("BTCUSDT") == (D(0), D(0))


def test_a_wiped_account_does_not_hand_out_old_ids(bench_on):
    with open_store(None) as store:
        old = bench_on(BINANCE_UM, store, wall_ms=1_700_000_000_000).place(BUY, "0.1", "60000.10")
    with open_store(None) as store:
        new = bench_on(BINANCE_UM, store, wall_ms=1_700_000_060_000).place(BUY, "0.1", "60000.10")
    assert new.order_id > old.order_id
    assert new.trades[0].trade_id > old.trades[0].trade_id


class _FailingConnection(sqlite3.Connection):
    """Fails the first statement that `fail_on` names, once."""

    fail_on = ""

    def executemany(self, sql, rows):
        if self.fail_on and self.fail_on in sql:
            type(self).fail_on = ""
            raise sqlite3.OperationalError("disk I/O error")
        return super().executemany(sql, rows)


def test_a_failed_write_leaves_nothing_of_the_call_and_tells_nobody(tmp_path, bench_on):
    def open_connection(path):
        return sqlite3.connect(path, isolation_level=None, factory=_FailingConnection)

    path = tmp_path / "simvenue.db"
    with open_store(path, open_connection) as store:
        bench = bench_on(BINANCE_UM, store)
        _FailingConnection.fail_on = "INTO trades"
        with pytest.raises(sqlite3.OperationalError):
            bench.place(BUY, "0.1", "60000.10")
        assert bench.events == []
    with open_store(path) as store:
        engine = bench_on(BINANCE_UM, store).engine
        assert engine.all_orders("BTCUSDT") == []
        assert engine.balances()["USDT"][0] == D(100_000)


def test_a_stored_order_reads_back_as_it_was(bench_on):
    with open_store(None) as store:
        bench = bench_on(BINANCE_UM, store)
        order = bench.place(BUY, "0.8", "60000.50")
        assert bench.engine.find("BTCUSDT", order_id=order.order_id) == order
        assert order.status is SimStatus.EXPIRED
