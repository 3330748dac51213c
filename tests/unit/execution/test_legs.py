"""The legs' state machine alone: its drawing, its rules, and that whatever happens ends hedged, unwound or named."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

from attrs import define, evolve, field
from hypothesis import given
from hypothesis import strategies as st

from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM
from propbot.domain.money import ZERO
from propbot.domain.orders import Purpose, Side
from propbot.execution.legs import (
    TRANSITIONS,
    Done,
    GiveUp,
    Legs,
    LegsState,
    Seen,
    Send,
    Wait,
    Way,
    begin_legs,
    step,
)

DOC = (Path(__file__).parents[3] / "docs" / "legs.md").read_text()
DEADLINE_S = 5.0
HEDGE = Way(BINANCE_UM, Purpose.HEDGE, Side.SELL, Decimal("0.01"), limit_price=Decimal(60_000))
UNWIND = Way(BINANCE_SPOT, Purpose.UNWIND, Side.SELL, Decimal("0.01"), limit_price=Decimal(60_000))


def seen(*ways: Way, now_s: float = 0.0, uncertain: bool = False, settled: bool = True, reason: str = "") -> Seen:
    return Seen(now_s, uncertain, settled, ways, reason)


def fresh() -> Legs:
    return begin_legs(0.0, DEADLINE_S, attempts_max=3)


def test_the_drawing_has_the_transitions_of_the_code() -> None:
    drawn = set(re.findall(r"^    (\w+) --> (\w+)", DOC, re.MULTILINE))
    assert drawn == {(str(before), str(after)) for before, afters in TRANSITIONS.items() for after in afters}


def test_the_table_explains_every_state() -> None:
    rows = re.findall(r"^\| ([A-Z]+) \|", DOC, re.MULTILINE)
    assert sorted(rows) == sorted(map(str, LegsState))


def test_what_may_still_execute_is_awaited_and_nothing_is_hedged_meanwhile() -> None:
    legs, action = step(fresh(), seen(HEDGE, UNWIND, uncertain=True))
    assert legs.state is LegsState.AWAITING
    assert isinstance(action, Wait)


def test_an_outcome_that_stays_unknown_is_given_up_before_the_deadline() -> None:
    legs, action = step(fresh(), seen(uncertain=True, now_s=DEADLINE_S * 0.9))
    assert legs.state is LegsState.STUCK
    assert action == GiveUp("an order's outcome is unknown")


def test_equal_legs_end_once_their_fills_are_there_or_time_is_over() -> None:
    assert step(fresh(), seen()) == (evolve(fresh(), state=LegsState.EQUAL), Done(settled=True))
    waiting, action = step(fresh(), seen(settled=False))
    assert (waiting.state, action) == (LegsState.SETTLING, Wait(4.5))
    assert step(waiting, seen(settled=False, now_s=4.5))[1] == Done(settled=False)


def test_the_hedge_is_tried_three_times_and_then_the_unwind() -> None:
    legs, sent = fresh(), []
    while True:
        legs, action = step(legs, seen(HEDGE, UNWIND, reason="no margin" if sent else ""))
        if not isinstance(action, Send):
            break
        sent.append(action.way.purpose)
    assert sent == [Purpose.HEDGE] * 3 + [Purpose.UNWIND] * 3
    assert action == GiveUp("no margin")


def test_a_hedge_whose_book_is_lost_is_looked_at_three_times_before_the_other_leg_is_taken_back() -> None:
    blind = evolve(HEDGE, limit_price=None)
    legs, states = fresh(), []
    for _ in range(4):
        legs, action = step(legs, seen(blind, UNWIND))
        states.append(legs.state)
    assert states == [LegsState.BLIND] * 3 + [LegsState.UNWINDING]
    assert action == Send(UNWIND)


def test_what_the_gate_refuses_costs_no_attempt_and_is_the_reason() -> None:
    frozen = [evolve(way, refusal="HOLD with HOLD_EXIT=freeze: no order at all") for way in (HEDGE, UNWIND)]
    legs, action = step(fresh(), seen(*frozen))
    assert legs.tries == {}
    assert action == GiveUp("HOLD with HOLD_EXIT=freeze: no order at all")


def test_nothing_is_sent_when_its_answer_would_come_too_late() -> None:
    legs, action = step(fresh(), seen(HEDGE, UNWIND, now_s=DEADLINE_S * 0.8))
    assert legs.state is LegsState.STUCK
    assert isinstance(action, GiveUp)


# --- whatever happens


@define
class Chance:
    """A pair of venues that do what the draws say, in a time of their own."""

    draw: Any
    now_s: float = 0.0
    imbalance: Decimal = Decimal("0.01")
    """What the lot really has naked; `known` of it has been told."""
    known: Decimal = Decimal("0.01")
    uncertain_until_s: float | None = None
    settled: bool = True
    pending: list[tuple[float, Decimal]] = field(factory=list)
    """Executions not told yet: when they will be, and their signed base."""
    sent: int = 0
    reason: str = ""

    def look(self) -> Seen:
        for told in [each for each in self.pending if each[0] <= self.now_s]:
            self.pending.remove(told)
            self.known += told[1]
        uncertain = self.uncertain_until_s is not None and self.now_s < self.uncertain_until_s
        unequal = abs(self.known) >= Decimal("0.001")
        ways = tuple(self._way(purpose) for purpose in (Purpose.HEDGE, Purpose.UNWIND) if unequal)
        return Seen(self.now_s, uncertain, self.settled and not self.pending, ways, self.reason)

    def _way(self, purpose: Purpose) -> Way:
        venue = BINANCE_UM if purpose is Purpose.HEDGE else BINANCE_SPOT
        side = Side.SELL if self.known > 0 else Side.BUY
        price = Decimal(60_000) if self.draw(st.booleans()) else None
        refusal = "the gate" if self.draw(st.integers(0, 9)) == 0 else None
        return Way(venue, purpose, side, abs(self.known), refusal=refusal, limit_price=price)

    def execute(self, way: Way, over_s: float) -> None:
        """Filled, partly, not, late or unknown; the answer in time or never."""
        self.sent += 1
        share = self.draw(st.sampled_from([ZERO, Decimal("0.4"), Decimal(1)]))
        change = way.side.sign * (way.qty * share).quantize(Decimal("0.001"))
        self.imbalance += change
        took_s = self.draw(st.sampled_from([0.01, 0.5, 3.0]))
        told_s = self.draw(st.sampled_from([0.0, 0.02, 1.0, 60.0]))
        self.reason = "" if share else "no margin"
        self.now_s = min(self.now_s + took_s, over_s)
        self.pending.append((self.now_s + told_s, change))
        self.uncertain_until_s = self.now_s + told_s  # nobody calls it certain before its execution is told

    def wait(self, until_s: float) -> None:
        news = [t for t, _ in self.pending] + [until_s]
        if self.uncertain_until_s is not None and self.uncertain_until_s > self.now_s:
            news.append(self.uncertain_until_s)
        self.now_s = max(self.now_s, min(news))
        if self.draw(st.integers(0, 19)) == 0:  # a late fill of some order that was given up
            late = self.draw(st.sampled_from([Decimal("0.004"), Decimal("-0.004")]))
            self.imbalance += late
            self.known += late
        self.settled = self.draw(st.booleans())


@given(st.data())
def test_whatever_the_venues_do_it_ends_equal_or_named_within_the_deadline(data: st.DataObject) -> None:
    chance = Chance(data.draw)
    legs = fresh()
    for _ in range(500):
        before, look = legs, chance.look()
        legs, action = step(legs, look)
        assert legs.state in TRANSITIONS[before.state]
        match action:
            case Send(way=way):
                assert not look.uncertain, "nothing is sent while an order may still execute"
                assert way.refusal is None
                assert way.limit_price is not None
                assert chance.now_s < DEADLINE_S * 0.8
                chance.execute(way, legs.over_mono_s)
            case Wait(until_mono_s=until):
                assert until <= DEADLINE_S
                chance.wait(until)
            case Done():
                assert chance.known == chance.imbalance, "equal by all that happened, not by what was told"
                assert abs(chance.known) < Decimal("0.001")
                break
            case GiveUp(reason=reason):
                assert reason
                break
    assert legs.state.terminal, "it did not end"
    assert chance.now_s <= DEADLINE_S
    assert chance.sent <= 6
