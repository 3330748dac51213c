"""The Two-Man Rule at work: proposals, and the one moment in which a second person makes one take effect.

    propose ─ durable ─ pending ─ approve: person, bond, checks ─ durable, once ─ bond again ─ effect
                           └─ reject, a broken bond, 300 s, a restart: it is over

Two things make "once" true: the ledger's compare-and-set, and that a proposal leaves `_pending` before its approval is
written; whatever becomes of that write, it is spent. Nothing here is called by the step into HOLD: a proposal is bound
to how many HOLDs there were, and everybody looks before they act. Times to expire are monotonic and wall, the stricter.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import structlog
import trio
from attrs import define, evolve, field, frozen

from propbot.control.operators import Operators, Role
from propbot.control.two_man import Bond, digest_change
from propbot.domain.approvals import Approval, ApprovalState, Seconded, canonical_change
from propbot.domain.clock import Clock
from propbot.domain.errors import LedgerError
from propbot.kit.trace import Trace
from propbot.status.desk import ApprovalOutcome, Conflict, Decided, Done, Forbidden, Unknown

EXPIRY_S = 300.0
PENDING_EACH_MAX = 5
"""For one person: nobody keeps others from proposing."""
ID_CHARACTERS = "23456789abcdefghjkmnpqrstuvwxyz"
"""None that is mistaken for another one: ids are typed by people."""
ID_LENGTH = 8
_STARTED_AGAIN = "the service was started again"


class ApprovalLedger(Protocol):
    async def propose(self, approval: Approval) -> None: ...
    async def decide_approval(self, decided: Approval) -> bool: ...
    async def mark_applied(self, id: str) -> None: ...
    async def approval(self, id: str) -> Approval | None: ...
    async def open_approvals(self) -> tuple[Approval, ...]: ...


class Applier(Protocol):
    """Who makes an approved change take effect."""

    async def problems(self, change: Mapping[str, Any]) -> Sequence[str]:
        """Why it can't take effect now: the same checks as of a change that needs no second person."""
        ...

    async def apply(self, change: Mapping[str, Any], proposer: str, seconded: Seconded) -> Done | Conflict:
        """In force with its first step, before any checkpoint; what follows may wait for the disk."""
        ...


class Say(Protocol):
    def __call__(self, level: str, kind: str, message: str, *, source: str = "") -> None: ...


@frozen
class _Proposal:
    approval: Approval
    bond: Bond
    deadline_mono_s: float


