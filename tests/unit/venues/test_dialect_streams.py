"""Public frames, wrapped and bare, text and bytes, and what is no frame of ours."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from propbot.domain.dialect import HttpReply
from propbot.domain.errors import ProtocolViolation
from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM
from propbot.domain.market import DepthDiff, TopOfBook, VenueNotice
from propbot.venues.binance_spot import BinanceSpot
from propbot.venues.binance_um import BinanceUm

SHARED = Path(__file__).resolve().parents[3].parent / "shared"
Reply = Callable[..., HttpReply]
Sample = Callable[[str], bytes]

UM_TICKER = {
    "e": "bookTicker", "u": 5123107839020, "s": "BTCUSDT", "b": "61800.20", "B": "2.507", "a": "61800.30",
    "A": "2.510", "T": 1723161256313, "E": 1723161256314,
}
SPOT_TICKER = {
    "u": 50093239212, "s": "BTCUSDT", "b": "61837.63000000", "B": "3.78826000", "a": "61837.64000000",
    "A": "1.54698000",
}
UM_DEPTH = {
    "e": "depthUpdate", "E": 1723161256299, "T": 1723161256298, "s": "BTCUSDT", "U": 11, "u": 15, "pu": 10,
    "b": [["58710.20", "0.014"], ["61510.90", "0.000"]], "a": [["61800.30", "2"]],
}
SPOT_DEPTH = {"e": "depthUpdate", "E": 1723161255208, "s": "BTCUSDT", "U": 11, "u": 15, "b": [], "a": [["1.0", "2.0"]]}

UM_TOP = TopOfBook(
    BINANCE_UM, "BTCUSDT", 5123107839020, "61800.20", "2.507", "61800.30", "2.510", 1723161256314
)
SPOT_TOP = TopOfBook(
    BINANCE_SPOT, "BTCUSDT", 50093239212, "61837.63000000", "3.78826000", "61837.64000000", "1.54698000", None
)
UM_DIFF = DepthDiff(
    BINANCE_UM, "BTCUSDT", 11, 15, 10, [("58710.20", "0.014"), ("61510.90", "0.000")], [("61800.30", "2")],
    1723161256299,
)
SPOT_DIFF = DepthDiff(BINANCE_SPOT, "BTCUSDT", 11, 15, None, [], [("1.0", "2.0")], 1723161255208)


def frames(stream: str, data: Any) -> list[str | bytes]:
    """The same event in each form in which it may come."""
    wrapped = json.dumps({"stream": stream, "data": data}, separators=(",", ":"))
    spaced = json.dumps({"data": data, "stream": stream}, indent=1)
    return [wrapped, wrapped.encode(), spaced, json.dumps(data), json.dumps(data).encode()]


@pytest.mark.parametrize("frame", frames("btcusdt@bookTicker", UM_TICKER))
def test_a_perp_book_ticker_is_read_in_every_form(um: BinanceUm, frame: str | bytes) -> None:
    assert um.read_public(frame) == UM_TOP


@pytest.mark.parametrize("frame", frames("btcusdt@bookTicker", SPOT_TICKER))
def test_a_spot_book_ticker_has_neither_name_nor_time(spot: BinanceSpot, frame: str | bytes) -> None:
    assert spot.read_public(frame) == SPOT_TOP


@pytest.mark.parametrize(
    "frame", [*frames("btcusdt@depth@100ms", UM_DEPTH), *frames("btcusdt@depth@0ms", UM_DEPTH)]
)
def test_a_perp_diff_names_the_one_before_it(um: BinanceUm, frame: str | bytes) -> None:
    assert um.read_public(frame) == UM_DIFF


@pytest.mark.parametrize("frame", frames("btcusdt@depth", SPOT_DEPTH))
def test_a_spot_diff_names_none_before_it(spot: BinanceSpot, frame: str | bytes) -> None:
    assert spot.read_public(frame) == SPOT_DIFF


@pytest.mark.parametrize(
    "frame",
    [
        '{"result":null,"id":1}',
        '{"stream":"btcusdt@trade","data":{"e":"trade","E":1,"s":"BTCUSDT","t":1,"p":"1","q":"1","T":1,"m":true}}',
        '{"stream":"btcusdt@aggTrade","data":{}}',
        '{"e":"trade","E":1,"s":"BTCUSDT","t":1,"p":"1","q":"1","T":1,"m":true}',
        '{"e":"an event of next year","x":[{}]}',
    ],
)
def test_what_carries_nothing_for_us_is_passed_over(um: BinanceUm, frame: str) -> None:
    assert um.read_public(frame) is None


def test_an_error_answer_and_an_announced_shutdown_end_the_session(um: BinanceUm, spot: BinanceSpot) -> None:
    refused = um.read_public('{"error":{"code":2,"msg":"Invalid request"},"id":1}')
    assert refused == VenueNotice(BINANCE_UM, "Invalid request (code 2)", fatal=True)
    for frame in ('{"e":"serverShutdown","E":1}', '{"stream":"!shutdown","data":{"e":"serverShutdown","E":1}}'):
        notice = spot.read_public(frame)
        assert isinstance(notice, VenueNotice)
        assert notice.fatal


@pytest.mark.parametrize(
    ("frame", "named"),
    [
        ("", "public frame"), ("nonsense", "public frame"), ("[]", "public frame"), ("7", "public frame"),
        ("{}", "neither stream, event nor answer"), (b"\xff\xfe", "public frame"), ("\ud800", "public frame"),
        ('{"stream":"btcusdt@bookTicker","data":{"u":1,"s":"BTCUSDT","b":"1","a":"2","A":"1"}}', "`B`"),
        ('{"stream":"btcusdt@bookTicker","data":{"u":"1"}}', "$.data.u"),
        ('{"stream":"btcusdt@bookTicker","data":{"u":1,"s":"BTCUSDT","b":1.5}}', "$.data.b"),
        (b'{"stream":"btcusdt@bookTicker","data":{"s":"\xff"}}', "bookTicker"),
        ('{"stream":"btcusdt@depth","data":{"s":"BTCUSDT","U":1,"u":2,"pu":0,"b":[["1"]],"a":[]}}', "$.data.b"),
        ('{"stream":"btcusdt@depth","data":{"s":"BTCUSDT","U":1,"u":2,"b":[],"a":[]}}', "`pu`"),
        ("[" * 5000 + "]" * 5000, "public frame"),
        ('{"stream":"btcusdt@depth","data":' + '{"x":' * 5000, "depth"),
        ('{"data":{"data":{"e":"depthUpdate"}}}', "neither stream, event nor answer"),
    ],
)
def test_nonsense_is_a_violation_that_names_what_and_where(um: BinanceUm, frame: str | bytes, named: str) -> None:
    with pytest.raises(ProtocolViolation, match="binance-um") as raised:
        um.read_public(frame)
    assert named in str(raised.value)


def test_a_spot_diff_that_claims_a_chain_is_not_spot(spot: BinanceSpot) -> None:
    with pytest.raises(ProtocolViolation, match="pu"):
        spot.read_public(json.dumps({"stream": "btcusdt@depth", "data": UM_DEPTH}))


def test_depth_snapshots_of_both_venues(um: BinanceUm, spot: BinanceSpot, reply: Reply, sample: Sample) -> None:
    body = {"lastUpdateId": 7, "E": 1, "T": 1, "bids": [["1.0", "2"]], "asks": []}
    assert um.read_depth(reply(body), "BTCUSDT").bids == [("1.0", "2")]
    snapshot = spot.read_depth(reply(sample("spot/http_json/depth_response.json")), "BNBBTC")
    assert (snapshot.symbol, snapshot.last_id, snapshot.asks) == ("BNBBTC", 1027024, [("4.00000200", "12.00000000")])
    with pytest.raises(ProtocolViolation, match="lastUpdateId"):
        um.read_depth(reply({"bids": [], "asks": []}), "BTCUSDT")


def test_the_shared_market_samples_are_read(um: BinanceUm, sample: Sample) -> None:
    top = um.read_public(sample("futures/market_data_json/book_ticker_stream.json"))
    assert isinstance(top, TopOfBook)
    assert (top.symbol, top.ask) == ("BNBUSDT", "25.36520000")
    diff = um.read_public(sample("futures/market_data_json/depth_update_stream.json"))
    assert isinstance(diff, DepthDiff)
    assert (diff.first_id, diff.last_id, diff.prev_id) == (157, 160, 149)
    for name in ("agg_trade", "trade", "mark_price", "ticker", "liquidation", "kline_stream_open"):
        stem = name if name.startswith("kline") else f"{name}_stream"
        assert um.read_public(sample(f"futures/market_data_json/{stem}.json")) is None


@pytest.mark.parametrize("name", ["usdm_btcusdt_20240808", "spot_btcusdt_20240808"])
def test_recorded_frames_are_read_without_a_violation(um: BinanceUm, spot: BinanceSpot, name: str) -> None:
    path = SHARED / f"recordings/binance/{name}.gz"
    if not path.exists():
        pytest.skip("the shared folder with recordings is not beside this checkout")
    dialect = um if name.startswith("usdm") else spot
    kinds = {DepthDiff: 0, TopOfBook: 0, type(None): 0}
    with gzip.open(path, "rt") as lines:
        for line, _ in zip(lines, range(3000), strict=False):
            frame = line.split(" ", 1)[1]
            if '"stream"' in frame:
                kinds[type(dialect.read_public(frame))] += 1  # type: ignore[index]
    assert kinds[DepthDiff] > 50
    assert kinds[TopOfBook] > 500
