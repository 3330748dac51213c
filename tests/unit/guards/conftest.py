"""Monotonic time that only the test moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from attrs import define

from propbot.guards.watch import Finding, Guard, Watch
from tests.incident_entries import entry_of


@define
class Seconds:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@define
class Watched:
    """A guard under watch, on a hand-driven clock, and all that it told."""

    watch: Watch
    clock: Seconds
    trips: list[tuple[str, str]]
    reports: list[Finding]

    @property
    def last(self) -> Finding:
        return self.reports[-1]

    def run_s(self, seconds: float, step_s: float = 0.1) -> None:
        """Look every `step_s` for that long."""
        end = self.clock.now + seconds
        while self.clock.now < end - 1e-9:
            self.clock.now += step_s
            self.watch.look()


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def watched(seconds: Seconds) -> Callable[[Guard], Watched]:
    def put_under_watch(guard: Guard) -> Watched:
        trips: list[tuple[str, str]] = []
        reports: list[Finding] = []
        watch = Watch(
            guard, lambda reason, source: trips.append((reason, source)), lambda id, title, f: reports.append(f)
        )
        return Watched(watch, seconds, trips, reports)

    return put_under_watch


@pytest.fixture(autouse=True)
def documented_trips(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every reason that a guard gives here has an entry in docs/incidents.md."""
    seen: set[tuple[str, str]] = set()
    look = Watch.look

    def look_and_note(self: Watch) -> None:
        look(self)
        ours = type(self.guard).__module__.startswith("propbot.")
        if ours and self.tripped is not None:
            seen.add((self.tripped, f"guard:{self.guard.id}"))

    monkeypatch.setattr(Watch, "look", look_and_note)
    yield
    unknown = sorted((reason, source) for reason, source in seen if entry_of(reason, source) is None)
    assert not unknown, f"no entry in docs/incidents.md for {unknown}"
