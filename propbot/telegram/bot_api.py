"""The Bot API as far as we speak it: four methods, and what can become of a call.

    ChatError
    ├─ Unreachable    no answer, or none that can be read: try again later
    ├─ Flooded        429: not before `retry_after_s`
    ├─ Conflict       409: somebody else polls with our token, or a webhook is set
    ├─ KeyRefused     401, 404: the token is wrong or was revoked
    └─ Refused        any other refusal of this one call

The token is in no URL that httpx sees (`kit.httpx_transport`), and what a server says is searched for it before it is
shown: an error page may repeat the path that was asked for. `raise_for_status` is never called.
Source: core.telegram.org/bots/api, Bot API 9, November 2026.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import httpx
import trio
from attrs import define, field

from propbot.domain.errors import PropBotError
from propbot.kit.http1 import open_http_client
from propbot.kit.httpx_transport import NetworkTransport
from propbot.kit.net import Network, parse_address

POLL_S = 25.0
"""How long Telegram holds a poll open while there is nothing to tell."""
ANSWER_S_MAX = 10.0
"""Beyond that, for any answer."""
RETRY_AFTER_S = 5.0
"""Where a 429 does not say how long."""
KEY_REFUSED_S = 300.0
"""A refused login is tried again, but seldom: one wrong answer must not cost the channel until the next start."""
SAID_CHARACTERS_MAX = 200


class ChatError(PropBotError):
    """A call that did not do what it was made for; its text may be shown."""


class Unreachable(ChatError):
    """No answer, or none that can be read."""


class Flooded(ChatError):
    def __init__(self, said: str, retry_after_s: float) -> None:
        super().__init__(said)
        self.retry_after_s = retry_after_s


class Conflict(ChatError):
    """Somebody else takes the updates of this bot."""


class KeyRefused(ChatError):
    """Telegram does not know the token."""


class Refused(ChatError):
    """Another refusal, of this one call."""

    def __init__(self, said: str, code: int) -> None:
        super().__init__(said)
        self.code = code


@define(eq=False)
class BotApi:
    _http: httpx.AsyncClient
    _token: str = field(repr=False)
    server_ahead_s: float | None = None
    """Telegram's wall clock (its latest Date header, whole seconds) minus our monotonic one; None: not told yet."""

    async def username(self) -> str:
        me = await self._call("getMe", {}, ANSWER_S_MAX)
        name = me.get("username") if isinstance(me, dict) else None
        if not isinstance(name, str):
            raise Unreachable("getMe: an answer without a username")
        return name

    async def see_chat(self, chat_id: int) -> None:
        """`Refused` if the bot has no such chat."""
        await self._call("getChat", {"chat_id": chat_id}, ANSWER_S_MAX)

    async def updates(self, offset: int | None) -> Sequence[Any]:
        """What came since, oldest first, as it came; waits up to POLL_S for the first."""
        asked: dict[str, Any] = {"timeout": int(POLL_S), "allowed_updates": ["message"]}
        if offset is not None:
            asked["offset"] = offset
        found = await self._call("getUpdates", asked, POLL_S + ANSWER_S_MAX)
        if not isinstance(found, list):
            raise Unreachable("getUpdates: an answer that is no list")
        return found

    async def send(self, chat_id: int, text: str) -> None:
        """Plain text: no parse mode, so that nothing in it is markup. It may have arrived also where this raises."""
        sound = text.encode("utf-8", "replace").decode()  # lone surrogates can't be written
        asked = {"chat_id": chat_id, "text": sound, "link_preview_options": {"is_disabled": True}}
        await self._call("sendMessage", asked, ANSWER_S_MAX)

    async def _call(self, method: str, asked: Mapping[str, Any], timeout_s: float) -> Any:
        try:
            answer = await self._http.post(f"/{method}", json=asked, timeout=timeout_s)
        except httpx.HTTPError as error:
            raise Unreachable(self._clean(f"{method}: {error}")) from None
        self._note_date(answer.headers.get("date"))
        try:
            told = json.loads(answer.content)
        except (ValueError, RecursionError):
            told = None
        if isinstance(told, dict) and told.get("ok") is True and answer.status_code == 200:
            return told.get("result")
        raise self._refusal(method, answer, told if isinstance(told, dict) else {})

    def _refusal(self, method: str, answer: httpx.Response, told: Mapping[str, Any]) -> ChatError:
        said = self._clean(f"{method}: {answer.status_code} {told.get('description', '')}".rstrip())
        match answer.status_code:
            case 429:
                return Flooded(said, _retry_after_s(answer, told))
            case 409:
                return Conflict(said)
            case 401 | 404:
                return KeyRefused(said)
            case code if 400 <= code < 500:
                return Refused(said, code)
            case _:
                return Unreachable(said)

    def _note_date(self, header: str | None) -> None:
        if header is None:
            return
        try:
            self.server_ahead_s = parsedate_to_datetime(header).timestamp() - trio.current_time()
        except (ValueError, OverflowError):
            pass  # the one before stays

    def _clean(self, text: str) -> str:
        for spelling in (self._token, quote(self._token, safe="")):
            text = text.replace(spelling, "<token>")
        return "".join(char if char.isprintable() else " " for char in text)[:SAID_CHARACTERS_MAX]


def _retry_after_s(answer: httpx.Response, told: Mapping[str, Any]) -> float:
    parameters = told.get("parameters")
    asked = parameters.get("retry_after") if isinstance(parameters, dict) else answer.headers.get("retry-after")
    try:
        return max(float(str(asked)), 1.0) if float(str(asked)) < 86_400 else 86_400.0
    except ValueError:
        return RETRY_AFTER_S


@asynccontextmanager
async def open_bot_api(network: Network, base_url: str, token: str) -> AsyncIterator[BotApi]:
    """Opens nothing by itself."""
    address = parse_address(base_url)
    secret_path = f"{address.path}/bot{token}"
    async with (
        open_http_client(network, base_url, connections_max=3, secret_path=secret_path) as wire,
        httpx.AsyncClient(
            transport=NetworkTransport(wire), base_url=base_url.removesuffix(address.path), trust_env=False
        ) as http,
    ):
        yield BotApi(http, token)
