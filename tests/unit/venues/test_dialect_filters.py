"""exchangeInfo as both venues write it, and the usage headers under the limits' keys."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from propbot.domain.dialect import HttpReply, RateLimit
from propbot.domain.errors import ProtocolViolation
from propbot.domain.instruments import Kind
from propbot.venues.binance_spot import BinanceSpot
from propbot.venues.binance_um import BinanceUm

Reply = Callable[..., HttpReply]
Sample = Callable[[str], bytes]

LIMITS = [
    {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2400},
    {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300},
    {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": 200000},
    {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 61000},
    {"rateLimitType": "SOMETHING_NEW", "interval": "FORTNIGHT", "intervalNum": 1, "limit": 1},
]


def listed(*notional: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return {
        "symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT", "pricePrecision": 2,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": "556.80", "maxPrice": "4529764", "tickSize": "0.10"},
            {"filterType": "LOT_SIZE", "stepSize": "0.00100000", "maxQty": "1000", "minQty": "0.001"},
            {"filterType": "MARKET_LOT_SIZE", "stepSize": "0.001", "maxQty": "120", "minQty": "0.001"},
            {"filterType": "MAX_NUM_ORDERS", "limit": 200},
            {"filterType": "FILTER_OF_NEXT_YEAR", "depth": {"a": [1]}},
            *notional,
        ],
    } | changed


def info(*symbols: Any) -> dict[str, Any]:
    return {"timezone": "UTC", "rateLimits": LIMITS, "symbols": list(symbols)}


UM_NOTIONAL = {"filterType": "MIN_NOTIONAL", "notional": "100"}
SPOT_NOTIONAL = {"filterType": "NOTIONAL", "minNotional": "5.00000000", "maxNotional": "9000000.00", "avgPriceMins": 5}


def test_a_perp_has_its_steps_from_the_filters_and_not_from_the_precisions(um: BinanceUm, reply: Reply) -> None:
    instrument = um.read_instrument(reply(info(listed(UM_NOTIONAL))), "BTCUSDT")
    assert instrument.kind is Kind.PERP
    assert (instrument.base, instrument.quote, instrument.tradable) == ("BTC", "USDT", True)
    assert (instrument.tick_size, instrument.lot_step) == (Decimal("0.1"), Decimal("0.001"))
    assert (instrument.qty_min, instrument.qty_max) == (Decimal("0.001"), Decimal(1000))
    assert instrument.notional_min == Decimal(100)


def test_spot_names_its_smallest_notional_otherwise(spot: BinanceSpot, reply: Reply) -> None:
    older = {"filterType": "MIN_NOTIONAL", "minNotional": "10"}
    assert spot.read_instrument(reply(info(listed(SPOT_NOTIONAL))), "BTCUSDT").notional_min == Decimal(5)
    assert spot.read_instrument(reply(info(listed(SPOT_NOTIONAL, older))), "BTCUSDT").notional_min == Decimal(10)
    assert spot.read_instrument(reply(info(listed())), "BTCUSDT").notional_min == 0


def test_a_halted_symbol_is_listed_and_not_tradable(um: BinanceUm, reply: Reply) -> None:
    instrument = um.read_instrument(reply(info(listed(UM_NOTIONAL, status="CANCEL_ONLY"))), "BTCUSDT")
    assert not instrument.tradable


def test_a_broken_neighbour_does_not_spoil_the_symbol_that_is_traded(um: BinanceUm, reply: Reply) -> None:
    body = info({"symbol": "ODDUSDT", "filters": 7, "status": None}, {}, listed(UM_NOTIONAL))
    assert um.read_instrument(reply(body), "BTCUSDT").symbol == "BTCUSDT"


def test_an_unlisted_symbol_is_named(um: BinanceUm, reply: Reply) -> None:
    with pytest.raises(ProtocolViolation, match="binance-um: NOPEUSDT is not listed"):
        um.read_instrument(reply(info(listed(UM_NOTIONAL))), "NOPEUSDT")


@pytest.mark.parametrize(
    ("filters", "named"),
    [
        ([], "PRICE_FILTER.tick_size: missing"),
        ([{"filterType": "PRICE_FILTER", "tickSize": "0.00"}], "PRICE_FILTER.tick_size: not above zero"),
        ([{"filterType": "PRICE_FILTER", "tickSize": "NaN"}], "PRICE_FILTER.tick_size: not a finite number"),
        ([{"filterType": "PRICE_FILTER", "tickSize": 0.1}], "tickSize"),
        ([{"filterType": "PRICE_FILTER", "tickSize": "0.1"}], "LOT_SIZE.step_size: missing"),
    ],
)
def test_a_filter_that_cannot_be_used_is_named(um: BinanceUm, reply: Reply, filters: list[Any], named: str) -> None:
    with pytest.raises(ProtocolViolation, match="exchangeInfo BTCUSDT") as raised:
        um.read_instrument(reply(info(listed(filters=filters))), "BTCUSDT")
    assert named in str(raised.value)


def test_a_renamed_notional_key_is_a_violation_and_not_a_missing_rule(um: BinanceUm, reply: Reply) -> None:
    with pytest.raises(ProtocolViolation, match="MIN_NOTIONAL"):
        um.read_instrument(reply(info(listed({"filterType": "MIN_NOTIONAL", "minNotional": "100"}))), "BTCUSDT")


def test_rate_limits_have_the_keys_of_the_usage_headers(um: BinanceUm, reply: Reply) -> None:
    assert um.read_rate_limits(reply(info())) == (
        RateLimit("weight_1m", 2400, 60.0), RateLimit("orders_10s", 300, 10.0), RateLimit("orders_1d", 200000, 86400.0),
    )
    headers = {
        "x-mbx-used-weight": "9", "x-mbx-used-weight-1m": "31", "x-mbx-order-count-10s": "2",
        "x-mbx-order-count-1d": " 77 ", "x-mbx-order-count-1m": "many", "content-type": "application/json",
    }
    assert um.read_usage(headers).counts == {"weight_1m": 31, "orders_10s": 2, "orders_1d": 77}


def test_a_limit_over_an_unknown_interval_is_a_violation(um: BinanceUm, reply: Reply) -> None:
    body = {"rateLimits": [{"rateLimitType": "ORDERS", "interval": "MOON", "intervalNum": 1, "limit": 3}]}
    with pytest.raises(ProtocolViolation, match="MOON"):
        um.read_rate_limits(reply(body))


def test_the_shared_exchange_info_without_filters_is_refused_by_name(
    spot: BinanceSpot, reply: Reply, sample: Sample
) -> None:
    body = sample("spot/http_json/exchange_info_response.json")
    with pytest.raises(ProtocolViolation, match="exchangeInfo ETHBTC PRICE_FILTER"):
        spot.read_instrument(reply(body), "ETHBTC")
