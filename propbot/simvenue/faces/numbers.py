"""Amounts as the venues print them: a fixed number of digits behind the point."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

from propbot.domain.money import ZERO


def digits_of(step: Decimal) -> int:
    """How many digits a step has behind the point, as written: `0.10` has two."""
    exponent = step.as_tuple().exponent
    assert isinstance(exponent, int), step
    return max(0, -exponent)


def fixed(amount: Decimal, digits: int) -> str:
    """Rounded half-even where `amount` is finer (averages only; prices and quantities lie on their steps)."""
    return format(amount.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_EVEN), "f")


def fixed8(amount: Decimal) -> str:
    return fixed(amount, 8)


def average(quote_qty: Decimal, qty: Decimal) -> Decimal:
    return quote_qty / qty if qty else ZERO
