"""python-binance trades on the embedded USD-M venue: market data, account, every order that we use, and the sums."""

from __future__ import annotations

import time
from decimal import Decimal

from python_binance_desk import PerpDesk, open_perp, refused
from verdicts import SYMBOL, amount, amounts, assert_book, eventually, judge, on_step, total

WALLET = Decimal(100_000)
MAKER, TAKER = Decimal(0), Decimal("0.00017")


# Market data


async def check_ping_and_time(desk: PerpDesk) -> None:
    assert desk.rest.futures_ping() == {}
    assert abs(desk.rest.futures_time()["serverTime"] - time.time() * 1000) < 2000


async def check_exchange_info(desk: PerpDesk) -> None:
    info = desk.rest.futures_exchange_info()
    limits = {(row["rateLimitType"], row["interval"], row["intervalNum"]): row["limit"] for row in info["rateLimits"]}
    assert limits == {
        ("REQUEST_WEIGHT", "MINUTE", 1): 2400, ("ORDERS", "MINUTE", 1): 1200, ("ORDERS", "SECOND", 10): 300
    }
    symbol = next(row for row in info["symbols"] if row["symbol"] == SYMBOL)
    assert (symbol["status"], symbol["contractType"], symbol["marginAsset"]) == ("TRADING", "PERPETUAL", "USDT")
    assert {"LIMIT", "MARKET"} <= set(symbol["orderTypes"])
    assert {"GTC", "IOC", "FOK", "GTX"} <= set(symbol["timeInForce"])
    filters = {row["filterType"]: row for row in symbol["filters"]}
    assert amount(filters["PRICE_FILTER"]["tickSize"]) == Decimal(desk.tick)
    assert amount(filters["LOT_SIZE"]["stepSize"]) == Decimal("0.001")
    assert amount(filters["MIN_NOTIONAL"]["notional"]) == 100


async def check_depth(desk: PerpDesk) -> None:
    for limit in (5, 20):
        book = desk.rest.futures_order_book(symbol=SYMBOL, limit=limit)
        assert (len(book["bids"]), len(book["asks"])) == (limit, limit)
        assert_book(book["bids"], book["asks"])
        assert abs(book["E"] - time.time() * 1000) < 2000
    assert desk.rest.futures_order_book(symbol=SYMBOL)["lastUpdateId"] >= book["lastUpdateId"] > 0


async def check_tickers(desk: PerpDesk) -> None:
    bid, ask = desk.top()
    assert 0 < bid < ask < bid * Decimal("1.001")
    assert [row["symbol"] for row in desk.rest.futures_orderbook_ticker()] == [SYMBOL]
    price = amount(desk.rest.futures_symbol_ticker(symbol=SYMBOL)["price"])
    mark = desk.rest.futures_mark_price(symbol=SYMBOL)
    for shown in (price, amount(mark["markPrice"]), amount(mark["indexPrice"])):
        assert abs(shown - bid) < bid / 100, (shown, bid)
    left_ms = mark["nextFundingTime"] - mark["time"]
    assert 0 < left_ms <= 8 * 3600 * 1000
    assert mark["nextFundingTime"] % (8 * 3600 * 1000) == 0
    assert abs(amount(mark["lastFundingRate"])) < Decimal("0.01")


async def check_market_data_over_the_websocket_api(desk: PerpDesk) -> None:
    book = await desk.later.ws_futures_get_order_book(symbol=SYMBOL, limit=10)
    assert len(book["bids"]) == 10
    assert_book(book["bids"], book["asks"])
    ticker = await desk.later.ws_futures_get_order_book_ticker(symbol=SYMBOL)
    assert amount(ticker["bidPrice"]) < amount(ticker["askPrice"])
    assert [row["symbol"] for row in await desk.later.ws_futures_get_all_tickers()] == [SYMBOL]


# Account


