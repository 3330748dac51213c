"""I20 and I23: who changed something was somebody, and two people where two are asked for."""

from __future__ import annotations

from collections.abc import Iterator

from propbot.simulate.oracle.evidence import Evidence, Row, Violation
from propbot.simulate.oracle.modes import Modes

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
    """I23, where the Two-Man Rule is on: HOLD is left on an approval of its own: by somebody else than who asked, in
    time, of just what was asked for. Rows `approval`: `id`, `state`, `proposer`, `by`, `digest` (of the change and the
    risk settings as they are then), `expires_t` (our clock); a `resume` names its `approval` and `approver`."""
    if not evidence.two_man:
        return
    latest: dict[str, Row] = {}
    asked: dict[str, Row] = {}
    used: set[str] = set()
    modes = Modes()
    for row in evidence.of_bot("approval", "resume", "mode", "hold_cause", "start", "crash"):
        if row["kind"] == "approval":
            id_ = str(row["id"])
            asked.setdefault(id_, row)
            latest[id_] = row
            if row["state"] == "APPROVED":
                yield from _judge_approval(asked[id_], row)
        elif row["kind"] == "resume" and modes.mode == "HOLD":
            id_ = str(row.get("approval") or "")
            told = _judge_resume(row, latest.get(id_), id_ in used)
            used.add(id_)
            if told is not None:
                yield Violation("I23", row["t"], f"HOLD was left by {row['operator']}: {told}")
        modes.feed(row)


def _judge_approval(asked: Row, row: Row) -> Iterator[Violation]:
    told = None
    if not row["by"] or row["by"] == asked["proposer"]:
        told = f"{asked['proposer']} asked and {row['by'] or 'nobody'} approved"
    elif asked["expires_t"] is not None and row["t"] > asked["expires_t"]:
        told = "it had expired"
    elif row["digest"] != asked["digest"]:
        told = "it was given for something else"
    if told is not None:
        yield Violation("I23", row["t"], f"approval {row['id']}: {told}")


def _judge_resume(row: Row, approval: Row | None, used: bool) -> str | None:
    if approval is None or approval["state"] != "APPROVED":
        return "nobody approved that"
    if used:
        return f"approval {approval['id']} was used before"
    if row.get("approver") != approval["by"] or row["operator"] != approval["proposer"]:
        return f"approval {approval['id']} is not theirs"
    return None
