"""python-binance trades on the embedded spot venue: market data, account, every order that we use, and the sums."""

from __future__ import annotations

import time
from decimal import Decimal

from python_binance_desk import SpotDesk, open_spot, refused
from verdicts import SYMBOL, amount, assert_book, judge, on_step, total

USDT, BTC = Decimal(100_000), Decimal(2)
MAKER, TAKER = Decimal("0.0001"), Decimal("0.0002")


# Market data


async def check_ping_and_time(desk: SpotDesk) -> None:
    assert desk.rest.ping() == {}
    assert abs(desk.rest.get_server_time()["serverTime"] - time.time() * 1000) < 2000
    assert abs(desk.later.timestamp_offset) < 2000


async def check_exchange_info(desk: SpotDesk) -> None:
    info = desk.rest.get_exchange_info()
    assert {(row["rateLimitType"], row["interval"]) for row in info["rateLimits"]} >= {
        ("REQUEST_WEIGHT", "MINUTE"), ("ORDERS", "SECOND"), ("ORDERS", "DAY")
    }
    symbol = desk.rest.get_symbol_info(SYMBOL)
    assert (symbol["status"], symbol["baseAsset"], symbol["quoteAsset"]) == ("TRADING", "BTC", "USDT")
    assert {"LIMIT", "MARKET", "LIMIT_MAKER"} <= set(symbol["orderTypes"])
    filters = {row["filterType"]: row for row in symbol["filters"]}
    assert amount(filters["PRICE_FILTER"]["tickSize"]) == Decimal(desk.tick)
    assert amount(filters["LOT_SIZE"]["stepSize"]) == Decimal("0.00001")
    assert amount(filters["NOTIONAL"]["minNotional"]) == 5
    assert desk.rest.get_symbol_info("NOSUCH") is None


async def check_depth(desk: SpotDesk) -> None:
    for limit in (5, 20):
        book = desk.rest.get_order_book(symbol=SYMBOL, limit=limit)
        assert (len(book["bids"]), len(book["asks"])) == (limit, limit)
        assert_book(book["bids"], book["asks"])
    later = desk.rest.get_order_book(symbol=SYMBOL)
    assert later["lastUpdateId"] >= book["lastUpdateId"] > 0


async def check_tickers(desk: SpotDesk) -> None:
    bid, ask = desk.top()
    assert 0 < bid < ask < bid * Decimal("1.001")
    assert [row["symbol"] for row in desk.rest.get_orderbook_tickers()] == [SYMBOL]
    assert {row["symbol"] for row in desk.rest.get_all_tickers()} == {SYMBOL}
    price = amount(desk.rest.get_symbol_ticker(symbol=SYMBOL)["price"])
    average = amount(desk.rest.get_avg_price(symbol=SYMBOL)["price"])
    for shown in (price, average):
        assert abs(shown - bid) < bid / 100, (shown, bid)


async def check_market_data_over_the_websocket_api(desk: SpotDesk) -> None:
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


async def check_a_new_account(desk: SpotDesk) -> None:
    account = desk.rest.get_account()
    assert account["canTrade"] is True
    assert account["accountType"] == "SPOT"
    assert desk.balances() == {"USDT": (USDT, Decimal(0)), "BTC": (BTC, Decimal(0))}
    assert amount(desk.rest.get_asset_balance(asset="BTC")["free"]) == BTC
    assert desk.rest.get_open_orders() == []
    assert desk.rest.get_all_orders(symbol=SYMBOL) == []
    assert desk.rest.get_my_trades(symbol=SYMBOL) == []


async def check_fees(desk: SpotDesk) -> None:
    rates = desk.rest.get_account()["commissionRates"]
    assert (amount(rates["maker"]), amount(rates["taker"])) == (MAKER, TAKER)
    row = desk.rest.get_trade_fee(symbol=SYMBOL)[0]
    assert (amount(row["makerCommission"]), amount(row["takerCommission"])) == (MAKER, TAKER)
    standard = (await desk.later.ws_get_commission_rates(symbol=SYMBOL))["standardCommission"]
    assert (amount(standard["maker"]), amount(standard["taker"])) == (MAKER, TAKER)


# Orders


async def check_a_market_buy_moves_balances_by_its_fills(desk: SpotDesk) -> None:
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


async def check_a_market_sell_of_a_quote_amount(desk: SpotDesk) -> None:
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


async def check_a_crossing_limit_gtc_fills_at_its_price_or_better(desk: SpotDesk) -> None:
    limit = desk.above()
    order = desk.rest.order_limit_buy(symbol=SYMBOL, quantity="0.01", price=limit)
    assert (order["status"], order["timeInForce"]) == ("FILLED", "GTC")
    assert all(amount(fill["price"]) <= Decimal(limit) for fill in order["fills"])
    assert amount(desk.rest.get_order(symbol=SYMBOL, orderId=order["orderId"])["executedQty"]) == Decimal("0.01")


async def check_ioc_takes_what_is_there_and_expires(desk: SpotDesk) -> None:
    nothing = desk.rest.order_limit_buy(symbol=SYMBOL, quantity="0.01", price=desk.far_below(), timeInForce="IOC")
    assert (nothing["status"], amount(nothing["executedQty"]), nothing["fills"]) == ("EXPIRED", 0, [])
    assert nothing["expiryReason"] == "UNFILLED_IOC_QUANTITY_EXPIRED"
    bid = desk.rest.get_orderbook_ticker(symbol=SYMBOL)["bidPrice"]
    price = on_step(amount(bid) * Decimal("0.9999"), desk.tick)
    some = desk.rest.order_limit_sell(symbol=SYMBOL, quantity="1.9", price=price, timeInForce="IOC")
    executed = amount(some["executedQty"])
    assert executed == total(amount(fill["qty"]) for fill in some["fills"])
    assert some["status"] == ("FILLED" if executed == Decimal("1.9") else "EXPIRED"), some
    assert all(amount(fill["price"]) >= Decimal(price) for fill in some["fills"])
    if executed:
        desk.rest.order_market_buy(symbol=SYMBOL, quantity=str(executed))


async def check_fok_is_all_or_expired(desk: SpotDesk) -> None:
    whole = desk.rest.order_limit_buy(
        symbol=SYMBOL, quantity="0.02", price=desk.above(), timeInForce="FOK"
    )
    assert (whole["status"], amount(whole["executedQty"])) == ("FILLED", Decimal("0.02"))
    none = desk.rest.order_limit_buy(symbol=SYMBOL, quantity="0.02", price=desk.far_below(), timeInForce="FOK")
    assert (none["status"], amount(none["executedQty"])) == ("EXPIRED", 0)
    assert none["expiryReason"] == "UNFILLED_FOK_ORDER_EXPIRED"
    assert desk.rest.get_order(symbol=SYMBOL, orderId=none["orderId"])["status"] == "EXPIRED"


async def check_limit_maker_rests_or_is_refused(desk: SpotDesk) -> None:
    order = desk.rest.create_order(
        symbol=SYMBOL, side="BUY", type="LIMIT_MAKER", quantity="0.01", price=desk.far_below(),
        newOrderRespType="RESULT",
    )
    assert (order["status"], order["type"]) == ("NEW", "LIMIT_MAKER")
    assert desk.rest.cancel_order(symbol=SYMBOL, orderId=order["orderId"])["status"] == "CANCELED"
    with refused(-2010, text="Order would immediately match and take."):
        desk.rest.create_order(
            symbol=SYMBOL, side="BUY", type="LIMIT_MAKER", quantity="0.01",
            price=desk.above(),
        )


async def check_response_types(desk: SpotDesk) -> None:
    def placed(**more: str) -> dict[str, object]:
        price = desk.far_below()
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


async def check_a_resting_order_locks_funds_until_cancelled(desk: SpotDesk) -> None:
    before, price = desk.balances(), desk.far_below()
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


