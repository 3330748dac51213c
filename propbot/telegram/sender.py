"""The chat's mouth: takes message after message out of the outbox, no faster than Telegram likes.

What can't be sent goes back and waits for its turn, the urgent first; a message that Telegram refuses for good is
given up and counted.
"""

from __future__ import annotations

import trio
from attrs import define

from propbot.kit.supervise import Backoff
from propbot.telegram.bot_api import KEY_REFUSED_S, BotApi, ChatError, Flooded, KeyRefused, Refused
from propbot.telegram.health import ChatHealth
from propbot.telegram.outbox import Letter, Outbox, Rank

GAP_S = 1.0
"""Between two messages: Telegram's bound for one chat."""
GAP_LEISURELY_S = 3.0
"""Where nothing urgent waits: twenty messages a minute are its bound for a group."""
BAD_MESSAGE = 400


@define(eq=False)
class Sender:
    _api: BotApi
    _chat_id: int
    _outbox: Outbox
    _health: ChatHealth

    async def run(self, backoff: Backoff) -> None:
        """Until cancelled."""
        while True:
            await self._outbox.wait()
            letter = self._outbox.take(trio.current_time())
            try:
                await self._api.send(self._chat_id, letter.text)
            except ChatError as error:
                await trio.sleep(self._note_failure(letter, error, backoff))
            else:
                backoff.reset()
                self._note_sent(letter)
                await self._wait_turn()

    async def _wait_turn(self) -> None:
        """A second after each message; up to three where only what is not urgent waits."""
        await trio.sleep(GAP_S)
        with trio.move_on_after(GAP_LEISURELY_S - GAP_S):
            while self._outbox.next_rank is None or self._outbox.next_rank > Rank.ANSWER:
                await self._outbox.wait_more()

    def _note_sent(self, letter: Letter) -> None:
        self._health.sent += 1
        self._health.told += len(letter.notes)
        self._health.send_error, self._health.send_failing_mono_s = "", None

    def _note_failure(self, letter: Letter, error: ChatError, backoff: Backoff) -> float:
        """How long to wait before the next try, in seconds."""
        health = self._health
        health.send_error = str(error)
        if health.send_failing_mono_s is None:
            health.send_failing_mono_s = trio.current_time()
        if isinstance(error, Refused) and error.code == BAD_MESSAGE:
            self._outbox.give_up(letter)
        else:
            self._outbox.give_back(letter)
        if isinstance(error, Flooded):
            return error.retry_after_s
        return KEY_REFUSED_S if isinstance(error, KeyRefused) else backoff.next_delay_s()
