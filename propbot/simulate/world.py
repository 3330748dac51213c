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
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio
from attrs import define, field

from propbot.app import Stop, run_service
from propbot.domain.instruments import Credentials, Endpoints, VenueId
from propbot.kit.clock import VirtualClock
from propbot.kit.crash import CrashPoints
from propbot.kit.disk import open_sqlite
from propbot.kit.memory import MemoryStream
from propbot.kit.net import Address, Handler, MemoryNetwork
from propbot.kit.threads import open_inline_worker
from propbot.kit.trace import MemoryTrace
from propbot.kit.ws_clients import WS_CLIENTS
from propbot.service import Seams, Service, ServiceConfig, VenueConfig
from propbot.settings import Settings, load_settings
from propbot.simvenue.access import HostAccess
from propbot.simvenue.host import HostConfig, run_host
from propbot.simvenue.instruments import DEFAULT_FEES
from propbot.simvenue.records import MarketSource
from propbot.simvenue.synthetic import SyntheticMarket
from propbot.venues.registry import make_dialect

EPOCH_NS = 1_790_000_000_000_000_000
"""Some moment of 2026: the simulated wall clock begins here."""


class Killed(BaseException):
    """The simulated SIGKILL: no `except Exception` of the service may see it."""


@define(eq=False)
class Life:
    """One life of the bot. After `dead` is set, nothing that it does has an effect outside of it."""

    dead: bool = False
    streams: list[MemoryStream] = field(factory=list)

    def end(self) -> None:
        """What an operating system does for a killed process: its connections are closed."""
        self.dead = True
        for stream in self.streams:
            stream.cut()


class MortalCrashPoints(CrashPoints):
    """A dead process passes no point any more; in particular it gives no file its name."""

    def __init__(self, at: str | None, action: Callable[[], None], life: Life) -> None:
        super().__init__(at, action)
        self._life = life

    def passage(self, name: str) -> None:
        if self._life.dead:
            raise Killed
        super().passage(name)


class MortalNetwork:
    """The world's network as one life of the bot sees it."""

    def __init__(self, inner: MemoryNetwork, life: Life) -> None:
        self._inner, self._life = inner, life

    async def connect(self, address: Address) -> trio.abc.Stream:
        if self._life.dead:
            raise ConnectionRefusedError("dead")
        stream = await self._inner.connect(address)
        assert isinstance(stream, MemoryStream)
        self._life.streams.append(stream)
        return stream

    async def serve(self, handler: Handler, host: str, port: int, **options: Any) -> None:
        await self._inner.serve(handler, host, port, **options)


class MortalConnection:
    """A SQLite connection whose owner can die, or whose disk can fail: `before` runs before each statement."""

    def __init__(self, inner: sqlite3.Connection, before: Callable[[str], None]) -> None:
        object.__setattr__(self, "_inner", inner)
        object.__setattr__(self, "_before", before)

    _inner: sqlite3.Connection
    _before: Callable[[str], None]

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        self._before(sql)
        return self._inner.execute(sql, *arguments)

    def executemany(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        self._before(sql)
        return self._inner.executemany(sql, *arguments)

    def commit(self) -> None:
        self._before("COMMIT")
        self._inner.commit()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._inner, name, value)


