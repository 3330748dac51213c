"""The line to one venue: how a call is made, whatever it asks. `gateway` says which calls there are.

One law of errors:

| what happened                           | a new order                        | anything else                   |
|---|---|---|
| no byte left                            | ConnectFailed                      | ConnectFailed                   |
| bytes left, no full answer              | OutcomeUnknown                     | VenueRetry                      |
| 5xx and "unknown", as the dialect reads | OutcomeUnknown                     | VenueRetry                      |
| our timestamp was refused               | ClockRefused; measured beside it   | measured again, asked once more |
| 429, 418                                | RateLimited, Banned                | RateLimited, Banned             |
| our rate budget has no room             | RateLimited, at once               | waits; then VenueRetry          |

After a 429 or 418 not a byte more leaves before Retry-After is over, and short of that the rate budget paces: see
`pace`. Nothing else is asked twice in here, and an order never is.
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
from propbot.execution.budget import Urgency
from propbot.execution.pace import PAUSE_S, VenuePace
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


@define(eq=False)
class VenueLine:
    """Clock, errors and counts of one venue. Counters and samples are for status and guards."""

    venue: VenueId
    dialect: Dialect
    """May be replaced by one with other keys; calls under way keep the old."""
    client: HttpClient
    clock: Clock
    pace: VenuePace
    offset_ms: float | None = field(default=None, init=False)
    """Venue's wall clock minus ours; None before the first measurement."""
    _mono_offset_ms: float = field(default=0.0, init=False)
    """The same against our monotonic clock, measured with it."""
    clock_measured_mono_s: float | None = field(default=None, init=False)
    usage: dict[str, int] = field(factory=dict, init=False)
    """What the venue counts against us, each window as last told."""
    rate_limits: tuple[RateLimit, ...] = field(default=(), init=False)
    order_rtt_ms: deque[float] = field(factory=lambda: deque(maxlen=RTT_SAMPLES), init=False)
    """Round trips of orders, first byte to answer, newest last."""
    last_answer_mono_s: float | None = field(default=None, init=False)
    lost_since_mono_s: float | None = field(default=None, init=False)
    """When a call first found no way there or no answer back, and none was answered since; None while they are."""
    last_error: str = field(default="", init=False)
    clock_doubted: trio.Event = field(factory=trio.Event, init=False)
    listing_doubted: trio.Event = field(factory=trio.Event, init=False)
    """An order was refused: filters or status of its symbol may have changed."""
    on_unreadable: Callable[[str], None] = field(default=lambda _: None, init=False)
    """Synchronous: an answer about an order was not in words that we know."""
    clean: Callable[[str], str] = field(default=lambda text: text, init=False)
    """Takes secrets out of what a venue says of a refused request, before any error, ledger row or log has it."""

    # --- clock and pauses

    @property
    def clock_age_s(self) -> float | None:
        measured = self.clock_measured_mono_s
        return None if measured is None else self.clock.mono_s() - measured

    @property
    def paused_s(self) -> float:
        """How long the venue still wants to be left alone."""
        return self.pace.paused_s

    def ts_ms(self) -> int:
        """The venue's wall clock now, as well as it is known."""
        return round(self._wall_ms() + (self.offset_ms or 0.0))

    def venue_now_ms(self) -> float | None:
        """What ages of frames are told by: the later of two clocks, so that nothing looks fresher than it is. The wall
        clock may be set back between two measurements, the monotonic one stands while the machine is suspended. None
        while the venue's clock has not been measured."""
        if self.offset_ms is None:
            return None
        return max(self._wall_ms() + self.offset_ms, self.clock.mono_s() * 1000 + self._mono_offset_ms)

    def _wall_ms(self) -> float:
        return self.clock.wall_ns() / 1e6

    async def measure_clock(self, *, timeout_s: float = TIMEOUT_S) -> float:
        """The venue's clock minus ours, in milliseconds: the best of three by round trip, which bounds its error."""
        best: tuple[float, float, float] | None = None
        for _ in range(CLOCK_SAMPLES):
            sent_mono_s, sent_ms = self.clock.mono_s(), self._wall_ms()
            call = self.dialect.call_server_time()
            # out of the reserve: orders need the clock, and its answer tells when the venue counts less again
            server_ms = await self.ask_once(
                call, self.dialect.read_server_time_ms, timeout_s, urgency=Urgency.RESERVE
            )
            rtt_ms = (self.clock.mono_s() - sent_mono_s) * 1000
            then_ms = server_ms - rtt_ms / 2  # the venue's clock when we asked
            sample = (rtt_ms, then_ms - sent_ms, then_ms - sent_mono_s * 1000)
            best = sample if best is None else min(best, sample)
        assert best is not None
        _, self.offset_ms, self._mono_offset_ms = best
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
        return self.pace.last_minute(self.pace.orders_sent)

    def cancels_last_minute(self) -> int:
        return self.pace.last_minute(self.pace.cancels_sent)

    # --- one call

    async def ask_signed(
        self,
        build: Build,
        read: Read[T],
        timeout_s: float,
        *,
        urgency: Urgency = Urgency.NORMAL,
        last_check: Callable[[], None] | None = None,
    ) -> T:
        """A question may be asked again with a better clock; the second refusal comes out."""

        async def ask() -> T:
            call = build(self.ts_ms())
            if await self.pace.wait_room(call, urgency, timeout_s):
                call = build(self.ts_ms())  # its timestamp is old by now
            return await self.ask_once(call, read, timeout_s, urgency=urgency, last_check=last_check)

        try:
            return await ask()
        except ClockRefused:
            await self.measure_clock(timeout_s=timeout_s)
        return await ask()

    async def ask_once(
        self,
        call: HttpCall,
        read: Read[T],
        timeout_s: float,
        *,
        urgency: Urgency = Urgency.NORMAL,
        last_check: Callable[[], None] | None = None,
    ) -> T:
        await self.pace.wait_room(call, urgency, timeout_s)
        reply = await self.exchange(call, timeout_s, urgency=urgency, last_check=last_check)
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
        urgency: Urgency,
        last_check: Callable[[], None] | None = None,
        after_send: Callable[[], None] | None = None,
    ) -> HttpReply:
        """One call and its reply, counted. RateLimited, and no byte left, while the budget has no room for it."""
        pace = self.pace
        pace.refuse_while_paused()
        pace.refuse_without_room(call, urgency)
        # no checkpoint since the budget said yes: two tasks can't take the same room
        charge, left, told = pace.budget.let_go(call), False, {}

        def check() -> None:
            nonlocal left
            pace.refuse_while_paused()  # a 429 may have come while this call waited for a connection
            if last_check is not None:
                last_check()
            left = True

        try:
            reply = await self.client.request(
                call, timeout_s=timeout_s, last_check=check, after_send=after_send, on_head=self._obey
            )
            told = dict(self.dialect.read_usage(reply.headers).counts)
        except NotSent as error:
            self._note_lost(str(error))
            raise ConnectFailed(self.venue, str(error)) from error
        except AnswerLost as error:
            self._note_lost(str(error))
            kind = OutcomeUnknown if call.is_order else VenueRetry
            raise kind(self.venue, str(error)) from error
        finally:
            if left:
                pace.budget.answered(charge, told, self.clock.mono_s())
            else:
                pace.budget.give_back(charge)
        self.last_answer_mono_s = self.clock.mono_s()
        self.lost_since_mono_s = None
        self.usage.update(told)
        return reply if reply.status < 400 else self._cleaned(reply)

    def _cleaned(self, reply: HttpReply) -> HttpReply:
        text = reply.body.decode("utf-8", "surrogateescape")
        return HttpReply(reply.status, reply.headers, self.clean(text).encode("utf-8", "surrogateescape"))

    def _obey(self, status: int, headers: Mapping[str, str]) -> None:
        """A pause counts from its head on: the body of a 429 that drips must not make us ask again."""
        if status in PAUSE_S:
            self._pause(status, _retry_after_s(headers, PAUSE_S[status]))

    def _note_lost(self, story: str) -> None:
        self.last_error = story
        if self.lost_since_mono_s is None:
            self.lost_since_mono_s = self.clock.mono_s()

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
        if self.pace.pause(status, for_s):
            self.last_error = f"{self.venue}: HTTP {status}, paused for {for_s:g} s"


def _retry_after_s(headers: Mapping[str, str], default_s: float) -> float:
    """Whole seconds, as both Binance venues send it."""
    text = headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() else default_s
