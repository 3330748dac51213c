"""python-binance trades on the embedded spot venue, over REST, WebSocket API and streams."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from decimal import Decimal

from binance import DepthCacheManager
from binance.exceptions import BinanceAPIException
from python_binance_desk import Desk, header_counts, open_spot, refused
from verdicts import SYMBOL, Levels, amount, assert_book, assert_chain, collect, judge, on_step, total

TICK = "0.01"
USDT, BTC = Decimal(100_000), Decimal(2)
MAKER, TAKER = Decimal("0.0001"), Decimal("0.0002")
WEIGHTS, COUNTS = "X-MBX-USED-WEIGHT-", "X-MBX-ORDER-COUNT-"


def far_below(desk: Desk) -> str:
    """A price at which a buy rests."""
    return on_step(desk.top()[0] * Decimal("0.98"), TICK)


# Market data


async def check_ping_and_time(desk: Desk) -> None:
    assert desk.rest.ping() == {}
    assert abs(desk.rest.get_server_time()["serverTime"] - time.time() * 1000) < 2000
    assert abs(desk.later.timestamp_offset) < 2000


async def check_exchange_info(desk: Desk) -> None:
    info = desk.rest.get_exchange_info()
    assert {(row["rateLimitType"], row["interval"]) for row in info["rateLimits"]} >= {
        ("REQUEST_WEIGHT", "MINUTE"), ("ORDERS", "SECOND"), ("ORDERS", "DAY")
    }
    symbol = desk.rest.get_symbol_info(SYMBOL)
    assert (symbol["status"], symbol["baseAsset"], symbol["quoteAsset"]) == ("TRADING", "BTC", "USDT")
    assert {"LIMIT", "MARKET", "LIMIT_MAKER"} <= set(symbol["orderTypes"])
    filters = {row["filterType"]: row for row in symbol["filters"]}
    assert amount(filters["PRICE_FILTER"]["tickSize"]) == Decimal(TICK)
    assert amount(filters["LOT_SIZE"]["stepSize"]) == Decimal("0.00001")
    assert amount(filters["NOTIONAL"]["minNotional"]) == 5
    assert desk.rest.get_symbol_info("NOSUCH") is None


async def check_depth(desk: Desk) -> None:
    for limit in (5, 20):
        book = desk.rest.get_order_book(symbol=SYMBOL, limit=limit)
        assert (len(book["bids"]), len(book["asks"])) == (limit, limit)
        assert_book(book["bids"], book["asks"])
    later = desk.rest.get_order_book(symbol=SYMBOL)
    assert later["lastUpdateId"] >= book["lastUpdateId"] > 0


async def check_tickers(desk: Desk) -> None:
    bid, ask = desk.top()
    assert 0 < bid < ask < bid * Decimal("1.001")
    assert [row["symbol"] for row in desk.rest.get_orderbook_tickers()] == [SYMBOL]
    assert {row["symbol"] for row in desk.rest.get_all_tickers()} == {SYMBOL}
    price = amount(desk.rest.get_symbol_ticker(symbol=SYMBOL)["price"])
    average = amount(desk.rest.get_avg_price(symbol=SYMBOL)["price"])
    for shown in (price, average):
        assert abs(shown - bid) < bid / 100, (shown, bid)


async def check_market_data_over_the_websocket_api(desk: Desk) -> None:
    assert await desk.later.ws_ping() == {}
    assert abs((await desk.later.ws_get_time())["serverTime"] - time.time() * 1000) < 2000
    book = await desk.later.ws_get_order_book(symbol=SYMBOL, limit=10)
    assert len(book["bids"]) == 10
    assert_book(book["bids"], book["asks"])
    ticker = await desk.later.ws_get_orderbook_ticker(symbol=SYMBOL)
    assert amount(ticker["bidPrice"]) < amount(ticker["askPrice"])
    assert amount((await desk.later.ws_get_symbol_ticker(symbol=SYMBOL))["price"]) > 0
    assert amount((await desk.later.ws_get_avg_price(symbol=SYMBOL))["price"]) > 0
    info = await desk.later.ws_get_exchange_info(symbol=SYMBOL)
    assert [row["symbol"] for row in info["symbols"]] == [SYMBOL]


# Account


async def check_a_new_account(desk: Desk) -> None:
    account = desk.rest.get_account()
    assert account["canTrade"] is True
    assert account["accountType"] == "SPOT"
    assert desk.balances() == {"USDT": (USDT, Decimal(0)), "BTC": (BTC, Decimal(0))}
    assert amount(desk.rest.get_asset_balance(asset="BTC")["free"]) == BTC
    assert desk.rest.get_open_orders() == []
    assert desk.rest.get_all_orders(symbol=SYMBOL) == []
    assert desk.rest.get_my_trades(symbol=SYMBOL) == []


async def check_fees(desk: Desk) -> None:
    rates = desk.rest.get_account()["commissionRates"]
    assert (amount(rates["maker"]), amount(rates["taker"])) == (MAKER, TAKER)
    row = desk.rest.get_trade_fee(symbol=SYMBOL)[0]
    assert (amount(row["makerCommission"]), amount(row["takerCommission"])) == (MAKER, TAKER)
    standard = (await desk.later.ws_get_commission_rates(symbol=SYMBOL))["standardCommission"]
    assert (amount(standard["maker"]), amount(standard["taker"])) == (MAKER, TAKER)


# Orders


async def check_a_market_buy_moves_balances_by_its_fills(desk: Desk) -> None:
    before = desk.balances()
    order = desk.rest.order_market_buy(symbol=SYMBOL, quantity="0.05")
    assert (order["status"], order["type"], order["side"]) == ("FILLED", "MARKET", "BUY")
    assert order["clientOrderId"].startswith("x-HNA2TXFJ")
    fills = [(amount(fill["qty"]), amount(fill["price"]), fill) for fill in order["fills"]]
    assert total(qty for qty, _, _ in fills) == amount(order["executedQty"]) == Decimal("0.05")
    spent = total(qty * price for qty, price, _ in fills)
    assert spent == amount(order["cummulativeQuoteQty"])
    assert {fill["commissionAsset"] for _, _, fill in fills} == {"BTC"}
    fee = total(amount(fill["commission"]) for _, _, fill in fills)
    assert abs(fee - Decimal("0.05") * TAKER) <= Decimal("1e-8") * len(fills)
    after = desk.balances()
    assert after["BTC"][0] - before["BTC"][0] == Decimal("0.05") - fee
    assert before["USDT"][0] - after["USDT"][0] == spent


async def check_a_market_sell_of_a_quote_amount(desk: Desk) -> None:
    before = desk.balances()
    order = desk.rest.order_market_sell(symbol=SYMBOL, quoteOrderQty="1000")
    assert order["status"] == "FILLED"
    assert amount(order["origQuoteOrderQty"]) == 1000
    received = amount(order["cummulativeQuoteQty"])
    assert Decimal(999) < received <= 1000, received
    fee = total(amount(fill["commission"]) for fill in order["fills"])
    assert {fill["commissionAsset"] for fill in order["fills"]} == {"USDT"}
    after = desk.balances()
    assert after["USDT"][0] - before["USDT"][0] == received - fee
    assert before["BTC"][0] - after["BTC"][0] == amount(order["executedQty"])


async def check_a_crossing_limit_gtc_fills_at_its_price_or_better(desk: Desk) -> None:
    limit = on_step(desk.top()[1] * Decimal("1.001"), TICK)
    order = desk.rest.order_limit_buy(symbol=SYMBOL, quantity="0.01", price=limit)
    assert (order["status"], order["timeInForce"]) == ("FILLED", "GTC")
    assert all(amount(fill["price"]) <= Decimal(limit) for fill in order["fills"])
    assert amount(desk.rest.get_order(symbol=SYMBOL, orderId=order["orderId"])["executedQty"]) == Decimal("0.01")


async def check_ioc_takes_what_is_there_and_expires(desk: Desk) -> None:
    nothing = desk.rest.order_limit_buy(symbol=SYMBOL, quantity="0.01", price=far_below(desk), timeInForce="IOC")
    assert (nothing["status"], amount(nothing["executedQty"]), nothing["fills"]) == ("EXPIRED", 0, [])
    assert nothing["expiryReason"] == "UNFILLED_IOC_QUANTITY_EXPIRED"
    bid = desk.rest.get_orderbook_ticker(symbol=SYMBOL)["bidPrice"]
    price = on_step(amount(bid) * Decimal("0.9999"), TICK)
    some = desk.rest.order_limit_sell(symbol=SYMBOL, quantity="1.9", price=price, timeInForce="IOC")
    executed = amount(some["executedQty"])
    assert executed == total(amount(fill["qty"]) for fill in some["fills"])
    assert some["status"] == ("FILLED" if executed == Decimal("1.9") else "EXPIRED"), some
    assert all(amount(fill["price"]) >= Decimal(price) for fill in some["fills"])
    if executed:
        desk.rest.order_market_buy(symbol=SYMBOL, quantity=str(executed))


async def check_fok_is_all_or_expired(desk: Desk) -> None:
    ask = desk.top()[1]
    whole = desk.rest.order_limit_buy(
        symbol=SYMBOL, quantity="0.02", price=on_step(ask * Decimal("1.001"), TICK), timeInForce="FOK"
    )
    assert (whole["status"], amount(whole["executedQty"])) == ("FILLED", Decimal("0.02"))
    none = desk.rest.order_limit_buy(symbol=SYMBOL, quantity="0.02", price=far_below(desk), timeInForce="FOK")
    assert (none["status"], amount(none["executedQty"])) == ("EXPIRED", 0)
    assert none["expiryReason"] == "UNFILLED_FOK_ORDER_EXPIRED"
    assert desk.rest.get_order(symbol=SYMBOL, orderId=none["orderId"])["status"] == "EXPIRED"


async def check_limit_maker_rests_or_is_refused(desk: Desk) -> None:
    order = desk.rest.create_order(
        symbol=SYMBOL, side="BUY", type="LIMIT_MAKER", quantity="0.01", price=far_below(desk), newOrderRespType="RESULT"
    )
    assert (order["status"], order["type"]) == ("NEW", "LIMIT_MAKER")
    assert desk.rest.cancel_order(symbol=SYMBOL, orderId=order["orderId"])["status"] == "CANCELED"
    with refused(-2010, text="Order would immediately match and take."):
        desk.rest.create_order(
            symbol=SYMBOL, side="BUY", type="LIMIT_MAKER", quantity="0.01",
            price=on_step(desk.top()[1] * Decimal("1.001"), TICK),
        )


async def check_response_types(desk: Desk) -> None:
    def placed(**more: str) -> dict[str, object]:
        price = far_below(desk)
        answer = desk.rest.create_order(symbol=SYMBOL, side="BUY", quantity="0.001", price=price, **more)
        desk.rest.cancel_order(symbol=SYMBOL, orderId=answer["orderId"])
        return answer

    ack = placed(type="LIMIT", timeInForce="GTC", newOrderRespType="ACK")
    assert set(ack) == {"symbol", "orderId", "orderListId", "clientOrderId", "transactTime"}
    assert set(placed(type="LIMIT_MAKER")) == set(ack)
    result = placed(type="LIMIT", timeInForce="GTC", newOrderRespType="RESULT")
    assert result["status"] == "NEW"
    assert "fills" not in result
    assert placed(type="LIMIT", timeInForce="GTC")["fills"] == []


async def check_a_resting_order_locks_funds_until_cancelled(desk: Desk) -> None:
    before, price = desk.balances(), far_below(desk)
    placed = desk.rest.order_limit_buy(symbol=SYMBOL, quantity="0.1", price=price, newClientOrderId="judge-rests")
    assert placed["status"] == "NEW"
    locked = Decimal("0.1") * Decimal(price)
    assert desk.balances()["USDT"] == (before["USDT"][0] - locked, before["USDT"][1] + locked)
    by_id = desk.rest.get_order(symbol=SYMBOL, orderId=placed["orderId"])
    by_name = desk.rest.get_order(symbol=SYMBOL, origClientOrderId="judge-rests")
    assert by_id == by_name
    assert (by_id["status"], by_id["price"], by_id["isWorking"]) == ("NEW", f"{Decimal(price):.8f}", True)
    assert [row["orderId"] for row in desk.rest.get_open_orders(symbol=SYMBOL)] == [placed["orderId"]]
    with refused(-2010, text="Duplicate order sent."):
        desk.rest.order_limit_buy(symbol=SYMBOL, quantity="0.1", price=price, newClientOrderId="judge-rests")
    cancelled = desk.rest.cancel_order(symbol=SYMBOL, origClientOrderId="judge-rests")
    assert (cancelled["status"], cancelled["origClientOrderId"]) == ("CANCELED", "judge-rests")
    assert cancelled["clientOrderId"] != "judge-rests"
    assert desk.rest.get_open_orders(symbol=SYMBOL) == []
    assert desk.balances() == before
    with refused(-2011, text="Unknown order sent."):
        desk.rest.cancel_order(symbol=SYMBOL, orderId=placed["orderId"])


async def check_cancel_all(desk: Desk) -> None:
    price = far_below(desk)
    placed = [desk.rest.order_limit_buy(symbol=SYMBOL, quantity="0.01", price=price)["orderId"] for _ in range(3)]
    gone = desk.rest.cancel_all_open_orders(symbol=SYMBOL)
    assert sorted(row["orderId"] for row in gone) == sorted(placed)
    assert {row["status"] for row in gone} == {"CANCELED"}
    assert desk.rest.get_open_orders() == []
    with refused(-2011):
        desk.rest.cancel_all_open_orders(symbol=SYMBOL)


async def check_all_orders_and_trades_agree(desk: Desk) -> None:
    orders = desk.rest.get_all_orders(symbol=SYMBOL)
    ids = [order["orderId"] for order in orders]
    assert ids == sorted(set(ids))
    trades = desk.rest.get_my_trades(symbol=SYMBOL)
    assert [trade["id"] for trade in trades] == sorted({trade["id"] for trade in trades})
    for order in orders:
        mine = [trade for trade in trades if trade["orderId"] == order["orderId"]]
        assert total(amount(trade["qty"]) for trade in mine) == amount(order["executedQty"]), order
        assert total(amount(trade["quoteQty"]) for trade in mine) == amount(order["cummulativeQuoteQty"]), order
        assert {trade["isBuyer"] for trade in mine} <= {order["side"] == "BUY"}
    assert sum(order["status"] == "FILLED" for order in orders) >= 4
    one = desk.rest.get_my_trades(symbol=SYMBOL, orderId=trades[0]["orderId"])
    assert {trade["orderId"] for trade in one} == {trades[0]["orderId"]}
    page = desk.rest.get_my_trades(symbol=SYMBOL, fromId=trades[1]["id"], limit=2)
    assert [trade["id"] for trade in page] == [trade["id"] for trade in trades[1:3]]
    assert [row["orderId"] for row in desk.rest.get_all_orders(symbol=SYMBOL, orderId=ids[2], limit=2)] == ids[2:4]
    since = desk.rest.get_my_trades(symbol=SYMBOL, startTime=trades[-1]["time"])
    assert since[-1]["id"] == trades[-1]["id"]


async def check_every_balance_is_explained_by_the_trades(desk: Desk) -> None:
    """What the account started with plus what its trades say is what it holds."""
    held = {"USDT": USDT, "BTC": BTC}
    for trade in desk.rest.get_my_trades(symbol=SYMBOL, limit=1000):
        sign = 1 if trade["isBuyer"] else -1
        held["BTC"] += sign * amount(trade["qty"])
        held["USDT"] -= sign * amount(trade["quoteQty"])
        held[trade["commissionAsset"]] -= amount(trade["commission"])
    assert {asset: free + locked for asset, (free, locked) in desk.balances().items()} == held


async def check_a_test_order_changes_nothing(desk: Desk) -> None:
    before = desk.balances()
    asked = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01"}
    assert desk.rest.create_test_order(**asked, price=far_below(desk)) == {}
    assert await desk.later.ws_create_test_order(**asked, price=far_below(desk)) == {}
    with refused(-1013, text="LOT_SIZE"):
        desk.rest.create_test_order(**{**asked, "quantity": "0.000001"}, price=far_below(desk))
    assert desk.balances() == before
    assert desk.rest.get_open_orders() == []


async def check_the_asynchronous_client_trades_too(desk: Desk) -> None:
    order = await desk.later.order_limit_buy(symbol=SYMBOL, quantity="0.01", price=far_below(desk))
    assert order["status"] == "NEW"
    found = await desk.later.get_order(symbol=SYMBOL, orderId=order["orderId"])
    assert found["clientOrderId"] == order["clientOrderId"]
    gone = await desk.later.cancel_order(symbol=SYMBOL, orderId=order["orderId"])
    assert gone["status"] == "CANCELED"
    sold = await desk.later.order_market_sell(symbol=SYMBOL, quantity="0.001")
    assert sold["status"] == "FILLED"
    assert (await desk.later.get_my_trades(symbol=SYMBOL))[-1]["orderId"] == sold["orderId"]


async def check_orders_over_the_websocket_api(desk: Desk) -> None:
    bought = await desk.later.ws_order_market_buy(symbol=SYMBOL, quantity="0.01")
    assert (bought["status"], amount(bought["executedQty"])) == ("FILLED", Decimal("0.01"))
    assert total(amount(fill["qty"]) for fill in bought["fills"]) == Decimal("0.01")
    resting = await desk.later.ws_order_limit_buy(symbol=SYMBOL, quantity="0.01", price=far_below(desk))
    assert resting["status"] == "NEW"
    found = await desk.later.ws_get_order(symbol=SYMBOL, orderId=resting["orderId"])
    assert found == desk.rest.get_order(symbol=SYMBOL, orderId=resting["orderId"])
    assert [row["orderId"] for row in await desk.later.ws_get_open_orders(symbol=SYMBOL)] == [resting["orderId"]]
    gone = await desk.later.ws_cancel_order(symbol=SYMBOL, orderId=resting["orderId"])
    assert (gone["status"], gone["origClientOrderId"]) == ("CANCELED", resting["clientOrderId"])
    await desk.later.ws_order_limit_buy(symbol=SYMBOL, quantity="0.01", price=far_below(desk))
    assert len(await desk.later.ws_cancel_all_open_orders(symbol=SYMBOL)) == 1
    account = await desk.later.ws_get_account()
    assert {row["asset"]: amount(row["free"]) for row in account["balances"]}["BTC"] == desk.balances()["BTC"][0]


# Refusals


async def check_filters_refuse(desk: Desk) -> None:
    def limit(quantity: str, price: str) -> None:
        desk.rest.order_limit_buy(symbol=SYMBOL, quantity=quantity, price=price)

    price = far_below(desk)
    with refused(-1013, text="Filter failure: PRICE_FILTER"):
        limit("0.01", price + "5")
    with refused(-1013, text="Filter failure: LOT_SIZE"):
        limit("0.010001", price)
    with refused(-1013, text="Filter failure: LOT_SIZE"):
        limit("10000", price)
    with refused(-1013, text="Filter failure: NOTIONAL"):
        limit("0.00001", price)
    with refused(-1013, text="Filter failure: NOTIONAL"):
        desk.rest.order_market_buy(symbol=SYMBOL, quantity="0.00001")
    with refused(-1111):
        limit("0.0100000001", price)
    with refused(-2010, text="Account has insufficient balance for requested action."):
        limit("100", price)
    with refused(-2010, text="Account has insufficient balance for requested action."):
        desk.rest.order_market_sell(symbol=SYMBOL, quantity="3")


async def check_bad_parameters_are_refused(desk: Desk) -> None:
    asked = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01"}
    asked["price"] = far_below(desk)
    for change, code in (
        ({"symbol": "NOSUCH"}, -1121), ({"side": "HOLD"}, -1117), ({"type": "GIVE"}, -1116),
        ({"timeInForce": "GTZ"}, -1115), ({"timeInForce": None}, -1102), ({"price": None}, -1102),
        ({"quantity": None}, -1102), ({"quantity": "much"}, -1100), ({"newClientOrderId": "j" * 37}, -1100),
    ):
        with refused(code):
            desk.rest.create_order(**{**asked, **change})
    with refused(-1121, text="Invalid symbol."):
        desk.rest.get_order_book(symbol="NOSUCH")
    with refused(-1106):
        desk.rest.create_order(**{**asked, "type": "MARKET"})


async def check_unknown_orders_are_refused(desk: Desk) -> None:
    with refused(-2013, text="Order does not exist."):
        desk.rest.get_order(symbol=SYMBOL, orderId=1)
    with refused(-2011, text="Unknown order sent."):
        desk.rest.cancel_order(symbol=SYMBOL, origClientOrderId="never-sent")
    with refused(-1102):
        desk.rest.get_order(symbol=SYMBOL)


async def check_bad_credentials_are_refused(desk: Desk) -> None:
    with refused(-1022, text="Signature for this request is not valid."):
        desk.another(secret="x" * 64).get_account()
    with refused(-2015, 401):
        desk.another(key="a" * 64).get_account()
    with refused(-2014, 401):
        desk.another(key="bad key").get_account()
    with refused(-1022):
        desk.another(secret="x" * 64).order_market_buy(symbol=SYMBOL, quantity="0.01")


async def check_bad_timestamps_are_refused(desk: Desk) -> None:
    late, early = desk.another(), desk.another()
    late.timestamp_offset, early.timestamp_offset = -20_000, 5_000
    with refused(-1021, text="outside of the recvWindow"):
        late.get_account()
    with refused(-1021, text="ahead of the server's time"):
        early.order_market_buy(symbol=SYMBOL, quantity="0.01")
    late.REQUEST_RECVWINDOW = 30_000
    assert late.get_account()["canTrade"] is True


async def check_refusals_over_the_websocket_api(desk: Desk) -> None:
    with refused(-1013, text="Filter failure: NOTIONAL"):
        await desk.later.ws_order_limit_buy(symbol=SYMBOL, quantity="0.00001", price=far_below(desk))
    with refused(-1121):
        await desk.later.ws_get_order_book(symbol="NOSUCH")
    with refused(-2013):
        await desk.later.ws_get_order(symbol=SYMBOL, orderId=1)
    with refused(-2011):
        await desk.later.ws_cancel_order(symbol=SYMBOL, orderId=1)
    with refused(-1022):
        await desk.later.ws_get_account(signature="0" * 64, apiKey=desk.access["api_key"], timestamp=_now_ms())
    with refused(-1021):
        await desk.later.ws_get_account(timestamp=_now_ms() - 60_000)


def _now_ms() -> int:
    return int(time.time() * 1000)


# Limits


async def check_headers_count_weight_and_unfilled_orders(desk: Desk) -> None:
    """Counted in the venue's minute, so the difference is asked for twice at most (the minute may have turned)."""

    def used(ask: Callable[[], object]) -> int:
        ask()
        return header_counts(desk.rest, WEIGHTS)["1M"]

    for _ in range(2):
        first = used(desk.rest.ping)
        costs = [used(ask) - first for ask in (desk.rest.ping, desk.rest.get_account, desk.rest.get_open_orders)]
        if costs == [1, 21, 101]:
            break
    assert costs == [1, 21, 101], costs
    price = far_below(desk)
    filled = desk.rest.order_market_buy(symbol=SYMBOL, quantity="0.001")
    assert filled["status"] == "FILLED"
    before = header_counts(desk.rest, COUNTS)
    assert set(before) == {"10S", "1D"}
    desk.rest.order_market_buy(symbol=SYMBOL, quantity="0.001")
    assert header_counts(desk.rest, COUNTS)["1D"] == before["1D"], "a filled order's slot comes back"
    desk.rest.order_limit_buy(symbol=SYMBOL, quantity="0.001", price=price)
    assert header_counts(desk.rest, COUNTS)["1D"] == before["1D"] + 1
    rows = {row["interval"]: row for row in desk.rest.get_current_order_count()}
    assert rows["DAY"]["count"] == before["1D"] + 1
    assert rows["SECOND"]["limit"] == 100
    desk.rest.cancel_all_open_orders(symbol=SYMBOL)


