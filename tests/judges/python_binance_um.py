"""python-binance trades on the embedded USD-M venue, over REST, WebSocket order entry and streams."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from decimal import Decimal

from binance import FuturesDepthCacheManager
from python_binance_desk import Desk, header_counts, left_open, open_perp, refused
from verdicts import (
    SYMBOL,
    Levels,
    amount,
    amounts,
    assert_book,
    assert_chain,
    collect,
    eventually,
    judge,
    on_step,
    total,
)

TICK = "0.10"
WALLET = Decimal(100_000)
MAKER, TAKER = Decimal(0), Decimal("0.00017")
WEIGHTS, COUNTS = "X-MBX-USED-WEIGHT-", "X-MBX-ORDER-COUNT-"


def far_below(desk: Desk) -> str:
    """A price at which a buy rests."""
    return on_step(desk.perp_top()[0] * Decimal("0.98"), TICK)


def above(desk: Desk) -> str:
    """A price at which a buy crosses."""
    return on_step(desk.perp_top()[1] * Decimal("1.001"), TICK)


def limit_buy(desk: Desk, price: str, quantity: str = "0.01", **more: object) -> dict[str, object]:
    asked = {"timeInForce": "GTC", **more}
    return desk.rest.futures_create_order(
        symbol=SYMBOL, side="BUY", type="LIMIT", quantity=quantity, price=price, **asked
    )


def market(desk: Desk, side: str, quantity: str, **more: object) -> dict[str, object]:
    return desk.rest.futures_create_order(
        symbol=SYMBOL, side=side, type="MARKET", quantity=quantity, newOrderRespType="RESULT", **more
    )


# Market data


async def check_ping_and_time(desk: Desk) -> None:
    assert desk.rest.futures_ping() == {}
    assert abs(desk.rest.futures_time()["serverTime"] - time.time() * 1000) < 2000


async def check_exchange_info(desk: Desk) -> None:
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
    assert amount(filters["PRICE_FILTER"]["tickSize"]) == Decimal(TICK)
    assert amount(filters["LOT_SIZE"]["stepSize"]) == Decimal("0.001")
    assert amount(filters["MIN_NOTIONAL"]["notional"]) == 100


async def check_depth(desk: Desk) -> None:
    for limit in (5, 20):
        book = desk.rest.futures_order_book(symbol=SYMBOL, limit=limit)
        assert (len(book["bids"]), len(book["asks"])) == (limit, limit)
        assert_book(book["bids"], book["asks"])
        assert abs(book["E"] - time.time() * 1000) < 2000
    assert desk.rest.futures_order_book(symbol=SYMBOL)["lastUpdateId"] >= book["lastUpdateId"] > 0


async def check_tickers(desk: Desk) -> None:
    bid, ask = desk.perp_top()
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


async def check_market_data_over_the_websocket_api(desk: Desk) -> None:
    book = await desk.later.ws_futures_get_order_book(symbol=SYMBOL, limit=10)
    assert len(book["bids"]) == 10
    assert_book(book["bids"], book["asks"])
    ticker = await desk.later.ws_futures_get_order_book_ticker(symbol=SYMBOL)
    assert amount(ticker["bidPrice"]) < amount(ticker["askPrice"])
    assert [row["symbol"] for row in await desk.later.ws_futures_get_all_tickers()] == [SYMBOL]


# Account


async def check_a_new_account(desk: Desk) -> None:
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


async def check_fees_brackets_and_modes(desk: Desk) -> None:
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


async def check_leverage(desk: Desk) -> None:
    answer = desk.rest.futures_change_leverage(symbol=SYMBOL, leverage=10)
    assert (answer["symbol"], answer["leverage"]) == (SYMBOL, 10)
    assert desk.rest.futures_symbol_config(symbol=SYMBOL)[0]["leverage"] == 10
    assert desk.rest.futures_position_information(symbol=SYMBOL, version=2)[0]["leverage"] == "10"
    with refused(-4028):
        desk.rest.futures_change_leverage(symbol=SYMBOL, leverage=500)
    desk.rest.futures_change_leverage(symbol=SYMBOL, leverage=20)


# Orders


async def check_a_market_order_opens_a_position_and_pays_its_fee(desk: Desk) -> None:
    before = desk.wallet()
    order = market(desk, "BUY", "0.05")
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


async def check_account_and_positions_agree_in_both_versions(desk: Desk) -> None:
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


async def check_reduce_only_closes_and_never_opens(desk: Desk) -> None:
    before = desk.wallet()
    order = market(desk, "SELL", "0.02", reduceOnly="true")
    assert (order["status"], order["reduceOnly"]) == ("FILLED", True)
    assert desk.position() == Decimal("0.03")
    trades = desk.rest.futures_account_trades(symbol=SYMBOL, orderId=order["orderId"])
    earned = total(amount(trade["realizedPnl"]) - amount(trade["commission"]) for trade in trades)
    assert desk.wallet() - before == earned
    with refused(-2022, text="ReduceOnly Order is rejected."):
        market(desk, "BUY", "0.01", reduceOnly="true")
    market(desk, "SELL", "0.03", reduceOnly="true")
    assert desk.position() == 0
    with refused(-2022):
        market(desk, "SELL", "0.01", reduceOnly="true")


async def check_a_reduce_only_order_below_the_least_notional_is_allowed(desk: Desk) -> None:
    market(desk, "BUY", "0.003")
    assert market(desk, "SELL", "0.001", reduceOnly="true")["status"] == "FILLED"
    assert market(desk, "SELL", "0.002", reduceOnly="true")["status"] == "FILLED"
    assert desk.position() == 0


async def check_a_position_turns_around_in_one_order(desk: Desk) -> None:
    market(desk, "BUY", "0.01")
    turned = market(desk, "SELL", "0.03")
    assert desk.position() == Decimal("-0.02")
    row = desk.rest.futures_position_information(symbol=SYMBOL)[0]
    assert abs(amount(row["entryPrice"]) - amount(turned["avgPrice"])) < Decimal("5")
    market(desk, "BUY", "0.02", reduceOnly="true")
    assert desk.position() == 0


async def check_ack_and_result(desk: Desk) -> None:
    price = above(desk)
    ack = limit_buy(desk, price, "0.01", timeInForce="IOC")
    assert (ack["status"], amount(ack["executedQty"])) == ("NEW", 0), "ACK, the default, tells of acceptance alone"
    done = limit_buy(desk, price, "0.01", timeInForce="IOC", newOrderRespType="RESULT")
    assert (done["status"], amount(done["executedQty"])) == ("FILLED", Decimal("0.01"))
    assert desk.rest.futures_get_order(symbol=SYMBOL, orderId=ack["orderId"])["status"] == "FILLED"
    market(desk, "SELL", "0.02", reduceOnly="true")


async def check_a_crossing_limit_gtc_fills_at_its_price_or_better(desk: Desk) -> None:
    price = above(desk)
    order = limit_buy(desk, price, "0.02", newOrderRespType="RESULT")
    assert (order["status"], order["timeInForce"]) == ("FILLED", "GTC")
    assert amount(order["avgPrice"]) <= Decimal(price)
    market(desk, "SELL", "0.02", reduceOnly="true")


async def check_ioc_takes_what_is_there_and_expires(desk: Desk) -> None:
    nothing = limit_buy(desk, far_below(desk), timeInForce="IOC", newOrderRespType="RESULT")
    assert (nothing["status"], amount(nothing["executedQty"])) == ("EXPIRED", 0)
    price = on_step(desk.perp_top()[1] * Decimal("1.0002"), TICK)
    some = limit_buy(desk, price, "30", timeInForce="IOC", newOrderRespType="RESULT")
    executed = amount(some["executedQty"])
    assert executed < 30
    assert some["status"] == "EXPIRED"
    trades = desk.rest.futures_account_trades(symbol=SYMBOL, orderId=some["orderId"])
    assert total(amount(trade["qty"]) for trade in trades) == executed == desk.position()
    if executed:
        market(desk, "SELL", str(executed), reduceOnly="true")


async def check_fok_is_all_or_refused_without_a_record(desk: Desk) -> None:
    whole = limit_buy(desk, above(desk), "0.02", timeInForce="FOK", newOrderRespType="RESULT")
    assert (whole["status"], amount(whole["executedQty"])) == ("FILLED", Decimal("0.02"))
    market(desk, "SELL", "0.02", reduceOnly="true")
    with refused(-5021):
        limit_buy(desk, far_below(desk), "0.02", timeInForce="FOK", newClientOrderId="judge-fok")
    with refused(-2013):
        desk.rest.futures_get_order(symbol=SYMBOL, origClientOrderId="judge-fok")


async def check_gtx_rests_or_is_refused_without_a_record(desk: Desk) -> None:
    order = limit_buy(desk, far_below(desk), timeInForce="GTX")
    assert (order["status"], order["timeInForce"]) == ("NEW", "GTX")
    assert desk.rest.futures_cancel_order(symbol=SYMBOL, orderId=order["orderId"])["status"] == "CANCELED"
    with refused(-5022):
        limit_buy(desk, above(desk), timeInForce="GTX", newClientOrderId="judge-gtx")
    with refused(-2013, text="Order does not exist."):
        desk.rest.futures_get_order(symbol=SYMBOL, origClientOrderId="judge-gtx")


async def check_a_resting_order_until_cancelled(desk: Desk) -> None:
    price = far_below(desk)
    placed = limit_buy(desk, price, "0.1", newClientOrderId="judge-rests")
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
        limit_buy(desk, price, "0.1", newClientOrderId="judge-rests")
    cancelled = desk.rest.futures_cancel_order(symbol=SYMBOL, origClientOrderId="judge-rests")
    assert (cancelled["status"], cancelled["clientOrderId"]) == ("CANCELED", "judge-rests")
    assert desk.rest.futures_get_open_orders() == []
    with refused(-2011, text="Unknown order sent."):
        desk.rest.futures_cancel_order(symbol=SYMBOL, orderId=placed["orderId"])


async def check_cancel_all_and_the_dead_mans_switch(desk: Desk) -> None:
    price = far_below(desk)
    for _ in range(3):
        limit_buy(desk, price)
    assert desk.rest.futures_cancel_all_open_orders(symbol=SYMBOL)["code"] == 200
    assert desk.rest.futures_get_open_orders(symbol=SYMBOL) == []
    assert desk.rest.futures_cancel_all_open_orders(symbol=SYMBOL)["code"] == 200
    order = limit_buy(desk, price)
    answer = desk.rest.futures_countdown_cancel_all(symbol=SYMBOL, countdownTime=300)
    assert answer == {"symbol": SYMBOL, "countdownTime": "300"}
    assert desk.rest.futures_get_open_orders(symbol=SYMBOL) != []
    await eventually(lambda: desk.rest.futures_get_open_orders(symbol=SYMBOL) == [], 2.0)
    assert desk.rest.futures_get_order(symbol=SYMBOL, orderId=order["orderId"])["status"] == "CANCELED"


async def check_all_orders_and_trades_agree(desk: Desk) -> None:
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


async def check_the_wallet_is_explained_by_trades_and_income(desk: Desk) -> None:
    trades = desk.rest.futures_account_trades(symbol=SYMBOL, limit=1000)
    earned = total(amount(trade["realizedPnl"]) - amount(trade["commission"]) for trade in trades)
    income = desk.rest.futures_income_history(limit=1000)
    assert desk.wallet() == WALLET + total(amount(row["income"]) for row in income)
    funding = total(amount(row["income"]) for row in income if row["incomeType"] == "FUNDING_FEE")
    assert desk.wallet() == WALLET + earned + funding
    fees = desk.rest.futures_income_history(incomeType="COMMISSION", limit=1000)
    assert total(amount(row["income"]) for row in fees) == -total(amount(trade["commission"]) for trade in trades)


async def check_a_test_order_changes_nothing(desk: Desk) -> None:
    asked = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": far_below(desk)}
    assert "code" not in desk.rest.futures_create_test_order(**asked, quantity="0.01")
    with refused(-4164):
        desk.rest.futures_create_test_order(**asked, quantity="0.001")
    assert desk.rest.futures_get_open_orders() == []


async def check_the_asynchronous_client_trades_too(desk: Desk) -> None:
    order = await desk.later.futures_create_order(
        symbol=SYMBOL, side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.01", price=far_below(desk)
    )
    found = await desk.later.futures_get_order(symbol=SYMBOL, origClientOrderId=order["clientOrderId"])
    assert (found["orderId"], found["status"]) == (order["orderId"], "NEW")
    assert (await desk.later.futures_cancel_order(symbol=SYMBOL, orderId=order["orderId"]))["status"] == "CANCELED"
    balances = await desk.later.futures_account_balance()
    assert amount(balances[0]["balance"]) == desk.wallet()


async def check_orders_over_the_websocket_api(desk: Desk) -> None:
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
    market(desk, "SELL", "0.01", reduceOnly="true")
    resting = await desk.later.ws_futures_create_order(
        symbol=SYMBOL, side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.01", price=far_below(desk)
    )
    found = await desk.later.ws_futures_get_order(symbol=SYMBOL, orderId=resting["orderId"])
    assert found == desk.rest.futures_get_order(symbol=SYMBOL, orderId=resting["orderId"])
    gone = await desk.later.ws_futures_cancel_order(symbol=SYMBOL, orderId=resting["orderId"])
    assert (gone["status"], gone["orderId"]) == ("CANCELED", resting["orderId"])


# Refusals


async def check_filters_refuse(desk: Desk) -> None:
    price = far_below(desk)
    with refused(-4014):
        limit_buy(desk, str(Decimal(price) + Decimal("0.05")))
    with refused(-1111):
        limit_buy(desk, price, "0.0105")
    with refused(-1111):
        limit_buy(desk, str(Decimal(price) + Decimal("0.001")))
    with refused(-4164):
        limit_buy(desk, price, "0.001")
    with refused(-4164):
        market(desk, "BUY", "0.001")
    with refused(-4003):
        limit_buy(desk, price, "0")
    with refused(-4005):
        limit_buy(desk, price, "1001")
    with refused(-2019, text="Margin is insufficient."):
        market(desk, "BUY", "100")


async def check_bad_parameters_are_refused(desk: Desk) -> None:
    asked = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01"}
    asked["price"] = far_below(desk)
    for change, code in (
        ({"symbol": "NOSUCH"}, -1121), ({"side": "HOLD"}, -1117), ({"type": "GIVE"}, -1116),
        ({"timeInForce": "GTZ"}, -1115), ({"timeInForce": None}, -1102), ({"price": None}, -1102),
        ({"quantity": None}, -1102), ({"quantity": "much"}, -1100), ({"newClientOrderId": "j" * 37}, -4015),
        ({"positionSide": "LONG"}, -4061),
    ):
        with refused(code):
            desk.rest.futures_create_order(**{**asked, **change})
    with refused(-1121, text="Invalid symbol."):
        desk.rest.futures_order_book(symbol="NOSUCH")


async def check_unknown_orders_are_refused(desk: Desk) -> None:
    with refused(-2013, text="Order does not exist."):
        desk.rest.futures_get_order(symbol=SYMBOL, orderId=1)
    with refused(-2011, text="Unknown order sent."):
        desk.rest.futures_cancel_order(symbol=SYMBOL, origClientOrderId="never-sent")
    with refused(-1102):
        desk.rest.futures_get_order(symbol=SYMBOL)


async def check_bad_credentials_are_refused(desk: Desk) -> None:
    with refused(-1022, text="Signature for this request is not valid."):
        desk.another(secret="x" * 64).futures_account()
    with refused(-2015, 401):
        desk.another(key="a" * 64).futures_account()
    with refused(-2014, 401):
        desk.another(key="bad key").futures_account()
    with refused(-1022):
        desk.another(secret="x" * 64).futures_create_order(symbol=SYMBOL, side="BUY", type="MARKET", quantity="0.01")


async def check_bad_timestamps_are_refused(desk: Desk) -> None:
    late, early = desk.another(), desk.another()
    late.timestamp_offset, early.timestamp_offset = -20_000, 5_000
    with refused(-1021, text="outside of the recvWindow"):
        late.futures_account()
    with refused(-1021):
        early.futures_create_order(symbol=SYMBOL, side="BUY", type="MARKET", quantity="0.01")
    late.REQUEST_RECVWINDOW = 30_000
    assert late.futures_account()["canTrade"] is True


async def check_refusals_over_the_websocket_api(desk: Desk) -> None:
    asked = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": far_below(desk)}
    with refused(-4164):
        await desk.later.ws_futures_create_order(**asked, quantity="0.001")
    with refused(-5022):
        await desk.later.ws_futures_create_order(
            **{**asked, "timeInForce": "GTX", "price": above(desk)}, quantity="0.01"
        )
    with refused(-2013):
        await desk.later.ws_futures_get_order(symbol=SYMBOL, orderId=1)
    with refused(-2011):
        await desk.later.ws_futures_cancel_order(symbol=SYMBOL, orderId=1)
    now_ms = int(time.time() * 1000)
    with refused(-1021):
        await desk.later.ws_futures_account_balance(timestamp=now_ms - 60_000)
    with refused(-1022):
        await desk.later.ws_futures_account_balance(
            signature="0" * 64, apiKey=desk.access["api_key"], timestamp=now_ms
        )


# Limits


async def check_headers_count_weight_and_orders(desk: Desk) -> None:
    """Counted in the venue's minute, so all is done twice at most (the minute may have turned)."""

    def used(ask: Callable[[], object]) -> int:
        ask()
        return header_counts(desk.rest, WEIGHTS)["1M"]

    for _ in range(2):
        first = used(desk.rest.futures_ping)
        asked = (desk.rest.futures_ping, desk.rest.futures_account, desk.rest.futures_get_open_orders)
        costs = [used(ask) - first for ask in asked]
        if costs == [1, 6, 46]:
            break
    assert costs == [1, 6, 46], costs
    price = far_below(desk)
    for _ in range(2):
        limit_buy(desk, price)
        before = header_counts(desk.rest, COUNTS)
        assert set(before) == {"10S", "1M"}
        limit_buy(desk, price)
        if header_counts(desk.rest, COUNTS)["1M"] == before["1M"] + 1:
            break
    assert header_counts(desk.rest, COUNTS)["1M"] == before["1M"] + 1
    desk.rest.futures_cancel_all_open_orders(symbol=SYMBOL)


