"""Components, alerts and incidents: what operators read. Every value was measured, or is "unknown"."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from attrs import Factory, frozen

from propbot.domain.events import Detail


class Health(StrEnum):
    OK = "OK"
    WARN = "WARN"
    ERROR = "ERROR"
    HOLD = "HOLD"


Metric = str | int | float | bool | None


@frozen
class Component:
    """One line of the status page. `metrics` carry their unit in the name; None is "unknown"."""

    id: str
    title: str
    group: str
    status: Health
    summary: str
    since_ns: int
    metrics: dict[str, Metric] = Factory(dict)


@frozen
class IncidentStep:
    """One line of an incident's timeline. `step` is a short word: tripped, hold, cancel, winddown, acknowledged, …"""

    ts_ns: int
    step: str
    text: str
    details: Mapping[str, Detail] = Factory(dict)


@frozen
class Incident:
    """Something that a person should know of, from its beginning to its end. `summary` stays as it was first told."""

    id: int
    ts_ns: int
    severity: str
    kind: str
    component_id: str
    summary: str
    details: str = ""
    acknowledged_by: str | None = None
    acknowledged_ns: int | None = None
    note: str = ""
    """What the person who acknowledged it had to say."""
    resolved_ns: int | None = None
    steps: tuple[IncidentStep, ...] = ()
    """Oldest first."""

    @property
    def open(self) -> bool:
        return self.resolved_ns is None


@frozen
class Alert:
    severity: str
    title: str
    msg: str
    since_ns: int
    component_id: str