@define(eq=False)
class World:
    tmp_path: Path
    seed: int
    clock: VirtualClock
    network: MemoryNetwork
    nursery: trio.Nursery
    access: HostAccess
    rows: list[dict[str, Any]]
    given: dict[str, str]
    bot: Service | None = None
    life: Life = field(factory=Life)
    stop: Stop = field(factory=Stop)
    starts: int = 0
    settings: Settings | None = None
    disk_fault: Callable[[str], None] | None = None
    """Runs before each SQL statement of the bot's ledger; raises to make it fail."""
    _ended: trio.Event = field(factory=trio.Event)
    _scope: trio.CancelScope | None = None

    async def start_bot(self, crash_at: str | None = None, **more: str) -> Service:
        """A new life on the same data directory; `more` are settings of this life."""
        self.life, self.stop, self._ended = Life(), Stop(), trio.Event()
        self.starts += 1
        self.settings = load_settings({"DATA_DIR": str(self.tmp_path / "bot"), **self.given, **more}, None)
        (self.tmp_path / "bot").mkdir(exist_ok=True)
        trace = MemoryTrace("bot", self.rows)
        seams = Seams(
            MortalNetwork(self.network, self.life), self.clock, random.Random(self.seed * 1000 + self.starts),
            open_inline_worker, self._open_sqlite, trace,
            MortalCrashPoints(crash_at, self._die, self.life), open_websocket=WS_CLIENTS[self.settings.house.ws_client],
        )
        config = ServiceConfig(self.settings, self._venue_configs(), self.tmp_path / "bot")
        self.bot = await self.nursery.start(partial(self._live, config, seams))
        return self.bot

    async def stop_bot(self) -> None:
        """SIGTERM: an ordered stop."""
        self.stop.request()
        await self._ended.wait()

    async def kill_bot(self) -> None:
        """SIGKILL, now."""
        self._mark_dead()
        assert self._scope is not None
        self._scope.cancel()
        await self._ended.wait()

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
        try:
            with trio.CancelScope() as self._scope:
                await run_service(config, seams, stop=self.stop, task_status=task_status)
        except BaseExceptionGroup as group:
            _, rest = group.split(Killed)
            if rest is not None or not self.life.dead:
                raise
        except Killed:
            pass
        finally:
            ended.set()

    def _mark_dead(self) -> None:
        self.life.end()
        self.rows.append({"t": trio.current_time(), "who": "bot", "kind": "crash"})

    def _die(self) -> None:
        self._mark_dead()
        raise Killed

    def _open_sqlite(self, path: Path) -> Any:
        life = self.life

        def before(sql: str) -> None:
            if life.dead:
                raise sqlite3.OperationalError("dead")
            if self.disk_fault is not None:
                self.disk_fault(sql)

        return MortalConnection(open_sqlite(path), before)

    def _venue_configs(self) -> dict[VenueId, VenueConfig]:
        configs: dict[VenueId, VenueConfig] = {}
        assert self.settings is not None
        for venue in self.settings.trading.venues:
            each = self.access.venues[venue]
            dialect = make_dialect(venue, Credentials(each.api_key, each.api_secret))
            configs[venue] = VenueConfig(Endpoints(each.rest, each.ws, each.ws_api), dialect)
        return configs


@asynccontextmanager
async def open_world(
    tmp_path: Path,
    *,
    seed: int = 1,
    updates_per_s: float = 5.0,
    latency_s: float = 0.005,
    epoch_ns: int = EPOCH_NS,
    make_source: Callable[[VirtualClock], MarketSource] | None = None,
    **given: str,
) -> AsyncIterator[World]:
    """Venues that run; no bot yet. `given` are settings of every life of the bot; wall clocks begin at `epoch_ns`."""
    clock = VirtualClock(epoch_ns)
    clock.wall_ns()  # the epoch is now
    network = MemoryNetwork()
    venues = (VenueId("binance-um"), VenueId("binance-spot"))
    source = (
        make_source(clock) if make_source is not None
        else SyntheticMarket(venues, seed, clock.wall_ns, updates_per_s)
    )
    rows: list[dict[str, Any]] = []
    host = HostConfig(venues=venues, fees=dict(DEFAULT_FEES), latency_s=latency_s)
    async with trio.open_nursery() as nursery:
        access: HostAccess = await nursery.start(
            partial(
                run_host, host, network=network, source=source, store_path=tmp_path / "simvenue.db",
                rng=random.Random(seed), mono_ns=lambda: round(trio.current_time() * 1e9),
                trace=MemoryTrace("venue", rows), tls=False, ca_file=None,
            )
        )
        world = World(tmp_path, seed, clock, network, nursery, access, rows, given)
        yield world
        if world.bot is not None and not world._ended.is_set():
            await world.stop_bot()
        nursery.cancel_scope.cancel()
