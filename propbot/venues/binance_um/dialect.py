"""USDⓈ-M perpetuals as they work in 2026: /public and /private stream routes, a listen key for the private one.

Assumes one-way position mode (no `positionSide`); in hedge mode the venue refuses orders with -4061.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import ClassVar, NoReturn

import msgspec
from attrs import frozen

from propbot.domain.account import MarginSetup
from propbot.domain.dialect import HttpCall, HttpReply, WsPlan
from propbot.domain.errors import ProtocolViolation
from propbot.domain.instruments import BINANCE_UM, Fees, FundingOutlook, Kind, VenueId
from propbot.domain.money import BPS
from propbot.domain.orders import Balance, Funding, OrderRequest, PrivateEvent, VenuePosition
from propbot.venues.binance.calls import BinanceCalls, Weights, public_streams
from propbot.venues.binance.sign import Params, query_text
from propbot.venues.binance.streams import PublicFrames
from propbot.venues.binance.wire import amount, decode
from propbot.venues.binance_um.funding import HISTORY_MS, read_outlook, read_payments
from propbot.venues.binance_um.private import read_private

LISTEN_KEY_PATH = "/fapi/v1/listenKey"
INCOME_LIMIT = 1000
KEEPALIVE_S = 1800.0
"""A listen key lives 60 minutes; half of that leaves room for a failed attempt."""


class _Balance(msgspec.Struct):
    asset: str
    balance: str
    """The wallet balance; `availableBalance` is less by margin and is not what fills and fees explain."""


class _Position(msgspec.Struct, rename="camel"):
    symbol: str
    position_amt: str
    entry_price: str


class _Commission(msgspec.Struct, rename="camel"):
    maker_commission_rate: str
    taker_commission_rate: str


class _PositionMode(msgspec.Struct, rename="camel"):
    dual_side_position: bool


class _SymbolConfig(msgspec.Struct, rename="camel"):
    symbol: str
    margin_type: str
    leverage: int


class _ListenKey(msgspec.Struct, rename="camel"):
    listen_key: str


class _Countdown(msgspec.Struct, rename="camel"):
    countdown_time: str


_balances_decoder = msgspec.json.Decoder(list[_Balance])
_positions_decoder = msgspec.json.Decoder(list[_Position])
_commission_decoder = msgspec.json.Decoder(_Commission)
_countdown_decoder = msgspec.json.Decoder(_Countdown)
_position_mode_decoder = msgspec.json.Decoder(_PositionMode)
_symbol_config_decoder = msgspec.json.Decoder(list[_SymbolConfig])
_listen_key_decoder = msgspec.json.Decoder(_ListenKey)


@frozen
class BinanceUm(BinanceCalls):
    """`Dialect` of binance-um for one key pair."""

    venue: ClassVar[VenueId] = BINANCE_UM
    kind: ClassVar[Kind] = Kind.PERP
    prefix: ClassVar[str] = "/fapi/v1"
    trades_path: ClassVar[str] = "/fapi/v1/userTrades"
    weights: ClassVar[Weights] = Weights(
        exchange_info=1, depth=20, place=0, query=1, open_orders=1, trades=5, order_trades=5
    )
    frames: ClassVar[PublicFrames] = PublicFrames(BINANCE_UM, chained=True)

    private_needs_ready: ClassVar[bool] = False
    private_keepalive_s: ClassVar[float | None] = KEEPALIVE_S

    def call_instrument(self, symbol: str) -> HttpCall:
        """All symbols: USD-M's exchangeInfo takes no parameter."""
        return self._plain("exchangeInfo", {}, weight=self.weights.exchange_info)

    def public_plan(self, symbol: str) -> WsPlan:
        """On /public: a subscription on the wrong route is acknowledged and then silent (route split of 2026-04)."""
        return WsPlan("ws", f"/public/stream?streams={public_streams(symbol)}")

    def call_place(self, order: OrderRequest, ts_ms: int) -> HttpCall:
        own: dict[str, str | int] = {"type": "MARKET", "newOrderRespType": "RESULT"}
        if order.limit_price is not None:
            own |= {"type": "LIMIT", "timeInForce": str(order.time_in_force)}
        if order.reduce_only:
            own["reduceOnly"] = "true"
        return self._call_place(order, own, ts_ms)

    def call_dead_man(self, symbol: str, countdown_ms: int, ts_ms: int) -> HttpCall:
        params: Params = {"symbol": symbol, "countdownTime": countdown_ms}
        return self._signed("POST", "/fapi/v1/countdownCancelAll", params, ts_ms, weight=10)

    def read_dead_man(self, reply: HttpReply) -> int:
        told = decode(_countdown_decoder, self._answer(reply), self.venue, "countdownCancelAll").countdown_time
        if not re.fullmatch(r"\d{1,12}", told, re.ASCII):
            raise ProtocolViolation(self.venue, f"countdownCancelAll: countdownTime {told[:40]!r}")
        return int(told)

    # account

    def call_balances(self, ts_ms: int) -> HttpCall:
        return self._signed("GET", "/fapi/v3/balance", {}, ts_ms, weight=5)

    def read_balances(self, reply: HttpReply) -> Sequence[Balance]:
        rows = decode(_balances_decoder, self._answer(reply), self.venue, "balance")
        return tuple(Balance(self.venue, row.asset, amount(row.balance, self.venue, "balance")) for row in rows)

    def call_positions(self, symbol: str, ts_ms: int) -> HttpCall:
        """Without a symbol it names every position there is, at the same weight: foreign ones are shown."""
        return self._signed("GET", "/fapi/v3/positionRisk", {}, ts_ms, weight=5)

    def read_positions(self, reply: HttpReply) -> Sequence[VenuePosition]:
        rows = decode(_positions_decoder, self._answer(reply), self.venue, "positionRisk")
        positions = [
            VenuePosition(
                self.venue, row.symbol, amount(row.position_amt, self.venue, "positionRisk positionAmt"),
                amount(row.entry_price, self.venue, "positionRisk entryPrice"),
            )
            for row in rows
        ]
        return tuple(position for position in positions if position.qty)

    def call_fees(self, symbol: str, ts_ms: int) -> HttpCall:
        return self._signed("GET", "/fapi/v1/commissionRate", {"symbol": symbol}, ts_ms, weight=20)

    def read_fees(self, reply: HttpReply) -> Fees:
        rates = decode(_commission_decoder, self._answer(reply), self.venue, "commissionRate")
        return Fees(
            maker_bps=amount(rates.maker_commission_rate, self.venue, "commissionRate maker") / BPS,
            taker_bps=amount(rates.taker_commission_rate, self.venue, "commissionRate taker") / BPS,
        )

    # how the account is set up

    def call_position_mode(self, ts_ms: int) -> HttpCall:
        return self._signed("GET", "/fapi/v1/positionSide/dual", {}, ts_ms, weight=30)

    def read_position_mode(self, reply: HttpReply) -> bool:
        return decode(_position_mode_decoder, self._answer(reply), self.venue, "positionSide/dual").dual_side_position

    def call_margin(self, symbol: str, ts_ms: int) -> HttpCall:
        """symbolConfig: v3 of positionRisk carries neither leverage nor margin type any more."""
        return self._signed("GET", "/fapi/v1/symbolConfig", {"symbol": symbol}, ts_ms, weight=5)

    def read_margin(self, reply: HttpReply, symbol: str) -> MarginSetup:
        rows = decode(_symbol_config_decoder, self._answer(reply), self.venue, "symbolConfig")
        for row in rows:
            if row.symbol == symbol:
                return MarginSetup(Decimal(row.leverage), row.margin_type != "CROSSED")
        raise ProtocolViolation(self.venue, f"symbolConfig: nothing of {symbol}")

    def call_key_rights(self, ts_ms: int) -> None:
        """USD-M tells only of the account (canWithdraw), not of the key."""
        return

    def read_key_rights(self, reply: HttpReply) -> NoReturn:
        raise ProtocolViolation(self.venue, "USD-M does not tell of its keys' rights")

    # funding

    def call_funding_payments(self, symbol: str, since_ms: int, ts_ms: int) -> HttpCall:
        params: Params = {
            "symbol": symbol, "incomeType": "FUNDING_FEE", "startTime": max(since_ms, ts_ms - HISTORY_MS),
            "limit": INCOME_LIMIT,
        }
        return self._signed("GET", "/fapi/v1/income", params, ts_ms, weight=30)

    def read_funding_payments(self, reply: HttpReply) -> Sequence[Funding]:
        return read_payments(self._answer(reply), self.venue)

    def call_funding_outlook(self, symbol: str) -> HttpCall:
        return self._plain("premiumIndex", {"symbol": symbol}, weight=1)

    def read_funding_outlook(self, reply: HttpReply) -> FundingOutlook:
        return read_outlook(self._answer(reply), self.venue)

    # the private stream

    def call_private_key(self) -> HttpCall:
        """Unsigned: the key header is all that it wants."""
        return HttpCall("POST", LISTEN_KEY_PATH, self._key_header())

    def read_private_key(self, reply: HttpReply) -> str:
        key = decode(_listen_key_decoder, self._answer(reply), self.venue, "listenKey").listen_key
        if not key:
            raise ProtocolViolation(self.venue, "listenKey: empty")
        return key

    def call_private_keepalive(self, key: str) -> HttpCall:
        """The venue takes the account's one key from the header; its answer is read by `read_private_key`."""
        params: Params = {"listenKey": key}
        return HttpCall("PUT", f"{LISTEN_KEY_PATH}?{query_text(params)}", self._key_header())

    def private_plan(self, key: str | None, ts_ms: int) -> WsPlan:
        assert key is not None, "a USD-M private stream needs its listen key"
        params: Params = {"listenKey": key}
        return WsPlan("ws", f"/private/ws?{query_text(params)}")

    def read_private(self, frame: str | bytes) -> Sequence[PrivateEvent]:
        return read_private(frame, self.venue)
