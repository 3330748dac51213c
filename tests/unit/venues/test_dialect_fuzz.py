"""Whatever a venue sends, a dialect answers with domain values or a VenueError, never with another exception."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from propbot.domain.dialect import Dialect, HttpReply
from propbot.domain.errors import OutcomeUnknown, ProtocolViolation, VenueError
from propbot.domain.instruments import Credentials
from propbot.venues.binance.errors import CallKind, error_of
from propbot.venues.binance_spot import BinanceSpot
from propbot.venues.binance_um import BinanceUm

DIALECTS = (BinanceUm(Credentials("key", "secret")), BinanceSpot(Credentials("key", "secret")))

ORDER = {
    "symbol": "BTCUSDT", "orderId": 1, "clientOrderId": "pb1", "side": "BUY", "status": "FILLED", "origQty": "1",
    "executedQty": "1", "price": "1", "updateTime": 5,
    "fills": [{"price": "1", "qty": "1", "commission": "0", "commissionAsset": "BNB", "tradeId": 3}],
}
EVENT = {
    "s": "BTCUSDT", "c": "pb1", "S": "BUY", "q": "1", "p": "2", "x": "TRADE", "X": "FILLED", "i": 12, "l": "1",
    "z": "1", "L": "2", "n": "0.001", "N": "BTC", "T": 17, "t": 98, "m": False, "C": "", "r": "NONE",
}
TRADE = {
    "symbol": "BTCUSDT", "id": 1, "orderId": 2, "price": "1", "qty": "1", "commission": "1", "commissionAsset": "BNB",
    "time": 5, "isBuyer": True, "isMaker": False,
}
TICKER = {"u": 1, "s": "BTCUSDT", "b": "1", "B": "1", "a": "2", "A": "1"}
DEPTH = {"e": "depthUpdate", "s": "BTCUSDT", "U": 1, "u": 2, "pu": 0, "b": [["1", "2"]], "a": [], "E": 5}
SYMBOL = {
    "symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT",
    "filters": [
        {"filterType": "PRICE_FILTER", "tickSize": "0.1"},
        {"filterType": "LOT_SIZE", "stepSize": "0.1", "minQty": "1", "maxQty": "2"},
    ],
}
MESSAGES: list[Any] = [
    ORDER, [ORDER], [TRADE], TICKER, DEPTH,
    {"stream": "btcusdt@bookTicker", "data": TICKER}, {"stream": "btcusdt@depth", "data": DEPTH},
    {"e": "ORDER_TRADE_UPDATE", "o": EVENT}, {"subscriptionId": 0, "event": {"e": "executionReport", **EVENT}},
    {"e": "ACCOUNT_UPDATE", "T": 5, "a": {"m": "FUNDING_FEE", "B": [{"a": "USDT", "bc": "1"}], "P": [{"s": "X"}]}},
    {"id": "private", "status": 400, "error": {"code": -1, "msg": "x", "data": {"serverTime": 1, "retryAfter": 2}}},
    {"symbols": [SYMBOL], "rateLimits": [{"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": 2}]},
    {"balances": [{"asset": "BTC", "free": "1", "locked": "0"}]}, [{"asset": "USDT", "balance": "1"}],
    [{"symbol": "BTCUSDT", "positionAmt": "1", "entryPrice": "2"}], {"listenKey": "LK"}, {"serverTime": 5},
    {"makerCommissionRate": "0.1", "takerCommissionRate": "0.1"}, {"standardCommission": {"maker": "0.1"}},
    {"lastUpdateId": 1, "bids": [["1", "2"]], "asks": []},
]

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["NaN", "-Infinity", "1E+999999999", "-1", "", "0", "FILLED", "NEW_ADL", "CANCELED", " 1_0 "])
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """One of our messages with one place replaced or taken out."""
    message = json.loads(json.dumps(draw(st.sampled_from(MESSAGES))))
    at = message
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            return json.dumps(message)
        key = draw(st.sampled_from(keys))
        if isinstance(at[key], dict | list) and draw(st.booleans()):
            at = at[key]
        elif draw(st.booleans()):
            at[key] = draw(values)
            return json.dumps(message)
        else:
            del at[key]
            return json.dumps(message)


def read_all_ways(dialect: Dialect, payload: str | bytes, only: type[VenueError] | None) -> None:
    """Every reader on `payload`; with `only`, nothing but that error may come."""
    allowed = only or VenueError
    raw = payload if isinstance(payload, bytes) else payload.encode("utf-8", "surrogatepass")
    reply = HttpReply(200, {}, raw)
    for read_frame in (dialect.read_public, dialect.read_private):
        try:
            read_frame(payload)
        except allowed:
            pass
    for read in (dialect.read_order, dialect.read_instrument, dialect.read_depth):
        try:
            read(reply, "BTCUSDT")
        except ProtocolViolation:
            pass
    for read_plain in (
        dialect.read_server_time_ms, dialect.read_rate_limits, dialect.read_open_orders, dialect.read_balances,
        dialect.read_positions, dialect.read_fees, dialect.read_trades, dialect.read_private_key,
        dialect.read_funding_payments, dialect.read_funding_outlook,
    ):
        try:
            read_plain(reply)
        except ProtocolViolation:
            pass


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.venue)
@given(payload=st.binary(max_size=60) | st.text(max_size=60))
def test_random_bytes_are_never_worse_than_a_violation(dialect: Dialect, payload: str | bytes) -> None:
    read_all_ways(dialect, payload, ProtocolViolation)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.venue)
@given(message=values)
def test_random_json_is_never_worse_than_a_violation(dialect: Dialect, message: Any) -> None:
    read_all_ways(dialect, json.dumps(message), None)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.venue)
@given(payload=damaged())
def test_our_own_messages_with_one_place_damaged(dialect: Dialect, payload: str) -> None:
    read_all_ways(dialect, payload, None)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.venue)
@pytest.mark.parametrize("message", MESSAGES, ids=range(len(MESSAGES)))
def test_the_messages_that_are_damaged_are_good_at_first(dialect: Dialect, message: Any) -> None:
    read_all_ways(dialect, msgspec.json.encode(message), None)


@given(
    status=st.sampled_from([300, 400, 401, 403, 404, 408, 409, 418, 429, 451, 500, 502, 503, 504]),
    body=st.binary(max_size=40)
    | st.builds(
        lambda code, msg: json.dumps({"code": code, "msg": msg}).encode(), st.integers(-6000, 0), st.text(max_size=10)
    ),
    headers=st.dictionaries(st.sampled_from(["retry-after", "date"]), st.text(max_size=12)),
)
def test_every_refusal_has_a_branch_and_none_of_a_5xx_is_definite(
    status: int, body: bytes, headers: dict[str, str]
) -> None:
    for dialect in DIALECTS:
        error = error_of(dialect.venue, HttpReply(status, headers, body), CallKind.ORDER)
        assert isinstance(error, VenueError)
        if status >= 500 and error.code != -1008:
            assert type(error) is OutcomeUnknown
