"""Telegram as a task of the service's nursery: its parts put together. It is given the desk, as the API is, and nothing
that trades; whatever becomes of it is a line on the status page, never a HOLD.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import trio

from propbot.control.checks import Check, Verdict
from propbot.control.desk import ServiceDesk
from propbot.control.two_man import needs_second_person
from propbot.kit.supervise import Backoff, describe, run_restarting
from propbot.seams import Seams, ServiceConfig
from propbot.secrets.names import TELEGRAM_TOKEN
from propbot.service import Service
from propbot.status.desk import ControlPatch
from propbot.telegram.access import Access
from propbot.telegram.bot import ChatBot
from propbot.telegram.bot_api import BotApi, ChatError, KeyRefused, Refused, open_bot_api
from propbot.telegram.health import Chat
from propbot.telegram.notices import Notices
from propbot.telegram.sender import Sender

RETRY_FIRST_S, RETRY_MOST_S = 0.5, 30.0


@asynccontextmanager
async def _open_api(config: ServiceConfig, seams: Seams) -> AsyncIterator[BotApi]:
    settings = config.settings.telegram
    assert settings.bot_token is not None
    stored = config.keyring.value(TELEGRAM_TOKEN)  # it wins
    token = settings.bot_token.get_secret_value() if stored is None else stored
    network = seams.network if seams.outside is None else seams.outside
    async with open_bot_api(network, settings.api_base, token) as api:
        yield api


async def check_chat(config: ServiceConfig, seams: Seams) -> Check | None:
    """Whether Telegram knows the bot, and the bot its chat; None where no chat is set. Nothing is sent. Who can't be
    reached is a warning: the service starts all the same."""
    settings = config.settings.telegram
    if settings.bot_token is None or settings.chat_id is None:
        return None
    async with _open_api(config, seams) as api:
        try:
            name = await api.username()
            await api.see_chat(settings.chat_id)
        except KeyRefused as error:
            return Check("telegram", Verdict.FAILED, f"TELEGRAM_BOT_TOKEN: Telegram does not know this token ({error})")
        except Refused as error:
            hint = "write to the bot first, or add it to the group"
            return Check("telegram", Verdict.FAILED, f"TELEGRAM_CHAT_ID {settings.chat_id}: {error}; {hint}")
        except ChatError as error:
            return Check("telegram", Verdict.WARN, f"Telegram was not reached: {error}")
    return Check("telegram", Verdict.OK, f"@{name} sees chat {settings.chat_id}")


async def run_telegram(service: Service, chat: Chat) -> None:
    """Until cancelled. A part that fails is told and begun again; the others go on meanwhile."""
    await run_restarting(
        "telegram", lambda _: _run_parts(service, chat), backoff=_backoff(service),
        on_failure=partial(_failed, service, chat),
    )


async def _run_parts(service: Service, chat: Chat) -> None:
    settings, seams = service.config.settings.telegram, service.seams
    assert settings.chat_id is not None
    desk = ServiceDesk(service, service.keeper)
    async with _open_api(service.config, seams) as api, trio.open_nursery() as nursery:
        bot = ChatBot(
            api, desk, Access(service.people, settings.chat_id), service.ledger, chat.outbox, chat.health, seams.clock,
            service.journal.say, partial(_needs_person, service),
        )
        sender = Sender(api, settings.chat_id, chat.outbox, chat.health)
        notices = Notices(desk, chat.outbox, service.modes.level.wait_change, lambda: service.ledger.head)
        parts: dict[str, Callable[[Backoff], Awaitable[None]]] = {
            "poller": bot.run_poller, "worker": lambda _: bot.run_worker(), "sender": sender.run,
            "notices": lambda _: notices.run(), "naming": lambda _: bot.run_naming(),
        }
        for name, part in parts.items():
            nursery.start_soon(
                partial(
                    run_restarting, f"telegram:{name}", part, backoff=_backoff(service),
                    on_failure=partial(_failed, service, chat),
                )
            )


def _backoff(service: Service) -> Backoff:
    return Backoff(service.seams.rng, RETRY_FIRST_S, RETRY_MOST_S)


def _failed(service: Service, chat: Chat, name: str, error: BaseException) -> None:
    chat.health.failure, chat.health.failed_mono_s = f"{name}: {describe(error)}", service.seams.clock.mono_s()
    service.session_failed(name, error, describe(error))


def _needs_person(service: Service, patch: ControlPatch) -> bool:
    return service.config.settings.start.two_man_rule and needs_second_person(patch, service.modes.view)
