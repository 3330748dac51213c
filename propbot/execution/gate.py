"""The order gate: one pure function, asked right before the first byte of every new order (DESIGN section 2).

Cancels never pass here: they are always allowed.
"""

from __future__ import annotations

from propbot.domain.mode import ExposureChange, GateState, HoldExit, Mode
from propbot.domain.orders import Purpose


class GateClosed(Exception):
    """The gate said no; not one byte of the order has left."""


def gate_refusal(state: GateState, purpose: Purpose, change: ExposureChange) -> str | None:
    """Why this order may not be sent now, or None if it may. The strictest row of the table wins."""
    in_hold = state.halted or state.mode is Mode.HOLD
    if (state.safe_mode or state.dry_run_only) and not (in_hold and state.winddown_exempt):
        return "safe_mode is on" if state.safe_mode else "dry_run_only is on"
    if in_hold:
        return _refusal_in_hold(state, purpose, change)
    if state.mode is Mode.DRAIN and purpose is Purpose.OPEN:
        return "draining: nothing is opened"
    return None


def _refusal_in_hold(state: GateState, purpose: Purpose, change: ExposureChange) -> str | None:
    if purpose in (Purpose.OPEN, Purpose.CLOSE):
        return f"HOLD: no {purpose} order"
    if state.hold_exit is HoldExit.FREEZE:
        return "HOLD with HOLD_EXIT=freeze: no order at all"
    if state.hold_age_s is None or state.hold_age_s > state.hedge_deadline_s:
        return f"HOLD: its {state.hedge_deadline_s:g} s for hedging are over"
    if not abs(change.after) < abs(change.before):
        return f"HOLD: exposure {change.before} would become {change.after}"
    return None
