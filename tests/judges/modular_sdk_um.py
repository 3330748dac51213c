"""Binance's modular SDK for USD-M futures trades on the embedded venue: REST, order entry over WebSocket, streams."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from binance_common.configuration import ConfigurationRestAPI
from binance_common.errors import Error, RateLimitBanError, TooManyRequestsError, UnauthorizedError
from binance_sdk_derivatives_trading_usds_futures.derivatives_trading_usds_futures import (
    DerivativesTradingUsdsFutures,
)
from modular_sdk_desk import Inbox, amounts, configurations, hear_complaints, one_of, refused, refused_ws, whole
from verdicts import SYMBOL, amount, assert_book, assert_chain, eventually, judge, on_step, total

TICK = "0.10"
WALLET = Decimal(100_000)
ORDER_EXTRAS = ("activate_price", "price_rate")
"""Fields of trailing stops only."""


@dataclass
class Desk:
    access: Mapping[str, str]
    rest: Any
    ws: Any
    streams: Any
    complaints: list[str]

    def top(self) -> tuple[Decimal, Decimal]:
        return amounts(one_of(self.rest.symbol_order_book_ticker(symbol=SYMBOL)), "bid_price", "ask_price")

    def far_below(self) -> Decimal:
        return Decimal(on_step(self.top()[0] * Decimal("0.98"), TICK))

    def above(self) -> Decimal:
        return Decimal(on_step(self.top()[1] * Decimal("1.005"), TICK))

    def wallet(self) -> Decimal:
        return amount(self.rest.futures_account_balance_v3().data()[0].balance)

    def position(self) -> Decimal:
        return amount(self.rest.position_information_v2(symbol=SYMBOL).data()[0].position_amt)

    def limit(self, price: Decimal, quantity: str = "0.01", **more: Any) -> Any:
        asked = {"time_in_force": "GTC", **more}
        return self.rest.new_order(SYMBOL, "BUY", "LIMIT", quantity=Decimal(quantity), price=price, **asked).data()

    def market(self, side: str, quantity: str, **more: Any) -> Any:
        asked = {"new_order_resp_type": "RESULT", **more}
        return self.rest.new_order(SYMBOL, side, "MARKET", quantity=Decimal(quantity), **asked).data()


@asynccontextmanager
async def open_desk(access: Mapping[str, str]) -> AsyncIterator[Desk]:
    heard = hear_complaints()
    client = DerivativesTradingUsdsFutures(*configurations(access))
    ws, streams = await client.websocket_api.create_connection(), await client.websocket_streams.create_connection()
    yield Desk(access, client.rest_api, ws, streams, heard)
    await ws.close_connection(close_session=True)
    await streams.close_connection(close_session=True)


# Market data


async def check_public_questions_fit_their_models(desk: Desk) -> None:
    rest = desk.rest
    assert rest.test_connectivity().data() == {}
    assert abs(rest.check_server_time().data().server_time - time.time() * 1000) < 2000
    book = whole(rest.order_book(SYMBOL, limit=20).data())
    assert_book(book.bids, book.asks)
    for ask in (rest.symbol_order_book_ticker, rest.symbol_price_ticker, rest.symbol_price_ticker_v2, rest.mark_price):
        whole(one_of(ask(symbol=SYMBOL)))
        assert [row.symbol for row in one_of(ask())] == [SYMBOL]
    assert rest.get_funding_rate_info().data() == []
    bid, ask_price = desk.top()
    assert bid < ask_price


async def check_a_day_and_the_last_trades(desk: Desk) -> None:
    trades = await eventually(lambda: desk.rest.recent_trades_list(SYMBOL, limit=3).data())
    assert [whole(trade).id for trade in trades] == sorted(trade.id for trade in trades)
    day = whole(one_of(desk.rest.ticker24hr_price_change_statistics(symbol=SYMBOL)))
    low, last, high = amounts(day, "low_price", "last_price", "high_price")
    assert 0 < low <= last <= high
    assert day.last_id >= trades[-1].id


async def check_exchange_info(desk: Desk) -> None:
    info = whole(desk.rest.exchange_information().data())
    symbol = next(row for row in info.symbols if row.symbol == SYMBOL)
    whole(symbol)
    filters = {row.filter_type: row for row in symbol.filters}
    assert amount(filters["PRICE_FILTER"].tick_size) == Decimal(TICK)
    assert amount(filters["LOT_SIZE"].step_size) == Decimal("0.001")
    assert amount(filters["MIN_NOTIONAL"].notional) == 100


# Account


async def check_a_new_account_in_both_versions(desk: Desk) -> None:
    rest = desk.rest
    for row in (*rest.futures_account_balance_v2().data(), *rest.futures_account_balance_v3().data()):
        assert amounts(whole(row), "balance", "available_balance") == (WALLET, WALLET)
    for account in (rest.account_information_v2().data(), rest.account_information_v3().data()):
        whole(account)
        assert amounts(whole(account.assets[0]), "wallet_balance", "available_balance") == (WALLET, WALLET)
    assert rest.position_information_v3().data() == []
    assert [amount(whole(row).position_amt) for row in rest.position_information_v2().data()] == [0]


async def check_modes_fees_and_brackets(desk: Desk) -> None:
    rest = desk.rest
    assert rest.get_current_position_mode().data().dual_side_position is False
    assert rest.get_current_multi_assets_mode().data().multi_assets_margin is False
    assert whole(rest.futures_account_configuration().data()).dual_side_position is False
    assert [whole(row).margin_type for row in rest.symbol_configuration(symbol=SYMBOL).data()] == ["CROSSED"]
    fees = whole(rest.user_commission_rate(SYMBOL).data())
    assert amounts(fees, "maker_commission_rate", "taker_commission_rate") == (Decimal(0), Decimal("0.00017"))
    assert [row.symbol for row in one_of(rest.notional_and_leverage_brackets())] == [SYMBOL]
    assert one_of(rest.notional_and_leverage_brackets(symbol=SYMBOL)).symbol == SYMBOL
    assert whole(rest.change_initial_leverage(SYMBOL, 20).data()).leverage == 20
    assert {row.interval for row in rest.query_user_rate_limit().data()} == {"SECOND", "MINUTE"}


# Orders


async def check_a_market_order_opens_and_reduce_only_closes(desk: Desk) -> None:
    before = desk.wallet()
    bought = whole(desk.market("BUY", "0.03"))
    assert (bought.status, amount(bought.executed_qty)) == ("FILLED", Decimal("0.03"))
    trades = desk.rest.account_trade_list(SYMBOL, order_id=bought.order_id).data()
    assert total(amount(trade.qty) for trade in trades) == Decimal("0.03") == desk.position()
    assert before - desk.wallet() == total(amount(trade.commission) for trade in trades)
    row = whole(desk.rest.position_information_v3(symbol=SYMBOL).data()[0])
    entry, mark, profit = amounts(row, "entry_price", "mark_price", "un_realized_profit")
    assert abs(profit - (mark - entry) * Decimal("0.03")) < Decimal("0.00001")
    for account in (desk.rest.account_information_v2().data(), desk.rest.account_information_v3().data()):
        assert [amount(whole(p).position_amt) for p in account.positions if p.symbol == SYMBOL] == [Decimal("0.03")]
    sold = desk.market("SELL", "0.03", reduce_only="true")
    assert (sold.status, sold.reduce_only) == ("FILLED", True)
    assert desk.position() == 0
    with refused(-2022):
        desk.market("SELL", "0.01", reduce_only="true")


async def check_every_limit_order_we_use(desk: Desk) -> None:
    far, near = desk.far_below(), desk.above()
    result = {"new_order_resp_type": "RESULT"}
    assert desk.limit(near).status == "NEW", "ACK, the default, tells of acceptance alone"
    assert desk.limit(near, **result).status == "FILLED"
    assert desk.limit(far, time_in_force="IOC", **result).status == "EXPIRED"
    assert desk.limit(near, time_in_force="IOC", **result).status == "FILLED"
    assert desk.limit(near, time_in_force="FOK", **result).status == "FILLED"
    with refused(-5021):
        desk.limit(far, time_in_force="FOK")
    made = desk.limit(far, time_in_force="GTX")
    assert (made.status, made.time_in_force) == ("NEW", "GTX")
    assert desk.rest.cancel_order(SYMBOL, order_id=made.order_id).data().status == "CANCELED"
    with refused(-5022):
        desk.limit(near, time_in_force="GTX")
    assert desk.position() == Decimal("0.04")
    desk.market("SELL", "0.04", reduce_only="true")


async def check_a_resting_order_from_placing_to_cancelling(desk: Desk) -> None:
    placed = whole(desk.limit(desk.far_below(), "0.02", new_client_order_id="sdk-rests"))
    found = whole(desk.rest.query_order(SYMBOL, orig_client_order_id="sdk-rests").data(), *ORDER_EXTRAS)
    assert (found.order_id, found.status, amount(found.orig_qty)) == (placed.order_id, "NEW", Decimal("0.02"))
    whole(desk.rest.query_current_open_order(SYMBOL, order_id=placed.order_id).data(), *ORDER_EXTRAS)
    rows = desk.rest.current_all_open_orders(SYMBOL).data()
    assert [whole(row, *ORDER_EXTRAS).order_id for row in rows] == [placed.order_id]
    gone = whole(desk.rest.cancel_order(SYMBOL, order_id=placed.order_id).data(), *ORDER_EXTRAS)
    assert (gone.status, gone.client_order_id) == ("CANCELED", "sdk-rests")
    desk.limit(desk.far_below())
    assert desk.rest.cancel_all_open_orders(SYMBOL).data().code in (200, "200")
    assert desk.rest.current_all_open_orders(SYMBOL).data() == []
    whole(desk.rest.auto_cancel_all_open_orders(SYMBOL, 0).data())
    test = desk.rest.test_order(
        SYMBOL, "BUY", "LIMIT", time_in_force="GTC", quantity=Decimal("0.01"), price=desk.far_below()
    )
    whole(test.data(), *ORDER_EXTRAS)


async def check_orders_trades_and_income_agree(desk: Desk) -> None:
    orders, trades = desk.rest.all_orders(SYMBOL).data(), desk.rest.account_trade_list(SYMBOL, limit=1000).data()
    for order in orders:
        mine = total(amount(trade.qty) for trade in trades if trade.order_id == order.order_id)
        assert mine == amount(order.executed_qty), order
    income = desk.rest.get_income_history(limit=1000).data()
    assert desk.wallet() == WALLET + total(amount(whole(row).income) for row in income)


async def check_rate_limits_are_told(desk: Desk) -> None:
    order = desk.rest.new_order(
        SYMBOL, "BUY", "LIMIT", time_in_force="GTC", quantity=Decimal("0.01"), price=desk.far_below()
    )
    told = {(row.rateLimitType, row.intervalNum, row.interval): row.count for row in order.rate_limits}
    assert set(told) == {("REQUEST_WEIGHT", 1, "MINUTE"), ("ORDERS", 10, "SECOND"), ("ORDERS", 1, "MINUTE")}
    assert told[("ORDERS", 1, "MINUTE")] > 0
    desk.rest.cancel_all_open_orders(SYMBOL)


# Refusals


async def check_refusals_raise_the_sdks_errors(desk: Desk) -> None:
    far = desk.far_below()
    with refused(-4014):
        desk.limit(far + Decimal("0.05"))
    with refused(-1111):
        desk.limit(far, "0.0105")
    with refused(-4164):
        desk.limit(far, "0.001")
    with refused(-2019):
        desk.market("BUY", "100")
    with refused(-1121):
        desk.rest.order_book("NOSUCH")
    with refused(-2013):
        desk.rest.query_order(SYMBOL, order_id=1)
    with refused(-2011):
        desk.rest.cancel_order(SYMBOL, order_id=1)
    with refused(-4120):
        desk.rest.new_order(SYMBOL, "SELL", "STOP_MARKET", quantity=Decimal("0.01"))
    with refused(-1131):
        desk.rest.account_information_v3(recv_window=60_001)
    keys, rest = desk.access, desk.access["rest"]
    for key, secret, code, kind in (
        (keys["api_key"], "x" * 64, -1022, None),
        ("a" * 64, keys["api_secret"], -2015, UnauthorizedError),
        ("no key!", keys["api_secret"], -2014, UnauthorizedError),
    ):
        other = DerivativesTradingUsdsFutures(ConfigurationRestAPI(key, secret, base_path=rest)).rest_api
        with refused(code, kind) if kind else refused(code):
            other.account_information_v3()


# WebSocket API


async def check_questions_over_the_websocket_api_fit_their_models(desk: Desk) -> None:
    ws = desk.ws
    book = (await ws.order_book(SYMBOL, limit=5)).data().result.additional_properties
    assert_book(book["bids"], book["asks"])
    ticker = (await ws.symbol_order_book_ticker(symbol=SYMBOL)).data().actual_instance.result
    assert amounts(ticker, "bid_price") < amounts(ticker, "ask_price")
    for answer in (await ws.futures_account_balance(), await ws.futures_account_balance_v2()):
        assert [amount(row.balance) for row in answer.data().result] == [desk.wallet()]
    for answer in (await ws.account_information(), await ws.account_information_v2()):
        assert amount(answer.data().result.total_wallet_balance) == desk.wallet()
    for answer in (await ws.position_information(symbol=SYMBOL), await ws.position_information_v2(symbol=SYMBOL)):
        assert total(amount(row.position_amt) for row in answer.data().result) == 0


async def check_orders_over_the_websocket_api(desk: Desk) -> None:
    answer = await desk.ws.new_order(
        SYMBOL, "BUY", "MARKET", quantity=Decimal("0.01"), new_order_resp_type="RESULT"
    )
    bought = answer.data().result
    assert (bought.status, amount(bought.executed_qty)) == ("FILLED", Decimal("0.01"))
    assert {row.rateLimitType for row in answer.rate_limits} == {"REQUEST_WEIGHT", "ORDERS"}
    desk.market("SELL", "0.01", reduce_only="true")
    asked = {"time_in_force": "GTC", "quantity": Decimal("0.01"), "price": desk.far_below()}
    placed = (await desk.ws.new_order(SYMBOL, "BUY", "LIMIT", **asked)).data().result
    status = (await desk.ws.query_order(SYMBOL, order_id=placed.order_id)).data().result
    assert (status.status, status.client_order_id) == ("NEW", placed.client_order_id)
    gone = (await desk.ws.cancel_order(SYMBOL, order_id=placed.order_id)).data().result
    assert (gone.status, gone.order_id) == ("CANCELED", placed.order_id)
    await refused_ws(-4164, desk.ws.new_order(SYMBOL, "BUY", "LIMIT", **{**asked, "quantity": Decimal("0.001")}))
    await refused_ws(-2013, desk.ws.query_order(SYMBOL, order_id=1))
    await refused_ws(-2011, desk.ws.cancel_order(SYMBOL, order_id=1))


async def check_listen_keys_over_the_websocket_api(desk: Desk) -> None:
    started = (await desk.ws.start_user_data_stream()).data().result.listen_key
    kept = (await desk.ws.keepalive_user_data_stream()).data().result.listen_key
    assert started == kept == desk.rest.start_user_data_stream().data().listen_key
    await desk.ws.close_user_data_stream()
    assert desk.rest.start_user_data_stream().data().listen_key != started


# Streams


async def check_user_data_tells_of_rest_orders(desk: Desk) -> None:
    stream = await desk.streams.user_data(desk.rest.start_user_data_stream().data().listen_key)
    inbox = Inbox()
    stream.on("message", inbox)
    placed = desk.limit(desk.far_below())
    desk.rest.cancel_order(SYMBOL, order_id=placed.order_id)
    bought = desk.market("BUY", "0.01")
    await eventually(
        lambda: [m for m in inbox.kinds("AccountUpdate") if amount(m.a.P[0].pa) == Decimal("0.01")]
    )
    reports = [message.o for message in inbox.kinds("OrderTradeUpdate")]
    mine = [order for order in reports if order.i == placed.order_id]
    assert [(order.x, order.X, order.c) for order in mine] == [
        ("NEW", "NEW", placed.client_order_id), ("CANCELED", "CANCELED", placed.client_order_id)
    ]
    trades = [order for order in reports if order.x == "TRADE"]
    assert {order.i for order in trades} == {bought.order_id}
    assert total(amount(order.l) for order in trades) == Decimal("0.01")
    account = inbox.kinds("AccountUpdate")[-1].a
    assert (account.m, account.P[0].s) == ("ORDER", SYMBOL)
    assert {row.a: amount(row.wb) for row in account.B} == {"USDT": desk.wallet()}
    desk.market("SELL", "0.01", reduce_only="true")


async def check_market_streams_fit_their_models(desk: Desk) -> None:
    inboxes = {}
    symbol = SYMBOL.lower()
    for name, stream in (
        ("ticker", await desk.streams.individual_symbol_book_ticker_streams(symbol)),
        ("depth", await desk.streams.diff_book_depth_streams(symbol, update_speed="100ms")),
        ("partial", await desk.streams.partial_book_depth_streams(symbol, levels=5, update_speed="100ms")),
    ):
        inboxes[name] = Inbox()
        stream.on("message", inboxes[name])
    await eventually(lambda: all(len(inbox.messages) >= 4 for inbox in inboxes.values()))
    for ticker in inboxes["ticker"].messages:
        bid, ask = amounts(whole(ticker, "ps", "st"), "b", "a")
        assert bid < ask
    assert_chain([{"U": m.U, "u": m.u, "pu": m.pu} for m in inboxes["depth"].messages])
    for book in inboxes["partial"].messages:
        assert (len(book.b), len(book.a)) == (5, 5)
        assert_book(book.b, book.a)


# Last, since nothing is answered after it


async def check_too_much_weight_is_limited_and_going_on_is_banned(desk: Desk) -> None:
    def ask_until(kind: type[Error], times: int) -> Error:
        for _ in range(times):
            try:
                desk.rest.order_book(SYMBOL, limit=1000)
            except kind as refusal:
                return refusal
            except TooManyRequestsError:
                continue
        raise AssertionError(f"no {kind.__name__} within {times} requests")

    limited = ask_until(TooManyRequestsError, 250)
    assert (limited.status_code, 0 < limited.retry_after <= 60) == (-1003, True)
    banned = ask_until(RateLimitBanError, 15)
    assert (banned.status_code, 60 < banned.retry_after <= 120) == (-1003, True)


if __name__ == "__main__":
    judge("binance-um", open_desk, globals())
