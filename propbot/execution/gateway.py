"""One venue's REST, as execution sees it: questions in domain terms, each with a deadline, and one law of errors.

| what happened                           | a new order                        | anything else                   |
|---|---|---|
| no byte left                            | ConnectFailed                      | ConnectFailed                   |
| bytes left, no full answer              | OutcomeUnknown                     | VenueRetry                      |
| 5xx and "unknown", as the dialect reads | OutcomeUnknown                     | VenueRetry                      |
| our timestamp was refused               | ClockRefused; measured beside it   | measured again, asked once more |
| 429, 418                                | RateLimited, Banned                | RateLimited, Banned             |

After a 429 or 418 not a byte more leaves before Retry-After is over, cancels included: more would prolong a ban.
Nothing else is asked twice in here, and an order never is. Cancelled in the middle of `place`, the caller knows from
`last_check` whether the order may have left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
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
    ProtocolViolation,
    RateLimited,
    VenueError,
    VenueRetry,
)
from propbot.domain.instruments import Endpoints, Fees, Instrument, VenueId
from propbot.domain.market import DepthSnapshot
from propbot.domain.orders import Balance, Fill, OrderReport, OrderRequest, VenuePosition
from propbot.kit.crash import CrashPoints
from propbot.kit.http1 import AnswerLost, HttpClient, NotSent, open_http_client
from propbot.kit.net import Network

T = TypeVar("T")
Build = Callable[[int], HttpCall]
"""A call for the given venue time in milliseconds."""
Read = Callable[[HttpReply], T]

TIMEOUT_S = 3.0
CONNECTIONS_MAX = 6
WARM_CONNECTIONS = 2
WARM_EVERY_S = 10.0
CLOCK_SAMPLES = 3
TRADES_PAGE = 1000
RTT_SAMPLES = 1000
PAUSE_S = {429: 60.0, 418: 120.0}
"""Where the venue names no Retry-After: its weight window, and its shortest ban."""


@define(eq=False)
class VenueGateway:
    """Made by `open_gateway`. Counters and samples are for status and guards."""

    venue: VenueId
    dialect: Dialect
    """May be replaced by one with other keys; calls under way keep the old."""
    _client: HttpClient
    _clock: Clock
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
    last_answer_mono_s: float | None = field(default=None, init=False)
    last_error: str = field(default="", init=False)
    _clock_doubted: trio.Event = field(factory=trio.Event, init=False)

    # --- clock and pauses

    @property
    def clock_age_s(self) -> float | None:
        measured = self.clock_measured_mono_s
        return None if measured is None else self._clock.mono_s() - measured

    @property
    def paused_s(self) -> float:
        """How long the venue still wants to be left alone."""
        return max(self.paused_until_mono_s - self._clock.mono_s(), 0.0)

    def ts_ms(self) -> int:
        """The venue's wall clock now, as well as it is known."""
        return round(self._wall_ms() + (self.offset_ms or 0.0))

    def venue_now_ms(self) -> float | None:
        """The same, or None while it has not been measured."""
        return None if self.offset_ms is None else self._wall_ms() + self.offset_ms

    def _wall_ms(self) -> float:
        return self._clock.wall_ns() / 1e6

    async def measure_clock(self, *, timeout_s: float = TIMEOUT_S) -> float:
        """The venue's clock minus ours, in milliseconds: the best of three by round trip, which bounds its error."""
        best: tuple[float, float] | None = None
        for _ in range(CLOCK_SAMPLES):
            sent_mono_s, sent_ms = self._clock.mono_s(), self._wall_ms()
            server_ms = await self._ask(self.dialect.call_server_time(), self.dialect.read_server_time_ms, timeout_s)
            rtt_ms = (self._clock.mono_s() - sent_mono_s) * 1000
            sample = (rtt_ms, server_ms - (sent_ms + rtt_ms / 2))
            best = sample if best is None else min(best, sample)
        assert best is not None
        self.offset_ms = best[1]
        self.clock_measured_mono_s = self._clock.mono_s()
        return self.offset_ms

    async def keep_warm(self) -> None:
        """Until cancelled: keep connections open for orders and the clock measured, every ten seconds and whenever
        the venue refused a timestamp. A venue that does not answer is noted in `last_error`."""
        while True:
            self._clock_doubted = trio.Event()
            try:
                await self._client.warm(WARM_CONNECTIONS, timeout_s=TIMEOUT_S)
                await self.measure_clock()
            except (NotSent, VenueError) as error:
                self.last_error = str(error)
            # at least a second apart, however often the venue refuses
            await trio.sleep(1.0)
            with trio.move_on_after(WARM_EVERY_S - 1.0):
                await self._clock_doubted.wait()

    # --- orders

    async def place(
        self,
        order: OrderRequest,
        last_check: Callable[[], None],
        crash: CrashPoints,
        *,
        timeout_s: float = TIMEOUT_S,
    ) -> OrderReport:
        """The venue's answer to a new order.

        `last_check` runs right before the first byte; what it raises comes out of here, and nothing has left. It has
        not run when ConnectFailed comes, nor when RateLimited comes from a pause of ours.
        """
        first_byte_mono_s = 0.0

        def check() -> None:
            nonlocal first_byte_mono_s
            self._refuse_while_paused()  # a 429 may have come while this call waited for a connection
            last_check()
            crash.passage("first-byte:before")
            first_byte_mono_s = self._clock.mono_s()

        reply = await self._exchange(
            self.dialect.call_place(order, self.ts_ms()),
            timeout_s,
            last_check=check,
            after_send=lambda: crash.passage("first-byte:after"),
        )
        crash.passage("ack:before")
        self.order_rtt_ms.append((self._clock.mono_s() - first_byte_mono_s) * 1000)
        try:
            return self._read(lambda answer: self.dialect.read_order(answer, order.symbol), reply)
        except ClockRefused:
            # Measured by `keep_warm`, not here: the other leg's bookkeeping waits for this answer.
            self._clock_doubted.set()
            raise

    async def cancel(self, symbol: str, client_order_id: str, *, timeout_s: float = TIMEOUT_S) -> OrderReport:
        return await self._ask_signed(
            lambda ts_ms: self.dialect.call_cancel(symbol, client_order_id, ts_ms),
            lambda reply: self.dialect.read_order(reply, symbol),
            timeout_s,
        )

    async def query(self, symbol: str, client_order_id: str, *, timeout_s: float = TIMEOUT_S) -> OrderReport:
        """OrderNotFound is no proof by itself."""
        return await self._ask_signed(
            lambda ts_ms: self.dialect.call_query(symbol, client_order_id, ts_ms),
            lambda reply: self.dialect.read_order(reply, symbol),
            timeout_s,
        )

    async def open_orders(self, symbol: str, *, timeout_s: float = TIMEOUT_S) -> Sequence[OrderReport]:
        return await self._ask_signed(
            lambda ts_ms: self.dialect.call_open_orders(symbol, ts_ms), self.dialect.read_open_orders, timeout_s
        )

    # --- account

    async def balances(self, *, timeout_s: float = TIMEOUT_S) -> Sequence[Balance]:
        return await self._ask_signed(self.dialect.call_balances, self.dialect.read_balances, timeout_s)

    async def positions(self, symbol: str, *, timeout_s: float = TIMEOUT_S) -> Sequence[VenuePosition]:
        """Empty where the venue has none (spot)."""
        if self.dialect.call_positions(symbol, 0) is None:
            await trio.lowlevel.checkpoint()
            return ()

        def build(ts_ms: int) -> HttpCall:
            call = self.dialect.call_positions(symbol, ts_ms)
            assert call is not None
            return call

        return await self._ask_signed(build, self.dialect.read_positions, timeout_s)

    async def fees(self, symbol: str, *, timeout_s: float = TIMEOUT_S) -> Fees:
        return await self._ask_signed(
            lambda ts_ms: self.dialect.call_fees(symbol, ts_ms), self.dialect.read_fees, timeout_s
        )

    async def trades(
        self, symbol: str, from_trade_id: int | None, *, timeout_s: float = TIMEOUT_S
    ) -> Sequence[Fill]:
        """All our fills from `from_trade_id` on, oldest first, page by page (each with its own deadline); None: the
        most recent page."""
        fills: list[Fill] = []
        from_id = from_trade_id
        while True:
            page = await self._trades_page(symbol, from_id, timeout_s)
            fills += page
            if from_trade_id is None or len(page) < TRADES_PAGE:
                return fills
            next_id = max(int(fill.trade_id) for fill in page) + 1
            if from_id is not None and next_id <= from_id:
                raise ProtocolViolation(self.venue, f"trades from {from_id} on: a full page of older ones")
            from_id = next_id

    async def _trades_page(self, symbol: str, from_id: int | None, timeout_s: float) -> Sequence[Fill]:
        return await self._ask_signed(
            lambda ts_ms: self.dialect.call_trades(symbol, from_id, ts_ms), self.dialect.read_trades, timeout_s
        )

    async def order_trades(self, symbol: str, order_id: str, *, timeout_s: float = TIMEOUT_S) -> Sequence[Fill]:
        return await self._ask_signed(
            lambda ts_ms: self.dialect.call_order_trades(symbol, order_id, ts_ms), self.dialect.read_trades, timeout_s
        )

    # --- what is public

    async def instrument(self, symbol: str, *, timeout_s: float = TIMEOUT_S) -> Instrument:
        """Also takes the venue's rate limits out of the same answer."""

        def read(reply: HttpReply) -> Instrument:
            instrument = self.dialect.read_instrument(reply, symbol)
            self.rate_limits = tuple(self.dialect.read_rate_limits(reply))
            return instrument

        return await self._ask(self.dialect.call_instrument(symbol), read, timeout_s)

    async def depth(self, symbol: str, *, timeout_s: float = TIMEOUT_S) -> DepthSnapshot:
        return await self._ask(
            self.dialect.call_depth(symbol), lambda reply: self.dialect.read_depth(reply, symbol), timeout_s
        )

    async def ask(self, call: HttpCall, *, timeout_s: float = TIMEOUT_S) -> HttpReply:
        """A reply of whatever status: for the private stream's own calls."""
        assert not call.is_order, "orders go through place"
        return await self._exchange(call, timeout_s)

    # --- one call

    async def _ask_signed(self, build: Build, read: Read[T], timeout_s: float) -> T:
        """A question may be asked again with a better clock; the second refusal comes out."""
        try:
            return await self._ask(build(self.ts_ms()), read, timeout_s)
        except ClockRefused:
            await self.measure_clock(timeout_s=timeout_s)
        return await self._ask(build(self.ts_ms()), read, timeout_s)

    async def _ask(self, call: HttpCall, read: Read[T], timeout_s: float) -> T:
        reply = await self._exchange(call, timeout_s)
        try:
            return self._read(read, reply)
        except OutcomeUnknown as error:  # of a question: it may be asked again
            raise VenueRetry(
                self.venue, error.message, code=error.code, http_status=error.http_status
            ) from error

    async def _exchange(
        self,
        call: HttpCall,
        timeout_s: float,
        *,
        last_check: Callable[[], None] | None = None,
        after_send: Callable[[], None] | None = None,
    ) -> HttpReply:
        self._refuse_while_paused()
        try:
            reply = await self._client.request(
                call, timeout_s=timeout_s, last_check=last_check or self._refuse_while_paused, after_send=after_send
            )
        except NotSent as error:
            self.last_error = str(error)
            raise ConnectFailed(self.venue, str(error)) from error
        except AnswerLost as error:
            self.last_error = str(error)
            kind = OutcomeUnknown if call.is_order else VenueRetry
            raise kind(self.venue, str(error)) from error
        self.last_answer_mono_s = self._clock.mono_s()
        self.usage.update(self.dialect.read_usage(reply.headers).counts)
        if reply.status in PAUSE_S:
            self._pause(reply.status, _retry_after_s(reply.headers, PAUSE_S[reply.status]))
        return reply

    def _read(self, read: Read[T], reply: HttpReply) -> T:
        try:
            return read(reply)
        except RateLimited as error:
            self._pause(418 if isinstance(error, Banned) else 429, error.retry_after_s)
            raise
        except VenueError as error:
            self.last_error = str(error)
            raise

    def _pause(self, status: int, for_s: float) -> None:
        until_mono_s = self._clock.mono_s() + for_s
        if until_mono_s > self.paused_until_mono_s:
            self.paused_until_mono_s = until_mono_s
            self.pause_status = status
            self.last_error = f"{self.venue}: HTTP {status}, paused for {for_s:g} s"

    def _refuse_while_paused(self) -> None:
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


@asynccontextmanager
async def open_gateway(
    network: Network, endpoints: Endpoints, dialect: Dialect, clock: Clock
) -> AsyncIterator[VenueGateway]:
    """A gateway to the venue at `endpoints`; opens nothing before the first call."""
    async with open_http_client(network, endpoints.rest, connections_max=CONNECTIONS_MAX) as client:
        yield VenueGateway(dialect.venue, dialect, client, clock)