async def check_a_new_account(desk: PerpDesk) -> None:
    for version in (2, 3):
        rows = {row["asset"]: row for row in desk.rest.futures_account_balance(version=version)}
        assert amount(rows["USDT"]["balance"]) == amount(rows["USDT"]["availableBalance"]) == WALLET
        account = desk.rest.futures_account(version=version)
        assert amount(account["totalWalletBalance"]) == amount(account["availableBalance"]) == WALLET
        assert [row["asset"] for row in account["assets"]] == ["USDT"]
    assert desk.rest.futures_account()["canTrade"] is True
    assert desk.rest.futures_position_information() == []
    flat = desk.rest.futures_position_information(version=2)
    assert [(row["symbol"], amount(row["positionAmt"])) for row in flat] == [(SYMBOL, 0)]
    assert desk.rest.futures_get_open_orders() == desk.rest.futures_get_all_orders(symbol=SYMBOL) == []
    assert desk.rest.futures_account_trades(symbol=SYMBOL) == []


async def check_fees_brackets_and_modes(desk: PerpDesk) -> None:
    rates = desk.rest.futures_commission_rate(symbol=SYMBOL)
    assert (amount(rates["makerCommissionRate"]), amount(rates["takerCommissionRate"])) == (MAKER, TAKER)
    brackets = desk.rest.futures_leverage_bracket()
    assert [row["symbol"] for row in brackets] == [SYMBOL]
    caps = [row["notionalCap"] for row in brackets[0]["brackets"]]
    assert caps == sorted(caps)
    assert desk.rest.futures_get_position_mode() == {"dualSidePosition": False}
    assert desk.rest.futures_get_multi_assets_mode() == {"multiAssetsMargin": False}
    assert desk.rest.futures_account_config()["dualSidePosition"] is False
    config = desk.rest.futures_symbol_config(symbol=SYMBOL)
    assert [(row["symbol"], row["marginType"], row["leverage"]) for row in config] == [(SYMBOL, "CROSSED", 20)]
    with refused(-4059):
        desk.rest.futures_change_position_mode(dualSidePosition="false")
    with refused(-4046):
        desk.rest.futures_change_margin_type(symbol=SYMBOL, marginType="CROSSED")


async def check_leverage(desk: PerpDesk) -> None:
    answer = desk.rest.futures_change_leverage(symbol=SYMBOL, leverage=10)
    assert (answer["symbol"], answer["leverage"]) == (SYMBOL, 10)
    assert desk.rest.futures_symbol_config(symbol=SYMBOL)[0]["leverage"] == 10
    assert desk.rest.futures_position_information(symbol=SYMBOL, version=2)[0]["leverage"] == "10"
    with refused(-4028):
        desk.rest.futures_change_leverage(symbol=SYMBOL, leverage=500)
    desk.rest.futures_change_leverage(symbol=SYMBOL, leverage=20)


# Orders


async def check_a_market_order_opens_a_position_and_pays_its_fee(desk: PerpDesk) -> None:
    before = desk.wallet()
    order = desk.market("BUY", "0.05")
    assert (order["status"], order["type"], amount(order["executedQty"])) == ("FILLED", "MARKET", Decimal("0.05"))
    assert str(order["clientOrderId"]).startswith("x-Cb7ytekJ")
    trades = desk.rest.futures_account_trades(symbol=SYMBOL, orderId=order["orderId"])
    assert total(amount(trade["qty"]) for trade in trades) == Decimal("0.05")
    cost = total(amount(trade["qty"]) * amount(trade["price"]) for trade in trades)
    assert abs(amount(order["cumQuote"]) - cost) < Decimal("0.0001")
    assert abs(amount(order["avgPrice"]) * Decimal("0.05") - cost) < Decimal("0.001")
    fee = total(amount(trade["commission"]) for trade in trades)
    assert abs(fee - cost * TAKER) <= Decimal("1e-8") * len(trades)
    assert before - desk.wallet() == fee
    assert desk.position() == Decimal("0.05")
    row = desk.rest.futures_position_information(symbol=SYMBOL)[0]
    assert amount(row["positionAmt"]) == Decimal("0.05")
    assert abs(amount(row["entryPrice"]) * Decimal("0.05") - cost) < Decimal("0.0001")
    profit = (amount(row["markPrice"]) - amount(row["entryPrice"])) * Decimal("0.05")
    assert abs(amount(row["unRealizedProfit"]) - profit) < Decimal("0.000001")
    assert abs(amount(row["notional"]) - amount(row["markPrice"]) * Decimal("0.05")) < Decimal("0.000001")


async def check_account_and_positions_agree_in_both_versions(desk: PerpDesk) -> None:
    two, three = desk.rest.futures_account(version=2), desk.rest.futures_account(version=3)
    for account in (two, three):
        position = next(row for row in account["positions"] if row["symbol"] == SYMBOL)
        assert amount(position["positionAmt"]) == Decimal("0.05")
        assert amount(account["totalWalletBalance"]) == desk.wallet()
        margin = amount(account["totalMarginBalance"]) - amount(account["totalWalletBalance"])
        assert margin == amount(account["totalUnrealizedProfit"])
        assert 0 < amount(account["totalMaintMargin"]) < amount(account["totalInitialMargin"])
        assert amount(account["availableBalance"]) < WALLET
    assert next(row for row in two["positions"] if row["symbol"] == SYMBOL)["leverage"] == "20"


async def check_reduce_only_closes_and_never_opens(desk: PerpDesk) -> None:
    before = desk.wallet()
    order = desk.market("SELL", "0.02", reduceOnly="true")
    assert (order["status"], order["reduceOnly"]) == ("FILLED", True)
    assert desk.position() == Decimal("0.03")
    trades = desk.rest.futures_account_trades(symbol=SYMBOL, orderId=order["orderId"])
    earned = total(amount(trade["realizedPnl"]) - amount(trade["commission"]) for trade in trades)
    assert desk.wallet() - before == earned
    with refused(-2022, text="ReduceOnly Order is rejected."):
        desk.market("BUY", "0.01", reduceOnly="true")
    desk.market("SELL", "0.03", reduceOnly="true")
    assert desk.position() == 0
    with refused(-2022):
        desk.market("SELL", "0.01", reduceOnly="true")


async def check_a_reduce_only_order_below_the_least_notional_is_allowed(desk: PerpDesk) -> None:
    desk.market("BUY", "0.003")
    assert desk.market("SELL", "0.001", reduceOnly="true")["status"] == "FILLED"
    assert desk.market("SELL", "0.002", reduceOnly="true")["status"] == "FILLED"
    assert desk.position() == 0


async def check_a_position_turns_around_in_one_order(desk: PerpDesk) -> None:
    desk.market("BUY", "0.01")
    turned = desk.market("SELL", "0.03")
    assert desk.position() == Decimal("-0.02")
    row = desk.rest.futures_position_information(symbol=SYMBOL)[0]
    assert abs(amount(row["entryPrice"]) - amount(turned["avgPrice"])) < Decimal("5")
    desk.market("BUY", "0.02", reduceOnly="true")
    assert desk.position() == 0


async def check_ack_and_result(desk: PerpDesk) -> None:
    price = desk.above()
    ack = desk.limit_buy(price, "0.01", timeInForce="IOC")
    assert (ack["status"], amount(ack["executedQty"])) == ("NEW", 0), "ACK, the default, tells of acceptance alone"
    done = desk.limit_buy(price, "0.01", timeInForce="IOC", newOrderRespType="RESULT")
    assert (done["status"], amount(done["executedQty"])) == ("FILLED", Decimal("0.01"))
    assert desk.rest.futures_get_order(symbol=SYMBOL, orderId=ack["orderId"])["status"] == "FILLED"
    desk.market("SELL", "0.02", reduceOnly="true")


async def check_a_crossing_limit_gtc_fills_at_its_price_or_better(desk: PerpDesk) -> None:
    price = desk.above()
    order = desk.limit_buy(price, "0.02", newOrderRespType="RESULT")
    assert (order["status"], order["timeInForce"]) == ("FILLED", "GTC")
    assert amount(order["avgPrice"]) <= Decimal(price)
    desk.market("SELL", "0.02", reduceOnly="true")


async def check_ioc_takes_what_is_there_and_expires(desk: PerpDesk) -> None:
    nothing = desk.limit_buy(desk.far_below(), timeInForce="IOC", newOrderRespType="RESULT")
    assert (nothing["status"], amount(nothing["executedQty"])) == ("EXPIRED", 0)
    price = on_step(desk.top()[1] * Decimal("1.0002"), desk.tick)
    some = desk.limit_buy(price, "30", timeInForce="IOC", newOrderRespType="RESULT")
    executed = amount(some["executedQty"])
    assert executed < 30
    assert some["status"] == "EXPIRED"
    trades = desk.rest.futures_account_trades(symbol=SYMBOL, orderId=some["orderId"])
    assert total(amount(trade["qty"]) for trade in trades) == executed == desk.position()
    if executed:
        desk.market("SELL", str(executed), reduceOnly="true")


