"""The signing examples that Binance published, and what is signed when values need encoding."""

from __future__ import annotations

from decimal import Decimal
from urllib.parse import parse_qsl, quote

import pytest

from propbot.domain.instruments import BINANCE_UM, Credentials
from propbot.domain.orders import OrderRequest, Purpose, Side
from propbot.venues.binance.sign import query_text, signature, signed_query, ws_api_params
from propbot.venues.binance_um import BinanceUm

UM_SECRET = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
SPOT_KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
SPOT_SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"

FULL_WIDTH_DIGITS = "\uff11\uff12\uff13\uff14\uff15\uff16"
LIMIT = {"side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "0.1", "recvWindow": 5000}


@pytest.mark.parametrize(
    ("params", "secret", "expected"),
    [
        (
            {
                "symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "quantity": "1", "price": "9000",
                "timeInForce": "GTC", "recvWindow": 5000, "timestamp": 1591702613943,
            },
            UM_SECRET,
            "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9",
        ),
        (
            {"symbol": "LTCBTC", **LIMIT, "timestamp": 1499827319559},
            SPOT_SECRET,
            "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71",
        ),
        (
            {"symbol": FULL_WIDTH_DIGITS, **LIMIT, "timestamp": 1499827319559},
            SPOT_SECRET,
            "e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3",
        ),
    ],
)
def test_rest_signatures_are_the_published_ones(params: dict[str, str | int], secret: str, expected: str) -> None:
    signed = signed_query(params, Credentials("key", secret))
    assert signed == f"{query_text(params)}&signature={expected}"


def test_query_and_body_are_signed_as_one_text_without_an_ampersand_between() -> None:
    query = "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC"
    body = "quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559"
    assert signature(query + body, SPOT_SECRET) == "0fd168b8ddb4876a0358a8d14d0c9f3da0e9b20c5d52b2a00fcf7d1c602f9a77"


def test_the_websocket_api_signs_sorted_raw_values() -> None:
    params: dict[str, str | int] = {
        "symbol": "BTCUSDT", "side": "SELL", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01000000",
        "price": "52000.00", "newOrderRespType": "ACK", "recvWindow": 100, "timestamp": 1645423376532,
    }
    signed = ws_api_params(params, Credentials(SPOT_KEY, SPOT_SECRET))
    assert signed["signature"] == "cc15477742bd704c29492d96c7ead9414dfd8e0ec4a00f947bb5bb454ddbd08a"
    assert signed["apiKey"] == SPOT_KEY


def test_values_are_percent_encoded_before_they_are_signed() -> None:
    order_id = ".A-Z:/a_z&x=+ü"
    order = OrderRequest(
        order_id, BINANCE_UM, "BTCUSDT", Side.BUY, Purpose.OPEN, Decimal("0.01"), Decimal(60000)
    )
    target = BinanceUm(Credentials("key", UM_SECRET)).call_place(order, 1591702613943).target
    sent, _, found = target.partition("?")[2].rpartition("&signature=")
    assert f"newClientOrderId={quote(order_id, safe='')}" in sent
    assert found == signature(sent, UM_SECRET)
    assert dict(parse_qsl(sent))["newClientOrderId"] == order_id


def test_neither_key_nor_secret_shows_in_a_dialect_s_repr() -> None:
    text = repr(BinanceUm(Credentials("the-api-key", UM_SECRET)))
    assert "the-api-key" not in text
    assert UM_SECRET not in text
