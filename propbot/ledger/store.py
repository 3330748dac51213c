"""The ledger as the service holds it: each method waits until what it did is durable, or raises LedgerError.

Waiting may be cancelled; the call is then still made, and its outcome is in the ledger for whoever reads next.
Bad cursors and limits are ValueErrors. `Health` is what the ledger guard watches.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import trio
from attrs import define, field

from propbot.domain.approvals import Approval, ApprovalState
from propbot.domain.clock import Clock
from propbot.domain.errors import LedgerError
from propbot.domain.events import Detail, EventRow, Head, JournalCheck
from propbot.domain.instruments import VenueId
from propbot.domain.lots import FillRow, Intent, Lot, OrderRow
from propbot.domain.news import News, Place
from propbot.domain.orders import Fill, Funding, OrderState
from propbot.domain.status import Incident
from propbot.kit.crash import CrashPoints
from propbot.kit.disk import OpenSqlite
from propbot.kit.threads import OpenWorker, Worker
from propbot.ledger import chain, reads, writes
from propbot.ledger.audit import Walk
from propbot.ledger.group import Connected, Read, Write, run_group
from propbot.ledger.reads import EventFilter, Page, check_limit
from propbot.ledger.schema import Sync, open_checked
from propbot.ledger.writes import Booked, OrderNews

T = TypeVar("T")

VERIFY_PAUSE_S = 0.002
"""As long as a slice: the walk takes half of the worker at most."""
LOOK_PAUSE_S = 0.001
"""Between the slices of a search."""
LOOK_BACKLOG_MAX = 20
"""More than that waits when the disk is slow, or when many who asked went away before they were answered."""


@define
class Health:
    """How the disk does, measured by the ledger's own writes; None before the first one."""

    failed: str | None = None
    """What the last failing call said; cleared by the next write that succeeds."""
    last_write_s: float | None = None
    """How long the last durable write took, from handing it in to its answer."""
    slowest_write_s: float | None = None
    last_write_at_s: float | None = None
    """Monotonic."""
    _waiting_since_s: dict[int, float] = field(factory=dict)
    _calls: int = 0

    def begin(self, now_s: float) -> int:
        self._calls += 1
        self._waiting_since_s[self._calls] = now_s
        return self._calls

    def end(self, call: int) -> float:
        """When the call began."""
        return self._waiting_since_s.pop(call)

    def written(self, began_s: float, now_s: float) -> None:
        self.failed = None
        self.last_write_s = now_s - began_s
        self.slowest_write_s = max(self.slowest_write_s or 0.0, self.last_write_s)
        self.last_write_at_s = now_s

    def waiting_s(self, now_s: float) -> float:
        return max((now_s - since_s for since_s in self._waiting_since_s.values()), default=0.0)


