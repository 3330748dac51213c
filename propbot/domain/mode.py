"""RUN, DRAIN, HOLD: the modes, why a HOLD is one, and the one line that says so everywhere."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from enum import StrEnum

from attrs import field, frozen

from propbot.domain.clock import iso_utc


class Profile(StrEnum):
    PAPER = "paper"
    TESTNET = "testnet"
    LIVE = "live"


class Mode(StrEnum):
    RUN = "RUN"
    DRAIN = "DRAIN"
    HOLD = "HOLD"


class HoldExit(StrEnum):
    UNWIND = "unwind"
    FREEZE = "freeze"


@frozen
class Cause:
    """Why a HOLD was entered: `source` is operator:<name>, guard:<id>, crash:<task>, startup or shutdown."""

    reason: str
    source: str
    since_ns: int
    lasting: bool = False
    """Not carried away by a restart even where its source alone would be: the state was restored from a backup."""


def _as_tuple(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(names)


@frozen
class CancelResult:
    """What the venues say was left after the cancels of a HOLD, and how long it took."""

    left: int | None
    """Own orders still open at the venues that were read back; None while none of them was."""
    seconds: float
    not_read_back: tuple[str, ...] = field(default=(), converter=_as_tuple)
    """Venues that have not said what is left; they are asked again for as long as the HOLD lasts."""

    def words(self) -> str:
        left = "orders left unknown" if self.left is None else f"{self.left} orders left"
        return f"{left} (not read back: {', '.join(self.not_read_back)})" if self.not_read_back else left


@frozen
class HoldRecord:
    """The first cause stays in front; later ones are appended."""

    causes: tuple[Cause, ...] = field()
    cancel: CancelResult | None = None

    @causes.validator
    def _has_a_cause(self, _: object, causes: tuple[Cause, ...]) -> None:
        if not causes:
            raise ValueError("a HOLD without a cause")

    @property
    def first(self) -> Cause:
        return self.causes[0]

    def line(self) -> str:
        """`HOLD since 03:12:09Z by guard:recon: …; 0 orders left`."""
        since = iso_utc(self.first.since_ns)[11:19]
        left = "open orders being read back" if self.cancel is None else self.cancel.words()
        return f"HOLD since {since}Z by {self.first.source}: {self.first.reason}; {left}"


@frozen
class GateState:
    """Everything that the order gate looks at, taken at one moment."""

    mode: Mode
    halted: bool
    """Set in the same step as HOLD, before the scope's tasks have noticed."""
    safe_mode: bool
    dry_run_only: bool
    hold_exit: HoldExit
    hold_age_s: float | None
    """Monotonic seconds since the HOLD; None outside of one."""
    hedge_deadline_s: float
    winddown_exempt: bool = False
    """safe_mode or dry_run_only came in the same request as this HOLD: they do not stop its wind-down."""


@frozen
class ExposureChange:
    """Net base exposure over all venues before and after the order would fill completely."""

    before: Decimal
    after: Decimal
