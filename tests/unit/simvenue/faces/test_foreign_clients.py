"""What foreign clients ask of the venues and our own never does; each found by a judge (tests/judges)."""

from __future__ import annotations

from decimal import Decimal

import pytest

from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM

SPOT, UM = BINANCE_SPOT, BINANCE_UM
SYMBOL = "BTCUSDT"


@pytest.mark.parametrize(
    ("side", "qty", "price", "tif", "reason"),
    [
        ("BUY", "0.01", "59000.00", "IOC", "UNFILLED_IOC_QUANTITY_EXPIRED"),
        ("BUY", "1.0", "60000.10", "IOC", "UNFILLED_IOC_QUANTITY_EXPIRED"),
        ("BUY", "0.6", "60000.10", "FOK", "UNFILLED_FOK_ORDER_EXPIRED"),
        ("BUY", "0.01", "60000.10", "IOC", None),
    ],
)
async def test_an_expired_spot_order_says_why(world, side, qty, price, tif, reason, autojump_clock):
    session = await world.subscribe_spot()
    placed = (await world.order(SPOT, side, qty, price, timeInForce=tif)).body
    queried = (await world.signed(SPOT, "GET", "/api/v3/order", symbol=SYMBOL, orderId=placed["orderId"])).body
    assert placed.get("expiryReason") == queried.get("expiryReason") == reason
    report = {"x": "NEW"}
    while report.get("x") != ("TRADE" if reason is None else "EXPIRED"):
        report = (await world.hear(session))["event"]
    assert report.get("eR") == reason


async def test_a_market_order_that_ran_out_of_book_says_so(world, autojump_clock):
    await world.order(SPOT, "BUY", "1.5")  # its 0.5 at the best price stay taken
    sold = (await world.order(SPOT, "SELL", "3.2")).body
    assert (sold["status"], sold["executedQty"]) == ("EXPIRED", "3.00000000")
    assert sold["expiryReason"] == "INSUFFICIENT_LIQUIDITY"


async def test_a_spot_partial_book_is_a_whole_small_book_after_each_depth_frame(world, autojump_clock):
    ws = world.access.venues[SPOT].ws
    raw = await world.websocket(ws, "/ws/btcusdt@depth5")
    combined = await world.websocket(ws, "/stream?streams=btcusdt@depth10@100ms")
    world.market.ticker(SPOT, "60000.00", "60000.10")
    world.market.depth(SPOT)
    book = {
        "lastUpdateId": 102, "bids": [["60000.00", "1.000"], ["59999.00", "2.000"]],
        "asks": [["60000.10", "0.500"], ["60001.00", "2.000"]],
    }
    assert await world.hear(raw) == book
    assert await world.hear(combined) == {"stream": "btcusdt@depth10@100ms", "data": book}


async def test_a_perps_partial_book_is_an_update_of_all_its_levels(world, autojump_clock):
    session = await world.websocket(world.access.venues[UM].ws, "/public/stream?streams=btcusdt@depth5@500ms")
    world.market.depth(UM)
    told = await world.hear(session)
    assert told["stream"] == "btcusdt@depth5@500ms"
    assert (told["data"]["e"], told["data"]["u"], told["data"]["pu"]) == ("depthUpdate", 101, 100)
    assert told["data"]["b"] == [["60000.00", "1.000"], ["59999.00", "2.000"]]
    assert told["data"]["a"] == [["60000.10", "0.500"], ["60001.00", "2.000"]]


async def test_a_partial_book_is_silent_once_unsubscribed(world, autojump_clock):
    session = await world.websocket(world.access.venues[SPOT].ws, "/ws/btcusdt@depth5")
    await session.send_message('{"method":"UNSUBSCRIBE","params":["btcusdt@depth5"],"id":1}')
    assert (await world.hear(session))["result"] is None
    world.market.depth(SPOT)
    assert await world.hears_nothing(session)


async def test_a_perps_test_order_is_answered_like_one_and_leaves_nothing(world, autojump_clock):
    asked = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": "50000"}
    answer = await world.signed(UM, "POST", "/fapi/v1/order/test", quantity="0.01", **asked)
    assert (answer.status, answer.body["status"], answer.body["orderId"]) == (200, "NEW", 0)
    small = await world.signed(UM, "POST", "/fapi/v1/order/test", quantity="0.001", **asked)
    assert (small.status, small.body["code"]) == (400, -4164)
    assert (await world.signed(UM, "GET", "/fapi/v1/allOrders", symbol=SYMBOL)).body == []


async def test_the_websocket_api_answers_what_rest_does(world, autojump_clock):
    order = (await world.order(SPOT, "BUY", "0.01", "59000.00", timeInForce="GTC")).body
    session = await world.websocket(world.access.venues[SPOT].ws_api, "")
    orders = await world.call_ws(session, "allOrders", symbol=SYMBOL)
    assert [row["orderId"] for row in orders["result"]] == [order["orderId"]]
    limits = await world.call_ws(session, "account.rateLimits.orders")
    assert {row["count"] for row in limits["result"]} == {1}
    average = await world.call_ws(session, "avgPrice", signed=False, symbol=SYMBOL)
    assert Decimal(average["result"]["price"]) == Decimal("60000.05")


@pytest.mark.parametrize(("venue", "root"), [(SPOT, "/api/v3"), (UM, "/fapi/v1")])
async def test_a_day_of_trades_is_told_and_the_last_ones_are_listed(world, venue, root, autojump_clock):
    assert (await world.ask(venue, "GET", f"{root}/ticker/24hr", symbol=SYMBOL)).body["count"] == 0
    world.market.trade(venue, "50000.00", "9.000", ago_ms=25 * 3600 * 1000)
    for minute, (price, qty) in enumerate((("60000.00", "0.100"), ("60600.00", "0.200"), ("59700.00", "0.100"))):
        world.market.trade(venue, price, qty, ago_ms=(3 - minute) * 60_000)
    world.market.trade(venue, "0", "0")  # the perp's stream has rows that are no trades
    day = (await world.ask(venue, "GET", f"{root}/ticker/24hr", symbol=SYMBOL)).body
    prices = [Decimal(day[name]) for name in ("openPrice", "highPrice", "lowPrice", "lastPrice")]
    assert prices == [60000, 60600, 59700, 59700]
    assert (Decimal(day["lastQty"]), Decimal(day["volume"])) == (Decimal("0.1"), Decimal("0.4"))
    assert (Decimal(day["quoteVolume"]), Decimal(day["weightedAvgPrice"])) == (24090, 60225)
    assert (Decimal(day["priceChange"]), day["priceChangePercent"], day["count"]) == (-300, "-0.500", 3)
    rows = (await world.ask(venue, "GET", f"{root}/trades", symbol=SYMBOL, limit=2)).body
    assert [(row["id"], row["price"]) for row in rows] == [(day["lastId"] - 1, "60600.00"), (day["lastId"], "59700.00")]
    everything = (await world.ask(venue, "GET", f"{root}/ticker/24hr")).body
    assert [row["lastId"] for row in everything] == [day["lastId"]]
