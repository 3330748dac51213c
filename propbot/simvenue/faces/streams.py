"""A WebSocket session on the stream side: which streams its address asks for, and SUBSCRIBE and its siblings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import trio
from attrs import define, field, frozen

from propbot.simvenue.faces.client import WsClient
from propbot.simvenue.faces.hub import Hub

STREAMS_MAX = 1024


@frozen
class StreamRules:
    """Where the two venues differ."""

    messages_per_s_max: int
    error: Callable[[Any, str], dict[str, Any]]
    """(request id, text) → the error answer."""
    ping_every_s: float
    pong_within_s: float


class _Control(msgspec.Struct):
    method: str
    id: int | str | None = None
    params: list[Any] = msgspec.field(default_factory=list)


@define(eq=False)
class StreamSession:
    """One client's subscriptions. `serves` tells what this address delivers: a stream of another route is
    acknowledged and stays silent, as on USD-M since its addresses were split (venues/binance-um.md)."""

    client: WsClient
    hub: Hub
    rules: StreamRules
    combined: bool
    serves: Callable[[str], bool]
    listen: Callable[[str], None] | None = None
    """Takes a name that is no market stream: a listen key."""
    _names: dict[str, None] = field(factory=dict)
    _second: int = 0
    _messages: int = 0

    def subscribe(self, name: str) -> None:
        """A market stream, or (USD-M) a listen key, which has no `@`."""
        self._names[name] = None
        if self.listen is not None and "@" not in name and not name.startswith("!"):
            self.listen(name)
        elif self.serves(name):
            self.hub.subscribe(self.client, name, combined=self.combined)

    def on_message(self, text: str) -> None:
        if self._flooded():
            self.client.close(1008, "Too many requests")
            return
        try:
            asked = msgspec.json.decode(text, type=_Control)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            self._answer(self.rules.error(None, "Invalid JSON: expected value"))
            return
        if not all(isinstance(name, str | bool) for name in asked.params):
            self._answer(self.rules.error(asked.id, "Invalid request: params must be strings"))
            return
        self._serve(asked)

    def _serve(self, asked: _Control) -> None:
        names = [str(name) for name in asked.params]
        result: Any = None
        match asked.method:
            case "SUBSCRIBE" if len(self._names) + len(names) <= STREAMS_MAX:
                for name in names:
                    self.subscribe(name)
            case "UNSUBSCRIBE":
                for name in names:
                    self._names.pop(name, None)
                    self.hub.unsubscribe(self.client, name)
            case "LIST_SUBSCRIPTIONS":
                result = list(self._names)
            case "GET_PROPERTY" if names == ["combined"]:
                result = self.combined
            case "SET_PROPERTY" if asked.params[:1] == ["combined"] and isinstance(asked.params[-1], bool):
                self._set_combined(asked.params[-1])
            case _:
                self._answer(self.rules.error(asked.id, f"Invalid request: unknown variant `{asked.method[:50]}`"))
                return
        self._answer({"result": result, "id": asked.id})

    def _set_combined(self, combined: bool) -> None:
        self.combined = combined
        for name in self._names:
            self.hub.unsubscribe(self.client, name)
            self.subscribe(name)

    def _flooded(self) -> bool:
        second = int(trio.current_time())
        if second != self._second:
            self._second, self._messages = second, 0
        self._messages += 1
        return self._messages > self.rules.messages_per_s_max

    def _answer(self, answer: dict[str, Any]) -> None:
        self.client.offer(msgspec.json.encode(answer).decode())

    async def run(self) -> None:
        rules = self.rules
        try:
            await self.client.run(
                self.on_message, ping_every_s=rules.ping_every_s, pong_within_s=rules.pong_within_s
            )
        finally:
            self.hub.drop(self.client)