# Streams


async def check_a_listen_key_stays_the_same_until_closed(desk: Desk) -> None:
    key = await desk.later.futures_stream_get_listen_key()
    assert key == await desk.later.futures_stream_get_listen_key()
    await desk.later.futures_stream_keepalive(key)
    assert await desk.later.futures_stream_close(key) == {}
    with refused(-1125):
        await desk.later.futures_stream_keepalive(key)
    assert key != await desk.later.futures_stream_get_listen_key()


async def check_the_user_stream_tells_of_a_rest_order(desk: Desk) -> None:
    socket = await left_open(desk.sockets.futures_user_socket())
    placed = limit_buy(desk, far_below(desk))
    desk.rest.futures_cancel_order(symbol=SYMBOL, orderId=placed["orderId"])
    bought = market(desk, "BUY", "0.01")
    events = await collect(
        socket.recv,
        lambda found: bool(found) and found[-1]["e"] == "ACCOUNT_UPDATE"
        and amount(found[-1]["a"]["P"][0]["pa"]) == Decimal("0.01"),
    )
    reports = [event["o"] for event in events if event["e"] == "ORDER_TRADE_UPDATE"]
    mine = [order for order in reports if order["i"] == placed["orderId"]]
    assert [(order["x"], order["X"], order["c"]) for order in mine] == [
        ("NEW", "NEW", placed["clientOrderId"]), ("CANCELED", "CANCELED", placed["clientOrderId"])
    ]
    trades = [order for order in reports if order["x"] == "TRADE"]
    assert {order["i"] for order in trades} == {bought["orderId"]}
    assert total(amount(order["l"]) for order in trades) == amount(trades[-1]["z"]) == Decimal("0.01")
    assert trades[-1]["X"] == "FILLED"
    by_rest = desk.rest.futures_account_trades(symbol=SYMBOL, orderId=bought["orderId"])
    assert [(order["t"], amount(order["n"]), order["N"]) for order in trades] == [
        (trade["id"], amount(trade["commission"]), "USDT") for trade in by_rest
    ]
    account = [event["a"] for event in events if event["e"] == "ACCOUNT_UPDATE"][-1]
    assert account["m"] == "ORDER"
    assert {row["a"]: amount(row["wb"]) for row in account["B"]} == {"USDT": desk.wallet()}
    assert (account["P"][0]["s"], account["P"][0]["ps"]) == (SYMBOL, "BOTH")
    market(desk, "SELL", "0.01", reduceOnly="true")


