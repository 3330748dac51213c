"""Orders, trades and balances as Binance's REST answers carry them, and what its order statuses mean here."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from propbot.domain.errors import ProtocolViolation
from propbot.domain.instruments import VenueId
from propbot.domain.money import ZERO
from propbot.domain.orders import Fill, OrderReport, OrderState, Side
from propbot.venues.binance.wire import amount, amount_not_negative, amount_positive, decode

_WORKING = frozenset({"NEW", "PARTIALLY_FILLED", "PENDING_NEW", "PENDING_CANCEL"})
_ENDED_EARLY = frozenset({"CANCELED", "EXPIRED", "EXPIRED_IN_MATCH"})
_LIQUIDATION = frozenset({"NEW_INSURANCE", "NEW_ADL"})
"""The venue's own orders against us; only their quantities tell whether they are done."""


class _Execution(msgspec.Struct, rename="camel"):
    """One of the `fills` in a spot FULL answer."""

    price: str
    qty: str
    commission: str
    commission_asset: str
    trade_id: int


class _Order(msgspec.Struct, rename="camel"):
    symbol: str
    order_id: int
    client_order_id: str
    side: Side
    status: str
    orig_qty: str
    executed_qty: str
    price: str = "0"
    orig_client_order_id: str = ""
    """In a spot cancel answer: ours, where `clientOrderId` is a new random one."""
    transact_time: int = 0
    update_time: int = 0
    fills: list[_Execution] = []


class _Trade(msgspec.Struct, rename="camel"):
    symbol: str
    id: int
    order_id: int
    price: str
    qty: str
    commission: str
    commission_asset: str
    time: int
    is_buyer: bool | None = None
    is_maker: bool | None = None
    buyer: bool | None = None
    """USD-M's name for `isBuyer`; likewise `maker`."""
    maker: bool | None = None


_order_decoder = msgspec.json.Decoder(_Order)
_orders_decoder = msgspec.json.Decoder(list[_Order])
_trades_decoder = msgspec.json.Decoder(list[_Trade])


def state_of(status: str, qty: Decimal, filled_qty: Decimal, venue: VenueId) -> OrderState:
    """What `status` means; ProtocolViolation for one that we do not know (an unknown state is never guessed)."""
    if status == "FILLED":
        return OrderState.FILLED
    if status in _WORKING:
        return OrderState.WORKING
    if status in _ENDED_EARLY:
        return OrderState.PARTIAL if filled_qty > 0 else OrderState.CANCELED
    if status == "REJECTED":
        return OrderState.REJECTED
    if status in _LIQUIDATION:
        return OrderState.FILLED if filled_qty >= qty else OrderState.WORKING
    raise ProtocolViolation(venue, f"order status {status[:40]!r} is unknown")


def limit_price_of(text: str, venue: VenueId, field: str) -> Decimal | None:
    """Venues write a MARKET order's price as zero."""
    return amount(text, venue, field) or None


def read_order(body: bytes, symbol: str, venue: VenueId) -> OrderReport:
    order = decode(_order_decoder, body, venue, "order")
    if order.symbol != symbol:
        raise ProtocolViolation(venue, f"order: asked for {symbol}, got {order.symbol[:40]!r}")
    return _report(order, venue)


def read_open_orders(body: bytes, venue: VenueId) -> Sequence[OrderReport]:
    return tuple(_report(order, venue) for order in decode(_orders_decoder, body, venue, "open orders"))


def _report(order: _Order, venue: VenueId) -> OrderReport:
    qty = amount_not_negative(order.orig_qty, venue, "order origQty")
    filled_qty = amount_not_negative(order.executed_qty, venue, "order executedQty")
    ts_ms = order.transact_time or order.update_time
    if ts_ms <= 0:
        raise ProtocolViolation(venue, "order: neither transactTime nor updateTime")
    client_order_id = order.orig_client_order_id or order.client_order_id
    return OrderReport(
        venue=venue,
        symbol=order.symbol,
        client_order_id=client_order_id,
        order_id=str(order.order_id),
        side=order.side,
        state=state_of(order.status, qty, filled_qty, venue),
        qty=qty,
        filled_qty=filled_qty,
        ts_ms=ts_ms,
        fills=tuple(_execution(each, order, client_order_id, ts_ms, venue) for each in order.fills),
        reason=order.status if order.status in _ENDED_EARLY else "",
        limit_price=limit_price_of(order.price, venue, "order price"),
    )


def _execution(each: _Execution, order: _Order, client_order_id: str, ts_ms: int, venue: VenueId) -> Fill:
    """What an order met on its arrival: always as taker."""
    return Fill(
        venue=venue,
        symbol=order.symbol,
        order_id=str(order.order_id),
        client_order_id=client_order_id,
        trade_id=str(each.trade_id),
        side=order.side,
        qty=amount_positive(each.qty, venue, "order fills.qty"),
        price=amount_positive(each.price, venue, "order fills.price"),
        fee=amount(each.commission, venue, "order fills.commission"),
        fee_asset=each.commission_asset,
        liquidity="taker",
        ts_ms=ts_ms,
    )


