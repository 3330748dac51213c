"""Components, alerts and incidents: what operators read. Every value was measured, or is "unknown"."""

from __future__ import annotations

from enum import StrEnum

from attrs import Factory, frozen


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
class Incident:
    id: int
    ts_ns: int
    severity: str
    kind: str
    component_id: str
    summary: str
    details: str = ""
    acknowledged_by: str | None = None
    resolved_at_ns: int | None = None


@frozen
class Alert:
    severity: str
    title: str
    msg: str
    since_ns: int
    component_id: str
