"""Each fault, seen from the client that it happens to."""

from __future__ import annotations

import pytest
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected

from propbot.domain.dialect import HttpCall
from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM
from propbot.kit.http1 import AnswerLost
from propbot.simvenue.faults import FAULTS, FaultError

UM, SPOT = BINANCE_UM, BINANCE_SPOT
SYMBOL = "BTCUSDT"


def position(world):
    return str(world.inside.engines[UM].position(SYMBOL)[0])


async def buy(world, **params):
    return await world.order(UM, "BUY", "0.002", "60000.10", newOrderRespType="RESULT", **params)


async def rejects(world, target):
    """The status that a WebSocket handshake is answered with."""
    status = 101
    try:
        async with trio.open_nursery() as nursery:
            world.nursery, outer = nursery, world.nursery
            await world.websocket(world.access.venues[UM].ws, target)
    except* ConnectionRejected as group:
        status = group.exceptions[0].status_code
    finally:
        world.nursery = outer
    return status


async def test_lost_ack_accepts_the_order_and_cuts_the_connection(world, autojump_clock):
    world.inside.faults.inject(UM, "lost_ack")
    with pytest.raises(AnswerLost):
        await buy(world, newClientOrderId="pb1")
    asked = await world.signed(UM, "GET", "/fapi/v1/order", symbol=SYMBOL, origClientOrderId="pb1")
    assert asked.body["status"] == "FILLED"
    assert (await buy(world)).status == 200


async def test_drop_request_cuts_the_connection_before_the_order_exists(world, autojump_clock):
    world.inside.faults.inject(UM, "drop_request")
    with pytest.raises(AnswerLost):
        await buy(world, newClientOrderId="pb1")
    asked = await world.signed(UM, "GET", "/fapi/v1/order", symbol=SYMBOL, origClientOrderId="pb1")
    assert asked.body["code"] == -2013
    assert [row["client_order_id"] for row in world.kinds("order")] == ["pb1"]


async def test_delayed_ack_answers_late_and_books_in_time(world, autojump_clock):
    world.inside.faults.inject(UM, "delayed_ack", params={"seconds": 7})
    started_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(buy, world)
        await trio.sleep(1)
        assert position(world) == "0.002"
    assert trio.current_time() - started_s == pytest.approx(7.01, abs=1e-6)


async def test_reject_order_refuses_as_many_as_asked_after_as_many_as_asked(world, autojump_clock):
    world.inside.faults.inject(UM, "reject_order", after=1, count=2, params={"code": -4164, "msg": "no"})
    assert [(await buy(world)).status for _ in range(4)] == [200, 400, 400, 200]
    world.inside.faults.inject(SPOT, "reject_order")
    refused = await world.order(SPOT, "BUY", "0.001", "60000.10")
    assert refused.body["code"] == -2010


@pytest.mark.parametrize(("params", "filled"), [({"fraction": 0.3}, "0.003"), ({"qty": "0.004"}, "0.004")])
async def test_partial_fill_fills_a_part_and_expires_the_rest(world, params, filled, autojump_clock):
    world.inside.faults.inject(UM, "partial_fill", params=params)
    answer = await world.order(UM, "BUY", "0.010", "60000.10", newOrderRespType="RESULT")
    assert (answer.body["executedQty"], answer.body["status"]) == (filled, "EXPIRED")


@pytest.mark.parametrize(("executed", "held"), [(True, "0.002"), (False, "0")])
async def test_unknown_503_leaves_open_whether_the_order_was_executed(world, executed, held, autojump_clock):
    world.inside.faults.inject(UM, "unknown_503", params={"executed": executed})
    answer = await buy(world)
    assert (answer.status, answer.body) == (503, "Unknown error, please check your request or try again later.")
    assert position(world) == held


