"""Stopping while the disk hangs: in this process, on the real clock, with real threads; the connection hangs."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import trio

from propbot.app import Stop, run_service
from propbot.domain.instruments import Credentials, Endpoints, VenueId
from propbot.domain.mode import Mode
from propbot.kit.clock import SystemClock
from propbot.kit.crash import CrashPoints
from propbot.kit.disk import open_sqlite
from propbot.kit.net import MemoryNetwork
from propbot.kit.threads import open_thread_worker
from propbot.kit.trace import no_trace
from propbot.seams import Seams, ServiceConfig, VenueConfig
from propbot.settings import load_settings
from propbot.simvenue.host import HostConfig, run_host
from propbot.simvenue.synthetic import SyntheticMarket
from propbot.venues.registry import make_dialect

VENUES = (VenueId("binance-um"), VenueId("binance-spot"))


class HangingConnection:
    """SQLite on a disk that answers until `hang` is set, and never again after that."""

    def __init__(self, inner: sqlite3.Connection, hang: threading.Event, release: threading.Event) -> None:
        self.__dict__.update(_inner=inner, _hang=hang, _release=release)

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        if self._hang.is_set():
            self._release.wait(60)
        return self._inner.execute(sql, *arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._inner, name, value)


async def test_a_stop_takes_under_five_seconds_with_the_disk_hanging(tmp_path: Path) -> None:
    hang, release = threading.Event(), threading.Event()
    network = MemoryNetwork()
    settings = load_settings({"DATA_DIR": str(tmp_path)}, None)
    async with trio.open_nursery() as nursery:
        source = SyntheticMarket(VENUES, 1, time.time_ns, 10.0)
        access = await nursery.start(
            partial(
                run_host, HostConfig(venues=VENUES), network=network, source=source, store_path=None,
                rng=random.Random(1), mono_ns=time.monotonic_ns, trace=no_trace, tls=False, ca_file=None,
            )
        )
        configs = {
            venue: VenueConfig(
                Endpoints(each.rest, each.ws, each.ws_api),
                make_dialect(venue, Credentials(each.api_key, each.api_secret)),
            )
            for venue, each in access.venues.items()
        }
        seams = Seams(
            network, SystemClock(), random.Random(2), open_thread_worker,
            lambda path: HangingConnection(open_sqlite(path), hang, release),  # type: ignore[arg-type,return-value]
            no_trace, CrashPoints(),
        )
        stop, ended = Stop(), trio.Event()

        async def live(*, task_status: trio.TaskStatus[Any]) -> None:
            await run_service(ServiceConfig(settings, configs, tmp_path), seams, stop=stop, task_status=task_status)
            ended.set()

        service = await nursery.start(live)
        with trio.fail_after(30):
            while not service.blotter.lots:
                await trio.sleep(0.05)
        hang.set()
        with trio.fail_after(15):  # the ledger guard says so by itself
            await service.modes.level.wait(lambda view: view.mode is Mode.HOLD)
        assert "ledger" in service.modes.view.hold.line()
        began = time.monotonic()
        stop.request()
        with trio.fail_after(10):
            await ended.wait()
        took_s = time.monotonic() - began
        release.set()  # the worker's thread may end now
        assert took_s < 5, took_s
        nursery.cancel_scope.cancel()
