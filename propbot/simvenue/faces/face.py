"""A venue's face as the host sees it: HTTP, WebSocket, market frames in, tasks of its own."""

from __future__ import annotations

from typing import Protocol

from trio_websocket import WebSocketRequest

from propbot.simvenue.records import MarketFrame
from propbot.simvenue.server import Request, Response


class Face(Protocol):
    async def answer(self, request: Request) -> Response: ...
    async def talk(self, request: WebSocketRequest) -> None: ...
    def publish(self, frame: MarketFrame) -> None: ...
    def cut_all(self) -> None:
        """Close every WebSocket, as a venue does that goes down."""
        ...

    def kick_all(self) -> None:
        """Close every WebSocket with 1008, as a venue does to clients that send too much."""
        ...

    async def run(self) -> None:
        """The face's own tasks, until cancelled."""
        ...
