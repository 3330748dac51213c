"""I16 for whatever a scenario did: no secret that its bots were given is in anything that they wrote, said or kept.

    with searched() as search:
        ...                       # worlds come and go
    assert search.found() == []

Secrets are those of the settings, those that the venues gave, and whatever was sent to be stored. Looked for as they
are, in hex, percent-encoded, in base64, and by pieces of eight characters.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import pytest
import structlog
from attrs import define, field

from propbot.simulate.oracle.secrets import spellings
from propbot.simulate.truth import canaries
from propbot.simulate.world import World

LINES_KEPT_MAX = 200_000


class _Kept(logging.Handler):
    """What libraries say, in the list of all lines."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record))


@define(eq=False)
class Search:
    worlds: list[World] = field(factory=list)
    secrets: dict[str, str] = field(factory=dict)
    lines: list[str] = field(factory=list)
    heard: dict[str, str] = field(factory=dict)
    """What else a test got to see: where → text."""

    def note_world(self, world: World) -> None:
        self.secrets |= canaries(world)
        if not any(known is world for known in self.worlds):
            self.worlds.append(world)

    def found(self) -> list[str]:
        """`<which> (<spelling>) stands in <where>`, each once."""
        for world in self.worlds:
            self.secrets |= canaries(world)
        folders = [world.tmp_path / "bot" for world in self.worlds]
        files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        written = {str(path): path.read_bytes() for path in files}
        written["the log"] = "\n".join(self.lines).encode()
        ours = [str(row) for world in self.worlds for row in world.rows if row["who"] == "bot"]
        written["the trace"] = "\n".join(ours).encode()
        written |= {where: text.encode() for where, text in self.heard.items()}
        return [
            f"{name} ({spelling}) stands in {where}"
            for name, secret in self.secrets.items() if len(secret) >= 16
            for spelling, needle in spellings(secret).items() if needle
            for where, content in written.items() if needle in content
        ]


@contextmanager
def searched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Search]:
    """Every world inside is noted when a bot of it starts. Logs are kept as they are made, before they are cleaned:
    what the output takes out must not be needed for what we say ourselves."""
    search = Search()
    start_bot = World.start_bot

    async def noted(self: World, crash_at: str | None = None, **more: str) -> Any:
        try:
            return await start_bot(self, crash_at, **more)
        finally:
            if self.settings is not None:
                search.note_world(self)

    def keep(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
        if len(search.lines) < LINES_KEPT_MAX:
            search.lines.append(json.dumps({**event, "level": method}, default=str))
        return search.lines[-1]

    before = structlog.get_config()
    handler = _Kept(search.lines)
    structlog.configure(processors=[keep], cache_logger_on_first_use=False)
    logging.getLogger().addHandler(handler)
    monkeypatch.setattr(World, "start_bot", noted)
    try:
        yield search
    finally:
        logging.getLogger().removeHandler(handler)
        structlog.configure(**before)