async def test_hide_order_answers_2013_until_its_time_is_over(world, autojump_clock):
    world.inside.faults.inject(UM, "hide_order", params={"seconds": 5})
    await world.order(UM, "BUY", "0.002", "59000.00", timeInForce="GTC", newClientOrderId="pb1")
    asked = {"symbol": SYMBOL, "origClientOrderId": "pb1"}
    assert (await world.signed(UM, "GET", "/fapi/v1/order", **asked)).body["code"] == -2013
    assert (await world.signed(UM, "GET", "/fapi/v1/openOrders", symbol=SYMBOL)).body == []
    await trio.sleep(5)
    assert (await world.signed(UM, "GET", "/fapi/v1/order", **asked)).body["status"] == "NEW"


async def test_silent_feed_stops_the_frames_and_nothing_else(world, autojump_clock):
    session = await world.websocket(world.access.venues[UM].ws, "/public/ws/btcusdt@bookTicker")
    await trio.sleep(0.1)
    fault = world.inside.faults.inject(UM, "silent_feed")
    world.market.ticker(UM, "60000.00", "60000.10")
    assert await world.hears_nothing(session)
    with trio.fail_after(1):
        await session.ping()
    world.inside.faults.clear(fault)
    world.market.ticker(UM, "60000.00", "60000.20")
    assert "60000.20" in await session.get_message()


async def test_a_lasting_fault_ends_when_its_seconds_are_over(world, autojump_clock):
    world.inside.faults.inject(UM, "silent_feed", params={"seconds": 10})
    session = await world.websocket(world.access.venues[UM].ws, "/public/ws/btcusdt@bookTicker")
    await trio.sleep(9)
    world.market.ticker(UM, "60000.00", "60000.10")
    assert await world.hears_nothing(session, 1)
    world.market.ticker(UM, "60000.00", "60000.20")
    assert "60000.20" in await session.get_message()


async def test_depth_gap_leaves_one_diff_out(world, autojump_clock):
    session = await world.websocket(world.access.venues[UM].ws, "/public/ws/btcusdt@depth")
    await trio.sleep(0.1)
    world.inside.faults.inject(UM, "depth_gap", after=1)
    sent = [world.market.depth(UM).data for _ in range(3)]
    assert [await session.get_message() for _ in range(2)] == [sent[0], sent[2]]


async def test_private_cut_closes_private_sessions_and_refuses_new_ones_for_a_while(world, autojump_clock):
    key = await world.listen_key()
    private = await world.websocket(world.access.venues[UM].ws, f"/private/ws?listenKey={key}")
    public = await world.websocket(world.access.venues[UM].ws, "/public/ws/btcusdt@bookTicker")
    spot = await world.subscribe_spot()
    await trio.sleep(0.1)
    for venue in (UM, SPOT):
        world.inside.faults.inject(venue, "private_cut", params={"down_s": 3})
    for session in (private, spot):
        with pytest.raises(ConnectionClosed):
            await session.get_message()
    assert await rejects(world, f"/private/ws?listenKey={key}") == 503
    world.market.ticker(UM, "60000.00", "60000.10")
    assert "60000.10" in await public.get_message()
    await trio.sleep(3)
    await world.websocket(world.access.venues[UM].ws, f"/private/ws?listenKey={key}")
    await world.subscribe_spot()


async def test_duplicate_fill_tells_of_the_same_trade_twice(world, autojump_clock):
    session = await world.subscribe_spot()
    world.inside.faults.inject(SPOT, "duplicate_fill")
    await world.order(SPOT, "BUY", "0.001", "60000.10")
    events = [(await world.hear(session))["event"] for _ in range(5)]
    trades = [event["t"] for event in events if event.get("x") == "TRADE"]
    assert len(trades) == 2
    assert len(set(trades)) == 1


async def test_silent_private_swallows_the_events_of_the_account(world, autojump_clock):
    session = await world.subscribe_spot()
    world.inside.faults.inject(SPOT, "silent_private")
    await world.order(SPOT, "BUY", "0.001", "60000.10")
    assert await world.hears_nothing(session)
    world.inside.faults.clear()
    await world.order(SPOT, "BUY", "0.001", "60000.10")
    assert (await world.hear(session))["event"]["e"] == "executionReport"


