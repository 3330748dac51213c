"""What is at that URL may be anything: another service, a proxy's page, a release that this command does not know."""

from __future__ import annotations

import copy
import json
import ssl

import httpx
import pytest

from propbotctl import client
from propbotctl.commands import propbotctl
from tests.unit.ctl.conftest import APPROVAL, COMPONENTS, CONTROL, SINCE
from tests.unit.ctl.test_commands import every_command

ARGUMENTS = {
    ("control", "set"): ["min_spread_bps=2"], ("approvals", "approve"): ["k3f9x2ab"],
    ("approvals", "reject"): ["k3f9x2ab"], ("incidents", "show"): ["7"], ("incidents", "ack"): ["7"],
    ("baseline", "accept"): ["binance-um", "BTC", "--reason", "x"], ("top",): ["--once"],
    ("rotate-key",): ["--name", "A", "--value", "b"],
}  # fmt: skip
CHANGING = [
    ("pause",), ("resume",), ("drain",), ("control", "set"), ("approvals", "approve"), ("approvals", "reject"),
    ("rotate-key",), ("incidents", "ack"), ("baseline", "accept"),
]  # fmt: skip
COMMANDS = [*every_command(propbotctl), ("incidents",)]
ANSWERS = [
    {"hello": 1}, [], [1], 7, None, "text", {}, {"items": [1], "next_cursor": None}, b"<html>", b"\xff\xfe",
    b"[" * 9999,
]  # fmt: skip


def typed(words):
    return [*words, *ARGUMENTS.get(tuple(words), [])]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_command_trips_over_an_answer_that_is_not_propbots(run, api, words):
    for answer in ANSWERS:
        if words == ("export-log",) and answer == []:
            continue  # a journal without events
        api.answers["*"] = (200, answer)
        result = run(*typed(words))
        assert isinstance(result.exception, SystemExit), (answer, result.exc_info)
        assert result.exit_code == 1, answer
        assert "is it PropBot that runs at that URL?" in result.output, answer
        assert "unknown" in result.output if words == ("doctor",) else result.stdout == ""


@pytest.mark.parametrize("words", CHANGING, ids=" ".join)
def test_whoever_asked_for_a_change_is_told_that_it_may_have_taken_effect(run, api, words):
    for answer in ((200, {"hello": 1}), (502, b"bad gateway")):
        api.answers["*"] = answer
        said = run(*typed(words)).stderr
        assert "whether it took effect is not known: look with `propbotctl " in said


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_redirect_is_not_propbots_and_is_named(run, api, words):
    api.headers = {"Location": "https://elsewhere.example.com/login"}
    api.answers["*"] = (302, b"")
    result = run(*typed(words))
    assert result.exit_code == 1
    flat = " ".join(result.output.split())
    assert "a redirect to https://elsewhere.example.com/login" in flat
    assert "a smaller one" not in flat


def test_a_change_that_is_interrupted_may_have_taken_effect_and_a_look_may_not(run, api, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(client.httpx.Client, "request", interrupted)
    for words in CHANGING:
        result = run(*typed(words))
        assert (result.exit_code, "whether it took effect is not known" in result.stderr) == (1, True), words
    assert "not known" not in run("status").output


def places(tree, path=()):
    """Every place within an answer, by the steps to it."""
    if path:
        yield path
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for step, value in inner:
        yield from places(value, (*path, step))


def altered(tree, path, value):
    """With another value at that place; without it where there is none."""
    changed = copy.deepcopy(tree)
    *way, last = path
    at = changed
    for step in way:
        at = at[step]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return changed


@pytest.fixture
def without_sockets(api, monkeypatch):
    """Hundreds of answers: the same fake API, called in place."""

    def answer(request):
        raw = request.content
        body = json.loads(raw) if raw else None
        status, found = api.answer(request.method, request.url.raw_path.decode(), request.headers, body)
        return httpx.Response(status, json=found)

    transport = httpx.MockTransport(answer)
    tls = ssl.create_default_context()
    monkeypatch.setattr(client, "_open_client", lambda *_: httpx.Client(transport=transport, verify=tls))


def other_kind(found):
    return 7 if isinstance(found, str | list | dict) else ["x"]


ASKED = {
    "/api/ui/status/overview": [("status",), ("doctor",), ("top", "--once")],
    "/api/ui/status/components": [("components",)],
    "/api/ui/state": [("state",), ("pnl",), ("doctor",), ("rotate-key", "--value", "x")],
    "/api/ui/control-state": [("control", "get")],
    "/api/ui/status/slo": [("slo",), ("doctor",)],
    "/api/ui/incidents": [("incidents",), ("incidents", "show", "7"), ("doctor",)],
    "/api/ui/approvals": [("approvals", "list")],
    **{f"/api/ui/{name}": [(name,)] for name in ("orders", "fills", "positions", "events")},
    "/api/ui/lots": [("lots",), ("top", "--once")],
    "PATCH": [("pause",)],
    "POST": [("approvals", "approve", "k3f9x2ab")],
}


@pytest.mark.parametrize("path", ASKED)
@pytest.mark.usefixtures("without_sockets")
def test_a_value_of_another_kind_or_none_at_all_is_no_traceback(run, api, path):
    """A value that a command does not read may be anything."""
    api.answers["/api/ui/incidents"] = (200, {"items": COMPONENTS["incidents"], "next_cursor": None})
    changed = {"control": CONTROL, "changes": {"mode": {"old": "RUN", "new": "HOLD"}}, "warnings": ["w"]}
    api.answers["PATCH"] = (200, changed)
    api.answers["POST"] = (200, {**changed, "approval": APPROVAL})
    whole = api.answers[path][1]
    for place in places(whole):
        found = whole
        for step in place:
            found = found[step]
        for value in (other_kind(found), ...):
            api.answers[path] = (200, altered(whole, place, value))
            for words in ASKED[path]:
                result = run(*words)
                assert result.exception is None or isinstance(result.exception, SystemExit), (
                    place, value, words, result.exc_info,
                )  # fmt: skip
                assert result.exit_code in (0, 1, 2)


@pytest.mark.parametrize("error", [7, {"message": "x", "fields": [1]}, {"message": ["x"]}, {}, {"fields": {}}])
def test_an_error_that_is_not_propbots_is_no_traceback(run, api, error):
    api.answers["*"] = (422, {"error": error})
    result = run("resume")
    assert (result.exit_code, "is it PropBot" in result.stderr) == (1, True)


def test_an_export_of_what_are_no_events_leaves_the_older_file(run, api, tmp_path):
    out = tmp_path / "events.json"
    out.write_text("older")
    for rows in ([1], [{"id": 1}], [[]], [{"id": "1", "ts": SINCE}]):
        api.answers["/api/ui/events/export"] = (200, json.dumps(rows).encode())
        result = run("export-log", "--out", str(out))
        assert (result.exit_code, "is it PropBot" in result.stderr) == (1, True)
    assert out.read_text() == "older"
