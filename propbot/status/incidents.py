"""Incidents: what went wrong, what was done about it and by whom, durable, each with its timeline.

Everything is synchronous and in memory first, so that it may stand next to a HOLD; a task of its own brings it to the
ledger, in order, and goes on trying while the disk fails. A person acknowledges an incident; it is resolved when its
cause is gone, whether somebody has looked or not. Resolved incidents leave the memory in time, never the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import trio
from attrs import define, evolve, field

from propbot.domain.clock import Clock
from propbot.domain.errors import LedgerError
from propbot.domain.events import Detail
from propbot.domain.status import Incident, IncidentStep
from propbot.kit.trace import Trace, no_trace

KEPT_MAX = 200
"""In memory; the ledger has all."""
STEPS_MAX = 100
"""Of one incident: a cause that comes and goes all night must not fill the page."""
RETRY_S = 0.5


class IncidentLedger(Protocol):
    async def save_incident(self, incident: Incident) -> None: ...


@define(eq=False)
class Incidents:
    clock: Clock
    trace: Trace = no_trace
    _incidents: dict[int, Incident] = field(factory=dict, init=False)
    _open: dict[int, None] = field(factory=dict, init=False)
    """Ids of the open ones, oldest first: guards that are well ask many times a second."""
    _last_id: int = field(default=0, init=False)
    _unsaved: dict[int, None] = field(factory=dict, init=False)
    """Ids whose newest state is not in the ledger yet, oldest change first."""
    _changed: trio.Event = field(factory=trio.Event, init=False)
    _saved: trio.Event = field(factory=trio.Event, init=False)

    def load(self, incidents: Iterable[Incident], last_id: int) -> None:
        """What an earlier life left, oldest first; ids go on after `last_id`."""
        self._incidents = {incident.id: incident for incident in incidents}
        self._open = dict.fromkeys(incident.id for incident in self._incidents.values() if incident.open)
        self._last_id = last_id

    # --- looking

    def all(self) -> Sequence[Incident]:
        """Newest first."""
        return tuple(reversed(self._incidents.values()))

    def open_ones(self) -> Sequence[Incident]:
        """Oldest first."""
        return tuple(self._incidents[id] for id in self._open)

    def get(self, id: int) -> Incident | None:
        return self._incidents.get(id)

    def acknowledged(self, component_id: str) -> bool:
        """Whether a person has acknowledged every open incident of `component_id`, and there is one."""
        mine = [incident for incident in self.open_ones() if incident.component_id == component_id]
        return bool(mine) and all(incident.acknowledged_by is not None for incident in mine)

    # --- what happens

    def open(
        self,
        severity: str,
        kind: str,
        component_id: str,
        summary: str,
        details: Mapping[str, Detail] | None = None,
    ) -> Incident:
        """A new incident, `details` being how things stood; or the one that is open already with the same kind,
        component and summary."""
        for known in self.open_ones():
            if (known.kind, known.component_id, known.summary) == (kind, component_id, summary):
                return known
        self._last_id += 1
        now_ns = self.clock.wall_ns()
        first = IncidentStep(now_ns, "opened", summary, dict(details or {}))
        incident = Incident(self._last_id, now_ns, severity, kind, component_id, summary, steps=(first,))
        self.trace("incident", id=incident.id, component_id=component_id, incident_kind=kind, summary=summary)
        self._forget_old()
        return self._keep(incident)

    def note(self, step: str, text: str, details: Mapping[str, Detail] | None = None) -> None:
        """A line in the timeline of every open incident."""
        for incident in self.open_ones():
            self._keep(self._with_step(incident, step, text, details or {}))

    def acknowledge(self, id: int, operator: str, note: str) -> Incident | None:
        """As acknowledged (the first who did so stays); None if there is none of this id."""
        incident = self._incidents.get(id)
        if incident is None or incident.acknowledged_by is not None:
            return incident
        text = f"by {operator}" + (f": {note}" if note else "")
        told = self._with_step(incident, "acknowledged", text, {})
        return self._keep(
            evolve(told, acknowledged_by=operator, acknowledged_ns=told.steps[-1].ts_ns, note=note)
        )

    def resolve(self, id: int, why: str) -> None:
        incident = self._incidents.get(id)
        if incident is not None and incident.open:
            told = self._with_step(incident, "resolved", why, {})
            self._keep(evolve(told, resolved_ns=told.steps[-1].ts_ns))

    def resolve_of(self, component_id: str, why: str) -> None:
        if self._open:
            for incident in self.open_ones():
                if incident.component_id == component_id:
                    self.resolve(incident.id, why)

    # --- becoming durable

    async def run(self, ledger: IncidentLedger) -> None:
        """Until cancelled."""
        while True:
            while self._unsaved:
                id = next(iter(self._unsaved))
                incident = self._incidents[id]
                try:
                    await ledger.save_incident(incident)
                except LedgerError:
                    await trio.sleep(RETRY_S)
                    continue
                if self._incidents.get(id) is incident:
                    self._unsaved.pop(id, None)
                self._saved.set()
                self._saved = trio.Event()
            self._changed = trio.Event()
            await self._changed.wait()

    @property
    def unsaved(self) -> int:
        """How many the ledger does not have as they are now."""
        return len(self._unsaved)

    async def wait_saved(self, id: int) -> None:
        """Until what is known of this incident is in the ledger; the caller sets the deadline."""
        while id in self._unsaved:
            await self._saved.wait()

    # --- inside

    def _with_step(
        self, incident: Incident, step: str, text: str, details: Mapping[str, Detail]
    ) -> Incident:
        """The first steps say how it began and are kept; of a long story the middle goes."""
        steps = incident.steps
        if len(steps) >= STEPS_MAX:
            steps = (*steps[: STEPS_MAX // 2], *steps[STEPS_MAX // 2 + 1 :])
        return evolve(incident, steps=(*steps, IncidentStep(self.clock.wall_ns(), step, text, dict(details))))

    def _keep(self, incident: Incident) -> Incident:
        self._incidents[incident.id] = incident
        if incident.open:
            self._open[incident.id] = None
        else:
            self._open.pop(incident.id, None)
        self._unsaved[incident.id] = None
        self._changed.set()
        return incident

    def _forget_old(self) -> None:
        """Room for one more: resolved and saved ones go first. An open one goes only when all are open: one cause that
        comes in ever new words must not fill the memory, and the ledger keeps it."""
        while len(self._incidents) >= KEPT_MAX:
            done = (i.id for i in self._incidents.values() if not i.open and i.id not in self._unsaved)
            oldest = next(done, None)
            if oldest is None:
                oldest = next((id for id in self._incidents if id not in self._unsaved), None)
            if oldest is None:
                return
            del self._incidents[oldest]
            self._open.pop(oldest, None)
