"""What is pushed to the chat without being asked for: automatic HOLDs, incidents, approvals, the journal's head.

It looks at the desk whenever the mode changes, and once a second for the rest; what it has told it remembers, so that
nothing is told twice in one life. A HOLD and the incident of the same cause are one line. Told again is only what no
person has acknowledged: who slept through the first message hears of a P0 incident every ten minutes until somebody
looks (FAULTS row 68).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
from attrs import define, field

from propbot.domain.approvals import Approval
from propbot.domain.errors import LedgerError
from propbot.domain.events import Head
from propbot.domain.mode import Cause, HoldRecord, Mode
from propbot.domain.status import Incident
from propbot.status.desk import Desk
from propbot.telegram.answers import clock_of, say_waiting
from propbot.telegram.outbox import Note, Outbox, Rank

LOOK_EVERY_S = 1.0
HEAD_EVERY_S = 3600.0
REMIND_EVERY_S = 600.0
REMINDED_OF_MAX = 5
"""Incidents by their words; of the others the number."""
READ_S_MAX = 2.0
APPROVALS_READ = 50
_RANKS = {"P0": Rank.URGENT, "P1": Rank.WARNING}


@define(eq=False)
class Notices:
    _desk: Desk
    _outbox: Outbox
    _wait_mode: Callable[[], Awaitable[object]]
    """Until the mode, or what is known of a HOLD, changes."""
    _head: Callable[[], Head | None]
    """The journal's."""
    _mode: Mode | None = None
    _causes: set[tuple[str, str, int]] = field(factory=set)
    """(reason, source, since) of this HOLD, as far as told."""
    _cancel_told: bool = True
    _incident_id: int = 0
    _pending: dict[str, Approval] = field(factory=dict)
    _head_mono_s: float | None = None
    _unread_mono_s: float | None = None
    """Since when, or since the last reminder, there are incidents that nobody has acknowledged."""

    async def run(self) -> None:
        """Until cancelled; one that is run again goes on where the first one ended."""
        if self._mode is None:
            self._begin()
        while True:
            self._look()
            await self._look_at_approvals()
            if self._mode is self._desk.mode():  # no checkpoint from here to the wait
                with trio.move_on_after(LOOK_EVERY_S):
                    await self._wait_mode()

    def _begin(self) -> None:
        """How it starts, in one note; older incidents and causes are no news."""
        hold = self._desk.hold()
        self._mode = self._desk.mode()
        self._incident_id = max((each.id for each in self._desk.incidents.all()), default=0)
        if hold is not None:
            self._causes = {_key(cause) for cause in hold.causes}
        state = f"mode {self._mode}" if hold is None else hold.line()
        self._put(Rank.WARNING, f"PropBot {self._desk.version} has started, profile {self._desk.profile}; {state}")

    def _look(self) -> None:
        incidents = self._new_incidents()
        hold = self._desk.hold()
        if hold is not None:
            self._look_at_hold(hold, incidents)
        elif self._causes or self._mode is Mode.HOLD:
            self._causes.clear()
            self._cancel_told = True
            self._put(Rank.NOTE, f"HOLD was left: mode {self._desk.mode()}")
        self._mode = self._desk.mode()
        for incident in incidents:
            rank = _RANKS.get(incident.severity, Rank.NOTE)
            words = f"{incident.severity} {incident.component_id}: {incident.summary}"
            self._put(rank, f"{words} (incident {incident.id})", at_ns=incident.ts_ns)
        self._remind(hold)
        now_s = trio.current_time()
        head = self._head()
        if head is not None and (self._head_mono_s is None or now_s - self._head_mono_s >= HEAD_EVERY_S):
            self._head_mono_s = now_s
            self._put(Rank.NOTE, f"journal head {head.id} {head.hash}", "head")

    def _look_at_hold(self, hold: HoldRecord, incidents: list[Incident]) -> None:
        if self._mode is not Mode.HOLD:
            self._causes.clear()  # another HOLD than the one before
            self._cancel_told = True
        for cause in hold.causes:
            if _key(cause) in self._causes:
                continue
            self._causes.add(_key(cause))
            if cause.source.startswith("operator:"):
                continue  # a person knows, and the others see it in /status
            story = hold.line() if cause is hold.first else f"one more cause for HOLD, {cause.source}: {cause.reason}"
            same = next((each for each in incidents if each.summary == cause.reason), None)
            if same is not None:
                incidents.remove(same)
                story = f"{story} (incident {same.id})"
            self._put(Rank.URGENT, f"P0 {story}; /status", at_ns=cause.since_ns)
            self._cancel_told = self._cancel_told and cause is not hold.first
        if hold.cancel is not None and not self._cancel_told:
            self._cancel_told = not hold.cancel.not_read_back
            words = f"{hold.cancel.words()} after {hold.cancel.seconds:g} s, as the venues say"
            self._put(Rank.WARNING, words, "cancel")

    def _remind(self, hold: HoldRecord | None) -> None:
        """One note however many there are; a newer one takes its place while it waits."""
        unread = [each for each in self._desk.incidents.all() if _needs_reader(each, hold)]
        now_s = trio.current_time()
        if not unread:
            self._unread_mono_s = None
        elif self._unread_mono_s is None:
            self._unread_mono_s = now_s
        elif now_s - self._unread_mono_s >= REMIND_EVERY_S:
            self._unread_mono_s = now_s
            oldest = unread[-1]
            count = "a P0 incident" if len(unread) == 1 else f"{len(unread)} P0 incidents, the oldest"
            told = "; ".join(f"{each.id} {each.component_id}: {each.summary}" for each in unread[:REMINDED_OF_MAX])
            more = f"; and {len(unread) - REMINDED_OF_MAX} more" if len(unread) > REMINDED_OF_MAX else ""
            self._put(
                Rank.URGENT,
                f"nobody has acknowledged {count} of {clock_of(oldest.ts_ns)}: {told}{more}; mode {self._desk.mode()};"
                f" propbotctl incidents ack {unread[0].id}",
                "unread",
            )

    def _new_incidents(self) -> list[Incident]:
        """Oldest first; those that have left the memory already are in the ledger alone, and are counted."""
        new = [each for each in self._desk.incidents.all() if each.id > self._incident_id][::-1]
        if new:
            lost = new[-1].id - self._incident_id - len(new)
            self._incident_id = new[-1].id
            if lost:
                self._put(Rank.WARNING, f"{lost} more incidents than are kept in memory: propbotctl incidents")
        return new

    async def _look_at_approvals(self) -> None:
        pending = {each.id: each for each in self._desk.control_view().approvals}
        for id, approval in pending.items():
            if id not in self._pending:
                self._put(Rank.WARNING, say_waiting(approval))
        ended = [each for id, each in self._pending.items() if id not in pending]
        self._pending = pending
        for approval in ended:
            self._put(Rank.NOTE, await self._ending_of(approval))

    async def _ending_of(self, approval: Approval) -> str:
        with trio.move_on_after(READ_S_MAX):
            try:
                rows, _ = await self._desk.approvals(APPROVALS_READ, None)
                return next(row.line() for row in rows if row.id == approval.id)
            except (LedgerError, StopIteration):
                pass
        return f"approval {approval.id} ({approval.said()}) of {approval.proposer} no longer waits"

    def _put(self, rank: Rank, text: str, key: str = "", *, at_ns: int | None = None) -> None:
        at = clock_of(self._desk.now_ns() if at_ns is None else at_ns)
        self._outbox.put(Note(rank, text, at, trio.current_time(), key))


def _needs_reader(incident: Incident, hold: HoldRecord | None) -> bool:
    """A P0 that no person has acknowledged: while it is open, and while the HOLD that it belongs to lasts. Who has left
    that HOLD has read why it was."""
    if incident.severity != "P0" or incident.acknowledged_by is not None:
        return False
    return incident.open or (hold is not None and incident.ts_ns >= hold.first.since_ns)


def _key(cause: Cause) -> tuple[str, str, int]:
    return cause.reason, cause.source, cause.since_ns
