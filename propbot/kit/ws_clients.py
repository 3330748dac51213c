"""The WebSocket clients by the names that `WS_CLIENT` takes; docs/decisions/0006 says why there are two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from propbot.kit import ws_sansio, ws_trio
from propbot.kit.ws import OpenWebSocket

WS_CLIENTS: Final[Mapping[str, OpenWebSocket]] = {
    "websockets": ws_sansio.open_websocket,
    "trio-websocket": ws_trio.open_websocket,
}
