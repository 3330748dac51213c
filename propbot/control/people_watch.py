"""OPERATORS_FILE, read again while the service runs: a changed list is in force within two seconds.

A file that can't be used (torn, wrong, gone) changes nothing: the list in force stays, and component and journal tell.
The file is read in a worker of its own, so that a disk that hangs keeps nobody but this from going on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import trio
from attrs import define

from propbot.control.operators import BadOperators, Operator, Operators, read_operators
from propbot.kit.threads import OpenWorker, Worker, run_each

EVERY_S = 0.5
READ_S_MAX = 1.0


class Say(Protocol):
    def __call__(self, level: str, kind: str, message: str, *, source: str = "") -> None: ...


@define(eq=False)
class PeopleWatch:
    path: Path
    people: Operators
    open_worker: OpenWorker
    say: Say
    report: Callable[[str], None]
    """What is wrong with the file, or the empty text."""
    on_change: Callable[[], None]
    _content: bytes | None = None
    _problem: str = ""

    async def run(self) -> None:
        async with self.open_worker("operators", run_each) as worker:
            while True:
                await self._look(worker)
                self.report(self._problem)
                await trio.sleep(EVERY_S)

    async def _look(self, worker: Worker) -> None:
        if worker.backlog:  # the look before still waits for the disk
            return
        token = self.people.token
        digest = None if token is None else token.token_digest
        problem = f"{self.path} was not read within {READ_S_MAX:g} s"
        with trio.move_on_after(READ_S_MAX):
            try:
                content, listed = await worker.call(lambda: read_operators(self.path, digest))
                problem = ""
            except BadOperators as error:
                problem = f"{self.path}: {error}"
        if problem:
            self._tell(problem)
        elif content != self._content:
            self._take(content, listed)
        self._problem = problem

    def _tell(self, problem: str) -> None:
        if problem != self._problem:
            self.say("WARN", "operators", f"the list of operators stays as it was: {problem}")

    def _take(self, content: bytes, listed: Sequence[Operator]) -> None:
        before, self._content = self.people.listed, content
        self.people.replace(listed)
        if self.people.listed != before:
            names = ", ".join(f"{each.name} ({each.role})" for each in listed) or "nobody"
            self.say("WARN", "operators", f"the list of operators changed; now {names}")
            self.on_change()
