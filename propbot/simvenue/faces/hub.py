"""Who gets which market frame. Frames go out byte for byte; depth streams of any pace are served what the source has.

A recording holds `@depth@0ms`, clients ask for `@depth` or `@depth@100ms`: all of these are one stream here, and it is
noted in the trace when somebody gets another pace than asked for. Partial books (`@depth5`) are other streams: no
source has them, so they are made here, of what the venue shows after each depth frame.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec
import trio

from propbot.domain.market import DepthDiff, DepthSnapshot, TopOfBook
from propbot.simvenue.faces.client import WsClient
from propbot.simvenue.faces.core import Core
from propbot.simvenue.faces.mangle import FrameFaults
from propbot.simvenue.records import MarketFrame

_DIFF_DEPTH = re.compile(r"(?P<stream>[^@]+@depth)(?:@\d+ms)?")
_PARTIAL_DEPTH = re.compile(r"(?P<symbol>[^@]+)@depth(?P<levels>5|10|20)(?:@\d+ms)?")

PartialShape = Callable[[DepthDiff, DepthSnapshot], dict[str, Any]]
"""(the depth frame, the best levels after it) → a partial book stream's message, in the venue's words."""


def stream_key(stream: str) -> str:
    """What `stream` is filed under: diff depth without its pace, everything else as it is."""
    found = _DIFF_DEPTH.fullmatch(stream)
    return stream if found is None else found["stream"]


def _update_id(frame: MarketFrame) -> int | None:
    match frame.event:
        case DepthDiff(last_id=last_id):
            return last_id
        case TopOfBook(update_id=update_id):
            return update_id
    return None


class Hub:
    """One venue's market subscriptions."""

    def __init__(self, core: Core, partial_shape: PartialShape) -> None:
        self._core = core
        self._faults = FrameFaults(core)
        self._partial_shape = partial_shape
        self._partials: dict[str, int] = {}
        """Partial book streams that somebody has asked for → how many levels a side."""
        self._raw: dict[str, dict[WsClient, None]] = {}
        self._combined: dict[str, dict[WsClient, None]] = {}
        self._keys: dict[str, str] = {}
        self._seen: dict[str, str] = {}
        """Filed under → the name that the source's frames carry."""
        core.faults.on(core.venue, "stream_cut", lambda params: self.close_all(int(params["code"]), "going away"))
        self._asked: dict[str, dict[str, None]] = {}
        """Filed under → the names that were asked for before a frame told what there is."""

    def subscribe(self, client: WsClient, stream: str, *, combined: bool) -> None:
        key = stream_key(stream)
        partial = _PARTIAL_DEPTH.fullmatch(stream)
        if partial is not None:
            self._partials[stream] = int(partial["levels"])
        (self._combined if combined else self._raw).setdefault(key, {})[client] = None
        if key in self._seen:
            self._note_served(stream, self._seen[key])
        else:
            self._asked.setdefault(key, {})[stream] = None

    def unsubscribe(self, client: WsClient, stream: str) -> None:
        for table in (self._raw, self._combined):
            table.get(stream_key(stream), {}).pop(client, None)

    def close_all(self, code: int, reason: str) -> None:
        """End every session that hears market frames."""
        for table in (self._raw, self._combined):
            for clients in table.values():
                for client in tuple(clients):
                    client.close(code, reason)

    def drop(self, client: WsClient) -> None:
        for table in (self._raw, self._combined):
            for clients in table.values():
                clients.pop(client, None)

    def publish(self, frame: MarketFrame) -> None:
        """To all subscribers; synchronous, whatever they do."""
        key = self._keys.get(frame.stream)
        if key is None:
            key = self._keys[frame.stream] = stream_key(frame.stream)
            if key not in self._seen:
                self._seen[key] = frame.stream
                for asked in self._asked.pop(key, ()):
                    self._note_served(asked, frame.stream)
        core = self._core
        if core.faults.armed(core.venue):
            due_s = trio.current_time() + self._faults.late_s()
            for changed in self._faults.pass_on(frame):
                self._send(changed, key, due_s)
        else:
            self._send(frame, key)

    def _send(self, frame: MarketFrame, key: str, due_s: float = 0.0) -> None:
        core = self._core
        core.trace.row(core.venue, "out", "frame", u=_update_id(frame), stream=frame.stream)
        for client in tuple(self._combined.get(key, ())):
            client.offer(frame.envelope, due_s)
        for client in tuple(self._raw.get(key, ())):
            client.offer(frame.data, due_s)
        if self._partials and isinstance(frame.event, DepthDiff):
            self._publish_partials(frame.event)

    def _publish_partials(self, diff: DepthDiff) -> None:
        symbol = diff.symbol.lower()
        for stream, levels in self._partials.items():
            raw, combined = tuple(self._raw.get(stream, ())), tuple(self._combined.get(stream, ()))
            if not (raw or combined) or not stream.startswith(f"{symbol}@"):
                continue
            data = msgspec.json.encode(self._partial_shape(diff, self._core.engine.depth(diff.symbol, levels))).decode()
            for client in combined:
                client.offer(f'{{"stream":"{stream}","data":{data}}}')
            for client in raw:
                client.offer(data)

    def _note_served(self, asked: str, served: str) -> None:
        if asked != served:
            self._core.trace.row(self._core.venue, "out", "note", text=f"{asked} is served as {served}")
