"""exchangeInfo → Instrument and rate limits; usage headers under the same keys as the limits.

Each symbol of exchangeInfo is decoded by itself, so that a symbol which we do not trade can't spoil the answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal

import msgspec

from propbot.domain.dialect import RateLimit, Usage
from propbot.domain.errors import ProtocolViolation
from propbot.domain.instruments import Instrument, Kind, VenueId
from propbot.domain.money import ZERO
from propbot.venues.binance.wire import amount_not_negative, amount_positive, decode


class _RateLimit(msgspec.Struct, rename="camel"):
    rate_limit_type: str
    interval: str
    interval_num: int
    limit: int


class _ExchangeInfo(msgspec.Struct, rename="camel"):
    symbols: list[msgspec.Raw]


class _RateLimits(msgspec.Struct, rename="camel"):
    rate_limits: list[_RateLimit]


class _Named(msgspec.Struct):
    symbol: str = ""


class _Filter(msgspec.Struct, rename="camel"):
    filter_type: str
    tick_size: str | None = None
    step_size: str | None = None
    min_qty: str | None = None
    max_qty: str | None = None
    notional: str | None = None
    """USD-M's key of MIN_NOTIONAL."""
    min_notional: str | None = None
    """Spot's key, of NOTIONAL and of the older MIN_NOTIONAL."""


class _Symbol(msgspec.Struct, rename="camel"):
    symbol: str
    status: str
    base_asset: str
    quote_asset: str
    filters: list[_Filter]


_info_decoder = msgspec.json.Decoder(_ExchangeInfo)
_limits_decoder = msgspec.json.Decoder(_RateLimits)
_named_decoder = msgspec.json.Decoder(_Named)
_symbol_decoder = msgspec.json.Decoder(_Symbol)


def read_instrument(body: bytes, symbol: str, venue: VenueId, kind: Kind) -> Instrument:
    listed = decode(_info_decoder, body, venue, "exchangeInfo").symbols
    for raw in listed:
        if decode(_named_decoder, raw, venue, "exchangeInfo symbols").symbol == symbol:
            return _instrument(decode(_symbol_decoder, raw, venue, f"exchangeInfo {symbol}"), venue, kind)
    raise ProtocolViolation(venue, f"{symbol} is not listed there")


def _instrument(listed: _Symbol, venue: VenueId, kind: Kind) -> Instrument:
    filters = {each.filter_type: each for each in listed.filters}

    def text_of(filter_type: str, name: str) -> tuple[str, str]:
        found = filters.get(filter_type)
        text = None if found is None else getattr(found, name)
        where = f"exchangeInfo {listed.symbol} {filter_type}.{name}"
        if text is None:
            raise ProtocolViolation(venue, f"{where}: missing")
        return text, where

    def step(filter_type: str, name: str) -> Decimal:
        text, where = text_of(filter_type, name)
        return amount_positive(text, venue, where)

    def bound(filter_type: str, name: str) -> Decimal:
        text, where = text_of(filter_type, name)
        return amount_not_negative(text, venue, where)

    notional_key = "notional" if kind is Kind.PERP else "min_notional"
    notional_filters = [name for name in ("MIN_NOTIONAL", "NOTIONAL") if name in filters]
    return Instrument(
        venue=venue,
        symbol=listed.symbol,
        kind=kind,
        base=listed.base_asset,
        quote=listed.quote_asset,
        # a zero would switch the rule off; for a traded pair it has never been, and nothing can be rounded to it
        tick_size=step("PRICE_FILTER", "tick_size"),
        # LOT_SIZE, not MARKET_LOT_SIZE: what we send are limit orders
        lot_step=step("LOT_SIZE", "step_size"),
        qty_min=bound("LOT_SIZE", "min_qty"),
        qty_max=bound("LOT_SIZE", "max_qty"),
        notional_min=max((bound(name, notional_key) for name in notional_filters), default=ZERO),
        status=listed.status,
    )


_UNITS = {"SECOND": ("s", 1.0), "MINUTE": ("m", 60.0), "HOUR": ("h", 3600.0), "DAY": ("d", 86_400.0)}
_COUNTED = {"REQUEST_WEIGHT": "weight", "ORDERS": "orders"}
"""RAW_REQUESTS (61 000 in 5 min) is left out: no header counts it, and the weight limit is reached long before."""


def read_rate_limits(body: bytes, venue: VenueId) -> Sequence[RateLimit]:
    limits = decode(_limits_decoder, body, venue, "exchangeInfo").rate_limits
    return tuple(_rate_limit(limit, venue) for limit in limits if limit.rate_limit_type in _COUNTED)


def _rate_limit(limit: _RateLimit, venue: VenueId) -> RateLimit:
    unit = _UNITS.get(limit.interval)
    if unit is None or limit.interval_num <= 0 or limit.limit <= 0:
        raise ProtocolViolation(venue, f"exchangeInfo rateLimits: {limit}")
    letter, seconds = unit
    key = f"{_COUNTED[limit.rate_limit_type]}_{limit.interval_num}{letter}"
    return RateLimit(key, limit.limit, limit.interval_num * seconds)


_USAGE_HEADER = re.compile(r"x-mbx-(used-weight|order-count)-(\d{1,4}[smhd])")


def read_usage(headers: Mapping[str, str]) -> Usage:
    """What can't be read counts as not named: an odd header must not fail an answer that is good otherwise."""
    counts: dict[str, int] = {}
    for name, text in headers.items():
        found = _USAGE_HEADER.fullmatch(name)
        if found is not None and re.fullmatch(r"\d{1,12}", text.strip(), re.ASCII):
            counts[f"{'weight' if found[1] == 'used-weight' else 'orders'}_{found[2]}"] = int(text)
    return Usage(counts)
