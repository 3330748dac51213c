"""Resyncs within a minute, snapshots that differ, and the minute without either."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from propbot.domain.status import Health
from propbot.guards.book_integrity import BookIntegrityGuard, BookSeen


class Books:
    def __init__(self) -> None:
        self.seen = {"binance-um": BookSeen(0, 0, 0), "binance-spot": BookSeen(0, 0, 0)}

    def resync(self, venue: str = "binance-um") -> None:
        self.seen[venue] = evolve(self.seen[venue], resyncs=self.seen[venue].resyncs + 1, loss_reason="a diff missing")

    def check(self, *, differs: bool) -> None:
        before = self.seen["binance-um"]
        self.seen["binance-um"] = BookSeen(
            before.resyncs + differs, before.checks + 1, before.mismatches + differs, "differs"
        )


@pytest.fixture
def books() -> Books:
    return Books()


@pytest.fixture
def guarded(watched: Any, seconds: Any, books: Books) -> Any:
    return watched(BookIntegrityGuard(lambda: books.seen, seconds))


def test_three_resyncs_within_a_minute_trip_and_two_only_warn(guarded: Any, books: Books) -> None:
    for _ in range(2):
        books.resync()
        guarded.run_s(10)
    assert (guarded.last.health, guarded.trips) == (Health.WARN, [])
    assert "a diff missing" in guarded.last.summary
    books.resync()
    guarded.run_s(1)
    assert guarded.trips == [("binance-um: 3 resyncs within a minute", "guard:book_integrity")]


def test_resyncs_of_different_venues_or_minutes_do_not_add_up(guarded: Any, books: Books) -> None:
    for venue in ("binance-um", "binance-um", "binance-spot", "binance-spot"):
        books.resync(venue)
    guarded.run_s(61)
    books.resync()
    guarded.run_s(1)
    assert guarded.trips == []


def test_it_clears_after_a_minute_without_a_resync(guarded: Any, books: Books) -> None:
    for _ in range(3):
        books.resync()
    guarded.run_s(30)
    books.resync()
    guarded.run_s(59)
    assert guarded.watch.blocker is not None
    guarded.run_s(1.5)
    assert guarded.watch.blocker is None
    assert guarded.last.health is Health.OK
    assert len(guarded.trips) == 1, "a fourth is no cause of its own"


def test_two_snapshots_that_differ_trip_and_one_that_agrees_in_between_saves(guarded: Any, books: Books) -> None:
    for differs in (True, False, True):
        books.check(differs=differs)
        guarded.run_s(61)
    assert guarded.trips == []
    books.check(differs=True)
    guarded.run_s(1)
    assert guarded.trips == [
        ("binance-um: the book differed from the venue's snapshot twice running", "guard:book_integrity")
    ]
    guarded.run_s(61)
    assert guarded.watch.blocker is None
    assert guarded.last.metrics["binance-um.snapshot_mismatches"] == 3
