"""JSON from operators, read so that it can mean only one thing.

`json.loads` takes NaN, Infinity, `1e999`, duplicate keys (the last wins), lone surrogates and nesting until the stack
ends. Here each of these is a named problem. Numbers with a point or exponent come as Decimal, exactly as written.
What can be read is handed over even if there are problems, so that a HOLD in a faulty body still is a HOLD.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from attrs import Factory, evolve, frozen

from propbot.api.replies import ApiError

DEPTH_MAX = 20
DEPTH_READABLE_MAX = 200
"""What the parser can still walk; beyond DEPTH_MAX it is a problem, beyond this it is not looked at."""
DIGITS_MAX = 40


@frozen
class Body:
    """The top-level object. `pairs` has every key as often as it came; `problems` names what is not legal."""

    pairs: tuple[tuple[str, Any], ...]
    problems: dict[str, str] = Factory(dict)

    @property
    def fields(self) -> dict[str, Any]:
        return dict(self.pairs)

    def says(self, name: str, value: object) -> bool:
        """Whether any of the pairs of that name has that very value (and type)."""
        return any(key == name and type(given) is type(value) and given == value for key, given in self.pairs)


@frozen
class _Object:
    """Keeps duplicate keys, and tells an object from an array of pairs."""

    pairs: tuple[tuple[str, Any], ...]


@frozen
class _Illegal:
    """A number that JSON, or we, do not allow."""

    why: str


def read_body(raw: bytes) -> Body:
    """ApiError 400 for what is not JSON, 422 for what is no object or is nested too deep."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ApiError(400, "the body is not UTF-8") from None
    depth = _depth(text)
    too_deep = f"nested deeper than {DEPTH_MAX} levels"
    if depth > DEPTH_READABLE_MAX:
        raise ApiError(422, f"the body is {too_deep}")
    try:
        value = json.loads(
            text,
            object_pairs_hook=lambda pairs: _Object(tuple(pairs)),
            parse_constant=lambda name: _Illegal(f"{name} is not a number"),
            parse_float=_number,
            parse_int=lambda digits: _Illegal("too many digits") if len(digits) > DIGITS_MAX else int(digits),
        )
    except json.JSONDecodeError as error:
        raise ApiError(400, f"the body is not JSON: {error}") from None
    if not isinstance(value, _Object):
        raise ApiError(422, "the body must be a JSON object")
    body = _checked(value)
    return evolve(body, problems={**body.problems, "body": too_deep}) if depth > DEPTH_MAX else body


def _number(text: str) -> Decimal | _Illegal:
    if len(text) > DIGITS_MAX:
        return _Illegal("too many digits")
    number = Decimal(text)
    if number and abs(number.adjusted()) > DIGITS_MAX:
        return _Illegal("out of any range")
    return number if number else Decimal(0)


def _depth(text: str) -> int:
    """The deepest nesting, without recursion; brackets in strings do not count."""
    depth = deepest = 0
    in_string = escaped = False
    for char in text:
        if escaped:
            escaped = False
        elif in_string:
            escaped = char == "\\"
            in_string = char != '"'
        elif char == '"':
            in_string = True
        elif char in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in "]}":
            depth -= 1
    return deepest


def _checked(value: _Object) -> Body:
    problems: dict[str, str] = {}
    pairs: list[tuple[str, Any]] = []
    for name, given in value.pairs:
        shown = _printable(name)
        if any(name == earlier for earlier, _ in pairs):
            problems[shown] = "given more than once"
        pairs.append((shown, _plain(shown, given, problems)))
    return Body(tuple(pairs), problems)


def _plain(where: str, value: Any, problems: dict[str, str]) -> Any:
    """`value` in dicts and lists, what is illegal in it noted under `where` and replaced by None."""
    match value:
        case _Illegal(why=why):
            problems[where] = why
            return None
        case _Object(pairs=pairs):
            if len({name for name, _ in pairs}) < len(pairs):
                problems[where] = "has a key more than once"
            return {_printable(name): _plain(where, inner, problems) for name, inner in pairs}
        case list():
            return [_plain(where, inner, problems) for inner in value]
        case str():
            if _printable(value) != value:
                problems[where] = "has characters that are no text"
            return _printable(value)
        case _:
            return value


def _printable(text: str) -> str:
    """Lone surrogates can't be written anywhere again, and control characters forge lines of logs and terminals."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
