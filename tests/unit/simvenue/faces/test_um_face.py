"""binance-um as a client meets it: security, orders, account, streams."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
import trio

from propbot.domain.instruments import BINANCE_UM

UM = BINANCE_UM
SYMBOL = "BTCUSDT"


async def test_public_questions_need_no_key_and_carry_the_used_weight(world, autojump_clock):
    answer = await world.ask(UM, "GET", "/fapi/v1/time")
    assert answer.body == {"serverTime": world.now_ms()}
    assert answer.headers["x-mbx-used-weight-1m"] == "1"
    depth = await world.ask(UM, "GET", "/fapi/v1/depth", symbol=SYMBOL, limit=5)
    assert depth.body["lastUpdateId"] == 100
    assert depth.body["bids"][0] == ["60000.00", "1.000"]
    assert depth.headers["x-mbx-used-weight-1m"] == "3"


async def test_exchange_info_names_the_filters_by_this_venues_keys(world, autojump_clock):
    info = (await world.ask(UM, "GET", "/fapi/v1/exchangeInfo")).body
    filters = {each["filterType"]: each for each in info["symbols"][0]["filters"]}
    assert filters["MIN_NOTIONAL"]["notional"] == "100"
    assert filters["PRICE_FILTER"]["tickSize"] == "0.10"
    assert filters["LOT_SIZE"]["stepSize"] == "0.001"
    assert {"REQUEST_WEIGHT", "ORDERS"} == {limit["rateLimitType"] for limit in info["rateLimits"]}


async def test_an_ioc_order_answers_with_its_final_state_and_moves_position_and_wallet(world, autojump_clock):
    answer = await world.order(UM, "BUY", "0.002", "60000.10", newOrderRespType="RESULT", newClientOrderId="pb1")
    assert answer.status == 200
    assert answer.body["status"] == "FILLED"
    assert answer.body["clientOrderId"] == "pb1"
    assert (answer.body["executedQty"], answer.body["avgPrice"]) == ("0.002", "60000.10000")
    assert answer.headers["x-mbx-order-count-10s"] == "1"
    risk = (await world.signed(UM, "GET", "/fapi/v3/positionRisk", symbol=SYMBOL)).body
    assert risk[0]["positionAmt"] == "0.002"
    trades = (await world.signed(UM, "GET", "/fapi/v1/userTrades", symbol=SYMBOL)).body
    assert [trade["orderId"] for trade in trades] == [answer.body["orderId"]]
    fee = Decimal("0.002") * Decimal("60000.10") * Decimal("0.00017")
    assert Decimal(trades[0]["commission"]) == fee.quantize(Decimal("1e-8"), "ROUND_FLOOR")
    balance = (await world.signed(UM, "GET", "/fapi/v3/balance")).body
    assert Decimal(balance[0]["balance"]) == 100_000 - Decimal(trades[0]["commission"])


async def test_ack_is_the_default_and_tells_of_acceptance_alone(world, autojump_clock):
    answer = await world.order(UM, "BUY", "0.002", "60000.10")
    assert (answer.body["status"], answer.body["executedQty"]) == ("NEW", "0.000")


async def test_an_unfilled_ioc_expires_and_an_order_can_be_asked_for_by_either_id(world, autojump_clock):
    placed = await world.order(UM, "BUY", "0.002", "59000.00", newOrderRespType="RESULT", newClientOrderId="pb2")
    assert placed.body["status"] == "EXPIRED"
    for which in ({"origClientOrderId": "pb2"}, {"orderId": placed.body["orderId"]}):
        asked = await world.signed(UM, "GET", "/fapi/v1/order", symbol=SYMBOL, **which)
        assert asked.body["status"] == "EXPIRED"


async def test_a_resting_order_is_open_until_it_is_cancelled_and_a_second_cancel_is_refused(world, autojump_clock):
    await world.order(UM, "BUY", "0.002", "59000.00", timeInForce="GTC", newClientOrderId="pb3")
    opened = (await world.signed(UM, "GET", "/fapi/v1/openOrders", symbol=SYMBOL)).body
    assert [order["clientOrderId"] for order in opened] == ["pb3"]
    asked = {"symbol": SYMBOL, "origClientOrderId": "pb3"}
    assert (await world.signed(UM, "DELETE", "/fapi/v1/order", **asked)).body["status"] == "CANCELED"
    again = await world.signed(UM, "DELETE", "/fapi/v1/order", **asked)
    assert (again.status, again.body["code"]) == (400, -2011)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"symbol": "NOPE"}, -1121),
        ({"side": "HOLD"}, -1117),
        ({"type": "ICEBERG"}, -1116),
        ({"type": "STOP_MARKET"}, -4120),
        ({"timeInForce": "EVER"}, -1115),
        ({"timeInForce": None}, -1102),
        ({"price": None}, -1102),
        ({"price": "60000.15"}, -4014),
        ({"price": "60000.155"}, -1111),
        ({"price": "1e5"}, -1100),
        ({"price": "NaN"}, -1100),
        ({"quantity": "0"}, -4003),
        ({"quantity": "0.0005"}, -1111),
        ({"quantity": "2000"}, -4005),
        ({"quantity": "0.001"}, -4164),
        ({"quantity": None}, -1102),
        ({"reduceOnly": "true"}, -2022),
        ({"positionSide": "LONG"}, -4061),
        ({"timeInForce": "GTX"}, -5022),
        ({"timeInForce": "FOK", "quantity": "5"}, -5021),
        ({"quantity": "900"}, -2019),
        ({"newClientOrderId": "ü"}, -4015),
    ],
)
async def test_a_wrong_order_is_refused_with_the_venues_code_and_changes_nothing(world, changed, code, autojump_clock):
    right = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "price": "60000.10", "timeInForce": "IOC"}
    asked = {**right, "quantity": "0.01", **changed}
    given = {name: value for name, value in asked.items() if value is not None}
    answer = await world.signed(UM, "POST", "/fapi/v1/order", **given)
    assert (answer.status, answer.body["code"]) == (400, code), answer.body
    assert world.inside.engines[UM].position(SYMBOL)[0] == 0


async def test_an_id_that_is_open_already_is_a_duplicate(world, autojump_clock):
    await world.order(UM, "BUY", "0.002", "59000.00", timeInForce="GTC", newClientOrderId="same")
    answer = await world.order(UM, "BUY", "0.002", "59000.00", timeInForce="GTC", newClientOrderId="same")
    assert (answer.status, answer.body["code"]) == (400, -4116)


async def test_a_signature_over_query_and_body_is_taken_in_either_case(world, autojump_clock):
    asked = f"symbol={SYMBOL}&side=BUY&type=MARKET&timestamp={world.now_ms()}"
    body = "quantity=0.002&newOrderRespType=RESULT"
    signature = world.signature(UM, asked + body)
    upper = await world.raw(UM, "POST", "/fapi/v1/order", f"{asked}&signature={signature.upper()}", body.encode())
    assert upper.body["status"] == "FILLED"
    signed_body = f"{body}&signature={signature}".encode()
    assert (await world.raw(UM, "POST", "/fapi/v1/order", asked, signed_body)).status == 200


@pytest.mark.parametrize(
    ("shift_ms", "window", "status"),
    [(0, 5000, 200), (-5000, 5000, 200), (-5001, 5000, 400), (999, 5000, 200), (1000, 5000, 400), (-900, 500, 400)],
)
async def test_the_time_window_is_exact(world, shift_ms, window, status, autojump_clock):
    answer = await world.signed(
        UM, "GET", "/fapi/v3/balance", timestamp=world.now_ms() + shift_ms, recvWindow=window
    )
    assert answer.status == status
    if status == 400:
        assert answer.body["code"] == -1021


async def test_wrong_keys_and_signatures_are_told_apart(world, autojump_clock):
    query = f"timestamp={world.now_ms()}"
    missing = await world.raw(UM, "GET", "/fapi/v3/balance", query)
    assert (missing.status, missing.body["code"]) == (400, -1102)
    wrong = await world.raw(UM, "GET", "/fapi/v3/balance", f"{query}&signature={'0' * 64}")
    assert (wrong.status, wrong.body["code"]) == (400, -1022)
    bare = await world.raw(UM, "GET", "/nope")
    assert bare.status == 404


async def test_combined_streams_send_envelopes_and_raw_streams_their_inside_byte_for_byte(world, autojump_clock):
    ws = world.access.venues[UM].ws
    combined = await world.websocket(ws, "/public/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker")
    raw = await world.websocket(ws, "/ws/btcusdt@bookTicker")
    await trio.sleep(0.1)
    ticker = world.market.ticker(UM, "60000.00", "60000.10")
    depth = world.market.depth(UM)
    assert await combined.get_message() == ticker.envelope
    assert await combined.get_message() == depth.envelope
    assert await raw.get_message() == ticker.data
    frames = world.kinds("frame")
    assert [frame["u"] for frame in frames] == [101, 102]


async def test_a_subscription_on_the_wrong_route_is_acknowledged_and_silent(world, autojump_clock):
    session = await world.websocket(world.access.venues[UM].ws, "/market/ws")
    await session.send_message(json.dumps({"method": "SUBSCRIBE", "params": ["btcusdt@bookTicker"], "id": 3}))
    assert await world.hear(session) == {"result": None, "id": 3}
    world.market.ticker(UM, "60000.00", "60000.10")
    assert await world.hears_nothing(session)
    await session.send_message('{"method":"LIST_SUBSCRIPTIONS","id":4}')
    assert (await world.hear(session))["result"] == ["btcusdt@bookTicker"]


async def test_unsubscribing_ends_the_frames_and_nonsense_is_answered_with_an_error(world, autojump_clock):
    session = await world.websocket(world.access.venues[UM].ws, "/public/ws/btcusdt@bookTicker")
    await session.send_message('{"method":"UNSUBSCRIBE","params":["btcusdt@bookTicker"],"id":1}')
    assert (await world.hear(session))["result"] is None
    world.market.ticker(UM, "60000.00", "60000.10")
    await session.send_message("{")
    assert (await world.hear(session))["error"]["code"] == 2


@pytest.mark.parametrize("target", ["/private/ws?listenKey={}", "/private/ws/{}", "/ws/{}", "/ws?listenKey={}"])
async def test_order_and_account_updates_arrive_on_every_form_of_the_listen_key(world, target, autojump_clock):
    key = await world.listen_key()
    session = await world.websocket(world.access.venues[UM].ws, target.format(key))
    await trio.sleep(0.1)
    await world.order(UM, "BUY", "0.002", "60000.10", newClientOrderId="pb9")
    new, trade, account = [await world.hear(session) for _ in range(3)]
    assert (new["o"]["x"], trade["o"]["x"], trade["o"]["X"]) == ("NEW", "TRADE", "FILLED")
    assert (trade["o"]["c"], trade["o"]["L"], trade["o"]["N"]) == ("pb9", "60000.10", "USDT")
    assert account["e"] == "ACCOUNT_UPDATE"
    assert account["a"]["P"][0]["pa"] == "0.002"


async def test_private_events_are_wrapped_on_stream_addresses(world, autojump_clock):
    key = await world.listen_key()
    session = await world.websocket(world.access.venues[UM].ws, f"/private/stream?streams={key}")
    await trio.sleep(0.1)
    await world.order(UM, "BUY", "0.002", "60000.10")
    assert (await world.hear(session))["stream"] == key


async def test_a_listen_key_dies_after_an_hour_unless_it_is_kept(world, autojump_clock):
    key = await world.listen_key()
    session = await world.websocket(world.access.venues[UM].ws, f"/private/ws?listenKey={key}")
    await trio.sleep(3000)
    assert (await world.ask(UM, "PUT", "/fapi/v1/listenKey")).status == 200
    await trio.sleep(3000)
    assert await world.listen_key() == key
    await trio.sleep(3601)
    assert await world.hear(session) == {"e": "listenKeyExpired", "E": world.now_ms() - 1000, "listenKey": key}
    await world.order(UM, "BUY", "0.002", "60000.10")
    assert await world.hears_nothing(session)
    assert (await world.ask(UM, "PUT", "/fapi/v1/listenKey")).body["code"] == -1125
    assert await world.listen_key() != key


async def test_the_countdown_cancels_what_rests_unless_it_is_set_again(world, autojump_clock):
    await world.order(UM, "BUY", "0.002", "59000.00", timeInForce="GTC")
    for _ in range(3):
        await world.signed(UM, "POST", "/fapi/v1/countdownCancelAll", symbol=SYMBOL, countdownTime=10_000)
        await trio.sleep(8)
        assert len(world.inside.engines[UM].open_orders()) == 1
    await trio.sleep(3)
    assert not world.inside.engines[UM].open_orders()


async def test_going_on_over_the_weight_limit_ends_in_a_ban(world, autojump_clock):
    statuses = []
    for _ in range(80):
        answer = await world.signed(UM, "GET", "/fapi/v1/openOrders")
        statuses.append(answer.status)
    assert statuses.count(200) == 60
    assert statuses.count(429) == 10
    assert answer.status == 418
    assert answer.body["code"] == -1003
    assert int(answer.headers["retry-after"]) <= 120
    await trio.sleep(121)
    assert (await world.ask(UM, "GET", "/fapi/v1/time")).status == 200


async def test_what_foreign_clients_ask_on_their_way_is_answered(world, autojump_clock):
    old = ("v2/account", "v3/account", "v2/balance", "v2/positionRisk", "v1/leverageBracket")
    new = ("v1/accountConfig", "v1/symbolConfig", "v1/positionSide/dual", "v1/income", "v1/rateLimit/order")
    for path in old + new:
        assert (await world.signed(UM, "GET", f"/fapi/{path}")).status == 200, path
    for path in ("/fapi/v1/ping", "/fapi/v1/ticker/bookTicker", "/fapi/v1/ticker/price", "/fapi/v1/premiumIndex"):
        assert (await world.ask(UM, "GET", path)).status == 200, path
    rates = await world.signed(UM, "GET", "/fapi/v1/commissionRate", symbol=SYMBOL)
    assert rates.body["takerCommissionRate"] == "0.000170"
    leverage = await world.signed(UM, "POST", "/fapi/v1/leverage", symbol=SYMBOL, leverage=10)
    assert leverage.body["leverage"] == 10
    margin = await world.signed(UM, "POST", "/fapi/v1/marginType", symbol=SYMBOL, marginType="CROSSED")
    assert margin.body["code"] == -4046


async def test_an_open_position_pays_funding_and_the_event_names_the_amount(world, autojump_clock):
    key = await world.listen_key()
    await world.order(UM, "BUY", "0.01", "60000.10")
    await trio.sleep(8 * 3600 - world.now_ms() / 1000 % (8 * 3600) - 30)
    assert await world.listen_key() != key
    session = await world.websocket(world.access.venues[UM].ws, f"/private/ws/{await world.listen_key()}")
    event = await world.hear(session, timeout_s=60)
    assert (event["a"]["m"], event["a"]["B"][0]["bc"]) == ("FUNDING_FEE", "-0.06000005")
    income = (await world.signed(UM, "GET", "/fapi/v1/income", incomeType="FUNDING_FEE")).body
    assert [row["income"] for row in income] == ["-0.06000005"]


@pytest.mark.parametrize("frames_before", [True, False])
async def test_who_gets_another_pace_than_asked_for_is_named_in_the_venues_log(
    world, autojump_clock, frames_before: bool
):
    """Whether the recording's first frame or the subscription comes first."""
    if frames_before:
        world.market.depth(UM)
    session = await world.websocket(world.access.venues[UM].ws, "/public/stream?streams=btcusdt@depth@100ms")
    await trio.testing.wait_all_tasks_blocked()
    sent = world.market.depth(UM)
    assert await session.get_message() == sent.envelope
    world.market.depth(UM)
    notes = [row["text"] for row in world.kinds("note")]
    assert notes == ["btcusdt@depth@100ms is served as btcusdt@depth@0ms"]
