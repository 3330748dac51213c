"""The matching engine of one embedded venue: one account, its orders, and the market that they meet.

The rules, where the real venue leaves no doubt, are its own; where paper must choose, the choice is the cautious one:

- A taker walks the visible levels within its limit, one trade a level, and what it took stays taken (`visible_book`).
- A resting order waits in the visible queue and fills as a maker at its own price (`resting`).
- Our own orders never meet one another. After a restart a resting order stands at the end of the queue.

Synchronous from end to end: every call that changes something commits it to the store, then tells the listeners.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from attrs import evolve

from propbot.domain.instruments import Fees, Instrument, Kind, VenueId
from propbot.domain.market import DepthSnapshot, TopOfBook
from propbot.domain.money import BPS, ZERO
from propbot.domain.orders import Side
from propbot.simvenue.account import PerpPosition
from propbot.simvenue.clearing import Clearing
from propbot.simvenue.filters import (
    OPEN_ORDERS_MAX,
    check_filters,
    check_perp_margin,
    check_spot_funds,
    clip_reduce_only,
    locked_by,
)
from propbot.simvenue.records import (
    FundingRow,
    Listener,
    MarketFrame,
    NewOrder,
    Refusal,
    Refused,
    SimOrder,
    SimStatus,
    SimTif,
    SimTrade,
    SimType,
)
from propbot.simvenue.resting import PublicTrade, Resting, by_priority, queue_at, read_public_trade
from propbot.simvenue.store import VenueStore
from propbot.simvenue.visible_book import VisibleBook


class MatchingEngine:
    """Implements `engine_api.Engine`."""

    def __init__(
        self,
        venue: VenueId,
        instruments: Sequence[Instrument],
        fees: Fees,
        store: VenueStore,
        wall_ns: Callable[[], int],
        snapshots: Mapping[tuple[VenueId, str], DepthSnapshot],
        starting_balances: Mapping[str, Decimal],
    ) -> None:
        self.venue = venue
        self._instruments = {instrument.symbol: instrument for instrument in instruments}
        self._kind = instruments[0].kind
        assert all(i.venue == venue and i.kind is self._kind for i in instruments), "one venue, one kind"
        self._fees = fees
        self._store = store
        self._wall_ns = wall_ns
        self._books = {symbol: VisibleBook(snap) for (at, symbol), snap in snapshots.items() if at == venue}
        self._last_trades: dict[str, MarketFrame] = {}
        self._clearing = Clearing(venue, self._kind, fees, store, self.now_ms, starting_balances)
        self._resting = {order.order_id: self._queue(order) for order in store.open_orders(venue)}
        self._late: dict[int, int] = {}
        """Resting orders that meet the market only at this time (fault late_match); venue clock, milliseconds."""

    # what is asked

    def instruments(self) -> Sequence[Instrument]:
        return tuple(self._instruments.values())

    def fees(self) -> Fees:
        return self._fees

    def now_ms(self) -> int:
        return self._wall_ns() // 1_000_000

    def listen(self, listener: Listener) -> None:
        self._clearing.listeners.append(listener)

    def depth(self, symbol: str, limit: int) -> DepthSnapshot:
        return self._book(symbol).depth(limit)

    def top(self, symbol: str) -> TopOfBook | None:
        return self._book(symbol).top()

    def mark_price(self, symbol: str) -> Decimal:
        """The mid of the visible book; `Refused(NOT_TRADING)` while a side of it is empty."""
        top = self.top(symbol)
        if top is None:
            raise Refused(Refusal.NOT_TRADING, f"{symbol} has no two-sided book")
        return (Decimal(top.bid) + Decimal(top.ask)) / 2

    def last_trade_price(self, symbol: str) -> Decimal | None:
        """Of the market, as far as the source publishes trades."""
        self._instrument(symbol)
        frame = self._last_trades.get(symbol)
        return None if frame is None else Decimal(read_public_trade(frame).p)

    def find(self, symbol: str, *, order_id: int | None = None, client_order_id: str | None = None) -> SimOrder:
        self._instrument(symbol)
        found: SimOrder | None = None
        if order_id is not None:
            found = self._store.order_by_id(self.venue, symbol, order_id)
        elif client_order_id is not None:
            found = self._store.order_by_client_id(self.venue, symbol, client_order_id)
        if found is None:
            raise Refused(Refusal.UNKNOWN_ORDER)
        resting = self._resting.get(found.order_id)
        return found if resting is None else resting.order

    def open_orders(self, symbol: str | None = None) -> Sequence[SimOrder]:
        return [r.order for r in self._resting.values() if symbol is None or r.order.request.symbol == symbol]

    def all_orders(self, symbol: str, *, from_order_id: int | None = None, limit: int = 500) -> Sequence[SimOrder]:
        return self._store.orders(self.venue, symbol, from_order_id, limit)

    def trades(
        self, symbol: str, *, from_trade_id: int | None = None, order_id: int | None = None, limit: int = 500
    ) -> Sequence[SimTrade]:
        return self._store.trades(self.venue, symbol, from_trade_id, order_id, limit)

    def fundings(self, symbol: str | None = None, limit: int = 1000) -> Sequence[FundingRow]:
        """Funding payments, oldest first, the newest `limit`."""
        return self._store.fundings(self.venue, symbol, limit)

    def balances(self) -> dict[str, tuple[Decimal, Decimal]]:
        locked: dict[str, Decimal] = {}
        if self._kind is Kind.SPOT:
            for instrument in self._instruments.values():
                for asset, amount in locked_by(instrument, self.open_orders(instrument.symbol)).items():
                    locked[asset] = locked.get(asset, ZERO) + amount
        return {
            asset: (total - locked.get(asset, ZERO), locked.get(asset, ZERO))
            for asset, total in self._clearing.account.balances.items()
        }

    def position(self, symbol: str) -> tuple[Decimal, Decimal]:
        self._instrument(symbol)
        position = self._clearing.account.positions.get(symbol, PerpPosition())
        return position.qty, position.entry_price

    # what changes things

    def on_market(self, frame: MarketFrame) -> None:
        if frame.symbol not in self._instruments:
            return
        trade: PublicTrade | None = None
        if frame.event is not None:
            if not self._book(frame.symbol).apply(frame.event):
                return
        elif frame.stream.endswith("@trade"):
            self._last_trades[frame.symbol] = frame
            trade = read_public_trade(frame) if self._resting else None
        if self._resting:
            for resting in by_priority(self._resting.values(), frame.symbol):
                until_ms = self._late.get(resting.order.order_id)
                if until_ms is None:
                    self._advance(resting, trade)
                elif self.now_ms() >= until_ms:
                    self._release(resting.order)
            self._clearing.commit()

    def place(
        self, order: NewOrder, *, fill_at_most: Decimal | None = None, late_until_ms: int | None = None
    ) -> SimOrder:
        instrument = self._instrument(order.symbol)
        book = self._book(order.symbol)
        mark = None if book.top() is None else self.mark_price(order.symbol)
        check_filters(instrument, order, mark)
        mine = self.open_orders(order.symbol)
        if any(other.request.client_order_id == order.client_order_id for other in self.open_orders()):
            raise Refused(Refusal.DUPLICATE_ID, order.client_order_id)
        if len(mine) >= OPEN_ORDERS_MAX:
            raise Refused(Refusal.MAX_ORDERS)
        if order.reduce_only and self._kind is Kind.PERP:
            order = evolve(order, qty=clip_reduce_only(self._clearing.account, order))
        self._check_funds(instrument, order, mine, mark)
        if (
            order.tif is SimTif.POST_ONLY
            and order.limit_price is not None
            and book.reaches(order.side, order.limit_price)
        ):
            raise Refused(Refusal.WOULD_MATCH)
        killed = order.tif is SimTif.FOK and self._fillable(order) < order.qty
        if killed and self._kind is Kind.PERP:
            raise Refused(Refusal.FOK_KILLED)  # the spot venue keeps a record of it instead, EXPIRED
        return self._accept(order, ZERO if killed else fill_at_most, late_until_ms)

    def cancel(self, symbol: str, *, order_id: int | None = None, client_order_id: str | None = None) -> SimOrder:
        order = self.find(symbol, order_id=order_id, client_order_id=client_order_id)
        if not order.status.open:
            raise Refused(Refusal.UNKNOWN_ORDER)
        self._finish(order, SimStatus.CANCELED)
        self._clearing.commit()
        return order

    def foreign_trade(
        self, symbol: str, side: Side, qty: Decimal, client_order_id: str | None = None
    ) -> SimTrade:
        """As placed from the venue's own web page, or under the id that the venue itself gives: the first of its
        trades. `Refused` if it can't be done."""
        client_order_id = client_order_id or f"web_{self.now_ms()}"
        order = self.place(NewOrder(client_order_id, symbol, side, SimType.MARKET, SimTif.IOC, qty, None))
        if not order.trades:
            raise Refused(Refusal.INSUFFICIENT, "no visible liquidity")
        return order.trades[0]

    def adjust(self, asset: str, amount: Decimal) -> None:
        """Move a balance, or on a perp venue the base's position, without a trade."""
        instrument = next(iter(self._instruments.values()))
        self._clearing.adjust(instrument, asset, amount, self.mark_price(instrument.symbol))

    def take_fees_in(self, rule: Callable[[], Mapping[str, Any] | None]) -> None:
        """`rule` says, at each fill, `asset` and `price` of what its fee is taken in; None: as ever."""
        self._clearing.other_fees = rule

    def fund(self, symbol: str, rate: Decimal) -> Decimal:
        """Settle funding at `rate` on the mark price; what was received (negative: paid). Perps only."""
        return self._clearing.fund(self._instrument(symbol), rate, self.mark_price(symbol))

    def fill_rest(self, symbol: str, order_id: int) -> None:
        order = self.find(symbol, order_id=order_id)
        assert order.request.limit_price is not None, "only limit orders rest"
        self._fill(order, order.request.qty - order.filled_qty, order.request.limit_price, maker=True)
        self._clearing.commit()

    def change(self, symbol: str, **changes: Any) -> None:
        self._instruments[symbol] = evolve(self._instrument(symbol), **changes)

    def set_status(self, symbol: str, status: str) -> None:
        self.change(symbol, status=status)

    # placing

    def _check_funds(
        self, instrument: Instrument, order: NewOrder, open_orders: Sequence[SimOrder], mark: Decimal | None
    ) -> None:
        if self._kind is Kind.SPOT:
            if order.limit_price is not None:
                cost = order.qty * order.limit_price
            else:
                cost = sum((price * qty for price, qty in self._takes(order, order.qty)), ZERO)
            check_spot_funds(instrument, self._clearing.account, open_orders, order, cost)
        elif not order.reduce_only:
            if mark is None:
                raise Refused(Refusal.NOT_TRADING, "no mark price")
            check_perp_margin(instrument, self._clearing.account, open_orders, order, mark, self._fees.taker_bps * BPS)

    def _accept(self, asked: NewOrder, fill_at_most: Decimal | None, late_until_ms: int | None) -> SimOrder:
        order = self._clearing.accept(asked)
        if late_until_ms is None:
            self._meet_market(order, fill_at_most)
        else:
            self._resting[order.order_id] = self._queue(order)
            self._late[order.order_id] = late_until_ms
        self._clearing.commit()
        return order

    def _release(self, order: SimOrder) -> None:
        """A late order meets the market as if it had come now."""
        self._resting.pop(order.order_id)
        self._late.pop(order.order_id)
        self._meet_market(order, None)

    def _meet_market(self, order: SimOrder, fill_at_most: Decimal | None) -> None:
        asked = order.request
        qty = asked.qty if fill_at_most is None else min(asked.qty, fill_at_most)
        for price, taken in self._takes(asked, qty):
            self._book(asked.symbol).take(asked.side, price, taken)
            self._fill(order, taken, price, maker=False)
        if order.status.open:
            if asked.type is SimType.LIMIT and asked.tif in (SimTif.GTC, SimTif.POST_ONLY):
                self._resting[order.order_id] = self._queue(order)
            else:
                self._finish(order, SimStatus.EXPIRED)

    def _takes(self, asked: NewOrder, qty: Decimal) -> list[tuple[Decimal, Decimal]]:
        """(price, quantity) of each level that `qty` would take now."""
        takes: list[tuple[Decimal, Decimal]] = []
        for level in self._book(asked.symbol).walk(asked.side, asked.limit_price):
            if qty <= 0:
                break
            takes.append((level.price, min(level.qty, qty)))
            qty -= takes[-1][1]
        return takes

    def _fillable(self, asked: NewOrder) -> Decimal:
        return sum((qty for _, qty in self._takes(asked, asked.qty)), ZERO)

    # resting

    def _queue(self, order: SimOrder) -> Resting:
        return Resting(order, queue_at(self._books[order.request.symbol], order.request))

    def _advance(self, resting: Resting, trade: PublicTrade | None) -> None:
        """Let the market's last frame act on one resting order: shrink its queue, fill what reached it."""
        order, book = resting.order, self._book(resting.order.request.symbol)
        resting.shrink(book)
        if trade is not None:
            qty = self._clip(order, resting.reached_by(trade))
            if qty > 0:
                self._fill(order, qty, resting.price, maker=True)
            return
        for level in list(book.walk(order.request.side, resting.price)):
            qty = self._clip(order, level.qty)
            if qty <= 0:
                return
            book.take(order.request.side, level.price, qty)
            self._fill(order, qty, resting.price, maker=True)

    def _clip(self, order: SimOrder, qty: Decimal) -> Decimal:
        """At most what is left of `order`; a reduce-only order whose position is gone ends here."""
        if not order.status.open or qty <= 0:
            return ZERO
        left = order.request.qty - order.filled_qty
        if order.request.reduce_only and self._kind is Kind.PERP:
            position = self._clearing.account.positions.get(order.request.symbol, PerpPosition()).qty
            if position * order.request.side.sign >= 0:
                self._finish(order, SimStatus.EXPIRED)
                return ZERO
            left = min(left, abs(position))
        return min(left, qty)

    def _fill(self, order: SimOrder, qty: Decimal, price: Decimal, *, maker: bool) -> None:
        self._clearing.fill(order, self._instruments[order.request.symbol], qty, price, maker=maker)
        if order.status is SimStatus.FILLED:
            self._resting.pop(order.order_id, None)

    def _finish(self, order: SimOrder, status: SimStatus) -> None:
        self._clearing.finish(order, status)
        self._resting.pop(order.order_id, None)

    def _instrument(self, symbol: str) -> Instrument:
        if symbol not in self._instruments:
            raise Refused(Refusal.BAD_SYMBOL, symbol)
        return self._instruments[symbol]

    def _book(self, symbol: str) -> VisibleBook:
        self._instrument(symbol)
        return self._books[symbol]
