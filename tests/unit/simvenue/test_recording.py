"""Recorded streams go out as they came in; what is wrong with a file is said with its line."""

from __future__ import annotations

import gzip
import json
import math

import pytest
import trio

from propbot.domain.errors import RecordingError
from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM
from propbot.domain.market import DepthDiff
from propbot.simvenue.recording import open_recording
from propbot.simvenue.visible_book import VisibleBook

T0_NS = 1_700_000_000_000_000_000


def _envelope(stream: str, **data: object) -> str:
    return json.dumps({"stream": f"btcusdt@{stream}", "data": data}, separators=(",", ":"))


def _ticker(u: int, bid: str = "100.00") -> str:
    return _envelope("bookTicker", u=u, s="BTCUSDT", b=bid, B="1.000", a="101.00", A="1.000")


def _depth(u: int, event_ms: int, **more: int) -> str:
    return _envelope("depth@100ms", e="depthUpdate", E=event_ms, U=u, u=u, b=[["100.00", "2.000"]], a=[], **more)


SNAPSHOT = '{"lastUpdateId":5,"bids":[["100.00","1.000"]],"asks":[["101.00","1.000"]]}'
GOOD = [
    (T0_NS, _ticker(4)),
    (T0_NS + 100_000_000, _depth(5, 1_700_000_001_370)),
    (T0_NS + 200_000_000, SNAPSHOT),
    (T0_NS + 300_000_000, _depth(6, 1_700_000_001_570)),
]


def _write(path, lines):
    with gzip.open(path, "wt") as file:
        file.writelines(f"{stamp} {text}\n" for stamp, text in lines)
    return path


async def _replay(market):
    frames = []
    await market.run(lambda frame: frames.append((trio.current_time(), market.wall_ns(), frame)))
    return frames


async def test_frames_keep_their_text_their_pace_and_the_venues_clock(autojump_clock, tmp_path):
    market = open_recording({BINANCE_SPOT: _write(tmp_path / "a.gz", GOOD)}, 2.0)
    assert market.snapshots[BINANCE_SPOT, "BTCUSDT"].last_id == 5
    assert market.wall_ns() == T0_NS + 1_270_000_000, "receive time plus the median of event minus receive time"
    start_s = trio.current_time()
    frames = await _replay(market)
    assert [frame.envelope for _, _, frame in frames] == [GOOD[0][1], GOOD[1][1], GOOD[3][1]]
    assert [round(at_s - start_s, 3) for at_s, _, _ in frames] == [0.0, 0.05, 0.15]
    assert frames[2][1] == pytest.approx(GOOD[3][0] + 1_270_000_000, abs=1000)
    assert frames[1][2].envelope == f'{{"stream":"{frames[1][2].stream}","data":{frames[1][2].data}}}'
    assert market.ended


async def test_files_are_merged_by_receive_time(autojump_clock, tmp_path):
    shifted = [(stamp + 50_000_000, text) for stamp, text in GOOD]
    chained = [(stamp, text.replace('"a":[]', '"a":[],"pu":1')) for stamp, text in GOOD]
    paths = {BINANCE_UM: _write(tmp_path / "a.gz", chained), BINANCE_SPOT: _write(tmp_path / "b.gz", shifted)}
    frames = await _replay(open_recording(paths, math.inf))
    assert [frame.venue for _, _, frame in frames] == [BINANCE_UM, BINANCE_SPOT] * 3


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ((T0_NS - 1, _ticker(9)), "line 5: received before"),
        ((T0_NS + 400_000_000, '{"stream":"btcusdt@bookTicker","data":{"u":1'), "line 5"),
        ((T0_NS + 400_000_000, '{"stream":"btcusdt@bookTicker","data":{"u":"x"}}'), "line 5"),
        ((T0_NS + 400_000_000, _ticker(9, bid="NaN")), "line 5: not a level"),
        ((T0_NS + 400_000_000, _ticker(9, bid="abc")), "line 5"),
        (("when?", _ticker(9)), "line 5: not `<receive time"),
        (("9" * 5000, _ticker(9)), "line 5: not `<receive time"),
        ((T0_NS * 10, _ticker(9)), "line 5: not `<receive time|line 5: received"),
        ((T0_NS + 4_000_000_000_000, _ticker(9)), "line 5: received 4000 s after the line above it"),
    ],
)
async def test_a_bad_line_is_named_with_its_file(autojump_clock, tmp_path, line, says):
    path = _write(tmp_path / "bad.gz", [*GOOD, line])
    with pytest.raises(RecordingError, match=rf"bad\.gz: {says}"):
        await _replay(open_recording({BINANCE_SPOT: path}, math.inf))


