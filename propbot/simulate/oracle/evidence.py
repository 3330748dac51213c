"""What the oracle judges by: traces of bot and venues, the ledger and the venues' books at the end, and the limits.

Nothing of the bot's own code is imported in this folder: a rule that the bot misunderstands must not be misunderstood
here by inheritance. Amounts come as text (or Decimal), ids as text (or int); they are compared as Decimal and str.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from attrs import Factory, field, frozen

Row = Mapping[str, Any]
TERMINAL = frozenset({"FILLED", "PARTIAL", "CANCELED", "REJECTED", "NEVER_SENT"})


@frozen
class Violation:
    """`invariant` is its name in FAULTS section 2; `t` is virtual seconds."""

    invariant: str
    t: float
    text: str


@frozen
class Limits:
    """What the venue side is allowed to see. Quote currency, base, seconds."""

    order_notional: Decimal
    """The cap of one order, with the allowance that the settings give it (fee gross-up, limit price)."""
    position_notional: Decimal
    total_notional: Decimal
    open_orders: int
    lot_steps: Mapping[str, Decimal]
    """Venue → lot step."""
    orders_per_min: int = 600
    hedge_deadline_s: float = 5.0
    exposure_slack_s: float = 0.1
    """How much later than the venue the bot may know of a fill: latency, and one look of its guard."""
    dust_base: Decimal = Decimal(0)
    """Base below the smallest legal order, where a scenario leaves such rests; comes on top of one lot step."""
    book_age_s: float = 1.5
    rate_share: float = 0.8
    """Of a venue's limit."""


@frozen
class LedgerEnd:
    """The ledger's tables at the end, read straight from SQLite, one dict a row, named as its columns are."""

    intents: Sequence[Row]
    orders: Sequence[Row]
    fills: Sequence[Row]
    lots: Sequence[Row] = ()
    funding: Sequence[Row] = ()
    baselines: Mapping[tuple[str, str], Any] = Factory(dict)
    """(venue, asset) → quantity; a perp's base is its position at the first contact."""
    events: Sequence[Row] = ()
    """The journal, oldest first."""


@frozen
class VenueEnd:
    """What the venue itself has at the end, foreign orders and trades included. One symbol a venue."""

    kind: str
    """`spot` or `perp`."""
    symbol: str
    base: str
    quote: str
    starting_balances: Mapping[str, Any]
    balances: Mapping[str, Any]
    """Asset → total, locked included."""
    orders: Sequence[Row]
    """{client_order_id, status, filled_qty, …}"""
    trades: Sequence[Row]
    """{client_order_id, order_id, trade_id, symbol, side, qty, price, fee, fee_asset}, oldest first."""
    position: Any = "0"
    """Perp: signed base. The account starts flat."""
    fundings: Sequence[Row] = ()
    """{asset, amount}; positive was received."""


def _in_order(rows: Sequence[Row]) -> list[Row]:
    """Stable: what happened at the same instant stays in the order of the merged list."""
    return sorted(rows, key=lambda row: float(row["t"]))


@frozen
class Evidence:
    """One run, with all of its restarts.

    `rows` are the merged traces in the order in which things happened (`t` never steps back).
    `quiesced`: at the end no fault had been active for 120 s, the bot was idle, and nothing was in flight.
    """

    rows: Sequence[Row] = field(converter=_in_order)
    limits: Limits
    ledger: LedgerEnd
    venues: Mapping[str, VenueEnd]
    quiesced: bool = True
    profile: str = "paper"
    hold_exit: str = "unwind"
    prefix: str = "pb"
    """How our client order ids begin."""
    tops: Mapping[tuple[str, int], tuple[float, str, str]] = Factory(dict)
    """(venue, update id) → when the venue's book was that, its best bid, its best ask."""
    canaries: Mapping[str, str] = Factory(dict)
    """What each secret is called → the secret."""
    written: Mapping[str, bytes] = Factory(dict)
    """Where → all that was written there."""
    two_man: bool = False
    trace_hashes: Sequence[str] = ()
    """Of all runs of the same seed."""

    @property
    def end_s(self) -> float:
        return float(self.rows[-1]["t"]) if self.rows else 0.0

    def is_ours(self, client_order_id: object) -> bool:
        return str(client_order_id).startswith(self.prefix)

    def of_bot(self, *kinds: str) -> Iterator[Row]:
        return (row for row in self.rows if row["who"] == "bot" and row["kind"] in kinds)

    def of_harness(self, *kinds: str) -> Iterator[Row]:
        return (row for row in self.rows if row["who"] == "harness" and row["kind"] in kinds)

    def of_venues(self, *kinds: str) -> Iterator[Row]:
        """Only what concerns our own orders."""
        for row in self.rows:
            if row["who"] == "venue" and row["kind"] in kinds and self.is_ours(row.get("client_order_id")):
                yield row

    def real(self, rows: Sequence[Row]) -> list[Row]:
        """Ledger rows that are not of a dry run."""
        return [row for row in rows if not row.get("simulated")]

    def base_change(self, venue: str, trade: Row) -> Decimal:
        """What a trade adds to what is held on `venue`, signed, after a fee taken in base."""
        end = self.venues[venue]
        change = signed_qty(trade)
        if end.kind == "spot" and trade["fee_asset"] == end.base:
            change -= number(trade["fee"])
        return change


def number(value: object) -> Decimal:
    """Exact; NaN and infinity come through, for I2 to find."""
    return Decimal(str(value))


def signed_qty(row: Row) -> Decimal:
    return number(row["qty"]) * (1 if row["side"] == "BUY" else -1)


def fill_key(venue: str, row: Row) -> tuple[str, str, str, str]:
    return (venue, str(row["symbol"]), str(row["order_id"]), str(row["trade_id"]))
