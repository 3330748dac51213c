"""The rate budget of one venue: what its limits still allow, by our own count and by the venue's, the higher counts.

Pure arithmetic over the monotonic clock; `line` asks it before each byte and tells it of each answer. Two counts:

- ours: a request counts from the moment it is let go until one window after its answer, since nobody tells when the
  venue's fixed window begins; so no window of the venue's can hold more than one of ours did.
- the venue's, out of its reply headers, plus what left since: other bots may share the address (FAULTS row 52).
  For orders its word alone counts where it is known: it gives back what was rejected, and spot what was filled.

How much of a limit a request may use depends on what it is for; what is kept free lets cancels and hedges through
when everything else has to wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TypeAlias

from attrs import define, field, frozen

from propbot.domain.dialect import HttpCall, RateLimit

UPKEEP_SHARE = 0.025
"""Of the pace share, where weight is counted: clock samples and listen keys come on top of normal work, and the pace
share is of all of it."""
BUCKETS_PER_WINDOW = 600
"""Answers this close together leave the window together: a day's window stays short."""


class Urgency(Enum):
    """What a request may use of a limit."""

    NORMAL = "normal"
    """The pace share, less what is kept for upkeep: reading, and orders that open or close. It waits, or is refused."""
    RESERVE = "reserve"
    """Up to the trip share: hedges, unwinds, the outcome of UNKNOWN orders; and what keeps stream and clock alive,
    which needs so little that UPKEEP_SHARE keeps it within the pace share as long as nothing is wrong."""
    CANCEL = "cancel"
    """All of the limit."""


@frozen
class Shares:
    """Of each limit, from 0 to 1."""

    pace: float = 0.8
    reserve: float = 0.95

    def of(self, urgency: Urgency, *, of_orders: bool) -> float:
        match urgency:
            case Urgency.CANCEL:
                return 1.0
            case Urgency.RESERVE:
                return max(self.reserve, self.pace)
            case Urgency.NORMAL:
                return self.pace if of_orders else self.pace * (1 - UPKEEP_SHARE)


@frozen
class WindowUse:
    """One limit as it stands. `used` counts what is under way, too."""

    key: str
    used: int
    limit: int

    @property
    def share(self) -> float:
        return self.used / self.limit


@frozen
class Full:
    """Why a request does not fit: `wait_s` until it may, if nothing else is asked and the venue counts nothing more."""

    window: WindowUse
    wait_s: float


@define(eq=False)
class Charge:
    """One request that was let go; settled once by `answered`, `lost` or `give_back`."""

    weight: int
    orders: int
    number: int
    counted: tuple[_Window, ...] = ()
    """The windows that know of it: limits may become known while it is under way."""


Bucket: TypeAlias = tuple[float, int]


