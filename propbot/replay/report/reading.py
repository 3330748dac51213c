"""The folder's trace and ledger as values: what the report is made of.

The trace is read line by line, and of its rows only the kinds that are used are decoded. Nineteen in twenty are tops
of book: of those only the extremes of the spread between two samples are kept. Its times are virtual seconds since the
start, the ledger's our wall clock; `Recorded.origin_ns` is the wall clock at virtual zero.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from attrs import Factory, define, frozen

from propbot.domain.events import EventRow
from propbot.domain.instruments import VenueId
from propbot.domain.lots import FillRow, Lot, OrderRow
from propbot.domain.money import ZERO, parse_amount
from propbot.domain.orders import Purpose, Side
from propbot.ledger import reads, rows

LEDGER, TRACE = "ledger.db", "trace.jsonl"
SAMPLE_S = 0.25
"""The sampler's beat."""
_KIND = b'"kind":"'


class Sample(msgspec.Struct, frozen=True):
    """A row of `replay.sampler`."""

    t: float
    mids: dict[str, float | None]
    edges_bps: dict[str, float | None]
    reference_bps: float | None
    ages_s: dict[str, float | None]
    lots_open: int
    why_not: str
    mode: str
    equity_usdt: str | None
    realised_usdt: str | None
    unrealised_usdt: str | None
    fees_usdt: str | None


class ModeRow(msgspec.Struct, frozen=True):
    """A change of mode, or one more cause of the HOLD in force (`mode` is empty then)."""

    t: float
    source: str
    reason: str
    mode: str = ""


class _DecidedLeg(msgspec.Struct):
    venue: str
    side: Side
    expected_price: str | None


class _Decision(msgspec.Struct):
    t: float
    intent_id: str
    lot_id: str
    purpose: Purpose
    legs: list[_DecidedLeg]


class _AtVenue(msgspec.Struct):
    """An order as it arrived at its venue, or a trade there."""

    t: float
    client_order_id: str | None = None


class _Top(msgspec.Struct):
    t: float
    venue: str
    u: int
    bid: str | None
    ask: str | None


@define
class SpreadRange:
    """Lowest and highest spread of the mids by all frames, second venue over first, in each quarter of a second."""

    venues: tuple[str, ...]
    bps: dict[int, tuple[float, float]] = Factory(dict)
    """By quarter since the start."""
    _newest: dict[str, int] = Factory(dict)
    _mids: dict[str, float] = Factory(dict)

    def observe(self, top: _Top) -> None:
        """Of the two sources of a venue's top the newer update id counts."""
        if top.u < self._newest.get(top.venue, 0) or top.bid is None or top.ask is None:
            return
        self._newest[top.venue] = top.u
        self._mids[top.venue] = (float(top.bid) + float(top.ask)) / 2
        if len(self._mids) < 2 or len(self.venues) < 2:
            return
        a, b = self._mids[self.venues[0]], self._mids[self.venues[1]]
        spread, quarter = (b - a) / (a + b) * 20_000, int(top.t / SAMPLE_S)
        low, high = self.bps.get(quarter, (spread, spread))
        self.bps[quarter] = (min(low, spread), max(high, spread))


@frozen
class Decision:
    """What was decided for a lot, and the average price that each leg's walk through its book promised."""

    lot_id: str
    purpose: Purpose
    t: float
    created_ns: int
    expected: Mapping[tuple[VenueId, Side], Decimal | None]


@frozen
class Recorded:
    """What a replay's folder holds."""

    origin_ns: int | None
    """Our wall clock at virtual zero; None where nothing tells it."""
    samples: Sequence[Sample]
    spreads: SpreadRange
    modes: Sequence[ModeRow]
    decisions: Mapping[str, Sequence[Decision]]
    """By lot, oldest first."""
    arrived_s: Mapping[str, float]
    """Client order id → when the venue received it; virtual."""
    traded_s: Mapping[str, float]
    """Client order id → its first trade at the venue; virtual."""
    lots: Sequence[Lot]
    orders: Mapping[str, OrderRow]
    fills: Mapping[str, Sequence[FillRow]]
    """By lot."""
    events: Sequence[EventRow]
    funding_quote: Mapping[str, Decimal]
    """By asset; positive was received."""

    def wall_ns(self, t: float) -> int | None:
        return None if self.origin_ns is None else self.origin_ns + round(t * 1e9)

    def virtual_s(self, wall_ns: int) -> float:
        return (wall_ns - (self.origin_ns or 0)) / 1e9


