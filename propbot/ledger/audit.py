"""Is the journal the one that was written? Walks the whole chain in slices, and names the first row that breaks it.

A tail that was cut does not break a chain. For that the walk is given the head that is known outside of the ledger
(`runtime_state.json`): that row must be there, and be the same.
"""

from __future__ import annotations

import sqlite3

from attrs import define, field

from propbot.domain.events import GENESIS_HASH, Head, JournalCheck, row_hash

SLICE_ROWS = 200
"""Under 2 ms of the worker: what waits for the disk behind one slice does not notice, on a busy machine either."""
_SLICE = (
    "SELECT id, ts_ns, level, kind, message, venue, symbol, source, details, prev_hash, hash FROM events"
    " WHERE id > ? ORDER BY id LIMIT ?"
)


@define
class Walk:
    """From the first row to the last; `take_slice` until it is `done`, then `verdict`."""

    known: Head | None = None
    done: bool = False
    _last: Head = field(factory=lambda: Head(0, GENESIS_HASH))
    _rows: int = 0
    _first_bad: int | None = None
    _reason: str = ""

    def take_slice(self, connection: sqlite3.Connection, rows_max: int = SLICE_ROWS) -> None:
        rows = connection.execute(_SLICE, (self._last.id, rows_max)).fetchall()
        for row in rows:
            self._take(row)
            if self.done:
                return
        if len(rows) < rows_max:
            self._end()

    def verdict(self) -> JournalCheck:
        head = self._last.hash if self._rows else None
        return JournalCheck(self._first_bad is None, self._rows, head, self._first_bad, self._reason)

    def _take(self, row: sqlite3.Row) -> None:
        id, details, prev_hash, hash = row[0], row[8], row[9], row[10]
        if id != self._last.id + 1:
            self._fail(id, f"row {id} follows row {self._last.id}: rows between them are missing")
        elif prev_hash != self._last.hash:
            self._fail(id, f"row {id} does not belong behind row {self._last.id}: one of them was replaced")
        elif hash != row_hash(prev_hash, tuple(row)[:8], details):
            self._fail(id, f"row {id} is not what was written: it was edited")
        elif self.known is not None and id == self.known.id and hash != self.known.hash:
            self._fail(id, f"row {id} is not the one that was known outside of the ledger: the journal was rewritten")
        else:
            self._last = Head(id, hash)
            self._rows += 1

    def _end(self) -> None:
        self.done = True
        if self.known is not None and self.known.id > self._last.id:
            self._fail(
                self._last.id + 1,
                f"the journal ends at row {self._last.id}, and row {self.known.id} was known outside of the ledger:"
                " its tail was cut, or this is an older copy",
            )

    def _fail(self, id: int, reason: str) -> None:
        self.done, self._first_bad, self._reason = True, id, reason


def verify_at_once(connection: sqlite3.Connection, known: Head | None) -> JournalCheck:
    """Blocking, over a connection that nobody waits for. sqlite3.Error for a file that can't be read."""
    walk = Walk(known)
    while not walk.done:
        walk.take_slice(connection, 5000)
    return walk.verdict()