# Streams


async def check_the_old_listen_key_is_gone(desk: Desk) -> None:
    try:
        desk.rest.stream_get_listen_key()
    except BinanceAPIException as refusal:
        assert refusal.status_code == 410
    else:
        raise AssertionError("listen keys ended in 2026")


async def check_the_user_stream_tells_of_a_rest_order(desk: Desk) -> None:
    async with desk.sockets.user_socket() as socket:
        placed = await desk.later.order_limit_buy(symbol=SYMBOL, quantity="0.01", price=far_below(desk))
        await desk.later.cancel_order(symbol=SYMBOL, orderId=placed["orderId"])
        sold = await desk.later.order_market_sell(symbol=SYMBOL, quantity="0.01")
        events = await collect(
            socket.recv,
            lambda found: bool(found) and (found[-1].get("i"), found[-1].get("X")) == (sold["orderId"], "FILLED"),
        )
        events += await collect(socket.recv, bool)  # the balances after it
    reports = [event for event in events if event["e"] == "executionReport"]
    mine = [event for event in reports if event["i"] == placed["orderId"]]
    assert [(event["x"], event["X"]) for event in mine] == [("NEW", "NEW"), ("CANCELED", "CANCELED")]
    assert mine[0]["c"] == mine[1]["C"] == placed["clientOrderId"]
    assert mine[1]["c"] != placed["clientOrderId"]
    trades = [event for event in reports if event["x"] == "TRADE"]
    assert {event["i"] for event in trades} == {sold["orderId"]}
    assert [event["t"] for event in trades] == [fill["tradeId"] for fill in sold["fills"]]
    assert total(amount(event["l"]) for event in trades) == amount(trades[-1]["z"]) == Decimal("0.01")
    assert amount(trades[-1]["Z"]) == amount(sold["cummulativeQuoteQty"])
    assert all(event["N"] == "USDT" and amount(event["n"]) > 0 for event in trades)
    accounts = [event for event in events if event["e"] == "outboundAccountPosition"]
    told = {row["a"]: (amount(row["f"]), amount(row["l"])) for row in accounts[-1]["B"]}
    assert told == desk.balances()