def read_trades(body: bytes, venue: VenueId) -> Sequence[Fill]:
    """Our fills, oldest first."""
    trades = decode(_trades_decoder, body, venue, "trades")
    return tuple(_fill(trade, venue) for trade in sorted(trades, key=lambda trade: trade.id))


def _fill(trade: _Trade, venue: VenueId) -> Fill:
    bought = trade.buyer if trade.is_buyer is None else trade.is_buyer
    made = trade.maker if trade.is_maker is None else trade.is_maker
    if bought is None or made is None:
        raise ProtocolViolation(venue, "trades: neither isBuyer, isMaker nor buyer, maker")
    return Fill(
        venue=venue,
        symbol=trade.symbol,
        order_id=str(trade.order_id),
        client_order_id="",
        trade_id=str(trade.id),
        side=Side.BUY if bought else Side.SELL,
        qty=amount_positive(trade.qty, venue, "trades qty"),
        price=amount_positive(trade.price, venue, "trades price"),
        fee=amount(trade.commission, venue, "trades commission"),
        fee_asset=trade.commission_asset,
        liquidity="maker" if made else "taker",
        ts_ms=trade.time,
    )


class OrderEvent(msgspec.Struct):
    """The one-letter fields that ORDER_TRADE_UPDATE (its `o`) and executionReport have in common."""

    symbol: str = msgspec.field(name="s")
    client_order_id: str = msgspec.field(name="c")
    side: Side = msgspec.field(name="S")
    qty: str = msgspec.field(name="q")
    execution: str = msgspec.field(name="x")
    status: str = msgspec.field(name="X")
    order_id: int = msgspec.field(name="i")
    last_qty: str = msgspec.field(name="l")
    filled_qty: str = msgspec.field(name="z")
    last_price: str = msgspec.field(name="L")
    ts_ms: int = msgspec.field(name="T")
    price: str = msgspec.field(name="p", default="0")
    trade_id: int = msgspec.field(name="t", default=-1)
    is_maker: bool = msgspec.field(name="m", default=False)
    fee: str | None = msgspec.field(name="n", default=None)
    fee_asset: str | None = msgspec.field(name="N", default=None)
    original_id: str = msgspec.field(name="C", default="")
    """Spot: the id of the order that this cancel was for."""
    reject_reason: str = msgspec.field(name="r", default="NONE")
    """Spot."""

    @property
    def own_id(self) -> str:
        """The order's own client id: in a spot cancel report `c` names the cancel, and `C` the order."""
        return self.original_id if self.execution == "CANCELED" and self.original_id else self.client_order_id


_EXECUTIONS = frozenset({"TRADE", "CALCULATED"})
"""CALCULATED is a liquidation; it moves our position like any trade."""


def event_report(event: OrderEvent, venue: VenueId) -> OrderReport:
    """The report of a private order event, with the one fill that it may carry."""
    qty = amount_not_negative(event.qty, venue, "order event q")
    filled_qty = amount_not_negative(event.filled_qty, venue, "order event z")
    last_qty = amount_not_negative(event.last_qty, venue, "order event l")
    carries_fill = event.execution in _EXECUTIONS and last_qty > ZERO
    return OrderReport(
        venue=venue,
        symbol=event.symbol,
        client_order_id=event.own_id,
        order_id=str(event.order_id),
        side=event.side,
        state=state_of(event.status, qty, filled_qty, venue),
        qty=qty,
        filled_qty=filled_qty,
        ts_ms=event.ts_ms,
        fills=(_event_fill(event, last_qty, venue),) if carries_fill else (),
        reason=_event_reason(event),
        limit_price=limit_price_of(event.price, venue, "order event p"),
    )


def _event_reason(event: OrderEvent) -> str:
    if event.reject_reason != "NONE":
        return event.reject_reason
    return event.status if event.status in _ENDED_EARLY else ""


def _event_fill(event: OrderEvent, last_qty: Decimal, venue: VenueId) -> Fill:
    fee = ZERO if event.fee is None else amount(event.fee, venue, "order event n")
    if fee and not event.fee_asset:
        raise ProtocolViolation(venue, "order event: a fee `n` without its asset `N`")
    if event.trade_id < 0:
        raise ProtocolViolation(venue, "order event: a trade without its id `t`")
    return Fill(
        venue=venue,
        symbol=event.symbol,
        order_id=str(event.order_id),
        client_order_id=event.own_id,
        trade_id=str(event.trade_id),
        side=event.side,
        qty=last_qty,
        price=amount_positive(event.last_price, venue, "order event L"),
        fee=fee,
        fee_asset=event.fee_asset or "",
        liquidity="maker" if event.is_maker else "taker",
        ts_ms=event.ts_ms,
    )
