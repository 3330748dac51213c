"""The runbooks, parsed: every command that stands in them, in order. What is tested is what is written.

A step is a fenced block, or an inline code span that somebody would type or send: a program's name first, `/pause` and
its like in Telegram, `GET /path`, `PATCH /path` with the body that follows it, or an address to open.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = {"ru": ROOT / "docs" / "runbook.ru.md", "en": ROOT / "docs" / "runbook.md"}
PROGRAMS = ("curl", "propbotctl", "docker", "sudo", "cp", "rm", "cat", "umask", "printf", "export", "chmod")
_HEADING = re.compile(r"^## (\d+)\. (.+)$", re.MULTILINE)
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_BODY_AFTER = re.compile(r"\s*→\s*`(\{[^`]+\})`")
_COMMAND = re.compile(rf"({'|'.join(PROGRAMS)})\s|/[a-z]+$|(GET|PATCH|POST) /|https://<host>/")
_ELIDED = "curl -X PATCH ... "


@dataclass(frozen=True)
class Step:
    """`text` as it is written but for an elision that is filled in; `line` is where it stands."""

    document: str
    section: int
    line: int
    text: str
    block: bool

    @property
    def name(self) -> str:
        return f"{self.document}-{self.section}-line{self.line}-{' '.join(self.text.split())[:48]}"


def read_steps(document: str) -> list[Step]:
    text = DOCUMENTS[document].read_text(encoding="utf-8")
    headings = list(_HEADING.finditer(text))
    steps: list[Step] = []
    for heading, following in zip(headings, [*headings[1:], None], strict=True):
        end = len(text) if following is None else following.start()
        steps += _steps_of(document, int(heading[1]), text, heading.end(), end)
    return steps


def read_sections(document: str) -> list[int]:
    return [int(found[1]) for found in _HEADING.finditer(DOCUMENTS[document].read_text(encoding="utf-8"))]


def _steps_of(document: str, section: int, text: str, start: int, end: int) -> Iterator[Step]:
    fences = list(_FENCE.finditer(text, start, end))
    found: list[tuple[int, str, bool]] = [(each.start(), _dedented(each[3], len(each[1])), True) for each in fences]
    for span in _SPAN.finditer(text, start, end):
        if any(each.start() <= span.start() < each.end() for each in fences):
            continue
        if not _COMMAND.match(span[1]):
            continue
        body = _BODY_AFTER.match(text, span.end())
        found.append((span.start(), f"{span[1]} {body[1]}" if body else span[1], False))
    full = ""
    for at, command, block in sorted(found):
        if command.startswith(_ELIDED):
            head, _, _ = full.partition("-d ")
            command = head + command.removeprefix(_ELIDED)
        elif "curl -X PATCH" in command:
            full = command
        yield Step(document, section, text.count("\n", 0, at) + 1, command, block)


def _dedented(block: str, columns: int) -> str:
    """A list indents its blocks by what its marker takes; a line that is indented by less keeps its text."""
    return "".join(line[min(columns, len(line) - len(line.lstrip(" "))) :] for line in block.splitlines(keepends=True))