async def check_multiplexed_streams(desk: Desk) -> None:
    streams = ["btcusdt@bookTicker", "btcusdt@depth@100ms", "btcusdt@trade"]
    async with desk.sockets.multiplex_socket(streams) as socket:
        found = await collect(socket.recv, lambda seen: sum("@depth" in m["stream"] for m in seen) >= 5)
    by_stream = {name: [m["data"] for m in found if m["stream"] == name] for name in streams}
    assert all(by_stream.values()), {name: len(rows) for name, rows in by_stream.items()}
    assert_chain(by_stream["btcusdt@depth@100ms"])
    for row in by_stream["btcusdt@bookTicker"]:
        assert amount(row["b"]) < amount(row["a"])
        assert set(row) == {"u", "s", "b", "B", "a", "A"}
    updates = [row["u"] for row in by_stream["btcusdt@bookTicker"]]
    assert updates == sorted(updates)
    assert {row["e"] for row in by_stream["btcusdt@trade"]} == {"trade"}


async def check_single_streams(desk: Desk) -> None:
    async with desk.sockets.symbol_book_ticker_socket(SYMBOL) as socket:
        assert (await collect(socket.recv, bool))[0]["s"] == SYMBOL
    async with desk.sockets.trade_socket(SYMBOL) as socket:
        assert amount((await collect(socket.recv, bool))[0]["p"]) > 0
    async with desk.sockets.depth_socket(SYMBOL, depth="5") as socket:
        books = await collect(socket.recv, lambda found: len(found) == 3)
    for book in books:
        assert (len(book["bids"]), len(book["asks"])) == (5, 5)
        assert_book(book["bids"], book["asks"])
    assert [book["lastUpdateId"] for book in books] == sorted({book["lastUpdateId"] for book in books})