@define(eq=False)
class _Window:
    limit: RateLimit
    under_way: int = 0
    _done: deque[Bucket] = field(factory=deque)
    """(when it was answered, amount), oldest first."""
    _done_sum: int = 0
    _told: int | None = None
    _told_mono_s: float = 0.0
    _told_number: int = -1
    _since_told: int = 0

    @property
    def counts_orders(self) -> bool:
        return self.limit.key.startswith("orders")

    def amount(self, charge: Charge) -> int:
        return charge.orders if self.counts_orders else charge.weight

    def used(self, now_s: float) -> int:
        self._forget(now_s)
        ours = self._done_sum + self.under_way
        if self._told is None:
            return ours
        theirs = self._told + self._since_told
        return theirs if self.counts_orders else max(ours, theirs)

    def let_go(self, amount: int) -> None:
        self.under_way += amount
        self._since_told += amount

    def give_back(self, amount: int) -> None:
        self.under_way -= amount
        self._since_told = max(self._since_told - amount, 0)

    def end(self, amount: int, now_s: float) -> None:
        self.under_way -= amount
        self._add_done(amount, now_s)

    def hear(self, charge: Charge, told: int, now_s: float) -> None:
        if charge.number > self._told_number or self._told is None:
            # whether the venue counted the others that are under way before it answered nobody knows: count them
            self._told, self._told_number, self._since_told = told, charge.number, self.under_way
        else:
            self._told = max(self._told, told)
        self._told_mono_s = now_s

    def wait_s(self, amount: int, allowed: float, now_s: float) -> float:
        """Until `amount` more fits, as far as time alone brings that about."""
        waits = [0.0]
        over = self._done_sum + self.under_way + amount - allowed
        if over > 0 and not (self.counts_orders and self._told is not None):
            waits.append(self._done_leaves_s(over, now_s))
        if self._told is not None and self._told + self._since_told + amount > allowed:
            waits.append(self._told_mono_s + self.limit.window_s - now_s)
        return max(waits)

    def _done_leaves_s(self, over: float, now_s: float) -> float:
        for answered_mono_s, amount in self._done:
            over -= amount
            if over <= 0:
                return answered_mono_s + self._kept_s - now_s
        return self._kept_s

    def _add_done(self, amount: int, now_s: float) -> None:
        if not amount:
            return
        self._done_sum += amount
        if self._done and now_s - self._done[-1][0] < self.limit.window_s / BUCKETS_PER_WINDOW:
            first_mono_s, sum_so_far = self._done[-1]
            self._done[-1] = (first_mono_s, sum_so_far + amount)
        else:
            self._done.append((now_s, amount))

    @property
    def _kept_s(self) -> float:
        """A bucket's answers may be one bucket younger than its first."""
        return self.limit.window_s * (1 + 1 / BUCKETS_PER_WINDOW)

    def _forget(self, now_s: float) -> None:
        while self._done and self._done[0][0] + self._kept_s <= now_s:
            self._done_sum -= self._done.popleft()[1]
        if self._told is not None and now_s - self._told_mono_s >= self.limit.window_s:
            self._told = None


@define(eq=False)
class RateBudget:
    """Everything is allowed until the venue's limits are known (its first exchangeInfo). Times: monotonic seconds."""

    shares: Shares = field(factory=Shares)
    _windows: dict[str, _Window] = field(factory=dict, init=False)
    _numbers: int = field(default=0, init=False)

    def set_limits(self, limits: Sequence[RateLimit]) -> None:
        """The venue's own; counts of windows that stay are kept."""
        for limit in limits:
            window = self._windows.get(limit.key)
            if window is None:
                self._windows[limit.key] = _Window(limit)
            else:
                window.limit = limit
        for key in self._windows.keys() - {limit.key for limit in limits}:
            del self._windows[key]

    def full(self, call: HttpCall, urgency: Urgency, now_s: float) -> Full | None:
        """None if `call` may go now; else the window that keeps it longest."""
        charge = Charge(call.weight, int(call.is_order), 0)
        found: list[Full] = []
        for window in self._windows.values():
            amount, used, limit = window.amount(charge), window.used(now_s), window.limit.limit
            allowed = limit * self.shares.of(urgency, of_orders=window.counts_orders)
            if amount and used + amount > allowed:
                found.append(Full(WindowUse(window.limit.key, used, limit), window.wait_s(amount, allowed, now_s)))
        return max(found, key=lambda each: each.wait_s, default=None)

    def let_go(self, call: HttpCall) -> Charge:
        """It counts from now on, before any answer."""
        self._numbers += 1
        charge = Charge(call.weight, int(call.is_order), self._numbers, tuple(self._windows.values()))
        for window in charge.counted:
            window.let_go(window.amount(charge))
        return charge

    def answered(self, charge: Charge, told: Mapping[str, int], now_s: float) -> None:
        """`told`: the venue's counts out of the answer; empty where none came."""
        for window in charge.counted:
            window.end(window.amount(charge), now_s)
        for key, window in self._windows.items():
            if key in told:
                window.hear(charge, told[key], now_s)

    def give_back(self, charge: Charge) -> None:
        """No byte of it left."""
        for window in charge.counted:
            window.give_back(window.amount(charge))

    def uses(self, now_s: float) -> tuple[WindowUse, ...]:
        return tuple(WindowUse(key, each.used(now_s), each.limit.limit) for key, each in self._windows.items())
