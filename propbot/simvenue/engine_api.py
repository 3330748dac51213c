"""The face of the matching engine towards the protocol faces, the admin port and the host."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

from propbot.domain.instruments import Fees, Instrument, VenueId
from propbot.domain.market import DepthSnapshot, TopOfBook
from propbot.domain.orders import Side
from propbot.simvenue.records import FundingRow, Listener, MarketFrame, NewOrder, SimOrder, SimTrade


class Engine(Protocol):
    """One venue, one account, several symbols. Synchronous; every change is persisted by its store and told to the
    listeners in order, before the call returns."""

    venue: VenueId

    def on_market(self, frame: MarketFrame) -> None:
        """Apply the frame to the visible book; resting orders may fill; taken liquidity at touched levels returns."""
        ...

    def instruments(self) -> Sequence[Instrument]: ...
    def fees(self) -> Fees: ...
    def depth(self, symbol: str, limit: int) -> DepthSnapshot: ...
    def top(self, symbol: str) -> TopOfBook | None: ...
    def last_trade_price(self, symbol: str) -> Decimal | None: ...

    def place(
        self, order: NewOrder, *, fill_at_most: Decimal | None = None, late_until_ms: int | None = None
    ) -> SimOrder:
        """Accept and match, or raise `Refused`. IOC ends here. `fill_at_most` is the partial-fill fault;
        `late_until_ms` (venue clock) the one that lets an order rest before it meets the market."""
        ...

    def fill_rest(self, symbol: str, order_id: int) -> None:
        """Fill what is left of an open limit order, at its own price."""
        ...

    def cancel(self, symbol: str, *, order_id: int | None = None, client_order_id: str | None = None) -> SimOrder: ...
    def find(self, symbol: str, *, order_id: int | None = None, client_order_id: str | None = None) -> SimOrder:
        """By client id: the newest with that id. `Refused(UNKNOWN_ORDER)` if there is none."""
        ...

    def open_orders(self, symbol: str | None = None) -> Sequence[SimOrder]: ...
    def all_orders(self, symbol: str, *, from_order_id: int | None = None, limit: int = 500) -> Sequence[SimOrder]: ...
    def trades(
        self, symbol: str, *, from_trade_id: int | None = None, order_id: int | None = None, limit: int = 500
    ) -> Sequence[SimTrade]:
        """Oldest first; without `from_trade_id` the newest `limit`."""
        ...

    def balances(self) -> dict[str, tuple[Decimal, Decimal]]:
        """asset → (free, locked). Perp: the wallet balance, locked zero."""
        ...

    def position(self, symbol: str) -> tuple[Decimal, Decimal]:
        """(signed quantity, entry price); zeros on spot."""
        ...

    def mark_price(self, symbol: str) -> Decimal:
        """The mid of the visible book."""
        ...

    def foreign_trade(
        self, symbol: str, side: Side, qty: Decimal, client_order_id: str | None = None
    ) -> SimTrade:
        """A market order on the account that the bot did not send (a person's hand, or the venue's own under
        `client_order_id`): client id without our prefix."""
        ...

    def adjust(self, asset: str, amount: Decimal) -> None:
        """Move a balance, or on a perp venue the base's position, without a trade."""
        ...

    def take_fees_in(self, rule: Callable[[], Mapping[str, Any] | None]) -> None: ...

    def fund(self, symbol: str, rate: Decimal) -> Decimal:
        """Settle funding at `rate` on the mark price; what was received (negative: paid). Perps only."""
        ...

    def fundings(self, symbol: str | None = None, limit: int = 1000) -> Sequence[FundingRow]:
        """Funding payments, oldest first, the newest `limit`."""
        ...

    def change(self, symbol: str, **changes: Any) -> None:
        """Other filters, or another status, from now on."""
        ...

    def set_status(self, symbol: str, status: str) -> None: ...
    def listen(self, listener: Listener) -> None: ...
    def now_ms(self) -> int:
        """The venue's wall clock, without any clock fault."""
        ...
