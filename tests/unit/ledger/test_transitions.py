"""The order life cycle's table."""

from __future__ import annotations

import pytest

from propbot.domain.errors import TransitionRefused
from propbot.domain.orders import OrderState
from propbot.ledger.transitions import NEXT_STATES, Step, judge_transition

S = OrderState
TERMINAL = [state for state in S if state.terminal]


def test_every_state_has_its_row_and_only_terminal_ones_lead_nowhere() -> None:
    assert set(NEXT_STATES) == set(S)
    assert {state for state, following in NEXT_STATES.items() if not following} == set(TERMINAL)


@pytest.mark.parametrize(
    ("now", "new"),
    [
        (S.INTENT, S.SENT),
        (S.INTENT, S.NEVER_SENT),
        (S.INTENT, S.FILLED),
        (S.SENT, S.UNKNOWN),
        (S.SENT, S.REJECTED),
        (S.UNKNOWN, S.NEVER_SENT),
        (S.UNKNOWN, S.WORKING),
        (S.WORKING, S.CANCELED),
        (S.WORKING, S.UNKNOWN),
    ],
)
def test_forward_moves(now: OrderState, new: OrderState) -> None:
    assert judge_transition(now, new, correction=False) is Step.MOVE


@pytest.mark.parametrize(
    ("now", "new"), [(S.SENT, S.INTENT), (S.WORKING, S.SENT), (S.UNKNOWN, S.SENT), (S.FILLED, S.WORKING)]
)
def test_old_news_stays(now: OrderState, new: OrderState) -> None:
    assert judge_transition(now, new, correction=False) is Step.STAY


@pytest.mark.parametrize("now", TERMINAL)
@pytest.mark.parametrize("new", TERMINAL)
def test_a_terminal_state_changes_only_when_corrected(now: OrderState, new: OrderState) -> None:
    if now is new:
        assert judge_transition(now, new, correction=True) is Step.STAY
        return
    assert judge_transition(now, new, correction=True) is Step.CORRECT
    with pytest.raises(TransitionRefused):
        judge_transition(now, new, correction=False)


def test_a_working_order_was_sent() -> None:
    with pytest.raises(TransitionRefused, match=r"WORKING does not become NEVER_SENT$"):
        judge_transition(S.WORKING, S.NEVER_SENT, correction=False)
