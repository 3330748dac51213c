"""What public and private sessions share: opening one by the dialect's plan, and the health that status shows."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from attrs import define

from propbot.domain.dialect import WsPlan
from propbot.domain.errors import ConnectFailed, ProtocolViolation, VenueRetry
from propbot.domain.instruments import Endpoints, VenueId
from propbot.kit.net import Network, parse_address
from propbot.kit.supervise import describe
from propbot.kit.ws import OpenWebSocket, WebSocket, WebSocketClosed

CONNECT_S_MAX = 10.0
VIOLATIONS_IN_A_ROW_MAX = 5
HEALTHY_S = 2.0
"""A session that has lasted so long is healthy, and its back-off begins anew. One that is closed as soon as it is open
comes back slower each time: each reconnect makes us ask for what was missed, out of the venue's rate limit."""


@define(eq=False)
class FeedHealth:
    """One stream as it is now. Only its session writes it; times are monotonic seconds."""

    connected: bool = False
    sessions: int = 0
    """Opened so far; each but the first was a reconnect."""
    frames: int = 0
    violations: int = 0
    """Frames that the dialect could not make sense of."""
    violations_in_a_row: int = 0
    last_frame_mono_s: float | None = None
    last_error: str = ""
    last_error_mono_s: float | None = None
    snapshots: int = 0
    snapshot_failures: int = 0

    def note_frame(self, now_mono_s: float) -> None:
        self.frames += 1
        self.last_frame_mono_s = now_mono_s

    def note_error(self, text: str, now_mono_s: float) -> None:
        self.last_error = text
        self.last_error_mono_s = now_mono_s

    def note_violation(self, error: ProtocolViolation) -> None:
        """Counts; a stream that makes no sense any more ends the session by raising `error`."""
        self.violations += 1
        self.violations_in_a_row += 1
        if self.violations_in_a_row >= VIOLATIONS_IN_A_ROW_MAX:
            raise error


def end_reason(error: BaseException | None) -> str:
    """Why a session ended, for people; it never ends but by an error."""
    return "stopped" if error is None or isinstance(error, trio.Cancelled) else describe(error)


@asynccontextmanager
async def open_session(
    network: Network,
    open_websocket: OpenWebSocket,
    venue: VenueId,
    endpoints: Endpoints,
    plan: WsPlan,
    health: FeedHealth,
) -> AsyncIterator[WebSocket]:
    """The plan's session, its first frames sent. ConnectFailed if it can't be opened; a session that ends inside the
    body comes out as VenueRetry."""
    address = parse_address(endpoints.ws if plan.base == "ws" else endpoints.ws_api)
    stream: trio.abc.Stream | None = None
    with trio.move_on_after(CONNECT_S_MAX):
        try:
            stream = await network.connect(address)
        except (OSError, ssl.SSLError, trio.BrokenResourceError) as error:
            why = str(error) or str(error.__cause__ or type(error).__name__)
            raise ConnectFailed(venue, f"no connection to {address.authority}: {why}") from error
    if stream is None:
        raise ConnectFailed(venue, f"no connection to {address.authority} within {CONNECT_S_MAX:g} s")
    target = address.path + plan.target or "/"
    opened = False
    try:
        async with open_websocket(stream, host=address.authority, target=target) as ws:
            opened = True
            for frame in plan.first_frames:
                with trio.move_on_after(CONNECT_S_MAX) as sending:
                    await ws.send(frame)
                if sending.cancelled_caught:
                    raise VenueRetry(venue, "the stream takes no frame")
            health.sessions += 1
            health.violations_in_a_row = 0
            health.connected = True
            yield ws
    except WebSocketClosed as closed:
        kind = VenueRetry if opened else ConnectFailed
        raise kind(venue, str(closed)) from closed
    finally:
        health.connected = False
