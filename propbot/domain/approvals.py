"""A proposal that another person has to approve, and what becomes of it. Once it has left PENDING it never comes back.

    PENDING ─┬─ APPROVED   by another person, once; it may then take effect at once, or never
             ├─ REJECTED   by a person
             ├─ EXPIRED    nobody decided in time
             └─ VOID       a HOLD, a changed limit or mode, or a restart came in between
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from attrs import frozen


class ApprovalState(StrEnum):
    PENDING = "PENDING"
    APPROVED = "APPROVED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    VOID = "VOID"


@frozen
class Approval:
    """`change` is canonical JSON: the exact change, nothing else. Times are wall nanoseconds."""

    id: str
    change: str
    digest: str
    """Of the change and of the risk settings in force when it was proposed."""
    proposer: str
    proposed_ns: int
    expires_ns: int
    state: ApprovalState = ApprovalState.PENDING
    decided_by: str | None = None
    decided_ns: int | None = None
    reason: str = ""
    """Why it is in this state, where that needs saying."""
    applied_ns: int | None = None
    """When an approved change was in force and durable."""

    def asked(self) -> dict[str, Any]:
        change: dict[str, Any] = json.loads(self.change)
        return change

    def said(self) -> str:
        """`mode=RUN safe_mode=false`, for people."""
        return " ".join(f"{name}={_plain(value)}" for name, value in self.asked().items())

    @property
    def by_a_person(self) -> bool:
        """Whether its state is a person's word; an approval that ended VOID keeps who had approved."""
        return self.state in (ApprovalState.APPROVED, ApprovalState.REJECTED)

    def line(self) -> str:
        """`approval k3f9x2ab (mode=RUN) of ann: VOID, a HOLD came in between`."""
        by = f" by {self.decided_by}" if self.by_a_person else ""
        why = f", {self.reason}" if self.reason else ""
        return f"approval {self.id} ({self.said()}) of {self.proposer}: {self.state}{by}{why}"


@frozen
class Seconded:
    """A change that another person approved: under which id, and who."""

    id: str
    by: str


def canonical_change(change: Mapping[str, Any]) -> str:
    """One spelling for one change: sorted keys, no spaces, no NaN."""
    return json.dumps(dict(change), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
