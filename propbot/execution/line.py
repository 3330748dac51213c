"""The line to one venue: how a call is made, whatever it asks. `gateway` says which calls there are.

One law of errors:

| what happened                           | a new order                        | anything else                   |
|---|---|---|
| no byte left                            | ConnectFailed                      | ConnectFailed                   |
| bytes left, no full answer              | OutcomeUnknown                     | VenueRetry                      |
| 5xx and "unknown", as the dialect reads | OutcomeUnknown                     | VenueRetry                      |
| our timestamp was refused               | ClockRefused; measured beside it   | measured again, asked once more |
| 429, 418                                | RateLimited, Banned                | RateLimited, Banned             |

After a 429 or 418 not a byte more leaves before Retry-After is over, cancels included: more would prolong a ban.
Nothing else is asked twice in here, and an order never is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import TypeVar

import trio
from attrs import define, field

from propbot.domain.clock import Clock
from propbot.domain.dialect import Dialect, HttpCall, HttpReply, RateLimit
from propbot.domain.errors import (
    Banned,
    ClockRefused,
    ConnectFailed,
    OutcomeUnknown,
    RateLimited,
    VenueError,
    VenueRetry,
)
from propbot.domain.instruments import VenueId
from propbot.kit.http1 import AnswerLost, HttpClient, NotSent

T = TypeVar("T")
Build = Callable[[int], HttpCall]
"""A call for the given venue time in milliseconds."""
Read = Callable[[HttpReply], T]

TIMEOUT_S = 3.0
WARM_CONNECTIONS = 2
WARM_EVERY_S = 10.0
CLOCK_SAMPLES = 3
RTT_SAMPLES = 1000
COUNTED_S = 60.0
"""How far back sent orders and cancels are counted."""
PAUSE_S = {429: 60.0, 418: 120.0}
"""Where the venue names no Retry-After: its weight window, and its shortest ban."""


@define(eq=False)
class VenueLine:
    """Clock, pauses, errors and counts of one venue. Counters and samples are for status and guards."""

    venue: VenueId
    dialect: Dialect
    """May be replaced by one with other keys; calls under way keep the old."""
    client: HttpClient
    clock: Clock
    offset_ms: float | None = field(default=None, init=False)
    """Venue's wall clock minus ours; None before the first measurement."""
    clock_measured_mono_s: float | None = field(default=None, init=False)
    paused_until_mono_s: float = field(default=0.0, init=False)
    pause_status: int = field(default=0, init=False)
    """429 or 418, whatever paused us last."""
    usage: dict[str, int] = field(factory=dict, init=False)
    """What the venue counts against us, each window as last told."""
    rate_limits: tuple[RateLimit, ...] = field(default=(), init=False)
    order_rtt_ms: deque[float] = field(factory=lambda: deque(maxlen=RTT_SAMPLES), init=False)
    """Round trips of orders, first byte to answer, newest last."""
    orders_sent: deque[float] = field(factory=deque, init=False)
    """When each new order's first byte left, of the last minute; monotonic seconds."""
    cancels_sent: deque[float] = field(factory=deque, init=False)
    last_answer_mono_s: float | None = field(default=None, init=False)
    last_error: str = field(default="", init=False)
    clock_doubted: trio.Event = field(factory=trio.Event, init=False)

    # --- clock and pauses

    @property
    def clock_age_s(self) -> float | None:
        measured = self.clock_measured_mono_s
        return None if measured is None else self.clock.mono_s() - measured

    @property
    def paused_s(self) -> float:
        """How long the venue still wants to be left alone."""
        return max(self.paused_until_mono_s - self.clock.mono_s(), 0.0)

    def ts_ms(self) -> int:
        """The venue's wall clock now, as well as it is known."""
        return round(self._wall_ms() + (self.offset_ms or 0.0))

    def venue_now_ms(self) -> float | None:
        """The same, or None while it has not been measured."""
        return None if self.offset_ms is None else self._wall_ms() + self.offset_ms

    def _wall_ms(self) -> float:
        return self.clock.wall_ns() / 1e6

    async def measure_clock(self, *, timeout_s: float = TIMEOUT_S) -> float:
        """The venue's clock minus ours, in milliseconds: the best of three by round trip, which bounds its error."""
        best: tuple[float, float] | None = None
        for _ in range(CLOCK_SAMPLES):
            sent_mono_s, sent_ms = self.clock.mono_s(), self._wall_ms()
            call = self.dialect.call_server_time()
            server_ms = await self.ask_once(call, self.dialect.read_server_time_ms, timeout_s)
            rtt_ms = (self.clock.mono_s() - sent_mono_s) * 1000
            sample = (rtt_ms, server_ms - (sent_ms + rtt_ms / 2))
            best = sample if best is None else min(best, sample)
        assert best is not None
        self.offset_ms = best[1]
        self.clock_measured_mono_s = self.clock.mono_s()
        return self.offset_ms

    async def keep_warm(self) -> None:
        """Until cancelled: keep connections open for orders and the clock measured, every ten seconds and whenever
        the venue refused a timestamp. A venue that does not answer is noted in `last_error`."""
        while True:
            self.clock_doubted = trio.Event()
            try:
                await self.client.warm(WARM_CONNECTIONS, timeout_s=TIMEOUT_S)
                await self.measure_clock()
            except (NotSent, VenueError) as error:
                self.last_error = str(error)
            # at least a second apart, however often the venue refuses
            await trio.sleep(1.0)
            with trio.move_on_after(WARM_EVERY_S - 1.0):
                await self.clock_doubted.wait()

    # --- what left in the last minute, whatever became of it

    def orders_last_minute(self) -> int:
        return self._last_minute(self.orders_sent)

    def cancels_last_minute(self) -> int:
        return self._last_minute(self.cancels_sent)

    def note_sent(self, sent: deque[float]) -> None:
        """Right before the first byte of what `sent` counts."""
        self._last_minute(sent)
        sent.append(self.clock.mono_s())

    def _last_minute(self, sent: deque[float]) -> int:
        before_mono_s = self.clock.mono_s() - COUNTED_S
        while sent and sent[0] <= before_mono_s:
            sent.popleft()
        return len(sent)

    # --- one call

    async def ask_signed(
        self, build: Build, read: Read[T], timeout_s: float, *, last_check: Callable[[], None] | None = None
    ) -> T:
        """A question may be asked again with a better clock; the second refusal comes out."""
        try:
            return await self.ask_once(build(self.ts_ms()), read, timeout_s, last_check=last_check)
        except ClockRefused:
            await self.measure_clock(timeout_s=timeout_s)
        return await self.ask_once(build(self.ts_ms()), read, timeout_s, last_check=last_check)

    async def ask_once(
        self, call: HttpCall, read: Read[T], timeout_s: float, *, last_check: Callable[[], None] | None = None
    ) -> T:
        reply = await self.exchange(call, timeout_s, last_check=last_check)
        try:
            return self.read(read, reply)
        except OutcomeUnknown as error:  # of a question: it may be asked again
            raise VenueRetry(
                self.venue, error.message, code=error.code, http_status=error.http_status
            ) from error

    async def exchange(
        self,
        call: HttpCall,
        timeout_s: float,
        *,
        last_check: Callable[[], None] | None = None,
        after_send: Callable[[], None] | None = None,
    ) -> HttpReply:
        self.refuse_while_paused()
        try:
            reply = await self.client.request(
                call, timeout_s=timeout_s, last_check=last_check or self.refuse_while_paused, after_send=after_send
            )
        except NotSent as error:
            self.last_error = str(error)
            raise ConnectFailed(self.venue, str(error)) from error
        except AnswerLost as error:
            self.last_error = str(error)
            kind = OutcomeUnknown if call.is_order else VenueRetry
            raise kind(self.venue, str(error)) from error
        self.last_answer_mono_s = self.clock.mono_s()
        self.usage.update(self.dialect.read_usage(reply.headers).counts)
        if reply.status in PAUSE_S:
            self._pause(reply.status, _retry_after_s(reply.headers, PAUSE_S[reply.status]))
        return reply

    def read(self, read: Read[T], reply: HttpReply) -> T:
        try:
            return read(reply)
        except RateLimited as error:
            self._pause(418 if isinstance(error, Banned) else 429, error.retry_after_s)
            raise
        except VenueError as error:
            self.last_error = str(error)
            raise

    def _pause(self, status: int, for_s: float) -> None:
        until_mono_s = self.clock.mono_s() + for_s
        if until_mono_s > self.paused_until_mono_s:
            self.paused_until_mono_s = until_mono_s
            self.pause_status = status
            self.last_error = f"{self.venue}: HTTP {status}, paused for {for_s:g} s"

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


def _retry_after_s(headers: Mapping[str, str], default_s: float) -> float:
    """Whole seconds, as both Binance venues send it."""
    text = headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() else default_s
