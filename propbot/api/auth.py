"""Who asks, and whether their role lets them. Everything is closed but a short list of endpoints; whatever is no plain
look needs the role operator at least, and some endpoints more.

Tokens are compared as digests, in constant time (`control.operators`). A wrong token is counted by address and the
eleventh in a minute is answered 429; a valid one is never refused, whatever others at its address do, and a missing one
does not count (a browser's first look). `gate` asks before the framework is asked; the role is looked at within it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Mapping

import trio
from quart import Quart, g, request

from propbot.api.replies import ApiError
from propbot.api.strict_json import printable
from propbot.control.operators import Operator, Operators, Role

ANYBODY = Operator("local", Role.ADMIN, b"")
"""Who asks while no token exists at all."""
LOOKS = ("GET", "HEAD", "OPTIONS")
WRONG_PER_MINUTE_MAX = 10
REFUSED_TOLD_PER_MINUTE_MAX = 10
WINDOW_S = 60.0
LOCKED_TOLD_PER_MINUTE_MAX = 20
"""Addresses: whoever has many must not fill the journal with them."""
ADDRESSES_KEPT_MAX = 10_000
ASKING = "propbot.asking"
"""Under this name the scope of a request has its Operator; absent where anybody may ask."""
_CHALLENGE = {"WWW-Authenticate": "Bearer"}


class Auth:
    """`people` may change while it serves: a token that left the list is refused from the next request on."""

    def __init__(
        self, people: Operators, *, learn: Callable[[str], None] = lambda token: None,
        on_locked: Callable[[str], None] = lambda address: None,
    ) -> None:
        """`learn` hears each valid token once: only its digest is kept, and whoever pastes it into a reason must not
        find it in the journal. `on_locked` hears of an address once in a minute of wrong tokens."""
        self._people = people
        self._learn, self._on_locked = learn, on_locked
        self._learned: set[bytes] = set()
        self._locked_told_at_s: dict[str, float] = {}
        self._wrong_at_s: dict[str, deque[float]] = {}
        self._refused_at_s: dict[str, deque[float]] = {}

    @property
    def off(self) -> bool:
        return self._people.open_to_all

    def identify(self, authorization: str | None, address: str) -> Operator:
        """Who asks; ApiError 401 or 429 if it is nobody's token. `authorization` as ASGI decodes it."""
        if self._people.open_to_all:
            return ANYBODY
        scheme, _, token = (authorization or "").strip().partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise ApiError(401, "a bearer token is needed: Authorization: Bearer <API_TOKEN>", headers=_CHALLENGE)
        operator = self._people.identify(token.encode("latin-1", "replace"))
        if operator is not None:
            if operator.token_digest not in self._learned:
                self._learned.add(operator.token_digest)
                self._learn(token)
            return operator
        self._count_wrong(address)
        raise ApiError(401, "this token is not valid", headers=_CHALLENGE)

    def still_lets_in(self, authorization: str | None) -> bool:
        """Whether whoever was identified by this header would be again. For answers that go on; nothing is counted."""
        if self._people.open_to_all:
            return True
        token = (authorization or "").strip().partition(" ")[2].strip()
        return self._people.identify(token.encode("latin-1", "replace")) is not None

    def count_refused(self, name: str) -> int:
        """How many requests of this person their role did not allow within a minute, this one included; no more than
        one above what is told."""
        now_s = trio.current_time()
        times = self._refused_at_s.setdefault(name, deque())
        _forget_old(times, now_s)
        if len(times) <= REFUSED_TOLD_PER_MINUTE_MAX:
            times.append(now_s)
        return len(times)

    def _count_wrong(self, address: str) -> None:
        now_s = trio.current_time()
        times = self._wrong_at_s.pop(address, deque())
        _forget_old(times, now_s)
        if len(self._wrong_at_s) >= ADDRESSES_KEPT_MAX:
            del self._wrong_at_s[next(iter(self._wrong_at_s))]  # the one that was wrong the longest ago
        self._wrong_at_s[address] = times
        if len(times) >= WRONG_PER_MINUTE_MAX:
            self._tell_locked(address, now_s)
            wait_s = max(1, round(times[0] + WINDOW_S - now_s))
            raise ApiError(429, "too many wrong tokens from this address", headers={"Retry-After": str(wait_s)})
        times.append(now_s)


    def _tell_locked(self, address: str, now_s: float) -> None:
        """The tokens themselves are told to nobody: one may be another system's."""
        told = self._locked_told_at_s
        if now_s - told.get(address, -math.inf) < WINDOW_S:
            return
        for each in [each for each, at_s in told.items() if now_s - at_s >= WINDOW_S]:
            del told[each]
        if len(told) < LOCKED_TOLD_PER_MINUTE_MAX:
            told[address] = now_s
            self._on_locked(address)


def _forget_old(times: deque[float], now_s: float) -> None:
    while times and times[0] <= now_s - WINDOW_S:
        times.popleft()


def install_auth(
    app: Quart,
    auth: Auth,
    *,
    needs: Mapping[str, Role],
    asks_itself: Collection[str],
    on_refused: Callable[[str, str], None],
) -> None:
    """`needs` names the endpoints that take more than the role operator; `asks_itself` those that refuse foreign
    origins themselves, once a HOLD has been taken; `on_refused` hears who tried what their role does not allow."""

    def tell_refused(name: str) -> None:
        """A row of the journal each would let a viewer fill the disk, and push out what others did."""
        count = auth.count_refused(name)
        if count <= REFUSED_TOLD_PER_MINUTE_MAX:
            last = count == REFUSED_TOLD_PER_MINUTE_MAX
            more = " (and whatever else this minute, which is not written down)" if last else ""
            on_refused(name, f"{request.method} {printable(request.path)}{more}")

    async def check_role() -> None:
        asking: Operator | None = request.scope.get(ASKING)  # type: ignore[assignment]
        if asking is None:
            return
        g.operator = asking.name
        needed = needs.get(request.endpoint or "", Role.VIEWER if request.method in LOOKS else Role.OPERATOR)
        if not asking.role.covers(needed):
            tell_refused(asking.name)
            raise ApiError(403, f"{asking.name} is {asking.role}; this needs the role {needed}")

    async def check_origin() -> None:
        if request.endpoint not in asks_itself:
            refuse_foreign_origin()

    app.before_request(check_role)
    app.before_request(check_origin)


def refuse_foreign_origin() -> None:
    """A page of another site that makes a browser send a change; tools send no Origin."""
    origin = request.headers.get("Origin")
    if origin is None or request.method in LOOKS:
        return
    if origin.partition("://")[2].lower() != request.headers.get("Host", "").lower():
        raise ApiError(403, "changes are not taken from pages of another site")
