"""I1: every order that left was allowed by the table of DESIGN section 2 at the moment of its first byte.

The bot says what it believed (`order_send`: mode, exposure before and after). The oracle keeps its own account of
both from the mode rows and the venues' trades, and believes neither blindly.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from attrs import define, field

from propbot.simulate.oracle.evidence import TERMINAL, Evidence, Row, Violation, number, signed_qty
from propbot.simulate.oracle.modes import Modes

ZERO = Decimal(0)


@define
class _Watch:
    evidence: Evidence
    modes: Modes = field(factory=Modes)
    exposure: Decimal = ZERO
    """Net base of our own trades, as the venues booked them."""
    positions: dict[str, Decimal] = field(factory=dict)
    """The same, venue by venue."""
    unresolved: set[str] = field(factory=set)
    """Sent, and the bot has no outcome yet: what it believes may differ from the venue's truth."""
    sent: set[str] = field(factory=set)

    def judge_send(self, row: Row) -> Iterator[str]:
        told = self._table(row)
        if told is not None:
            yield told
        if row.get("mode") != self.modes.mode and self.modes.mode is not None:
            yield f"the gate saw {row.get('mode')}, the mode was {self.modes.mode}"

    def _table(self, row: Row) -> str | None:
        mode, purpose = self.modes.mode, row["purpose"]
        if mode is None:
            return "no bot was alive, or its mode was not known yet"
        if self.modes.flags_stop:
            return "safe_mode" if self.modes.safe_mode else "dry_run_only"
        if mode == "DRAIN" and purpose == "open":
            return "DRAIN opens nothing"
        return self._hold_table(row, purpose) if mode == "HOLD" else None

    def _hold_table(self, row: Row, purpose: str) -> str | None:
        if purpose not in ("hedge", "unwind"):
            return "HOLD"
        if self.evidence.hold_exit != "unwind":
            return f"HOLD with HOLD_EXIT={self.evidence.hold_exit}"
        age_s = row["t"] - self.modes.hold_t
        if age_s > self.evidence.limits.hedge_deadline_s:
            return f"{age_s:g} s after the HOLD"
        if purpose == "unwind" and self._reduces_a_perp(row) and not row["reduce_only"]:
            return "HOLD: a perp is unwound with reduceOnly"
        return self._lowers(row)

    def _reduces_a_perp(self, row: Row) -> bool:
        """Undoing half of a close makes a position larger again, which no reduceOnly order can."""
        if self.evidence.venues[row["venue"]].kind != "perp":
            return False
        held, change = self.positions.get(str(row["venue"]), ZERO), signed_qty(row)
        return held * change < 0 and abs(change) <= abs(held)

    def _lowers(self, row: Row) -> str | None:
        before, after = number(row["exposure_before"]), number(row["exposure_after"])
        change = signed_qty(row)
        if after - before != change:
            return f"HOLD: exposure {before} to {after} is not what {row['side']} {row['qty']} does"
        if not abs(after) < abs(before):
            return f"HOLD: exposure {before} would become {after}"
        if not self.unresolved and not abs(self.exposure + change) < abs(self.exposure):
            return f"HOLD: the venues' exposure {self.exposure} would become {self.exposure + change}"
        return None

    def note(self, row: Row) -> None:
        """Everything but sends."""
        kind, client_order_id = row["kind"], str(row.get("client_order_id"))
        if row["who"] == "bot":
            self.modes.feed(row)
            if kind == "order_state" and row["state"] in TERMINAL:
                self.unresolved.discard(client_order_id)
        elif kind == "trade" and self.evidence.is_ours(client_order_id):
            change, venue = self.evidence.base_change(row["venue"], row), str(row["venue"])
            self.exposure += change
            self.positions[venue] = self.positions.get(venue, ZERO) + change


def check_gate(evidence: Evidence) -> Iterator[Violation]:
    """I1."""
    watch = _Watch(evidence)
    for row in evidence.rows:
        who_kind = (row["who"], row["kind"])
        client_order_id = str(row.get("client_order_id"))
        if who_kind == ("bot", "order_send"):
            for told in watch.judge_send(row):
                yield Violation("I1", row["t"], f"{row['purpose']} order {client_order_id} was sent: {told}")
            watch.sent.add(client_order_id)
            watch.unresolved.add(client_order_id)
            continue
        watch.note(row)
        if who_kind == ("venue", "order") and evidence.is_ours(client_order_id) and client_order_id not in watch.sent:
            yield Violation("I1", row["t"], f"{row['venue']} got {client_order_id}, which never passed the gate")
