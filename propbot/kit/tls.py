"""TLS on the client's side of a stream, handing out all that has come.

Trio's own `SSLStream` gives one record for one `receive_some`, with two checkpoints. Venues send a record for each
frame, so in a burst that costs several times what the frame does (docs/decisions/0006). Here a read decrypts every
record that lies ready. All cryptography and all checking is OpenSSL's, by the standard library's `SSLObject`.

As with `https_compatible=True` there, a connection may end without TLS's own goodbye and says none: what is carried
(HTTP with a length, WebSocket with a close frame) tells a whole message from a cut one.
"""

from __future__ import annotations

import ssl

import trio

_RECORD_BYTES_MAX = 16 * 1024
_RECEIVE_BYTES = 64 * 1024


class TlsStream(trio.abc.Stream):
    """`do_handshake` comes first; it verifies what `context` says. One task at a time receives, any may send."""

    def __init__(self, transport_stream: trio.abc.Stream, context: ssl.SSLContext, server_hostname: str) -> None:
        self.transport_stream = transport_stream
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)
        self._sending = trio.Lock()
        self._cut_off = False
        """A send began and did not end: the records would not follow one another any more."""
        self._over = False
        self._failure: ssl.SSLError | None = None

    async def do_handshake(self) -> None:
        """trio.BrokenResourceError, caused by the ssl.SSLError, if the peer can't be talked to or trusted."""
        while True:
            try:
                self._object.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()
            except ssl.SSLError as error:
                raise trio.BrokenResourceError(str(error)) from error
            else:
                await self._flush()
                return

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if max_bytes is not None and max_bytes < 1:
            raise ValueError("max_bytes must be 1 or more")
        await trio.lowlevel.checkpoint_if_cancelled()
        waited = False
        while True:
            received = self._read_ready(_RECEIVE_BYTES if max_bytes is None else max_bytes)
            if received or self._over:
                if not waited:
                    await trio.lowlevel.cancel_shielded_checkpoint()  # what was taken out is handed over, never lost
                return received
            if self._failure is not None:
                raise trio.BrokenResourceError(str(self._failure)) from self._failure
            await self._flush()  # the answer to a key update, rarely
            await self._fill()
            waited = True

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        async with self._sending:
            if self._cut_off:
                raise trio.BrokenResourceError("an earlier send was cut off")
            if data:
                try:
                    self._object.write(data)
                except ssl.SSLError as error:
                    raise trio.BrokenResourceError(str(error)) from error
            await self._send_records()

    async def wait_send_all_might_not_block(self) -> None:
        async with self._sending:
            await self.transport_stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self.transport_stream.aclose()

    def _read_ready(self, max_bytes: int) -> bytes:
        """What can be had without waiting. Sets `_over` or `_failure` at the end, which is told after the last byte."""
        parts: list[bytes] = []
        try:
            while max_bytes > 0 and not self._over and self._failure is None:
                part = self._object.read(min(max_bytes, _RECORD_BYTES_MAX))
                if part:
                    parts.append(part)
                    max_bytes -= len(part)
                else:
                    self._over = True
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            self._over = True
        except ssl.SSLError as error:
            self._failure = error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _fill(self) -> None:
        received = await self.transport_stream.receive_some(_RECEIVE_BYTES)
        if received:
            self._incoming.write(received)
        else:
            self._incoming.write_eof()

    async def _flush(self) -> None:
        if self._outgoing.pending:
            async with self._sending:
                await self._send_records()

    async def _send_records(self) -> None:
        """The lock is held, so that records leave in the order in which they were made."""
        records = self._outgoing.read()
        if records:
            self._cut_off = True
            await self.transport_stream.send_all(records)
            self._cut_off = False
