"""Frames as bytes: made for the flood, read by the minimal loops, and the same in between."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM
from propbot.domain.market import DepthDiff, TopOfBook
from propbot.venues.binance_um.dialect import BinanceUm
from tests.bench import recorded
from tests.bench.loops import BareFrames
from tests.bench.market import BenchMarket


@given(st.lists(st.binary(max_size=400), max_size=8), st.integers(1, 700))
def test_the_bare_parser_reads_what_was_framed_however_it_is_cut(payloads: list[bytes], piece: int) -> None:
    whole = b"".join(recorded.text_frame(payload) for payload in payloads)
    parser = BareFrames()
    read = [frame for at in range(0, len(whole), piece) for frame in parser.feed(whole[at : at + piece])]
    assert read == payloads


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_every_length_has_its_form(size: int) -> None:
    frame = recorded.text_frame(b"x" * size)
    assert list(BareFrames().feed(frame)) == [b"x" * size]


def test_chunks_are_all_frames_and_nothing_else() -> None:
    payloads = [b"a" * 40_000, b"b" * 40_000, b"c"]
    pieces = recorded.chunks(payloads)
    assert max(map(len, pieces)) <= recorded.CHUNK_BYTES
    assert list(BareFrames().feed(b"".join(pieces))) == payloads


def test_a_recording_is_split_behind_the_bridge_and_its_times_are_moved(tmp_path: Path) -> None:
    def depth(number: int) -> str:
        ids = f'"U":{number},"u":{number},"pu":{number - 1}'
        return f'{{"stream":"btcusdt@depth@0ms","data":{{"E":172316125{number:04d},{ids},"b":[],"a":[]}}}}'

    ticker = '{"stream":"btcusdt@bookTicker","data":{"u":3,"b":"61800.20","B":"1","a":"61800.30","A":"1"}}'
    trade = '{"stream":"btcusdt@trade","data":{"E":1723161256322}}'
    snapshot = '{"lastUpdateId":4,"bids":[["1","1"]],"asks":[["2","1"]]}'
    lines = [depth(1), ticker, trade, depth(2), snapshot, depth(3), depth(4), *[depth(n) for n in range(5, 200)]]
    path = tmp_path / "r.gz"
    path.write_bytes(gzip.compress("".join(f"{n} {line}\n" for n, line in enumerate(lines)).encode()))

    read = recorded.load(path, first_event_ms=2_000_000_000_000)

    assert not any(b"@trade" in frame for frame in (*read.prefix, *read.flood))
    assert len(read.prefix) == 5 + 100
    assert len(read.flood) == 195 - 100
    assert read.last_id == 199
    assert read.mid == 61800.2
    assert read.snapshot.last_id == 4
    times = [json.loads(frame)["data"]["E"] for frame in (read.prefix[0], read.flood[-1])]
    assert times == [2_000_000_000_000, 2_000_000_000_198]


def test_the_market_says_the_same_in_bytes_and_in_events() -> None:
    market = BenchMarket(lambda: 1_790_000_000_000_000_000)
    diff, low, high = market.depth(BINANCE_UM), market.um_tick(paying=False), market.um_tick(paying=True)
    for frame in (diff, low, high):
        assert BinanceUm.frames.read(frame.envelope) == frame.event
    assert isinstance(diff.event, DepthDiff)
    assert isinstance(low.event, TopOfBook)
    assert isinstance(high.event, TopOfBook)
    assert diff.event.last_id < low.event.update_id < high.event.update_id
    spot = market.snapshots[BINANCE_SPOT, "BTCUSDT"]
    edge_bps = (Decimal(high.event.bid) - Decimal(spot.asks[0][0])) / Decimal(spot.asks[0][0]) * 10_000
    assert 9 < edge_bps < 11
