"""Private events on their way to whoever listens: order and account events of one venue, one latency late.

A venue's face renders engine events; this fans them out, and has the faults of private streams.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import trio
from attrs import define, field, frozen

from propbot.simvenue.faces.client import WsClient
from propbot.simvenue.faces.core import Core
from propbot.simvenue.faces.mangle import rewritten
from propbot.simvenue.faults import FILLS_KEPT, Params
from propbot.simvenue.records import EngineEvent, OrderChanged

Event = dict[str, Any]
Render = Callable[[EngineEvent], Sequence[Event]]


@frozen(eq=False)
class PrivateListener:
    """One subscription. `alive` False: its key has expired, and it hears nothing more."""

    client: WsClient
    wrap: Callable[[Event], Event]
    wants: Callable[[str], bool]
    alive: Callable[[], bool]


@define(eq=False)
class PrivateFeed:
    core: Core
    render: Render
    _listeners: list[PrivateListener]
    _down_until_s: float
    _told_fills: deque[Event] = field(factory=lambda: deque(maxlen=FILLS_KEPT))
    """For the fault replay_fills."""

    @classmethod
    def of(cls, core: Core, render: Render) -> PrivateFeed:
        feed = cls(core, render, [], 0.0)
        core.engine.listen(feed._on_event)
        core.faults.on(core.venue, "private_cut", feed._cut)
        return feed

    def add(self, listener: PrivateListener) -> None:
        self._listeners.append(listener)
        again = self.core.faults.strike(self.core.venue, "replay_fills")
        if again is not None:
            for event in list(self._told_fills)[-int(again["fills"]) :]:
                self.tell(event, to=lambda each: each is listener)

    def remove(self, listener: PrivateListener) -> None:
        if listener in self._listeners:
            self._listeners.remove(listener)

    def drop(self, client: WsClient) -> None:
        self._listeners = [listener for listener in self._listeners if listener.client is not client]

    @property
    def down(self) -> bool:
        """Whether private sessions are refused (fault private_cut)."""
        return trio.current_time() < self._down_until_s

    def tell(self, event: Event, *, to: Callable[[PrivateListener], bool] = lambda _: True) -> None:
        """`event` to every listener that wants it, alive or not: who expires is told so."""
        due_s = trio.current_time() + self.core.latency_s
        for listener in self._listeners:
            if listener.wants(event["e"]) and to(listener):
                text = msgspec.json.encode(listener.wrap(event)).decode()
                listener.client.offer(rewritten(self.core, "private", text), due_s)

    def _on_event(self, event: EngineEvent) -> None:
        faults, venue = self.core.faults, self.core.venue
        twice = 1
        if isinstance(event, OrderChanged) and event.trade is not None:
            fault = faults.strike(venue, "duplicate_fill", event.trade.client_order_id)
            twice = 1 if fault is None else 2
        if faults.lasting(venue, "silent_private") is not None:
            return
        for rendered in self.render(event):
            if isinstance(event, OrderChanged) and event.trade is not None:
                self._told_fills.append(rendered)
            for _ in range(twice):
                self.tell(rendered, to=lambda listener: listener.alive())

    def end_all(self, event: Event | None) -> None:
        """Every subscription ends, its session stays; `event` tells so."""
        if event is not None:
            self.tell(event)
        self._listeners.clear()

    def _cut(self, params: Params) -> None:
        self._down_until_s = trio.current_time() + params["down_s"]
        for listener in self._listeners:
            listener.client.close(1001, "going away")


async def wait_login(core: Core) -> None:
    """What the fault slow_login makes a private login wait."""
    slow = core.faults.strike(core.venue, "slow_login")
    if slow is not None:
        await trio.sleep(slow["seconds"])
