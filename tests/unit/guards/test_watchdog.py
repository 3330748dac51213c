"""A guard that hangs is noticed within a second; a loop that stood still accuses nobody."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import define

from propbot.guards.watchdog import EVERY_S, Watchdog


@define
class Beats:
    beats: int = 0


@define
class Kennel:
    dog: Watchdog
    guards: dict[str, Beats]
    told: list[tuple[str, str]]
    heard: list[str]
    clock: Any

    def run_s(self, seconds: float, *alive: str, step_s: float = EVERY_S) -> None:
        end = self.clock.now + seconds
        while self.clock.now < end - 1e-9:
            self.clock.now += step_s
            for name in alive:
                self.guards[name].beats += 1
            self.dog.look()


@pytest.fixture
def kennel(seconds: Any) -> Kennel:
    guards = {"hedge": Beats(), "recon": Beats()}
    told: list[tuple[str, str]] = []
    heard: list[str] = []
    return Kennel(
        Watchdog(guards, seconds, lambda name, why: told.append((name, why)), heard.append), guards, told, heard,
        seconds,
    )


def test_guards_that_look_are_left_alone(kennel: Kennel) -> None:
    kennel.run_s(60, "hedge", "recon")
    assert kennel.told == []


def test_a_guard_that_hangs_is_told_once_and_within_a_second(kennel: Kennel) -> None:
    kennel.run_s(5, "hedge", "recon")
    kennel.run_s(0.6, "hedge")
    assert kennel.told == []
    kennel.run_s(0.3, "hedge")
    assert kennel.told == [("recon", "recon has not looked for 0.7 s")]
    kennel.run_s(60, "hedge")
    assert len(kennel.told) == 1


def test_a_guard_that_never_began_is_told_too(kennel: Kennel) -> None:
    kennel.run_s(1.2, "hedge")
    assert [name for name, _ in kennel.told] == ["recon"]


def test_a_guard_that_looks_again_is_heard_and_told_again_at_its_next_silence(kennel: Kennel) -> None:
    kennel.run_s(2, "hedge")
    kennel.run_s(1, "hedge", "recon")
    assert kennel.heard == ["recon"]
    kennel.run_s(2, "hedge")
    assert len(kennel.told) == 2


def test_a_loop_that_stood_still_accuses_no_guard(kennel: Kennel) -> None:
    kennel.run_s(5, "hedge", "recon")
    kennel.clock.now += 30.0
    kennel.dog.look()
    kennel.run_s(1, "hedge", "recon")
    assert kennel.told == []
