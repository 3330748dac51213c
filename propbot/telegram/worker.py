"""The chat's hands: commands one after the other, each noted in the ledger before it is done: once at most, whatever
dies. What can't be noted is not done; only a /pause is, which was a HOLD before it came here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import trio
from attrs import define, field, frozen

from propbot.domain.errors import LedgerError
from propbot.domain.mode import Mode
from propbot.status.desk import ControlOutcome, ControlPatch, Desk
from propbot.telegram import answers
from propbot.telegram.access import LOOSENING, Caller
from propbot.telegram.updates import Command

OFFSET = "telegram_offset"
"""What the ledger remembers: the number of the first update that no command was done of yet."""
QUEUE_MAX = 20
NOTE_S_MAX = 2.0
APPLY_S_MAX = 2.0
PREFLIGHT_S_MAX = 5.0
DECIDE_S_MAX = 9.0
"""Of the desk, as over the API. Not shielded: only the service's stop cancels, and by then it is in HOLD."""


class OffsetLedger(Protocol):
    async def meta_get(self, key: str) -> str | None: ...
    async def meta_put(self, key: str, value: str) -> None: ...


class Say(Protocol):
    def __call__(self, level: str, kind: str, message: str, *, source: str = "") -> None: ...


@frozen
class Asked:
    """A command that somebody may give, and the update that it came in."""

    command: Command
    caller: Caller
    update_id: int


@define(eq=False)
class Worker:
    _desk: Desk
    _ledger: OffsetLedger
    _say: Say
    """To the journal."""
    _answer: Callable[[str], None]
    """To the chat."""
    _needs_person: Callable[[ControlPatch], bool]
    """Whether that change has to be proposed (the Two-Man Rule), which a chat that is no person can't do."""
    _asked: deque[Asked] = field(factory=deque)
    _grew: trio.Event = field(factory=trio.Event)

    # --- what is asked for: synchronous

    def put(self, asked: Asked) -> bool:
        """False if too many wait already; a /pause always has room, since it is in force."""
        if len(self._asked) >= QUEUE_MAX and asked.command.name != "pause":
            return False
        self._asked.append(asked)
        self._grew.set()
        return True

    def undo_loosening(self) -> Sequence[Asked]:
        """What was asked for before a /pause must not undo it after it: it is taken out, and returned."""
        undone = [each for each in self._asked if each.command.name in LOOSENING]
        for each in undone:
            self._asked.remove(each)
        return undone

    async def kept_offset(self) -> int | None:
        """Where an earlier life ended. None where the ledger does not say: what is older than this life is dropped all
        the same."""
        with trio.move_on_after(NOTE_S_MAX):
            try:
                kept = await self._ledger.meta_get(OFFSET)
            except LedgerError:
                return None
            if kept is not None and kept.isascii() and kept.isdigit():
                return int(kept)
        return None

    # --- doing

    async def run(self) -> None:
        """Until cancelled; one command after the other."""
        while True:
            while self._asked:
                asked = self._asked.popleft()
                self._answer(await self._do(asked))
            self._grew = trio.Event()
            await self._grew.wait()

    async def _do(self, asked: Asked) -> str:
        name = asked.command.name
        act = self._acts().get(name)
        if act is None:
            return self._look(name)
        noted = await self._note(asked.update_id)
        self._say("INFO", "telegram", f"/{name} from Telegram", source=f"operator:{asked.caller.name}")
        if not noted and name != "pause":
            return f"/{name} was not done: the ledger does not answer, so that it might be done twice; /status"
        try:
            return await act(asked)
        except LedgerError as error:
            return self._not_durable(name, str(error))
        except trio.TooSlowError:
            return self._not_durable(name, "no answer in time")

    async def _note(self, update_id: int) -> bool:
        """Before it is done, so that no later life does it again."""
        with trio.move_on_after(NOTE_S_MAX):
            try:
                await self._ledger.meta_put(OFFSET, str(update_id + 1))
            except LedgerError:
                return False
            return True
        return False

    def _acts(self) -> Mapping[str, Callable[[Asked], Awaitable[str]]]:
        return {
            "pause": self._pause, "drain": self._drain, "resume": self._resume,
            "approve": self._approve, "reject": self._reject,
        }

    def _look(self, name: str) -> str:
        match name:
            case "status":
                return answers.say_status(self._desk)
            case "positions":
                return answers.say_positions(self._desk)
            case "pnl":
                return answers.say_pnl(self._desk)
        return answers.HELP

    async def _pause(self, asked: Asked) -> str:
        """It is in force already: here it is made durable."""
        outcome: ControlOutcome | None = None
        problem = ""
        try:
            with trio.fail_after(APPLY_S_MAX):
                outcome = await self._desk.apply_control(ControlPatch(mode=Mode.HOLD), asked.caller.name)
        except (LedgerError, trio.TooSlowError) as error:
            problem = str(error) or "no answer in time"
        return answers.say_held(self._desk, outcome, problem)

    async def _drain(self, asked: Asked) -> str:
        return await self._change(asked, ControlPatch(mode=Mode.DRAIN))

    async def _resume(self, asked: Asked) -> str:
        safe_mode = False if self._desk.safe_mode() else None
        return await self._change(asked, ControlPatch(mode=Mode.RUN, safe_mode=safe_mode))

    async def _change(self, asked: Asked, patch: ControlPatch) -> str:
        if not asked.caller.listed and self._needs_person(patch):
            return "refused: under the Two-Man Rule only a person with a telegram_id in OPERATORS_FILE can propose that"
        with trio.fail_after(APPLY_S_MAX + PREFLIGHT_S_MAX):
            outcome = await self._desk.apply_control(patch, asked.caller.name)
        return answers.say_changed(self._desk, asked.command.name, outcome)

    async def _approve(self, asked: Asked) -> str:
        id = asked.command.rest
        if not id:
            return "which one? /approve ID; /status shows what waits"
        with trio.fail_after(DECIDE_S_MAX):
            return answers.say_decided(self._desk, await self._desk.approve(id, asked.caller.name))

    async def _reject(self, asked: Asked) -> str:
        id, _, reason = asked.command.rest.partition(" ")
        if not id:
            return "which one? /reject ID [reason]; /status shows what waits"
        with trio.fail_after(DECIDE_S_MAX):
            return answers.say_decided(self._desk, await self._desk.reject(id, asked.caller.name, reason))

    def _not_durable(self, name: str, why: str) -> str:
        return f"/{name} could not be made durable ({why}); mode {self._desk.mode()}; /status shows what became of it"
