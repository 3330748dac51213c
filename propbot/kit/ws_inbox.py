"""What a session receives, without I/O: bytes in, messages and the end out. `ws_sansio` is the shell around it.

The `websockets` protocol decides everything, except for the one kind of frame that venues send by the thousand: an
unfragmented, unmasked, uncompressed text frame with a short header. That is cut out of the buffer right here, at a
fraction of the price (docs/decisions/0006). The protocol never misses it, because we know where its frames end: while
it is in the middle of anything (a frame, a fragmented message, the closing) nothing is taken past it. A property test
holds both ways to the same messages, answers and ends.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen
from websockets.client import ClientProtocol
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import State

from propbot.kit.ws import ABNORMAL

_FINAL_TEXT = 0x81
_SHORT, _LONG = 126, 127
"""Lengths that stand for two, and for eight, bytes of length behind them."""
_MASK = 0x80


@frozen
class End:
    """How the session ended, as the user of the session is told."""

    code: int
    reason: str


class Inbox:
    """The protocol is open and has consumed whole frames only; `unread` is what came behind the handshake."""

    def __init__(
        self, protocol: ClientProtocol, unread: bytes, max_message_bytes: int, on_pong: Callable[[bytes], None]
    ) -> None:
        self._protocol = protocol
        self._max_message_bytes = max_message_bytes
        self._on_pong = on_pong
        self._buffer = unread
        self._at = 0
        self._frame_rest = 0
        """Bytes still to come of the frame that the protocol is in."""
        self._parts: list[bytes | bytearray] | None = None
        """Of the fragmented message that is under way."""
        self._parts_are_text = False
        self._at_rest = True
        """The protocol is open and in the middle of nothing: a plain frame may be taken past it."""
        self.hungry = False
        """The last `take` gave nothing for want of bytes."""
        self.end: End | None = None

    def feed(self, received: bytes | bytearray) -> None:
        left = self._buffer[self._at :]
        self._buffer = left + received if left else bytes(received)
        self._at = 0

    def feed_eof(self) -> None:
        """Nothing more will come."""
        self._feed_rest()
        if self._protocol.state is not State.OPEN:  # half a header was enough to refuse it
            self.finish(*_how_it_ended(self._protocol))
        self._protocol.receive_eof()
        self.finish(ABNORMAL, "the connection ended")

    def take(self) -> str | bytes | None:
        """The next message. None after anything else: a frame that is no message, `end`, or `hungry`.

        One frame at a time, so that a flood of frames that carry nothing can't keep the caller here.
        """
        buffer, at = self._buffer, self._at
        if self._at_rest and len(buffer) - at > 3 and buffer[at] == _FINAL_TEXT:
            length, start = buffer[at + 1], at + 2
            if length == _SHORT:
                length, start = buffer[at + 2] << 8 | buffer[at + 3], at + 4
            elif length > _SHORT:
                return self._take_by_protocol()
            if length > self._max_message_bytes:
                return self._take_by_protocol()
            end = start + length
            if end > len(buffer):
                self.hungry = True
                return None
            self._at = end
            try:
                return buffer[start:end].decode()
            except UnicodeDecodeError as error:
                self._refuse_text(error)
                return None
        return self._take_by_protocol()

    def finish(self, code: int, reason: str) -> None:
        """The session is over; the first reason stays."""
        self._at_rest = False
        if self.end is None:
            self.end = End(code, reason)

    def discard(self) -> None:
        """Show the protocol what has come, for the sake of the peer's close frame; messages are dropped."""
        self._feed_rest()
        self._protocol.events_received()

    def _feed_rest(self) -> None:
        rest = self._buffer[self._at :]
        self._buffer, self._at = b"", 0
        if rest:
            self._protocol.receive_data(rest)

    def _take_by_protocol(self) -> str | bytes | None:
        self.hungry = False
        if self.end is not None:
            return None
        if not self._frame_rest:
            self._frame_rest = _frame_bytes(self._buffer, self._at)
        piece = self._buffer[self._at : self._at + self._frame_rest]
        if not piece:
            self.hungry = True
            return None
        self._at += len(piece)
        self._frame_rest -= len(piece)
        self._protocol.receive_data(piece)
        message: str | bytes | None = None
        for event in self._protocol.events_received():  # at most one: no more than one frame went in
            assert isinstance(event, Frame)
            message = self._take_frame(event)
        if self._protocol.state is not State.OPEN:
            self.finish(*_how_it_ended(self._protocol))
        self._at_rest = self.end is None and self._parts is None and not self._frame_rest
        return message

    def _take_frame(self, frame: Frame) -> str | bytes | None:
        data = bytes(frame.data)
        match frame.opcode:
            case Opcode.PONG:
                self._on_pong(data)
                return None
            case Opcode.TEXT | Opcode.BINARY:
                self._parts, self._parts_are_text = [data], frame.opcode is Opcode.TEXT
            case Opcode.CONT:
                assert self._parts is not None, "the protocol refuses a continuation of nothing"
                if data:
                    self._parts.append(data)
            case _:  # a ping is answered, and a close frame echoed, by the protocol
                return None
        if not frame.fin:
            return None
        message, self._parts = b"".join(self._parts), None
        if not self._parts_are_text:
            return message
        try:
            return message.decode()
        except UnicodeDecodeError as error:
            self._refuse_text(error)
            return None

    def _refuse_text(self, error: UnicodeDecodeError) -> None:
        reason = f"{error.reason} at position {error.start}"
        if self._protocol.state is State.OPEN:
            self._protocol.fail(CloseCode.INVALID_DATA, reason)
        self.finish(CloseCode.INVALID_DATA, reason)


def _frame_bytes(buffer: bytes, at: int) -> int:
    """The length of the frame that begins there, header included; 0 while that can't be told."""
    have = len(buffer) - at
    if have < 2:
        return 0
    masked, length, head = buffer[at + 1] & _MASK, buffer[at + 1] & ~_MASK, 2
    if length >= _SHORT:
        head = 4 if length == _SHORT else 10
        if have < head:
            return 0
        length = int.from_bytes(buffer[at + 2 : at + head], "big")
    return head + (4 if masked else 0) + length


def _how_it_ended(protocol: ClientProtocol) -> tuple[int, str]:
    """Code and reason: the peer's, unless it broke the rules; then what we told it."""
    if protocol.parser_exc is None and protocol.close_rcvd is not None:
        return protocol.close_rcvd.code, protocol.close_rcvd.reason
    if protocol.close_sent is not None:
        return protocol.close_sent.code, protocol.close_sent.reason
    return ABNORMAL, str(protocol.parser_exc or "")
