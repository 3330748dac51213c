"""One side of an order book: levels by price, best first, in the venue's own text.

Prices are kept as float keys beside the text: float of a price text is unique up to 15 digits, compares in a tenth of
a Decimal's time, and is enough to sort and to screen. Whoever decides takes the text.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from decimal import Decimal
from math import inf, nan

from attrs import frozen

from propbot.domain.market import PriceLevel
from propbot.domain.money import ZERO, parse_amount

LEVELS_MAX = 20_000
"""A venue's whole book is smaller; beyond it the worst tenth is forgotten (and is then unknown, like the rest)."""


class Ladder:
    """Levels of one side. `sign` is +1 for bids and −1 for asks, so that the best key is always the greatest."""

    __slots__ = ("keys", "known_key", "levels", "sign")

    def __init__(self, sign: int, levels: Iterable[PriceLevel] = ()) -> None:
        self.sign = sign
        self.levels: dict[float, PriceLevel] = {}
        self.keys: list[float] = []
        """Sorted, best last."""
        self.put(levels)
        self.known_key = self.keys[0] if self.keys else -inf
        """From here to the best every level is known: the range of the snapshot that this was built on."""

    def put(self, changes: Iterable[PriceLevel]) -> None:
        """Set absolute quantities by price; zero deletes. ValueError for what is no price or no quantity: the changes
        before it are made then."""
        levels, keys, sign = self.levels, self.keys, self.sign
        for level in changes:
            price, qty = float(level[0]), float(level[1])
            if not (0.0 < price < inf and 0.0 <= qty < inf):
                raise ValueError(f"not a level: {level!r}")
            key = price * sign
            if qty:
                if key not in levels:
                    insort(keys, key)
                levels[key] = level
            elif levels.pop(key, None) is not None:  # deletes of levels that we don't know are normal
                del keys[bisect_left(keys, key)]
        if len(keys) > LEVELS_MAX:
            self._forget_worst(len(keys) - LEVELS_MAX + LEVELS_MAX // 10)

    def _forget_worst(self, count: int) -> None:
        for key in self.keys[:count]:
            del self.levels[key]
        del self.keys[:count]
        self.known_key = max(self.known_key, self.keys[0])

    @property
    def best(self) -> float:
        """The best price; 0.0 without bids, infinity without asks."""
        if self.keys:
            return self.keys[-1] * self.sign
        return 0.0 if self.sign > 0 else inf

    @property
    def best_text(self) -> str | None:
        """`best` as the venue wrote it; None without levels."""
        return self.levels[self.keys[-1]][0] if self.keys else None

    def walk(self, top: PriceLevel | None = None) -> Iterator[PriceLevel]:
        """Levels from best to worst. With `top`, it comes first, and what is as good or better is skipped."""
        keys, levels = self.keys, self.levels
        index = len(keys)
        if top is not None:
            yield top
            index = bisect_left(keys, float(top[0]) * self.sign)
        while index:
            index -= 1
            yield levels[keys[index]]

    def agrees_with(self, other: Ladder) -> bool:
        """Whether both have the same levels wherever both know all of them."""
        bound = max(self.known_key, other.known_key)
        mine, theirs = self._quantities(bound), other._quantities(bound)
        return mine == theirs

    def _quantities(self, bound: float) -> list[tuple[float, float]]:
        known = self.keys[bisect_left(self.keys, bound) :]
        return [(key, float(self.levels[key][1])) for key in known]


@frozen
class Walk:
    """What taking a quantity would cost at once. `avg_price` is rounded to 28 digits, the others are exact."""

    avg_price: Decimal
    worst_price: Decimal
    notional: Decimal
    levels: int
    """How many levels it takes."""


def take_exactly(levels: Iterable[PriceLevel], qty: Decimal) -> tuple[tuple[Decimal, Decimal], ...] | None:
    """(price, quantity) of each level that `qty` (> 0) takes from `levels`, best first; None if they can't fill it."""
    left = qty
    taken: list[tuple[Decimal, Decimal]] = []
    for price_text, qty_text in levels:
        taken.append((parse_amount(price_text), min(left, parse_amount(qty_text))))
        left -= taken[-1][1]
        if not left:
            return tuple(taken)
    return None


def walk_exactly(levels: Iterable[PriceLevel], qty: Decimal) -> Walk | None:
    """What taking `qty` (> 0) from `levels`, best first, would cost; None if they can't fill it."""
    taken = take_exactly(levels, qty)
    if taken is None:
        return None
    notional = sum((price * each for price, each in taken), ZERO)
    return Walk(notional / qty, taken[-1][0], notional, len(taken))


def walk_roughly(levels: Iterable[PriceLevel], qty: float) -> float:
    """The average price of `walk_exactly` in floats; NaN if they can't fill it."""
    left, notional = qty, 0.0
    for price_text, qty_text in levels:
        taken = min(left, float(qty_text))
        notional += taken * float(price_text)
        left -= taken
        if left <= 0.0:
            return notional / qty
    return nan
