"""I20 and I23: who changed something was somebody, and two people where two are asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator

from propbot.simulate.oracle.evidence import Evidence, Row, Violation

REFUSED = (401, 403, 422)


def check_access(evidence: Evidence) -> Iterator[Violation]:
    """I20: rows `api`, one for each request, with a hash of what is in force before and after it."""
    for row in evidence.of_harness("api"):
        changed = row["before"] != row["after"] and not row["disturbed"]
        asked = f"{row['method']} {row['path']} ({row['status']})"
        if row["method"] == "GET" and changed:
            yield Violation("I20", row["t"], f"{asked} changed what is in force")
        elif row["status"] in REFUSED and changed and not (row["principal"] and row["hold_asked"]):
            yield Violation("I20", row["t"], f"{asked} was refused and changed what is in force")
        elif 200 <= row["status"] < 300 and not row["principal"] and row["path"].startswith("/api/"):
            yield Violation("I20", row["t"], f"{asked} was done for nobody")
    for row in evidence.of_bot("resume"):
        if not row["operator"]:
            yield Violation("I20", row["t"], "HOLD was left by nobody")


def check_two_people(evidence: Evidence) -> Iterator[Violation]:
    """I23, where the Two-Man Rule is on: each resume has an approval of its own, by somebody else, in time, of just
    this. The ledger's table has who and when; rows `approval_used` (id, digest) what it was held against when used."""
    if not evidence.two_man:
        return
    approvals = {str(row["id"]): row for row in evidence.ledger.approvals}
    approved = {id_: row for id_, row in approvals.items() if row["state"] == "APPROVED"}
    for row in approved.values():
        told = _not_two(row)
        if told is not None:
            yield Violation("I23", evidence.end_s, f"approval {row['id']}: {told}")
    used: set[str] = set()
    for row in evidence.of_bot("approval_used"):
        id_ = str(row["id"])
        if id_ in used:
            yield Violation("I23", row["t"], f"approval {id_} was used twice")
        used.add(id_)
        if id_ not in approved:
            yield Violation("I23", row["t"], f"approval {id_} was used and never given")
        elif row["digest"] != approved[id_]["digest"]:
            yield Violation("I23", row["t"], f"approval {id_} was given for something else")
    lifts = [row for row in approved.values() if _leaves_hold(row)]
    resumes = [row for row in evidence.of_bot("resume") if row.get("mode") == "RUN"]
    if len(resumes) > len(lifts):
        text = f"{len(resumes)} resumes, and {len(lifts)} approvals of one"
        yield Violation("I23", resumes[len(lifts)]["t"], text)


def _not_two(row: Row) -> str | None:
    if not row["decided_by"] or row["decided_by"] == row["proposer"]:
        return f"{row['proposer']} asked and {row['decided_by'] or 'nobody'} approved"
    if row["decided_ns"] is None or row["decided_ns"] > row["expires_ns"]:
        return "it had expired"
    return None


def _leaves_hold(row: Row) -> bool:
    try:
        change = json.loads(row["change"])
    except (TypeError, ValueError):
        return False
    return isinstance(change, dict) and change.get("mode") in ("RUN", "DRAIN")
