"""JSON from operators, read so that it can mean only one thing.

`json.loads` takes NaN, Infinity, `1e999`, duplicate keys (the last wins), lone surrogates and nesting until the stack
ends. Here each of these is a named problem. Numbers with a point or exponent come as Decimal, exactly as written.
What can be read is handed over even if there are problems, so that a HOLD in a faulty body still is a HOLD.

This runs in the loop that trades: some passes of C code over the text, and Python's own work bounded by VALUES_MAX,
ITEMS_MAX and KEYS_MAX, however large the body may be.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from itertools import accumulate
from typing import Any

from attrs import Factory, evolve, frozen

from propbot.api.replies import ApiError

DEPTH_MAX = 20
DEPTH_READABLE_MAX = 200
"""What the parser can still walk; beyond DEPTH_MAX it is a problem, beyond this it is not looked at."""
DIGITS_MAX = 40
KEYS_MAX = 64
ITEMS_MAX = 64
VALUES_MAX = 4096
"""Values and brackets of the whole body: the parser calls back to Python for many of them. Of 64 KiB there could be
sixteen times as many; no operator's request has a hundred. Beyond it only the top level is looked at."""
_TOO_MANY_ITEMS = f"has more than {ITEMS_MAX} items"
_TOO_MANY = f"has more than {KEYS_MAX} keys"
_TOO_MANY_VALUES = f"has more than {VALUES_MAX} values"
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NO_BRACKET = re.compile(r"[^][{}]+")
_STEP = {"[": 1, "{": 1, "]": -1, "}": -1}


@frozen
class Body:
    """The top-level object. `pairs` has every key as often as it came; `problems` names what is not legal.

    `refused` is why nothing else is worth looking at: of the values only text is then fit for use.
    """

    pairs: tuple[tuple[str, Any], ...]
    problems: dict[str, str] = Factory(dict)
    refused: str | None = None

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
    outside = _STRING.sub("", text)
    depth = _depth(outside)
    too_deep = f"nested deeper than {DEPTH_MAX} levels"
    if depth > DEPTH_READABLE_MAX:
        raise ApiError(422, f"the body is {too_deep}")
    if sum(map(outside.count, ",[{")) > VALUES_MAX:
        return _read_top(text)
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


def _read_top(text: str) -> Body:
    """Of a body that is too large to be looked at, what its top level says; C code alone. It may be a HOLD."""
    try:
        value = json.loads(text, object_pairs_hook=tuple, parse_int=str, parse_float=str, parse_constant=str)
    except json.JSONDecodeError as error:
        raise ApiError(400, f"the body is not JSON: {error}") from None
    if not isinstance(value, tuple):
        raise ApiError(422, "the body must be a JSON object")
    return Body(tuple((name, _flat(given)) for name, given in value), refused=_TOO_MANY_VALUES)


def _number(text: str) -> Decimal | _Illegal:
    if len(text) > DIGITS_MAX:
        return _Illegal("too many digits")
    try:
        number = Decimal(text)
    except ArithmeticError:  # an exponent that Decimal itself has no room for
        return _Illegal("out of any range")
    if number and abs(number.adjusted()) > DIGITS_MAX:
        return _Illegal("out of any range")
    return number if number else Decimal(0)


def _depth(outside: str) -> int:
    """The deepest nesting in what is outside of strings, without recursion."""
    brackets = _NO_BRACKET.sub("", outside)
    return max(accumulate(map(_STEP.__getitem__, brackets), initial=0))


def _checked(value: _Object) -> Body:
    problems: dict[str, str] = {}
    pairs = [(printable(name), given) for name, given in value.pairs]
    if len(pairs) > KEYS_MAX:  # not walked; but any of them may be a HOLD
        return Body(tuple((name, _flat(given)) for name, given in pairs), refused=_TOO_MANY)
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            problems[name] = "given more than once"
        seen.add(name)
    return Body(tuple((name, _plain(name, given, problems)) for name, given in pairs), problems)


def _flat(value: Any) -> Any:
    return printable(value) if isinstance(value, str) else value


def _plain(where: str, value: Any, problems: dict[str, str]) -> Any:
    """`value` in dicts and lists, what is illegal in it noted under `where` and replaced by None."""
    match value:
        case _Illegal(why=why):
            problems[where] = why
            return None
        case _Object(pairs=pairs):
            if len(pairs) > KEYS_MAX:
                problems[where] = _TOO_MANY
                return None
            if len({name for name, _ in pairs}) < len(pairs):
                problems[where] = "has a key more than once"
            return {printable(name): _plain(where, inner, problems) for name, inner in pairs}
        case list():
            if len(value) > ITEMS_MAX:
                problems[where] = _TOO_MANY_ITEMS
                return None
            return [_plain(where, inner, problems) for inner in value]
        case str():
            shown = printable(value)
            if shown != value:
                problems[where] = "has characters that are no text"
            return shown
        case _:
            return value


def printable(text: str) -> str:
    """Lone surrogates can't be written anywhere again, and control characters forge lines of logs and terminals."""
    if text.isprintable():
        return text
    return text.translate({ord(char): "\N{REPLACEMENT CHARACTER}" for char in set(text) if not char.isprintable()})
