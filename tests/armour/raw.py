"""Raw HTTP that means harm: the vectors known to have ended such servers, and requests mutated from a seed."""

from __future__ import annotations

import random
from collections.abc import Sequence

WEBSOCKET_WITH_TRAILING_BYTE = (
    b"GET /api/ui/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\nX"
)
H2C_WITH_BAD_SETTINGS = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n"
)
H2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
TLS_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64))
VECTORS: Sequence[bytes] = (WEBSOCKET_WITH_TRAILING_BYTE, H2C_WITH_BAD_SETTINGS, H2_PREFACE, TLS_HELLO)
"""hypercorn issue 225 and what was measured beside it."""
GRAFTS = (
    b"\r\n", b"\r\n\r\n", b"\x00", b"\xff", b"\n", b"\r", b":", b" ", b"\t", b"%00", b"%", b"..", b"//", b"?", b"#",
    b"Upgrade: h2c\r\n", b"Upgrade: websocket\r\nConnection: upgrade\r\n", b"Content-Length: 9\r\n",
    b"Content-Length: -1\r\n", b"Content-Length: 99999999999999999999\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip\r\n", b"Expect: 100-continue\r\n", b"Connection: close\r\n", b"Host: y\r\n",
    b"Origin: null\r\n", b"X-Forwarded-For: 1, 2,,\xff\r\n", b"Authorization: Bearer \xff\r\n", b"HTTP/1.0",
    b"HTTP/9.9", b"7fffffffffffffff\r\n", b"-1\r\n", b"[" * 300, b'"\\ud800"', b"NaN", b"1e999", b"A" * 20_000,
)


def seeds(token: str) -> list[bytes]:
    """Requests that are legal, some of them with a token that counts, and the vectors."""
    authorised = b"Host: x\r\nAuthorization: Bearer " + token.encode() + b"\r\nContent-Type: application/json\r\n"
    hold = b'{"mode":"HOLD","reason":"fuzz"}'
    return [
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"HEAD /docs HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
        b"GET /api/ui/events?limit=5&since=2026-11-23T03:12:09Z&kind=feed HTTP/1.1\r\n" + authorised + b"\r\n",
        b"GET /api/ui/fills?limit=5&cursor=17 HTTP/1.1\r\n" + authorised + b"\r\n",
        b"PATCH /api/ui/control HTTP/1.1\r\n" + authorised + b"Content-Length: %d\r\n\r\n" % len(hold) + hold,
        b"PATCH /api/ui/control HTTP/1.1\r\n" + authorised + b"Transfer-Encoding: chunked\r\n\r\n"
        b"10\r\n{\"mode\": \"HOLD\"}\r\n0\r\nTrailer: x\r\n\r\n",
        b"POST /api/ui/incidents/1/ack HTTP/1.1\r\n" + authorised + b"Content-Length: 12\r\n\r\n{\"note\":\"x\"}",
        b"POST /api/ui/approvals/k1/approve HTTP/1.1\r\n" + authorised + b"Content-Length: 2\r\n\r\n{}",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
        b"GET http://x/%ff?%00 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
        *VECTORS,
    ]


def mutated(rng: random.Random, legal: Sequence[bytes]) -> bytes:
    """One of them, with up to eight changes; sometimes none."""
    raw = bytearray(rng.choice(legal))
    for _ in range(rng.randrange(9)):
        at = rng.randrange(len(raw)) if raw else 0
        match rng.randrange(6):
            case 0 if raw:
                raw[at] = rng.randrange(256)
            case 1:
                del raw[at : at + rng.randrange(1, 12)]
            case 2:
                raw[at:at] = rng.randbytes(rng.randrange(1, 12))
            case 3:
                raw[at:at] = raw[at : at + rng.randrange(1, 60)]
            case 4:
                del raw[at:]
            case _:
                raw[at:at] = rng.choice(GRAFTS)
    return bytes(raw) or b"\r\n"
