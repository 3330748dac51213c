"""The report in a real browser: it draws, complains of nothing, and asks nothing of the network.

REPORT_SHOTS=FOLDER keeps pictures of it there, to be looked at.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM
from propbot.replay.report.lots import lot_lines
from propbot.replay.report.reading import read_folder
from propbot.replay.report.write import REPORT, write_report
from tests.e2e.browser import Browser, open_browser
from tests.e2e.replays import MISSING, RECORDINGS, cut_recordings, replayed
from tests.unit.replay.made_up import HEAD, RESULT, busy_replay, idle_replay

PLOTS = 7
DRAWN = "document.documentElement?.dataset.drawn === 'yes'"

LEGEND_IS_CLEAR = """plot => {
    const legend = plot.querySelector('.legend')?.getBoundingClientRect().bottom ?? 0;
    return legend - plot.getBoundingClientRect().top <= plot._fullLayout._size.t + 2;
}"""

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Browser:
    """The browser, with the report of a busy replay in it and nothing heard yet but what came of that."""
    busy_replay().write(tmp_path)
    write_report(tmp_path, RESULT, HEAD)
    browser.requests.clear()
    browser.complaints.clear()
    browser.resize(1280, 900)
    browser.open(tmp_path / REPORT, DRAWN)
    return browser


def test_every_figure_is_drawn_without_a_complaint_and_without_a_request(opened: Browser) -> None:
    assert opened.evaluate("document.querySelectorAll('div.plot > .plot-container svg.main-svg').length") >= PLOTS
    empty = "[...document.querySelectorAll('div.plot')].filter(p => !p.querySelector('.trace')).map(p => p.id)"
    assert opened.evaluate(empty) == []
    opened.evaluate("new Promise(done => setTimeout(() => done(true), 500))")
    assert opened.complaints == []
    assert [url for url in opened.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert len([url for url in opened.requests if url.startswith("file:")]) == 1


def test_a_page_that_asks_and_complains_would_be_caught(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "asks.html"
    page.write_text("<img src='http://example.com/x.png'><script>console.log('x'); nothing()</script>")
    browser.requests.clear()
    browser.complaints.clear()
    browser.open(page, "document.readyState === 'complete'")
    assert "http://example.com/x.png" in browser.requests
    assert any(complaint.startswith("console.log") for complaint in browser.complaints)
    assert any("ReferenceError" in complaint for complaint in browser.complaints)


def test_what_files_say_runs_nothing_and_the_page_could_not_ask_for_anything(opened: Browser) -> None:
    assert opened.evaluate("document.querySelectorAll('img').length") == 0
    assert opened.evaluate("fetch('https://example.com/').then(() => 'sent', () => 'refused')") == "refused"
    added = "document.body.append(Object.assign(document.createElement('script'), {text: 'window.ran = 1'}))"
    assert opened.evaluate(f"{added}; window.ran ?? 'refused'") == "refused"
    assert any("Content Security Policy" in complaint for complaint in opened.complaints)
    assert not [url for url in opened.requests if url.startswith("http") and "example.com" not in url]


def test_a_table_is_sorted_by_its_heading(opened: Browser) -> None:
    realised = (
        "[...document.querySelectorAll('table.lots tbody tr')]"
        ".map(row => row.cells[14].dataset.sort).filter(text => text !== '').map(Number)"
    )
    heading = "document.querySelectorAll('table.lots th button')[14]"
    assert "Realised" in opened.evaluate(f"{heading}.textContent")
    for order in ("ascending", "descending"):
        opened.evaluate(f"{heading}.click()")
        amounts = opened.evaluate(realised)
        assert amounts == sorted(amounts, reverse=order == "descending")
        assert opened.evaluate(f"{heading}.parentElement.getAttribute('aria-sort')") == order
    assert opened.evaluate("[...document.querySelectorAll('table.lots tbody tr')].at(-1).cells[14].dataset.sort") == ""


def test_it_fits_a_phone_and_follows_light_and_dark(opened: Browser) -> None:
    colour = "getComputedStyle(document.querySelector('.plot .xtick text')).fill"
    seen = []
    for scheme in ("light", "dark"):
        opened.prefer(scheme)
        opened.evaluate("new Promise(done => setTimeout(() => done(true), 300))")
        seen.append(opened.evaluate(colour))
        for width in (1280, 400, 1280):
            opened.resize(width, 900)
            opened.wait(f"[...document.querySelectorAll('.plot .main-svg')].every(svg => svg.clientWidth <= {width})")
            opened.wait(f"drawnWidth > {width - 30} && drawnWidth <= {width}")
            assert opened.evaluate("document.documentElement.scrollWidth") <= width
            if folder := os.environ.get("REPORT_SHOTS"):
                opened.photograph(Path(folder) / f"report-{scheme}-{width}.png")
            opened.wait(f"[...document.querySelectorAll('.plot')].every({LEGEND_IS_CLEAR})")
    assert seen[0] != seen[1]
    assert opened.complaints == []


def test_a_replay_in_which_nothing_happened_is_shown_too(browser: Browser, tmp_path: Path) -> None:
    idle_replay().write(tmp_path)
    write_report(tmp_path, RESULT, HEAD)
    browser.complaints.clear()
    browser.open(tmp_path / REPORT, DRAWN)
    assert "No lot was opened." in browser.evaluate("document.body.innerText")
    assert browser.complaints == []


@pytest.mark.skipif(not RECORDINGS.exists(), reason=MISSING)
def test_the_report_of_a_recorded_market_opens_and_its_costs_add_up(browser: Browser, tmp_path: Path) -> None:
    settings = {"TAKER_FEE_BPS": "0.2", "MIN_SPREAD_BPS": "0.1", "EXPECTED_SLIPPAGE_BPS": "0"}
    done = replayed(tmp_path, cut_recordings(tmp_path, 60), settings)
    assert {path.name for path in done.folder.iterdir()} == {"ledger.db", "simvenue.db", "trace.jsonl", REPORT}
    browser.requests.clear()
    browser.complaints.clear()
    browser.resize(1280, 900)
    browser.open(done.folder / REPORT, DRAWN)
    assert browser.evaluate("document.querySelectorAll('div.plot > .plot-container').length") == PLOTS
    rows = browser.evaluate("document.querySelectorAll('table.lots tbody tr').length")
    assert 0 < done.told["spreads_opened"] <= rows
    assert done.told["trace_sha256"] in browser.evaluate("document.body.innerText")
    assert browser.complaints == []
    assert [url for url in browser.requests if url.startswith(("http", "ws"))] == []
    lines = lot_lines(read_folder(done.folder, (BINANCE_UM, BINANCE_SPOT), simulated=False))
    assert [line.lot.realised for line in lines if line.closed]
    for line in lines:
        if line.closed and line.costs is not None and line.lot.realised is not None:
            assert abs(line.costs.realised - line.lot.realised) < Decimal("1e-8"), line.lot.id
