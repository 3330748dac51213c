"""The road between the bot and its venues, as bad as a test wants it. Venues know nothing of it, nor does the bot.

    world.network = weather = Weather(world.network)
    bot = await world.start_bot()
    weather.link_down(120)

A link that is down keeps both sides' bytes for later, as the kernels of both ends do: what was written meanwhile is
delivered when the link is up again, after a close too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio
from attrs import define, field

from propbot.kit.memory import MemoryStream
from propbot.kit.net import Address, Handler, MemoryNetwork


class WeatherStream(MemoryStream):
    """The bot's end of one connection."""

    def __init__(self, inner: MemoryStream, weather: Weather) -> None:
        super().__init__(inner._incoming, inner._outgoing)
        self._weather = weather
        self._held = bytearray()
        self._closed = False

    @property
    def readable(self) -> bool:
        return self._weather.up and super().readable

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        cut_after = self._weather.cut_in(bytes(data))
        if cut_after is not None:
            await super().send_all(bytes(data)[:cut_after])
            super().cut()
            raise trio.BrokenResourceError("the connection was reset in the middle of a request")
        if self._weather.up:
            await super().send_all(data)
            return
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._closed:
            raise trio.ClosedResourceError("this end is closed")
        self._held += data
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        while not self._weather.up and not self._closed:
            await self._weather.changed.wait()
        received = await super().receive_some(max_bytes)
        while not self._weather.up and not self._closed:  # it was on the wire when the link went down
            await self._weather.changed.wait()
        if self._closed:
            raise trio.ClosedResourceError("this end is closed")
        return received

    def cut(self) -> None:
        self._closed = True
        if self._weather.up:
            super().cut()
            return
        self._incoming.reader_closed = True
        self._incoming.readers.unpark_all()
        self._weather.poke()

    def deliver(self) -> None:
        """The link is up again: what was held goes out, and the close after it."""
        if self._held and not self._outgoing.reader_closed:
            self._outgoing.buffer += self._held
        self._held.clear()
        self._outgoing.readers.unpark_all()
        if self._closed:
            super().cut()


@define(eq=False)
class Weather:
    """A network as the world takes it."""

    inner: MemoryNetwork
    up: bool = True
    changed: trio.Event = field(factory=trio.Event)
    connects: list[tuple[float, Address]] = field(factory=list)
    """Every attempt, with its time."""
    refuse: Callable[[Address], BaseException | None] = lambda _: None
    """Why an attempt fails now; None: it does not."""
    cut_in: Callable[[bytes], int | None] = lambda _: None
    """After how many of these bytes the connection breaks; None: it does not."""
    _streams: list[WeatherStream] = field(factory=list)

    async def connect(self, address: Address) -> trio.abc.Stream:
        self.connects.append((trio.current_time(), address))
        while not self.up:
            await self.changed.wait()
        error = self.refuse(address)
        if error is not None:
            await trio.lowlevel.checkpoint()
            raise error
        inner = await self.inner.connect(address)
        assert isinstance(inner, MemoryStream)
        stream = WeatherStream(inner, self)
        self._streams = [each for each in self._streams if not each._closed] + [stream]
        return stream

    async def serve(self, handler: Handler, host: str, port: int, **options: Any) -> None:
        await self.inner.serve(handler, host, port, **options)

    def link_down(self) -> None:
        self.up = False
        self.poke()

    def link_up(self) -> None:
        self.up = True
        for stream in self._streams:
            stream.deliver()
        self.poke()

    def reset_all(self) -> None:
        """Every open connection breaks."""
        for stream in self._streams:
            if not stream._closed:
                stream.cut()

    def poke(self) -> None:
        self.changed.set()
        self.changed = trio.Event()
