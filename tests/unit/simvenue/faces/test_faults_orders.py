"""Faults of orders, of the account and of the symbol, seen from the client that they happen to."""

from __future__ import annotations

from decimal import Decimal

import pytest
import trio

from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM
from propbot.simvenue.faults import FaultError

UM, SPOT = BINANCE_UM, BINANCE_SPOT
SYMBOL = "BTCUSDT"


def position(world):
    return str(world.inside.engines[UM].position(SYMBOL)[0])


async def query(world, client_order_id):
    return await world.signed(UM, "GET", "/fapi/v1/order", symbol=SYMBOL, origClientOrderId=client_order_id)


async def test_symbol_status_refuses_orders_until_it_is_trading_again(world, autojump_clock):
    for status, answer in (("BREAK", -4140), ("TRADING", None)):
        world.inside.faults.inject(UM, "symbol_status", params={"status": status})
        info = await world.ask(UM, "GET", "/fapi/v1/exchangeInfo")
        assert info.body["symbols"][0]["status"] == status
        assert (await world.order(UM, "BUY", "0.002", "60000.10")).body.get("code") == answer


async def test_change_filters_judges_and_tells_by_the_new_ones(world, autojump_clock):
    world.inside.faults.inject(UM, "change_filters", params={"tick_size": "0.5", "notional_min": "200"})
    info = await world.ask(UM, "GET", "/fapi/v1/exchangeInfo")
    filters = {each["filterType"]: each for each in info.body["symbols"][0]["filters"]}
    assert Decimal(filters["PRICE_FILTER"]["tickSize"]) == Decimal("0.5")
    assert (await world.order(UM, "BUY", "0.004", "60000.1")).body["code"] == -4014
    assert (await world.order(UM, "BUY", "0.002", "60000.5")).body["code"] == -4164
    assert (await world.order(UM, "BUY", "0.004", "60000.5")).status == 200


@pytest.mark.parametrize(("executed", "held"), [(True, "0.002"), (False, "0")])
async def test_odd_reply_leaves_open_whether_the_order_was_executed(world, executed, held, autojump_clock):
    params = {"status": 408, "code": -1007, "msg": "Timeout waiting for response.", "executed": executed}
    world.inside.faults.inject(UM, "odd_reply", params=params)
    answer = await world.order(UM, "BUY", "0.002", "60000.10")
    assert (answer.status, answer.body["code"]) == (408, -1007)
    assert position(world) == held


async def test_late_match_lets_an_order_rest_and_then_meet_the_market_as_a_taker(world, autojump_clock):
    world.inside.faults.inject(UM, "late_match", params={"seconds": 10})
    answer = await world.order(UM, "BUY", "0.002", "60000.10", newOrderRespType="RESULT", newClientOrderId="pb1")
    assert (answer.body["status"], answer.body["executedQty"]) == ("NEW", "0.000")
    await trio.sleep(9)
    world.market.ticker(UM, "60000.00", "60000.10")
    assert (await query(world, "pb1")).body["status"] == "NEW"
    await trio.sleep(1)
    world.market.ticker(UM, "60000.00", "60000.10")
    assert (await query(world, "pb1")).body["status"] == "FILLED"
    world.inside.faults.inject(UM, "late_match", params={"seconds": 1})
    await world.order(UM, "BUY", "0.002", "60000.10", newClientOrderId="pb2")
    await trio.sleep(1)
    world.market.ticker(UM, "60001.00", "60001.10")
    assert (await query(world, "pb2")).body["status"] == "EXPIRED"


@pytest.mark.parametrize(("fill", "status"), [(True, "FILLED"), (False, "NEW")])
async def test_reject_cancel_says_2011_whatever_became_of_the_order(world, fill, status, autojump_clock):
    await world.order(UM, "BUY", "0.002", "59000.00", timeInForce="GTC", newClientOrderId="pb1")
    world.inside.faults.inject(UM, "reject_cancel", params={"fill": fill})
    cancel = await world.signed(UM, "DELETE", "/fapi/v1/order", symbol=SYMBOL, origClientOrderId="pb1")
    assert cancel.body["code"] == -2011
    assert (await query(world, "pb1")).body["status"] == status


async def test_position_mode_refuses_orders_without_a_side_of_the_position(world, autojump_clock):
    world.inside.faults.inject(UM, "position_mode")
    assert (await world.signed(UM, "GET", "/fapi/v1/positionSide/dual")).body == {"dualSidePosition": True}
    assert (await world.order(UM, "BUY", "0.002", "60000.10")).body["code"] == -4061
    world.inside.faults.inject(UM, "position_mode", params={"dual": False})
    assert (await world.order(UM, "BUY", "0.002", "60000.10")).status == 200
    with pytest.raises(FaultError, match="no positions"):
        world.inside.faults.inject(SPOT, "position_mode")


@pytest.mark.parametrize("venue", [UM, SPOT])
async def test_foreign_order_rests_away_from_the_market_under_an_id_that_is_not_ours(world, venue, autojump_clock):
    world.inside.faults.inject(venue, "foreign_order", params={"side": "SELL", "qty": "0.01"})
    (order,) = world.inside.engines[venue].open_orders(SYMBOL)
    assert order.request.limit_price > Decimal(61_000)
    assert not order.request.client_order_id.startswith("pb")
    with pytest.raises(FaultError, match="refuses"):
        world.inside.faults.inject(venue, "foreign_order", params={"side": "BUY", "qty": "0.0000001"})
