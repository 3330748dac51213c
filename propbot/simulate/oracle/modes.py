"""The mode as the trace tells it, over all restarts: what the gate must have seen, and who left HOLD (I11)."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, field

from propbot.simulate.oracle.evidence import Evidence, Row, Violation

HARMLESS = frozenset({"startup", "shutdown"})
SAME_REQUEST_S = 0.001
PERSISTED_S = 0.25
"""I10: a HOLD is durable by then. A kill before that may forget it."""


@define
class Modes:
    """Fed with every bot row in order. `mode` is None while no bot is alive."""

    mode: str | None = None
    hold_t: float = 0.0
    safe_mode: bool = False
    dry_run_only: bool = False
    _flags_t: float = -1.0
    _before: str | None = None
    """The mode that the last life ended in."""
    causes: set[str] = field(factory=set)
    texts: list[str] = field(factory=list)
    """Sources and reasons of the HOLD in force."""
    _durable: bool = False
    _disks_broken: int = 0
    _unsaveable: bool = False
    """The disk was broken at some moment of this HOLD: only `state_saved` proves that it is durable."""
    _resumed: bool = False
    _last_t: float = 0.0

    @property
    def flags_stop(self) -> bool:
        """safe_mode or dry_run_only forbid orders; not the wind-down of a HOLD of the same request."""
        set_with_hold = self.mode == "HOLD" and abs(self._flags_t - self.hold_t) <= SAME_REQUEST_S
        return (self.safe_mode or self.dry_run_only) and not set_with_hold

    def feed(self, row: Row) -> str | None:
        """What I11 says against this row, if anything."""
        kind, t = row["kind"], float(row["t"])
        told = None
        if kind == "disk":
            self._disks_broken += 1 if row["broken"] else -1
            self._unsaveable = self._unsaveable or self._disks_broken > 0
            return None
        if kind in ("crash", "start"):
            self._end_life(t)
        if kind == "mode":
            told = self._change(row, t)
            self._resumed = False
        elif kind == "hold_cause":
            self._add_cause(row)
        elif kind == "resume":
            self._resumed = bool(row.get("operator"))
        elif kind == "state_saved":
            self._durable = self._durable or row["mode"] == "HOLD"
        if kind in ("flags", "start"):
            self._take_flags(row, t)
        self._last_t = t
        return told

    def _end_life(self, t: float) -> None:
        if self.mode is not None:
            self._before = self.mode
            self._durable = self._durable or (t - self.hold_t > PERSISTED_S and not self._unsaveable)
        self.mode = None
        self._resumed = False

    def _take_flags(self, row: Row, t: float) -> None:
        safe_mode = bool(row.get("safe_mode", self.safe_mode))
        dry_run_only = bool(row.get("dry_run_only", self.dry_run_only))
        if (safe_mode and not self.safe_mode) or (dry_run_only and not self.dry_run_only):
            self._flags_t = t
        self.safe_mode, self.dry_run_only = safe_mode, dry_run_only

    def _add_cause(self, row: Row) -> None:
        self.causes.add(str(row["source"]))
        self.texts.append(f"{row['source']} {row.get('reason', '')}")

    def _change(self, row: Row, t: float) -> str | None:
        starting, was, now = self.mode is None, self.mode, str(row["mode"])
        if starting:
            was, self._before = self._before, None
        if now == "HOLD":
            if was != "HOLD":
                self.hold_t, self.causes, self.texts, self._durable = t, set(), [], False
                self._unsaveable = self._disks_broken > 0
            self._add_cause(row)
            self.mode = now
            return None
        self.mode = now
        if starting:
            return self._check_start(was, now)
        if was == "HOLD" and not self._resumed:
            return f"{now} after a HOLD ({'; '.join(self.texts)}) by {row['source']}, and no operator resumed"
        return None

    def _check_start(self, was: str | None, now: str) -> str | None:
        if was == "HOLD" and self._durable and not self.causes <= HARMLESS:
            return f"a restart left the HOLD of {sorted(self.causes - HARMLESS)} for {now}"
        return None


def check_sticky(evidence: Evidence) -> Iterator[Violation]:
    """I11: only an operator leaves HOLD; testnet and live start in it."""
    modes = Modes()
    for row in evidence.rows:
        if row["who"] != "bot" and row["kind"] != "disk":
            continue
        starting = modes.mode is None and row["kind"] == "mode"
        told = modes.feed(row)
        if told is None and starting and modes.mode != "HOLD" and evidence.profile != "paper":
            told = f"{evidence.profile} started in {modes.mode}"
        if told is not None:
            yield Violation("I11", row["t"], told)


def final_hold(evidence: Evidence) -> list[str]:
    """Sources and reasons of the HOLD that the run ended in; empty if it ended in another mode."""
    modes = Modes()
    for row in evidence.rows:
        if row["who"] == "bot":
            modes.feed(row)
    return modes.texts if modes.mode == "HOLD" else []
