"""The report's page: complete, escaped, the same for the same inputs, and of use when nothing happened."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from attrs import evolve

from propbot.domain.instruments import BINANCE_SPOT as SPOT
from propbot.domain.instruments import BINANCE_UM as UM
from propbot.replay.report import tables
from propbot.replay.report.head import ReportHead, head_of
from propbot.replay.report.lots import share_of
from propbot.replay.report.markup import element
from propbot.replay.report.numbers import decimals, plain, span_text, utc_ms
from propbot.replay.report.plots import thinned
from propbot.replay.report.reading import Sample, read_folder
from propbot.replay.report.reasons import NOTHING_STOOD_IN_THE_WAY, reason_group, reason_shares
from propbot.replay.report.write import REPORT, write_report
from propbot.settings import load_settings
from tests.unit.replay.made_up import HEAD, NASTY, RESULT, MadeUp, busy_replay, idle_replay


def _report(folder: Path, world: MadeUp) -> str:
    folder.mkdir(exist_ok=True)
    world.write(folder)
    write_report(folder, RESULT, HEAD)
    return (folder / REPORT).read_text(encoding="utf-8")


class _Page(HTMLParser):
    """Tags, attributes and text, with the scripts' contents kept apart."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.scripts: list[str] = []
        self.figures: dict[str, Any] = {}
        self._in: tuple[str, dict[str, str | None]] = ("", {})
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in = (tag, dict(attrs))

    def handle_endtag(self, tag: str) -> None:
        self._in = ("", {})

    def handle_data(self, data: str) -> None:
        tag, attributes = self._in
        if tag == "script" and attributes.get("type") == "application/json":
            self.figures[attributes["id"] or ""] = json.loads(data)
        elif tag == "script":
            self.scripts.append(data)
        elif tag != "style":
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(self.text)


@pytest.fixture
def page(tmp_path: Path) -> _Page:
    return _Page(_report(tmp_path, busy_replay()))


def test_the_page_shows_figures_lots_legs_reasons_ages_and_guards(page: _Page) -> None:
    assert set(page.figures) == {
        f"figure-{name}" for name in ("market", "equity", "costs", "slippage", "skew", "ages", "ages-distribution")
    }
    for said in (
        "5 lots opened, 4 closed, 1 still open at the end.", "net edge below MIN_SPREAD_BPS", "guard:feed_stale",
        "UNWOUND", "not closed when the replay ended", "lot-6", "60\u2009000.000",
    ):
        assert said in page.words, said
    assert "unknown" in page.words  # the P&L can't be valued


def test_plotly_accepts_every_figure(page: _Page) -> None:
    for figure in page.figures.values():
        go.Figure(figure)  # raises for what plotly doesn't know


def test_what_files_say_is_text_and_never_markup(page: _Page) -> None:
    assert NASTY in page.words
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert len(page.scripts) == 2
    hover = json.dumps(page.figures["figure-market"])
    assert "<img" not in hover
    assert "&lt;img" in hover


