"""`rotate-key` and `secrets`: where values come from, what is sent, and that a value is never shown."""

from __future__ import annotations

import json

import pytest

from propbotctl import secrets
from tests.unit.ctl.conftest import SINCE, STATE

DONE = {"status": "ok", "updated": ["BINANCE_UM_API_SECRET_TESTNET"], "warnings": [],
        "checked": {"BINANCE_UM_API_SECRET_TESTNET": False}}  # fmt: skip
PATH = "/api/ui/secret"


@pytest.fixture
def service(api):
    api.answers["/api/ui/state"] = (200, {**STATE, "flags": {"PROFILE": "paper"}})
    api.answers[PATH] = (200, DONE)
    return api


def sent(api):
    return [asked["body"] for asked in api.asked if asked["method"] == "POST"]


def test_the_runbooks_value_goes_to_the_first_loop_venues_secret_which_is_named(run, service):
    result = run("rotate-key", "--value", "новый-секрет")
    assert result.exit_code == 0
    assert sent(service) == [{"BINANCE_UM_API_SECRET_TESTNET": "новый-секрет"}]
    assert result.stdout.splitlines() == [
        "status=ok", "BINANCE_UM_API_SECRET_TESTNET: stored, not checked with the venue",
    ]
    assert "новый-секрет" not in result.output
    assert "use standard input" in result.stderr


@pytest.mark.parametrize(("profile", "suffix"), [("paper", "_TESTNET"), ("testnet", "_TESTNET"), ("live", "")])
def test_the_default_name_is_that_of_the_active_profile(run, service, profile, suffix):
    service.answers["/api/ui/state"] = (200, {**STATE, "flags": {"PROFILE": profile}})
    run("rotate-key", stdin="s3cret\n")
    assert sent(service) == [{f"BINANCE_UM_API_SECRET{suffix}": "s3cret"}]


def test_a_value_from_standard_input_is_not_warned_of(run, service):
    result = run("rotate-key", "--name", "BINANCE_SPOT_API_KEY", stdin="k3y\r\n")
    assert sent(service) == [{"BINANCE_SPOT_API_KEY": "k3y"}]
    assert "warning" not in result.stderr
    assert [asked["path"] for asked in service.asked] == [PATH], "a name that is given is not asked for"


def test_key_and_secret_come_as_a_pair(run, service):
    names = ("--name", "BINANCE_UM_API_KEY_TESTNET", "--name", "BINANCE_UM_API_SECRET_TESTNET")
    pair = {"BINANCE_UM_API_KEY_TESTNET": "k", "BINANCE_UM_API_SECRET_TESTNET": "s"}
    run("rotate-key", *names, stdin="k\ns\n")
    run("rotate-key", *names, "--value", "k", stdin="s\n")
    run("rotate-key", *names, "--value", "k", "--value", "s")
    run("rotate-key", stdin=json.dumps(pair))
    assert sent(service) == [pair] * 4


@pytest.mark.parametrize(
    ("args", "stdin"),
    [
        ((), ""), (("--value", ""), None), (("--name", "A", "--name", "B"), "only one\n"), ((), "{not json"),
        ((), '{"A": 1}'), ((), "{}"), (("--value", "a", "--value", "b"), None), (("--name", "A"), "x\ny\n"),
    ],
)
def test_values_that_do_not_fit_the_names_are_wrong_use_and_nothing_is_sent(run, service, args, stdin):
    result = run("rotate-key", *args, stdin=stdin)
    assert result.exit_code == 2
    assert sent(service) == []


def test_a_person_is_asked_without_an_echo(run, service, monkeypatch):
    monkeypatch.setattr(secrets, "_asks_a_person", lambda: True)
    result = run("rotate-key", stdin="typed\n")
    assert sent(service) == [{"BINANCE_UM_API_SECRET_TESTNET": "typed"}]
    assert "typed" not in result.output


@pytest.mark.parametrize(
    ("status", "message"), [(409, "there is no key to store secrets with"), (422, "the venue refused the new key")]
)
def test_a_refusal_ends_with_1_names_the_field_and_shows_no_value(run, service, status, message):
    error = {"code": "x", "message": message, "fields": {"BINANCE_UM_API_SECRET_TESTNET": "refused by the venue"}}
    service.answers[PATH] = (status, {"error": error})
    result = run("rotate-key", stdin="hunter2\n")
    assert result.exit_code == 1
    assert message in result.stderr
    assert "BINANCE_UM_API_SECRET_TESTNET: refused" in result.stderr
    assert "hunter2" not in result.output


def test_json_is_the_answer_and_a_checked_key_says_so(run, service):
    checked = {**DONE, "checked": {"BINANCE_UM_API_SECRET_TESTNET": True}, "warnings": ["old key still works"]}
    service.answers[PATH] = (200, checked)
    assert json.loads(run("rotate-key", "--json", stdin="s\n").stdout) == checked
    shown = run("rotate-key", stdin="s\n").stdout
    assert "stored, checked with a signed read" in shown
    assert "warning: old key still works" in shown


def test_secrets_lists_names_and_sources(run, api):
    item = {"name": "BYBIT_LINEAR_API_PASSPHRASE_TESTNET", "version": 3, "ts": SINCE, "source": "environment"}
    api.answers[PATH] = (200, {"items": [item], "next_cursor": None})
    result = run("secrets")
    assert "BYBIT_LINEAR_API_PASSPHRASE_TESTNET" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    api.answers[PATH] = (200, {"items": [], "next_cursor": None})
    assert run("secrets").stdout == "no secret is stored\n"
