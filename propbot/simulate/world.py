"""A whole world in one process and in virtual time: the service, its venues, an in-memory network, one trace.

    async with open_world(tmp_path, seed=1) as world:
        bot = await world.start_bot()
        await trio.sleep(60)                    # a virtual minute
        world.inject("binance-um", "lost_ack")
        await world.stop_bot()
        world.assert_invariants()

Venues outlive the bot, as in reality: `kill_bot` ends it as SIGKILL would (nothing that it would have written or sent
afterwards happens), `start_bot` starts it again on the same data directory. Test functions must name the fixture
`autojump_clock`; no socket is opened and nothing sleeps in real time.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import trio
from attrs import define, field

from propbot.app import Stop, run_service
from propbot.compose import paper_configs, paper_keyring
from propbot.domain.instruments import VenueId
from propbot.domain.market import DepthSnapshot, TopOfBook
from propbot.kit.clock import OffsetClock, VirtualClock
from propbot.kit.disk import open_sqlite
from propbot.kit.net import MemoryNetwork
from propbot.kit.threads import open_inline_worker
from propbot.kit.trace import MemoryTrace, Trace
from propbot.kit.ws_clients import WS_CLIENTS
from propbot.seams import Seams, ServiceConfig
from propbot.secrets.keyring import Keyring
from propbot.service import Service
from propbot.settings import Settings, load_settings
from propbot.simulate.mortal import (
    Killed,
    Life,
    MortalConnection,
    MortalCrashPoints,
    MortalNetwork,
    replace_file_of,
    trace_of,
)
from propbot.simvenue.access import HostAccess
from propbot.simvenue.faces.limits import Limit
from propbot.simvenue.host import HostConfig, run_host
from propbot.simvenue.instruments import DEFAULT_FEES
from propbot.simvenue.records import MarketFrame, MarketSource
from propbot.simvenue.synthetic import SyntheticMarket
from propbot.stored_keys import all_secrets, load_vault

MakeTrace = Callable[[str, list[dict[str, Any]]], Trace]
"""(who, the rows that all write into)."""
EPOCH_NS = 1_790_000_000_000_000_000
"""Some moment of 2026: the simulated wall clock begins here."""


@define(eq=False)
class SeenMarket:
    """A market that remembers what it published as best: what the venues' books truly were, whatever a fault makes of
    the frames on their way."""

    inner: MarketSource
    tops: dict[tuple[str, int], tuple[float, str, str]] = field(factory=dict)
    """(venue, update id) → when, bid, ask."""

    @property
    def snapshots(self) -> Mapping[tuple[VenueId, str], DepthSnapshot]:
        return self.inner.snapshots

    def wall_ns(self) -> int:
        return self.inner.wall_ns()

    async def run(self, publish: Callable[[MarketFrame], None]) -> None:
        def publish_seen(frame: MarketFrame) -> None:
            event = frame.event
            if isinstance(event, TopOfBook):
                self.tops[event.venue, event.update_id] = (trio.current_time(), event.bid, event.ask)
            publish(frame)

        await self.inner.run(publish_seen)


@define(eq=False)
class World:
    tmp_path: Path
    seed: int
    clock: VirtualClock
    bot_clock: OffsetClock
    """The clock of the bot's machine: it may be off, or be stepped."""
    market: SeenMarket
    network: MemoryNetwork
    nursery: trio.Nursery
    access: HostAccess
    rows: list[dict[str, Any]]
    given: dict[str, str]
    make_trace: MakeTrace
    bot: Service | None = None
    life: Life = field(factory=Life)
    stop: Stop = field(factory=Stop)
    starts: int = 0
    settings: Settings | None = None
    disk_fault: Callable[[str], None] | None = None
    """Runs before each SQL statement of the bot's ledger; raises to make it fail."""
    state_fault: Callable[[], None] = field(default=lambda: None)
    """Runs before the state file is written; raises OSError to make it fail."""
    keyring: Keyring | None = None
    """Of this life."""
    crash_points: MortalCrashPoints | None = None
    """Of this life: may be armed while it lives."""
    _ended: trio.Event = field(factory=trio.Event)
    _scope: trio.CancelScope | None = None

    async def start_bot(self, crash_at: str | None = None, **more: str) -> Service:
        """A new life on the same data directory; `more` are settings of this life."""
        self.life, self.stop, self._ended = Life(), Stop(), trio.Event()
        self.bot = None
        self.note_state_file("start")
        self.starts += 1
        own = {"DATA_DIR": str(self.tmp_path / "bot"), "HOME": str(self.tmp_path / "home")}
        self.settings = load_settings({**own, **self.given, **more}, None)
        (self.tmp_path / "bot").mkdir(exist_ok=True)
        trace = trace_of(self.life, self.make_trace("bot", self.rows))
        self.crash_points = MortalCrashPoints(crash_at, self._die, self.life)
        seams = Seams(
            MortalNetwork(self.network, self.life), self.bot_clock, random.Random(self.seed * 1000 + self.starts),
            open_inline_worker, self._open_sqlite, trace, self.crash_points,
            replace_file_of(self.life, lambda: self.state_fault()), WS_CLIENTS[self.settings.house.ws_client],
        )
        self.keyring = keyring = paper_keyring(self.settings, load_vault(self.settings), self.access)
        seams.redactor.register(*all_secrets(self.settings, keyring))
        configs = paper_configs(self.settings, self.access, keyring)
        config = ServiceConfig(self.settings, configs, self.tmp_path / "bot", keyring)
        self.bot = await self.nursery.start(partial(self._live, config, seams))
        return self.bot

    async def stop_bot(self) -> None:
        """SIGTERM: an ordered stop."""
        self.stop.request()
        await self._ended.wait()
        self.note_state_file("stop")

    async def kill_bot(self) -> None:
        """SIGKILL, now."""
        self._mark_dead()
        assert self._scope is not None
        self._scope.cancel()
        await self._ended.wait()

    @property
    def dead(self) -> bool:
        """No bot lives now, or the last one is just about to end."""
        return self.bot is None or self.life.dead or self.stop.requested.is_set()

    def note(self, kind: str, **fields: Any) -> None:
        """A row of the harness itself."""
        self.make_trace("harness", self.rows)(kind, **fields)

    def note_state_file(self, at: str) -> None:
        path = self.tmp_path / "bot" / "runtime_state.json"
        self.note("state_file", at=at, content=path.read_text(errors="replace") if path.exists() else None)

    async def wait_dead(self) -> None:
        """Until this life has ended, by a crash point for instance."""
        await self._ended.wait()

    def inject(self, venue: str, fault: str, **request: Any) -> None:
        assert self.access.inside is not None, "the venues run in this process"
        self.access.inside.faults.inject(VenueId(venue), fault, **request)

    def engine(self, venue: str) -> Any:
        assert self.access.inside is not None, "the venues run in this process"
        return self.access.inside.engines[VenueId(venue)]

    def of_kind(self, kind: str, who: str = "bot") -> list[dict[str, Any]]:
        return [row for row in self.rows if row["kind"] == kind and row["who"] == who]

    async def _live(
        self, config: ServiceConfig, seams: Seams, *, task_status: trio.TaskStatus[Service]
    ) -> None:
        ended = self._ended
        life = self.life
        try:
            with trio.CancelScope() as self._scope:
                await run_service(config, seams, stop=self.stop, task_status=task_status)
        except BaseExceptionGroup as group:
            _, rest = group.split(Killed)
            if rest is not None or not life.dead:
                raise
        except Killed:
            pass
        finally:
            ended.set()

    def _mark_dead(self) -> None:
        self.life.end()
        self.make_trace("bot", self.rows)("crash")
        self.note_state_file("crash")

    def _die(self) -> None:
        """Wherever the point was passed, in a request's task for instance, the whole life ends."""
        self._mark_dead()
        if self._scope is not None:
            self._scope.cancel()
        raise Killed

    def _open_sqlite(self, path: Path) -> Any:
        life = self.life

        def before(sql: str) -> None:
            if life.dead:
                raise sqlite3.OperationalError("dead")
            if self.disk_fault is not None:
                self.disk_fault(sql)

        return MortalConnection(open_sqlite(path), before)


