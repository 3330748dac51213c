"""What execution needs from its neighbours, as narrow as it can be: a venue to ask, a ledger to write, prices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

from propbot.domain.instruments import Fees, Instrument, VenueId
from propbot.domain.lots import FillRow, Intent, Lot, OrderRow
from propbot.domain.orders import Balance, Fill, Funding, OrderReport, OrderRequest, OrderState, Side, VenuePosition
from propbot.kit.crash import CrashPoints


class OrderGateway(Protocol):
    """One venue; each method has its own deadline and raises `VenueError`."""

    async def place(
        self, order: OrderRequest, last_check: Callable[[], None], crash: CrashPoints
    ) -> OrderReport: ...
    async def query(self, symbol: str, client_order_id: str) -> OrderReport: ...
    async def cancel(self, symbol: str, client_order_id: str) -> OrderReport: ...
    async def open_orders(self, symbol: str, *, urgent: bool = False) -> Sequence[OrderReport]: ...
    async def balances(self) -> Sequence[Balance]: ...
    async def positions(self, symbol: str) -> Sequence[VenuePosition]: ...
    async def trades(self, symbol: str, from_trade_id: int | None) -> Sequence[Fill]: ...
    async def order_trades(self, symbol: str, order_id: str) -> Sequence[Fill]: ...
    async def funding_payments(self, symbol: str, since_ms: int) -> Sequence[Funding]: ...
    def ts_ms(self) -> int:
        """The venue's wall clock now."""
        ...



class Booked(Protocol):
    @property
    def new(self) -> tuple[FillRow, ...]: ...
    @property
    def foreign(self) -> tuple[Fill, ...]: ...


class OrderLedger(Protocol):
    """Each call returns once its change is durable."""

    async def commit_intent(self, intent: Intent, lot: Lot | None = None) -> None: ...
    async def record_order(
        self,
        client_order_id: str,
        state: OrderState,
        *,
        order_id: str = "",
        filled_qty: Decimal | None = None,
        reason: str = "",
    ) -> OrderRow: ...
    async def book_fills(self, fills: Sequence[Fill]) -> Booked: ...
    async def book_funding(self, funding: Funding) -> bool: ...
    async def save_lot(self, lot: Lot) -> None: ...
    async def last_trade_id(self, venue: VenueId, symbol: str) -> int | None: ...


class Market(Protocol):
    """Prices as far as the books can be trusted."""

    instruments: Mapping[VenueId, Instrument]
    fees: Mapping[VenueId, Fees]

    def mark(self, venue: VenueId) -> Decimal | None:
        """The mid; None while the book has none."""
        ...

    def walk_limit(self, venue: VenueId, side: Side, qty: Decimal, slippage_bps: Decimal) -> Decimal | None:
        """Limit price for `qty` by walking the trusted book and adding slippage; None if it can't be trusted."""
        ...

    def book_ids(self) -> Mapping[VenueId, int]: ...

    def book_sights(self) -> Mapping[VenueId, Mapping[str, Any]]: ...