async def check_multiplexed_streams(desk: Desk) -> None:
    streams = ["btcusdt@bookTicker", "btcusdt@depth@100ms", "btcusdt@trade"]
    async with desk.sockets.futures_multiplex_socket(streams, category="public") as socket:
        found = await collect(socket.recv, lambda seen: sum("@depth" in m["stream"] for m in seen) >= 5)
    by_stream = {name: [m["data"] for m in found if m["stream"] == name] for name in streams}
    assert all(by_stream.values()), {name: len(rows) for name, rows in by_stream.items()}
    assert_chain(by_stream["btcusdt@depth@100ms"])
    for row in by_stream["btcusdt@bookTicker"]:
        assert row["e"] == "bookTicker"
        assert amount(row["b"]) < amount(row["a"])
        assert abs(row["E"] - time.time() * 1000) < 5000


async def check_a_stream_on_the_wrong_route_is_silent(desk: Desk) -> None:
    socket = await left_open(desk.sockets.futures_multiplex_socket(["btcusdt@bookTicker"], category="market"))
    try:
        message = await asyncio.wait_for(socket.recv(), 0.5)
    except TimeoutError:
        return
    raise AssertionError(f"bookTicker is no market stream since 2026: {message}")


async def check_single_streams(desk: Desk) -> None:
    async with desk.sockets.symbol_ticker_futures_socket(SYMBOL) as socket:
        message = (await collect(socket.recv, bool))[0]
        assert message.get("data", message)["s"] == SYMBOL


