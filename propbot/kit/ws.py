"""The WebSocket seam: one client session over an open stream. Feeds see `WebSocket`, never the library behind it.

Two implementations pass the same tests: `ws_sansio` (the `websockets` protocol, no task of its own; the default) and
`ws_trio` (trio-websocket). `ws_clients` knows both by the names that the settings use.

What every implementation holds to:
- One task at a time calls `receive`, and it keeps calling: pings are answered, pongs seen and the end noticed by who
  reads. A `ping` beside which nobody receives may wait for ever.
- `send` and `ping` may be called by other tasks meanwhile; each message leaves whole.
- A `receive` that is cancelled has taken nothing. A `send` that is cancelled before its first byte has sent nothing;
  cut off in the middle of one, the session can send no more and is over.
- `receive` lets other tasks run now and then however much lies ready: a flood does not starve them.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

import trio

from propbot.domain.errors import PropBotError

MESSAGE_BYTES_MAX = 4 * 1024 * 1024
HANDSHAKE_S = 10.0
ABNORMAL = 1006
GOODBYE_S = 1.0
GOODBYE_CANCELLED_S = 0.05
"""Cancelled, nobody reads the answer to our close frame any more: time to send it is all that helps."""


class WebSocketClosed(PropBotError):
    """The session is over, or never began: `code` as in RFC 6455, 1006 without a close frame."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"WebSocket closed, code {code}: {reason}" if reason else f"WebSocket closed, code {code}")
        self.code = code
        self.reason = reason


class WebSocket(Protocol):
    async def receive(self) -> str | bytes:
        """The next message, text as str. Those that came before the end are still handed out; then WebSocketClosed."""
        ...

    async def send(self, text: str) -> None:
        """WebSocketClosed once either side is known to have begun to close."""
        ...

    async def ping(self) -> None:
        """Returns with the pong. Waits for ever on a dead connection: bring a deadline."""
        ...


class OpenWebSocket(Protocol):
    def __call__(
        self,
        stream: trio.abc.Stream,
        *,
        host: str,
        target: str,
        max_message_bytes: int = MESSAGE_BYTES_MAX,
        timeout_s: float = HANDSHAKE_S,
    ) -> AbstractAsyncContextManager[WebSocket]:
        """A session on `stream`, which is closed at the end in any case. `host` is the Host header.

        WebSocketClosed if it can't be opened within `timeout_s`. What the body raises comes out as it is.
        """
        ...
