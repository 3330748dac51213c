"""binance-spot as a client meets it: orders with their fills, the account, and the WebSocket API."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
import trio
from trio_websocket import ConnectionClosed

from propbot.domain.instruments import BINANCE_SPOT

SPOT = BINANCE_SPOT
SYMBOL = "BTCUSDT"


async def test_a_limit_order_answers_in_full_and_the_fee_comes_off_what_is_received(world, autojump_clock):
    answer = await world.order(SPOT, "BUY", "0.60000", "60001.00", newClientOrderId="pb1")
    assert answer.body["status"] == "FILLED"
    assert [fill["qty"] for fill in answer.body["fills"]] == ["0.50000000", "0.10000000"]
    assert {fill["commissionAsset"] for fill in answer.body["fills"]} == {"BTC"}
    account = (await world.signed(SPOT, "GET", "/api/v3/account")).body
    free = {row["asset"]: Decimal(row["free"]) for row in account["balances"]}
    assert free["BTC"] == Decimal("2.6") - sum(Decimal(fill["commission"]) for fill in answer.body["fills"])
    assert free["USDT"] == 100_000 - Decimal(answer.body["cummulativeQuoteQty"])
    trades = (await world.signed(SPOT, "GET", "/api/v3/myTrades", symbol=SYMBOL)).body
    assert [trade["id"] for trade in trades] == [fill["tradeId"] for fill in answer.body["fills"]]


async def test_the_answers_length_is_the_clients_choice(world, autojump_clock):
    ack = await world.order(SPOT, "BUY", "0.001", "60000.10", newOrderRespType="ACK")
    assert "status" not in ack.body
    result = await world.order(SPOT, "BUY", "0.001", "60000.10", newOrderRespType="RESULT")
    assert result.body["status"] == "FILLED"
    assert "fills" not in result.body


async def test_a_market_order_may_ask_for_quote(world, autojump_clock):
    answer = await world.order(SPOT, "BUY", None, quoteOrderQty="600.001")
    assert answer.body["executedQty"] == "0.01000000"
    assert answer.body["origQuoteOrderQty"] == "600.00100000"


async def test_a_maker_order_rests_locks_its_funds_and_a_cancel_has_an_id_of_its_own(world, autojump_clock):
    asked = {"type": "LIMIT_MAKER", "timeInForce": None, "newClientOrderId": "pb2"}
    placed = await world.order(SPOT, "SELL", "0.5", "60002.00", **asked)
    assert "status" not in placed.body  # ACK is what this type gets
    account = (await world.signed(SPOT, "GET", "/api/v3/account")).body
    assert {"asset": "BTC", "free": "1.50000000", "locked": "0.50000000"} in account["balances"]
    gone = await world.signed(SPOT, "DELETE", "/api/v3/order", symbol=SYMBOL, origClientOrderId="pb2")
    assert (gone.body["origClientOrderId"], gone.body["status"]) == ("pb2", "CANCELED")
    assert gone.body["clientOrderId"] != "pb2"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"symbol": "NOPE"}, -1121),
        ({"price": "60000.105"}, -1013),
        ({"price": "60000.123456789"}, -1111),
        ({"quantity": "0.000001"}, -1013),
        ({"quantity": "0.00001"}, -1013),
        ({"quantity": "5"}, -2010),
        ({"type": "LIMIT_MAKER", "timeInForce": None}, -2010),
        ({"type": "LIMIT_MAKER"}, -1106),
        ({"type": "MARKET", "timeInForce": None}, -1106),
        ({"timeInForce": None}, -1102),
        ({"newClientOrderId": "a" * 37}, -1100),
        ({"newOrderRespType": "ALL"}, -1130),
    ],
)
async def test_a_wrong_order_is_refused_with_the_venues_code(world, changed, code, autojump_clock):
    right = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "price": "60000.10", "timeInForce": "IOC"}
    asked = {**right, "quantity": "0.01", **changed}
    given = {name: value for name, value in asked.items() if value is not None}
    answer = await world.signed(SPOT, "POST", "/api/v3/order", **given)
    assert (answer.status, answer.body["code"]) == (400, code), answer.body


async def test_timestamps_may_be_microseconds_and_windows_fractions(world, autojump_clock):
    stamp = world.market.wall_ns() // 1000
    answer = await world.signed(SPOT, "GET", "/api/v3/account", timestamp=stamp, recvWindow="100.5")
    assert answer.status == 200


async def test_an_order_that_waited_too_long_before_matching_is_refused(opened, autojump_clock):
    async with opened(latency_s=3.0) as slow:
        answer = await slow.order(SPOT, "BUY", "0.001", "60000.10", recvWindow=2000)
        assert (answer.status, answer.body["code"]) == (400, -1021)
        assert not slow.inside.engines[SPOT].trades(SYMBOL)


async def test_the_listen_key_is_gone(world, autojump_clock):
    assert (await world.ask(SPOT, "POST", "/api/v3/userDataStream")).status == 410


async def test_filled_orders_give_their_order_count_back(world, autojump_clock):
    filled = await world.order(SPOT, "BUY", "0.001", "60000.10")
    assert filled.headers["x-mbx-order-count-10s"] == "0"
    resting = await world.order(SPOT, "BUY", "0.001", "59000.00", timeInForce="GTC")
    assert resting.headers["x-mbx-order-count-10s"] == "1"


async def test_the_commission_is_what_the_engine_charges(world, autojump_clock):
    answer = await world.signed(SPOT, "GET", "/api/v3/account/commission", symbol=SYMBOL)
    assert answer.body["standardCommission"]["taker"] == "0.00020000"
    older = await world.signed(SPOT, "GET", "/sapi/v1/asset/tradeFee", symbol=SYMBOL)
    assert older.body == [{"symbol": SYMBOL, "makerCommission": "0.00010000", "takerCommission": "0.00020000"}]


async def test_user_data_arrives_wrapped_after_a_signed_subscription(world, autojump_clock):
    session = await world.websocket(world.access.venues[SPOT].ws_api, "")
    subscribed = await world.call_ws(session, "userDataStream.subscribe.signature")
    assert (subscribed["status"], subscribed["result"]) == (200, {"subscriptionId": 0})
    again = await world.call_ws(session, "userDataStream.subscribe.signature")
    assert again["error"]["code"] == -2035
    await world.order(SPOT, "BUY", "0.001", "60000.10", newClientOrderId="pb5")
    events = [await world.hear(session) for _ in range(4)]
    assert {event["subscriptionId"] for event in events} == {0}
    kinds = [event["event"].get("x", event["event"]["e"]) for event in events]
    assert kinds == ["NEW", "outboundAccountPosition", "TRADE", "outboundAccountPosition"]
    trade = events[2]["event"]
    assert (trade["c"], trade["X"], trade["N"], trade["Y"]) == ("pb5", "FILLED", "BTC", "60.00010000")
    gone = await world.call_ws(session, "userDataStream.unsubscribe", signed=False)
    assert gone["status"] == 200
    await world.order(SPOT, "BUY", "0.001", "60000.10")
    assert await world.hears_nothing(session)


async def test_a_cancels_report_carries_the_cancels_id_and_the_orders(world, autojump_clock):
    session = await world.subscribe_spot()
    await world.order(SPOT, "BUY", "0.001", "59000.00", timeInForce="GTC", newClientOrderId="pb6")
    asked = {"symbol": SYMBOL, "origClientOrderId": "pb6", "newClientOrderId": "mycancel"}
    assert (await world.signed(SPOT, "DELETE", "/api/v3/order", **asked)).body["clientOrderId"] == "mycancel"
    reports = [event["event"] for event in [await world.hear(session) for _ in range(4)] if "x" in event["event"]]
    assert [(report["x"], report["c"], report["C"]) for report in reports] == [
        ("NEW", "pb6", ""),
        ("CANCELED", "mycancel", "pb6"),
    ]


async def test_orders_go_over_the_websocket_api_too(world, autojump_clock):
    session = await world.websocket(world.access.venues[SPOT].ws_api, "")
    asked = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"}
    placed = await world.call_ws(
        session, "order.place", **asked, quantity="0.001", price="59000.00", newClientOrderId="pb7"
    )
    assert placed["result"]["status"] == "NEW"
    assert {limit["rateLimitType"] for limit in placed["rateLimits"]} == {"REQUEST_WEIGHT", "ORDERS"}
    status = await world.call_ws(session, "order.status", symbol=SYMBOL, origClientOrderId="pb7")
    assert status["result"]["orderId"] == placed["result"]["orderId"]
    gone = await world.call_ws(session, "order.cancel", symbol=SYMBOL, origClientOrderId="pb7")
    assert gone["result"]["status"] == "CANCELED"
    refused = await world.call_ws(session, "order.cancel", symbol=SYMBOL, origClientOrderId="pb7")
    assert (refused["status"], refused["error"]["code"]) == (400, -2011)
    time = await world.call_ws(session, "time", signed=False)
    assert time["result"]["serverTime"] == world.now_ms()


@pytest.mark.parametrize("text", ["{", "[]", '{"method":1}', '{"id":1,"method":"nope"}', "\x00"])
async def test_nonsense_over_the_websocket_api_is_an_error_answer(world, text, autojump_clock):
    session = await world.websocket(world.access.venues[SPOT].ws_api, "")
    await session.send_message(text)
    assert (await world.hear(session))["status"] == 400


async def test_a_wrong_websocket_signature_is_refused(world, autojump_clock):
    session = await world.websocket(world.access.venues[SPOT].ws_api, "")
    key = world.access.venues[SPOT].api_key
    params = {"apiKey": key, "timestamp": world.now_ms(), "signature": "0" * 64}
    answer = await world.call_ws(session, "account.status", signed=False, **params)
    assert answer["error"]["code"] == -1022


async def test_both_forms_of_depth_get_the_recordings_stream_unchanged(world, autojump_clock):
    session = await world.websocket(world.access.venues[SPOT].ws, "/stream?streams=btcusdt@depth@100ms")
    await session.send_message(json.dumps({"method": "SUBSCRIBE", "params": ["btcusdt@depth"], "id": 1}))
    assert await world.hear(session) == {"result": None, "id": 1}
    frame = world.market.depth(SPOT, "btcusdt@depth@100ms")
    assert await session.get_message() == frame.envelope
    assert await world.hears_nothing(session)


async def test_too_many_messages_a_second_close_the_connection(world, autojump_clock):
    session = await world.websocket(world.access.venues[SPOT].ws, "/ws")

    async def chatter() -> None:
        for _ in range(10):
            await session.send_message('{"method":"LIST_SUBSCRIPTIONS","id":1}')
            await trio.sleep(0.05)

    with pytest.raises(ConnectionClosed, match="1008"):
        await chatter()


async def test_the_venue_pings_every_twenty_seconds_and_stays(world, autojump_clock):
    session = await world.websocket(world.access.venues[SPOT].ws, "/ws/btcusdt@bookTicker")
    await trio.sleep(600)
    world.market.ticker(SPOT, "60000.00", "60000.10")
    assert "60000.10" in await session.get_message()
