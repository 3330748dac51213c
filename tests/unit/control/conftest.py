"""A mode keeper on a clock that only the test moves."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import define, field

from propbot.control.modes import ModeKeeper, ModeRules, ModeView
from propbot.domain.mode import HoldExit, Mode
from propbot.kit.level import Level
from propbot.kit.switch import Switch


@define
class HandClock:
    wall: int = 1_790_000_000_000_000_000
    mono: float = 100.0

    def wall_ns(self) -> int:
        return self.wall

    def mono_s(self) -> float:
        return self.mono

    def pass_s(self, seconds: float) -> None:
        self.wall += round(seconds * 1e9)
        self.mono += seconds


@define
class Rows:
    """A trace that needs no event loop."""

    kinds: list[str] = field(factory=list)
    rows: list[dict[str, Any]] = field(factory=list)

    def __call__(self, kind: str, **fields: Any) -> None:
        self.kinds.append(kind)
        self.rows.append({"kind": kind, **fields})


@pytest.fixture
def hand_clock() -> HandClock:
    return HandClock()


@pytest.fixture
def rows() -> Rows:
    return Rows()


@pytest.fixture
def modes(hand_clock: HandClock, rows: Rows) -> ModeKeeper:
    """In RUN; the start's reconciliation is through."""
    view = ModeView(Mode.RUN, safe_mode=False, dry_run_only=False)
    keeper = ModeKeeper(Level(view), Switch(), ModeRules(HoldExit.UNWIND, 5.0), hand_clock, rows)
    keeper.let_trade()
    return keeper
