"""The quick way through the inbox and the protocol alone: the same messages, answers and end for any bytes."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import OPEN, State
from websockets.uri import WebSocketURI

from propbot.kit.ws_inbox import End, Inbox

LIMIT = 300
Outcome = tuple[list[str | bytes], list[bytes], list[tuple[Opcode, bytes]], int]
"""Messages, pongs, what we sent, and the code of the end."""


def open_protocol(*, deflate: bool) -> ClientProtocol:
    protocol = ClientProtocol(WebSocketURI(False, "venue", 80, "/", ""), state=OPEN, max_size=LIMIT)
    if deflate:
        protocol.extensions = [PerMessageDeflate(False, False, 15, 15)]
    return protocol


def sent(protocol: ClientProtocol) -> list[tuple[Opcode, bytes]]:
    """The frames that the client wrote, unmasked."""
    wire = b"".join(protocol.data_to_send())
    frames: list[tuple[Opcode, bytes]] = []
    while wire:
        length = wire[1] & 0x7F
        assert wire[1] & 0x80, "a client masks"
        assert length < 126
        mask, payload = wire[2:6], wire[6 : 6 + length]
        frames.append((Opcode(wire[0] & 0xF), bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))))
        wire = wire[6 + length :]
    return frames


def by_inbox(pieces: list[bytes], *, deflate: bool) -> Outcome:
    protocol = open_protocol(deflate=deflate)
    pongs: list[bytes] = []
    inbox = Inbox(protocol, b"", LIMIT, pongs.append)
    messages: list[str | bytes] = []
    for piece in pieces:
        inbox.feed(piece)
        while inbox.end is None:
            message = inbox.take()
            if message is not None:
                messages.append(message)
            elif inbox.hungry:
                break
    if inbox.end is None:
        inbox.feed_eof()
    assert inbox.end is not None
    return messages, pongs, sent(protocol), inbox.end.code


def by_protocol(pieces: list[bytes], *, deflate: bool) -> Outcome:
    """All bytes to the protocol, whatever they are; messages put together here."""
    protocol = open_protocol(deflate=deflate)
    messages: list[str | bytes] = []
    pongs: list[bytes] = []
    parts: list[bytes] = []
    is_text = False
    for piece in pieces:
        protocol.receive_data(piece)
    for frame in protocol.events_received():
        assert isinstance(frame, Frame)
        if frame.opcode is Opcode.PONG:
            pongs.append(bytes(frame.data))
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            continue
        if frame.opcode is not Opcode.CONT:
            is_text = frame.opcode is Opcode.TEXT
        parts.append(bytes(frame.data))
        if frame.fin:
            whole, parts = b"".join(parts), []
            try:
                messages.append(whole.decode() if is_text else whole)
            except UnicodeDecodeError:  # the protocol leaves that to its user; it has answered later frames already
                return messages, pongs, [], 1007
    if protocol.state is State.OPEN:
        return messages, pongs, sent(protocol), 1006
    end = protocol.close_sent if protocol.parser_exc is not None else protocol.close_rcvd
    assert end is not None
    return messages, pongs, sent(protocol), end.code


def assert_same(pieces: list[bytes], *, deflate: bool) -> None:
    expected, found = by_protocol(pieces, deflate=deflate), by_inbox(pieces, deflate=deflate)
    if expected[3] == 1007 and not expected[2]:
        found = (*found[:2], [], found[3])
    assert found == expected


def frame(opcode: Opcode, payload: bytes, *, fin: bool = True, mask: bool = False, deflate: bool = False) -> bytes:
    extensions = [PerMessageDeflate(True, True, 15, 15)] if deflate else None
    return Frame(opcode, payload, fin).serialize(mask=mask, extensions=extensions)


short_texts = st.text(max_size=12).map(str.encode)
texts = short_texts | st.sampled_from([b"x" * length for length in (124, 125, 126, 127, 300)])
valid = st.one_of(
    st.builds(frame, st.just(Opcode.TEXT), texts),
    st.builds(lambda text: b"\x81\x7e" + struct.pack("!H", len(text)) + text, texts),  # length longer than needed
    st.builds(frame, st.just(Opcode.BINARY), st.binary(max_size=200)),
    st.builds(frame, st.sampled_from([Opcode.PING, Opcode.PONG]), st.binary(max_size=125)),
    st.builds(lambda text: frame(Opcode.TEXT, text, deflate=True), texts),
    st.builds(
        lambda first, between, last: (
            frame(Opcode.TEXT, first, fin=False) + b"".join(between) + frame(Opcode.CONT, last)
        ),
        short_texts,
        st.lists(
            st.builds(frame, st.just(Opcode.PING), st.binary(max_size=5))
            | st.builds(lambda text: frame(Opcode.CONT, text, fin=False), short_texts),
            max_size=3,
        ),
        short_texts,
    ),
)
invalid = st.one_of(
    st.binary(min_size=1, max_size=20),
    st.builds(lambda head, rest: bytes(head) + rest, st.tuples(st.integers(0, 255), st.integers(0, 255)), texts),
    st.builds(frame, st.sampled_from([Opcode.TEXT, Opcode.CONT]), texts, mask=st.just(True)),
    st.builds(frame, st.just(Opcode.CONT), texts),
    st.builds(lambda text: frame(Opcode.TEXT, text, fin=False), texts),
    st.builds(lambda code: frame(Opcode.CLOSE, struct.pack("!H", code)), st.sampled_from([1000, 1001, 4000, 1005, 0])),
    st.just(frame(Opcode.CLOSE, b"")),
    st.just(frame(Opcode.PING, b"").replace(b"\x89", b"\x09")),
    st.builds(lambda length: b"\x81\x7f" + struct.pack("!Q", length), st.integers(0, 2**64 - 1)),
    st.builds(lambda text: frame(Opcode.TEXT, text), st.just(b"x" * 301) | st.binary(max_size=20)),
)
# Much that is valid around one that may not be: what is wrong must be found out in the middle of the quick way.
streams = st.builds(
    lambda before, odd, after: [*before, *odd, *after],
    st.lists(valid, max_size=8), st.lists(invalid, max_size=1), st.lists(valid, max_size=4),
)


@given(
    frames=streams,
    cuts=st.lists(st.integers(1, 8) | st.integers(1, 400), max_size=60),
    deflate=st.booleans(),
)
@example(frames=[b"\x81\x00"] * 3, cuts=[1, 1, 1, 1, 1], deflate=False)
@example(frames=[b"\x81\x01x\x83"], cuts=[], deflate=False)
@settings(max_examples=300, deadline=None)
def test_both_ways_give_the_same(frames: list[bytes], cuts: list[int], deflate: bool) -> None:
    wire = b"".join(frames)
    pieces: list[bytes] = []
    for cut in cuts:
        pieces, wire = [*pieces, wire[:cut]], wire[cut:]
    pieces = [piece for piece in [*pieces, wire] if piece]
    assert_same(pieces, deflate=deflate)


ALPHABET = [
    frame(Opcode.TEXT, b"plain"),
    frame(Opcode.TEXT, b"x" * 130),
    frame(Opcode.TEXT, b"x" * (LIMIT + 1)),
    frame(Opcode.TEXT, b"no UTF-8 \xff"),
    frame(Opcode.TEXT, b"open", fin=False),
    frame(Opcode.TEXT, b"deflated", deflate=True),
    frame(Opcode.TEXT, b"masked", mask=True),
    frame(Opcode.CONT, b"on", fin=False),
    frame(Opcode.CONT, b"end"),
    frame(Opcode.BINARY, frame(Opcode.TEXT, b"inside") * 2),
    frame(Opcode.PING, frame(Opcode.TEXT, b"ping")),
    frame(Opcode.PONG, b""),
    frame(Opcode.CLOSE, b"\x03\xe8"),
    b"\x81\x7f" + struct.pack("!Q", 6) + b"longer",
    b"\x83\x03bad",
]


@pytest.mark.parametrize("deflate", [False, True])
def test_both_ways_give_the_same_for_each_three_frames(deflate: bool) -> None:
    for frames in itertools.product(ALPHABET, repeat=3):
        assert_same([b"".join(frames)], deflate=deflate)


def test_both_ways_give_the_same_for_each_two_frames_cut_anywhere() -> None:
    for frames in itertools.product(ALPHABET, repeat=2):
        wire = b"".join(frames)
        for at in range(1, min(len(wire), 40)):
            assert_same([wire[:at], wire[at:]], deflate=False)
            assert_same([wire[:-at], wire[-at:]], deflate=False)


def test_many_plain_messages_take_the_quick_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The property above holds for a quick way that is never taken, too."""
    protocol = open_protocol(deflate=True)
    inbox = Inbox(protocol, b"", LIMIT, lambda payload: None)
    ping = frame(Opcode.PING, b"?")
    inbox.feed(ping + frame(Opcode.TEXT, b"x" * 180) * 50 + frame(Opcode.TEXT, b"short") * 50 + ping)
    assert inbox.take() is None
    with monkeypatch.context() as patched:
        patched.setattr(protocol, "receive_data", None)
        taken = [inbox.take() for _ in range(100)]
    assert taken == ["x" * 180] * 50 + ["short"] * 50
    assert (inbox.take(), inbox.take(), inbox.hungry, inbox.end) == (None, None, True, None)
    assert [opcode for opcode, _ in sent(protocol)] == [Opcode.PONG] * 2


def test_the_first_end_stays() -> None:
    inbox = Inbox(open_protocol(deflate=False), b"", LIMIT, lambda payload: None)
    close = frame(Opcode.CLOSE, Close(4001, "enough").serialize())
    inbox.feed(frame(Opcode.TEXT, b"last") + close + frame(Opcode.TEXT, b"never"))
    assert [inbox.take(), inbox.take(), inbox.take()] == ["last", None, None]
    inbox.feed_eof()
    inbox.finish(1006, "closed by us")
    assert inbox.end == End(4001, "enough")
