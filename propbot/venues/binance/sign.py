"""Signatures: HMAC-SHA256 over exactly the bytes that are sent.

REST signs the percent-encoded query (encode first, else -1022: REST change of 2026-01-15); the WebSocket API signs
the raw values, sorted by name. All parameters go into the query string and the body stays empty, as the official
SDK does it, so there is one text to sign and it is the one on the wire.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from urllib.parse import quote, urlencode

from propbot.domain.instruments import Credentials

_NEEDS_NO_QUOTING = re.compile(r"[A-Za-z0-9_.~=&-]*")
"""What `quote` leaves as it is, and what stands between."""

Params = Mapping[str, str | int]


def signature(payload: str, api_secret: str) -> str:
    """Hex HMAC-SHA256 of `payload` (for REST: query and body, concatenated without `&`)."""
    return hmac.digest(api_secret.encode(), payload.encode(), "sha256").hex()


def query_text(params: Params) -> str:
    """`a=1&b=%3A`, in the given order, every reserved character percent-encoded."""
    plain = "&".join([f"{name}={value}" for name, value in params.items()])
    if _NEEDS_NO_QUOTING.fullmatch(plain) and plain.count("=") == len(params) == plain.count("&") + 1:
        return plain  # as every order of ours: eight times as fast
    return urlencode(params, quote_via=quote, safe="")


def signed_query(params: Params, credentials: Credentials) -> str:
    query = query_text(params)
    return f"{query}&signature={signature(query, credentials.api_secret)}"


def ws_api_params(params: Params, credentials: Credentials) -> dict[str, str | int]:
    """`params` with `apiKey` and `signature`, ready to be the `params` of a WebSocket API request."""
    signed: dict[str, str | int] = {"apiKey": credentials.api_key, **params}
    payload = "&".join(f"{name}={signed[name]}" for name in sorted(signed))
    return {**signed, "signature": signature(payload, credentials.api_secret)}
