"""A server that speaks the Bot API as far as the service does, with the ways in which the real one fails.

    telegram = FakeTelegram(wall_ns)
    await nursery.start(telegram.serve, network)
    telegram.say("/pause")
    telegram.flood("sendMessage", retry_after=40)

Long polls wait for something to tell; a second poll ends the first with 409; updates below `offset` are forgotten;
`allowed_updates` is obeyed. Over any network of the house: in memory, or on loopback.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import partial
from typing import Any

import trio
from attrs import define, field, frozen

from propbot.kit.net import Network
from propbot.simvenue.server import CutConnection, Request, Response, serve

TOKEN = "123456:AAcanary-Xw7_pieces-9Zk3"
CHAT = 4711
USERNAME = "DeskBot"
HOST = "127.0.0.1"


@frozen
class Sent:
    """A message that arrived, and when (monotonic seconds)."""

    text: str
    at_s: float
    chat_id: int


@define(eq=False)
class FakeTelegram:
    wall_ns: Callable[[], int]
    """Telegram's own clock."""
    token: str = TOKEN
    chats: set[int] = field(factory=lambda: {CHAT})
    sent: list[Sent] = field(factory=list)
    requests: list[tuple[str, float]] = field(factory=list)
    """(method, monotonic seconds)."""
    port: int = 0
    hangs: bool = False
    """Takes requests and answers none."""
    webhook: bool = False
    tells_date: bool = True
    with_edits: bool = False
    """Sends what was not asked for, as it does with updates from before allowed_updates was set."""
    _updates: list[dict[str, Any]] = field(factory=list)
    _next_id: int = 1000
    _polls: int = 0
    _news: trio.Event = field(factory=trio.Event)
    _failures: dict[str, deque[Response]] = field(factory=dict)
    _flooded_until_s: dict[str, float] = field(factory=dict)
    offsets: list[int | None] = field(factory=list)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def settings(self) -> dict[str, str]:
        return {"TELEGRAM_BOT_TOKEN": self.token, "TELEGRAM_CHAT_ID": str(CHAT), "TELEGRAM_API_BASE": self.url}

    async def serve(self, network: Network, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        class Started:
            def started(_, port: int = 0) -> None:
                self.port = port
                task_status.started(port)

        def fail(error: BaseException) -> None:
            raise error

        await serve(
            network, HOST, 0, tls=None, answer=self.answer, talk=None, admits=lambda: True,
            mono_ns=lambda: round(trio.current_time() * 1e9), on_error=fail, task_status=Started(),
        )

    # --- what people do

    def say(self, text: str, *, chat: int = CHAT, user: int = CHAT, age_s: float = 0, **message: Any) -> int:
        """A message of a person; more fields of it as keywords. The update's number."""
        date = int(self.wall_ns() / 1e9 - age_s)
        kind = "private" if chat > 0 else "group"
        body = {
            "message_id": self._next_id, "from": {"id": user, "is_bot": False, "first_name": "A"},
            "chat": {"id": chat, "type": kind}, "date": date, "text": text, **message,
        }
        return self.push({"message": body})

    def push(self, update: dict[str, Any]) -> int:
        self._next_id += 1
        self._updates.append({"update_id": self._next_id, **update})
        self._news.set()
        self._news = trio.Event()
        return self._next_id

    def push_again(self, update_id: int, update: dict[str, Any]) -> None:
        """An update that comes a second time, whatever was confirmed."""
        self._updates.append({"update_id": update_id, **update})
        self._news.set()
        self._news = trio.Event()

    def texts(self, holding: str = "") -> list[str]:
        return [each.text for each in self.sent if holding in each.text]

    async def wait_text(self, holding: str, within_s: float = 30.0) -> Sent:
        with trio.move_on_after(within_s):
            while not self.texts(holding):
                await trio.sleep(0.05)
        found = [each for each in self.sent if holding in each.text]
        assert found, f"nobody was told {holding!r}: {self.texts()}"
        return found[0]

    # --- how it fails

    def fail(self, method: str, status: int, count: int, body: bytes = b"<html>bad gateway</html>") -> None:
        self._failures.setdefault(method, deque()).extend([Response(status, body)] * count)

    def flood(self, method: str, retry_after: int) -> None:
        """429 until then, counted from now on."""
        self._flooded_until_s[method] = trio.current_time() + retry_after

    async def poll_elsewhere(self) -> None:
        """Another poller with the same token: ends the poll that is open."""
        await self._get_updates({"timeout": 1})

    # --- answering

    async def answer(self, request: Request) -> Response:
        method = request.path.rpartition("/")[2]
        self.requests.append((method, trio.current_time()))
        if self.hangs:
            await trio.sleep_forever()
        if request.path != f"/bot{self.token}/{method}":
            return self._refuse(404, "Not Found")
        until_s = self._flooded_until_s.get(method, 0.0)
        if trio.current_time() < until_s:
            left = max(round(until_s - trio.current_time()), 1)
            return self._refuse(429, f"Too Many Requests: retry after {left}", retry_after=left)
        if self._failures.get(method):
            failure = self._failures[method].popleft()
            if failure.status == 0:
                raise CutConnection
            return failure
        asked = json.loads(request.body or b"{}")
        match method:
            case "getMe":
                return self._reply({"id": 1, "is_bot": True, "first_name": "Desk", "username": USERNAME})
            case "getChat":
                if asked.get("chat_id") not in self.chats:
                    return self._refuse(400, "Bad Request: chat not found")
                return self._reply({"id": asked["chat_id"], "type": "private"})
            case "getUpdates":
                return await self._get_updates(asked)
            case "sendMessage":
                return self._send_message(asked)
        return self._refuse(404, "Not Found")

    async def _get_updates(self, asked: dict[str, Any]) -> Response:
        if self.webhook:
            return self._refuse(409, "Conflict: can't use getUpdates method while webhook is active")
        offset = asked.get("offset")
        self.offsets.append(offset)
        if offset is not None:
            self._updates = [each for each in self._updates if each["update_id"] >= offset]
        self._polls += 1
        mine = self._polls
        self._news.set()  # whoever polls already looks up, and finds that they are not alone
        self._news = trio.Event()
        with trio.move_on_after(asked.get("timeout", 0)):
            while mine == self._polls and not self._wanted(asked):
                await self._news.wait()
        if mine != self._polls:
            words = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
            return self._refuse(409, words)
        return self._reply(self._wanted(asked)[: asked.get("limit", 100)])

    def _wanted(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        kinds = set(asked.get("allowed_updates") or ["message", "edited_message", "channel_post"])
        return [each for each in self._updates if self.with_edits or kinds & set(each)]

    def _send_message(self, asked: dict[str, Any]) -> Response:
        text = asked.get("text", "")
        if asked.get("chat_id") not in self.chats:
            return self._refuse(400, "Bad Request: chat not found")
        if not text:
            return self._refuse(400, "Bad Request: message text is empty")
        if len(text.encode("utf-16-le")) // 2 > 4096:
            return self._refuse(400, "Bad Request: message is too long")
        assert "parse_mode" not in asked
        self.sent.append(Sent(text, trio.current_time(), asked["chat_id"]))
        return self._reply({"message_id": len(self.sent), "date": int(self.wall_ns() / 1e9), "text": text})

    def _reply(self, result: Any) -> Response:
        return self._respond(200, {"ok": True, "result": result})

    def _refuse(self, code: int, description: str, **parameters: Any) -> Response:
        told = {"ok": False, "error_code": code, "description": description}
        return self._respond(code, {**told, **({"parameters": parameters} if parameters else {})})

    def _respond(self, status: int, told: dict[str, Any]) -> Response:
        date = format_datetime(datetime.fromtimestamp(self.wall_ns() // 10**9, UTC), usegmt=True)
        headers = (("Date", date),) if self.tells_date else ()
        return Response(status, json.dumps(told).encode(), headers)


async def start_telegram(nursery: trio.Nursery, network: Network, wall_ns: Callable[[], int]) -> FakeTelegram:
    telegram = FakeTelegram(wall_ns)
    await nursery.start(partial(telegram.serve, network))
    return telegram
