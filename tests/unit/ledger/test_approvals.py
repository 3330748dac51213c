"""Approvals in the ledger: decided once, in time, by another person, and journalled with the decision."""

from __future__ import annotations

import pytest
import trio
from attrs import evolve

from propbot.domain.approvals import Approval, ApprovalState
from propbot.domain.events import first_bad
from propbot.kit.crash import CrashPoints
from propbot.ledger import Ledger

EXPIRES_NS = 1_000
PENDING = Approval("k1", '{"mode":"RUN"}', "d" * 64, "ann", 100, EXPIRES_NS)


def by(person: str, state: ApprovalState = ApprovalState.APPROVED, at_ns: int = 500) -> Approval:
    return evolve(PENDING, state=state, decided_by=person, decided_ns=at_ns)


async def state_of(ledger: Ledger, id: str = "k1") -> ApprovalState:
    row = await ledger.approval(id)
    assert row is not None
    return row.state


async def test_a_proposal_comes_back_as_it_was_written(ledger: Ledger) -> None:
    await ledger.propose(PENDING)
    assert await ledger.approval("k1") == PENDING
    assert await ledger.open_approvals() == (PENDING,)
    assert await ledger.approval("k2") is None


async def test_of_fifty_decisions_at_once_one_is_first(open_at) -> None:  # type: ignore[no-untyped-def]
    async with open_at(threaded=True) as ledger:
        await ledger.propose(PENDING)
        firsts: list[bool] = []

        async def decide(number: int) -> None:
            state = ApprovalState.APPROVED if number % 3 else ApprovalState.REJECTED
            firsts.append(await ledger.decide_approval(by(f"p{number}", state)))

        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(decide, number)
        assert sorted(firsts) == [False] * 49 + [True]
        events, _ = await ledger.events_page(100)
        assert len([event for event in events if event.kind == "approval"]) == 2
        assert first_bad(reversed(events)) is None


@pytest.mark.parametrize(("at_ns", "decided"), [(EXPIRES_NS - 1, True), (EXPIRES_NS, False), (EXPIRES_NS + 1, False)])
@pytest.mark.parametrize("state", [ApprovalState.APPROVED, ApprovalState.REJECTED])
async def test_a_person_decides_in_time_only(ledger: Ledger, state: ApprovalState, at_ns: int, decided: bool) -> None:
    await ledger.propose(PENDING)
    assert await ledger.decide_approval(by("bob", state, at_ns)) is decided
    assert await state_of(ledger) is (state if decided else ApprovalState.PENDING)


async def test_the_proposer_may_withdraw_and_not_approve(ledger: Ledger) -> None:
    await ledger.propose(PENDING)
    assert not await ledger.decide_approval(by("ann"))
    assert await ledger.decide_approval(by("ann", ApprovalState.REJECTED))


async def test_what_is_approved_can_be_void_until_it_was_applied(ledger: Ledger) -> None:
    void = evolve(PENDING, state=ApprovalState.VOID, decided_ns=600, reason="killed")
    await ledger.propose(PENDING)
    await ledger.propose(evolve(PENDING, id="k2"))
    for id in ("k1", "k2"):
        assert await ledger.decide_approval(evolve(by("bob"), id=id))
    await ledger.mark_applied("k2")
    assert [row.id for row in await ledger.open_approvals()] == ["k1"]
    assert await ledger.decide_approval(void)
    assert not await ledger.decide_approval(evolve(void, id="k2"))
    row = await ledger.approval("k1")
    assert row is not None
    assert (row.state, row.decided_by, row.reason) == ("VOID", "bob", "killed"), "who approved stays known"
    assert await state_of(ledger, "k2") is ApprovalState.APPROVED


async def test_the_crash_points_are_around_an_approvals_commit_alone(open_at) -> None:  # type: ignore[no-untyped-def]
    seen: list[str] = []

    class Noting(CrashPoints):
        def passage(self, name: str) -> None:
            seen.append(name)

    async with open_at(crash=Noting()) as ledger:
        await ledger.propose(PENDING)
        await ledger.propose(evolve(PENDING, id="k2"))
        await ledger.decide_approval(by("bob", ApprovalState.REJECTED))
        assert seen == []
        await ledger.decide_approval(evolve(by("bob"), id="k2"))
        assert seen == ["approval-commit:before", "approval-commit:after"]


async def test_pages_are_newest_first(ledger: Ledger) -> None:
    for number in range(5):
        await ledger.propose(evolve(PENDING, id=f"k{number}"))
    rows, cursor = await ledger.approvals_page(2)
    assert [row.id for row in rows] == ["k4", "k3"]
    rows, _ = await ledger.approvals_page(2, cursor)
    assert [row.id for row in rows] == ["k2", "k1"]
