"""`propbot run` with a stamp at each station of a tick's journey; they go to `stages.json` in its folder at the end.

A stamp costs a quarter of a microsecond. Stations are functions of the bot, wrapped from outside; one that is gone in a
later version is left out.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import inspect
import json
import sys
import time
from collections.abc import Callable
from typing import Any

STATIONS = (
    ("feed", "propbot.feeds.public", "PublicFeed._take", "before"),
    ("book", "propbot.books.book", "OrderBook.apply", "before"),
    ("screen", "propbot.pipeline", "Pipeline.on_book", "before"),
    ("screened", "propbot.pipeline", "Pipeline.on_book", "after"),
    ("decide", "propbot.pipeline", "Pipeline.tick", "before"),
    ("risk", "propbot.pipeline", "Pipeline._execute", "before"),
    ("approved", "propbot.execution.executor", "Executor.execute", "before"),
    ("commit", "propbot.ledger.store", "Ledger.commit_intent", "before"),
    ("worker", "propbot.ledger.store", "run_group", "before"),
    ("durable", "propbot.ledger.store", "run_group", "after"),
    ("committed", "propbot.ledger.store", "Ledger.commit_intent", "after"),
    ("leg", "propbot.execution.executor", "Executor._send", "before"),
    ("sign", "propbot.execution.gateway", "VenueGateway.place", "before"),
    ("request", "propbot.kit.http1", "HttpClient.request", "before"),
    ("first byte", "propbot.kit.http1_connection", "_Wire.send_all", "before"),
    ("sent", "propbot.kit.http1_connection", "_Wire.send_all", "after"),
)
"""Name, module, what in it, and on which side of it the stamp is."""

_stamps: list[tuple[str, int]] = []


def _wrap(original: Callable[..., Any], before: str | None, after: str | None) -> Callable[..., Any]:
    note, now = _stamps.append, time.monotonic_ns

    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if before is not None:
            note((before, now()))
        answer = original(*args, **kwargs)
        if after is not None:
            note((after, now()))
        return answer

    @functools.wraps(original)
    async def wrapped_async(*args: Any, **kwargs: Any) -> Any:
        if before is not None:
            note((before, now()))
        answer = await original(*args, **kwargs)
        if after is not None:
            note((after, now()))
        return answer

    return wrapped_async if inspect.iscoroutinefunction(original) else wrapped


def _patch() -> None:
    for name, module_name, path, side in STATIONS:
        holder: Any = importlib.import_module(module_name)
        *parts, last = path.split(".")
        try:
            for part in parts:
                holder = getattr(holder, part)
            original = getattr(holder, last)
        except AttributeError:
            print(f"no station {name}: {module_name}.{path} is gone", file=sys.stderr)
            continue
        setattr(holder, last, _wrap(original, name if side == "before" else None, name if side == "after" else None))


def _patch_arrival() -> None:
    """`bytes`: a tick's bytes have left TLS, before any WebSocket code has seen them."""
    from propbot.kit.tls import TlsStream

    original = TlsStream.receive_some

    async def receive_some(self: Any, max_bytes: int | None = None) -> Any:
        data = await original(self, max_bytes)
        if b"@bookTicker" in data:
            _stamps.append(("bytes", time.monotonic_ns()))
        return data

    TlsStream.receive_some = receive_some  # type: ignore[method-assign]


def _leave() -> None:
    with open("stages.json", "w") as file:
        json.dump(_stamps, file)


if __name__ == "__main__":
    _patch()
    _patch_arrival()
    atexit.register(_leave)
    from propbot.cli import main

    main()
