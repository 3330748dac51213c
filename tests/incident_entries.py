"""The entries of docs/incidents.md: source of a HOLD → the reasons that it can have, as patterns.

Whoever produces a reason in a test (a scenario's HOLD, a guard's finding) has it looked up here: a reason that no entry
knows fails that test.
"""

from __future__ import annotations

import html
import re
from functools import cache
from pathlib import Path

DOCUMENT = Path(__file__).parents[1] / "docs" / "incidents.md"


@cache
def read_entries() -> dict[str, tuple[str, ...]]:
    """`guard:recon` → its templates, with `<…>` for what varies."""
    entries: dict[str, tuple[str, ...]] = {}
    for section in re.split(r"^## ", DOCUMENT.read_text(), flags=re.M)[1:]:
        title, _, body = section.partition("\n")
        items = re.findall(r"^- (.*?`):", body, flags=re.M | re.S)
        templates = [" ".join(text.split()) for item in items for text in re.findall(r"`([^`]+)`", item)]
        source = html.unescape(title.strip())
        assert source not in entries, f"{source} has two sections: whoever mends one leaves the other as it was"
        entries[source] = tuple(templates)
    return entries


def entry_of(reason: str, source: str) -> str | None:
    """The template that knows this reason, or the first of several joined by "; "; None if one of them is unknown."""
    for known, templates in read_entries().items():
        prefix, variable, _ = known.partition("<")
        if source == known or (variable and source.startswith(prefix)):
            found = _first_of(reason, templates)
            if found is not None:
                return found
    return None


def _first_of(reason: str, templates: tuple[str, ...]) -> str | None:
    for template in templates:
        if re.fullmatch(_pattern(template), reason, flags=re.S):
            return template
    for template in templates:
        for joint in re.finditer("; ", reason):
            whole = re.fullmatch(_pattern(template), reason[: joint.start()], flags=re.S)
            if whole and _first_of(reason[joint.end() :], templates):
                return template
    return None


def _pattern(template: str) -> str:
    return "".join(".+" if part.startswith("<") else re.escape(part) for part in re.split(r"(<[^>]*>)", template))
