"""Unequal legs, as a state machine of its own: pure, no clock, no I/O. The executor is its shell, docs/legs.md its map.

Each event is a look at the lot (`Seen`): a fill, a partial one, a late or a repeated one, a rejection, an outcome that
stays unknown all come as what the blotter knows by then, in which each fill counts once. `step` answers with what to
do. Whatever comes, the machine ends by `over_mono_s`: EQUAL, or STUCK with the reason, which is a HOLD that names the
exposure. No order is chosen while another one may still execute, so nothing is ever hedged twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum

from attrs import Factory, evolve, frozen

from propbot.domain.instruments import VenueId
from propbot.domain.orders import Purpose, Side

BLIND_LOOKS_AT_HEDGE = 3
"""So often the hedge's book is looked at before the leg that is ahead may be unwound instead."""
LOOK_AGAIN_S = 0.05
SENDING_SHARE = 0.8
"""Of the deadline: nothing is sent later, so that an answer has time to come."""
OVER_SHARE = 0.9
"""Of the deadline: then it is over, whatever is still awaited, so that the HOLD is there by the deadline itself."""


class LegsState(StrEnum):
    AWAITING = "AWAITING"
    """An order of the lot may still execute."""
    HEDGING = "HEDGING"
    """The leg that is behind is being caught up."""
    UNWINDING = "UNWINDING"
    """The leg that is ahead is being taken back."""
    BLIND = "BLIND"
    """Unequal, and no book can be trusted: they are looked at again."""
    SETTLING = "SETTLING"
    """Equal, and some fills have not come one by one."""
    EQUAL = "EQUAL"
    """The end: equal, or what is left can't be traded (dust)."""
    STUCK = "STUCK"
    """The end: a HOLD that names the exposure."""

    @property
    def terminal(self) -> bool:
        return self in (LegsState.EQUAL, LegsState.STUCK)


_UNEQUAL = frozenset({LegsState.HEDGING, LegsState.UNWINDING, LegsState.BLIND})
_ENDS = frozenset({LegsState.SETTLING, LegsState.EQUAL, LegsState.STUCK})
TRANSITIONS: Mapping[LegsState, frozenset[LegsState]] = {
    LegsState.AWAITING: frozenset({LegsState.AWAITING}) | _UNEQUAL | _ENDS,
    LegsState.HEDGING: frozenset({LegsState.AWAITING}) | _UNEQUAL | _ENDS,
    LegsState.UNWINDING: frozenset({LegsState.AWAITING}) | _UNEQUAL | _ENDS,
    LegsState.BLIND: _UNEQUAL | _ENDS,
    LegsState.SETTLING: _UNEQUAL | _ENDS,
    LegsState.EQUAL: frozenset(),
    LegsState.STUCK: frozenset(),
}
"""What may follow; nothing is sent from BLIND or SETTLING, so nothing can be awaited after them. A test holds `step`
and the drawing in docs/legs.md to it."""


@frozen
class Way:
    """An order that would lower the imbalance. The hedge comes before the unwind."""

    venue: VenueId
    purpose: Purpose
    side: Side
    qty: Decimal
    reduce_only: bool = False
    refusal: str | None = None
    """Why it can't be sent now whatever its price: the gate, or a balance that does not suffice."""
    limit_price: Decimal | None = None
    """None: its book can't be trusted."""


@frozen
class Seen:
    """One event: all that is known of the lot at this moment."""

    now_mono_s: float
    uncertain: bool
    """An order of the lot may still change the exposure."""
    settled: bool
    """All its outcomes are known, and every fill is in the accounts."""
    ways: tuple[Way, ...]
    """Empty: equal, or dust."""
    reason: str = ""
    """What the venue said of the order that was sent last; empty where it filled."""


@frozen
class Wait:
    """For news of the lot, until then at the latest."""

    until_mono_s: float


@frozen
class Send:
    way: Way


@frozen
class Done:
    settled: bool
    """False: the fills' details are still to come, and the lot keeps its state until then."""


@frozen
class GiveUp:
    reason: str


Action = Wait | Send | Done | GiveUp


@frozen
class Legs:
    """One attempt to make a lot's legs equal. Made by `begin_legs`."""

    last_send_mono_s: float
    over_mono_s: float
    attempts_max: int
    """On each venue."""
    state: LegsState = LegsState.AWAITING
    tries: Mapping[VenueId, int] = Factory(dict)
    blind_looks: int = 0
    reason: str = ""

    def tried(self, venue: VenueId) -> int:
        return self.tries.get(venue, 0)

    def open(self, way: Way) -> bool:
        """Whether `way` may be tried once more."""
        return way.refusal is None and self.tried(way.venue) < self.attempts_max


def begin_legs(now_mono_s: float, deadline_s: float, attempts_max: int) -> Legs:
    return Legs(now_mono_s + deadline_s * SENDING_SHARE, now_mono_s + deadline_s * OVER_SHARE, attempts_max)


def step(legs: Legs, seen: Seen) -> tuple[Legs, Action]:
    """The next state and what to do. After `Send` the next look is due when the order was answered or given up."""
    assert not legs.state.terminal, f"{legs.state} is the end"
    legs = evolve(legs, reason=seen.reason or legs.reason)
    over = seen.now_mono_s >= legs.over_mono_s
    if seen.uncertain:
        if over:
            return _give_up(legs, "an order's outcome is unknown")
        return evolve(legs, state=LegsState.AWAITING), Wait(legs.over_mono_s)
    if not seen.ways:
        if seen.settled or over:
            return evolve(legs, state=LegsState.EQUAL), Done(seen.settled)
        return evolve(legs, state=LegsState.SETTLING), Wait(legs.over_mono_s)
    return _choose(legs, seen)


def _choose(legs: Legs, seen: Seen) -> tuple[Legs, Action]:
    """Unequal, and nothing is under way: hedge, else unwind, else look again, else give up."""
    ways = [way for way in seen.ways if legs.open(way)]
    if not ways:
        refusal = next((way.refusal for way in seen.ways if way.refusal is not None), "")
        return _give_up(legs, legs.reason or refusal or "no venue would take the hedge")
    # a resync takes about a second: the hedge's book gets a moment before the leg that is ahead is unwound
    looked_at = ways[:1] if legs.blind_looks < BLIND_LOOKS_AT_HEDGE else ways
    way = next((way for way in looked_at if way.limit_price is not None), None)
    too_late = seen.now_mono_s >= legs.last_send_mono_s
    if way is None:
        blind = evolve(legs, state=LegsState.BLIND, blind_looks=legs.blind_looks + 1)
        reason = f"{ways[0].venue}: its book can't be trusted"
        return _give_up(legs, reason) if too_late else (blind, Wait(seen.now_mono_s + LOOK_AGAIN_S))
    if too_late:
        return _give_up(legs, legs.reason or "there was no time left for another order")
    state = LegsState.HEDGING if way.purpose is Purpose.HEDGE else LegsState.UNWINDING
    return evolve(legs, state=state, tries={**legs.tries, way.venue: legs.tried(way.venue) + 1}), Send(way)


def _give_up(legs: Legs, reason: str) -> tuple[Legs, Action]:
    return evolve(legs, state=LegsState.STUCK, reason=reason), GiveUp(reason)
