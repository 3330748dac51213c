"""Which order states may follow which: the life cycle of `domain.orders` as a table.

An INTENT may become anything: a crash, or a cancellation in the middle of sending, leaves it where it is while the
order itself lived on at the venue. WORKING may become UNKNOWN when the venue stops answering for it.
"""

from __future__ import annotations

from enum import Enum, auto

from propbot.domain.errors import TransitionRefused
from propbot.domain.orders import OrderState

_ENDS_AT_VENUE = frozenset({OrderState.FILLED, OrderState.PARTIAL, OrderState.CANCELED, OrderState.REJECTED})
_ENDS = _ENDS_AT_VENUE | {OrderState.NEVER_SENT}

NEXT_STATES: dict[OrderState, frozenset[OrderState]] = {
    OrderState.INTENT: _ENDS | {OrderState.SENT, OrderState.WORKING, OrderState.UNKNOWN},
    OrderState.SENT: _ENDS | {OrderState.WORKING, OrderState.UNKNOWN},
    OrderState.UNKNOWN: _ENDS | {OrderState.WORKING},
    OrderState.WORKING: _ENDS_AT_VENUE | {OrderState.UNKNOWN},
    **dict.fromkeys(_ENDS, frozenset()),
}


class Step(Enum):
    MOVE = auto()
    STAY = auto()
    CORRECT = auto()


def judge_transition(now: OrderState, new: OrderState, *, correction: bool) -> Step:
    """MOVE forward; STAY for the same state again, and for news that is older than what is known (venues reorder
    acknowledgement and fill); CORRECT a terminal state only when asked to. TransitionRefused for the rest."""
    if new in NEXT_STATES[now]:
        return Step.MOVE
    if new is now:
        return Step.STAY
    if now.terminal and correction:
        return Step.CORRECT
    if not new.terminal:
        return Step.STAY
    raise TransitionRefused(f"an order that is {now} does not become {new}" + (" without a correction" * now.terminal))
