"""The board: every component's health as last reported, and the alerts that follow.

Components report by `put`; nobody else writes. Reading never changes anything: alerts and the overall status are
computed from what is there. It lives in memory; incidents and the journal are what lasts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import define, field, frozen

from propbot.domain.clock import Clock
from propbot.domain.mode import Mode
from propbot.domain.status import Alert, Component, Health, Metric

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
