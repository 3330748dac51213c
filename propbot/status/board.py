"""The board: every component's health as last reported, the incidents, and the alerts that follow from both.

Components report by `put`; nobody else writes. Reading never changes anything: alerts and the overall status are
computed from what is there. It lives in memory; the journal in the ledger is what lasts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import define, evolve, field, frozen

from propbot.domain.clock import Clock
from propbot.domain.mode import Mode
from propbot.domain.status import Alert, Component, Health, Incident, Metric

INCIDENTS_KEPT_MAX = 500
_RANK = {Health.OK: 0, Health.WARN: 1, Health.ERROR: 2, Health.HOLD: 3}
_BY_HEALTH = {Health.WARN: "P2", Health.ERROR: "P1"}


@frozen
class Overall:
    """One word for the whole service, and which component it is about (empty: the mode itself, or all is well)."""

    status: Health
    reason: str
    source: str
    since_ns: int | None


@define(eq=False)
class Board:
    clock: Clock
    _components: dict[str, Component] = field(factory=dict, init=False)
    _severities: dict[str, str] = field(factory=dict, init=False)
    _incidents: dict[int, Incident] = field(factory=dict, init=False)
    _incident_count: int = field(default=0, init=False)

    def put(
        self,
        id: str,
        title: str,
        group: str,
        health: Health,
        summary: str,
        metrics: Mapping[str, Metric] | None = None,
        *,
        severity: str | None = None,
    ) -> None:
        """Report a component. `since` moves only when its status does. `severity` is what an alert about it has: P0
        for the guards whose trip is a HOLD; else by status."""
        before = self._components.get(id)
        same = before is not None and before.status is health
        since_ns = before.since_ns if before is not None and same else self.clock.wall_ns()
        self._components[id] = Component(id, title, group, health, summary, since_ns, dict(metrics or {}))
        if severity is not None:
            self._severities[id] = severity

    def components(self) -> Sequence[Component]:
        """In the order of their first report."""
        return tuple(self._components.values())

    def component(self, id: str) -> Component | None:
        return self._components.get(id)

    def alerts(self) -> Sequence[Alert]:
        """Every component in WARN or ERROR, and the P0 ones in HOLD too; P0 first. A HOLD that an operator asked for
        is no alert."""
        found = [self._alert(c) for c in self._components.values() if self._alarming(c)]
        return tuple(sorted(found, key=lambda alert: (alert.severity, alert.since_ns)))

    def overall(self, mode: Mode) -> Health:
        """HOLD over ERROR over WARN over OK. HOLD is said exactly while the mode is one: a component that claims it
        in another mode counts as ERROR, since trading has not stopped."""
        if mode is Mode.HOLD:
            return Health.HOLD
        return self._worst()[0]

    def overall_status(self, mode: Mode) -> Overall:
        """Outside of HOLD (whose reason is the HOLD record): the worst component, the one that is so the longest."""
        if mode is Mode.HOLD:
            return Overall(Health.HOLD, "", "", None)
        health, component = self._worst()
        if component is None:
            return Overall(health, "", "", None)
        return Overall(health, component.summary, component.id, component.since_ns)

    def scores(self) -> Mapping[str, float]:
        """Per group, the share of its components that are OK: 0 to 1."""
        by_group: dict[str, list[bool]] = {}
        for component in self._components.values():
            by_group.setdefault(component.group, []).append(component.status is Health.OK)
        return {group: round(sum(oks) / len(oks), 3) for group, oks in by_group.items()}

    def incidents(self) -> Sequence[Incident]:
        """Newest first."""
        return tuple(reversed(self._incidents.values()))

    def open_incident(
        self, severity: str, kind: str, component_id: str, summary: str, details: str = ""
    ) -> Incident:
        """A new incident; or the one that is open already with the same kind, component and summary."""
        for known in self._incidents.values():
            if known.resolved_at_ns is None and _same(known, kind, component_id, summary):
                return known
        self._incident_count += 1
        incident = Incident(
            self._incident_count, self.clock.wall_ns(), severity, kind, component_id, summary, details
        )
        self._incidents[incident.id] = incident
        self._forget_old()
        return incident

    def acknowledge_incident(self, id: int, operator: str) -> Incident | None:
        """The incident as acknowledged (the first who did so stays); None if there is none of this id."""
        incident = self._incidents.get(id)
        if incident is None or incident.acknowledged_by is not None:
            return incident
        return self._keep(evolve(incident, acknowledged_by=operator))

    def resolve_incident(self, id: int) -> Incident | None:
        incident = self._incidents.get(id)
        if incident is None or incident.resolved_at_ns is not None:
            return incident
        return self._keep(evolve(incident, resolved_at_ns=self.clock.wall_ns()))

    def resolve_incidents_of(self, component_id: str) -> None:
        for incident in list(self._incidents.values()):
            if incident.component_id == component_id:
                self.resolve_incident(incident.id)

    def _keep(self, incident: Incident) -> Incident:
        self._incidents[incident.id] = incident
        return incident

    def _forget_old(self) -> None:
        """Resolved ones first; an open one goes only when all are open (the journal keeps it)."""
        while len(self._incidents) > INCIDENTS_KEPT_MAX:
            resolved = (i.id for i in self._incidents.values() if i.resolved_at_ns is not None)
            del self._incidents[next(resolved, next(iter(self._incidents)))]

    def _alarming(self, component: Component) -> bool:
        if component.status is Health.HOLD:
            return self._severities.get(component.id) == "P0"
        return component.status is not Health.OK

    def _alert(self, component: Component) -> Alert:
        severity = _BY_HEALTH.get(component.status, "P1")
        if component.status is not Health.WARN:
            severity = self._severities.get(component.id, severity)
        return Alert(severity, component.title, component.summary, component.since_ns, component.id)

    def _worst(self) -> tuple[Health, Component | None]:
        ailing = [c for c in self._components.values() if c.status is not Health.OK]
        if not ailing:
            return Health.OK, None
        worst = min(ailing, key=lambda c: (-min(_RANK[c.status], _RANK[Health.ERROR]), c.since_ns))
        return (Health.ERROR if worst.status is Health.HOLD else worst.status), worst


def _same(incident: Incident, kind: str, component_id: str, summary: str) -> bool:
    return (incident.kind, incident.component_id, incident.summary) == (kind, component_id, summary)
