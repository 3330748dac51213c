"""The chat's parts against a Bot API in memory and a desk with known content, in virtual time."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from attrs import define, field

from propbot.control.operators import Operator, Operators, Role
from propbot.domain.approvals import Approval
from propbot.domain.errors import LedgerError
from propbot.domain.events import Head
from propbot.domain.mode import CancelResult, Cause, HoldRecord, Mode
from propbot.domain.status import Health
from propbot.kit.clock import VirtualClock
from propbot.kit.level import Level
from propbot.kit.net import MemoryNetwork
from propbot.kit.supervise import Backoff
from propbot.status.board import Board
from propbot.status.desk import ControlPatch
from propbot.status.incidents import Incidents
from propbot.status.views import ControlView
from propbot.telegram.access import Access
from propbot.telegram.bot import ChatBot
from propbot.telegram.bot_api import open_bot_api
from propbot.telegram.health import Chat, ChatHealth
from propbot.telegram.notices import Notices
from propbot.telegram.sender import Sender
from tests.telegram_api import CHAT, FakeTelegram, start_telegram
from tests.unit.api.conftest import FakeDesk

EPOCH_NS = 1_790_000_000_000_000_000


@define(eq=False)
class ChatDesk(FakeDesk):
    clock: VirtualClock = field(factory=lambda: VirtualClock(EPOCH_NS))
    news: Level[None] = field(factory=lambda: Level(None))
    pending: list[Approval] = field(factory=list)
    decided: list[Approval] = field(factory=list)

    def now_ns(self) -> int:
        return self.clock.wall_ns()

    def control_view(self) -> ControlView:
        view = super().control_view()
        return ControlView(*(getattr(view, name) for name in list(ControlView.__slots__)[:8]), self.pending)

    async def approvals(self, limit: int, cursor: str | None) -> Any:
        await self.ledger_answers()
        if self.ledger_error is not None:
            raise LedgerError(self.ledger_error)
        return [*self.decided, *self.pending][:limit], None

    def enter_hold(self, reason: str, operator: str, *, winddown_exempt: bool) -> Mode:
        before = super().enter_hold(reason, operator, winddown_exempt=winddown_exempt)
        self.news.touch()
        return before

    def trip(self, source: str, reason: str, cancel: CancelResult | None = None) -> None:
        """An automatic HOLD, or one more cause of it."""
        cause = Cause(reason, source, self.now_ns())
        causes = (cause,) if self.record is None else (*self.record.causes, cause)
        self.now_mode, self.record = Mode.HOLD, HoldRecord(causes, cancel)
        self.news.touch()

    def run_again(self) -> None:
        self.now_mode, self.record = Mode.RUN, None
        self.news.touch()


class Rows:
    """A ledger's meta rows; one that fails or hangs."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}
        self.error: str | None = None
        self.hangs = False

    async def meta_get(self, key: str) -> str | None:
        await self._answer()
        return self.rows.get(key)

    async def meta_put(self, key: str, value: str) -> None:
        await self._answer()
        self.rows[key] = value

    async def _answer(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.hangs:
            await trio.sleep_forever()
        if self.error is not None:
            raise LedgerError(self.error)


@define(eq=False)
class Rig:
    network: MemoryNetwork
    telegram: FakeTelegram
    desk: ChatDesk
    chat: Chat
    people: Operators
    ledger: Rows
    said: list[tuple[str, str, str]]
    """The journal: level, kind, message."""
    scope: trio.CancelScope

    def judge(self) -> tuple[Health, str]:
        return self.chat.health.judge(trio.current_time())

    def told(self, holding: str = "") -> list[str]:
        return [message for _, _, message in self.said if holding in message]


OpenRig = Callable[..., Any]


@asynccontextmanager
async def open_rig(
    *, chat_id: int = CHAT, people: tuple[Operator, ...] = (), two_man_rule: bool = False,
    ledger: Rows | None = None, head: Callable[[], Head | None] = lambda: None, **fake: Any,
) -> AsyncIterator[Rig]:
    """The chat of one life: everything that `messaging` starts, until this closes."""
    clock = VirtualClock(EPOCH_NS)
    clock.wall_ns()
    network = MemoryNetwork()
    ledger = Rows() if ledger is None else ledger
    said: list[tuple[str, str, str]] = []
    desk = ChatDesk(Board(clock), Incidents(clock), clock=clock)
    chat = Chat(ChatHealth(trio.current_time()))
    listed = Operators.of("t" * 40, people)
    rng = random.Random(1)
    async with trio.open_nursery() as nursery:
        telegram = await start_telegram(nursery, network, clock.wall_ns)
        telegram.chats.add(chat_id)
        for name, value in fake.items():
            setattr(telegram, name, value)

        def say(level: str, kind: str, message: str, *, source: str = "") -> None:
            said.append((level, kind, message))

        def needs_person(patch: ControlPatch) -> bool:
            return two_man_rule and (patch.mode is not Mode.DRAIN or desk.mode() is Mode.HOLD)

        async with open_bot_api(network, telegram.url, telegram.token) as api:
            bot = ChatBot(
                api, desk, Access(listed, chat_id), ledger, chat.outbox, chat.health, clock, say, needs_person
            )
            sender = Sender(api, chat_id, chat.outbox, chat.health)
            notices = Notices(desk, chat.outbox, desk.news.wait_change, head)
            with trio.CancelScope() as scope:
                nursery.start_soon(bot.run_poller, Backoff(rng, 0.5, 30.0))
                nursery.start_soon(bot.run_worker)
                nursery.start_soon(bot.run_naming)
                nursery.start_soon(sender.run, Backoff(rng, 0.5, 30.0))
                nursery.start_soon(notices.run)
                yield Rig(network, telegram, desk, chat, listed, ledger, said, scope)
            nursery.cancel_scope.cancel()


def person(name: str, role: Role, telegram_id: int | None) -> Operator:
    return Operator(name, role, name.encode(), telegram_id)


@pytest.fixture
async def rig(autojump_clock: trio.abc.Clock) -> AsyncIterator[Rig]:
    async with open_rig() as rig:
        await rig.telegram.wait_text("has started")
        await trio.sleep(5)
        yield rig