async def test_a_recording_under_the_wrong_venue_is_refused(autojump_clock, tmp_path):
    path = _write(tmp_path / "spot.gz", GOOD)
    with pytest.raises(RecordingError, match=r"line 2: depth: `pu` is missing: no recording of binance-um"):
        await _replay(open_recording({BINANCE_UM: path}, math.inf))
    path = _write(tmp_path / "um.gz", [*GOOD, (T0_NS + 400_000_000, _depth(7, 1_700_000_001_670, pu=6))])
    with pytest.raises(RecordingError, match=r"line 5: depth: `pu` is there: no recording of binance-spot"):
        await _replay(open_recording({BINANCE_SPOT: path}, math.inf))


def test_recordings_of_different_days_are_no_market(tmp_path):
    later = [(stamp + 86_400_000_000_000, text.replace('"a":[]', '"a":[],"pu":1')) for stamp, text in GOOD]
    paths = {BINANCE_SPOT: _write(tmp_path / "spot.gz", GOOD), BINANCE_UM: _write(tmp_path / "um.gz", later)}
    with pytest.raises(RecordingError, match=r"um\.gz: line 1: begins 86400 s after .*spot\.gz does"):
        open_recording(paths)


async def test_it_tells_how_far_it_is(autojump_clock, tmp_path):
    market = open_recording({BINANCE_SPOT: _write(tmp_path / "a.gz", GOOD)})
    assert (market.share_read, market.played_s) == (0.0, 0.0)
    await _replay(market)
    assert (market.share_read, market.played_s) == (1.0, pytest.approx(0.3))


async def test_a_truncated_file_plays_up_to_the_cut_and_then_says_where_it_was(autojump_clock, tmp_path):
    path = _write(tmp_path / "cut.gz", GOOD)
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(RecordingError, match=r"cut\.gz: line \d"):
        await _replay(open_recording({BINANCE_SPOT: path}, math.inf))


@pytest.mark.parametrize(
    "content",
    [b"", b"not gzip at all", gzip.compress(b""), gzip.compress(f"{T0_NS} {_ticker(1)}\n".encode())],
    ids=["nothing", "no gzip", "no line", "no stream name"],  # gzip stamps the second, and ids must not change
)
def test_a_file_that_is_no_recording_is_refused_at_once(tmp_path, content):
    path = tmp_path / "none.gz"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=r"none\.gz: line 1"):
        open_recording({BINANCE_SPOT: path})


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RecordingError, match=r"nowhere\.gz"):
        open_recording({BINANCE_SPOT: tmp_path / "nowhere.gz"})


async def test_the_recorded_day_has_its_counts_its_chain_and_its_last_prices(recordings):
    market = open_recording(recordings, math.inf)
    assert market.clock_offset_ns == pytest.approx(1_270_000_000, abs=5_000_000)
    books = {venue: VisibleBook(snapshot) for (venue, _), snapshot in market.snapshots.items()}
    counts: dict[tuple[str, str], int] = {}
    chain: dict[str, int] = {}

    def publish(frame):
        key = (frame.venue, frame.stream.partition("@")[2])
        counts[key] = counts.get(key, 0) + 1
        event = frame.event
        if isinstance(event, DepthDiff):
            before = event.prev_id if event.prev_id is not None else event.first_id - 1
            assert chain.get(frame.venue, before) == before
            chain[frame.venue] = event.last_id
        if event is not None:
            books[frame.venue].apply(event)

    await market.run(publish)
    assert counts == {
        (BINANCE_UM, "depth@0ms"): 6551,
        (BINANCE_UM, "bookTicker"): 66089,
        (BINANCE_UM, "trade"): 21313,
        (BINANCE_SPOT, "depth@100ms"): 3451,
        (BINANCE_SPOT, "bookTicker"): 28040,
        (BINANCE_SPOT, "trade"): 9757,
    }
    tops = {venue: book.top() for venue, book in books.items()}
    assert (tops[BINANCE_UM].bid, tops[BINANCE_UM].ask) == ("61659.70", "61659.80")
    assert (tops[BINANCE_SPOT].bid, tops[BINANCE_SPOT].ask) == ("61685.99000000", "61686.00000000")
