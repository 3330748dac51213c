"""Keys, signatures and the time window: who is asking, and is it now.

REST: HMAC-SHA256 over query ∥ body exactly as sent (no `&` between), without the `signature` parameter, wherever that
stands; hex digits in either case. WebSocket API: over the parameters sorted by name, raw.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from decimal import Decimal

from propbot.domain.instruments import Credentials
from propbot.simvenue.faces.errors import bad_signature, bad_window, missing, outside_window
from propbot.simvenue.faces.params import Params

RECV_WINDOW_MS_DEFAULT = Decimal(5000)
RECV_WINDOW_MS_MAX = Decimal(60_000)
_AHEAD_MS_MAX = 1000
_MICROSECONDS_FROM = 10**14
"""A larger timestamp is in microseconds (spot takes both)."""


def signed_rest_payload(query: str, body: bytes) -> str:
    """What a REST signature is over."""
    return "".join(
        "&".join(part for part in text.split("&") if not part.startswith("signature="))
        for text in (query, body.decode("latin-1"))
    )


def signed_ws_payload(params: Mapping[str, str]) -> str:
    """What a WebSocket API signature is over."""
    return "&".join(f"{name}={params[name]}" for name in sorted(params) if name != "signature")


def check_signature(credentials: Credentials, payload: str, signature: str | None, *, encoding: str) -> None:
    """`encoding`: how `payload` was made text from the bytes that came."""
    if signature is None:
        raise missing("signature")
    expected = hmac.new(credentials.api_secret.encode(), payload.encode(encoding), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), signature.lower().encode()):
        raise bad_signature()


def check_window(params: Params, now_ms: int) -> None:
    """`timestamp < now + 1000` and `now − timestamp ≤ recvWindow`, else -1021."""
    stamp = params.amount("timestamp")
    if stamp is None:
        raise missing("timestamp")
    window_ms = params.amount("recvWindow")
    if window_ms is None:
        window_ms = RECV_WINDOW_MS_DEFAULT
    if window_ms > RECV_WINDOW_MS_MAX:
        raise bad_window()
    stamp_ms = stamp / 1000 if stamp >= _MICROSECONDS_FROM else stamp
    if stamp_ms >= now_ms + _AHEAD_MS_MAX:
        raise outside_window(ahead=True)
    if now_ms - stamp_ms > window_ms:
        raise outside_window(ahead=False)
