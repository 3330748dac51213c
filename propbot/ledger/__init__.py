"""The ledger: SQLite, one file, one connection, one thread; what is not in it was not decided.

From the outside in:

    store        the async face: `open_ledger`, `Ledger`
    group        group commit in the worker's thread
    writes,reads what a change and a question are, synchronous
    rows         domain values ⇄ table rows
    schema       tables, opening, refusing
    transitions  the order life cycle

Measured (Python 3.11, SQLite 3.40, shared two-core machine, 2000 intents of two orders and a lot one by one, from
handing in to the answer in the event loop): `LEDGER_SYNC=full` p50 0.5–0.6 ms, p99 1.2–1.5 ms; `normal` p50 0.3–0.4 ms,
p99 4–5 ms (its checkpoints sync what every commit of `full` has synced already). 5000 events that wait together:
15–18 thousand rows a second in either. `full` costs a quarter of a millisecond and has the shorter tail.
"""

from __future__ import annotations

from propbot.ledger.reads import EventFilter, Page
from propbot.ledger.store import Health, Ledger, open_ledger
from propbot.ledger.writes import Booked

__all__ = ["Booked", "EventFilter", "Health", "Ledger", "Page", "open_ledger"]
