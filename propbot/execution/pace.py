"""How fast one venue may be asked: its pauses (429, 418), its rate budget, and what left in the last minute.

`line` asks before each byte. A pause holds everything back, cancels included: more would prolong a ban; `on_pause`
keeps it over a restart. Short of a pause the budget paces, by the `Urgency` of what is asked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio
from attrs import define, field

from propbot.domain.clock import Clock
from propbot.domain.dialect import HttpCall
from propbot.domain.errors import Banned, RateLimited, VenueRetry
from propbot.domain.instruments import VenueId
from propbot.execution.budget import Full, RateBudget, Urgency, WindowUse

COUNTED_S = 60.0
"""How far back sent orders and cancels are counted."""
PAUSE_S = {429: 60.0, 418: 120.0}
"""Where the venue names no Retry-After: its weight window, and its shortest ban."""
PAUSE_S_MAX = 7 * 86_400.0
"""A remembered pause that would last longer is nonsense; the longest ban is three days."""
ROOM_LOOK_S = 0.5
"""How often who waits for room looks again: an answer under way may have made some."""
_SOME_ORDER = HttpCall("POST", "/", is_order=True)


@define(eq=False)
class VenuePace:
    venue: VenueId
    clock: Clock
    budget: RateBudget = field(factory=RateBudget)
    on_pause: Callable[[int, int], None] = field(default=lambda status, until_wall_ns: None)
    """(429 or 418, when it ends): called at each new or longer pause, synchronously."""
    paused_until_mono_s: float = field(default=0.0, init=False)
    paused_until_wall_ns: int = field(default=0, init=False)
    """The same end, for people and for the disk."""
    pause_status: int = field(default=0, init=False)
    """429 or 418, whatever paused us last."""
    orders_sent: deque[float] = field(factory=deque, init=False)
    """When each new order's first byte left, of the last minute; monotonic seconds."""
    cancels_sent: deque[float] = field(factory=deque, init=False)

    # --- pauses

    @property
    def paused_s(self) -> float:
        """How long the venue still wants to be left alone."""
        return max(self.paused_until_mono_s - self.clock.mono_s(), 0.0)

    def pause(self, status: int, for_s: float) -> bool:
        """False if a longer one is in force already."""
        until_mono_s = self.clock.mono_s() + for_s
        if until_mono_s <= self.paused_until_mono_s:
            return False
        self.paused_until_mono_s = until_mono_s
        self.paused_until_wall_ns = self.clock.wall_ns() + round(for_s * 1e9)
        self.pause_status = status
        self.on_pause(status, self.paused_until_wall_ns)
        return True

    def take_up_pause(self, status: int, until_wall_ns: int, told_s: float) -> bool:
        """A pause that an earlier life was told, of `told_s` in all, before this one's first byte. False if it is over,
        or nonsense."""
        left_s = (until_wall_ns - self.clock.wall_ns()) / 1e9
        sane = status in PAUSE_S and 0 < left_s <= PAUSE_S_MAX and told_s > 0
        return sane and self.pause(status, min(left_s, told_s))

    async def wait_unpaused(self) -> None:
        """Returns once the venue may be asked again; a pause may be prolonged meanwhile."""
        left_s = self.paused_s
        while left_s > 0:
            await trio.sleep(left_s)
            left_s = self.paused_s

    def refuse_while_paused(self) -> None:
        left_s = self.paused_s
        if left_s > 0:
            kind = Banned if self.pause_status == 418 else RateLimited
            raise kind(
                self.venue,
                f"not asked: paused for {left_s:.1f} s more after HTTP {self.pause_status}",
                retry_after_s=left_s,
                code=None,
                http_status=self.pause_status,
            )

    # --- the rate budget

    def uses(self) -> tuple[WindowUse, ...]:
        """Each limit of the venue and how much of it is used; empty before they are known."""
        return self.budget.uses(self.clock.mono_s())

    def no_room_for_orders(self) -> str | None:
        """Why a new order that is not urgent would be refused by the budget now; None where it would not."""
        full = self.budget.full(_SOME_ORDER, Urgency.NORMAL, self.clock.mono_s())
        return None if full is None else _full_text(full)

    def refuse_without_room(self, call: HttpCall, urgency: Urgency) -> None:
        full = self.budget.full(call, urgency, self.clock.mono_s())
        if full is not None:
            raise RateLimited(
                self.venue, f"not sent: {_full_text(full)}", retry_after_s=full.wait_s, code=None, http_status=429
            )

    async def wait_room(self, call: HttpCall, urgency: Urgency, timeout_s: float) -> bool:
        """Whether it had to be waited for. VenueRetry if there will be none within `timeout_s`."""
        waited, give_up_mono_s = False, self.clock.mono_s() + timeout_s
        while True:
            self.refuse_while_paused()
            now_s = self.clock.mono_s()
            full = self.budget.full(call, urgency, now_s)
            if full is None:
                return waited
            if now_s + full.wait_s > give_up_mono_s:
                refusal = VenueRetry(self.venue, f"not asked: no room within {timeout_s:g} s, {_full_text(full)}")
                refusal.retry_after_s = full.wait_s
                raise refusal
            waited = True
            await trio.sleep(min(max(full.wait_s, 0.01), ROOM_LOOK_S))

    # --- what left in the last minute, whatever became of it

    def note_sent(self, sent: deque[float]) -> None:
        """Right before the first byte of what `sent` counts."""
        self.last_minute(sent)
        sent.append(self.clock.mono_s())

    def last_minute(self, sent: deque[float]) -> int:
        before_mono_s = self.clock.mono_s() - COUNTED_S
        while sent and sent[0] <= before_mono_s:
            sent.popleft()
        return len(sent)


def _full_text(full: Full) -> str:
    """No running count: it may become a HOLD's reason, which stays the same while its cause does."""
    return f"the rate budget is used up: {full.window.key} of {full.window.limit}"