@define
class _Trace:
    spreads: SpreadRange
    samples: list[Sample] = Factory(list)
    modes: list[ModeRow] = Factory(list)
    decisions: list[_Decision] = Factory(list)
    arrived_s: dict[str, float] = Factory(dict)
    traded_s: dict[str, float] = Factory(dict)


def read_folder(folder: Path, venues: Sequence[VenueId], *, simulated: bool) -> Recorded:
    """`venues` in the loop's order. `simulated`: the lots of a dry run instead of the traded ones.

    OSError, sqlite3.Error or msgspec.DecodeError for files that are not a replay's.
    """
    with open(folder / TRACE, "rb", buffering=1024 * 1024) as lines:
        trace = _read_trace(lines, venues)
    with closing(sqlite3.connect(f"{(folder / LEDGER).absolute().as_uri()}?mode=ro", uri=True)) as ledger:
        ledger.row_factory = sqlite3.Row
        return _join(trace, ledger, simulated)


def _read_trace(lines: Iterable[bytes], venues: Sequence[str]) -> _Trace:
    found = _Trace(SpreadRange(tuple(venues)))
    sample, mode = msgspec.json.Decoder(Sample).decode, msgspec.json.Decoder(ModeRow).decode
    top, observe = msgspec.json.Decoder(_Top).decode, found.spreads.observe
    decision, at_venue = msgspec.json.Decoder(_Decision).decode, msgspec.json.Decoder(_AtVenue).decode
    for line in lines:
        begin = line.find(_KIND) + len(_KIND)
        match line[begin : line.find(b'"', begin)]:
            case b"top":
                observe(top(line))
            case b"sample":
                found.samples.append(sample(line))
            case b"mode" | b"hold_cause":
                found.modes.append(mode(line))
            case b"decision":
                found.decisions.append(decision(line))
            case b"order":
                _keep_first(found.arrived_s, at_venue(line))
            case b"trade":
                _keep_first(found.traded_s, at_venue(line))
    return found


def _keep_first(times: dict[str, float], row: _AtVenue) -> None:
    if row.client_order_id:
        times.setdefault(row.client_order_id, row.t)


def _join(trace: _Trace, ledger: sqlite3.Connection, simulated: bool) -> Recorded:
    created_ns = {row["id"]: int(row["created_ns"]) for row in _all(ledger, "SELECT id, created_ns FROM intents")}
    events = [rows.read_event(row) for row in _all(ledger, "SELECT * FROM events ORDER BY id")]
    decisions: dict[str, list[Decision]] = defaultdict(list)
    for row in trace.decisions:
        if row.intent_id in created_ns:
            decisions[row.lot_id].append(_decision(row, created_ns[row.intent_id]))
    fills: dict[str, list[FillRow]] = defaultdict(list)
    for fill in reads.all_fills(ledger, simulated):
        fills[fill.lot_id].append(fill)
    orders = [rows.read_order(row) for row in _all(ledger, "SELECT * FROM orders")]
    lots = _all(ledger, "SELECT * FROM lots WHERE simulated = ? ORDER BY opened_ns, seq", simulated)
    funding: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for payment in reads.all_funding(ledger):
        funding[payment.asset] += payment.amount
    return Recorded(
        origin_ns=_origin_ns(trace, decisions, events),
        samples=trace.samples,
        spreads=trace.spreads,
        modes=trace.modes,
        decisions=decisions,
        arrived_s=trace.arrived_s,
        traded_s=trace.traded_s,
        lots=[rows.read_lot(row) for row in lots],
        orders={order.request.client_order_id: order for order in orders},
        fills=fills,
        events=events,
        funding_quote=dict(funding),
    )


def _all(ledger: sqlite3.Connection, sql: str, *values: Any) -> list[sqlite3.Row]:
    return ledger.execute(sql, values).fetchall()


def _decision(row: _Decision, created_ns: int) -> Decision:
    expected = {
        (VenueId(leg.venue), leg.side): None if leg.expected_price is None else parse_amount(leg.expected_price)
        for leg in row.legs
    }
    return Decision(row.lot_id, row.purpose, row.t, created_ns, expected)


def _origin_ns(
    trace: _Trace, decisions: Mapping[str, Sequence[Decision]], events: Sequence[EventRow]
) -> int | None:
    """From something that both clocks have seen in one step: a decision, or a guard's trip into HOLD; else from the
    first event, which comes within a moment of the start."""
    for made in decisions.values():
        return made[0].created_ns - round(made[0].t * 1e9)
    held = {(row.source, row.reason): row.t for row in trace.modes if row.mode == "HOLD"}
    for event in events:
        if (event.source, event.message) in held:
            return event.ts_ns - round(held[event.source, event.message] * 1e9)
    return events[0].ts_ns if events else None
