"""I15: nothing that was durable is gone after a kill, and each start knows within 30 s where it stands."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, field

from propbot.simulate.oracle.evidence import Evidence, Row, Violation, fill_key

RECOVERY_S = 30.0


def check_restarts(evidence: Evidence) -> Iterator[Violation]:
    """I15."""
    yield from _check_kept(evidence)
    yield from _check_recovers(evidence)


def _check_kept(evidence: Evidence) -> Iterator[Violation]:
    """What was committed before the last kill is in the ledger at the end."""
    kills = [float(row["t"]) for row in evidence.of_bot("crash")]
    if not kills:
        return
    intents = {str(row["id"]) for row in evidence.ledger.intents}
    orders = {str(row["client_order_id"]) for row in evidence.ledger.orders}
    fills = {fill_key(str(row["venue"]), row) for row in evidence.ledger.fills}
    for row in evidence.of_bot("intent_committed", "fill_booked"):
        if row["t"] > kills[-1]:
            continue
        if row["kind"] == "fill_booked":
            key = fill_key(str(row["venue"]), row)
            gone = [] if key in fills else [f"fill {key}"]
        else:
            gone = [] if str(row["intent_id"]) in intents else [f"intent {row['intent_id']}"]
            gone += [f"order {each}" for each in row["client_order_ids"] if str(each) not in orders]
        for what in gone:
            yield Violation("I15", kills[-1], f"{what} was durable at {row['t']:g} and is gone")


@define
class _Start:
    due: float
    missing: set[str] = field(factory=set)
    done: bool = False

    def hear(self, row: Row) -> None:
        if row["kind"] == "mode" and row["mode"] == "HOLD":
            self.done = True
        elif row["kind"] == "recon" and row["agrees"]:
            self.missing.discard(str(row["venue"]))
            self.done = self.done or not self.missing


def _check_recovers(evidence: Evidence) -> Iterator[Violation]:
    """Every venue agrees, or a HOLD is entered, before the deadline. Killed again earlier: the next start counts."""
    start: _Start | None = None
    for row in [*evidence.of_bot("start", "crash", "mode", "recon"), {"t": evidence.end_s, "kind": "end"}]:
        if start is not None and not start.done and row["t"] > start.due:
            unheard = ", ".join(sorted(start.missing))
            yield Violation("I15", start.due, f"{RECOVERY_S:g} s after a start: no HOLD, and no agreement of {unheard}")
            start = None
        if row["kind"] == "start":
            start = _Start(float(row["t"]) + RECOVERY_S, set(evidence.venues))
        elif row["kind"] == "crash":
            start = None
        elif start is not None and row["kind"] in ("mode", "recon"):
            start.hear(row)
