"""OPERATORS_FILE: what is taken, what is refused, and whose token a token is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from propbot.control.operators import BadOperators, Operators, Role, parse_operators
from propbot.control.people_watch import PeopleWatch
from propbot.kit.threads import open_inline_worker


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def person(name: str = "ann", role: str = "approver", token: str = "a-token", **more: Any) -> dict[str, Any]:
    return {"name": name, "role": role, "token_sha256": digest(token), "telegram_id": None, **more}


def parse(*entries: Any) -> Any:
    return parse_operators(json.dumps(list(entries)).encode(), hashlib.sha256(b"api-token").digest())


def problems_of(*entries: Any) -> tuple[str, ...]:
    with pytest.raises(BadOperators) as caught:
        parse(*entries)
    return caught.value.problems


def test_a_sound_list_is_taken_as_it_stands() -> None:
    ann, bob = parse(person(telegram_id=7), person("bob", "viewer", "b-token"))
    assert (ann.name, ann.role, ann.telegram_id, ann.can_approve) == ("ann", Role.APPROVER, 7, True)
    assert (bob.role, bob.can_approve) == (Role.VIEWER, False)
    assert digest("a-token") not in repr(ann)
    assert str(ann.token_digest) not in repr(ann)


WRONG: list[tuple[Any, str]] = [
    ("ann", "entry 1: must be an object"),
    (person(name=""), "name: accepted"),
    (person(name="API"), "name: accepted"),
    (person(name="local"), "name: accepted"),
    (person(name="ann smith"), "name: accepted"),
    (person(name="x" * 33), "name: accepted"),
    (person(name=None), "name: accepted"),
    (person(role="root"), "role: accepted: viewer, operator, approver, admin"),
    (person(role=None), "role: accepted"),
    (person(role=["admin"]), "role: accepted"),
    ({**person(), "token_sha256": "a-token"}, "token_sha256: accepted"),
    ({**person(), "token_sha256": digest("")}, "token_sha256: accepted"),
    ({**person(), "token_sha256": None}, "token_sha256: accepted"),
    (person(telegram_id=0), "telegram_id: accepted"),
    (person(telegram_id=True), "telegram_id: accepted"),
    (person(telegram_id="7"), "telegram_id: accepted"),
    (person(telegram_id=1.5), "telegram_id: accepted"),
    (person(token="api-token"), "it is that of api already"),
    ({**person(), "admin": True}, "unknown field 'admin'"),
]


@pytest.mark.parametrize(("entry", "says"), WRONG)
def test_a_wrong_entry_is_named(entry: Any, says: str) -> None:
    problems = problems_of(entry)
    assert len(problems) == 1
    assert says in problems[0]
    assert "a-token" not in problems[0].replace("a-token'", "")


def test_every_problem_of_every_entry_comes_at_once() -> None:
    problems = problems_of(person(role="x", telegram_id=-1), person("bob", token="b"), {"name": 1})
    assert [problem.split(":")[0] for problem in problems] == ["entry 1 (ann)"] * 2 + ["entry 3"] * 3


def test_one_human_has_one_entry() -> None:
    for twin, field in [
        (person("ann", token="b"), "name"),
        (person("Ann", token="b"), "name"),
        (person("bob", telegram_id=None), "token_sha256"),
        (person("bob", token="b", telegram_id=7), "telegram_id"),
    ]:
        problems = problems_of(person(telegram_id=7), twin)
        assert len(problems) == 1
        assert f"{field}: it is that of ann already" in problems[0]
    assert "name: it is that of a already" in problems_of(person("a"), person("a", token="b"))[0]


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"null", b"[", b"\xff", b'{"name": "ann"}', b"[" * 100_000, b"[NaN]", b"[" + b" " * 300_000 + b"]"],
)
def test_what_is_no_list_is_refused(content: bytes) -> None:
    with pytest.raises(BadOperators):
        parse_operators(content)


def test_a_field_given_twice_is_refused() -> None:
    text = json.dumps([person()])[:-2] + ', "role": "admin"}]'
    with pytest.raises(BadOperators, match="role: given more than once"):
        parse_operators(text.encode())


def test_roles_cover_those_below_them() -> None:
    for low in range(4):
        for high in range(4):
            assert list(Role)[high].covers(list(Role)[low]) is (high >= low)


def test_a_token_is_its_owners_and_the_api_tokens_holder_is_api() -> None:
    people = Operators.of("api-token", parse(person(), person("bob", "viewer", "b-token")))
    for token, name in [("api-token", "api"), ("a-token", "ann"), ("b-token", "bob")]:
        operator = people.identify(token.encode())
        assert operator is not None
        assert operator.name == name
    assert people.identify(b"nobody") is None
    assert people.identify(b"") is None
    assert people.approvers == ("api", "ann")
    assert not people.open_to_all


def test_every_entry_is_compared_whichever_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    import hmac

    compared: list[bytes] = []

    def counting(left: bytes, right: bytes) -> bool:
        compared.append(left)
        return left == right

    monkeypatch.setattr(hmac, "compare_digest", counting)
    people = Operators.of("api-token", parse(*(person(f"p{n}", token=f"t{n}") for n in range(9))))
    for token in (b"api-token", b"t0", b"t8", b"none"):
        compared.clear()
        people.identify(token)
        assert len(compared) == 10


def test_a_file_without_anybody_lets_nobody_in_without_a_token() -> None:
    assert not Operators.of(None, by_file=True).open_to_all
    assert Operators.of(None).open_to_all


# --- while the service runs


class Watched:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.write(person("ann"), person("bob", token="b"))
        self.people = Operators.of(None, parse(person("ann"), person("bob", token="b")), by_file=True)
        self.said: list[str] = []
        self.problem = ""
        self.changes = 0

    def write(self, *entries: Any) -> None:
        self.path.write_text(json.dumps(list(entries)))

    def say(self, level: str, kind: str, message: str, *, source: str = "") -> None:
        self.said.append(f"{level} {kind}: {message}")

    def report(self, problem: str) -> None:
        self.problem = problem

    def note_change(self) -> None:
        self.changes += 1

    def names(self) -> list[str]:
        return [each.name for each in self.people.people]


@pytest.fixture
async def watched(tmp_path: Path, nursery: trio.Nursery, autojump_clock: MockClock) -> Watched:
    found = Watched(tmp_path / "operators.json")
    watch = PeopleWatch(
        found.path, found.people, open_inline_worker, found.say, found.report, found.note_change
    )
    nursery.start_soon(watch.run)
    await trio.sleep(1)
    return found


async def test_a_changed_list_is_in_force_within_two_seconds(watched: Watched, autojump_clock: MockClock) -> None:
    assert watched.said == [], "what the start knew already is no news"
    watched.write(person("ann", "viewer"), person("cy", token="c"))
    await trio.sleep(1.9)
    assert watched.names() == ["ann", "cy"]
    assert watched.people.identify(b"b") is None, "a removed token stops working"
    assert watched.people.approvers == ("cy",)
    assert watched.changes == 1
    assert watched.said == ["WARN operators: the list of operators changed; now ann (viewer), cy (approver)"]


async def test_a_changed_token_replaces_the_old_one(watched: Watched, autojump_clock: MockClock) -> None:
    watched.write(person("ann", token="new"), person("bob", token="b"))
    await trio.sleep(1.9)
    assert watched.people.identify(b"a-token") is None
    assert watched.people.identify(b"new") is not None


BREAKS: list[Callable[[Path], Any]] = [
    lambda path: path.write_text('[{"name": "ann"'),
    lambda path: path.write_text(json.dumps([person(role="chef")])),
    lambda path: path.unlink(),
    lambda path: path.write_text(""),
]


@pytest.mark.parametrize("break_it", BREAKS)
async def test_a_broken_file_keeps_the_old_list_and_says_so_once(
    watched: Watched, break_it: Callable[[Path], Any], autojump_clock: MockClock
) -> None:
    break_it(watched.path)
    await trio.sleep(10)
    assert watched.names() == ["ann", "bob"]
    assert str(watched.path) in watched.problem
    assert len(watched.said) == 1
    assert "stays as it was" in watched.said[0]
    watched.write(person("ann"))
    await trio.sleep(1.9)
    assert watched.names() == ["ann"]
    assert watched.problem == ""
