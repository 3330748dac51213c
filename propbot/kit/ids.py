"""Randomness and ids, from one seeded source, so that a simulation repeats itself."""

from __future__ import annotations

import random

from propbot.domain.clock import Clock

ORDER_PREFIX = "pb"
"""Every client order id of ours starts with it; orders without it are foreign and never touched."""

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def _base36(number: int) -> str:
    text = ""
    while number:
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
    return text or "0"


class Ids:
    """Ids that are unique for ever: wall time in microseconds, a counter, and 32 random bits."""

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self._count = 0

    def _unique(self) -> str:
        self._count += 1
        return (
            f"{_base36(self._clock.wall_ns() // 1000)}{_base36(self._count % 36**3):0>3}"
            f"{_base36(self._rng.getrandbits(32)):0>7}"
        )

    def client_order_id(self) -> str:
        """Letters and digits, 32 at most (OKX's bound, the tightest), with our prefix."""
        return ORDER_PREFIX + self._unique()

    def name(self, prefix: str) -> str:
        """An id for our own records, such as an intent or a lot."""
        return f"{prefix}-{self._unique()}"


def is_ours(client_order_id: str) -> bool:
    return client_order_id.startswith(ORDER_PREFIX)
