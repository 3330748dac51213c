"""One venue's REST, as execution sees it: questions in domain terms, each with a deadline, and one law of errors.

What each may raise is the law at the top of `line`. An order is never asked twice. Cancelled in the middle of `place`,
the caller knows from `last_check` whether the order may have left.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import trio
from attrs import define

from propbot.domain.account import KeyRights, MarginSetup
from propbot.domain.clock import Clock
from propbot.domain.dialect import Dialect, HttpCall, HttpReply
from propbot.domain.errors import ClockRefused, ProtocolViolation, VenueError, VenueRefused
from propbot.domain.instruments import Endpoints, Fees, FundingOutlook, Instrument
from propbot.domain.market import DepthSnapshot
from propbot.domain.orders import Balance, Fill, Funding, OrderReport, OrderRequest, Purpose, VenuePosition
from propbot.execution.budget import RateBudget, Shares, Urgency
from propbot.execution.line import TIMEOUT_S, T, VenueLine
from propbot.execution.pace import VenuePace
from propbot.kit.crash import CrashPoints
from propbot.kit.http1 import open_http_client
from propbot.kit.net import Network

CONNECTIONS_MAX = 6
TRADES_PAGE = 1000
URGENT_PURPOSES = (Purpose.HEDGE, Purpose.UNWIND)


@define(eq=False)
class VenueGateway(VenueLine):
    """The calls of one venue. Made by `open_gateway`."""

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
        not run when ConnectFailed comes, nor when RateLimited comes from a pause or the rate budget of ours: what
        opens or closes keeps to the pace share, a hedge or an unwind may use the reserve.
        """
        first_byte_mono_s = 0.0

        def check() -> None:
            nonlocal first_byte_mono_s
            last_check()
            crash.passage("first-byte:before")
            first_byte_mono_s = self.clock.mono_s()
            self.pace.note_sent(self.pace.orders_sent)

        reply = await self.exchange(
            self.dialect.call_place(order, self.ts_ms()),
            timeout_s,
            urgency=Urgency.RESERVE if order.purpose in URGENT_PURPOSES else Urgency.NORMAL,
            last_check=check,
            after_send=lambda: crash.passage("first-byte:after"),
        )
        crash.passage("ack:before")
        self.order_rtt_ms.append((self.clock.mono_s() - first_byte_mono_s) * 1000)
        try:
            return self.read(lambda answer: self.dialect.read_order(answer, order.symbol), reply)
        except ClockRefused:
            # Measured by `keep_warm`, not here: the other leg's bookkeeping waits for this answer.
            self.clock_doubted.set()
            raise
        except (VenueRefused, ProtocolViolation) as error:
            self.listing_doubted.set()
            self._note_unreadable(error)
            raise

    async def cancel(self, symbol: str, client_order_id: str, *, timeout_s: float = TIMEOUT_S) -> OrderReport:
        return await self.ask_signed(
            lambda ts_ms: self.dialect.call_cancel(symbol, client_order_id, ts_ms),
            lambda reply: self.dialect.read_order(reply, symbol),
            timeout_s,
            urgency=Urgency.CANCEL,
            last_check=lambda: self.pace.note_sent(self.pace.cancels_sent),
        )

    async def query(self, symbol: str, client_order_id: str, *, timeout_s: float = TIMEOUT_S) -> OrderReport:
        """OrderNotFound is no proof by itself."""
        try:
            return await self.ask_signed(
                lambda ts_ms: self.dialect.call_query(symbol, client_order_id, ts_ms),
                lambda reply: self.dialect.read_order(reply, symbol),
                timeout_s,
                urgency=Urgency.RESERVE,
            )
        except ProtocolViolation as error:
            self._note_unreadable(error)
            raise

    def _note_unreadable(self, error: VenueError) -> None:
        """A refusal has its status; what has none was a good answer in words that we don't know."""
        if isinstance(error, ProtocolViolation) and error.http_status is None:
            self.on_unreadable(str(error))

    async def open_orders(
        self, symbol: str, *, urgent: bool = False, timeout_s: float = TIMEOUT_S
    ) -> Sequence[OrderReport]:
        """`urgent`: out of the reserve, for who cancels what it finds."""
        return await self.ask_signed(
            lambda ts_ms: self.dialect.call_open_orders(symbol, ts_ms),
            self.dialect.read_open_orders,
            timeout_s,
            urgency=Urgency.RESERVE if urgent else Urgency.NORMAL,
        )

    @property
    def has_dead_man(self) -> bool:
        return self.dialect.call_dead_man("", 0, 0) is not None

    async def set_dead_man(self, symbol: str, countdown_ms: int, *, timeout_s: float = TIMEOUT_S) -> None:
        """Set the venue's countdown for `symbol`, or switch it off with 0. ProtocolViolation if the venue set another.
        Out of the reserve."""

        def build(ts_ms: int) -> HttpCall:
            call = self.dialect.call_dead_man(symbol, countdown_ms, ts_ms)
            assert call is not None, "not without a switch"
            return call

        in_force_ms = await self.ask_signed(build, self.dialect.read_dead_man, timeout_s, urgency=Urgency.RESERVE)
        if in_force_ms != countdown_ms:
            raise ProtocolViolation(self.venue, f"dead-man switch: asked for {countdown_ms} ms, got {in_force_ms}")

    # --- account

    async def balances(self, *, timeout_s: float = TIMEOUT_S) -> Sequence[Balance]:
        return await self.ask_signed(
            lambda ts_ms: self.dialect.call_balances(ts_ms), self.dialect.read_balances, timeout_s
        )

    async def try_keys(self, dialect: Dialect, *, timeout_s: float = TIMEOUT_S) -> None:
        """A signed read with the keys of `dialect`, which nothing else uses yet. AccessRefused if they are no good."""
        await self.ask_signed(dialect.call_balances, dialect.read_balances, timeout_s, urgency=Urgency.RESERVE)

    async def positions(self, symbol: str, *, timeout_s: float = TIMEOUT_S) -> Sequence[VenuePosition]:
        """Every position of the account, `symbol`'s among them: the others cost nothing more. Empty where the venue
        has none (spot)."""
        if self.dialect.call_positions(symbol, 0) is None:
            await trio.lowlevel.checkpoint()
            return ()

        def build(ts_ms: int) -> HttpCall:
            call = self.dialect.call_positions(symbol, ts_ms)
            assert call is not None
            return call

        return await self.ask_signed(build, self.dialect.read_positions, timeout_s)

    async def fees(self, symbol: str, *, timeout_s: float = TIMEOUT_S) -> Fees:
        return await self.ask_signed(
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
        return await self.ask_signed(
            lambda ts_ms: self.dialect.call_trades(symbol, from_id, ts_ms), self.dialect.read_trades, timeout_s
        )

    async def order_trades(self, symbol: str, order_id: str, *, timeout_s: float = TIMEOUT_S) -> Sequence[Fill]:
        return await self.ask_signed(
            lambda ts_ms: self.dialect.call_order_trades(symbol, order_id, ts_ms), self.dialect.read_trades, timeout_s
        )

    async def funding_payments(
        self, symbol: str, since_ms: int, *, timeout_s: float = TIMEOUT_S
    ) -> Sequence[Funding]:
        """What `symbol` paid or received at or after `since_ms` (venue clock); empty where the venue has no funding.

        One page is forty days of hourly payments: callers ask from the last one that they know.
        """
        if self.dialect.call_funding_payments(symbol, since_ms, 0) is None:
            await trio.lowlevel.checkpoint()
            return ()

        def build(ts_ms: int) -> HttpCall:
            call = self.dialect.call_funding_payments(symbol, since_ms, ts_ms)
            assert call is not None
            return call

        return await self.ask_signed(build, self.dialect.read_funding_payments, timeout_s)

    # --- how the account is set up; None where the venue has no such thing or does not tell

    async def position_mode(self, *, timeout_s: float = TIMEOUT_S) -> bool | None:
        """Whether the account is in hedge mode."""
        return await self._ask_if_told(
            lambda ts_ms: self.dialect.call_position_mode(ts_ms), self.dialect.read_position_mode, timeout_s
        )

    async def margin(self, symbol: str, *, timeout_s: float = TIMEOUT_S) -> MarginSetup | None:
        return await self._ask_if_told(
            lambda ts_ms: self.dialect.call_margin(symbol, ts_ms),
            lambda reply: self.dialect.read_margin(reply, symbol), timeout_s,
        )

    async def key_rights(self, dialect: Dialect | None = None, *, timeout_s: float = TIMEOUT_S) -> KeyRights | None:
        """Of the key in force, or of the one of `dialect`."""
        return await self._ask_if_told(
            lambda ts_ms: (dialect or self.dialect).call_key_rights(ts_ms), self.dialect.read_key_rights, timeout_s
        )

    async def _ask_if_told(
        self, build: Callable[[int], HttpCall | None], read: Callable[[HttpReply], T], timeout_s: float
    ) -> T | None:
        if build(0) is None:
            await trio.lowlevel.checkpoint()
            return None

        def built(ts_ms: int) -> HttpCall:
            call = build(ts_ms)
            assert call is not None
            return call

        return await self.ask_signed(built, read, timeout_s)

    # --- what is public

    async def funding_outlook(self, symbol: str, *, timeout_s: float = TIMEOUT_S) -> FundingOutlook | None:
        """None where the venue has no funding."""
        call = self.dialect.call_funding_outlook(symbol)
        if call is None:
            await trio.lowlevel.checkpoint()
            return None
        return await self.ask_once(call, self.dialect.read_funding_outlook, timeout_s)

    async def instrument(self, symbol: str, *, timeout_s: float = TIMEOUT_S) -> Instrument:
        """Also takes the venue's rate limits out of the same answer."""

        def read(reply: HttpReply) -> Instrument:
            instrument = self.dialect.read_instrument(reply, symbol)
            self.rate_limits = tuple(self.dialect.read_rate_limits(reply))
            self.pace.budget.set_limits(self.rate_limits)
            return instrument

        return await self.ask_once(self.dialect.call_instrument(symbol), read, timeout_s)

    async def depth(self, symbol: str, *, timeout_s: float = TIMEOUT_S) -> DepthSnapshot:
        return await self.ask_once(
            self.dialect.call_depth(symbol), lambda reply: self.dialect.read_depth(reply, symbol), timeout_s
        )

    async def ask(self, call: HttpCall, *, timeout_s: float = TIMEOUT_S) -> HttpReply:
        """A reply of whatever status: for the private stream's own calls, out of the reserve."""
        assert not call.is_order, "orders go through place"
        return await self.exchange(call, timeout_s, urgency=Urgency.RESERVE)


@asynccontextmanager
async def open_gateway(
    network: Network, endpoints: Endpoints, dialect: Dialect, clock: Clock, shares: Shares | None = None
) -> AsyncIterator[VenueGateway]:
    """A gateway to the venue at `endpoints`; opens nothing before the first call. `shares` of the venue's limits."""
    async with open_http_client(network, endpoints.rest, connections_max=CONNECTIONS_MAX) as client:
        pace = VenuePace(dialect.venue, clock, RateBudget(shares or Shares()))
        yield VenueGateway(dialect.venue, dialect, client, clock, pace)
