"""Amounts: what is taken for one, how it is written, and rounding that never lands on the wrong side."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propbot.domain.money import ZERO, amount_text, ceil_to_step, floor_to_step, parse_amount

D = Decimal
AMOUNTS = st.decimals(min_value=-(10**9), max_value=10**9, places=12)
LONG_AMOUNTS = st.decimals(min_value=0, max_value=1, places=28)
STEPS = st.sampled_from([D("0.00000001"), D("0.00001"), D("0.001"), D("0.005"), D("0.1"), D("0.25"), D(1), D(5), D(10)])


@pytest.mark.parametrize("text", ["0", "1.50", "-0.001", "+3", "3.4e-5", "1E2", "7."])
def test_plain_and_scientific_notation_are_amounts(text: str) -> None:
    assert parse_amount(text) == D(text)


@pytest.mark.parametrize(
    "text",
    ["", "NaN", "sNaN", "inf", "-Infinity", " 1", "1 ", "1_000", "1,5", "0x10", "٣", "1e999999", "--1", ".", "1\n"],
)
def test_everything_else_is_refused_with_its_text(text: str) -> None:
    with pytest.raises(ValueError, match="not a finite number"):
        parse_amount(text)


@pytest.mark.parametrize("value", [1, 1.5, D(1), None, b"1"])
def test_only_text_is_parsed_so_that_no_float_slips_in(value: object) -> None:
    with pytest.raises(ValueError, match="an amount is text"):
        parse_amount(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("amount", "text"),
    [("0E-8", "0"), ("-0", "0"), ("1.2300", "1.23"), ("100", "100"), ("1E+3", "1000"), ("1E-8", "0.00000001")],
)
def test_amounts_are_written_in_plain_digits(amount: str, text: str) -> None:
    assert amount_text(D(amount)) == text


@given(AMOUNTS)
def test_an_amount_survives_writing_and_reading(amount: Decimal) -> None:
    assert parse_amount(amount_text(amount)) == amount


@given(AMOUNTS, STEPS)
def test_rounding_lands_on_the_step_and_on_the_named_side(amount: Decimal, step: Decimal) -> None:
    below, above = floor_to_step(amount, step), ceil_to_step(amount, step)
    assert below % step == above % step == ZERO
    assert below <= amount <= above
    assert amount - below < step
    assert above - amount < step
    assert above - below in (ZERO, step)


@given(AMOUNTS, STEPS)
def test_rounding_what_is_rounded_changes_nothing(amount: Decimal, step: Decimal) -> None:
    below = floor_to_step(amount, step)
    assert floor_to_step(below, step) == ceil_to_step(below, step) == below


@given(LONG_AMOUNTS, STEPS)
def test_digits_beyond_the_precision_do_not_push_a_floor_up(amount: Decimal, step: Decimal) -> None:
    assert floor_to_step(amount, step) <= amount <= ceil_to_step(amount, step)


def test_a_quotient_that_rounds_up_to_a_whole_number_is_still_floored() -> None:
    just_below_one = D("0." + "9" * 28)
    assert floor_to_step(just_below_one, D("0.5")) == D("0.5")
    assert floor_to_step(-just_below_one, D("0.5")) == D(-1)
    assert ceil_to_step(-just_below_one, D("0.5")) == D("-0.5")
