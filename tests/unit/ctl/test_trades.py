"""What is traded, as people read it: what was only simulated is told from what is real, every number has its unit."""

from __future__ import annotations

import pytest

from propbotctl.terminal import fit_widths
from tests.unit.ctl.conftest import ITEMS, STATE

MADE = {
    "simulated_lots_open": 1, "simulated_fills": 3, "simulated_realised_usdt": "-1.25",
    "simulated_unrealised_usdt": None,
}  # fmt: skip
SAID = "dry runs (simulated): open lots 1, fills 3; in USDT realised -1.2500, unrealised unknown"


@pytest.mark.parametrize("name", ["orders", "fills", "lots"])
def test_what_a_dry_run_made_is_marked_and_nothing_is_where_all_is_real(run, api, name):
    real = ITEMS[name]
    api.answers[f"/api/ui/{name}"] = (200, {"items": [real, {**real, "simulated": True}], "next_cursor": None})
    shown = run(name).stdout
    assert [line.split()[-1] for line in shown.splitlines() if "binance-spot" in line].count("sim") == 1
    assert "sim: a dry run's, nothing was sent to the venue" in shown
    assert max(map(len, shown.splitlines())) <= 80
    api.answers[f"/api/ui/{name}"] = (200, {"items": [real], "next_cursor": None})
    assert "sim" not in run(name).stdout


def test_top_marks_a_simulated_lot(run, api):
    assert "sim" not in run("top", "--once").stdout
    api.answers["/api/ui/lots"] = (200, {"items": [{**ITEMS["lots"], "simulated": True}], "next_cursor": None})
    lines = run("top", "--once").stdout.splitlines()
    assert any("CLOSED" in line and line.rstrip().endswith("sim") for line in lines)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("words", ["status", "state", "positions", "pnl", "top --once"])
def test_what_dry_runs_have_made_is_said_beside_what_is_real_and_nothing_while_they_made_nothing(run, api, words):
    for loop, said in ((MADE, True), ({**MADE, "simulated_lots_open": 0, "simulated_fills": 0}, False)):
        api.answers["/api/ui/state"] = (200, {**STATE, "loop": {**STATE["loop"], **loop}})
        assert (SAID in " ".join(run(*words.split()).stdout.split())) is said
    assert "dry runs" not in run(*words.split(), "--json").stdout


def test_positions_stand_though_the_state_can_not_be_asked_for(run, api):
    api.answers["/api/ui/state"] = (500, {"error": {"code": "internal", "message": "it failed"}})
    result = run("positions")
    assert (result.exit_code, "dry runs: unknown: it failed" in result.stdout) == (0, True)


@pytest.mark.parametrize(
    ("words", "units"),
    [
        ("orders", {"time UTC", "qty BTC", "limit USDT"}), ("fills", {"time UTC", "qty BTC", "price USDT"}),
        ("lots", {"opened UTC", "qty BTC", "realised USDT"}), ("components", {"since UTC"}),
        ("positions", {"qty BTC", "avg price USDT", "mark USDT"}), ("events", {"time UTC"}),
        ("state", {"bid USDT", "ask USDT"}), ("approvals list", {"until UTC"}), ("secrets", {"since UTC"}),
        ("top --once", {"lot opened UTC", "qty BTC", "mark USDT", "unrealised USDT", "realised USDT", "bid USDT"}),
        ("incidents", {"time UTC"}),
    ],
)
def test_titles_name_unit_and_zone(run, api, words, units):
    """On a terminal that is wide enough for a title to stand in one line."""
    item = {"name": "X", "version": 1, "ts": None, "source": "stored"}
    api.answers["/api/ui/secret"] = (200, {"items": [item], "next_cursor": None})
    incidents = api.answers["/api/ui/status/components"][1]["incidents"]
    api.answers["/api/ui/incidents"] = (200, {"items": incidents, "next_cursor": None})
    shown = run(*words.split(), COLUMNS="160").stdout
    assert {unit for unit in units if unit not in shown} == set()


def test_rows_of_several_pairs_have_no_unit_in_the_title(run, api):
    rows = [ITEMS["orders"], {**ITEMS["orders"], "symbol": "ETHUSDT"}]
    api.answers["/api/ui/orders"] = (200, {"items": rows, "next_cursor": None})
    assert "qty BTC" not in run("orders").stdout


def test_first_titles_give_way_then_the_last_cells_that_wrap_and_numbers_at_the_end():
    rows = [["11-23 03:12:09", "0.01612345", "0.0000 BTC"]]
    titles = ["time UTC", "quantity of BTC", "fee"]
    assert fit_widths(titles, rows, 80) == [14, 15, 10]
    assert fit_widths(titles, rows, 34) == [14, 10, 10]
    assert fit_widths(titles, rows, 30) == [14, 10, 6]
    assert fit_widths(titles, rows, 24) == [8, 10, 6]
    assert sum(fit_widths(titles, rows, 10)) == 10
    assert fit_widths(titles, rows, 0) == [1, 1, 1]