@define(eq=False)
class Approvals:
    _ledger: ApprovalLedger
    _people: Operators
    _bond: Callable[[], Bond]
    _clock: Clock
    _rng: random.Random
    _trace: Trace
    _say: Say
    """To the journal: attempts that decide nothing. What decides is journalled in the ledger's own transaction."""
    _pending: dict[str, _Proposal] = field(factory=dict)
    _writing: set[str] = field(factory=set)
    _unrecorded: deque[Approval] = field(factory=deque)
    _grew: trio.Event = field(factory=trio.Event)
    _lock: trio.Lock = field(factory=trio.Lock)

    # --- looking

    def pending(self) -> Sequence[Approval]:
        """What a second person could approve now, oldest first. Memory only; changes nothing."""
        if not self._pending:
            return []
        bond = self._bond()
        return [each.approval for each in self._pending.values() if self._ending(each, bond) is None]

    def as_known(self, row: Approval) -> Approval:
        """A row of the ledger as it stands by what is known here: its end may not be written yet."""
        if row.state is not ApprovalState.PENDING or row.id in self._writing:
            return row
        proposal = self._pending.get(row.id)
        if proposal is not None:
            ending = self._ending(proposal, self._bond())
            return row if ending is None else evolve(row, state=ending[0], reason=ending[1])
        known = (each for each in self._unrecorded if each.id == row.id)
        return next(known, evolve(row, state=ApprovalState.VOID, reason="it was not recorded in time"))

    def look(self) -> None:
        """Put an end to what expired or lost its bond. Synchronous."""
        if not self._pending:
            return
        bond = self._bond()
        for proposal in list(self._pending.values()):
            ending = self._ending(proposal, bond)
            if ending is not None:
                self._end(proposal, *ending)

    def _ending(self, proposal: _Proposal, bond: Bond) -> tuple[ApprovalState, str] | None:
        broken = self._broken(proposal, bond)
        if broken:
            return ApprovalState.VOID, broken
        late = self._clock.mono_s() >= proposal.deadline_mono_s
        if late or self._clock.wall_ns() >= proposal.approval.expires_ns:
            return ApprovalState.EXPIRED, f"nobody decided within {EXPIRY_S:g} s"
        return None

    def _broken(self, proposal: _Proposal, bond: Bond) -> str:
        proposer = self._people.named(proposal.approval.proposer)
        if proposer is None or not proposer.role.covers(Role.OPERATOR):
            return f"{proposal.approval.proposer} may no longer propose"
        return proposal.bond.broken_by(bond)

    # --- proposing

    async def propose(self, change: Mapping[str, Any], proposer: str) -> Approval | Conflict:
        """Durable when it returns. Who proposes again what waits already gets that one. LedgerError."""
        bond, text = self._bond(), canonical_change(change)
        async with self._lock:
            self.look()
            own = [each.approval for each in self._pending.values() if each.approval.proposer == proposer]
            for each in own:
                if each.change == text:
                    return each
            if len(own) >= PENDING_EACH_MAX:
                return Conflict([f"{len(own)} proposals of {proposer} wait already: have them decided first"])
            now_ns = self._clock.wall_ns()
            approval = Approval(
                self._new_id(), text, digest_change(text, bond.settings_digest), proposer, now_ns,
                now_ns + round(EXPIRY_S * 1e9),
            )
            proposal = _Proposal(approval, bond, self._clock.mono_s() + EXPIRY_S)
            await self._record_proposal(proposal)
            self._pending[approval.id] = proposal
            self._tell(approval, proposal)
            self.look()
            if approval.id not in self._pending:
                why = self._broken(proposal, self._bond())
                return Conflict([f"nothing was proposed: {why}; look, and propose again"])
            self._grew.set()
            return approval

    async def _record_proposal(self, proposal: _Proposal) -> None:
        durable = False
        self._writing.add(proposal.approval.id)
        try:
            await self._ledger.propose(proposal.approval)
            durable = True
        finally:
            self._writing.discard(proposal.approval.id)
            if not durable:  # the row may be there all the same
                self._end(proposal, ApprovalState.VOID, "it was not recorded in time")

    def _new_id(self) -> str:
        return "".join(self._rng.choice(ID_CHARACTERS) for _ in range(ID_LENGTH))

    # --- deciding

    async def approve(self, id: str, by: str, applier: Applier) -> ApprovalOutcome:
        """LedgerError: it is void then, since whether it was recorded is not known."""
        async with self._lock:
            self.look()
            proposal = self._pending.get(id)
            if proposal is None:
                return await self._not_pending(id, by, "approve")
            refusal = self._refuse_person(proposal.approval, by, "approve")
            if refusal is not None:
                return refusal
            problems = await applier.problems(proposal.approval.asked())
            if problems:
                self._attempt(by, f"could not approve {id}, it waits on: {'; '.join(problems)}")
                return Conflict(problems)
            self.look()
            if id not in self._pending:  # while the checks were made
                return await self._not_pending(id, by, "approve")
            refusal = self._refuse_person(proposal.approval, by, "approve")
            if refusal is not None:  # taken off the list meanwhile: the checks ask the venues, and that takes seconds
                return refusal
            return await self._spend(proposal, by, applier)

    async def _spend(self, proposal: _Proposal, by: str, applier: Applier) -> ApprovalOutcome:
        """Write the approval, then let the change take effect: no checkpoint between the last look and the effect."""
        decided = await self._decide(proposal, ApprovalState.APPROVED, by, "")
        if decided is None:
            return Conflict([f"approval {proposal.approval.id} was decided or expired meanwhile"])
        self._tell(decided, proposal)
        spent = evolve(proposal, approval=decided)
        broken = self._broken(proposal, self._bond())
        if broken:
            self._end(spent, ApprovalState.VOID, f"approved by {by} and spent without effect: {broken}")
            return Conflict([f"{broken}: the approval is spent, propose again"])
        in_force = True
        try:
            outcome = await applier.apply(decided.asked(), decided.proposer, Seconded(decided.id, by))
            in_force = not isinstance(outcome, Conflict)
        finally:
            if in_force:  # also where waiting for the disk was cancelled: the first step was made
                self._unrecorded.append(decided)
                self._grew.set()
        if isinstance(outcome, Conflict):
            why = "; ".join(outcome.reasons)
            self._end(spent, ApprovalState.VOID, f"approved by {by} and spent without effect: {why}")
            return outcome
        self.look()
        return Decided(decided, outcome)

    async def reject(self, id: str, by: str, reason: str) -> ApprovalOutcome:
        async with self._lock:
            self.look()
            proposal = self._pending.get(id)
            if proposal is None:
                return await self._not_pending(id, by, "reject")
            refusal = self._refuse_person(proposal.approval, by, "reject")
            if refusal is not None:
                return refusal
            decided = await self._decide(proposal, ApprovalState.REJECTED, by, reason)
            if decided is None:
                return Conflict([f"approval {id} was decided or expired meanwhile"])
            self._tell(decided, proposal)
            self._grew.set()
            return Decided(decided)

    async def _decide(self, proposal: _Proposal, state: ApprovalState, by: str, reason: str) -> Approval | None:
        """The decided proposal, durable; None if the ledger says that it is not pending. It is spent in any case."""
        approval = proposal.approval
        decided = evolve(approval, state=state, decided_by=by, decided_ns=self._clock.wall_ns(), reason=reason)
        del self._pending[approval.id]
        self._writing.add(approval.id)
        known = first = False
        try:
            first = await self._ledger.decide_approval(decided)
            known = True
        finally:
            self._writing.discard(approval.id)
            if not known:
                self._end(proposal, ApprovalState.VOID, f"whether {by}'s word was recorded is not known")
        return decided if first else None

    def _refuse_person(self, approval: Approval, by: str, verb: str) -> Forbidden | None:
        person = self._people.named(by)
        if person is None or not person.can_approve:
            self._attempt(by, f"may not {verb} {approval.id}: not an approver")
            return Forbidden(f"{by} can't {verb}: that needs the role {Role.APPROVER}")
        if verb == "approve" and by == approval.proposer:
            self._attempt(by, f"tried to approve {approval.id}, which {by} proposed")
            return Forbidden(f"needs another person: {by} proposed it")
        return None

    async def _not_pending(self, id: str, by: str, verb: str) -> Conflict | Unknown:
        sound = 0 < len(id) <= 2 * ID_LENGTH and id.isascii() and id.isalnum()
        row = await self._ledger.approval(id) if sound else None
        if row is None:
            return Unknown("there is no such proposal; GET /api/ui/approvals lists them")
        known = self.as_known(row)
        self._attempt(by, f"tried to {verb} {id}, which is {known.state}")
        why = f": {known.reason}" if known.reason else ""
        who = f" by {known.decided_by}" if known.by_a_person else ""
        return Conflict([f"approval {id} is {known.state}{who}{why}"])

    # --- what lasts

    async def take_up(self, mode: str) -> None:
        """At the start: what an earlier life left open is void. An approval that a kill kept from taking effect, or
        from being known to have, is spent. LedgerError."""
        for row in await self._ledger.open_approvals():
            why = _STARTED_AGAIN
            if row.state is ApprovalState.APPROVED:
                spent = f"approved by {row.decided_by} and spent: the process ended before it was known to be in force"
                why = f"{spent}; the mode is {mode}"
            ended = evolve(row, state=ApprovalState.VOID, reason=why, decided_ns=self._clock.wall_ns())
            await self._ledger.decide_approval(ended)
            self._log(ended)
            self._trace_row(ended, None)

    async def run(self, report: Callable[[Sequence[Approval]], None]) -> None:
        """Until cancelled: end what expires, record what ended, tell `report` what waits."""
        while True:
            self._grew = trio.Event()
            self.look()
            report(self.pending())
            await self._record()
            with trio.move_on_after(1.0):
                await self._grew.wait()

    async def _record(self) -> None:
        while self._unrecorded:
            ended = self._unrecorded[0]
            try:
                if ended.state is ApprovalState.APPROVED:
                    await self._ledger.mark_applied(ended.id)
                else:
                    await self._ledger.decide_approval(ended)
            except LedgerError:
                return  # guard `ledger` says so; tried again in a second
            self._unrecorded.remove(ended)

    def _end(self, proposal: _Proposal, state: ApprovalState, reason: str) -> None:
        self._pending.pop(proposal.approval.id, None)
        ended = evolve(proposal.approval, state=state, decided_ns=self._clock.wall_ns(), reason=reason)
        self._unrecorded.append(ended)
        self._tell(ended, proposal)
        self._grew.set()

    def _attempt(self, by: str, words: str) -> None:
        self._say("WARN", "approval", f"{by} {words}", source=f"operator:{by}")

    def _tell(self, approval: Approval, proposal: _Proposal) -> None:
        self._log(approval)
        self._trace_row(approval, proposal.deadline_mono_s)

    def _log(self, approval: Approval) -> None:
        structlog.get_logger("propbot").info(approval.line(), kind="approval")

    def _trace_row(self, approval: Approval, expires_t: float | None) -> None:
        self._trace(
            "approval", id=approval.id, state=str(approval.state), proposer=approval.proposer,
            by=approval.decided_by or "", digest=approval.digest, expires_t=expires_t, change=approval.change,
        )
