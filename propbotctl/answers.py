"""Which question is answered with what. An answer is held to its shape where it comes in, so that no command trips over
one that is not PropBot's: a proxy's page, another service, a release that lacks a field.

Imported by `client` and `journal` alone, since msgspec takes its time.
"""

from __future__ import annotations

import re
from typing import Any, NotRequired, TypedDict

import msgspec

from propbotctl import shapes


class Healthy(TypedDict):
    status: str


class Refusal(TypedDict):
    message: str
    fields: NotRequired[dict[str, str] | None]


class Refused(TypedDict):
    error: Refusal
    reasons: NotRequired[list[str] | None]
    hold: NotRequired[str]


class _Page(TypedDict):
    next_cursor: str | None


class Orders(_Page):
    items: list[shapes.Order]


class Fills(_Page):
    items: list[shapes.Fill]


class Lots(_Page):
    items: list[shapes.Lot]


class Positions(_Page):
    items: list[shapes.Position]


class Events(_Page):
    items: list[shapes.Event]


class Incidents(_Page):
    items: list[shapes.Incident]


class Approvals(_Page):
    items: list[shapes.Approval]


class Secrets(_Page):
    items: list[shapes.Secret]


ANSWERS: dict[str, type] = {
    r"GET /healthz": Healthy,
    r"GET /api/ui/status/overview": shapes.Overview,
    r"GET /api/ui/status/components": shapes.Components,
    r"GET /api/ui/status/slo": shapes.Levels,
    r"GET /api/ui/state": shapes.State,
    r"GET /api/ui/control-state": shapes.Control,
    r"GET /api/ui/orders": Orders,
    r"GET /api/ui/fills": Fills,
    r"GET /api/ui/lots": Lots,
    r"GET /api/ui/positions": Positions,
    r"GET /api/ui/events": Events,
    r"GET /api/ui/incidents": Incidents,
    r"GET /api/ui/approvals": Approvals,
    r"GET /api/ui/secret": Secrets,
    r"GET /api/ui/audit/verify": shapes.JournalCheck,
    r"PATCH /api/ui/control": shapes.Changed,
    r"POST /api/ui/secret": shapes.Stored,
    r"POST /api/ui/baseline": shapes.Accepted,
    r"POST /api/ui/approvals/\w+/approve": shapes.Approved,
    r"POST /api/ui/approvals/\w+/reject": shapes.Waiting,
    r"POST /api/ui/incidents/\d+/ack": shapes.Incident,
}
_PENDING = 202


def shape_of(method: str, path: str, status: int) -> type:
    """Of a 2xx answer. LookupError: a question that this table does not know, which is a bug of ours."""
    if status == _PENDING:
        return shapes.Waiting
    for known, shape in ANSWERS.items():
        if re.fullmatch(known, f"{method} {path}"):
            return shape
    raise LookupError(f"{method} {path} has no shape")


def misfit(found: Any, shape: type) -> str | None:
    """How what was found differs from the shape; None if it fits."""
    try:
        msgspec.convert(found, shape)
    except msgspec.ValidationError as error:
        return str(error)
    return None
