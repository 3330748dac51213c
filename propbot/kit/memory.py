"""Two ends of a byte stream in memory, with a socket's manners.

Not `trio.testing.memory_stream_pair`: that one passes two checkpoints before it puts a byte, so that an order whose
gate said yes could still leave after a HOLD, in simulation only. Like a socket's, a send here is either cancelled
before its first byte or has put it; and an end can be asked, without waiting, whether the other one hung up.
"""

from __future__ import annotations

import trio


class _Pipe:
    """One direction: bytes on their way, and which of its ends are closed."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.writer_closed = False
        self.reader_closed = False
        self.readers = trio.lowlevel.ParkingLot()

    @property
    def readable(self) -> bool:
        return bool(self.buffer) or self.writer_closed or self.reader_closed


class MemoryStream(trio.abc.Stream):
    """One end. The buffer is unbounded: there is no back-pressure in memory."""

    def __init__(self, incoming: _Pipe, outgoing: _Pipe) -> None:
        self._incoming = incoming
        self._outgoing = outgoing

    @property
    def readable(self) -> bool:
        """Whether a receive would return at once, with bytes or with the end."""
        return self._incoming.readable

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()  # yields only when cancelled: what follows is the first byte
        if self._outgoing.writer_closed:
            raise trio.ClosedResourceError("this end is closed")
        if self._outgoing.reader_closed:
            raise trio.BrokenResourceError("the other end is closed")
        self._outgoing.buffer += data
        self._outgoing.readers.unpark_all()
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if max_bytes is not None and max_bytes < 1:
            raise ValueError("max_bytes must be 1 or more")
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._incoming.readable:
            await self._incoming.readers.park()
        if self._incoming.reader_closed:
            raise trio.ClosedResourceError("this end is closed")
        received = bytes(self._incoming.buffer[:max_bytes])
        del self._incoming.buffer[: len(received)]
        await trio.lowlevel.cancel_shielded_checkpoint()  # what was taken out is handed over, never lost
        return received

    async def aclose(self) -> None:
        self.cut()
        await trio.lowlevel.checkpoint()

    def cut(self) -> None:
        """Close this end now, as an operating system does for a process that was killed."""
        self._outgoing.writer_closed = True
        self._incoming.reader_closed = True
        self._outgoing.readers.unpark_all()
        self._incoming.readers.unpark_all()


def memory_stream_pair() -> tuple[MemoryStream, MemoryStream]:
    there, back = _Pipe(), _Pipe()
    return MemoryStream(back, there), MemoryStream(there, back)
