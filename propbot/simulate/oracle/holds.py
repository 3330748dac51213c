"""I10 and I24: a HOLD is quick, and nothing that is dead stands in its way."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, field

from propbot.simulate.oracle.evidence import Evidence, Row, Violation
from propbot.simulate.oracle.modes import PERSISTED_S, Modes

ORDERS_S = 0.05
WIRE_S = 0.05
"""On its way to the venue: latency, and the moment until it is read there."""
CANCELS_S = 1.0
ASKED_S = 0.05
FAULT_MEMORY_S = 120.0
"""A venue that had a fault so lately may not be reachable."""
_RESTING = ("NEW", "PARTIALLY_FILLED")
_NEW_RISK = ("open", "close")


@define
class _Hold:
    """A HOLD that began at `t`, and what is still owed to it."""

    t: float
    persisted: bool = False
    resting: dict[str, str] = field(factory=dict)
    """Our orders that rested when it began, by client id → venue."""

    def owes(self, t: float) -> str | None:
        if not self.persisted and t - self.t > PERSISTED_S:
            self.persisted = True
            return f"the HOLD of {self.t:g} was not durable {PERSISTED_S:g} s later"
        return None


@define
class _Watch:
    hold: _Hold | None = None
    resting: dict[str, str] = field(factory=dict)
    purposes: dict[str, str] = field(factory=dict)
    ended: set[str] = field(factory=set)
    fault_t: dict[str, float] = field(factory=dict)
    broken_disks: int = 0

    def feed(self, row: Row) -> Iterator[str]:
        t, kind = float(row["t"]), row["kind"]
        yield from self._overdue(t)
        if row["who"] == "venue":
            yield from self._hear_venue(row, t)
        elif row["who"] == "harness" and kind == "disk":
            self.broken_disks += 1 if row["broken"] else -1
            if self.hold is not None and self.broken_disks:
                self.hold.persisted = True
        elif kind in ("crash", "start"):
            self.hold = None
        elif kind == "order_send":
            self.purposes[str(row["client_order_id"])] = str(row["purpose"])
        elif kind == "state_saved" and self.hold is not None and row["mode"] == "HOLD":
            self.hold.persisted = True
        elif kind == "mode":
            self._change(row, t)

    def _change(self, row: Row, t: float) -> None:
        if row["mode"] != "HOLD":
            self.hold = None
        elif self.hold is None:
            self.hold = _Hold(t, persisted=self.broken_disks > 0, resting=dict(self.resting))

    def _hear_venue(self, row: Row, t: float) -> Iterator[str]:
        kind, venue, client_order_id = row["kind"], str(row["venue"]), str(row.get("client_order_id"))
        if kind == "fault":
            self.fault_t[venue] = t
        elif kind == "order":
            purpose = self.purposes.get(client_order_id)
            if self.hold is not None and purpose in _NEW_RISK and t - self.hold.t > ORDERS_S + WIRE_S:
                yield f"{venue} got the {purpose} order {client_order_id} {t - self.hold.t:g} s after the HOLD"
        elif kind == "order_reply" and row.get("status") in _RESTING and client_order_id in self.purposes:
            if client_order_id not in self.ended:  # an answer that was delayed may tell of what is long over
                self.resting[client_order_id] = venue
        elif kind in ("cancel", "cancel_reply", "order_reply", "order_end", "trade"):
            self.ended.add(client_order_id)
            gone = [client_order_id] if client_order_id in self.resting else []
            if row.get("all"):
                gone = [each for each, of in self.resting.items() if of == venue]
            for each in gone:
                self._forget(each)

    def _forget(self, client_order_id: str) -> None:
        self.resting.pop(client_order_id, None)
        if self.hold is not None:
            self.hold.resting.pop(client_order_id, None)

    def _overdue(self, t: float) -> Iterator[str]:
        hold = self.hold
        if hold is None:
            return
        told = hold.owes(t)
        if told is not None:
            yield told
        if hold.resting and t - hold.t > CANCELS_S:
            for client_order_id, venue in hold.resting.items():
                if t - self.fault_t.get(venue, -FAULT_MEMORY_S) >= FAULT_MEMORY_S:
                    yield f"{venue} heard of no cancel of {client_order_id} {CANCELS_S:g} s after the HOLD"
            hold.resting = {}


def check_hold_speed(evidence: Evidence) -> Iterator[Violation]:
    """I10. Where the disk is broken the HOLD can't be durable; a kill ends what was owed."""
    watch = _Watch()
    for row in [*evidence.rows, {"t": evidence.end_s, "who": "end", "kind": "end"}]:
        for told in watch.feed(row):
            yield Violation("I10", row["t"], told)


def check_kill_independence(evidence: Evidence) -> Iterator[Violation]:
    """I24: once a HOLD was asked for, it is in force in memory, whatever else is dead."""
    modes = Modes()
    asked: Row | None = None
    for row in [*evidence.rows, {"t": evidence.end_s, "who": "end", "kind": "end"}]:
        if asked is not None and row["t"] - asked["t"] > ASKED_S:
            if modes.mode not in (None, "HOLD"):
                dead = ", ".join(map(str, asked["dead"])) or "nothing"
                yield Violation("I24", asked["t"], f"a HOLD was asked for and the mode is {modes.mode}; dead: {dead}")
            asked = None
        if row["who"] == "bot":
            modes.feed(row)
            # in force: whether it was left since, and by whom, is I11's
            asked = None if row["kind"] in ("crash", "start") or modes.mode == "HOLD" else asked
        elif (row["who"], row["kind"]) == ("harness", "hold_asked"):
            asked = row if modes.mode not in (None, "HOLD") else None
