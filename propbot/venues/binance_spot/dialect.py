"""Spot as it works in 2026: no listen keys any more, the private stream is a subscription on the WebSocket API."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import ClassVar, NoReturn

import msgspec
from attrs import frozen

from propbot.domain.account import KeyRights
from propbot.domain.dialect import HttpCall, HttpReply, WsPlan
from propbot.domain.errors import ProtocolViolation
from propbot.domain.instruments import BINANCE_SPOT, Fees, Kind, VenueId
from propbot.domain.money import BPS, ZERO
from propbot.domain.orders import Balance, Funding, OrderRequest, PrivateEvent, TimeInForce, VenuePosition
from propbot.venues.binance.calls import RECV_WINDOW_MS, BinanceCalls, Weights, public_streams
from propbot.venues.binance.sign import ws_api_params
from propbot.venues.binance.streams import PublicFrames
from propbot.venues.binance.wire import amount, amount_not_negative, decode
from propbot.venues.binance_spot.private import read_private


class _Balance(msgspec.Struct):
    asset: str
    free: str
    locked: str


class _Account(msgspec.Struct):
    balances: list[_Balance]


class _Rates(msgspec.Struct):
    maker: str = "0"
    taker: str = "0"
    buyer: str = "0"
    seller: str = "0"


class _Commission(msgspec.Struct, rename="camel"):
    standard_commission: _Rates
    special_commission: _Rates = msgspec.field(default_factory=_Rates)
    tax_commission: _Rates = msgspec.field(default_factory=_Rates)


class _ApiRestrictions(msgspec.Struct, rename="camel"):
    enable_withdrawals: bool
    enable_spot_and_margin_trading: bool | None = None
    ip_restrict: bool | None = None


_restrictions_decoder = msgspec.json.Decoder(_ApiRestrictions)
_account_decoder = msgspec.json.Decoder(_Account)
_commission_decoder = msgspec.json.Decoder(_Commission)


@frozen
class BinanceSpot(BinanceCalls):
    """`Dialect` of binance-spot for one key pair."""

    venue: ClassVar[VenueId] = BINANCE_SPOT
    kind: ClassVar[Kind] = Kind.SPOT
    prefix: ClassVar[str] = "/api/v3"
    trades_path: ClassVar[str] = "/api/v3/myTrades"
    weights: ClassVar[Weights] = Weights(
        exchange_info=20, depth=50, place=1, query=4, open_orders=6, trades=20, order_trades=5
    )
    frames: ClassVar[PublicFrames] = PublicFrames(BINANCE_SPOT, chained=False)

    private_needs_ready: ClassVar[bool] = True
    private_keepalive_s: ClassVar[float | None] = None

    def call_instrument(self, symbol: str) -> HttpCall:
        return self._plain("exchangeInfo", {"symbol": symbol}, weight=self.weights.exchange_info)

    def public_plan(self, symbol: str) -> WsPlan:
        return WsPlan("ws", f"/stream?streams={public_streams(symbol)}")

    def call_place(self, order: OrderRequest, ts_ms: int) -> HttpCall:
        assert not order.reduce_only, "spot has no reduce-only orders"
        own: dict[str, str | int] = {"type": "MARKET", "newOrderRespType": "FULL"}
        if order.limit_price is not None and order.time_in_force is TimeInForce.POST_ONLY:
            own["type"] = "LIMIT_MAKER"  # takes no time in force
        elif order.limit_price is not None:
            own |= {"type": "LIMIT", "timeInForce": str(order.time_in_force)}
        return self._call_place(order, own, ts_ms)

    # account

    def call_balances(self, ts_ms: int) -> HttpCall:
        return self._signed("GET", "/api/v3/account", {"omitZeroBalances": "true"}, ts_ms, weight=20)

    def read_balances(self, reply: HttpReply) -> Sequence[Balance]:
        rows = decode(_account_decoder, self._answer(reply), self.venue, "account").balances
        return tuple(
            Balance(
                self.venue, row.asset, amount_not_negative(row.free, self.venue, "account free"),
                amount_not_negative(row.locked, self.venue, "account locked"),
            )
            for row in rows
        )

    def call_dead_man(self, symbol: str, countdown_ms: int, ts_ms: int) -> None:
        """Spot has none (only FIX sessions cancel on disconnect)."""

    def read_dead_man(self, reply: HttpReply) -> NoReturn:
        raise ProtocolViolation(self.venue, "spot has no dead-man switch")

    def call_positions(self, symbol: str, ts_ms: int) -> None:
        return None

    def read_positions(self, reply: HttpReply) -> Sequence[VenuePosition]:
        return ()

    def call_fees(self, symbol: str, ts_ms: int) -> HttpCall:
        return self._signed("GET", "/api/v3/account/commission", {"symbol": symbol}, ts_ms, weight=20)

    def read_fees(self, reply: HttpReply) -> Fees:
        """The sum of all commissions for the dearer side. The BNB discount is left out: fees are taken as they are
        without it, since it ends when the BNB do."""
        found = decode(_commission_decoder, self._answer(reply), self.venue, "account/commission")
        parts = (found.standard_commission, found.special_commission, found.tax_commission)
        side = sum((max(self._rate(part.buyer), self._rate(part.seller)) for part in parts), ZERO)
        return Fees(
            maker_bps=(sum((self._rate(part.maker) for part in parts), ZERO) + side) / BPS,
            taker_bps=(sum((self._rate(part.taker) for part in parts), ZERO) + side) / BPS,
        )

    def _rate(self, text: str) -> Decimal:
        return amount(text, self.venue, "account/commission")

    def call_position_mode(self, ts_ms: int) -> None:
        return None

    def read_position_mode(self, reply: HttpReply) -> NoReturn:
        raise ProtocolViolation(self.venue, "spot has no positions")

    def call_margin(self, symbol: str, ts_ms: int) -> None:
        return None

    def read_margin(self, reply: HttpReply, symbol: str) -> NoReturn:
        raise ProtocolViolation(self.venue, "spot has no margin")

    def call_key_rights(self, ts_ms: int) -> HttpCall:
        """On the same host as spot; the test network has no /sapi (404 there)."""
        return self._signed("GET", "/sapi/v1/account/apiRestrictions", {}, ts_ms, weight=1)

    def read_key_rights(self, reply: HttpReply) -> KeyRights:
        found = decode(_restrictions_decoder, self._answer(reply), self.venue, "apiRestrictions")
        return KeyRights(found.enable_withdrawals, found.enable_spot_and_margin_trading, found.ip_restrict)

    def call_funding_payments(self, symbol: str, since_ms: int, ts_ms: int) -> None:
        return None

    def read_funding_payments(self, reply: HttpReply) -> Sequence[Funding]:
        return ()

    def call_funding_outlook(self, symbol: str) -> None:
        return None

    def read_funding_outlook(self, reply: HttpReply) -> NoReturn:
        raise ProtocolViolation(self.venue, "spot has no funding")

    # the private stream

    def call_private_key(self) -> None:
        return None

    def read_private_key(self, reply: HttpReply) -> NoReturn:
        raise ProtocolViolation(self.venue, "spot has no listen keys (removed 2026-02-20)")

    def call_private_keepalive(self, key: str) -> NoReturn:
        raise ProtocolViolation(self.venue, "spot has no listen keys (removed 2026-02-20)")

    def private_plan(self, key: str | None, ts_ms: int) -> WsPlan:
        """`ws_api` carries its own path, hence no target. Signed for each session: HMAC keys can't log in for good."""
        params = ws_api_params({"recvWindow": RECV_WINDOW_MS, "timestamp": ts_ms}, self.credentials)
        request = {"id": "private", "method": "userDataStream.subscribe.signature", "params": params}
        return WsPlan("ws_api", "", (msgspec.json.encode(request).decode(),))

    def read_private(self, frame: str | bytes) -> Sequence[PrivateEvent]:
        return read_private(frame, self.venue)