class Ledger:
    """Made by `open_ledger` alone."""

    def __init__(self, connected: Connected, worker: Worker, clock: Clock, crash: CrashPoints) -> None:
        self._connected = connected
        self._worker = worker
        self._clock = clock
        self._crash = crash
        self._closed = False
        self._verifying = trio.Lock()
        self._searching = trio.Lock()
        self._looking = trio.Lock()
        self.health = Health()

    @property
    def backlog(self) -> int:
        """Calls handed in and not yet answered, those too that nobody waits for any more."""
        return self._worker.backlog

    @property
    def head(self) -> Head | None:
        """The journal's last row that is known to be durable; memory only."""
        return self._connected.head

    @property
    def waiting_s(self) -> float:
        """The age of the oldest call that still waits for its answer; zero if none does. A hanging disk shows here."""
        return self.health.waiting_s(self._clock.mono_s())

    # intents, orders, fills, lots

    async def commit_intent(self, intent: Intent, lot: Lot | None = None) -> None:
        """The intent, its orders in state INTENT, and its lot: all durable together, before any byte may leave."""
        self._crash.passage("intent-commit:before")
        await self._write(lambda connection: writes.commit_intent(connection, intent, lot))
        self._crash.passage("intent-commit:after")

    async def record_order(
        self,
        client_order_id: str,
        state: OrderState,
        *,
        order_id: str = "",
        filled_qty: Decimal | None = None,
        reason: str = "",
        correction: bool = False,
    ) -> OrderRow:
        """The order as it is afterwards. News older than what is known (SENT after FILLED) only adds what it knows
        more; another terminal state is TransitionRefused unless it is a correction, which is journalled."""
        news = OrderNews(client_order_id, state, order_id, filled_qty, reason, correction)
        now_ns = self._clock.wall_ns()
        return await self._write(lambda connection: writes.record_order(connection, news, now_ns))

    async def book_fills(self, fills: Sequence[Fill]) -> Booked:
        """Each fill exactly once; what comes again is in no part of the answer."""
        if not fills:
            return Booked()
        now_ns = self._clock.wall_ns()
        self._crash.passage("fill-booked:before")
        booked = await self._write(lambda connection: writes.book_fills(connection, fills, now_ns))
        self._crash.passage("fill-booked:after")
        return booked

    async def book_simulated(self, intent: Intent, fills: Sequence[Fill], lot: Lot) -> tuple[FillRow, ...]:
        """A dry run's intent with its orders, all FILLED, its fills and its lot: durable together, so that a crash
        finds nothing simulated half done. Real rows are not touched."""
        now_ns = self._clock.wall_ns()
        return await self._write(lambda connection: writes.book_simulated(connection, intent, fills, lot, now_ns))

    async def save_lot(self, lot: Lot) -> None:
        now_ns = self._clock.wall_ns()
        await self._write(lambda connection: writes.save_lot(connection, lot, now_ns))

    async def book_funding(self, funding: Funding) -> bool:
        """Whether it was new."""
        now_ns = self._clock.wall_ns()
        return await self._write(lambda connection: writes.book_funding(connection, funding, now_ns))

    # journal, baselines, meta

    async def append_event(
        self,
        level: str,
        kind: str,
        message: str,
        *,
        venue: str = "",
        symbol: str = "",
        source: str = "",
        details: Mapping[str, Detail] | None = None,
    ) -> EventRow:
        now_ns = self._clock.wall_ns()
        event = EventRow(0, now_ns, level, kind, message, venue, symbol, source, dict(details or {}))
        return await self._write(lambda connection: chain.append_event(connection, event))

    async def has_event(self, head: Head) -> bool:
        """Whether the journal has this very row."""
        return await self._read(lambda connection: reads.has_event(connection, head))

    async def verify_journal(self, pause_s: float = VERIFY_PAUSE_S) -> JournalCheck:
        """Walk the whole chain and hold it against the newest row that was committed here; in slices of milliseconds,
        between which writes go on. One walk at a time. May be cancelled."""
        async with self._verifying:
            walk = Walk(self.head)
            while not walk.done:
                await self._read(walk.take_slice)
                await trio.sleep(pause_s)
            return walk.verdict()

    async def save_incident(self, incident: Incident) -> None:
        """The incident and its new steps, with their journal rows."""
        await self._write(lambda connection: writes.save_incident(connection, incident))

    async def last_incidents(self, count: int) -> tuple[tuple[Incident, ...], int]:
        """The open ones and the newest, oldest first; and the highest id ever given."""
        return await self._read(lambda connection: reads.last_incidents(connection, count))

    async def incidents_page(self, limit: int, cursor: str | None = None) -> Page[Incident]:
        return await self._look(lambda connection: reads.incidents_page(connection, limit, cursor))

    async def record_baselines(self, baselines: Mapping[tuple[VenueId, str], Decimal]) -> None:
        """For accounts met for the first time; a baseline that is there stays."""
        now_ns = self._clock.wall_ns()
        wanted = {(str(venue), asset): qty for (venue, asset), qty in baselines.items()}
        await self._write(lambda connection: writes.record_baselines(connection, wanted, now_ns))

    async def move_baseline(
        self, venue: VenueId, asset: str, qty: Decimal, *, reason: str, source: str, symbol: str,
        meta: Mapping[str, str] | None = None,
    ) -> EventRow:
        """An operator's audited change, its event, and `meta` that belongs to it: durable together."""
        now_ns = self._clock.wall_ns()
        event = EventRow(0, now_ns, "WARN", "baseline", reason, str(venue), symbol, source, {})
        beside = {} if meta is None else meta
        return await self._write(lambda connection: writes.move_baseline(connection, venue, asset, qty, beside, event))

    async def baselines(self) -> dict[tuple[VenueId, str], Decimal]:
        return await self._read(reads.baselines)

    async def meta_put(self, key: str, value: str) -> None:
        await self._write(lambda connection: writes.meta_put(connection, key, value))

    async def meta_get(self, key: str) -> str | None:
        return await self._read(lambda connection: reads.meta_get(connection, key))

    async def probe(self) -> None:
        """A tiny write, as durable as any: whether the ledger still records."""
        await self.meta_put("probe", str(self._clock.wall_ns()))

    # approvals

    async def propose(self, approval: Approval) -> None:
        await self._write(lambda connection: writes.propose(connection, approval))

    async def decide_approval(self, decided: Approval) -> bool:
        """Whether this call decided it: of any number of calls exactly one does. Durable before the change that it
        allows may take effect."""
        if decided.state is not ApprovalState.APPROVED:
            return await self._write(lambda connection: writes.decide(connection, decided))
        self._crash.passage("approval-commit:before")
        is_first = await self._write(lambda connection: writes.decide(connection, decided))
        self._crash.passage("approval-commit:after")
        return is_first

    async def mark_applied(self, id: str) -> None:
        now_ns = self._clock.wall_ns()
        await self._write(lambda connection: writes.mark_applied(connection, id, now_ns))

    async def approval(self, id: str) -> Approval | None:
        return await self._read(lambda connection: reads.approval(connection, id))

    async def open_approvals(self) -> tuple[Approval, ...]:
        """Undecided, or approved and never in force; oldest first."""
        return await self._read(reads.open_approvals)

    async def approvals_page(self, limit: int, cursor: str | None = None) -> Page[Approval]:
        return await self._look(lambda connection: reads.approvals_page(connection, limit, cursor))

    # reads

    async def order(self, client_order_id: str) -> OrderRow | None:
        return await self._read(lambda connection: reads.order(connection, client_order_id))

    async def unfinished_orders(self, *, simulated: bool = False) -> tuple[OrderRow, ...]:
        """Orders that are in no terminal state, oldest first."""
        return await self._read(lambda connection: reads.unfinished_orders(connection, simulated))

    async def orders_missing_fills(self) -> tuple[OrderRow, ...]:
        """Orders of which the venue reported more than the fills that we have, oldest first."""
        return await self._read(reads.orders_missing_fills)

    async def all_fills(self, *, simulated: bool = False) -> tuple[FillRow, ...]:
        """In the order of booking. Positions and P&L come from the real ones."""
        return await self._read(lambda connection: reads.all_fills(connection, simulated))

    async def lot_fills(self, lot_id: str) -> tuple[FillRow, ...]:
        return await self._read(lambda connection: reads.lot_fills(connection, lot_id))

    async def foreign_fills(self) -> tuple[Fill, ...]:
        """Every fill that is not ours, in the order in which they were met."""
        return await self._read(reads.foreign_fills)

    async def all_funding(self) -> tuple[Funding, ...]:
        return await self._read(reads.all_funding)

    async def live_lots(self, *, simulated: bool = False) -> tuple[Lot, ...]:
        """Lots that are not CLOSED, oldest first."""
        return await self._read(lambda connection: reads.live_lots(connection, simulated))

    async def last_trade_id(self, venue: VenueId, symbol: str) -> int | None:
        """The highest trade id that we have of this instrument, foreign ones included; None if there is none."""
        return await self._read(lambda connection: reads.last_trade_id(connection, venue, symbol))

    async def orders_page(self, limit: int, cursor: str | None = None) -> Page[OrderRow]:
        return await self._look(lambda connection: reads.orders_page(connection, limit, cursor))

    async def fills_page(self, limit: int, cursor: str | None = None) -> Page[FillRow]:
        return await self._look(lambda connection: reads.fills_page(connection, limit, cursor))

    async def lots_page(self, limit: int, cursor: str | None = None) -> Page[Lot]:
        return await self._look(lambda connection: reads.lots_page(connection, limit, cursor))

    async def events_page(
        self, limit: int, cursor: str | None = None, wanted: EventFilter | None = None
    ) -> Page[EventRow]:
        search = reads.EventSearch(limit, cursor, EventFilter() if wanted is None else wanted)
        async with self._searching:  # one after the other: side by side all of them would be late
            await self._look(search.take_slice)
            while not search.done:
                await trio.sleep(LOOK_PAUSE_S)
                await self._look(search.take_slice)
        return search.page()

    async def newest_place(self) -> Place:
        return await self._look(reads.newest_place)

    async def find_place(self, event_id: int, fill_seq: int) -> Place | None:
        """None where this ledger does not reach so far."""
        return await self._look(lambda connection: reads.find_place(connection, event_id, fill_seq))

    async def news(self, after: Place, limit: int) -> News:
        """Oldest first, up to `limit` events and as many fills; every fill has an event beside it."""
        check_limit(limit)
        return await self._look(lambda connection: reads.news(connection, after, limit))

    # the way into the worker

    async def _write(self, run: Callable[[sqlite3.Connection], T]) -> T:
        call = self.health.begin(self._clock.mono_s())
        try:
            answer = await self._call(Write(self._connected, run))
        finally:
            began_s = self.health.end(call)
        self.health.written(began_s, self._clock.mono_s())
        return answer

    async def _read(self, run: Callable[[sqlite3.Connection], T]) -> T:
        call = self.health.begin(self._clock.mono_s())
        try:
            return await self._call(Read(self._connected, run))
        finally:
            self.health.end(call)

    async def _look(self, run: Callable[[sqlite3.Connection], T]) -> T:
        """A read for people: one is handed in at a time, so that however many look, an order's intent waits behind one
        of them. Those that are given up are still made; LedgerError when so many are left that writes would wait."""
        async with self._looking:
            if self._worker.backlog > LOOK_BACKLOG_MAX:
                raise LedgerError("much waits for the disk already; ask again")
            return await self._read(run)

    async def _call(self, call: Callable[[], T]) -> T:
        if self._closed:  # the worker's thread has ended: nobody would answer
            raise LedgerError("the ledger is closed")
        try:
            return await self._worker.call(call)
        except LedgerError as error:
            if isinstance(error.__cause__, sqlite3.Error):  # the disk's fault; a refused transition is the caller's
                self.health.failed = str(error)
            raise

    def close(self) -> None:
        """No more calls; `open_ledger` closes the connection."""
        self._closed = True


