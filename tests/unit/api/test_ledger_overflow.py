"""A number of a query that no column holds is the ledger's refusal (503 at worst), never an internal error."""

from __future__ import annotations

import sqlite3

import outcome
import pytest

from propbot.domain.errors import LedgerError
from propbot.kit.threads import Job
from propbot.ledger.group import Connected, Read, Write, run_group


@pytest.mark.parametrize("kind", [Read, Write])
def test_an_integer_that_sqlite_cannot_hold_is_a_ledger_error(kind):
    connected = Connected(sqlite3.connect(":memory:", isolation_level=None))
    job = Job(kind(connected, lambda connection: connection.execute("SELECT ?", (2**63,))))
    run_group(connected, [job])
    assert isinstance(job.result, outcome.Error)
    assert isinstance(job.result.error, LedgerError)
    connected.need().close()