async def check_cancel_all(desk: SpotDesk) -> None:
    price = desk.far_below()
    placed = [desk.rest.order_limit_buy(symbol=SYMBOL, quantity="0.01", price=price)["orderId"] for _ in range(3)]
    gone = desk.rest.cancel_all_open_orders(symbol=SYMBOL)
    assert sorted(row["orderId"] for row in gone) == sorted(placed)
    assert {row["status"] for row in gone} == {"CANCELED"}
    assert desk.rest.get_open_orders() == []
    with refused(-2011):
        desk.rest.cancel_all_open_orders(symbol=SYMBOL)


async def check_all_orders_and_trades_agree(desk: SpotDesk) -> None:
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


async def check_every_balance_is_explained_by_the_trades(desk: SpotDesk) -> None:
    """What the account started with plus what its trades say is what it holds."""
    held = {"USDT": USDT, "BTC": BTC}
    for trade in desk.rest.get_my_trades(symbol=SYMBOL, limit=1000):
        sign = 1 if trade["isBuyer"] else -1
        held["BTC"] += sign * amount(trade["qty"])
        held["USDT"] -= sign * amount(trade["quoteQty"])
        held[trade["commissionAsset"]] -= amount(trade["commission"])
    assert {asset: free + locked for asset, (free, locked) in desk.balances().items()} == held


async def check_a_test_order_changes_nothing(desk: SpotDesk) -> None:
    before = desk.balances()
    asked = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01"}
    assert desk.rest.create_test_order(**asked, price=desk.far_below()) == {}
    assert await desk.later.ws_create_test_order(**asked, price=desk.far_below()) == {}
    with refused(-1013, text="LOT_SIZE"):
        desk.rest.create_test_order(**{**asked, "quantity": "0.000001"}, price=desk.far_below())
    assert desk.balances() == before
    assert desk.rest.get_open_orders() == []


async def check_the_asynchronous_client_trades_too(desk: SpotDesk) -> None:
    order = await desk.later.order_limit_buy(symbol=SYMBOL, quantity="0.01", price=desk.far_below())
    assert order["status"] == "NEW"
    found = await desk.later.get_order(symbol=SYMBOL, orderId=order["orderId"])
    assert found["clientOrderId"] == order["clientOrderId"]
    gone = await desk.later.cancel_order(symbol=SYMBOL, orderId=order["orderId"])
    assert gone["status"] == "CANCELED"
    sold = await desk.later.order_market_sell(symbol=SYMBOL, quantity="0.001")
    assert sold["status"] == "FILLED"
    assert (await desk.later.get_my_trades(symbol=SYMBOL))[-1]["orderId"] == sold["orderId"]


async def check_orders_over_the_websocket_api(desk: SpotDesk) -> None:
    bought = await desk.later.ws_order_market_buy(symbol=SYMBOL, quantity="0.01")
    assert (bought["status"], amount(bought["executedQty"])) == ("FILLED", Decimal("0.01"))
    assert total(amount(fill["qty"]) for fill in bought["fills"]) == Decimal("0.01")
    resting = await desk.later.ws_order_limit_buy(symbol=SYMBOL, quantity="0.01", price=desk.far_below())
    assert resting["status"] == "NEW"
    found = await desk.later.ws_get_order(symbol=SYMBOL, orderId=resting["orderId"])
    assert found == desk.rest.get_order(symbol=SYMBOL, orderId=resting["orderId"])
    assert [row["orderId"] for row in await desk.later.ws_get_open_orders(symbol=SYMBOL)] == [resting["orderId"]]
    gone = await desk.later.ws_cancel_order(symbol=SYMBOL, orderId=resting["orderId"])
    assert (gone["status"], gone["origClientOrderId"]) == ("CANCELED", resting["clientOrderId"])
    await desk.later.ws_order_limit_buy(symbol=SYMBOL, quantity="0.01", price=desk.far_below())
    assert len(await desk.later.ws_cancel_all_open_orders(symbol=SYMBOL)) == 1
    account = await desk.later.ws_get_account()
    assert {row["asset"]: amount(row["free"]) for row in account["balances"]}["BTC"] == desk.balances()["BTC"][0]


if __name__ == "__main__":
    judge("binance-spot", open_spot, globals())