async def test_rate_limit_429_says_for_how_long_and_means_it(world, autojump_clock):
    world.inside.faults.inject(UM, "rate_limit_429", params={"retry_after": 5})
    first = await world.ask(UM, "GET", "/fapi/v1/time")
    assert (first.status, first.headers["retry-after"], first.body["code"]) == (429, "5", -1003)
    await trio.sleep(4)
    assert (await world.ask(UM, "GET", "/fapi/v1/time")).status == 429
    await trio.sleep(1)
    assert (await world.ask(UM, "GET", "/fapi/v1/time")).status == 200


async def test_clock_offset_moves_the_venues_clock_and_its_judgement(world, autojump_clock):
    world.inside.faults.inject(UM, "clock_offset", params={"ms": -2000})
    assert (await world.ask(UM, "GET", "/fapi/v1/time")).body["serverTime"] == world.now_ms() - 2000
    assert (await world.signed(UM, "GET", "/fapi/v3/balance")).body["code"] == -1021
    world.inside.faults.clear()
    assert (await world.signed(UM, "GET", "/fapi/v3/balance")).status == 200


async def test_foreign_trade_is_booked_at_once_under_an_id_that_is_not_ours(world, autojump_clock):
    world.inside.faults.inject(UM, "foreign_trade", params={"side": "SELL", "qty": "0.003"})
    assert position(world) == "-0.003"
    trade = world.kinds("trade")[0]
    assert not trade["client_order_id"].startswith("pb")
    with pytest.raises(FaultError, match="refuses"):
        world.inside.faults.inject(UM, "foreign_trade", params={"side": "SELL", "qty": "0.0000001"})


async def test_refuse_connections_closes_new_ones_and_with_cut_the_open_ones(world, autojump_clock):
    session = await world.websocket(world.access.venues[UM].ws, "/public/ws/btcusdt@bookTicker")
    world.inside.faults.inject(UM, "refuse_connections", params={"seconds": 10, "cut": True})
    with pytest.raises(ConnectionClosed):
        await session.get_message()
    with pytest.raises(AnswerLost):
        await world.send(world.access.venues[UM].rest, HttpCall("GET", "/fapi/v1/time"))
    await trio.sleep(10)
    assert (await world.ask(UM, "GET", "/fapi/v1/time")).status == 200


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (("okx-perp", "lost_ack", {}), "venue"),
        ((UM, "nope", {}), "fault"),
        ((UM, "lost_ack", {"after": -1}), "after"),
        ((UM, "lost_ack", {"after": True}), "after"),
        ((UM, "lost_ack", {"count": 0}), "count"),
        ((UM, "lost_ack", {"params": []}), "params"),
        ((UM, "lost_ack", {"params": {"x": 1}}), "params.x"),
        ((UM, "clock_offset", {}), "params.ms"),
        ((UM, "clock_offset", {"params": {"ms": float("nan")}}), "params.ms"),
        ((UM, "partial_fill", {"params": {"qty": "NaN"}}), "params.qty"),
        ((UM, "foreign_trade", {"params": {"side": "LONG", "qty": "1"}}), "params.side"),
        ((UM, "reject_order", {"params": {"code": 200}}), "params.code"),
    ],
)
async def test_a_wrong_fault_names_its_field(world, asked, field, autojump_clock):
    venue, fault, rest = asked
    with pytest.raises(FaultError) as raised:
        world.inside.faults.inject(venue, fault, **rest)
    assert raised.value.field == field
    assert not world.inside.faults.rows()


async def test_a_fault_without_a_count_acts_until_it_is_cleared(world, autojump_clock):
    fault = world.inside.faults.inject(UM, "reject_order", count=None)
    assert [(await buy(world)).status for _ in range(3)] == [400, 400, 400]
    assert world.inside.faults.rows()[0]["hits"] == 3
    assert world.inside.faults.clear(fault) == 1
    assert (await buy(world)).status == 200


def test_every_fault_is_described_in_the_modules_table():
    from propbot.simvenue import faults

    for name in FAULTS:
        assert f"| {name} |" in (faults.__doc__ or "")
