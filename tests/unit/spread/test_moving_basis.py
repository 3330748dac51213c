"""The moving basis: a mean over time, whatever the number of ticks, that no pause and no stale restart can bend."""

from __future__ import annotations

import math

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from propbot.spread.reference import BasisState, MovingBasis

S_NS = 1_000_000_000
stretches = st.lists(st.floats(0.01, 500), min_size=1, max_size=20)


def _basis() -> MovingBasis:
    return MovingBasis(halflife_s=600.0, warmup_s=60.0)


@given(st.floats(-100, 100), stretches)
def test_a_constant_basis_is_itself(value: float, stretches: list[float]) -> None:
    basis, now = _basis(), 1000.0
    basis.observe(value, now)
    for stretch in stretches:
        now += stretch
        basis.observe(value, now)
    assert basis.value_bps == pytest.approx(value, abs=1e-9)


@given(st.floats(-100, 100), st.floats(-100, 100), stretches)
def test_one_long_stretch_equals_many_short_ones(before: float, value: float, stretches: list[float]) -> None:
    """How often a book ticks says nothing of the basis."""
    bases = (_basis(), _basis())
    for basis in bases:
        basis.observe(before, 0.0)
        basis.observe(value, 300.0)
    now = 300.0
    for stretch in stretches:
        now += stretch
        bases[0].observe(value, now)
    bases[1].observe(value, now)
    assert bases[0].value_bps == pytest.approx(bases[1].value_bps, abs=1e-6)


def test_a_value_that_has_not_stood_yet_counts_for_nothing() -> None:
    basis = _basis()
    basis.observe(7.0, 10.0)
    assert basis.value_bps is None
    assert basis.state(0) is None
    basis.observe(9000.0, 11.0)
    assert basis.value_bps == pytest.approx(7.0)


def test_after_one_half_life_the_old_value_weighs_as_much_as_the_new_one() -> None:
    basis = _basis()
    basis.observe(0.0, 0.0)
    basis.observe(10.0, 600_000.0)
    basis.pause(600_600.0)
    assert basis.value_bps == pytest.approx(5.0, abs=1e-6)


@given(st.floats(0.1, 1e5))
def test_a_pause_counts_for_nothing(paused_s: float) -> None:
    basis, unpaused = _basis(), _basis()
    for each in (basis, unpaused):
        each.observe(3.0, 0.0)
        each.observe(5.0, 30.0)
    basis.pause(50.0)
    basis.observe(8.0, 50.0 + paused_s)
    basis.pause(60.0 + paused_s)
    unpaused.observe(8.0, 50.0)
    unpaused.pause(60.0)
    assert basis.value_bps == pytest.approx(unpaused.value_bps, abs=1e-9)


def test_it_is_warm_after_its_time_observed_pauses_left_out() -> None:
    basis = _basis()
    basis.observe(1.0, 0.0)
    basis.pause(59.0)
    basis.observe(1.0, 1000.0)
    assert not basis.warm
    basis.observe(1.0, 1001.0)
    assert basis.warm


@pytest.mark.parametrize(("age_s", "taken"), [(0, True), (60, True), (60.001, False), (-0.001, False), (3600, False)])
def test_a_saved_basis_is_taken_up_within_a_minute_only(age_s: float, taken: bool) -> None:
    basis = _basis()
    saved_ns = 10_000 * S_NS
    assert basis.take_up(BasisState(4.5, 100.0, 120.0, saved_ns), saved_ns + round(age_s * S_NS)) is taken
    assert basis.warm is taken
    assert basis.value_bps == (4.5 if taken else None)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_saved_basis_that_is_no_number_is_left(value: float) -> None:
    assert not _basis().take_up(BasisState(value, 100.0, 120.0, 0), 0)


def test_a_basis_taken_up_goes_on_as_if_it_had_never_stopped() -> None:
    first, second = _basis(), _basis()
    first.observe(3.0, 0.0)
    first.pause(100.0)
    state = first.state(5 * S_NS)
    assert state is not None
    assert second.take_up(evolve(state), 6 * S_NS)
    for basis in (first, second):
        basis.observe(6.0, 200.0)
        basis.pause(230.0)
    assert second.value_bps == pytest.approx(first.value_bps)
