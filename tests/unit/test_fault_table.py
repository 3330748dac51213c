"""docs/faults.md against the catalogue's rows and against the tests that there are."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "docs" / "faults.md").read_text()
SECTIONS = {
    "Market data, order entry": range(1, 31), "Private stream, account": range(31, 66),
    "Operator, Telegram, API, secrets, dependencies": range(66, 82),
}
"""Section of the page → its rows of the catalogue. Together they are the whole of it."""
_LINE = re.compile(r"^\| (\d+) \| (.+) \| (.+) \| (.+) \|$", re.MULTILINE)
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


@cache
def functions_of(path: Path) -> frozenset[str]:
    nodes = ast.walk(ast.parse(path.read_text()))
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("title", SECTIONS)
def test_each_row_of_the_catalogue_has_one_line(title: str) -> None:
    _, _, section = TABLE.partition(f"## {title}")
    numbers = [int(number) for number, *_ in _LINE.findall(section.partition("\n## ")[0])]
    assert numbers == list(SECTIONS[title])


def test_no_row_stands_anywhere_else() -> None:
    numbers = [int(number) for number, *_ in _LINE.findall(TABLE)]
    assert numbers == list(range(1, 82))


@pytest.mark.parametrize("line", _LINE.findall(TABLE), ids=lambda line: f"row {line[0]}")
def test_a_row_says_what_holds_and_names_a_test(line: tuple[str, ...]) -> None:
    _, must, how, tests = line
    assert must.strip()
    assert how.strip()
    named = _TEST.findall(tests)
    assert named, "a row names a test, also one that does not apply: what covers its general part"


@pytest.mark.parametrize(("file", "function"), sorted(set(_TEST.findall(TABLE))))
def test_each_test_that_the_page_names_is_there(file: str, function: str) -> None:
    assert (ROOT / file).is_file(), file
    assert function in functions_of(ROOT / file), f"{file} has no {function}"
