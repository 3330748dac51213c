"""The chat's ear: it polls, and acts on /pause at once; all else it hands to the worker, which does it in order.

There is no checkpoint between a /pause that was read and the HOLD in force, and the poller never waits for the desk,
the disk or another command: a /pause behind a slow /resume is not late. It also undoes what was heard before it and is
not done yet. What the worker is in the middle of, the desk itself refuses: a HOLD that comes in between wins there.

How old a message is, is judged by Telegram's own clock (the Date header of its answers): ours may be off, and in paper
it may be a recording's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import trio
from attrs import define, field

from propbot.domain.clock import Clock
from propbot.kit.supervise import Backoff
from propbot.status.desk import ControlPatch, Desk
from propbot.telegram import answers
from propbot.telegram.access import NEEDS, Access, Caller
from propbot.telegram.bot_api import (
    KEY_REFUSED_S,
    BotApi,
    ChatError,
    Conflict,
    Flooded,
    KeyRefused,
    Unreachable,
)
from propbot.telegram.health import ChatHealth
from propbot.telegram.outbox import Note, Outbox, Rank
from propbot.telegram.tally import Tally
from propbot.telegram.updates import Command, Said, read_command, read_update, read_update_id
from propbot.telegram.worker import QUEUE_MAX, Asked, OffsetLedger, Say, Worker

AGE_S_MAX = 60.0
NAME_RETRY_S = 60.0
EMPTY_POLL_S_MIN = 0.3
"""For a server that answers "nothing" at once instead of waiting."""
UPDATES = "Telegram's updates"


@define(eq=False)
class ChatBot:
    _api: BotApi
    _desk: Desk
    _access: Access
    _ledger: OffsetLedger
    _outbox: Outbox
    _health: ChatHealth
    _clock: Clock
    _say: Say
    """To the journal."""
    _needs_person: Callable[[ControlPatch], bool]
    """As the worker's."""
    _offset: int | None = None
    _username: str = ""
    _failing: str = ""
    """Why polls fail, as far as the journal has it."""
    _worker: Worker = field(init=False)
    _foreign: Tally = field(init=False)
    _refused: Tally = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._worker = Worker(self._desk, self._ledger, self._say, self._answer, self._needs_person)
        self._foreign = Tally(lambda text: self._say("WARN", "telegram", text, source="telegram"))
        self._refused = Tally(lambda text: self._say("WARN", "access", text, source="telegram"))

    async def run_worker(self) -> None:
        await self._worker.run()

    # --- hearing

    async def run_poller(self, backoff: Backoff) -> None:
        """Until cancelled. Whatever Telegram answers, it goes on."""
        if self._offset is None:
            self._offset = await self._worker.kept_offset()
        while True:
            began_s = trio.current_time()
            try:
                updates = await self._api.updates(self._offset)
                if not self._hear(updates):
                    raise Unreachable(f"{UPDATES} can't be read")
            except ChatError as error:
                self._note_failure(error)
                await trio.sleep(self._pause_s(error, backoff))
            else:
                self._note_answered()
                backoff.reset()
                if not updates:
                    await trio.sleep_until(began_s + EMPTY_POLL_S_MIN)

    async def run_naming(self) -> None:
        """Until cancelled: learn what the bot is called, which only matters for `/pause@SomeBot`."""
        while not self._username:
            try:
                self._username = (await self._api.username()).lower()
            except ChatError:
                await trio.sleep(NAME_RETRY_S)  # the poller tells what is wrong
        await trio.sleep_forever()

    def _hear(self, updates: Sequence[Any]) -> bool:
        """No checkpoint in here: from the message to the HOLD in one step. False if they bring us no further."""
        heard = not updates
        for update in updates:
            id = read_update_id(update)
            if id is None or (self._offset is not None and id < self._offset):
                continue
            self._offset, heard = id + 1, True
            said = read_update(update)
            if said is not None:
                self._take(id, said)
        return heard

    def _take(self, update_id: int, said: Said) -> None:
        caller = self._access.identify(said.chat_id, said.user_id)
        if caller is None:
            self._health.ignored += 1
            self._foreign.count(
                f"a message was ignored: user {said.user_id} in chat {said.chat_id} is nobody we listen to"
            )
            return
        command = read_command(said.text)
        if command is None or not self._is_for_us(command):
            return  # people talk, also to other bots
        why_not = said.unmeant or self._outdated(said.date_s)
        if why_not:
            words = f"/{command.name} was not done, the message is {why_not}: write it anew if it is meant"
            self._tell(words)
        elif command.name not in NEEDS:
            self._answer(f"there is no /{command.name}\n{answers.HELP}")
        elif not caller.may(command.name):
            self._refuse(caller, command)
        else:
            self._health.commands += 1
            self._accept(Asked(command, caller, update_id))

    def _is_for_us(self, command: Command) -> bool:
        """While we don't know what we are called, a /pause is better obeyed than not."""
        return command.to in ("", self._username) or (not self._username and command.name == "pause")

    def _outdated(self, date_s: int) -> str:
        """Empty if it is fresh. By Telegram's clock; by ours only where Telegram does not tell it."""
        ahead_s = self._api.server_ahead_s
        if ahead_s is None:
            ahead_s = self._clock.wall_ns() / 1e9 - trio.current_time()
        now_s = ahead_s + trio.current_time()
        started_s = ahead_s + self._health.started_mono_s
        if abs(now_s - date_s) > AGE_S_MAX:
            return f"older than {AGE_S_MAX:g} s" if now_s > date_s else "from the future"
        if date_s < int(started_s):
            return "from before this start"
        return ""

    def _accept(self, asked: Asked) -> None:
        name = asked.command.name
        if name == "pause":
            reason = asked.command.rest or "no reason given"
            self._desk.enter_hold(reason, asked.caller.name, winddown_exempt=False)
            for undone in self._worker.undo_loosening():
                self._tell(f"/{undone.command.name} was not done: /pause came after it")
        if not self._worker.put(asked):
            self._tell(f"/{name} was not done: {QUEUE_MAX} commands wait already")

    def _refuse(self, caller: Caller, command: Command) -> None:
        """By the role. Told in the journal, but nobody fills it with what they were refused."""
        if caller.listed:
            self._refused.count(f"{caller.name} tried /{command.name}, which their role does not allow")
            needed = NEEDS[command.name]
            self._answer(f"refused: /{command.name} needs the role {needed}, {caller.name} is {caller.role}")
            return
        self._refused.count(f"/{command.name} was refused: nobody in OPERATORS_FILE is linked to Telegram")
        self._answer(f"refused: /{command.name} needs a person with a telegram_id in OPERATORS_FILE")

    def _answer(self, text: str) -> None:
        self._put(Rank.ANSWER, text)

    def _tell(self, text: str) -> None:
        """What was not done: there may be many of it, and what was done is answered first."""
        self._put(Rank.WARNING, text)

    def _put(self, rank: Rank, text: str, key: str = "") -> None:
        self._outbox.put(Note(rank, text, answers.clock_of(self._clock.wall_ns()), trio.current_time(), key))

    # --- what becomes of polls

    def _note_answered(self) -> None:
        health = self._health
        health.polls += 1
        health.polled_mono_s = trio.current_time()
        health.poll_error = health.key_refused = ""
        if self._failing:
            self._failing = ""
            self._say("INFO", "telegram", "polls are answered again", source="telegram")
        if health.conflict_mono_s is not None and not health.in_conflict(trio.current_time()):
            health.conflict_mono_s = None
            self._say("INFO", "telegram", "nobody else takes this bot's updates any more", source="telegram")

    def _note_failure(self, error: ChatError) -> None:
        """Told once; a failure that has another reason is told again."""
        health, words = self._health, str(error)
        health.key_refused = words if isinstance(error, KeyRefused) else ""
        if isinstance(error, Conflict):
            known = health.conflict_mono_s is not None
            health.conflict_mono_s = trio.current_time()
            if not known:
                self._tell_conflict(words)
        elif words != self._failing:
            self._failing = words
            level = "ERROR" if health.key_refused else "WARN"
            self._say(level, "telegram", f"polls fail: {words}", source="telegram")
        health.poll_error = words

    def _tell_conflict(self, words: str) -> None:
        text = f"somebody else takes this bot's updates, commands may not arrive here ({words})"
        self._say("ERROR", "telegram", text, source="telegram")
        self._put(Rank.WARNING, f"{text}: stop the other poller, or remove the webhook", "conflict")

    def _pause_s(self, error: ChatError, backoff: Backoff) -> float:
        match error:
            case Flooded(retry_after_s=retry_after_s):
                return retry_after_s
            case KeyRefused():
                return KEY_REFUSED_S
            case _:
                return backoff.next_delay_s()
