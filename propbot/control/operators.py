"""Who may do what: the people of `OPERATORS_FILE`, and the holder of `API_TOKEN`, who is the operator `api`.

    viewer    looks
    operator  and changes: HOLD, parameters, proposals
    approver  and approves or rejects what another person proposed
    admin     everything

A person is a name: whoever comes by API and by Telegram under one name is one. Tokens are kept as SHA-256 digests only.
`people_watch` reads the file again while the service runs.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

FILE_BYTES_MAX = 256 * 1024
PEOPLE_MAX = 200
RESERVED_NAMES = {
    "api": "the holder of API_TOKEN", "local": "whoever asks while no token is set",
    "telegram": "whoever writes in TELEGRAM_CHAT_ID while nobody is listed with a telegram_id",
}
_FIELDS = ("name", "role", "token_sha256", "telegram_id")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")
_EMPTY = hashlib.sha256(b"").hexdigest()


class Role(StrEnum):
    """Each may do what those before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    APPROVER = "approver"
    ADMIN = "admin"

    def covers(self, needed: Role) -> bool:
        order = list(Role)
        return order.index(self) >= order.index(needed)


@frozen
class Operator:
    name: str
    role: Role
    token_digest: bytes = field(repr=False)
    telegram_id: int | None = None

    @property
    def can_approve(self) -> bool:
        return self.role.covers(Role.APPROVER)


class BadOperators(Exception):
    """The file can't be used; `problems` has every entry's, one line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


def digest_token(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


@define(eq=False)
class Operators:
    """Everybody who is let in now. `replace` takes effect with the next request."""

    token: Operator | None
    """The holder of API_TOKEN."""
    listed: tuple[Operator, ...] = ()
    by_file: bool = False
    """People are listed in a file: then nobody is let in without a token, also where API_TOKEN is not set."""

    @classmethod
    def of(cls, token: str | None, listed: Sequence[Operator] = (), *, by_file: bool = False) -> Operators:
        if token is not None and not token.strip():
            raise ValueError("an empty token would let everybody in")
        holder = None if token is None else Operator("api", Role.ADMIN, digest_token(token.encode()))
        return cls(holder, tuple(listed), by_file or bool(listed))

    @property
    def open_to_all(self) -> bool:
        """No token exists at all. The settings allow that in paper on a loopback address only."""
        return self.token is None and not self.by_file

    @property
    def people(self) -> tuple[Operator, ...]:
        return self.listed if self.token is None else (self.token, *self.listed)

    def identify(self, token: bytes) -> Operator | None:
        """Whose token it is. Every entry is compared, in constant time: neither a match nor its place can be timed."""
        digest, found = digest_token(token), None
        for each in self.people:
            if hmac.compare_digest(each.token_digest, digest):
                found = each
        return found

    def named(self, name: str) -> Operator | None:
        return next((each for each in self.people if each.name == name), None)

    def by_telegram(self, telegram_id: int) -> Operator | None:
        return next((each for each in self.people if each.telegram_id == telegram_id), None)

    @property
    def by_telegram_id(self) -> bool:
        """Whether anybody is linked to a Telegram user: then nobody else is let in there."""
        return any(each.telegram_id is not None for each in self.people)

    @property
    def approvers(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.people if each.can_approve)

    def replace(self, listed: Sequence[Operator]) -> None:
        self.listed = tuple(listed)


def read_operators(path: Path, api_digest: bytes | None) -> tuple[bytes, tuple[Operator, ...]]:
    """The file's content and its people; blocks. BadOperators for anything but a whole and sound list. `api_digest` is
    API_TOKEN's, which nobody else may have."""
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise BadOperators([f"can't be read: {error.strerror or error}"]) from None
    return content, parse_operators(content, api_digest)


def open_to_others(path: Path) -> bool:
    """Whether others than the owner may read or write it."""
    return bool(path.stat().st_mode & 0o066)


