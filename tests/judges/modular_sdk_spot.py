"""Binance's modular SDK for spot trades on the embedded venue: REST, WebSocket API and streams, read by its models."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from binance_common.configuration import ConfigurationRestAPI
from binance_common.errors import Error, RateLimitBanError, TooManyRequestsError, UnauthorizedError
from binance_sdk_spot.spot import Spot
from modular_sdk_desk import Inbox, amounts, configurations, hear_complaints, one_of, refused, refused_ws, whole
from verdicts import SYMBOL, amount, assert_book, assert_chain, eventually, judge, on_step, total

TICK = "0.01"
ORDER_EXTRAS = (
    "prevented_match_id", "prevented_quantity", "strategy_id", "strategy_type", "trailing_delta", "trailing_time",
    "used_sor", "working_floor", "peg_price_type", "peg_offset_type", "peg_offset_value", "pegged_price",
    "expiry_reason",
)
"""Fields of an order that belong to features which it did not use (binance-spot-api-docs, conditional fields)."""


@dataclass
class Desk:
    access: Mapping[str, str]
    rest: Any
    ws: Any
    streams: Any
    complaints: list[str]

    def top(self) -> tuple[Decimal, Decimal]:
        return amounts(one_of(self.rest.ticker_book_ticker(symbol=SYMBOL)), "bid_price", "ask_price")

    def far_below(self) -> Decimal:
        return Decimal(on_step(self.top()[0] * Decimal("0.98"), TICK))

    def balances(self) -> dict[str, tuple[Decimal, Decimal]]:
        rows = self.rest.get_account().data().balances
        return {row.asset: amounts(row, "free", "locked") for row in rows}

    def limit(self, price: Decimal, quantity: str = "0.01", **more: Any) -> Any:
        asked = {"side": "BUY", "type": "LIMIT", "time_in_force": "GTC", **more}
        return self.rest.new_order(SYMBOL, quantity=Decimal(quantity), price=price, **asked).data()

    def market(self, side: str, **more: Any) -> Any:
        return self.rest.new_order(SYMBOL, side, "MARKET", **more).data()


@asynccontextmanager
async def open_desk(access: Mapping[str, str]) -> AsyncIterator[Desk]:
    heard = hear_complaints()
    client = Spot(*configurations(access))
    ws, streams = await client.websocket_api.create_connection(), await client.websocket_streams.create_connection()
    yield Desk(access, client.rest_api, ws, streams, heard)
    await ws.close_connection(close_session=True)
    await streams.close_connection(close_session=True)


# Market data


async def check_public_questions_fit_their_models(desk: Desk) -> None:
    rest = desk.rest
    assert rest.ping().data() == {}
    assert abs(rest.time().data().server_time - time.time() * 1000) < 2000
    depth = whole(rest.depth(SYMBOL, limit=20).data())
    assert_book(depth.bids, depth.asks)
    assert len(depth.bids) == 20
    whole(one_of(rest.ticker_book_ticker(symbol=SYMBOL)))
    whole(one_of(rest.ticker_price(symbol=SYMBOL)))
    whole(rest.avg_price(SYMBOL).data())
    assert [row.symbol for row in one_of(rest.ticker_book_ticker())] == [SYMBOL]
    bid, ask = desk.top()
    assert bid < ask


async def check_a_day_and_the_last_trades(desk: Desk) -> None:
    trades = await eventually(lambda: desk.rest.get_trades(SYMBOL, limit=3).data())
    assert [trade.id for trade in trades] == sorted(trade.id for trade in trades)
    day = whole(one_of(desk.rest.ticker24hr(symbol=SYMBOL)))
    low, last, high = amounts(day, "low_price", "last_price", "high_price")
    assert 0 < low <= last <= high
    assert day.count >= len(trades)
    assert day.last_id >= whole(trades[-1]).id


async def check_exchange_info(desk: Desk) -> None:
    info = whole(desk.rest.exchange_info(symbol=SYMBOL).data(), "sors")
    symbol = whole(info.symbols[0])
    assert (symbol.symbol, symbol.status) == (SYMBOL, "TRADING")
    filters = {row.actual_instance.filter_type: row.actual_instance for row in symbol.filters}
    assert amount(filters["PRICE_FILTER"].tick_size) == Decimal(TICK)
    assert amount(filters["LOT_SIZE"].step_size) == Decimal("0.00001")
    assert amount(filters["NOTIONAL"].min_notional) == 5
    assert {row.rate_limit_type for row in info.rate_limits} >= {"REQUEST_WEIGHT", "ORDERS"}


# Account and orders


async def check_account_and_fees(desk: Desk) -> None:
    account = whole(desk.rest.get_account().data())
    assert account.can_trade is True
    assert desk.balances() == {"USDT": (Decimal(100_000), Decimal(0)), "BTC": (Decimal(2), Decimal(0))}
    fees = whole(desk.rest.account_commission(SYMBOL).data())
    assert amounts(fees.standard_commission, "maker", "taker") == (Decimal("0.0001"), Decimal("0.0002"))
    assert {row.interval for row in desk.rest.rate_limit_order().data()} == {"SECOND", "DAY"}


async def check_a_market_order_moves_balances_by_its_fills(desk: Desk) -> None:
    before = desk.balances()
    order = whole(desk.market("BUY", quantity=Decimal("0.03")))
    assert order.status == "FILLED"
    spent = total(amount(fill.qty) * amount(fill.price) for fill in order.fills)
    fee = total(amount(whole(fill).commission) for fill in order.fills)
    assert (amount(order.executed_qty), amount(order.cummulative_quote_qty)) == (Decimal("0.03"), spent)
    after = desk.balances()
    assert after["BTC"][0] - before["BTC"][0] == Decimal("0.03") - fee
    assert before["USDT"][0] - after["USDT"][0] == spent
    trades = desk.rest.my_trades(SYMBOL, order_id=order.order_id).data()
    assert [whole(trade).id for trade in trades] == [fill.trade_id for fill in order.fills]
    sold = desk.market("SELL", quote_order_qty=Decimal("500"))
    assert (sold.status, amount(sold.orig_quote_order_qty)) == ("FILLED", 500)


async def check_every_limit_order_we_use(desk: Desk) -> None:
    far, near = desk.far_below(), Decimal(on_step(desk.top()[1] * Decimal("1.001"), TICK))
    assert desk.limit(near).status == "FILLED"
    assert desk.limit(far, time_in_force="IOC").status == "EXPIRED"
    assert desk.limit(near, time_in_force="IOC").status == "FILLED"
    assert desk.limit(far, time_in_force="FOK").status == "EXPIRED"
    assert desk.limit(near, time_in_force="FOK").status == "FILLED"
    made = desk.limit(far, type="LIMIT_MAKER", time_in_force=None)
    assert desk.rest.get_order(SYMBOL, order_id=made.order_id).data().type == "LIMIT_MAKER"
    assert desk.rest.delete_order(SYMBOL, order_id=made.order_id).data().status == "CANCELED"
    with refused(-2010, text="immediately match"):
        desk.limit(near, type="LIMIT_MAKER", time_in_force=None)
    expired = [order for order in desk.rest.all_orders(SYMBOL).data() if order.status == "EXPIRED"]
    assert [order.expiry_reason for order in expired] == ["UNFILLED_IOC_QUANTITY_EXPIRED", "UNFILLED_FOK_ORDER_EXPIRED"]


async def check_a_resting_order_from_placing_to_cancelling(desk: Desk) -> None:
    placed = whole(desk.limit(desk.far_below(), "0.02", new_client_order_id="sdk-rests"))
    assert placed.status == "NEW"
    found = whole(desk.rest.get_order(SYMBOL, orig_client_order_id="sdk-rests").data(), *ORDER_EXTRAS)
    assert (found.order_id, found.status, amount(found.orig_qty)) == (placed.order_id, "NEW", Decimal("0.02"))
    assert [row.order_id for row in desk.rest.get_open_orders(SYMBOL).data()] == [placed.order_id]
    gone = whole(
        desk.rest.delete_order(SYMBOL, order_id=placed.order_id).data(), *ORDER_EXTRAS, "iceberg_qty", "stop_price"
    )
    assert (gone.status, gone.orig_client_order_id) == ("CANCELED", "sdk-rests")
    for _ in range(2):
        desk.limit(desk.far_below())
    assert [row.status for row in desk.rest.delete_open_orders(SYMBOL).data()] == ["CANCELED", "CANCELED"]
    assert desk.rest.get_open_orders(SYMBOL).data() == []
    assert desk.rest.order_test(SYMBOL, "BUY", "MARKET", quantity=Decimal("0.01")).status == 200


async def check_rate_limits_are_told(desk: Desk) -> None:
    order = desk.rest.new_order(
        SYMBOL, "BUY", "LIMIT", time_in_force="GTC", quantity=Decimal("0.01"), price=desk.far_below()
    )
    told = {(row.rateLimitType, row.intervalNum, row.interval): row.count for row in order.rate_limits}
    assert set(told) == {("REQUEST_WEIGHT", 1, "MINUTE"), ("ORDERS", 10, "SECOND"), ("ORDERS", 1, "DAY")}
    assert all(count > 0 for count in told.values())
    desk.rest.delete_open_orders(SYMBOL)


# Refusals


async def check_refusals_raise_the_sdks_errors(desk: Desk) -> None:
    far = desk.far_below()
    with refused(-1013, text="PRICE_FILTER"):
        desk.limit(far + Decimal("0.005"))
    with refused(-1013, text="LOT_SIZE"):
        desk.limit(far, "0.010001")
    with refused(-1013, text="NOTIONAL"):
        desk.limit(far, "0.00002")
    with refused(-2010, text="insufficient balance"):
        desk.limit(far, "100")
    with refused(-1121):
        desk.rest.depth("NOSUCH")
    with refused(-2013):
        desk.rest.get_order(SYMBOL, order_id=1)
    with refused(-2011):
        desk.rest.delete_order(SYMBOL, order_id=1)
    with refused(-2011):
        desk.rest.delete_open_orders(SYMBOL)
    keys, rest = desk.access, desk.access["rest"]
    with refused(-1022):
        Spot(ConfigurationRestAPI(keys["api_key"], "x" * 64, base_path=rest)).rest_api.get_account()
    with refused(-2015, UnauthorizedError):
        Spot(ConfigurationRestAPI("a" * 64, keys["api_secret"], base_path=rest)).rest_api.get_account()
    with refused(-2014, UnauthorizedError):
        Spot(ConfigurationRestAPI("no key!", keys["api_secret"], base_path=rest)).rest_api.get_account()
    with refused(-1131):
        desk.rest.get_account(recv_window=60_001)


async def check_the_time_window_is_asked_again_before_matching(desk: Desk) -> None:
    """A window of two milliseconds is open when the order arrives, and closed five later, at the engine."""
    with refused(-1021, text="outside of the recvWindow"):
        desk.market("BUY", quantity=Decimal("0.01"), recv_window=2)
    assert desk.rest.get_open_orders(SYMBOL).data() == []


# WebSocket API


async def check_questions_over_the_websocket_api_fit_their_models(desk: Desk) -> None:
    ws = desk.ws
    assert (await ws.ping()).data().result == {}
    assert abs((await ws.time()).data().result.server_time - time.time() * 1000) < 2000
    book = whole((await ws.depth(SYMBOL, limit=5)).data().result)
    assert_book(book.bids, book.asks)
    account = whole((await ws.account_status()).data().result)
    assert {row.asset: amounts(row, "free", "locked") for row in account.balances} == desk.balances()
    whole((await ws.account_commission(SYMBOL)).data().result)
    whole((await ws.avg_price(SYMBOL)).data().result)
    info = (await ws.exchange_info(symbol=SYMBOL)).data().additional_properties["result"]
    assert [row["symbol"] for row in info["symbols"]] == [SYMBOL]
    limits = (await ws.account_rate_limits_orders()).data().result
    assert {row.interval for row in limits} == {"SECOND", "DAY"}


async def check_orders_over_the_websocket_api(desk: Desk) -> None:
    answer = await desk.ws.order_place(SYMBOL, "BUY", "MARKET", quantity=Decimal("0.01"))
    bought = answer.data().result
    assert (bought.status, amount(bought.executed_qty)) == ("FILLED", Decimal("0.01"))
    assert {row.rateLimitType for row in answer.rate_limits} == {"REQUEST_WEIGHT", "ORDERS"}
    placed = (
        await desk.ws.order_place(
            SYMBOL, "BUY", "LIMIT", time_in_force="GTC", quantity=Decimal("0.01"), price=desk.far_below()
        )
    ).data().result
    status = (await desk.ws.order_status(SYMBOL, order_id=placed.order_id)).data().result
    assert (status.status, status.client_order_id) == ("NEW", placed.client_order_id)
    assert [row.order_id for row in (await desk.ws.open_orders_status(SYMBOL)).data().result] == [placed.order_id]
    gone = (await desk.ws.order_cancel(SYMBOL, order_id=placed.order_id)).data().result
    assert (gone.status, gone.orig_client_order_id) == ("CANCELED", placed.client_order_id)
    trades = (await desk.ws.my_trades(SYMBOL, order_id=bought.order_id)).data().result
    assert total(amount(trade.qty) for trade in trades) == Decimal("0.01")
    orders = (await desk.ws.all_orders(SYMBOL)).data().result
    assert [orders[-2].order_id, orders[-1].order_id] == [bought.order_id, placed.order_id]


async def check_refusals_over_the_websocket_api(desk: Desk) -> None:
    asked = {"time_in_force": "GTC", "price": desk.far_below()}
    await refused_ws(-1013, desk.ws.order_place(SYMBOL, "BUY", "LIMIT", quantity=Decimal("0.00002"), **asked))
    await refused_ws(-2010, desk.ws.order_place(SYMBOL, "BUY", "LIMIT", quantity=Decimal(100), **asked))
    await refused_ws(-1121, desk.ws.depth("NOSUCH"))
    await refused_ws(-2013, desk.ws.order_status(SYMBOL, order_id=1))
    await refused_ws(-2011, desk.ws.order_cancel(SYMBOL, order_id=1))
    await refused_ws(-2011, desk.ws.open_orders_cancel_all(SYMBOL))


# Streams


async def check_user_data_tells_of_rest_orders(desk: Desk) -> None:
    subscription = await desk.ws.user_data_stream_subscribe_signature()
    inbox = Inbox()
    subscription.stream.on("message", inbox)
    placed = desk.limit(desk.far_below())
    desk.rest.delete_order(SYMBOL, order_id=placed.order_id)
    sold = desk.market("SELL", quantity=Decimal("0.01"))
    await eventually(lambda: [m for m in inbox.kinds("ExecutionReport") if m.i == sold.order_id and m.X == "FILLED"])
    await eventually(lambda: type(inbox.messages[-1]).__name__ == "OutboundAccountPosition")
    mine = [report for report in inbox.kinds("ExecutionReport") if report.i == placed.order_id]
    assert [(report.x, report.X) for report in mine] == [("NEW", "NEW"), ("CANCELED", "CANCELED")]
    assert mine[0].c == mine[1].C == placed.client_order_id
    trades = [report for report in inbox.kinds("ExecutionReport") if report.x == "TRADE"]
    assert [report.t for report in trades] == [fill.trade_id for fill in sold.fills]
    assert total(amount(report.l) for report in trades) == Decimal("0.01")
    told = {row.a: amounts(row, "f", "l") for row in inbox.kinds("OutboundAccountPosition")[-1].B}
    assert told == desk.balances()


async def check_market_streams_fit_their_models(desk: Desk) -> None:
    inboxes = {}
    for name, stream in (
        ("ticker", await desk.streams.book_ticker(SYMBOL.lower())),
        ("depth", await desk.streams.diff_book_depth(SYMBOL.lower(), update_speed="100ms")),
        ("partial", await desk.streams.partial_book_depth(SYMBOL.lower(), levels="5", update_speed="100ms")),
        ("trade", await desk.streams.trade(SYMBOL.lower())),
    ):
        inboxes[name] = Inbox()
        stream.on("message", inboxes[name])
    await eventually(lambda: all(len(inbox.messages) >= 4 for inbox in inboxes.values()))
    for ticker in inboxes["ticker"].messages:
        bid, ask = amounts(whole(ticker), "b", "a")
        assert bid < ask
    assert_chain([{"U": whole(m).U, "u": m.u} for m in inboxes["depth"].messages])
    for book in inboxes["partial"].messages:
        assert_book(whole(book).bids, book.asks)
    for trade in inboxes["trade"].messages:
        assert amount(whole(trade).p) > 0


# Last, since nothing is answered after it


async def check_too_much_weight_is_limited_and_going_on_is_banned(desk: Desk) -> None:
    def ask_until(kind: type[Error], times: int) -> Error:
        for _ in range(times):
            try:
                desk.rest.depth(SYMBOL, limit=5000)
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
    judge("binance-spot", open_desk, globals())
