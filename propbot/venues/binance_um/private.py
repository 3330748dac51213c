"""Frames of the USD-M private stream → events.

Nothing here numbers or replays events: after a reconnect REST tells what was missed. TRADE_LITE comes first and
lacks the fee; it is ignored, since ORDER_TRADE_UPDATE brings the same fill whole.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import UNSET, Raw, UnsetType, field

from propbot.domain.errors import ProtocolViolation
from propbot.domain.instruments import VenueId
from propbot.domain.orders import AccountChanged, PrivateEnded, PrivateEvent
from propbot.venues.binance.orders import OrderEvent, event_report
from propbot.venues.binance.wire import decode
from propbot.venues.binance_um.funding import make_funding


class _Head(msgspec.Struct):
    event: str | None = field(name="e", default=None)
    stream: str | None = None
    data: Raw | UnsetType = UNSET
    """Set by the combined form (`/private/stream`)."""
    request_id: Raw | UnsetType = field(name="id", default=UNSET)


class _OrderUpdate(msgspec.Struct):
    order: OrderEvent = field(name="o")


class _BalanceChange(msgspec.Struct):
    asset: str = field(name="a")
    change: str = field(name="bc")
    """The wallet's change but for profit and commission."""


class _ChangedPosition(msgspec.Struct):
    symbol: str = field(name="s")


class _Account(msgspec.Struct):
    reason: str = field(name="m")
    balances: list[_BalanceChange] = field(name="B", default=[])
    positions: list[_ChangedPosition] = field(name="P", default=[])
    """Only what changed; a funding payment of a cross position names none."""


class _AccountUpdate(msgspec.Struct):
    ts_ms: int = field(name="T")
    account: _Account = field(name="a")


_head_decoder = msgspec.json.Decoder(_Head)
_order_decoder = msgspec.json.Decoder(_OrderUpdate)
_account_decoder = msgspec.json.Decoder(_AccountUpdate)

_ENDS = frozenset({"listenKeyExpired", "serverShutdown"})
_ACCOUNT = frozenset({"MARGIN_CALL", "ACCOUNT_CONFIG_UPDATE"})


def read_private(frame: str | bytes, venue: VenueId) -> Sequence[PrivateEvent]:
    head = decode(_head_decoder, frame, venue, "private frame")
    if not isinstance(head.data, Raw):
        return _read_event(head, frame, venue)
    return _read_event(decode(_head_decoder, head.data, venue, "private frame data"), head.data, venue)


def _read_event(head: _Head, payload: str | bytes | Raw, venue: VenueId) -> Sequence[PrivateEvent]:
    event = head.event
    if event == "ORDER_TRADE_UPDATE":
        return (event_report(decode(_order_decoder, payload, venue, event).order, venue),)
    if event == "ACCOUNT_UPDATE":
        return _account_events(decode(_account_decoder, payload, venue, event), venue)
    if event in _ENDS:
        return (PrivateEnded(event),)
    if event in _ACCOUNT:
        return (AccountChanged(event),)
    if event is None and head.request_id is UNSET:
        raise ProtocolViolation(venue, "private frame: neither event nor answer")
    return ()


def _account_events(update: _AccountUpdate, venue: VenueId) -> Sequence[PrivateEvent]:
    changed = AccountChanged(update.account.reason)
    if update.account.reason != "FUNDING_FEE":
        return (changed,)
    symbols = {position.symbol for position in update.account.positions}
    symbol = symbols.pop() if len(symbols) == 1 else ""
    payments = [
        make_funding(venue, symbol, balance.asset, balance.change, update.ts_ms, "ACCOUNT_UPDATE a.B.bc")
        for balance in update.account.balances
    ]
    return (*payments, changed)