def parse_operators(content: bytes, api_digest: bytes | None = None) -> tuple[Operator, ...]:
    if len(content) > FILE_BYTES_MAX:
        raise BadOperators([f"larger than {FILE_BYTES_MAX // 1024} KiB"])
    try:
        entries = json.loads(content.decode("utf-8"), object_pairs_hook=_Entry, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise BadOperators([f"not JSON: {error}"]) from None
    if not isinstance(entries, list):
        raise BadOperators(['must be a JSON list: [{"name", "role", "token_sha256", "telegram_id"}]'])
    if len(entries) > PEOPLE_MAX:
        raise BadOperators([f"more than {PEOPLE_MAX} entries"])
    problems: list[str] = []
    people = [_read_entry(number, entry, problems) for number, entry in enumerate(entries, start=1)]
    found = [each for each in people if each is not None]
    _refuse_twins(found, api_digest, problems)
    if problems:
        raise BadOperators(problems)
    return tuple(found)


class _Entry(dict[str, Any]):
    """One JSON object; `twice` are the names that it has more than once."""

    def __init__(self, pairs: Sequence[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        names = [name for name, _ in pairs]
        self.twice = sorted({name for name in names if names.count(name) > 1})


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _read_entry(number: int, entry: Any, problems: list[str]) -> Operator | None:
    """None if it has a problem; what a field holds is never said, it may be a token in the wrong place."""
    where = f"entry {number}"
    if not isinstance(entry, _Entry):
        problems.append(f"{where}: must be an object with {', '.join(_FIELDS)}")
        return None
    name = entry.get("name")
    if isinstance(name, str) and _NAME.fullmatch(name):
        where = f"{where} ({name})"
    before = len(problems)
    problems += [f"{where}: {each}: given more than once" for each in entry.twice if each in _FIELDS]
    problems += [f"{where}: unknown field {each[:40]!r}" for each in entry if each not in _FIELDS]
    for field_name, (sound, accepts) in _CHECKS.items():
        if not sound(entry.get(field_name)):
            problems.append(f"{where}: {field_name}: accepted: {accepts}")
    if len(problems) > before:
        return None
    return Operator(entry["name"], Role(entry["role"]), bytes.fromhex(entry["token_sha256"]), entry.get("telegram_id"))


def _is_name(given: Any) -> bool:
    return isinstance(given, str) and _NAME.fullmatch(given) is not None and given.lower() not in RESERVED_NAMES


def _is_digest(given: Any) -> bool:
    return isinstance(given, str) and _DIGEST.fullmatch(given) is not None and given.lower() != _EMPTY


def _is_telegram_id(given: Any) -> bool:
    return given is None or (type(given) is int and 0 < given < 2**63)


_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (
        _is_name,
        "1 to 32 letters, digits, _, . or -, the first a letter or digit; not api (who holds API_TOKEN), local or "
        "telegram",
    ),
    "role": (lambda given: isinstance(given, str) and given in set(Role), ", ".join(Role)),
    "token_sha256": (_is_digest, "64 hex digits: printf %s \"$TOKEN\" | sha256sum"),
    "telegram_id": (_is_telegram_id, "a whole number above 0, or null"),
}


def _refuse_twins(people: Sequence[Operator], api_digest: bytes | None, problems: list[str]) -> None:
    """Two entries that are one human, or could pass for one another."""
    names: dict[str, str] = {}
    digests: dict[bytes, str] = {} if api_digest is None else {api_digest: "api"}
    telegrams: dict[int, str] = {}
    for each in people:
        _claim(names, each.name.lower(), each.name, "name", "one human has one entry and one token", problems)
        _claim(digests, each.token_digest, each.name, "token_sha256", "each person has a token of their own", problems)
        if each.telegram_id is not None:
            _claim(telegrams, each.telegram_id, each.name, "telegram_id", "it links to one person", problems)


def _claim(taken: dict[Any, str], key: object, name: str, field_name: str, why: str, problems: list[str]) -> None:
    if key in taken:
        problems.append(f"{name}: {field_name}: it is that of {taken[key]} already; {why}")
    else:
        taken[key] = name
