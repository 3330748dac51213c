"""Answers that are made piece by piece while they are sent: their bodies, and how one is cut.

HTTP says "this was all" with an empty last piece, which Quart sends after any body that ends. A file whose ledger
failed in the middle must not end so: the client would take the half for the whole. Its body raises `CutShort` instead,
the last piece is never sent, and the connection is closed under the client's eyes.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any

import trio
from quart.wrappers.response import ResponseBody
from quart_trio.asgi import TrioASGIHTTPConnection

log = logging.getLogger(__name__)


class CutShort(Exception):
    """The rest of an answer will not come; says why. Raised by its body only."""


class LongBody(ResponseBody):
    """A body made piece by piece in `make_piece`. Quart enters it once the head is sent; `leave` runs however it ends,
    also when the client has gone away."""

    async def make_piece(self) -> bytes | None:
        """The next piece, not empty; None at the end. May raise CutShort."""
        raise NotImplementedError

    def leave(self) -> None:
        """Nothing more will be asked for."""

    async def __aenter__(self) -> LongBody:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.leave()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece = await self.make_piece()
        if piece is None:
            raise StopAsyncIteration
        return piece


class CuttableAnswer(TrioASGIHTTPConnection):
    """Quart's, and it knows CutShort."""

    async def handle_request(self, nursery: trio.Nursery, request: Any, send: Any) -> None:  # type: ignore[override]
        try:
            await super().handle_request(nursery, request, send)
        except CutShort as cut:
            log.info("an answer was cut short: %s", cut)
            nursery.cancel_scope.cancel()
