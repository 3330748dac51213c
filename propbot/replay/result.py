"""What a replay came to: counted in the ledger that it left and measured at its last frame."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from attrs import asdict, frozen

from propbot.domain.instruments import VenueId
from propbot.domain.money import amount_text

NOT_FILLED = "NOT_FILLED"
"""The exit reason of a lot whose legs never filled: no spread was opened."""


@frozen
class BookAtEnd:
    """A venue's book after the last frame; prices are the venue's."""

    bid: str | None
    ask: str | None
    synced: bool
    resyncs: int


@frozen
class AtEnd:
    """What the service showed after the last frame and its wind-down."""

    books: Mapping[VenueId, BookAtEnd]
    pnl_usdt: Decimal | None
    """Realised and unrealised, net of fees and funding; None where it can't be valued."""
    fees_usdt: Decimal | None
    positions: Mapping[VenueId, Decimal]
    """Base, signed, dust included; on spot what was added to the baseline."""
    decisions: int
    reason: str
    """The HOLD line that it ended with."""


@frozen
class Counted:
    """Rows of the ledger, simulated ones left out."""

    intents: int
    orders: int
    fills: int
    spreads_opened: int
    spreads_closed: int

    @classmethod
    def in_ledger(cls, path: Path) -> Counted:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:

            def count(table: str, where: str = "1", *values: str) -> int:
                sql = f"SELECT count(*) FROM {table} WHERE simulated = 0 AND {where}"  # noqa: S608 (both are ours)
                number: int = connection.execute(sql, values).fetchone()[0]
                return number

            filled = "exit_reason <> ?"
            return cls(
                count("intents"), count("orders"), count("fills"), count("lots", filled, NOT_FILLED),
                count("lots", f"{filled} AND state = 'CLOSED'", NOT_FILLED),
            )
        finally:
            connection.close()


@frozen
class ReplayResult:
    frames: int
    """Recorded messages that the venues published, trades included."""
    market_s: float
    wall_s: float
    at_end: AtEnd
    counted: Counted
    trace_sha256: str

    def to_json(self) -> dict[str, Any]:
        """The object of DESIGN section 5; amounts are text."""
        end, counted = self.at_end, self.counted
        return {
            "frames": self.frames,
            "market_s": round(self.market_s, 3),
            "wall_s": round(self.wall_s, 3),
            "decisions": end.decisions,
            "intents": counted.intents,
            "orders": counted.orders,
            "fills": counted.fills,
            "spreads_opened": counted.spreads_opened,
            "spreads_closed": counted.spreads_closed,
            "spreads_open": counted.spreads_opened - counted.spreads_closed,
            "pnl_usdt": None if end.pnl_usdt is None else amount_text(end.pnl_usdt),
            "fees_usdt": None if end.fees_usdt is None else amount_text(end.fees_usdt),
            "books": {venue: asdict(book) for venue, book in end.books.items()},
            "final_positions": {venue: amount_text(qty) for venue, qty in end.positions.items()},
            "trace_sha256": self.trace_sha256,
        }