def test_the_page_asks_for_nothing(page: _Page) -> None:
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert not (attributes.get(name) or "").removeprefix("data:,"), (tag, attributes)
    policy = next(a["content"] or "" for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-inline" not in policy.partition("style-src")[0]
    assert "http" not in policy


def test_the_same_replay_makes_the_same_bytes(tmp_path: Path) -> None:
    first, second = _report(tmp_path / "a", busy_replay()), _report(tmp_path / "b", busy_replay())
    assert first == second
    assert not list(tmp_path.glob("*/*.tmp"))


def test_a_replay_without_lots_says_why_and_shows_its_market_all_the_same(tmp_path: Path) -> None:
    page = _Page(_report(tmp_path, idle_replay()))
    assert "No lot was opened." in page.words
    assert "The most frequent reason (86 % of the time): net edge below MIN_SPREAD_BPS." in page.words
    assert "No guard tripped." in page.words
    assert "figure-market" in page.figures
    assert "figure-costs" not in page.figures


def test_a_replay_without_anything_still_has_a_page(tmp_path: Path) -> None:
    page = _Page(_report(tmp_path, MadeUp()))
    assert "Nothing was sampled." in page.words


def test_reasons_are_counted_without_their_numbers() -> None:
    groups = {
        "net edge -3.21 bps below 1.2 bps": "net edge below MIN_SPREAD_BPS",
        "risk: binance-um BTCUSDT: this order would take the position past its limit (limit 5000.00, value 5918.22)":
            "risk: binance-um BTCUSDT: this order would take the position past its limit",
        "binance-um: paused by the venue for 2.3 s more": "binance-um: paused by the venue for … s more",
        "lot lot-gyt5e84eya09 can't be closed: its books are too thin": "lot … can't be closed: its books are too thin",
        "smallest legal order is 0.016 BTC = 980 USDT": "smallest legal order is … BTC = … USDT",
        "": NOTHING_STOOD_IN_THE_WAY,
        "HOLD: nothing is traded": "HOLD: nothing is traded",
    }
    assert {reason: reason_group(reason) for reason in groups} == groups


def _samples(reasons: Sequence[str], tmp_path: Path) -> Sequence[Sample]:
    world = MadeUp()
    for i, reason in enumerate(reasons):
        world.sample(i * 0.25, reason)
    world.write(tmp_path)
    return read_folder(tmp_path, HEAD.venues, simulated=False).samples


def test_a_reason_has_the_time_until_the_next_sample(tmp_path: Path) -> None:
    shares = reason_shares(_samples(["net edge -1 bps below 1 bps", "net edge -2 bps below 1 bps", "x", "x"], tmp_path))
    assert [(each.reason, each.samples, each.seconds) for each in shares] == [
        ("net edge below MIN_SPREAD_BPS", 2, 0.5), ("x", 2, 0.25),
    ]
    assert sum(each.share for each in shares) == pytest.approx(1)


def test_thinning_keeps_every_extreme_and_every_gap() -> None:
    points: list[tuple[float, float | None]] = [(float(i), float(i % 7)) for i in range(10_000)]
    points[5_003] = (5_003.0, 99.0)
    points[7_001] = (7_001.0, -99.0)
    points[8_000:8_050] = [(float(i), None) for i in range(8_000, 8_050)]
    kept = thinned(points, 1_000)
    assert len(kept) <= 1_000
    assert (5_003.0, 99.0) in kept
    assert (7_001.0, -99.0) in kept
    assert any(y is None for _, y in kept)
    assert [t for t, _ in kept] == sorted(t for t, _ in kept)
    assert thinned(points[:1_000], 1_000) == points[:1_000]


def test_numbers_have_signs_thousands_and_no_negative_zero() -> None:
    assert [decimals(x, 2, signed=True) for x in (1234.567, -0.001, -1.5, None)] == [
        "+1\u2009234.57", "0.00", "\u22121.50", "unknown",
    ]
    assert (plain(5.0), plain(1e-05), span_text(59.96), span_text(346.1)) == ("5", "0.00001", "1 min 0 s", "5 min 46 s")
    assert utc_ms(1_723_161_255_206_999_999) == "2024-08-08 23:54:15.206"
    assert [share_of((1, 2, 3, 4), share) for share in (0.5, 0.95, 1.0)] == [2, 4, 4]
    assert share_of((), 0.5) is None


def test_text_is_escaped_unless_it_was_made_here() -> None:
    made = element("p", "<b>", element("i", "&"), class_='"x"')
    assert made.html == '<p class="&quot;x&quot;">&lt;b&gt;<i>&amp;</i></p>'
    assert re.fullmatch(r"<br>", element("br").html)


def test_the_head_says_what_the_service_would_have_gone_by() -> None:
    files = {UM: Path("somewhere/um.gz"), SPOT: Path("spot.gz")}

    def head(venues: str, **given: str) -> ReportHead:
        return head_of(load_settings({"LOOP_VENUES": venues, **given}, None), files, given)

    both = head("binance-spot,binance-um", STOP_BPS="7", TAKER_FEE_BPS__BINANCE_UM="0.5", PAPER_LATENCY_MS="3")
    assert (both.venues, both.stop_bps, both.latency_ms) == ((SPOT, UM), 7, 3)
    assert [both.fees[venue].taker_bps for venue in both.venues] == [2, Decimal("0.5")]
    assert both.files[UM] == "um.gz", "folders are nobody's business"
    assert both.moving_reference, "perp against spot"
    assert not head("binance-spot,binance-um", REFERENCE="zero").moving_reference
    assert not head("binance-um").moving_reference
    assert head("binance-um", DRY_RUN_ONLY="true").simulated


def test_one_venue_has_no_spread_and_a_page_all_the_same(tmp_path: Path) -> None:
    idle_replay().write(tmp_path)
    write_report(tmp_path, RESULT, evolve(HEAD, venues=(UM,)))
    page = _Page((tmp_path / REPORT).read_text(encoding="utf-8"))
    assert "One venue has no spread." in page.words
    assert "figure-ages" in page.figures


def test_a_long_replay_is_cut_to_what_a_page_can_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "LOTS_SHOWN_MAX", 2)
    page = _Page(_report(tmp_path, busy_replay()))
    assert "The first 2 of 6 lots; ledger.db has them all." in page.words
    assert "lot-6" not in page.words
