"""I19, I21, I22: what comes to rest is well or says why not, holds on to nothing, and comes to the same rest again."""

from __future__ import annotations

from collections.abc import Iterator

from propbot.simulate.oracle.evidence import Evidence, Violation

HEARTBEAT_S = 5.0
SLACK = 12
"""Requests, sessions and retries that may be under way at one look and not at the other."""


def check_liveness(evidence: Evidence) -> Iterator[Violation]:
    """I19: rows `at_rest` say how the bot was after the quiet time, before anybody touched it."""
    if not evidence.quiesced:
        return
    for row in evidence.of_harness("at_rest"):
        t = float(row["t"])
        if row["mode"] is None:
            yield Violation("I19", t, "no bot is alive though every fault is off")
            continue
        causes = [cause for cause in row["causes"] if cause["source"] and cause["reason"]]
        if row["mode"] == "HOLD":
            if not causes:
                yield Violation("I19", t, "HOLD, and nobody says why")
        elif row["mode"] != "RUN":
            yield Violation("I19", t, f"{row['mode']} though every fault is off")
        elif row["unwell"]:
            yield Violation("I19", t, f"every fault is off, no HOLD, and {'; '.join(row['unwell'])}")
        if row["heartbeat_age_s"] > HEARTBEAT_S:
            yield Violation("I19", t, f"the last heartbeat is {row['heartbeat_age_s']:g} s old")
        for task in row["dead_tasks"]:
            if row["mode"] != "HOLD":
                yield Violation("I19", t, f"task {task} is dead in {row['mode']}")


def check_resources(evidence: Evidence) -> Iterator[Violation]:
    """I21: the first row `resources` is the measure for the last."""
    rows = list(evidence.of_harness("resources"))
    if len(rows) < 2 or not evidence.quiesced:
        return
    first, last = rows[0]["counts"], rows[-1]["counts"]
    for name, count in last.items():
        if count > first.get(name, 0) + SLACK:
            yield Violation("I21", rows[-1]["t"], f"{count} {name}, {first.get(name, 0)} in the beginning")


def check_determinism(evidence: Evidence) -> Iterator[Violation]:
    """I22: the traces of all runs of this seed, as hashes."""
    if len(set(evidence.trace_hashes)) > 1:
        kinds = ", ".join(each[:16] for each in sorted(set(evidence.trace_hashes)))
        yield Violation("I22", evidence.end_s, f"the same seed made different traces: {kinds}")
