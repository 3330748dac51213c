"""Exact numbers: every amount is a finite Decimal made from text, and rounding happens only here.

Prices and quantities are rounded once, on the way to a venue, with the direction in the function's name. What is
read back (venue replies, ledger rows) is parsed by `parse_amount`, which takes no NaN, no infinity and no float.
"""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

ZERO = Decimal(0)
ONE = Decimal(1)
BPS = Decimal("0.0001")
"""One basis point as a fraction."""

_PLAIN = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,2})?")
"""Decimal itself takes more: blanks, underscores, digits of other scripts, and exponents whose digits fill memory."""


def parse_amount(text: str) -> Decimal:
    """The finite Decimal that `text` spells; ValueError for anything else (NaN, infinity, empty, floats)."""
    if not isinstance(text, str):
        raise ValueError(f"an amount is text, not {type(text).__name__}: {text!r}")
    if _PLAIN.fullmatch(text) is None:
        raise ValueError(f"not a finite number: {text[:80]!r}")
    return Decimal(text)


def amount_text(amount: Decimal) -> str:
    """`amount` in plain digits (no exponent, no trailing zeros), as the ledger, the API and venues want it."""
    if not amount:
        return "0"
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def floor_to_step(amount: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of `step` (> 0) that is not above `amount`."""
    found = (amount / step).to_integral_value(ROUND_FLOOR) * step
    return found if found <= amount else found - step  # a quotient of more than 28 digits was rounded up


def ceil_to_step(amount: Decimal, step: Decimal) -> Decimal:
    """The smallest multiple of `step` (> 0) that is not below `amount`."""
    found = (amount / step).to_integral_value(ROUND_CEILING) * step
    return found if found >= amount else found + step
