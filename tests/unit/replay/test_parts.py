"""The replay's own parts: its trace, its pace, its options."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from propbot.domain.errors import SettingsError
from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM
from propbot.replay.command import check_report_folder, parse_markets, parse_settings, parse_speed
from propbot.replay.market import Pace
from propbot.replay.trace import open_replay_trace

VENUES = (BINANCE_UM, BINANCE_SPOT)


async def test_the_trace_is_what_its_hash_says_and_leaves_frames_and_requests_out(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with open_replay_trace(path) as trace:
        trace.bot("mode", mode="RUN")
        trace.venue("frame", venue=BINANCE_UM)
        trace.venue("request", path="/secret")
        trace.venue("trade", venue=BINANCE_UM, qty="1")
        trace.top(BINANCE_UM, "depth", 7, "1.0", None)
        said = trace.sha256()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(row["who"], row["kind"]) for row in rows] == [("bot", "mode"), ("venue", "trade"), ("bot", "top")]
    assert {name: rows[2][name] for name in ("venue", "src", "u", "bid", "ask")} == {
        "venue": "binance-um", "src": "depth", "u": 7, "bid": "1.0", "ask": None,
    }  # fmt: skip
    assert said == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_pace_waits_for_what_is_ahead_and_for_nothing_else() -> None:
    now: list[float] = [100.0]
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    pace = Pace(2.0, lambda: now[0], sleep)
    pace.keep(4.0)
    pace.keep(4.0)
    now[0] += 10.0
    pace.keep(6.0)
    assert slept == [2.0]


@pytest.mark.parametrize(("text", "speed"), [("max", None), ("1", 1.0), ("20", 20.0), ("0.5", 0.5)])
def test_speeds(text: str, speed: float | None) -> None:
    assert parse_speed(text) == speed


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "fast", ""])
def test_no_speed(text: str) -> None:
    with pytest.raises(ValueError, match="accepted: max, or market seconds"):
        parse_speed(text)


def test_markets_and_settings_are_named_once() -> None:
    assert parse_markets(["binance-spot=a=b.gz"], VENUES) == {BINANCE_SPOT: Path("a=b.gz")}
    assert parse_settings(["A=", "B=x=y"]) == {"A": "", "B": "x=y"}
    for wrong in (["binance-um"], ["okx-perp=f"], ["binance-um=f", "binance-um=g"], ["binance-um="]):
        with pytest.raises(ValueError, match="--market "):
            parse_markets(wrong, VENUES)
    for wrong in (["A"], ["=1"], ["A=1", "A=1"]):
        with pytest.raises(ValueError, match="--set "):
            parse_settings(wrong)


def test_a_data_directory_is_no_place_for_a_report(tmp_path: Path) -> None:
    check_report_folder(tmp_path / "new" / "folder")
    check_report_folder(tmp_path / "new" / "folder")
    (tmp_path / "new" / "report.html").mkdir()
    with pytest.raises(SettingsError, match=r"report\.html in it is a folder"):
        check_report_folder(tmp_path / "new")
    (tmp_path / "instance.lock").touch()
    with pytest.raises(SettingsError, match=r"is a data directory \(it has instance.lock\)"):
        check_report_folder(tmp_path)
