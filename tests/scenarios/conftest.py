"""Every scenario is repeatable: Trio schedules deterministically and its batches are shuffled from a fixed seed.
Every HOLD that one enters has an entry in docs/incidents.md. And none leaves a secret anywhere (I16)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from propbot.control.modes import ModeKeeper
from propbot.kit.virtual import repeatable_scheduling
from tests.incident_entries import entry_of
from tests.secret_search import Search, searched


@pytest.fixture(autouse=True)
def repeatable() -> Iterator[None]:
    with repeatable_scheduling():
        yield


@pytest.fixture(autouse=True)
def documented_holds(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The test fails afterwards, so that it stands in nobody's way while it runs."""
    seen: list[tuple[str, str]] = []
    hold = ModeKeeper.hold

    def note_and_hold(self: ModeKeeper, reason: str, source: str, *, winddown_exempt: bool = False) -> None:
        seen.append((reason, source))
        hold(self, reason, source, winddown_exempt=winddown_exempt)

    monkeypatch.setattr(ModeKeeper, "hold", note_and_hold)
    yield
    unknown = [(reason, source) for reason, source in seen if entry_of(reason, source) is None]
    assert not unknown, f"no entry in docs/incidents.md for {unknown}"


@pytest.fixture(autouse=True)
def secret_search(monkeypatch: pytest.MonkeyPatch) -> Iterator[Search]:
    """A test may add what it heard (`heard`) and secrets of its own (`secrets`). It fails afterwards."""
    with searched(monkeypatch) as search:
        yield search
    assert search.found() == []
