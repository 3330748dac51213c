"""I14 and I17: what lies on the disk is whole: the state file at every moment, the journal's chain to its last row.

Both formats are read here by their description (DESIGN section 13), not by the bot's code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from propbot.simulate.oracle.evidence import Evidence, Row, Violation

GENESIS = "0" * 64
MODES = ("RUN", "DRAIN", "HOLD")


def check_state_file(evidence: Evidence) -> Iterator[Violation]:
    """I14: rows `state_file` hold its content as a kill, a stop or a start found it (None: it was not there)."""
    last = -1
    for row in evidence.of_harness("state_file"):
        if row["content"] is None:
            if last >= 0:
                yield Violation("I14", row["t"], f"the state file of generation {last} is gone")
            continue
        try:
            body = read_state(row["content"])
        except ValueError as error:
            yield Violation("I14", row["t"], f"the state file is bad: {error}")
            continue
        generation = int(body["generation"])
        if generation < last:
            yield Violation("I14", row["t"], f"the state file went back from generation {last} to {generation}")
        last = max(last, generation)


def read_state(content: str) -> dict[str, Any]:
    """ValueError for what is not whole."""
    body = json.loads(content)
    if not isinstance(body, dict) or not {"checksum", "schema", "generation", "mode"} <= body.keys():
        raise ValueError("fields are missing")
    checksum = body.pop("checksum")
    plain = json.dumps(body, sort_keys=True, separators=(",", ":"))
    if hashlib.sha256(plain.encode()).hexdigest() != checksum:
        raise ValueError("its checksum does not match")
    if body["mode"] not in MODES:
        raise ValueError(f"mode {body['mode']!r}")
    return body


def check_chain(evidence: Evidence) -> Iterator[Violation]:
    """I17."""
    previous = GENESIS
    for due, event in enumerate(evidence.ledger.events, start=1):
        told = _broken_link(due, event, previous)
        if told is not None:
            yield Violation("I17", evidence.end_s, f"event {event['id']}: {told}")
            return
        previous = str(event["hash"])
    yield from _check_anchor(evidence)
    yield from _check_mutations(evidence)


def _broken_link(due: int, event: Row, previous: str) -> str | None:
    if event["id"] != due:
        return f"its number should be {due}"
    if event["prev_hash"] != previous:
        return "it does not follow the row before"
    names = ("id", "ts_ns", "level", "kind", "message", "venue", "symbol", "source", "details")
    text = json.dumps([event[name] for name in names], separators=(",", ":"), ensure_ascii=False)
    if hashlib.sha256(f"{previous}\n{text}".encode()).hexdigest() != event["hash"]:
        return "its hash is not that of its content"
    return None


def _check_anchor(evidence: Evidence) -> Iterator[Violation]:
    """The head that the state file keeps, where it keeps one (`audit_head`: id and hash), is in the chain."""
    contents = [row["content"] for row in evidence.of_harness("state_file") if row["content"] is not None]
    try:
        head = read_state(contents[-1]).get("audit_head") if contents else None
    except ValueError:
        return  # that is I14's
    if not isinstance(head, dict) or "id" not in head:
        return
    events = {int(event["id"]): event["hash"] for event in evidence.ledger.events}
    if int(head["id"]) and events.get(int(head["id"])) != head["hash"]:
        yield Violation("I17", evidence.end_s, f"the kept head is event {head['id']}, which the journal does not have")


def _check_mutations(evidence: Evidence) -> Iterator[Violation]:
    """Each change that an operator was told of has a row with the operator's name."""
    told = sum(
        row["status"] == 200 and row["method"] != "GET" and row["before"] != row["after"] and not row["disturbed"]
        for row in evidence.of_harness("api")
    )
    named = sum(str(event["source"]).startswith("operator:") for event in evidence.ledger.events)
    if named < told:
        text = f"{told} changes were acknowledged to operators, and {named} journal rows name one"
        yield Violation("I17", evidence.end_s, text)
