"""What an operator tried by hand: slips of the pen are told, and nothing is called well, or unknown, that is not."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from propbot.api.bodies import ControlBody
from propbotctl.parameters import FIELDS
from tests.unit.ctl.conftest import COMPONENTS, CONTROL, HOLD, ITEMS, OVERVIEW
from tests.unit.ctl.test_commands import ROOT
from tests.unit.ctl.test_export import event


def test_the_fields_that_are_listed_are_those_that_the_service_takes():
    assert set(FIELDS) == set(ControlBody.model_fields)


def test_a_name_that_is_given_twice_is_wrong_use_and_nothing_is_sent(run, api):
    result = run("control", "set", "min_spread_bps=2", "min_spread_bps=3")
    assert (result.exit_code, api.asked) == (2, [])
    assert "min_spread_bps is given more than once" in result.stderr


@pytest.mark.parametrize(
    ("text", "hint"),
    [("MIN_SPREAD_BPS=2", "min_spread_bps"), ("order_notional=9", "order_notional_usdt"), ("foo=1", None)],
)
def test_a_field_that_there_is_not_gets_a_hint_and_the_list(run, api, text, hint):
    name = text.partition("=")[0]
    api.refuse(422, f"nothing was changed: {name}: no such field")
    said = run("control", "set", text).stderr
    assert (f"{name}: do you mean {hint}?" in said) is (hint is not None)
    assert f"there are: {', '.join(FIELDS)}" in said


def test_a_field_that_there_is_gets_no_list(run, api):
    api.refuse(422, "nothing was changed: min_spread_bps: at most 100")
    assert "there are:" not in run("control", "set", "min_spread_bps=101").stderr


def test_no_hold_has_no_reason_and_one_has(run, api):
    assert "reason=" in run("control", "get").stdout.splitlines()
    api.answers["/api/ui/control-state"] = (200, {**CONTROL, "mode": "HOLD", "reason": "lunch", "hold": HOLD})
    assert "reason=lunch" in run("control", "get").stdout.splitlines()


def test_past_the_last_page_there_are_none_older(run, api):
    api.answers["/api/ui/orders"] = (200, {"items": [], "next_cursor": None})
    assert run("orders", "--cursor", "0").stdout == "there are none older\n"
    assert run("orders").stdout == "no orders\n"
    assert json.loads(run("orders", "--cursor", "0", "--json").stdout)["items"] == []


def test_status_counts_incidents_that_are_open_and_that_nobody_has_acknowledged(run, api):
    api.answers["/api/ui/status/overview"] = (200, {**OVERVIEW, "alerts": []})
    first = COMPONENTS["incidents"][0]
    others = [{**first, "id": 8, "severity": "P1"}, {**first, "acknowledged_by": "ann"}, {**first, "resolved_at": "x"}]
    for incidents, said in (
        ([first], "1 incident is open and not acknowledged (P0): propbotctl incidents"),
        ([first, *others], "2 incidents are open and not acknowledged (P0): propbotctl incidents"),
    ):
        api.answers["/api/ui/status/components"] = (200, {**COMPONENTS, "incidents": incidents})
        lines = run("status").stdout.splitlines()
        assert said in lines
        assert "no alerts" in lines
    api.answers["/api/ui/status/components"] = (200, {**COMPONENTS, "incidents": others[1:]})
    assert "not acknowledged" not in run("status").stdout


def test_status_stands_though_incidents_can_not_be_asked_for(run, api):
    api.answers["/api/ui/status/components"] = (500, {"error": {"code": "internal", "message": "the disk hangs"}})
    result = run("status")
    assert result.exit_code == 0
    assert "open incidents: unknown: the disk hangs" in result.stdout.splitlines()


def test_an_open_lot_has_no_realised_amount_in_either_view(run, api):
    lot = {**ITEMS["lots"], "state": "OPEN", "realised_usdt": None}
    api.answers["/api/ui/lots"] = (200, {"items": [lot], "next_cursor": None})
    for words in (("top", "--once"), ("lots",)):
        row = next(line for line in run(*words).stdout.splitlines() if "OPEN" in line)
        assert "unknown" not in row


@pytest.mark.parametrize(
    ("words", "code"),
    [("doctor", 1), ("status", 0), ("components", 0), ("top --once", 0), ("events", 0), ("export-log", 0), ("pnl", 0)],
)
def test_a_reader_that_has_seen_enough_is_no_failure(api, words, code):
    """As `| head` does it: the pipe has nobody at its other end. What `doctor` found still counts."""
    api.answers["/api/ui/events/export"] = (200, json.dumps([event(id) for id in range(999, 0, -1)]).encode())
    api.answers["/api/ui/incidents"] = (200, {"items": COMPONENTS["incidents"], "next_cursor": None})
    command = [sys.executable, "-m", "propbotctl", "--base-url", api.url, *words.split()]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        told = process.stderr.read()
        assert (process.wait(30), told.replace("older ones: --cursor 5\n", "")) == (code, "")
