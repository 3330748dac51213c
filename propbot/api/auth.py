"""Who asks. One bearer token for now, whose holder is the operator `api`; everything is closed but a short list.

Digests of bytes are compared, in constant time: `compare_digest` raises on text that is not ASCII, and says True to
two empty strings. A wrong token is counted by address and the eleventh in a minute is answered 429; a valid one is
never refused, whatever others at its address do, and a missing one does not count (a browser's first look).

Without a token the loopback address is all that protects; but a page of another site can have its own name resolve to
127.0.0.1 (DNS rebinding), and its browser then asks here as if at home. The Host header still has that name.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import deque
from collections.abc import Collection

import trio
from quart import Quart, g, request

from propbot.api.replies import ApiError

OPERATOR = "api"
WRONG_PER_MINUTE_MAX = 10
WINDOW_S = 60.0
ADDRESSES_KEPT_MAX = 10_000
_OWN_HOST = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
_CHALLENGE = {"WWW-Authenticate": "Bearer"}


class Auth:
    """`token` None: no authorisation is asked for. The settings allow that in paper on a loopback address only."""

    def __init__(self, token: str | None) -> None:
        if token is not None and not token.strip():
            raise ValueError("an empty token would let everybody in")
        self._digest = None if token is None else _digest(token.encode())
        self._wrong_at_s: dict[str, deque[float]] = {}

    @property
    def off(self) -> bool:
        return self._digest is None

    def identify(self, authorization: str | None, address: str) -> str:
        """The operator's name; ApiError 401 or 429 if it is nobody's token. `authorization` as ASGI decodes it."""
        if self._digest is None:
            return OPERATOR
        scheme, _, token = (authorization or "").strip().partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise ApiError(401, "a bearer token is needed: Authorization: Bearer <API_TOKEN>", headers=_CHALLENGE)
        if hmac.compare_digest(_digest(token.encode("latin-1", "replace")), self._digest):
            return OPERATOR
        self._count_wrong(address)
        raise ApiError(401, "this token is not valid", headers=_CHALLENGE)

    def _count_wrong(self, address: str) -> None:
        now_s = trio.current_time()
        times = self._wrong_at_s.pop(address, deque())
        while times and times[0] <= now_s - WINDOW_S:
            times.popleft()
        if len(self._wrong_at_s) >= ADDRESSES_KEPT_MAX:
            del self._wrong_at_s[next(iter(self._wrong_at_s))]  # the one that was wrong the longest ago
        self._wrong_at_s[address] = times
        if len(times) >= WRONG_PER_MINUTE_MAX:
            wait_s = max(1, round(times[0] + WINDOW_S - now_s))
            raise ApiError(429, "too many wrong tokens from this address", headers={"Retry-After": str(wait_s)})
        times.append(now_s)


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


def install_auth(app: Quart, auth: Auth, *, open_endpoints: Collection[str]) -> None:
    """Every request is identified before anything else, also one to a path that does not exist."""

    async def refuse_foreign_host() -> None:
        if auth.off and not _OWN_HOST.fullmatch(request.headers.get("Host", "")):
            raise ApiError(400, "without a token only Host localhost, 127.0.0.1 or [::1] is answered")

    async def identify() -> None:
        if request.endpoint in open_endpoints:
            return
        g.operator = auth.identify(request.headers.get("Authorization"), request.remote_addr or "")

    async def refuse_foreign_origin() -> None:
        """A page of another site that makes a browser send a change; tools send no Origin."""
        origin = request.headers.get("Origin")
        if origin is None or request.method in ("GET", "HEAD", "OPTIONS"):
            return
        if origin.partition("://")[2].lower() != request.headers.get("Host", "").lower():
            raise ApiError(403, "changes are not taken from pages of another site")

    app.before_request(refuse_foreign_host)
    app.before_request(identify)
    app.before_request(refuse_foreign_origin)
