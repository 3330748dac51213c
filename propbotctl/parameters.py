"""`control set`: what was typed → the body of one change. Names and values are the service's to judge; for a name that
it refuses there is a hint here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import click

FIELDS = (
    "mode", "reason", "safe_mode", "dry_run_only", "order_notional_usdt", "min_spread_bps", "max_slippage_bps",
    "poll_interval_sec", "loop_pair", "loop_venues", "drain_timeout_sec",
)  # fmt: skip
_OLD = ("pair", "venues")
"""Names of an older release: the service ignores them, and says so."""
_WORDS: Mapping[str, bool] = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}
_FLAGS = ("safe_mode", "dry_run_only")
_TEXTS = ("mode", "reason", "loop_pair")


def read_assignments(texts: Sequence[str]) -> dict[str, Any]:
    """Name → value. UsageError for what is no assignment, or for a name that has two values."""
    body: dict[str, Any] = {}
    for text in texts:
        name, value = _assignment(text)
        if name in body:
            raise click.UsageError(f"{name} is given more than once")
        body[name] = value
    return body


def hints(names: Sequence[str]) -> list[str]:
    """What helps whoever typed these; nothing where the service knows them all."""
    unknown = [name for name in names if name not in FIELDS and name not in _OLD]
    meant = {name: get_close_matches(name.lower(), FIELDS, 1) for name in unknown}
    said = [f"{name}: do you mean {found[0]}?" for name, found in meant.items() if found]
    return [*said, f"there are: {', '.join(FIELDS)}"] if unknown else []


def _assignment(text: str) -> tuple[str, Any]:
    """`NAME=VALUE` as JSON would have it; what is no number, flag or list is text."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.UsageError(f"{text!r} is not NAME=VALUE, such as order_notional_usdt=100")
    if name in _TEXTS:
        return name, value
    if name in _FLAGS and value.lower() in _WORDS:
        return name, _WORDS[value.lower()]
    if name == "loop_venues" and not value.startswith("["):
        return name, value.split(",")
    try:
        return name, json.loads(value, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return name, value


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
