"""What a venue counts against its client: request weight and new orders, in fixed windows of its own clock.

Over the weight: 429 until the window's end; who goes on asking meanwhile is banned (418). Orders count from their
acceptance on, so that rejected ones do not; spot gives the count back with an order's first fill.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import trio
from attrs import define, frozen

from propbot.simvenue.faces.errors import ApiError, banned, too_many_orders, too_many_requests

ASKED_WHILE_LIMITED_MAX = 10
"""Requests answered 429 before the ban."""
BAN_S = 120


@frozen
class Limit:
    """One row of exchangeInfo's rateLimits. `kind` is REQUEST_WEIGHT or ORDERS."""

    kind: str
    interval: str
    interval_num: int
    limit: int

    @property
    def window_s(self) -> float:
        return self.interval_num * {"SECOND": 1.0, "MINUTE": 60.0, "DAY": 86_400.0}[self.interval]

    @property
    def letter(self) -> str:
        return f"{self.interval_num}{self.interval[0]}"

    def row(self) -> dict[str, Any]:
        return {
            "rateLimitType": self.kind,
            "interval": self.interval,
            "intervalNum": self.interval_num,
            "limit": self.limit,
        }


@define
class _Window:
    limit: Limit
    number: int = 0
    count: int = 0

    def now(self) -> int:
        number = int(trio.current_time() // self.limit.window_s)
        if number != self.number:
            self.number, self.count = number, 0
        return self.count

    def left_s(self) -> int:
        return math.ceil((self.number + 1) * self.limit.window_s - trio.current_time())


class Counters:
    """The windows of one venue's only client."""

    def __init__(self, limits: Sequence[Limit], now_ms: Callable[[], int], *, fill_gives_back: bool) -> None:
        self.limits = tuple(limits)
        self._now_ms = now_ms
        self._fill_gives_back = fill_gives_back
        self._weights = [_Window(limit) for limit in limits if limit.kind == "REQUEST_WEIGHT"]
        self._orders = [_Window(limit) for limit in limits if limit.kind == "ORDERS"]
        self._limited_until_s = 0.0
        self._asked_while_limited = 0
        self._banned_until_s = 0.0
        self._banned_until_ms = 0

    def charge(self, weight: int) -> None:
        """Count one request, or raise its 429 or 418."""
        now_s = trio.current_time()
        if now_s < self._banned_until_s:
            raise banned(self._banned_until_ms, math.ceil(self._banned_until_s - now_s))
        for window in self._weights:
            window.now()
            window.count += weight
            if window.count > window.limit.limit and now_s >= self._limited_until_s:
                self.limit_for(float(window.left_s()))
        if now_s < self._limited_until_s:
            raise self._refuse(now_s)

    def limit_for(self, seconds: float) -> None:
        """Answer 429 from now on, this long."""
        self._limited_until_s = trio.current_time() + seconds
        self._asked_while_limited = 0

    def ban_for(self, seconds: float) -> None:
        """Answer 418 from now on, this long."""
        self._banned_until_s = trio.current_time() + seconds
        self._banned_until_ms = self._now_ms() + round(seconds * 1000)

    def _refuse(self, now_s: float) -> ApiError:
        self._asked_while_limited += 1
        if self._asked_while_limited > ASKED_WHILE_LIMITED_MAX:
            self.ban_for(BAN_S)
            return banned(self._banned_until_ms, BAN_S)
        limit = self._weights[0].limit.limit if self._weights else 0
        return too_many_requests(limit, max(1, math.ceil(self._limited_until_s - now_s)))

    def check_orders(self) -> None:
        """Raise the 429 of one order too many."""
        for window in self._orders:
            if window.now() >= window.limit.limit:
                interval = "TEN_SECONDS" if window.limit.letter == "10S" else window.limit.interval
                raise too_many_orders(window.limit.limit, interval, window.left_s())

    def order_accepted(self) -> None:
        for window in self._orders:
            window.now()
            window.count += 1

    def order_first_filled(self) -> None:
        if self._fill_gives_back:
            for window in self._orders:
                window.count = max(0, window.now() - 1)

    def used_share(self) -> float:
        """Of the request weight that a window allows, of the fullest one."""
        return round(max((window.now() / window.limit.limit for window in self._weights), default=0.0), 4)

    def headers(self, *, orders: bool, others_share: float = 0.0) -> tuple[tuple[str, str], ...]:
        """`others_share` of each weight limit is what other clients of the same address have used."""
        used = [
            (
                f"X-MBX-USED-WEIGHT-{window.limit.letter}",
                str(max(window.now(), math.ceil(window.limit.limit * others_share))),
            )
            for window in self._weights
        ]
        if orders:
            used += [(f"X-MBX-ORDER-COUNT-{window.limit.letter}", str(window.now())) for window in self._orders]
        return tuple(used)

    def rows(self, *, orders: bool) -> list[dict[str, Any]]:
        """`rateLimits` of a WebSocket API reply: the limits with their counts."""
        windows = self._weights + (self._orders if orders else [])
        return [{**window.limit.row(), "count": window.now()} for window in windows]

    def order_rows(self) -> list[dict[str, Any]]:
        return [{**window.limit.row(), "count": window.now()} for window in self._orders]
