"""The spot dialect: where it differs from USD-M, and its private stream over the WebSocket API."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import pytest
from attrs import evolve

from propbot.domain.account import KeyRights
from propbot.domain.dialect import Dialect, HttpCall, HttpReply, WsPlan
from propbot.domain.errors import AccessRefused, Banned, ClockRefused, ProtocolViolation, RateLimited, VenueError
from propbot.domain.instruments import BINANCE_SPOT, Fees, Kind
from propbot.domain.orders import (
    AccountChanged,
    Balance,
    OrderReport,
    OrderRequest,
    OrderState,
    PrivateEnded,
    PrivateReady,
    Purpose,
    Side,
    TimeInForce,
)
from propbot.venues.binance.sign import signature
from propbot.venues.binance_spot import BinanceSpot

Reply = Callable[..., HttpReply]
Sample = Callable[[str], bytes]
TS_MS = 1499827319559

ORDER = OrderRequest(
    "pb1", BINANCE_SPOT, "BTCUSDT", Side.BUY, Purpose.OPEN, Decimal("0.01234"), Decimal("61837.60"), TimeInForce.IOC
)


def query_of(call: HttpCall) -> dict[str, str]:
    return dict(parse_qsl(call.target.partition("?")[2], strict_parsing=True))


def report_event(**changed: Any) -> dict[str, Any]:
    return {
        "e": "executionReport", "E": 1, "s": "BTCUSDT", "c": "pb1", "S": "BUY", "o": "LIMIT", "f": "IOC", "q": "1.0",
        "p": "2500.0", "x": "TRADE", "X": "FILLED", "r": "NONE", "i": 12, "l": "1.0", "z": "1.0", "L": "2500.0",
        "n": "0.001", "N": "BTC", "T": 1709654401000, "t": 98, "m": False, "C": "",
    } | changed


def test_it_is_a_dialect(spot: BinanceSpot) -> None:
    dialect: Dialect = spot
    assert (dialect.venue, dialect.kind) == (BINANCE_SPOT, Kind.SPOT)
    assert (dialect.private_needs_ready, dialect.private_keepalive_s) == (True, None)


def test_an_order_asks_for_its_fills(spot: BinanceSpot) -> None:
    call = spot.call_place(ORDER, TS_MS)
    assert (call.method, call.body, call.is_order, call.weight) == ("POST", b"", True, 1)
    assert call.target.startswith("/api/v3/order?")
    query = query_of(call)
    assert len(query.pop("signature")) == 64
    assert query == {
        "symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "IOC", "quantity": "0.01234",
        "price": "61837.6", "newClientOrderId": "pb1", "newOrderRespType": "FULL", "recvWindow": "2000",
        "timestamp": str(TS_MS),
    }


def test_market_and_post_only_orders_have_types_of_their_own(spot: BinanceSpot) -> None:
    market = query_of(spot.call_place(evolve(ORDER, limit_price=None), TS_MS))
    assert market["type"] == "MARKET"
    assert not {"price", "timeInForce"} & set(market)
    maker = query_of(spot.call_place(evolve(ORDER, time_in_force=TimeInForce.POST_ONLY), TS_MS))
    assert maker["type"] == "LIMIT_MAKER"
    assert maker["price"] == "61837.6"
    assert "timeInForce" not in maker


@pytest.mark.parametrize(
    ("name", "arguments", "method", "target", "weight"),
    [
        ("call_query", ("BTCUSDT", "pb1", TS_MS), "GET", "/api/v3/order?symbol=BTCUSDT&origClientOrderId=pb1&", 4),
        ("call_cancel", ("BTCUSDT", "pb1", TS_MS), "DELETE", "/api/v3/order?symbol=BTCUSDT&origClientOrderId=pb1&", 1),
        ("call_open_orders", ("BTCUSDT", TS_MS), "GET", "/api/v3/openOrders?symbol=BTCUSDT&", 6),
        ("call_balances", (TS_MS,), "GET", "/api/v3/account?omitZeroBalances=true&", 20),
        ("call_fees", ("BTCUSDT", TS_MS), "GET", "/api/v3/account/commission?symbol=BTCUSDT&", 20),
        ("call_trades", ("BTCUSDT", 0, TS_MS), "GET", "/api/v3/myTrades?symbol=BTCUSDT&limit=1000&fromId=0&", 20),
        ("call_order_trades", ("BTCUSDT", "5", TS_MS), "GET", "/api/v3/myTrades?symbol=BTCUSDT&orderId=5&", 5),
    ],
)
def test_signed_questions(
    spot: BinanceSpot, name: str, arguments: tuple[Any, ...], method: str, target: str, weight: int
) -> None:
    call = getattr(spot, name)(*arguments)
    assert (call.method, call.weight, call.is_order) == (method, weight, False)
    assert call.target.startswith(target)
    assert query_of(call)["recvWindow"] == "5000"


def test_public_questions_and_the_public_stream(spot: BinanceSpot) -> None:
    assert spot.call_instrument("BTCUSDT") == HttpCall("GET", "/api/v3/exchangeInfo?symbol=BTCUSDT", weight=20)
    assert spot.call_depth("BTCUSDT") == HttpCall("GET", "/api/v3/depth?symbol=BTCUSDT&limit=1000", weight=50)
    streams = "/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker"
    assert spot.public_plan("BTCUSDT") == WsPlan("ws", streams)


def test_spot_has_no_positions_and_no_listen_key(spot: BinanceSpot, reply: Reply) -> None:
    assert spot.call_positions("BTCUSDT", TS_MS) is None
    assert spot.read_positions(reply([])) == ()
    assert spot.call_private_key() is None
    with pytest.raises(ProtocolViolation, match="no listen keys"):
        spot.call_private_keepalive("LK")
    with pytest.raises(ProtocolViolation, match="no listen keys"):
        spot.read_private_key(reply({}))


def test_a_full_answer_carries_its_fills(spot: BinanceSpot, reply: Reply, sample: Sample) -> None:
    report = spot.read_order(reply(sample("spot/http_json/new_order_full_response.json")), "BTCUSDT")
    assert (report.state, report.ts_ms, report.limit_price) == (OrderState.FILLED, 1507725176595, None)
    assert [fill.trade_id for fill in report.fills] == ["56", "57", "58", "59", "60"]
    assert sum(fill.qty for fill in report.fills) == report.filled_qty == 10
    first = report.fills[0]
    assert (first.price, first.fee, first.fee_asset) == (Decimal(4000), Decimal(4), "USDT")
    assert (first.side, first.liquidity, first.ts_ms) == (Side.SELL, "taker", report.ts_ms)
    assert first.client_order_id == report.client_order_id == "6gCrw2kRUAF9CvJDGP16IP"


def test_a_cancel_answer_is_about_the_original_id(spot: BinanceSpot, reply: Reply, sample: Sample) -> None:
    report = spot.read_order(reply(sample("spot/http_json/cancel_order_response.json")), "LTCBTC")
    assert (report.client_order_id, report.state) == ("myOrder1", OrderState.CANCELED)


def test_queries_and_open_orders_are_read(spot: BinanceSpot, reply: Reply, sample: Sample) -> None:
    report = spot.read_order(reply(sample("spot/http_json/order_response.json")), "LTCBTC")
    assert (report.state, report.ts_ms, report.fills) == (OrderState.WORKING, 1499827319559, ())
    (found,) = spot.read_open_orders(reply(sample("spot/http_json/open_orders_response.json")))
    assert found == report


def test_balances_and_trades_are_read(spot: BinanceSpot, reply: Reply, sample: Sample) -> None:
    balances = spot.read_balances(reply(sample("spot/http_json/account_response.json")))
    assert balances[0] == Balance(BINANCE_SPOT, "BTC", Decimal("4723846.89208129"))
    (fill,) = spot.read_trades(reply(sample("spot/http_json/account_trades_response.json")))
    assert (fill.trade_id, fill.order_id, fill.side, fill.liquidity) == ("28457", "100234", Side.BUY, "taker")
    assert (fill.fee, fill.fee_asset) == (Decimal("10.1"), "BNB")
    assert spot.read_server_time_ms(reply(sample("spot/http_json/server_time_response.json"))) == TS_MS


def test_fees_are_the_sum_of_all_commissions_for_the_dearer_side(spot: BinanceSpot, reply: Reply) -> None:
    plain = {"standardCommission": {"maker": "0.0001", "taker": "0.0002", "buyer": "0", "seller": "0"}}
    assert spot.read_fees(reply(plain)) == Fees(maker_bps=Decimal(1), taker_bps=Decimal(2))
    body = plain | {
        "specialCommission": {"maker": "0.00001", "taker": "0.00002", "buyer": "0.00003", "seller": "0.00004"},
        "taxCommission": {"maker": "0.0", "taker": "0.001", "buyer": "0", "seller": "0"},
        "discount": {"enabledForAccount": True, "discountAsset": "BNB", "discount": "0.75"},
    }
    assert spot.read_fees(reply(body)) == Fees(maker_bps=Decimal("1.5"), taker_bps=Decimal("12.6"))
    with pytest.raises(ProtocolViolation, match="commission"):
        spot.read_fees(reply({}))


def test_the_private_stream_is_a_signed_subscription(spot: BinanceSpot) -> None:
    plan = spot.private_plan(None, TS_MS)
    assert (plan.base, plan.target) == ("ws_api", "")
    (frame,) = plan.first_frames
    request = json.loads(frame)
    assert request["method"] == "userDataStream.subscribe.signature"
    params = request["params"]
    signed = f"apiKey={spot.credentials.api_key}&recvWindow=5000&timestamp={TS_MS}"
    assert params.pop("signature") == signature(signed, spot.credentials.api_secret)
    assert params == {"apiKey": spot.credentials.api_key, "recvWindow": 5000, "timestamp": TS_MS}


def test_the_subscription_s_answer_says_that_the_stream_is_ready(spot: BinanceSpot) -> None:
    frame = '{"id":"private","status":200,"result":{"subscriptionId":0},"rateLimits":[]}'
    assert spot.read_private(frame) == (PrivateReady(),)


@pytest.mark.parametrize(
    ("status", "error", "branch"),
    [
        (401, {"code": -2014, "msg": "API-key format invalid."}, AccessRefused),
        (400, {"code": -1022, "msg": "Signature for this request is not valid."}, AccessRefused),
        (400, {"code": -1021, "msg": "Timestamp for this request is outside of the recvWindow."}, ClockRefused),
        (400, {"code": -1102, "msg": "Mandatory parameter"}, ProtocolViolation),
        (429, {"code": -1003, "msg": "", "data": {"serverTime": 1000, "retryAfter": 8500}}, RateLimited),
        (418, {"code": -1003, "msg": "", "data": {"serverTime": 1000, "retryAfter": 8500}}, Banned),
        (403, None, AccessRefused),
    ],
)
def test_a_refused_subscription_raises_as_the_same_refusal_over_rest(
    spot: BinanceSpot, status: int, error: dict[str, Any] | None, branch: type[VenueError]
) -> None:
    with pytest.raises(branch) as raised:
        spot.read_private(json.dumps({"id": "private", "status": status, "error": error}))
    assert type(raised.value) is branch
    if isinstance(raised.value, RateLimited):
        assert raised.value.retry_after_s == 8.0


@pytest.mark.parametrize("wrapped", [True, False])
def test_an_execution_report_is_a_report_with_one_fill(spot: BinanceSpot, wrapped: bool) -> None:
    event = report_event()
    (report,) = spot.read_private(json.dumps({"subscriptionId": 0, "event": event} if wrapped else event))
    assert isinstance(report, OrderReport)
    assert (report.client_order_id, report.state) == ("pb1", OrderState.FILLED)
    (fill,) = report.fills
    assert fill.key == (BINANCE_SPOT, "BTCUSDT", "12", "98")
    assert (fill.fee, fill.fee_asset, fill.liquidity) == (Decimal("0.001"), "BTC", "taker")


def test_only_a_cancel_s_report_is_about_its_original_id(spot: BinanceSpot) -> None:
    canceled = report_event(x="CANCELED", X="CANCELED", c="of the cancel", C="pb1", l="0", z="0", L="0", t=-1, N=None)
    (report,) = spot.read_private(json.dumps(canceled))
    assert isinstance(report, OrderReport)
    assert (report.client_order_id, report.state, report.fills) == ("pb1", OrderState.CANCELED, ())
    (trade,) = spot.read_private(json.dumps(report_event(C="something else")))
    assert isinstance(trade, OrderReport)
    assert trade.client_order_id == "pb1"


def test_a_prevented_self_trade_is_no_fill(spot: BinanceSpot) -> None:
    event = report_event(x="TRADE_PREVENTION", X="EXPIRED_IN_MATCH", l="0.5", z="0", L="0")
    (report,) = spot.read_private(json.dumps(event))
    assert isinstance(report, OrderReport)
    assert (report.state, report.fills) == (OrderState.CANCELED, ())


def test_a_rejection_says_why(spot: BinanceSpot) -> None:
    event = report_event(x="REJECTED", X="REJECTED", r="INSUFFICIENT_BALANCE", l="0", z="0", L="0", t=-1)
    (report,) = spot.read_private(json.dumps(event))
    assert isinstance(report, OrderReport)
    assert (report.state, report.reason) == (OrderState.REJECTED, "INSUFFICIENT_BALANCE")


@pytest.mark.parametrize("name", ["eventStreamTerminated", "serverShutdown"])
def test_an_ended_subscription_ends_the_stream(spot: BinanceSpot, name: str) -> None:
    assert spot.read_private(json.dumps({"subscriptionId": 0, "event": {"e": name, "E": 1}})) == (PrivateEnded(name),)


@pytest.mark.parametrize("frame", ["{}", '{"subscriptionId":0,"event":{}}', "null", '{"status":"ok"}', b"\xff"])
def test_a_private_frame_that_makes_no_sense_is_a_violation(spot: BinanceSpot, frame: str | bytes) -> None:
    with pytest.raises(ProtocolViolation, match="binance-spot"):
        spot.read_private(frame)


SPOT_EVENTS: dict[str, Any] = {
    "account_position": AccountChanged("outboundAccountPosition"),
    "account_position_wrapped": AccountChanged("outboundAccountPosition"),
    "balance_update": AccountChanged("balanceUpdate"), "balance_update_wrapped": AccountChanged("balanceUpdate"),
    "execution_report_canceled": OrderState.CANCELED, "execution_report_expired": OrderState.CANCELED,
    "execution_report_new": OrderState.WORKING, "execution_report_stop_loss": OrderState.WORKING,
    "execution_report_trade": OrderState.FILLED, "execution_report_wrapped": OrderState.WORKING,
    "list_status_wrapped": None,
}


@pytest.mark.parametrize(("name", "expected"), SPOT_EVENTS.items())
def test_the_shared_private_samples_are_read(spot: BinanceSpot, sample: Sample, name: str, expected: Any) -> None:
    events = spot.read_private(sample(f"spot/user_data_json/{name}.json"))
    if expected is None:
        assert events == ()
    else:
        (event,) = events
        assert (event.state if isinstance(event, OrderReport) else event) == expected


def test_what_the_key_may_do_is_asked_for_and_read(spot: BinanceSpot, reply: Reply) -> None:
    call = spot.call_key_rights(5)
    assert call.target.startswith("/sapi/v1/account/apiRestrictions?")
    assert "signature=" in call.target
    told = {"ipRestrict": False, "enableReading": True, "enableWithdrawals": False, "enableSpotAndMarginTrading": True}
    assert spot.read_key_rights(reply(told)) == KeyRights(withdraw=False, trade=True, ip_bound=False)
    assert spot.read_key_rights(reply({**told, "enableWithdrawals": True})).withdraw
    with pytest.raises(ProtocolViolation, match="apiRestrictions"):
        spot.read_key_rights(reply({"ipRestrict": False}))
    with pytest.raises(VenueError):
        spot.read_key_rights(reply("<html>", status=404))
    assert spot.call_position_mode(5) is None
    assert spot.call_margin("BTCUSDT", 5) is None
