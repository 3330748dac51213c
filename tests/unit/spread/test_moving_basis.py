"""The moving basis: time counts, not ticks; a lost book counts nothing; a start goes on where it may."""

from __future__ import annotations

import math

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from propbot.spread.reference import BasisState, MovingBasis

BPS = st.floats(-200, 200)
STRETCH_S = st.floats(0.01, 500)
STRETCHES = st.lists(st.tuples(BPS, STRETCH_S), min_size=1, max_size=20)


def _basis() -> MovingBasis:
    return MovingBasis(halflife_s=120, warmup_s=30)


def _told(*stretches: tuple[float, float], begin_s: float = 50.0) -> MovingBasis:
    """Each value for its seconds."""
    basis, now = _basis(), begin_s
    for bps, seconds in stretches:
        basis.observe(bps, now)
        now += seconds
    basis.observe(0.0, now)
    return basis


def _value(basis: MovingBasis) -> float:
    assert basis.value_bps is not None
    return basis.value_bps


def test_before_the_first_stretch_of_time_there_is_no_basis() -> None:
    basis = _basis()
    assert (basis.value_bps, basis.warm, basis.state(1)) == (None, False, None)
    basis.observe(5.0, 10.0)
    assert (basis.value_bps, basis.warm) == (None, False)
    basis.observe(7.0, 10.0)
    assert basis.value_bps is None


@given(BPS, st.lists(STRETCH_S, min_size=1, max_size=20))
def test_a_constant_stays_itself(bps: float, stretches: list[float]) -> None:
    assert _value(_told(*((bps, seconds) for seconds in stretches))) == pytest.approx(bps, abs=1e-9)


@given(STRETCHES, st.integers(2, 50))
def test_one_long_stretch_equals_many_short_ones(stretches: list[tuple[float, float]], cuts: int) -> None:
    """How often a venue repeats itself says nothing."""
    cut = [(bps, seconds / cuts) for bps, seconds in stretches for _ in range(cuts)]
    assert _value(_told(*cut)) == pytest.approx(_value(_told(*stretches)), abs=1e-6)


@given(STRETCHES)
def test_it_lies_between_the_extremes(stretches: list[tuple[float, float]]) -> None:
    values = [bps for bps, _ in stretches]
    assert min(values) - 1e-9 <= _value(_told(*stretches)) <= max(values) + 1e-9


@given(STRETCHES, BPS)
def test_after_a_halflife_half_of_the_old_weight_is_left(stretches: list[tuple[float, float]], bps: float) -> None:
    before = _told(*stretches)
    state = before.state(1)
    assert state is not None
    after = _told(*stretches, (bps, 120.0))
    gained = 0.5 * 120 / math.log(2)
    expected = (state.value_bps * state.weight_s * 0.5 + bps * gained) / (state.weight_s * 0.5 + gained)
    assert _value(after) == pytest.approx(expected, abs=1e-6)


@given(STRETCHES, STRETCHES, st.floats(0, 10_000))
def test_a_pause_counts_nothing_however_long(
    first: list[tuple[float, float]], second: list[tuple[float, float]], pause_s: float
) -> None:
    basis, now = _basis(), 0.0
    for bps, seconds in first:
        basis.observe(bps, now)
        now += seconds
    basis.pause(now)
    before = basis.value_bps
    now += pause_s
    basis.pause(now)
    assert basis.value_bps == before
    for bps, seconds in second:
        basis.observe(bps, now)
        now += seconds
    basis.pause(now)
    assert basis.value_bps == pytest.approx(_value(_told(*first, *second)), abs=1e-6)


def test_it_is_warm_after_thirty_seconds_with_both_books() -> None:
    basis = _basis()
    basis.observe(1.0, 0.0)
    basis.observe(1.0, 20.0)
    basis.pause(29.0)
    basis.observe(1.0, 1000.0)
    assert not basis.warm
    basis.observe(1.0, 1001.0)
    assert basis.warm


def test_a_monotonic_clock_that_stands_still_changes_nothing() -> None:
    basis = _told((3.0, 60.0))
    before = basis.value_bps
    for bps in (100.0, -100.0, 0.0):
        basis.observe(bps, 110.0)
    assert basis.value_bps == before


SAVED = BasisState(value_bps=-4.0, weight_s=100.0, observed_s=40.0, wall_ns=1_790_000_000_000_000_000)


@pytest.mark.parametrize(
    ("age_s", "taken"), [(0, True), (59.9, True), (60, True), (60.1, False), (3600, False), (-0.1, False)]
)
def test_it_is_taken_up_within_sixty_seconds_only(age_s: float, taken: bool) -> None:
    basis = _basis()
    assert basis.take_up(SAVED, SAVED.wall_ns + round(age_s * 1e9)) is taken
    assert basis.value_bps == (pytest.approx(-4.0) if taken else None)
    assert basis.warm is taken


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_basis_that_is_no_number_is_not_taken_up(value: float) -> None:
    assert not _basis().take_up(evolve(SAVED, value_bps=value), SAVED.wall_ns)


@given(STRETCHES, STRETCHES)
def test_a_saved_state_goes_on_as_if_nothing_had_happened(
    first: list[tuple[float, float]], second: list[tuple[float, float]]
) -> None:
    state = _told(*first).state(SAVED.wall_ns)
    assert state is not None
    basis, now = _basis(), 7.0  # another process, another monotonic clock
    assert basis.take_up(state, SAVED.wall_ns + 30 * 10**9)
    for bps, seconds in second:
        basis.observe(bps, now)
        now += seconds
    basis.pause(now)
    assert basis.value_bps == pytest.approx(_value(_told(*first, *second)), abs=1e-6)
