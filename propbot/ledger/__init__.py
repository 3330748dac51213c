"""The ledger: SQLite, one file, one connection, one thread; what is not in it was not decided.

From the outside in:

    store        the async face: `open_ledger`, `Ledger`
    group        group commit in the worker's thread
    writes,reads what a change and a question are, synchronous
    rows         domain values ⇄ table rows
    schema       tables, opening, refusing
    transitions  the order life cycle
"""

from __future__ import annotations

from propbot.ledger.reads import EventFilter, Page
from propbot.ledger.store import Health, Ledger, open_ledger
from propbot.ledger.transitions import TransitionRefused
from propbot.ledger.writes import Booked

__all__ = ["Booked", "EventFilter", "Health", "Ledger", "Page", "TransitionRefused", "open_ledger"]
