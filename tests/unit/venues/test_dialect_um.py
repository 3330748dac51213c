"""The USD-M dialect: its calls byte by byte, its answers, its private stream."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import pytest
from attrs import evolve

from propbot.domain.account import MarginSetup
from propbot.domain.dialect import Dialect, HttpCall, HttpReply, WsPlan
from propbot.domain.errors import OrderNotFound, OutcomeUnknown, ProtocolViolation
from propbot.domain.instruments import BINANCE_UM, Fees, Kind
from propbot.domain.orders import (
    AccountChanged,
    Balance,
    Funding,
    OrderReport,
    OrderRequest,
    OrderState,
    PrivateEnded,
    Purpose,
    Side,
    TimeInForce,
    VenuePosition,
)
from propbot.venues.binance_um import BinanceUm

Reply = Callable[..., HttpReply]
Sample = Callable[[str], bytes]
TS_MS = 1591702613943

ORDER = OrderRequest(
    "pb1", BINANCE_UM, "BTCUSDT", Side.SELL, Purpose.OPEN, Decimal("0.0120"), Decimal("6.18E+4"), TimeInForce.IOC
)


def query_of(call: HttpCall) -> dict[str, str]:
    return dict(parse_qsl(call.target.partition("?")[2], strict_parsing=True))


def order_body(**changed: Any) -> dict[str, Any]:
    return {
        "orderId": 12345678, "symbol": "BTCUSDT", "status": "FILLED", "clientOrderId": "pb1", "price": "61800.00",
        "avgPrice": "61801.5", "origQty": "0.012", "executedQty": "0.012", "cumQuote": "741.6", "timeInForce": "IOC",
        "type": "LIMIT", "reduceOnly": False, "side": "SELL", "updateTime": 1625474304765,
    } | changed


def order_event(**changed: Any) -> str:
    order = {
        "s": "BTCUSDT", "c": "pb1", "S": "BUY", "q": "0.002", "p": "7100.50", "x": "TRADE", "X": "PARTIALLY_FILLED",
        "i": 8886774, "l": "0.001", "z": "0.001", "L": "7100.50", "N": "USDT", "n": "0.01", "T": 1568879465651,
        "t": 12345678, "m": True,
    } | changed
    return json.dumps({"e": "ORDER_TRADE_UPDATE", "E": 1, "T": 2, "o": order})


def test_it_is_a_dialect(um: BinanceUm) -> None:
    dialect: Dialect = um
    assert (dialect.venue, dialect.kind, dialect.private_needs_ready) == (BINANCE_UM, Kind.PERP, False)
    assert dialect.private_keepalive_s == 1800.0


def test_an_order_goes_out_in_the_query_with_an_empty_body_and_a_short_window(um: BinanceUm) -> None:
    call = um.call_place(ORDER, TS_MS)
    assert (call.method, call.body, call.is_order, call.weight) == ("POST", b"", True, 0)
    assert call.headers == (("X-MBX-APIKEY", "um-key"),)
    assert call.target.startswith("/fapi/v1/order?")
    query = query_of(call)
    assert len(query.pop("signature")) == 64
    assert query == {
        "symbol": "BTCUSDT", "side": "SELL", "type": "LIMIT", "timeInForce": "IOC", "quantity": "0.012",
        "price": "61800", "newClientOrderId": "pb1", "newOrderRespType": "RESULT", "recvWindow": "2000",
        "timestamp": str(TS_MS),
    }


def test_a_market_order_has_no_price_and_a_reduce_only_order_says_so(um: BinanceUm) -> None:
    market = query_of(um.call_place(evolve(ORDER, limit_price=None, reduce_only=True), TS_MS))
    assert market["type"] == "MARKET"
    assert market["reduceOnly"] == "true"
    assert not {"price", "timeInForce"} & set(market)
    post_only = query_of(um.call_place(evolve(ORDER, time_in_force=TimeInForce.POST_ONLY), TS_MS))
    assert post_only["timeInForce"] == "GTX"


@pytest.mark.parametrize("text", ["1E-7", "0E-8", "1E+5", "123456789012345678901234567890.1", "0.00000001"])
def test_no_exponent_ever_leaves(um: BinanceUm, text: str) -> None:
    query = query_of(um.call_place(evolve(ORDER, qty=Decimal(text), limit_price=Decimal(text)), TS_MS))
    for name in ("quantity", "price"):
        assert "E" not in query[name].upper()
        assert Decimal(query[name]) == Decimal(text)


@pytest.mark.parametrize(
    ("name", "arguments", "method", "target", "weight"),
    [
        ("call_query", ("BTCUSDT", "pb1", TS_MS), "GET", "/fapi/v1/order?symbol=BTCUSDT&origClientOrderId=pb1&", 1),
        ("call_cancel", ("BTCUSDT", "pb1", TS_MS), "DELETE", "/fapi/v1/order?symbol=BTCUSDT&origClientOrderId=pb1&", 1),
        ("call_open_orders", ("BTCUSDT", TS_MS), "GET", "/fapi/v1/openOrders?symbol=BTCUSDT&", 1),
        ("call_balances", (TS_MS,), "GET", "/fapi/v3/balance?", 5),
        ("call_positions", ("BTCUSDT", TS_MS), "GET", "/fapi/v3/positionRisk?recvW", 5),
        ("call_fees", ("BTCUSDT", TS_MS), "GET", "/fapi/v1/commissionRate?symbol=BTCUSDT&", 20),
        (
            "call_trades", ("BTCUSDT", 7, TS_MS), "GET",
            "/fapi/v1/userTrades?symbol=BTCUSDT&limit=1000&fromId=7&", 5,
        ),
        ("call_trades", ("BTCUSDT", None, TS_MS), "GET", "/fapi/v1/userTrades?symbol=BTCUSDT&limit=1000&recvW", 5),
        (
            "call_order_trades", ("BTCUSDT", "55", TS_MS), "GET",
            "/fapi/v1/userTrades?symbol=BTCUSDT&orderId=55&limit=1000&", 5,
        ),
    ],
)
def test_signed_questions(
    um: BinanceUm, name: str, arguments: tuple[Any, ...], method: str, target: str, weight: int
) -> None:
    call = getattr(um, name)(*arguments)
    assert (call.method, call.weight, call.is_order, call.body) == (method, weight, False, b"")
    assert call.target.startswith(target)
    assert query_of(call)["recvWindow"] == "5000"
    assert call.headers == (("X-MBX-APIKEY", "um-key"),)


def test_public_questions_carry_no_key(um: BinanceUm) -> None:
    assert um.call_server_time() == HttpCall("GET", "/fapi/v1/time")
    assert um.call_instrument("BTCUSDT") == HttpCall("GET", "/fapi/v1/exchangeInfo")
    assert um.call_depth("BTCUSDT") == HttpCall("GET", "/fapi/v1/depth?symbol=BTCUSDT&limit=1000", weight=20)


def test_the_streams_are_asked_for_on_their_routes(um: BinanceUm) -> None:
    public = "/public/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker"
    assert um.public_plan("BTCUSDT") == WsPlan("ws", public)
    assert um.private_plan("L/K", TS_MS) == WsPlan("ws", "/private/ws?listenKey=L%2FK")


def test_a_listen_key_is_asked_for_and_kept_alive_unsigned(um: BinanceUm, reply: Reply) -> None:
    header = (("X-MBX-APIKEY", "um-key"),)
    assert um.call_private_key() == HttpCall("POST", "/fapi/v1/listenKey", header)
    assert um.read_private_key(reply({"listenKey": "LK"})) == "LK"
    assert um.call_private_keepalive("LK") == HttpCall("PUT", "/fapi/v1/listenKey?listenKey=LK", header)
    with pytest.raises(ProtocolViolation, match="listenKey"):
        um.read_private_key(reply({"listenKey": ""}))


def test_the_server_s_time(um: BinanceUm, reply: Reply) -> None:
    assert um.read_server_time_ms(reply({"serverTime": 1499827319559})) == 1499827319559
    with pytest.raises(ProtocolViolation, match="serverTime"):
        um.read_server_time_ms(reply({"serverTime": "soon"}))


@pytest.mark.parametrize(
    ("status", "executed", "state"),
    [
        ("NEW", "0.000", OrderState.WORKING), ("PARTIALLY_FILLED", "0.005", OrderState.WORKING),
        ("FILLED", "0.012", OrderState.FILLED), ("CANCELED", "0", OrderState.CANCELED),
        ("CANCELED", "0.001", OrderState.PARTIAL), ("EXPIRED", "0", OrderState.CANCELED),
        ("EXPIRED", "0.001", OrderState.PARTIAL), ("EXPIRED_IN_MATCH", "0.0", OrderState.CANCELED),
        ("EXPIRED_IN_MATCH", "0.002", OrderState.PARTIAL), ("REJECTED", "0", OrderState.REJECTED),
    ],
)
def test_each_status_has_its_state(
    um: BinanceUm, reply: Reply, status: str, executed: str, state: OrderState
) -> None:
    report = um.read_order(reply(order_body(status=status, executedQty=executed)), "BTCUSDT")
    assert report.state is state
    assert report.filled_qty == Decimal(executed)


def test_an_order_s_answer_is_read_whole(um: BinanceUm, reply: Reply) -> None:
    assert um.read_order(reply(order_body()), "BTCUSDT") == OrderReport(
        BINANCE_UM, "BTCUSDT", "pb1", "12345678", Side.SELL, OrderState.FILLED, Decimal("0.012"), Decimal("0.012"),
        1625474304765, limit_price=Decimal(61800),
    )
    assert um.read_order(reply(order_body(price="0.00")), "BTCUSDT").limit_price is None


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"status": "PENDING_REVIEW"}, "order status 'PENDING_REVIEW' is unknown"), ({"side": "LEFT"}, "$.side"),
        ({"origQty": "many"}, "origQty"), ({"executedQty": "-1"}, "executedQty"), ({"executedQty": "NaN"}, "NaN"),
        ({"origQty": 0.012}, "$.origQty"), ({"symbol": "ETHUSDT"}, "asked for BTCUSDT"),
        ({"updateTime": 0}, "updateTime"), ({"orderId": "x"}, "$.orderId"), ({"price": "1E+99999999"}, "price"),
    ],
)
def test_an_answer_that_makes_no_sense_is_named(
    um: BinanceUm, reply: Reply, changed: dict[str, Any], named: str
) -> None:
    with pytest.raises(ProtocolViolation, match="binance-um") as raised:
        um.read_order(reply(order_body(**changed)), "BTCUSDT")
    assert named in str(raised.value)
    assert raised.value.http_status is None  # such an answer proves nothing


def test_a_refusal_inside_a_good_status_is_a_violation(um: BinanceUm, reply: Reply) -> None:
    with pytest.raises(ProtocolViolation, match="symbol"):
        um.read_order(reply({"code": -2011, "msg": "Unknown order sent."}), "BTCUSDT")


def test_reading_an_order_raises_the_branch_of_its_refusal(um: BinanceUm, reply: Reply) -> None:
    with pytest.raises(OrderNotFound):
        um.read_order(reply({"code": -2013, "msg": "Order does not exist."}, 400), "BTCUSDT")
    with pytest.raises(OutcomeUnknown):
        um.read_order(reply("Unknown error, please check your request or try again later.", 503), "BTCUSDT")


def test_open_orders_of_others_are_read_too(um: BinanceUm, reply: Reply) -> None:
    body = [order_body(status="NEW", executedQty="0", clientOrderId=""), order_body(clientOrderId="autoclose-1")]
    assert [order.client_order_id for order in um.read_open_orders(reply(body))] == ["", "autoclose-1"]


def test_balances_are_wallet_balances_and_zero_positions_are_none(
    um: BinanceUm, reply: Reply, sample: Sample
) -> None:
    balances = um.read_balances(reply(sample("futures/http_json/balance.json")))
    assert balances == (Balance(BINANCE_UM, "USDT", Decimal("122.12345678")),)
    positions = um.read_positions(reply(sample("futures/http_json/position_risk.json")))
    assert positions == (VenuePosition(BINANCE_UM, "BTCUSDT", Decimal("0.001"), Decimal(50000)),)
    flat = [{"symbol": "BTCUSDT", "positionAmt": "0.000", "entryPrice": "0.0"}]
    assert um.read_positions(reply(flat)) == ()


def test_fees_are_in_basis_points(um: BinanceUm, reply: Reply) -> None:
    body = {"symbol": "BTCUSDT", "makerCommissionRate": "0.0000", "takerCommissionRate": "0.00017"}
    assert um.read_fees(reply(body)) == Fees(maker_bps=Decimal(0), taker_bps=Decimal("1.7"))


def test_trades_come_oldest_first(um: BinanceUm, reply: Reply) -> None:
    def row(trade_id: int, **changed: Any) -> dict[str, Any]:
        return {
            "symbol": "BTCUSDT", "id": trade_id, "orderId": 5, "side": "SELL", "price": "61800.1", "qty": "0.001",
            "commission": "-0.0105", "commissionAsset": "USDT", "time": 9, "buyer": False, "maker": True,
        } | changed

    late, early = um.read_trades(reply([row(2, buyer=True, maker=False), row(1)]))[::-1]
    assert (early.trade_id, early.side, early.liquidity, early.fee) == ("1", Side.SELL, "maker", Decimal("-0.0105"))
    assert (late.trade_id, late.side, late.liquidity, late.client_order_id) == ("2", Side.BUY, "taker", "")
    for bad in ({"qty": "0"}, {"price": "-1"}, {"buyer": None}, {"commission": "free"}):
        with pytest.raises(ProtocolViolation, match="trades"):
            um.read_trades(reply([row(1, **bad)]))


def test_a_private_trade_is_a_report_with_one_fill(um: BinanceUm) -> None:
    for frame in (order_event(), json.dumps({"stream": "LK", "data": json.loads(order_event())}).encode()):
        (report,) = um.read_private(frame)
        assert isinstance(report, OrderReport)
        assert (report.state, report.filled_qty, report.qty) == (OrderState.WORKING, Decimal("0.001"), Decimal("0.002"))
        (fill,) = report.fills
        assert fill.key == (BINANCE_UM, "BTCUSDT", "8886774", "12345678")
        assert (fill.fee, fill.fee_asset, fill.liquidity) == (Decimal("0.01"), "USDT", "maker")
        assert (fill.client_order_id, fill.side, fill.ts_ms) == ("pb1", Side.BUY, 1568879465651)


def test_private_news_of_an_order_without_a_trade_has_no_fill(um: BinanceUm) -> None:
    (new,) = um.read_private(order_event(x="NEW", X="NEW", l="0", z="0", L="0", t=0))
    (expired,) = um.read_private(order_event(x="EXPIRED", X="EXPIRED", l="0", L="0"))
    assert isinstance(new, OrderReport)
    assert isinstance(expired, OrderReport)
    assert (new.state, new.fills) == (OrderState.WORKING, ())
    assert (expired.state, expired.fills, expired.reason) == (OrderState.PARTIAL, (), "EXPIRED")


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"X": "HALTED"}, "HALTED"), ({"N": None}, "`N`"), ({"t": -1}, "`t`"), ({"L": "0"}, "L"), ({"l": "x"}, "l"),
        ({"S": "UP"}, "$.o.S"), ({"c": None}, "$.o.c"),
    ],
)
def test_a_private_order_event_that_makes_no_sense_is_named(
    um: BinanceUm, changed: dict[str, Any], named: str
) -> None:
    with pytest.raises(ProtocolViolation, match="binance-um") as raised:
        um.read_private(order_event(**changed))
    assert named in str(raised.value)


@pytest.mark.parametrize("client_order_id", ["autoclose-123", "adl_autoclose_1", "settlement_autoclose-9", ""])
def test_the_venue_s_own_orders_are_reports_like_others(um: BinanceUm, client_order_id: str) -> None:
    (report,) = um.read_private(order_event(c=client_order_id, x="CALCULATED", X="FILLED"))
    assert isinstance(report, OrderReport)
    assert report.client_order_id == client_order_id
    assert len(report.fills) == 1  # a liquidation moves the position like any trade


def test_funding_is_booked_and_other_account_news_only_asks_for_a_look(um: BinanceUm) -> None:
    def update(reason: str, positions: list[Any]) -> str:
        balances = [{"a": "USDT", "wb": "100", "cw": "100", "bc": "-1.25"}]
        return json.dumps(
            {"e": "ACCOUNT_UPDATE", "E": 8, "T": 7, "a": {"m": reason, "B": balances, "P": positions}}
        )

    funding, changed = um.read_private(update("FUNDING_FEE", []))
    assert funding == Funding(BINANCE_UM, "", "USDT", Decimal("-1.25"), "0-USDT--1.25", 7)
    assert changed == AccountChanged("FUNDING_FEE")
    isolated, _ = um.read_private(update("FUNDING_FEE", [{"s": "BTCUSDT", "pa": "1"}]))
    assert isinstance(isolated, Funding)
    assert isolated.symbol == "BTCUSDT"
    assert um.read_private(update("ORDER", [])) == (AccountChanged("ORDER"),)


def test_an_expired_listen_key_ends_the_stream_even_with_its_time_as_text(um: BinanceUm) -> None:
    assert um.read_private('{"e":"listenKeyExpired","E":"1576653824250","listenKey":"x"}') == (
        PrivateEnded("listenKeyExpired"),
    )


def test_what_the_private_stream_says_beside_is_passed_over(um: BinanceUm) -> None:
    assert um.read_private('{"e":"TRADE_LITE","s":"BTCUSDT","c":"pb1","l":"0.001"}') == ()
    assert um.read_private('{"e":"an event of next year"}') == ()
    assert um.read_private('{"result":null,"id":3}') == ()
    with pytest.raises(ProtocolViolation, match="neither event nor answer"):
        um.read_private("{}")


UM_EVENTS = {
    "order_update_new": 1, "order_update_trade": 1, "order_update_trade_partial": 1, "order_update_adl": 1,
    "order_update_calculated": 1, "order_update_calculated_pending": 1, "order_update_delivery": 1,
    "order_update_insurance": 1, "order_update_settlement": 1, "account_update": 1, "account_update_bnfcr": 1,
    "algo_update_new": 0, "algo_update_canceled": 0, "trade_lite": 0,
}


@pytest.mark.parametrize(("name", "events"), UM_EVENTS.items())
def test_the_shared_private_samples_are_read(um: BinanceUm, sample: Sample, name: str, events: int) -> None:
    assert len(um.read_private(sample(f"futures/user_data_json/{name}.json"))) == events


def test_the_shared_order_sample_is_read(um: BinanceUm, reply: Reply, sample: Sample) -> None:
    report = um.read_order(reply(sample("futures/http_json/order_response.json")), "BTCUSDT")
    assert (report.client_order_id, report.state) == ("testOrder123", OrderState.WORKING)


@pytest.mark.parametrize(
    ("body", "countdown_ms"), [('{"symbol":"BTCUSDT","countdownTime":"30000"}', 30_000), ('{"countdownTime":"0"}', 0)]
)
def test_the_dead_man_switch_says_what_is_in_force(um: BinanceUm, body: str, countdown_ms: int) -> None:
    assert um.read_dead_man(HttpReply(200, {}, body.encode())) == countdown_ms


@pytest.mark.parametrize("body", ["{}", '{"countdownTime":""}', '{"countdownTime":"-1"}', '{"countdownTime":5}'])
def test_a_dead_man_switch_that_answers_nonsense_is_named(um: BinanceUm, body: str) -> None:
    with pytest.raises(ProtocolViolation, match="countdownCancelAll"):
        um.read_dead_man(HttpReply(200, {}, body.encode()))


def test_how_the_account_is_set_up_is_asked_for_and_read(um: BinanceUm, reply: Reply) -> None:
    assert um.call_position_mode(5).target.startswith("/fapi/v1/positionSide/dual?")
    assert um.read_position_mode(reply({"dualSidePosition": True}))
    assert not um.read_position_mode(reply({"dualSidePosition": False}))
    assert "symbol=BTCUSDT" in um.call_margin("BTCUSDT", 5).target
    rows = [
        {"symbol": "ETHUSDT", "marginType": "CROSSED", "isAutoAddMargin": False, "leverage": 5},
        {"symbol": "BTCUSDT", "marginType": "ISOLATED", "isAutoAddMargin": False, "leverage": 21},
    ]
    assert um.read_margin(reply(rows), "BTCUSDT") == MarginSetup(Decimal(21), isolated=True)
    with pytest.raises(ProtocolViolation, match="nothing of XRPUSDT"):
        um.read_margin(reply(rows), "XRPUSDT")
    assert um.call_key_rights(5) is None
