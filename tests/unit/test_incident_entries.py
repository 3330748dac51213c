"""docs/incidents.md has an entry for every source of a HOLD that the code has, and for none that it has not."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

from tests.incident_entries import read_entries

PROPBOT = Path(__file__).parents[2] / "propbot"
PREFIXES = ("guard:", "crash:", "operator:")


def sources_in_code() -> set[str]:
    """`guard:<id>` of every guard and of every literal; what is made with an f-string counts by its prefix."""
    found = {"startup", "shutdown"}
    for path in PROPBOT.rglob("*.py"):
        if "simulate" in path.parts or "simvenue" in path.parts:
            continue
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value
                if text.startswith("guard:") and text.removeprefix("guard:").isidentifier():
                    found.add(text)
                if text in PREFIXES:
                    found.add(text)
        if path.parent.name == "guards":
            found |= {f"guard:{id}" for id in _ids(tree)}
    return found


def _ids(tree: ast.Module) -> set[str]:
    """Of classes with `id: str = field(default="…", init=False)`."""
    return {
        keyword.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "id"
        if isinstance(node.value, ast.Call)
        for keyword in node.value.keywords
        if keyword.arg == "default" and isinstance(keyword.value, ast.Constant)
    }


def test_every_source_of_a_hold_has_its_entry_and_no_entry_is_left_over() -> None:
    entries = read_entries()
    documented = {source.partition("<")[0] for source in entries}
    assert sources_in_code() == documented
    assert all(entries.values()), "a source without a reason"


def test_no_reason_of_a_source_stands_there_twice() -> None:
    """Nor does a source: `read_entries` refuses that."""
    doubles = {
        source: [text for text, count in Counter(templates).items() if count > 1]
        for source, templates in read_entries().items()
    }
    assert not {source: texts for source, texts in doubles.items() if texts}


def test_there_are_as_many_guards_as_one_knows_of() -> None:
    """The collector sees what it should: it can't pass by finding nothing."""
    assert {"guard:recon", "guard:hedge", "guard:market", "guard:state", "crash:", "operator:"} <= sources_in_code()
