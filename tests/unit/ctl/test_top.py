"""`top`, `pnl`, `slo`: one screen within eighty columns, with the numbers that the API gave."""

from __future__ import annotations

import json

import pytest

from propbotctl import top
from propbotctl.failures import Unauthorised, Unreachable
from propbotctl.options import Target
from tests.unit.ctl.conftest import HOLD, SLO, STATE


def test_one_screen_has_mode_hold_alerts_money_books_lots_and_events(run):
    result = run("top", "--once")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    flat = " ".join(result.stdout.split())
    for part in (
        "HOLD paper BTCUSDT on binance-um", "SAFE_MODE", " ".join(HOLD["line"].split()), "P0 recon: differs",
        "equity 1.0000", "unrealised unknown", "61234.5", "-0.01612345", "CLOSED", "-0.31123456", "feed_stale",
    ):
        assert part in flat, part
    assert "\x1b" not in result.stdout


def test_json_has_the_answers_themselves(run, api):
    told = json.loads(run("top", "--json").stdout)
    assert told["state"] == STATE
    assert set(told) == {"overview", "state", "lots", "events"}


def test_a_screen_that_can_not_be_made_anew_says_how_old_it_is(api, monkeypatch):
    """The clock stands still but for what `sleep` lets pass; the third look is Ctrl-C."""
    now = [100.0]
    target = Target(api.url, None, None, False)
    first = top.read_snapshot(target)
    answers = iter([Unreachable("can't reach PropBot"), first, KeyboardInterrupt()])
    drawn = []

    def read(_):
        answer = next(answers)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    monkeypatch.setattr(top, "read_snapshot", read)
    monkeypatch.setattr(top.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    draw = top.draw
    monkeypatch.setattr(top, "draw", lambda shown, note="": drawn.append(note) or draw(shown, note))
    top.run_live(target, 2.0, first, monotonic=lambda: now[0])
    assert drawn == ["", "2 s old: can't reach PropBot", ""]


def test_a_token_that_was_revoked_ends_the_live_view(api, monkeypatch):
    target = Target(api.url, None, None, False)
    first = top.read_snapshot(target)

    def refuse(_):
        raise Unauthorised("this token is not valid")

    monkeypatch.setattr(top, "read_snapshot", refuse)
    monkeypatch.setattr(top.time, "sleep", lambda _: None)
    with pytest.raises(Unauthorised):
        top.run_live(target, 1.0, first)


def test_pnl_is_the_states_own_block(run):
    assert run("pnl").stdout.splitlines()[:4] == [
        "P&L in USDT; day: since 00:00 UTC", "equity=1.0000", "realised=2.0000", "unrealised=unknown",
    ]
    assert json.loads(run("pnl", "--json").stdout) == {"ts": STATE["ts"], **STATE["pnl"]}


def test_slo_shows_what_was_measured_and_unknown_for_the_rest(run):
    lines = run("slo").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert any("tick_to_order_p95" in line and "BREACH" in line and "463.8533" in line for line in lines)
    assert any("cancel_failure_rate" in line and line.count("unknown") == 2 for line in lines)
    assert json.loads(run("slo", "--json").stdout) == SLO
