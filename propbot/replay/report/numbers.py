"""Numbers for people: digits, signs and units, and what is written where a number is unknown."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal

UNKNOWN = "unknown"
NONE = "–"


def decimals(value: Decimal | float | None, digits: int, *, signed: bool = False, absent: str = UNKNOWN) -> str:
    """`value` with `digits` after the point, thousands apart; no negative zero."""
    if value is None:
        return absent
    exact = value if isinstance(value, Decimal) else Decimal(repr(value))
    rounded = exact.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_EVEN)
    text = f"{abs(rounded):,.{digits}f}".replace(",", "\u2009")
    if rounded < 0:
        return f"\u2212{text}"
    return f"+{text}" if signed and rounded > 0 else text


def plain(value: Decimal | float) -> str:
    """All of its digits and no more."""
    text = f"{value:f}" if isinstance(value, Decimal) else f"{Decimal(repr(value)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def utc_ms(wall_ns: int | None) -> str:
    """Date and time of day to the millisecond, UTC."""
    return UNKNOWN if wall_ns is None else _utc(wall_ns).strftime("%Y-%m-%d %H:%M:%S.") + _ms(wall_ns)


def time_ms(wall_ns: int | None) -> str:
    return UNKNOWN if wall_ns is None else _utc(wall_ns).strftime("%H:%M:%S.") + _ms(wall_ns)


def _utc(wall_ns: int) -> datetime:
    return datetime.fromtimestamp(wall_ns // 1_000_000_000, UTC)


def _ms(wall_ns: int) -> str:
    return f"{wall_ns // 1_000_000 % 1000:03d}"


def span_text(seconds: float) -> str:
    """`5 min 46 s`: the two largest units that are not zero at the front."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
