"""Booking: what a match does to orders and account, the commit to the store, and then the word to the listeners.

The engine matches; this keeps the books. Between two commits nothing is visible outside, so one engine call is one
transaction and its events go out in order, after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any
from zlib import crc32

from propbot.domain.instruments import Fees, Instrument, Kind, VenueId
from propbot.domain.money import ZERO, floor_to_step
from propbot.simvenue.account import ASSET_STEP, Account, Booking, PerpAccount, PerpPosition, restore_account
from propbot.simvenue.records import (
    AccountMoved,
    EngineEvent,
    FundingRow,
    Listener,
    NewOrder,
    OrderChanged,
    SimOrder,
    SimStatus,
    SimTrade,
)
from propbot.simvenue.store import Change, VenueStore


class Clearing:
    """One venue's account with its order and trade ids. `account` is read by the engine, written only here."""

    def __init__(
        self,
        venue: VenueId,
        kind: Kind,
        fees: Fees,
        store: VenueStore,
        now_ms: Callable[[], int],
        starting_balances: Mapping[str, Decimal],
    ) -> None:
        self._venue = venue
        self._fees = fees
        self._store = store
        self._now_ms = now_ms
        self.listeners: list[Listener] = []
        self.other_fees: Callable[[], Mapping[str, Any] | None] = lambda: None
        """`asset` and `price` of what fees are taken in instead of the account's own asset, while they are."""
        self._events: list[EngineEvent] = []
        self._orders: dict[int, SimOrder] = {}
        self._trades: list[SimTrade] = []
        self._fundings: list[FundingRow] = []
        stored = store.load(venue)
        if stored is not None:
            self._next_order_id, self._next_trade_id = stored.next_order_id, stored.next_trade_id
            self.account: Account = restore_account(kind, stored.balances, stored.positions)
        else:
            # Ids grow with the wall clock, so an account that was wiped does not hand out old ids to a ledger
            # that remembers them; the venue's name keeps two venues apart.
            self._next_order_id = now_ms() * 5 + crc32(venue.encode()) % 1_000_003
            self._next_trade_id = self._next_order_id // 3
            self.account = restore_account(kind, starting_balances, {})
            self._save()

    def accept(self, asked: NewOrder) -> SimOrder:
        now_ms = self._now_ms()
        order = SimOrder(self._next_order_id, asked, SimStatus.NEW, now_ms, now_ms)
        self._next_order_id += 1
        self._tell_order(order, "NEW", None)
        return order

    def fill(self, order: SimOrder, instrument: Instrument, qty: Decimal, price: Decimal, *, maker: bool) -> None:
        asked, now_ms = order.request, self._now_ms()
        fee_bps = self._fees.maker_bps if maker else self._fees.taker_bps
        booking = self.account.book(instrument, asked.side, qty, price, fee_bps)
        instead = self.other_fees()
        if instead is not None:
            booking = self._charge(instrument, booking, price, instead["asset"], instead["price"])
        trade = SimTrade(
            trade_id=self._take_trade_id(),
            order_id=order.order_id,
            client_order_id=asked.client_order_id,
            symbol=asked.symbol,
            side=asked.side,
            qty=qty,
            price=price,
            fee=booking.fee,
            fee_asset=booking.fee_asset,
            maker=maker,
            realised=booking.realised,
            ts_ms=now_ms,
        )
        order.trades.append(trade)
        order.filled_qty += qty
        order.quote_qty += qty * price
        order.updated_ms = now_ms
        order.status = SimStatus.FILLED if order.filled_qty == asked.qty else SimStatus.PARTIALLY_FILLED
        self._trades.append(trade)
        self._tell_order(order, "TRADE", trade)
        self._tell_account(asked.symbol, booking.changed, now_ms)

    def finish(self, order: SimOrder, status: SimStatus) -> None:
        """End an open order unfilled or part filled: CANCELED or EXPIRED."""
        assert order.status.open, order.status
        assert not status.open, status
        order.status = status
        order.updated_ms = self._now_ms()
        self._tell_order(order, status.value, None)

    def fund(self, instrument: Instrument, rate: Decimal, mark: Decimal) -> Decimal:
        """Settle funding and commit; what was received (negative: paid)."""
        assert isinstance(self.account, PerpAccount), "spot pays no funding"
        amount = self.account.fund(instrument, rate, mark)
        now_ms, quote = self._now_ms(), instrument.quote
        self._fundings.append(FundingRow(self._take_trade_id(), instrument.symbol, quote, amount, now_ms))
        self._events.append(AccountMoved("FUNDING_FEE", {quote: self.account.balances[quote]}, None, now_ms))
        self.commit()
        return amount

    def adjust(self, instrument: Instrument, asset: str, amount: Decimal, mark: Decimal) -> None:
        """Move a balance, or the base's position at `mark`, by `amount` without a trade, and commit."""
        row = None
        if isinstance(self.account, PerpAccount) and asset == instrument.base:
            position = self.account.positions.setdefault(instrument.symbol, PerpPosition())
            position.qty += amount
            position.cost = abs(position.qty) * mark
            row = (instrument.symbol, position.qty, position.entry_price)
        else:
            self.account.balances[asset] = self.account.balances.get(asset, ZERO) + amount
        moved = {} if row is not None else {asset: self.account.balances[asset]}
        self._events.append(AccountMoved("ADJUSTMENT", moved, row, self._now_ms()))
        self.commit()

    def _charge(
        self, instrument: Instrument, booked: Booking, price: Decimal, asset: str, asset_price: Decimal
    ) -> Booking:
        """The same trade with its fee taken in `asset`."""
        balances = self.account.balances
        balances[booked.fee_asset] += booked.fee
        value = booked.fee * price if booked.fee_asset == instrument.base else booked.fee
        fee = floor_to_step(value / asset_price, ASSET_STEP)
        balances[asset] = balances.get(asset, ZERO) - fee
        return Booking(fee, asset, booked.realised, (*booked.changed, asset))

    def commit(self) -> None:
        """Everything since the last commit: to the store in one transaction, then to the listeners in order."""
        if not self._events:
            return
        self._save()
        events, self._events = self._events, []
        for event in events:
            for listener in self.listeners:
                listener(event)

    def _save(self) -> None:
        change = Change(
            next_order_id=self._next_order_id,
            next_trade_id=self._next_trade_id,
            orders=list(self._orders.values()),
            trades=self._trades,
            balances=self.account.balances,
            positions={symbol: (p.qty, p.cost) for symbol, p in self.account.positions.items()},
            fundings=self._fundings,
        )
        self._store.save(self._venue, change)
        self._orders, self._trades, self._fundings = {}, [], []

    def _take_trade_id(self) -> int:
        self._next_trade_id += 1
        return self._next_trade_id - 1

    def _tell_order(self, order: SimOrder, what: str, trade: SimTrade | None) -> None:
        self._orders[order.order_id] = order
        self._events.append(
            OrderChanged(order, what, order.status, order.filled_qty, order.quote_qty, trade, order.updated_ms)
        )

    def _tell_account(self, symbol: str, assets: Iterable[str], ts_ms: int) -> None:
        balances = {asset: self.account.balances[asset] for asset in assets}
        position = self.account.positions.get(symbol)
        row = None if position is None else (symbol, position.qty, position.entry_price)
        self._events.append(AccountMoved("ORDER", balances, row, ts_ms))