async def check_fok_is_all_or_refused_without_a_record(desk: PerpDesk) -> None:
    whole = desk.limit_buy(desk.above(), "0.02", timeInForce="FOK", newOrderRespType="RESULT")
    assert (whole["status"], amount(whole["executedQty"])) == ("FILLED", Decimal("0.02"))
    desk.market("SELL", "0.02", reduceOnly="true")
    with refused(-5021):
        desk.limit_buy(desk.far_below(), "0.02", timeInForce="FOK", newClientOrderId="judge-fok")
    with refused(-2013):
        desk.rest.futures_get_order(symbol=SYMBOL, origClientOrderId="judge-fok")


async def check_gtx_rests_or_is_refused_without_a_record(desk: PerpDesk) -> None:
    order = desk.limit_buy(desk.far_below(), timeInForce="GTX")
    assert (order["status"], order["timeInForce"]) == ("NEW", "GTX")
    assert desk.rest.futures_cancel_order(symbol=SYMBOL, orderId=order["orderId"])["status"] == "CANCELED"
    with refused(-5022):
        desk.limit_buy(desk.above(), timeInForce="GTX", newClientOrderId="judge-gtx")
    with refused(-2013, text="Order does not exist."):
        desk.rest.futures_get_order(symbol=SYMBOL, origClientOrderId="judge-gtx")


async def check_a_resting_order_until_cancelled(desk: PerpDesk) -> None:
    price = desk.far_below()
    placed = desk.limit_buy(price, "0.1", newClientOrderId="judge-rests")
    assert placed["status"] == "NEW"
    by_id = desk.rest.futures_get_order(symbol=SYMBOL, orderId=placed["orderId"])
    assert by_id == desk.rest.futures_get_order(symbol=SYMBOL, origClientOrderId="judge-rests")
    assert (by_id["status"], amounts(by_id, "price", "origQty")) == ("NEW", [Decimal(price), Decimal("0.1")])
    assert [row["orderId"] for row in desk.rest.futures_get_open_orders(symbol=SYMBOL)] == [placed["orderId"]]
    shown = desk.rest.futures_position_information(symbol=SYMBOL)
    assert [amount(row["positionAmt"]) for row in shown] == [0], "v3 shows a symbol with open orders"
    balance = next(row for row in desk.rest.futures_account_balance() if row["asset"] == "USDT")
    assert amount(balance["availableBalance"]) < amount(balance["balance"])
    with refused(-4116):
        desk.limit_buy(price, "0.1", newClientOrderId="judge-rests")
    cancelled = desk.rest.futures_cancel_order(symbol=SYMBOL, origClientOrderId="judge-rests")
    assert (cancelled["status"], cancelled["clientOrderId"]) == ("CANCELED", "judge-rests")
    assert desk.rest.futures_get_open_orders() == []
    with refused(-2011, text="Unknown order sent."):
        desk.rest.futures_cancel_order(symbol=SYMBOL, orderId=placed["orderId"])


async def check_cancel_all_and_the_dead_mans_switch(desk: PerpDesk) -> None:
    price = desk.far_below()
    for _ in range(3):
        desk.limit_buy(price)
    assert desk.rest.futures_cancel_all_open_orders(symbol=SYMBOL)["code"] == 200
    assert desk.rest.futures_get_open_orders(symbol=SYMBOL) == []
    assert desk.rest.futures_cancel_all_open_orders(symbol=SYMBOL)["code"] == 200
    order = desk.limit_buy(price)
    answer = desk.rest.futures_countdown_cancel_all(symbol=SYMBOL, countdownTime=300)
    assert answer == {"symbol": SYMBOL, "countdownTime": "300"}
    assert desk.rest.futures_get_open_orders(symbol=SYMBOL) != []
    await eventually(lambda: desk.rest.futures_get_open_orders(symbol=SYMBOL) == [], 2.0)
    assert desk.rest.futures_get_order(symbol=SYMBOL, orderId=order["orderId"])["status"] == "CANCELED"


