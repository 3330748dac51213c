"""What a preflight asks for and what it finds, as values; `preflight` is what asks."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

from attrs import define, field, frozen

from propbot.domain.account import MarginSetup
from propbot.domain.instruments import Instrument, VenueId
from propbot.domain.status import Metric

TOTAL_S = 5.0


class Verdict(StrEnum):
    OK = "OK"
    WARN = "WARN"
    FAILED = "FAILED"


@frozen
class Check:
    """One check's outcome. `name` carries the unit of `measured`, None of which is "unknown"."""

    name: str
    verdict: Verdict
    text: str
    measured: Metric = None


@frozen
class Preflight:
    """What one run found. `when_ns` is wall clock."""

    when_ns: int
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        return not self.failures

    @property
    def failures(self) -> tuple[str, ...]:
        return tuple(check.text for check in self.checks if check.verdict is Verdict.FAILED)

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(check.text for check in self.checks if check.verdict is Verdict.WARN)

    @property
    def measured(self) -> dict[str, Metric]:
        return {check.name: check.measured for check in self.checks}


@frozen
class DiskSeen:
    problem: str | None
    free_mb: int | None


@frozen
class PreflightRules:
    symbol: str
    clock_ms_max: float
    disk_free_mb_min: int
    withdraw_refused: bool
    """A key that can withdraw, or whose venue does not say though it should, fails; else it is a warning."""
    total_s: float = TOTAL_S


@define
class Found:
    """What one run has learned so far."""

    checks: dict[str, Check] = field(factory=dict)
    instruments: dict[VenueId, Instrument] = field(factory=dict)
    margins: dict[VenueId, MarginSetup] = field(factory=dict)
    mids: dict[VenueId, Decimal] = field(factory=dict)

    def say(self, name: str, verdict: Verdict, text: str, measured: Metric = None) -> None:
        self.checks[name] = Check(name, verdict, text, measured)
