"""Incidents: opened once, told step by step, acknowledged once, resolved when the cause is gone, and durable."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from attrs import define
from trio.testing import MockClock

from propbot.domain.errors import LedgerError
from propbot.domain.status import Incident
from propbot.kit.crash import CrashPoints
from propbot.kit.disk import open_sqlite
from propbot.kit.threads import open_inline_worker
from propbot.ledger.store import open_ledger
from propbot.status import incidents as module
from propbot.status.incidents import Incidents


@define
class HandClock:
    now_ns: int = 1_000

    def wall_ns(self) -> int:
        self.now_ns += 1
        return self.now_ns

    def mono_s(self) -> float:
        return trio.current_time()


@pytest.fixture
def book() -> Incidents:
    return Incidents(HandClock())


def test_an_incident_is_opened_once_while_it_is_open(book: Incidents) -> None:
    first = book.open("P0", "guard_trip", "recon", "differs", {"exposure_base": "0.01"})
    assert book.open("P0", "guard_trip", "recon", "differs") is first
    book.resolve(first.id, "agrees again")
    again = book.open("P0", "guard_trip", "recon", "differs")
    assert [incident.id for incident in book.all()] == [again.id, first.id]
    assert [incident.id for incident in book.open_ones()] == [again.id]
    assert first.steps[0].details == {"exposure_base": "0.01"}


def test_the_first_acknowledgement_and_the_first_resolution_stay(book: Incidents) -> None:
    incident = book.open("P1", "crash", "task:telegram", "died")
    book.acknowledge(incident.id, "ann", "looking")
    assert book.acknowledge(incident.id, "bob", "me too").acknowledged_by == "ann"
    book.resolve_of("task:telegram", "runs again")
    resolved = book.get(incident.id)
    book.resolve(incident.id, "again")
    assert book.get(incident.id) == resolved
    assert [step.step for step in resolved.steps] == ["opened", "acknowledged", "resolved"]
    assert book.acknowledge(99, "ann", "") is None


def test_a_component_counts_as_acknowledged_once_each_of_its_open_incidents_is(book: Incidents) -> None:
    assert not book.acknowledged("kill_caps"), "nothing that anybody could have seen"
    loss = book.open("P0", "guard_trip", "kill_caps", "the day's loss")
    size = book.open("P0", "guard_trip", "kill_caps", "total notional")
    book.acknowledge(loss.id, "ann", "")
    assert not book.acknowledged("kill_caps")
    book.acknowledge(size.id, "ann", "")
    assert book.acknowledged("kill_caps")


def test_what_is_noted_stands_in_every_open_timeline_and_a_long_one_keeps_its_beginning_and_end(
    book: Incidents,
) -> None:
    old = book.open("P0", "guard_trip", "hedge", "naked")
    book.resolve(old.id, "closed")
    now = book.open("P0", "guard_trip", "recon", "differs")
    for number in range(300):
        book.note("hold", f"cause {number}")
    assert len(book.get(old.id).steps) == 2
    steps = book.get(now.id).steps
    assert len(steps) == module.STEPS_MAX
    assert (steps[0].step, steps[-1].text) == ("opened", "cause 299")


def test_old_incidents_leave_the_memory_resolved_and_saved_ones_first(
    book: Incidents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT_MAX", 3)
    ids = [book.open("P1", "k", "c", str(number)).id for number in range(3)]
    book.resolve(ids[1], "over")
    newest = book.open("P1", "k", "c", "unsaved ones stay").id
    assert [incident.id for incident in book.all()] == [newest, *reversed(ids)]
    book._unsaved.clear()
    book.open("P1", "k", "c", "newer")
    assert ids[1] not in [incident.id for incident in book.all()]


@define
class FailingLedger:
    failures: int
    saved: list[Incident]

    async def save_incident(self, incident: Incident) -> None:
        await trio.lowlevel.checkpoint()
        if self.failures:
            self.failures -= 1
            raise LedgerError("disk I/O error")
        self.saved.append(incident)


async def test_a_failing_disk_loses_no_incident(book: Incidents, autojump_clock: MockClock) -> None:
    ledger = FailingLedger(3, [])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(book.run, ledger)
        first = book.open("P0", "guard_trip", "ledger", "a write failed")
        await trio.sleep(0.7)
        book.acknowledge(first.id, "ann", "")
        with trio.fail_after(5):
            await book.wait_saved(first.id)
        assert ledger.saved[-1] == book.get(first.id)
        nursery.cancel_scope.cancel()


async def test_the_ledger_keeps_the_whole_story_over_a_restart_and_journals_it(
    tmp_path: Path, book: Incidents, autojump_clock: MockClock
) -> None:
    async with open_ledger(
        tmp_path / "ledger.db", clock=book.clock, open_worker=open_inline_worker, open_connection=open_sqlite,
        crash=CrashPoints(),
    ) as ledger, trio.open_nursery() as nursery:
        nursery.start_soon(book.run, ledger)
        first = book.open("P0", "guard_trip", "recon", "differs", {"lots_live": 2, "binance-um.book_age_ms": None})
        await book.wait_saved(first.id)
        book.note("cancel", "0 orders left")
        second = book.open("P0", "guard_trip", "hedge", "naked")
        book.acknowledge(first.id, "ann", "a foreign trade")
        book.resolve(second.id, "closed")
        for incident in (first, second):
            await book.wait_saved(incident.id)
        after, last_id = await ledger.last_incidents(10)
        assert after == tuple(reversed(book.all()))
        assert last_id == second.id
        assert (await ledger.incidents_page(1))[0] == (book.get(second.id),)
        only_open, _ = await ledger.last_incidents(1)
        assert [incident.id for incident in only_open] == [first.id], "an open one is never left out for newer ones"
        events, _ = await ledger.events_page(10)
        assert [event.message for event in reversed(events)] == [
            "incident 1 opened: differs",
            "incident 1 acknowledged: by ann: a foreign trade",
            "incident 2 opened: naked",
            "incident 2 resolved: closed",
        ]
        again = Incidents(book.clock)
        again.load(after, last_id)
        assert again.open("P0", "guard_trip", "recon", "differs").id == first.id
        assert again.open("P0", "guard_trip", "recon", "else").id == second.id + 1
        nursery.cancel_scope.cancel()


@pytest.fixture(autouse=True)
def small_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.2)
