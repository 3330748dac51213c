"""`propbot operators`: what stands in the file afterwards, what is said, and that a token is shown once only."""

from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result
from trio.testing import MockClock

from propbot.cli import main
from propbot.control.operators import Operators, Role, parse_operators
from propbot.control.people_watch import PeopleWatch
from propbot.kit.threads import open_inline_worker

API_TOKEN = "a" * 32


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("OPERATORS_FILE", "API_TOKEN", "TWO_MAN_RULE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPERATORS_FILE", "people.json")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["operators", *arguments])


def added(*arguments: str) -> str:
    """The token."""
    result = run("add", *arguments)
    assert result.exit_code == 0, result.output
    token, = result.stdout.splitlines()
    return token


def listed() -> tuple[tuple[str, Role, int | None], ...]:
    return tuple((each.name, each.role, each.telegram_id) for each in parse_operators(Path("people.json").read_bytes()))


def test_a_person_is_added_with_a_token_that_is_kept_as_its_digest_only() -> None:
    token = added("ann", "--role", "approver", "--telegram-id", "7")
    content = Path("people.json").read_text()
    assert len(token) >= 43
    assert token not in content
    digest = hashlib.sha256(token.encode()).hexdigest()
    assert json.loads(content) == [{"name": "ann", "role": "approver", "token_sha256": digest, "telegram_id": 7}]
    assert stat.S_IMODE(Path("people.json").stat().st_mode) == 0o600
    assert [each.name for each in Path().iterdir()] == ["people.json"], "nothing is left beside it"


def test_every_token_is_another_one_and_none_is_ever_shown_again() -> None:
    tokens = {added("ann"), added("bob")}
    assert len(tokens) == 2
    shown = run("list").output + run("revoke", "ann").output
    assert not any(token in shown for token in tokens)
    assert not any(hashlib.sha256(token.encode()).hexdigest() in shown for token in tokens)


def test_the_list_names_everybody_who_is_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", API_TOKEN)
    added("ann", "--role", "viewer", "--telegram-id", "7")
    lines = [" ".join(line.split()) for line in run("list").stdout.splitlines()]
    assert lines == ["api admin approves (API_TOKEN)", "ann viewer telegram 7"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ann",), "name: it is that of ann already"),
        (("ANN",), "name: it is that of ann already"),
        (("bob", "--telegram-id", "7"), "telegram_id: it is that of ann already"),
        (("bob", "--telegram-id", "0"), "telegram_id: accepted: a whole number above 0"),
        (("api",), "name: accepted"),
        (("a b",), "name: accepted"),
    ],
)
def test_what_the_service_would_not_take_is_refused_and_changes_nothing(arguments: tuple[str, ...], said: str) -> None:
    added("ann", "--telegram-id", "7")
    before = Path("people.json").read_bytes()
    result = run("add", *arguments)
    assert result.exit_code == 1
    assert said in result.stderr
    assert result.stdout == "", "no token of a person who was not added"
    assert Path("people.json").read_bytes() == before


def test_a_file_that_can_not_be_used_is_left_as_it_is() -> None:
    Path("people.json").write_text("[{]")
    for command in (("add", "ann"), ("list",), ("revoke", "ann")):
        result = run(*command)
        assert result.exit_code == 1
        assert "not JSON" in result.stderr
    assert Path("people.json").read_text() == "[{]"


def test_who_is_not_listed_can_not_be_revoked() -> None:
    assert "there is no such file" in run("revoke", "ann").stderr
    added("ann")
    result = run("revoke", "bob")
    assert (result.exit_code, listed()) == (1, (("ann", Role.OPERATOR, None),))


def test_without_a_file_named_it_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPERATORS_FILE")
    assert run("list").exit_code == 2
    Path(".env").write_text("OPERATORS_FILE=other.json\n")
    added("ann")
    assert Path("other.json").exists()


def test_fewer_than_two_who_can_approve_are_warned_of_under_the_two_man_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWO_MAN_RULE", "true")
    assert "fewer than two people can approve (nobody)" in run("add", "ann").stderr
    assert "fewer than two people can approve (bob)" in run("add", "bob", "--role", "approver").stderr
    assert "fewer" not in run("add", "cid", "--role", "admin").stderr
    assert "fewer than two people can approve (cid)" in run("revoke", "bob").stderr


async def test_a_running_service_stops_taking_a_revoked_token_within_two_seconds(autojump_clock: MockClock) -> None:
    token = added("ann").encode()
    path = Path("people.json")
    people = Operators.of(API_TOKEN, parse_operators(path.read_bytes()))
    watch = PeopleWatch(path, people, open_inline_worker, lambda *_, **__: None, lambda _: None, lambda: None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        await trio.sleep(1)
        assert people.identify(token) is not None
        assert run("revoke", "ann").exit_code == 0
        await trio.sleep(2)
        assert people.identify(token) is None
        nursery.cancel_scope.cancel()