@asynccontextmanager
async def open_world(
    tmp_path: Path,
    *,
    seed: int = 1,
    updates_per_s: float = 5.0,
    latency_s: float = 0.005,
    epoch_ns: int = EPOCH_NS,
    make_source: Callable[[VirtualClock], MarketSource] | None = None,
    make_trace: MakeTrace = MemoryTrace,
    limits: Mapping[VenueId, Sequence[Limit]] | None = None,
    given: Mapping[str, str] = MappingProxyType({}),
    **more: str,
) -> AsyncIterator[World]:
    """Venues that run; no bot yet. `given` and `more` are settings of every life of the bot; wall clocks begin at
    `epoch_ns`. `make_trace` makes the sink of one who writes into the world's rows; `limits` are rate
    limits in place of a venue's own."""
    clock = VirtualClock(epoch_ns)
    clock.wall_ns()  # the epoch is now
    network = MemoryNetwork()
    venues = (VenueId("binance-um"), VenueId("binance-spot"))
    source = SeenMarket(
        make_source(clock) if make_source is not None
        else SyntheticMarket(venues, seed, clock.wall_ns, updates_per_s)
    )
    rows: list[dict[str, Any]] = []
    host = HostConfig(venues=venues, fees=dict(DEFAULT_FEES), latency_s=latency_s, limits=limits or {})
    async with trio.open_nursery() as nursery:
        access: HostAccess = await nursery.start(
            partial(
                run_host, host, network=network, source=source, store_path=None,
                rng=random.Random(seed), mono_ns=lambda: round(trio.current_time() * 1e9),
                trace=make_trace("venue", rows), tls=False, ca_file=None,
            )
        )
        bot_clock = OffsetClock(clock.wall_ns)
        settings = {**given, **more}
        world = World(tmp_path, seed, clock, bot_clock, source, network, nursery, access, rows, settings, make_trace)
        yield world
        if world.bot is not None and not world._ended.is_set():
            await world.stop_bot()
        nursery.cancel_scope.cancel()