async def check_all_orders_and_trades_agree(desk: PerpDesk) -> None:
    orders = desk.rest.futures_get_all_orders(symbol=SYMBOL)
    ids = [order["orderId"] for order in orders]
    assert ids == sorted(set(ids))
    trades = desk.rest.futures_account_trades(symbol=SYMBOL, limit=1000)
    for order in orders:
        mine = [trade for trade in trades if trade["orderId"] == order["orderId"]]
        assert total(amount(trade["qty"]) for trade in mine) == amount(order["executedQty"]), order
        assert {(trade["side"], trade["buyer"]) for trade in mine} <= {(order["side"], order["side"] == "BUY")}
    page = desk.rest.futures_account_trades(symbol=SYMBOL, fromId=trades[1]["id"], limit=2)
    assert [trade["id"] for trade in page] == [trade["id"] for trade in trades[1:3]]
    some = desk.rest.futures_get_all_orders(symbol=SYMBOL, orderId=ids[2], limit=2)
    assert [row["orderId"] for row in some] == ids[2:4]


async def check_the_wallet_is_explained_by_trades_and_income(desk: PerpDesk) -> None:
    trades = desk.rest.futures_account_trades(symbol=SYMBOL, limit=1000)
    earned = total(amount(trade["realizedPnl"]) - amount(trade["commission"]) for trade in trades)
    income = desk.rest.futures_income_history(limit=1000)
    assert desk.wallet() == WALLET + total(amount(row["income"]) for row in income)
    funding = total(amount(row["income"]) for row in income if row["incomeType"] == "FUNDING_FEE")
    assert desk.wallet() == WALLET + earned + funding
    fees = desk.rest.futures_income_history(incomeType="COMMISSION", limit=1000)
    assert total(amount(row["income"]) for row in fees) == -total(amount(trade["commission"]) for trade in trades)


async def check_a_test_order_changes_nothing(desk: PerpDesk) -> None:
    asked = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": desk.far_below()}
    assert "code" not in desk.rest.futures_create_test_order(**asked, quantity="0.01")
    with refused(-4164):
        desk.rest.futures_create_test_order(**asked, quantity="0.001")
    assert desk.rest.futures_get_open_orders() == []


async def check_the_asynchronous_client_trades_too(desk: PerpDesk) -> None:
    order = await desk.later.futures_create_order(
        symbol=SYMBOL, side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.01", price=desk.far_below()
    )
    found = await desk.later.futures_get_order(symbol=SYMBOL, origClientOrderId=order["clientOrderId"])
    assert (found["orderId"], found["status"]) == (order["orderId"], "NEW")
    assert (await desk.later.futures_cancel_order(symbol=SYMBOL, orderId=order["orderId"]))["status"] == "CANCELED"
    balances = await desk.later.futures_account_balance()
    assert amount(balances[0]["balance"]) == desk.wallet()


async def check_orders_over_the_websocket_api(desk: PerpDesk) -> None:
    bought = await desk.later.ws_futures_create_order(
        symbol=SYMBOL, side="BUY", type="MARKET", quantity="0.01", newOrderRespType="RESULT"
    )
    assert (bought["status"], amount(bought["executedQty"])) == ("FILLED", Decimal("0.01"))
    for ask in (desk.later.ws_futures_account_position, desk.later.ws_futures_v2_account_position):
        rows = await ask(symbol=SYMBOL)
        assert [amount(row["positionAmt"]) for row in rows] == [Decimal("0.01")]
    for ask in (desk.later.ws_futures_account_balance, desk.later.ws_futures_v2_account_balance):
        assert {row["asset"]: amount(row["balance"]) for row in await ask()} == {"USDT": desk.wallet()}
    for ask in (desk.later.ws_futures_account_status, desk.later.ws_futures_v2_account_status):
        assert amount((await ask())["totalWalletBalance"]) == desk.wallet()
    desk.market("SELL", "0.01", reduceOnly="true")
    resting = await desk.later.ws_futures_create_order(
        symbol=SYMBOL, side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.01", price=desk.far_below()
    )
    found = await desk.later.ws_futures_get_order(symbol=SYMBOL, orderId=resting["orderId"])
    assert found == desk.rest.futures_get_order(symbol=SYMBOL, orderId=resting["orderId"])
    gone = await desk.later.ws_futures_cancel_order(symbol=SYMBOL, orderId=resting["orderId"])
    assert (gone["status"], gone["orderId"]) == ("CANCELED", resting["orderId"])


if __name__ == "__main__":
    judge("binance-um", open_perp, globals())