@asynccontextmanager
async def open_ledger(
    path: Path,
    *,
    clock: Clock,
    open_worker: OpenWorker,
    open_connection: OpenSqlite,
    crash: CrashPoints,
    synchronous: Sync = "full",
) -> AsyncIterator[Ledger]:
    """The ledger at `path`, whole and sound, or LedgerError with what to do.

    What was handed in is finished before it closes, for as long as the worker waits at its end (a second in a thread);
    a disk that hangs longer keeps the connection in the worker's daemon thread, and this returns all the same.
    """
    connected = Connected()

    def open_connected() -> None:
        connection = open_checked(path, open_connection, synchronous)
        try:
            connected.head = chain.read_head(connection)
        except BaseException as error:
            connection.close()
            if isinstance(error, sqlite3.Error):
                raise LedgerError(f"the ledger {path} cannot be used: {error}") from error
            raise
        connected.connection = connection

    def close_connected() -> None:
        connection, connected.connection = connected.connection, None
        if connection is not None:
            connection.close()

    async with open_worker("ledger", lambda jobs: run_group(connected, jobs)) as worker:
        try:
            await worker.call(open_connected)
            ledger = Ledger(connected, worker, clock, crash)
            try:
                yield ledger
            finally:
                ledger.close()
        finally:
            await _hand_in(worker, close_connected)


async def _hand_in(worker: Worker, fn: Callable[[], None]) -> None:
    """Hand in a call and do not wait for it: the worker's own end does, and only for so long."""
    with trio.CancelScope(shield=True) as scope:
        scope.cancel()
        await worker.call(fn)
