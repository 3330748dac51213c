"""Funding in the venues' language: both tellers of a payment agree on its id, and the outlook is read exactly."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import pytest

from propbot.domain.dialect import HttpReply
from propbot.domain.errors import ProtocolViolation, RateLimited
from propbot.domain.instruments import BINANCE_UM, FundingOutlook
from propbot.domain.orders import Funding
from propbot.venues.binance_spot import BinanceSpot
from propbot.venues.binance_um import BinanceUm
from propbot.venues.binance_um.funding import HISTORY_MS

Reply = Callable[..., HttpReply]
HOUR_MS = 3_600_000
SETTLED_MS = 1_790_006_400_000


def income_row(**changed: Any) -> dict[str, Any]:
    row = {
        "symbol": "BTCUSDT", "incomeType": "FUNDING_FEE", "income": "-0.37500000", "asset": "USDT", "time": SETTLED_MS,
        "info": "FUNDING_FEE", "tranId": 9689322392, "tradeId": "",
    }
    return row | changed


def stream_frame(ts_ms: int, change: str = "-0.375") -> str:
    account = {"m": "FUNDING_FEE", "B": [{"a": "USDT", "wb": "100", "cw": "100", "bc": change}], "P": []}
    return json.dumps({"e": "ACCOUNT_UPDATE", "E": ts_ms, "T": ts_ms, "a": account})


def test_payments_are_asked_for_by_symbol_and_time_and_signed(um: BinanceUm) -> None:
    call = um.call_funding_payments("BTCUSDT", SETTLED_MS - HOUR_MS, SETTLED_MS)
    path, _, query = call.target.partition("?")
    params = dict(parse_qsl(query, strict_parsing=True))
    assert path == "/fapi/v1/income"
    assert params.pop("signature")
    assert params == {
        "symbol": "BTCUSDT", "incomeType": "FUNDING_FEE", "startTime": str(SETTLED_MS - HOUR_MS), "limit": "1000",
        "recvWindow": "5000", "timestamp": str(SETTLED_MS),
    }
    assert (call.method, call.weight, call.is_order) == ("GET", 30, False)


def test_nothing_older_than_the_venue_tells_is_asked_for(um: BinanceUm) -> None:
    assert f"startTime={SETTLED_MS - HISTORY_MS}&" in um.call_funding_payments("BTCUSDT", 0, SETTLED_MS).target


def test_payments_are_read_and_other_income_is_passed_over(um: BinanceUm, reply: Reply) -> None:
    rows = [income_row(), income_row(incomeType="COMMISSION", income="-1")]
    assert um.read_funding_payments(reply(rows)) == (
        Funding(BINANCE_UM, "BTCUSDT", "USDT", Decimal("-0.37500000"), f"{SETTLED_MS}-USDT--0.375", SETTLED_MS),
    )
    assert um.read_funding_payments(reply([])) == ()


@pytest.mark.parametrize("listed_ms", [SETTLED_MS, SETTLED_MS + 1000, SETTLED_MS - 3])
@pytest.mark.parametrize("streamed_ms", [SETTLED_MS - 1, SETTLED_MS + 7, SETTLED_MS + 58_123])
def test_the_stream_and_the_list_name_one_payment_alike_though_their_times_differ(
    um: BinanceUm, reply: Reply, listed_ms: int, streamed_ms: int
) -> None:
    listed = um.read_funding_payments(reply([income_row(time=listed_ms)]))[0]
    streamed = um.read_private(stream_frame(streamed_ms))[0]
    assert isinstance(streamed, Funding)
    assert listed.income_id == streamed.income_id


@pytest.mark.parametrize(
    "changed", [{"time": SETTLED_MS + HOUR_MS}, {"income": "-0.376"}, {"income": "0.375"}, {"asset": "USDC"}]
)
def test_different_payments_have_different_ids(um: BinanceUm, reply: Reply, changed: dict[str, Any]) -> None:
    one, other = um.read_funding_payments(reply([income_row(), income_row(**changed)]))
    assert one.income_id != other.income_id


def test_the_outlook_is_asked_for_without_a_signature_and_read(um: BinanceUm, reply: Reply) -> None:
    call = um.call_funding_outlook("BTCUSDT")
    assert call.target == "/fapi/v1/premiumIndex?symbol=BTCUSDT"
    body = {"symbol": "BTCUSDT", "markPrice": "6", "lastFundingRate": "-0.00010000", "nextFundingTime": SETTLED_MS}
    assert um.read_funding_outlook(reply(body)) == FundingOutlook(Decimal("-0.0001"), SETTLED_MS)


@pytest.mark.parametrize(
    "body", [{"lastFundingRate": "", "nextFundingTime": 1}, {"lastFundingRate": "NaN", "nextFundingTime": 1}, {}, []]
)
def test_an_outlook_without_a_number_is_a_violation(um: BinanceUm, reply: Reply, body: Any) -> None:
    with pytest.raises(ProtocolViolation, match="premiumIndex"):
        um.read_funding_outlook(reply(body))


def test_refusals_keep_their_meaning(um: BinanceUm, reply: Reply) -> None:
    refused = reply({"code": -1003, "msg": "Too many requests."}, 429, {"retry-after": "3"})
    with pytest.raises(RateLimited):
        um.read_funding_payments(refused)
    with pytest.raises(RateLimited):
        um.read_funding_outlook(refused)


def test_spot_has_no_funding(spot: BinanceSpot, reply: Reply) -> None:
    assert spot.call_funding_payments("BTCUSDT", 0, SETTLED_MS) is None
    assert spot.call_funding_outlook("BTCUSDT") is None
    assert spot.read_funding_payments(reply([])) == ()
    with pytest.raises(ProtocolViolation, match="no funding"):
        spot.read_funding_outlook(reply({}))
