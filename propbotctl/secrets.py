"""`rotate-key`: which secrets, and where their values come from. A value is never printed, and best never typed as an
argument: those are seen by every user of the machine and kept by the shell."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import click

from propbotctl.failures import Misused
from propbotctl.options import Target

AS_JSON = "{"


def default_name(target: Target) -> str:
    """The secret of the first loop venue in the active profile. Paper asks no real venue: its `_TESTNET` name."""
    state = target.get("/api/ui/state")
    if not state["loop"]["venues"]:
        raise Misused("the loop has no venue whose secret it could be", "name it: --name N")
    venue = str(state["loop"]["venues"][0]).upper().replace("-", "_")
    return f"{venue}_API_SECRET" + ("" if state["flags"]["PROFILE"] == "live" else "_TESTNET")


def gather(target: Target, names: Sequence[str], values: Sequence[str]) -> dict[str, str]:
    """Name → value. Values that are missing are read from standard input: a line each, in the order of the names; or,
    without any name, one JSON object as POST /api/ui/secret takes it. Misused for what does not fit together."""
    if len(values) > max(len(names), 1):
        raise Misused(f"{len(values)} values for {len(names)} names", "each --value belongs to one --name")
    asked = _asks_a_person()
    lines: list[str] = []
    if len(values) < max(len(names), 1) and not asked:
        text = sys.stdin.read()
        if not names and text.lstrip().startswith(AS_JSON):
            return _from_json(text)
        lines = text.splitlines()
    chosen = list(names) or [default_name(target)]
    missing = chosen[len(values):]
    if asked:
        lines = [click.prompt(name, hide_input=True, err=True) for name in missing]
    given = [*values, *(line.strip() for line in lines)]
    if len(given) != len(chosen) or not all(given):
        raise Misused(
            f"a value is needed for each of {', '.join(chosen)}", "on standard input, a line each; or --value V"
        )
    return dict(zip(chosen, given, strict=True))


def _asks_a_person() -> bool:
    return sys.stdin.isatty()


def _from_json(text: str) -> dict[str, str]:
    try:
        found = json.loads(text)
    except ValueError:
        raise Misused("standard input is no JSON", 'such as {"NAME": "value"}') from None
    if not found or not all(isinstance(value, str) for value in found.values()):
        raise Misused("standard input is not names with texts", 'such as {"NAME": "value"}')
    return dict(found)
