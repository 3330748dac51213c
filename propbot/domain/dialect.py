"""The seam between the house and a venue's language: bytes ⇄ domain, no sockets, no clock, no state.

`venues/<venue>` implements `Dialect`; feeds and execution are given one and never know which. Every `read_*` raises
a `VenueError` of the right branch (see `errors`) for a non-2xx reply, and `ProtocolViolation`, naming the field,
for a reply that does not have the promised shape. Unknown fields are ignored; an unknown order status is a
`ProtocolViolation` too (an unknown state is never guessed).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from attrs import Factory, frozen

from propbot.domain.account import KeyRights, MarginSetup
from propbot.domain.instruments import Fees, FundingOutlook, Instrument, Kind, VenueId
from propbot.domain.market import DepthSnapshot, PublicEvent
from propbot.domain.orders import Balance, Fill, Funding, OrderReport, OrderRequest, PrivateEvent, VenuePosition


@frozen
class HttpCall:
    """One request, ready to be sent byte for byte. `target` is path and query; the signature is already in it."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    weight: int = 1
    is_order: bool = False
    """A new order: a lost answer to it is OutcomeUnknown, never a retry."""


@frozen
class HttpReply:
    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


@frozen
class Usage:
    """What the venue counts against us, from its reply headers; a window it did not name is absent.

    Keys as the venue spells them: `weight_1m`, `orders_10s`, `orders_1m`, `orders_1d`.
    """

    counts: Mapping[str, int] = Factory(dict)


@frozen
class RateLimit:
    """One limit of exchangeInfo. `key` is the matching key of `Usage.counts`."""

    key: str
    limit: int
    window_s: float


@frozen
class WsPlan:
    """A WebSocket session to open: which base URL, what path and query, what to send first."""

    base: Literal["ws", "ws_api"]
    target: str
    first_frames: tuple[str, ...] = ()


class Dialect(Protocol):
    """One venue's language for one key pair. `ts_ms` is always the venue's wall clock (our clock plus offset)."""

    @property
    def venue(self) -> VenueId: ...
    @property
    def kind(self) -> Kind: ...

    # what is public
    def call_server_time(self) -> HttpCall: ...
    def read_server_time_ms(self, reply: HttpReply) -> int: ...
    def call_instrument(self, symbol: str) -> HttpCall: ...
    def read_instrument(self, reply: HttpReply, symbol: str) -> Instrument: ...
    def read_rate_limits(self, reply: HttpReply) -> Sequence[RateLimit]:
        """From the same reply as `read_instrument`."""
        ...

    def call_depth(self, symbol: str) -> HttpCall: ...
    def read_depth(self, reply: HttpReply, symbol: str) -> DepthSnapshot: ...
    def public_plan(self, symbol: str) -> WsPlan: ...
    def read_public(self, frame: str | bytes) -> PublicEvent | None:
        """One frame; None for what carries nothing for us (acks, trades). ProtocolViolation for nonsense."""
        ...

    def read_usage(self, headers: Mapping[str, str]) -> Usage: ...

    # orders
    def call_place(self, order: OrderRequest, ts_ms: int) -> HttpCall:
        """Asks for the final state in the answer (RESULT / FULL) and a short window (recvWindow 2000 ms), so that an
        order delayed on the way is refused by the venue instead of filling late."""
        ...

    def read_order(self, reply: HttpReply, symbol: str) -> OrderReport:
        """The answer to place, query and cancel alike; fills where the venue includes them."""
        ...

    def call_query(self, symbol: str, client_order_id: str, ts_ms: int) -> HttpCall: ...
    def call_cancel(self, symbol: str, client_order_id: str, ts_ms: int) -> HttpCall: ...
    def call_open_orders(self, symbol: str, ts_ms: int) -> HttpCall: ...
    def read_open_orders(self, reply: HttpReply) -> Sequence[OrderReport]: ...
    def call_dead_man(self, symbol: str, countdown_ms: int, ts_ms: int) -> HttpCall | None:
        """Have the venue cancel every open order of `symbol`, whosever it is, unless it hears again in time; 0 switches
        that off. None where the venue has no such switch (spot)."""
        ...

    def read_dead_man(self, reply: HttpReply) -> int:
        """The countdown that is in force, in milliseconds; 0 where it is off."""
        ...

    # account
    def call_balances(self, ts_ms: int) -> HttpCall: ...
    def read_balances(self, reply: HttpReply) -> Sequence[Balance]: ...
    def call_positions(self, symbol: str, ts_ms: int) -> HttpCall | None:
        """All positions of the account, `symbol`'s among them; None where the venue has none (spot)."""
        ...

    def read_positions(self, reply: HttpReply) -> Sequence[VenuePosition]: ...
    def call_fees(self, symbol: str, ts_ms: int) -> HttpCall: ...
    def read_fees(self, reply: HttpReply) -> Fees: ...
    def call_trades(self, symbol: str, from_trade_id: int | None, ts_ms: int) -> HttpCall:
        """Up to 1000 of our fills with trade id ≥ `from_trade_id`, oldest first; None: the most recent ones."""
        ...

    def call_order_trades(self, symbol: str, order_id: str, ts_ms: int) -> HttpCall: ...
    def read_trades(self, reply: HttpReply) -> Sequence[Fill]: ...

    # how the account is set up; the calls are None where the venue has no such thing or does not tell
    def call_position_mode(self, ts_ms: int) -> HttpCall | None: ...
    def read_position_mode(self, reply: HttpReply) -> bool:
        """Whether the account keeps long and short apart (hedge mode)."""
        ...

    def call_margin(self, symbol: str, ts_ms: int) -> HttpCall | None: ...
    def read_margin(self, reply: HttpReply, symbol: str) -> MarginSetup: ...
    def call_key_rights(self, ts_ms: int) -> HttpCall | None:
        """Of the key itself; what the account may do says nothing about it."""
        ...

    def read_key_rights(self, reply: HttpReply) -> KeyRights: ...

    # funding; the calls are None where the venue has none (spot)
    def call_funding_payments(self, symbol: str, since_ms: int, ts_ms: int) -> HttpCall | None:
        """Up to 1000 payments of `symbol` at or after `since_ms`, as far back as the venue tells."""
        ...

    def read_funding_payments(self, reply: HttpReply) -> Sequence[Funding]:
        """With the income id that the private stream's event of the same payment has."""
        ...

    def call_funding_outlook(self, symbol: str) -> HttpCall | None: ...
    def read_funding_outlook(self, reply: HttpReply) -> FundingOutlook: ...

    # the private stream
    @property
    def private_needs_ready(self) -> bool:
        """Whether the stream says `PrivateReady`; otherwise it is ready once connected."""
        ...

    @property
    def private_keepalive_s(self) -> float | None: ...
    def call_private_key(self) -> HttpCall | None:
        """Asks for a listen key; None where the venue needs none."""
        ...

    def read_private_key(self, reply: HttpReply) -> str: ...
    def call_private_keepalive(self, key: str) -> HttpCall: ...
    def private_plan(self, key: str | None, ts_ms: int) -> WsPlan: ...
    def read_private(self, frame: str | bytes) -> Sequence[PrivateEvent]: ...