async def check_the_depth_cache_shows_the_best_prices(desk: Desk) -> None:
    """Its book is the partial stream's; at the same event time the ticker says the same."""
    shown: dict[int, tuple[Decimal, Decimal]] = {}
    told: dict[int, tuple[Decimal, Decimal]] = {}

    async def read_cache() -> None:
        for _ in range(10):
            cache = await manager.recv()
            bids, asks = cache.get_bids(), cache.get_asks()
            assert (len(bids), len(asks)) == (10, 10)
            shown[cache.update_time] = bids[0][0], asks[0][0]

    async def read_tickers() -> None:
        for _ in range(22):
            ticker = (await tickers.recv())["data"]
            told[ticker["E"]] = amount(ticker["b"]), amount(ticker["a"])

    manager = FuturesDepthCacheManager(desk.later, SYMBOL, bm=desk.sockets, conv_type=Decimal)
    streams = desk.sockets.futures_multiplex_socket(["btcusdt@bookTicker"], category="public")
    async with manager, streams as tickers:
        await asyncio.gather(read_cache(), read_tickers())
    both = shown.keys() & told.keys()
    assert len(both) >= 5, (sorted(shown), sorted(told))
    assert {at: shown[at] for at in both} == {at: told[at] for at in both}


async def check_a_book_kept_by_the_manual_stays_equal_to_the_snapshot(desk: Desk) -> None:
    streams = desk.sockets.futures_multiplex_socket(["btcusdt@depth@100ms"], category="public")
    async with streams as socket:
        diffs = [(await socket.recv())["data"]]
        book = Levels(await desk.later.futures_order_book(symbol=SYMBOL, limit=1000))
        while diffs[-1]["u"] <= book.last_id or len(diffs) < 8:
            diffs.append((await asyncio.wait_for(socket.recv(), 5))["data"])
        kept = [diff for diff in diffs if diff["u"] >= book.last_id]
        assert kept[0]["U"] <= book.last_id <= kept[0]["u"] or kept[0]["pu"] == book.last_id, (book.last_id, kept[0])
        assert_chain(kept)
        for diff in kept:
            book.apply(diff)
        later = await desk.later.futures_order_book(symbol=SYMBOL, limit=1000)
        while book.last_id < later["lastUpdateId"]:
            book.apply((await asyncio.wait_for(socket.recv(), 5))["data"])
    if book.last_id == later["lastUpdateId"]:
        assert (book.bids, book.asks) == (Levels(later).bids, Levels(later).asks)


if __name__ == "__main__":
    judge("binance-um", open_perp, globals())
