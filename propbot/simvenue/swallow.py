"""A connection that can die without a word, as behind a router that forgot it: fault blackhole.

No byte comes or goes any more and neither end is told. What was swallowed is lost, so a connection that has met the
fault once stays dead: its bytes would make no sense any more.
"""

from __future__ import annotations

from collections.abc import Callable

import trio


class SwallowingStream(trio.abc.Stream):
    """`inner` until a byte passes while `swallows` is true."""

    def __init__(self, inner: trio.abc.Stream, swallows: Callable[[], bool]) -> None:
        self._inner = inner
        self._swallows = swallows
        self._dead = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._is_dead():
            await trio.lowlevel.checkpoint()
        else:
            await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        while True:
            data = await self._inner.receive_some(max_bytes)
            if not data or not self._is_dead():
                return data

    async def aclose(self) -> None:
        """The peer is told all the same: a venue that gives up while its packets are lost is no other case for it."""
        await self._inner.aclose()

    def _is_dead(self) -> bool:
        self._dead = self._dead or self._swallows()
        return self._dead
