"""One life of the bot: what a process that is killed leaves undone, though it shares its Python with the world.

Once a life is over, nothing that it still does has an effect outside of it: no file gets its name, no statement reaches
the ledger, no byte leaves. What was done before stays, as it does for a process: a SIGKILL takes nothing out of the
operating system's hands, so nobody waits for a disk here. A power cut is not what this can show.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio
from attrs import define, field

from propbot.kit.crash import CrashPoints, parse_crash_at
from propbot.kit.disk import ANYBODY, STATE_POINT, ReplaceFile, replace_file_for_now
from propbot.kit.memory import MemoryStream
from propbot.kit.net import Address, Handler, MemoryNetwork
from propbot.kit.trace import Trace

_SYNCHRONOUS = "PRAGMA synchronous"


class Killed(BaseException):
    """The simulated SIGKILL: no `except Exception` of the service may see it."""


@define(eq=False)
class Life:
    """One life of the bot. After `dead` is set, nothing that it does has an effect outside of it."""

    dead: bool = False
    streams: list[MemoryStream] = field(factory=list)

    def end(self) -> None:
        """What an operating system does for a killed process: its connections are closed."""
        self.dead = True
        for stream in self.streams:
            stream.cut()


class MortalCrashPoints(CrashPoints):
    """A dead process passes no point any more; in particular it gives no file its name."""

    def __init__(self, at: str | None, action: Callable[[], None], life: Life) -> None:
        super().__init__(at, action)
        self._life = life

    def arm(self, at: str) -> None:
        """From now on count the passages of this point."""
        self._name, self._left = parse_crash_at(at)

    def disarm(self) -> None:
        self._name = None

    def passage(self, name: str) -> None:
        if self._life.dead:
            raise Killed
        super().passage(name)


class MortalNetwork:
    """The world's network as one life of the bot sees it."""

    def __init__(self, inner: MemoryNetwork, life: Life) -> None:
        self._inner, self._life = inner, life

    async def connect(self, address: Address) -> trio.abc.Stream:
        if self._life.dead:
            raise ConnectionRefusedError("dead")
        stream = await self._inner.connect(address)
        assert isinstance(stream, MemoryStream)
        self._life.streams.append(stream)
        return stream

    async def serve(self, handler: Handler, host: str, port: int, **options: Any) -> None:
        await self._inner.serve(handler, host, port, **options)


class MortalConnection:
    """A SQLite connection whose owner can die, or whose disk can fail: `before` runs before each statement."""

    def __init__(self, inner: sqlite3.Connection, before: Callable[[str], None]) -> None:
        object.__setattr__(self, "_inner", inner)
        object.__setattr__(self, "_before", before)

    _inner: sqlite3.Connection
    _before: Callable[[str], None]

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        self._before(sql)
        if sql.startswith(_SYNCHRONOUS):  # a killed process loses nothing that was handed over
            sql = f"{_SYNCHRONOUS} = OFF"
        return self._inner.execute(sql, *arguments)

    def executemany(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        self._before(sql)
        return self._inner.executemany(sql, *arguments)

    def commit(self) -> None:
        self._before("COMMIT")
        self._inner.commit()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._inner, name, value)


def trace_of(life: Life, inner: Trace) -> Trace:
    """What a life tells; its tasks go on for a moment after its end, and what they see then nobody has seen."""

    def trace(kind: str, **fields: Any) -> None:
        if not life.dead:
            inner(kind, **fields)

    return trace


def replace_file_of(life: Life, before: Callable[[], None]) -> ReplaceFile:
    """How this life writes its small files; `before` raises OSError to make it fail."""

    def replace(
        path: Path, content: bytes, crash: CrashPoints, *, point: str = STATE_POINT, mode: int = ANYBODY
    ) -> None:
        if life.dead:
            raise Killed
        before()
        replace_file_for_now(path, content, crash, point=point, mode=mode)

    return replace
