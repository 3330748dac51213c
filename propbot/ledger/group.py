"""Group commit: what waits together is committed together, and one failing job does not undo its neighbours.

    BEGIN IMMEDIATE ─ SAVEPOINT, job, RELEASE (or ROLLBACK TO) for each ─ COMMIT ─ all are answered

Runs in the worker's thread, which alone touches the connection. Errors are never raised here: they are the jobs'
results (`outcome`), and whatever SQLite complains of becomes a LedgerError of its own for each job; an OverflowError
too, which is what sqlite3 says to an integer that no column holds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import outcome
from attrs import define, frozen

from propbot.domain.errors import LedgerError
from propbot.domain.events import Head
from propbot.kit.threads import Job
from propbot.ledger.chain import read_head

T = TypeVar("T")


@define
class Connected:
    """The one connection, between opening and closing."""

    connection: sqlite3.Connection | None = None
    head: Head | None = None
    """The journal's last row that is durable. Set in the worker's thread, as a whole."""

    def need(self) -> sqlite3.Connection:
        if self.connection is None:
            raise LedgerError("the ledger is not open")
        return self.connection


@frozen
class Read(Generic[T]):
    """A job that changes nothing. Beside writes it runs in their transaction, and sees those before it."""

    connected: Connected
    run: Callable[[sqlite3.Connection], T]

    def __call__(self) -> T:
        return self.run(self.connected.need())


@frozen
class Write(Read[T]):
    """A job that is durable once it is answered, or not there at all."""


def run_group(connected: Connected, jobs: Sequence[Job]) -> None:
    """The worker's `RunBatch`: reads and writes as one group; what opens or closes the connection after them."""
    grouped = [job for job in jobs if isinstance(job.call, Read)]
    connection = connected.connection
    if connection is None or not any(isinstance(job.call, Write) for job in grouped):
        _run_apart(grouped)
    else:
        _run_transaction(connected, connection, grouped)
    _run_apart([job for job in jobs if not isinstance(job.call, Read)])


def _run_apart(jobs: Sequence[Job]) -> None:
    for job in jobs:
        job.result = _own(outcome.capture(job.call))


def _run_transaction(connected: Connected, connection: sqlite3.Connection, jobs: Sequence[Job]) -> None:
    begun = outcome.capture(_begin, connection)
    if isinstance(begun, outcome.Error):
        _fail([job for job in jobs if isinstance(job.call, Write)], begun.error)
        _run_apart([job for job in jobs if not isinstance(job.call, Write)])
        return
    run = _run_in_savepoint if len(jobs) > 1 else _run_alone
    for job in jobs:
        broken = run(connection, job)
        if broken is not None:  # the transaction is gone, and with it what the jobs before had written
            outcome.capture(connection.rollback)
            _fail(jobs, broken)
            return
    committed = outcome.capture(connection.commit)
    if isinstance(committed, outcome.Error):
        outcome.capture(connection.rollback)
        _fail(jobs, committed.error)
        return
    seen = outcome.capture(read_head, connection)  # what can't be read now stays as it was: an older row, as durable
    if isinstance(seen, outcome.Value):
        connected.head = seen.value


def _begin(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:  # an earlier rollback failed as well
        connection.rollback()
    connection.execute("BEGIN IMMEDIATE")


def _run_alone(connection: sqlite3.Connection, job: Job) -> BaseException | None:
    """Without neighbours it needs no savepoint: the transaction is its own."""
    result = outcome.capture(job.call)
    job.result = _own(result)
    return result.error if isinstance(result, outcome.Error) else None


def _run_in_savepoint(connection: sqlite3.Connection, job: Job) -> BaseException | None:
    """Run the job; None, or the error that broke the whole transaction."""
    entered = outcome.capture(connection.execute, "SAVEPOINT job")
    if isinstance(entered, outcome.Error):
        return entered.error
    result = outcome.capture(job.call)
    job.result = _own(result)
    if isinstance(result, outcome.Error):
        if not connection.in_transaction:  # SQLite itself rolled everything back (disk full, I/O error)
            return result.error
        undone = outcome.capture(connection.execute, "ROLLBACK TO job")
        if isinstance(undone, outcome.Error):
            return undone.error
    released = outcome.capture(connection.execute, "RELEASE job")
    return released.error if isinstance(released, outcome.Error) else None


def _fail(jobs: Sequence[Job], error: BaseException) -> None:
    """Each job its own error object: an outcome can be unwrapped, and an exception raised, only once."""
    for job in jobs:
        if not isinstance(job.result, outcome.Error):
            job.result = outcome.Error(_as_ledger_error(error))


def _own(result: outcome.Outcome[Any]) -> outcome.Outcome[Any]:
    if isinstance(result, outcome.Error) and isinstance(result.error, sqlite3.Error | OverflowError):
        return outcome.Error(_as_ledger_error(result.error))
    return result


def _as_ledger_error(error: BaseException) -> LedgerError:
    wrapped = LedgerError(f"the ledger failed: {type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped
