"""The order gate against the table of the design, written down here a second time, and looked up row by row."""

from __future__ import annotations

from decimal import Decimal
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propbot.domain.mode import ExposureChange, GateState, HoldExit, Mode
from propbot.domain.orders import Purpose
from propbot.execution.gate import gate_refusal

DEADLINE_S = 5.0
ALL = frozenset(Purpose)
LOWERING = frozenset({Purpose.HEDGE, Purpose.UNWIND})
NOTHING: frozenset[Purpose] = frozenset()
CHANGES = [
    ExposureChange(Decimal(before), Decimal(after))
    for before, after in [
        ("1", "0.5"), ("1", "0"), ("1", "-0.5"), ("1", "1"), ("1", "-1"), ("1", "1.5"), ("1", "-1.5"), ("-1", "-0.5"),
        ("-1", "0.999"), ("-1", "-2"), ("0", "0"), ("0", "1"), ("0", "-0.001"),
    ]
]  # fmt: skip


def rows(state: GateState, change: ExposureChange) -> list[frozenset[Purpose]]:
    """What each row of the table that applies to `state` allows; the strictest wins: their intersection."""
    found = [ALL]
    in_hold = state.mode is Mode.HOLD or state.halted
    if state.mode is Mode.DRAIN:
        found.append(ALL - {Purpose.OPEN})
    if state.safe_mode or state.dry_run_only:
        same_request_as_this_hold = in_hold and state.winddown_exempt
        found.append(ALL if same_request_as_this_hold else NOTHING)
    if in_hold and state.hold_exit is HoldExit.FREEZE:
        found.append(NOTHING)
    if in_hold and state.hold_exit is HoldExit.UNWIND:
        in_time = state.hold_age_s is not None and state.hold_age_s <= DEADLINE_S
        strictly_lower = change.after.copy_abs() < change.before.copy_abs()
        found.append(LOWERING if in_time and strictly_lower else NOTHING)
    return found


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("purpose", Purpose)
def test_the_gate_is_the_table_whatever_the_flags_age_and_exposure(mode: Mode, purpose: Purpose) -> None:
    flags = (True, False)
    ages = (None, 0.0, 4.999, 5.0, 5.001, 3600.0)
    for halted, safe, dry, exempt in product(flags, repeat=4):
        for hold_exit, age_s, change in product(HoldExit, ages, CHANGES):
            state = GateState(mode, halted, safe, dry, hold_exit, age_s, DEADLINE_S, exempt)
            allowed = ALL.intersection(*rows(state, change))
            refusal = gate_refusal(state, purpose, change)
            assert (refusal is None) is (purpose in allowed), (state, change, refusal)


AMOUNTS = st.decimals(min_value=-10, max_value=10, places=8, allow_nan=False, allow_infinity=False)


@given(
    st.builds(
        GateState,
        mode=st.sampled_from(Mode), halted=st.booleans(), safe_mode=st.booleans(), dry_run_only=st.booleans(),
        hold_exit=st.sampled_from(HoldExit), hold_age_s=st.none() | st.floats(0, 100),
        hedge_deadline_s=st.floats(0, 20), winddown_exempt=st.booleans(),
    ),
    st.sampled_from(Purpose),
    st.builds(ExposureChange, AMOUNTS, AMOUNTS),
)  # fmt: skip
def test_in_hold_an_order_lowers_the_exposure_in_time_and_is_no_open_or_close(
    state: GateState, purpose: Purpose, change: ExposureChange
) -> None:
    allowed = gate_refusal(state, purpose, change) is None
    if allowed and (state.halted or state.mode is Mode.HOLD):
        assert purpose in (Purpose.HEDGE, Purpose.UNWIND)
        assert abs(change.after) < abs(change.before)
        assert state.hold_age_s is not None
        assert state.hold_age_s <= state.hedge_deadline_s
        assert state.hold_exit is HoldExit.UNWIND


@given(AMOUNTS, AMOUNTS, st.sampled_from(Purpose))
def test_halted_counts_as_hold_before_the_mode_says_so(before: Decimal, after: Decimal, purpose: Purpose) -> None:
    change = ExposureChange(before, after)
    halted = GateState(Mode.RUN, True, False, False, HoldExit.UNWIND, 1.0, DEADLINE_S)
    held = GateState(Mode.HOLD, True, False, False, HoldExit.UNWIND, 1.0, DEADLINE_S)
    assert gate_refusal(halted, purpose, change) == gate_refusal(held, purpose, change)


def test_a_refusal_says_which_state_it_was() -> None:
    change = ExposureChange(Decimal(1), Decimal(0))

    def refusal(mode: Mode, purpose: Purpose, **flags: bool) -> str | None:
        plain = {"halted": False, "safe_mode": False, "dry_run_only": False} | flags
        state = GateState(mode=mode, hold_exit=HoldExit.UNWIND, hold_age_s=9.0, hedge_deadline_s=5.0, **plain)
        return gate_refusal(state, purpose, change)

    assert refusal(Mode.RUN, Purpose.OPEN, safe_mode=True) == "safe_mode is on"
    assert refusal(Mode.RUN, Purpose.OPEN, dry_run_only=True) == "dry_run_only is on"
    assert refusal(Mode.DRAIN, Purpose.OPEN) == "draining: nothing is opened"
    assert refusal(Mode.HOLD, Purpose.CLOSE) == "HOLD: no close order"
    assert refusal(Mode.HOLD, Purpose.HEDGE) == "HOLD: its 5 s for hedging are over"