async def check_the_depth_cache_syncs_and_shows_the_best_prices(desk: Desk) -> None:
    """The cache starts over whenever a number is missing; it must not, and its top is what the ticker said."""
    snapshots = 0
    ask = desk.later.get_order_book

    async def counted(**params: object) -> object:
        nonlocal snapshots
        snapshots += 1
        return await ask(**params)

    shown: dict[int, tuple[Decimal, Decimal]] = {}
    told: dict[int, tuple[Decimal, Decimal]] = {}

    async def read_cache() -> None:
        for _ in range(12):
            cache = await manager.recv()
            shown[manager._last_update_id] = cache.get_bids()[0][0], cache.get_asks()[0][0]

    async def read_tickers() -> None:
        for _ in range(24):
            ticker = await tickers.recv()
            told[ticker["u"]] = amount(ticker["b"]), amount(ticker["a"])

    manager = DepthCacheManager(desk.later, SYMBOL, bm=desk.sockets, ws_interval=100, limit=1000, conv_type=Decimal)
    desk.later.get_order_book = counted
    try:
        async with manager, desk.sockets.symbol_book_ticker_socket(SYMBOL) as tickers:
            await asyncio.gather(read_cache(), read_tickers())
    finally:
        desk.later.get_order_book = ask
    assert snapshots <= 2, f"{snapshots} snapshots: the sequence broke"
    both = sorted(shown.keys() & told.keys())[1:]  # the first may stand on the snapshot that was too early
    assert len(both) >= 5, (sorted(shown), sorted(told))
    assert [shown[number] for number in both] == [told[number] for number in both]


async def check_a_book_kept_by_the_manual_stays_equal_to_the_snapshot(desk: Desk) -> None:
    async with desk.sockets.multiplex_socket(["btcusdt@depth@100ms"]) as socket:
        first = (await socket.recv())["data"]
        book = Levels(await desk.later.get_order_book(symbol=SYMBOL, limit=5000))
        diffs = [first]
        while diffs[-1]["u"] <= book.last_id or len(diffs) < 8:
            diffs.append((await asyncio.wait_for(socket.recv(), 5))["data"])
        kept = [diff for diff in diffs if diff["u"] > book.last_id]
        assert kept[0]["U"] <= book.last_id + 1 <= kept[0]["u"], (book.last_id, kept[0])
        assert_chain(kept)
        for diff in kept:
            book.apply(diff)
        later = await desk.later.get_order_book(symbol=SYMBOL, limit=5000)
        while book.last_id < later["lastUpdateId"]:
            book.apply((await asyncio.wait_for(socket.recv(), 5))["data"])
    if book.last_id == later["lastUpdateId"]:
        assert (book.bids, book.asks) == (Levels(later).bids, Levels(later).asks)


if __name__ == "__main__":
    judge("binance-spot", open_spot, globals())
