"""`doctor`: what is measured, what is called wrong, and what to do next."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from propbotctl import doctor
from propbotctl.doctor import Doctor
from propbotctl.options import Target
from tests.unit.ctl.conftest import COMPONENTS, HOLD, OVERVIEW, SINCE, STATE

NOW = datetime.fromisoformat(SINCE)
WELL = {
    "id": "recon", "title": "Recon", "group": "guards", "status": "OK", "summary": "agree", "since": SINCE,
    "metrics": {},
}  # fmt: skip
VENUES = {"binance-um": {**STATE["venues"]["binance-um"], "usable": True, "reason": ""}}


@pytest.fixture
def service(api, monkeypatch):
    """One that is well, of this version, at this time."""
    monkeypatch.setattr(doctor, "version", lambda _: OVERVIEW["version"])
    running = {**OVERVIEW, "overall": "OK", "mode": "RUN", "hold": None, "alerts": [], "components": [WELL]}
    api.answers["/api/ui/status/overview"] = (200, running)
    api.answers["/api/ui/state"] = (200, {**STATE, "venues": VENUES, "risk_blocked": False, "risk_reasons": []})
    api.answers["/api/ui/status/slo"] = (200, {"ts": SINCE, "metrics": {}})
    api.answers["/api/ui/incidents"] = (200, {"items": [], "next_cursor": None})
    return api


def examine(api, now=NOW, token="t" * 32):
    examined = Doctor(Target(api.url, token, None, False), now=lambda: now)
    examined.examine()
    return examined, {each.check: each for each in examined.checks}


def change(api, path, **more):
    api.answers[path] = (200, {**api.answers[path][1], **more})


def test_a_service_that_is_well_passes_every_check(service):
    examined, checks = examine(service)
    assert examined.well
    assert {each.result for each in examined.checks} == {"ok"}
    assert list(checks) == [
        "reachable", "token", "clock", "version", "mode", "guard recon", "service levels", "incidents",
    ]
    assert all(each.next == "" for each in examined.checks)


def test_every_component_is_a_check_and_a_failing_one_names_the_next_step(service):
    ailing = [
        {**WELL, "status": "ERROR", "summary": "ledger 0.012, venue 0.010"},
        {**WELL, "id": "disk", "group": "house", "status": "WARN", "summary": "12 MB free"},
        {**WELL, "id": "task:trading", "group": "tasks", "status": "HOLD", "summary": "died"},
    ]
    change(service, "/api/ui/status/overview", components=ailing)
    examined, checks = examine(service)
    assert not examined.well
    assert (checks["guard recon"].result, "baseline accept" in checks["guard recon"].next) == ("FAILED", True)
    assert (checks["disk"].result, "make room" in checks["disk"].next) == ("WARN", True)
    assert (checks["task:trading"].result, "docs/incidents.md" in checks["task:trading"].next) == ("FAILED", True)


def test_every_guard_and_part_of_the_service_has_a_next_step_of_its_own():
    parts = {
        "recon", "rate_limit", "runaway_breaker", "clock_skew", "feed_stale", "book_integrity", "cancel_on_disconnect",
        "kill_caps", "hedge", "maintenance_calendar", "ledger", "loop_lag", "preflight", "telegram", "disk",
        "approvals", "config", "api",
    }
    assert parts <= set(doctor.NEXT_STEPS)


@pytest.mark.parametrize(
    ("ahead_s", "result"), [(0.4, "ok"), (-0.4, "ok"), (5, "WARN"), (-5, "WARN"), (60, "FAILED"), (-60, "FAILED")]
)
def test_the_clock_is_compared_with_the_answers_own_time(service, ahead_s, result):
    _, checks = examine(service, NOW + timedelta(seconds=ahead_s))
    assert checks["clock"].result == result


def test_the_date_of_the_answer_is_good_for_whole_seconds_and_none_is_unknown(service):
    change(service, "/api/ui/status/overview", ts=None)
    assert examine(service, NOW + timedelta(seconds=1.5))[1]["clock"].result == "ok"
    assert examine(service, NOW + timedelta(seconds=9))[1]["clock"].result == "WARN"
    service.date = ""
    assert examine(service)[1]["clock"].result == "unknown"


def test_a_wrong_token_is_a_failure_and_what_could_not_be_asked_is_unknown(service):
    service.answers["/api/ui/status/overview"] = (401, {"error": {"code": "unauthorised", "message": "not valid"}})
    examined, checks = examine(service)
    assert not examined.well
    assert (checks["token"].result, checks["token"].next) == ("FAILED", "check API_TOKEN (or --token)")
    assert checks["status, guards, disk"].result == "unknown"


def test_too_many_wrong_tokens_are_a_failure_with_a_next_step(service):
    service.headers = {"Retry-After": "42"}
    service.answers["/api/ui/status/overview"] = (429, {"error": {"code": "x", "message": "too many wrong tokens"}})
    token = examine(service)[1]["token"]
    assert (token.result, token.found) == ("FAILED", "too many wrong tokens")
    assert token.next == "a valid token is never refused: check API_TOKEN (or --token); try again in 42 s"


def test_who_is_not_reached_is_said_and_nothing_else_is_claimed(service):
    service.url = "http://127.0.0.1:1"
    examined, checks = examine(service)
    assert list(checks) == ["reachable", "everything else"]
    assert not examined.well
    assert "is it running" in checks["reachable"].next


def test_a_service_that_is_not_healthy_says_why_and_is_asked_for_the_rest(service):
    service.answers["/healthz"] = (503, {"status": "failing", "reasons": ["the ledger does not answer"]})
    examined, checks = examine(service)
    assert not examined.well
    assert (checks["reachable"].result, checks["reachable"].found) == ("FAILED", "the ledger does not answer")
    assert checks["guard recon"].result == "ok"


@pytest.mark.parametrize(
    ("source", "result"), [("guard:recon", "FAILED"), ("crash:trading", "FAILED"), ("operator:ann", "WARN"),
                           ("startup", "WARN")],
)  # fmt: skip
def test_a_hold_is_wrong_when_the_service_entered_it_by_itself(service, source, result):
    change(service, "/api/ui/status/overview", mode="HOLD", hold={**HOLD, "source": source})
    examined, checks = examine(service)
    assert (checks["mode"].result, checks["mode"].found) == (result, HOLD["line"])
    assert examined.well is (result == "WARN")


def test_refused_keys_blocked_risk_breaches_and_open_incidents_are_named(service):
    refused = {"binance-um": {**VENUES["binance-um"], "key_status": "refused"}}
    reasons = [{"code": "max_position", "message": "too much at binance-um", "limit": "1", "value": "2"}]
    change(service, "/api/ui/state", venues=refused, risk_blocked=True, risk_reasons=reasons)
    service.answers["/api/ui/incidents"] = (200, {"items": COMPONENTS["incidents"], "next_cursor": None})
    late = {"title": "Lateness", "value": 463.9, "unit": "ms", "state": "BREACH", "threshold": 50, "samples": 9}
    service.answers["/api/ui/status/slo"] = (200, {"metrics": {"late": late}})
    _, checks = examine(service)
    assert (checks["key binance-um"].result, checks["key binance-um"].next) == ("FAILED", "propbotctl rotate-key")
    assert checks["risk"].found == "too much at binance-um"
    assert checks["service levels"].found == "Lateness 463.9 ms"
    assert checks["incidents"].found == "open: 7"


def test_another_version_is_a_warning(service, monkeypatch):
    monkeypatch.setattr(doctor, "version", lambda _: "9.9")
    assert examine(service)[1]["version"].found == "service 0.1.0, this command 9.9"
    assert examine(service)[1]["version"].result == "WARN"


def test_a_question_that_fails_is_unknown_and_the_others_are_asked(service):
    service.answers["/api/ui/status/slo"] = (503, {"error": {"code": "unavailable", "message": "the disk hangs"}})
    examined, checks = examine(service)
    assert (checks["service levels"].result, checks["service levels"].found) == ("unknown", "the disk hangs")
    assert checks["incidents"].result == "ok"
    assert not examined.well


def test_http_to_another_host_sends_the_token_in_the_clear(service, monkeypatch):
    monkeypatch.setattr(doctor, "is_loopback", lambda _: False)
    assert examine(service)[1]["transport"].result == "FAILED"


def test_the_command_ends_with_1_where_something_is_wrong_and_fits_eighty_columns(run, service):
    ts = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    change(service, "/api/ui/status/overview", ts=ts)
    assert run("doctor").exit_code == 0
    change(service, "/api/ui/status/overview", components=COMPONENTS["components"])
    result = run("doctor")
    assert result.exit_code == 1
    assert "maintenance_calendar: wait until the window is over" in result.stdout
    assert max(map(len, result.stdout.splitlines()[:-4])) <= 80
    told = json.loads(run("doctor", "--json").stdout)
    assert told["ok"] is False
    assert {"check", "result", "found", "next"} == set(told["checks"][0])
