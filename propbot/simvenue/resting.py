"""A resting order's place in the queue, and what of the public market reaches it.

An order waits behind the quantity that was visible at its price when it arrived. The queue shrinks with public trades
at its price, and whenever the level shows less than the queue (who cancels is taken to have stood behind us as long
as that can be). The order fills at its own price, as a maker: with what a public trade leaves after the queue; with a
public trade through its price; or when the other side's best price reaches its own, for who sells at our bid would
have met us first.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec
from attrs import define

from propbot.domain.money import ZERO
from propbot.domain.orders import Side
from propbot.simvenue.records import MarketFrame, NewOrder, SimOrder
from propbot.simvenue.visible_book import VisibleBook


class PublicTrade(msgspec.Struct, frozen=True, gc=False):
    """What matters of a trade frame, by Binance's field names: price, quantity, whether the buyer was the maker."""

    p: str
    q: str
    m: bool


def read_public_trade(frame: MarketFrame) -> PublicTrade:
    return msgspec.json.decode(frame.data, type=PublicTrade)


@define
class Resting:
    """An open limit order and how much of the visible level stands before it."""

    order: SimOrder
    queue_ahead: Decimal

    @property
    def price(self) -> Decimal:
        assert self.order.request.limit_price is not None, "only limit orders rest"
        return self.order.request.limit_price

    def shrink(self, book: VisibleBook) -> None:
        self.queue_ahead = min(self.queue_ahead, book.qty_at(self.order.request.side, self.price))

    def reached_by(self, trade: PublicTrade) -> Decimal:
        """How much of a public trade is ours, at most; what it took at our price comes off the queue first."""
        side = self.order.request.side
        if trade.m is not (side is Side.BUY):  # the maker was on the other side
            return ZERO
        beyond = (self.price - Decimal(trade.p)) * side.sign
        if beyond < 0:
            return ZERO
        qty = Decimal(trade.q)
        if beyond > 0:
            return qty
        passed = min(self.queue_ahead, qty)
        self.queue_ahead -= passed
        return qty - passed


def queue_at(book: VisibleBook, asked: NewOrder) -> Decimal:
    """What stands before an order that arrives now."""
    return ZERO if asked.limit_price is None else book.qty_at(asked.side, asked.limit_price)


def by_priority(resting: Iterable[Resting], symbol: str) -> list[Resting]:
    """One symbol's, better prices first, then in the order given (older first); a list, since filling removes."""
    mine = [r for r in resting if r.order.request.symbol == symbol]
    return sorted(mine, key=lambda r: -r.order.request.side.sign * r.price)
