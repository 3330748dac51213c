"""The virtual world of a replay: clock, network, venues and service in one process, and the order of its events.

Everything below `run_replay` is what `propbot run` runs; the seams differ, and nothing else.
"""

from __future__ import annotations

import random
from functools import partial

import trio
from attrs import frozen

from propbot.app import Stop, run_service
from propbot.compose import paper_configs, paper_fees
from propbot.control.desk import ServiceDesk
from propbot.domain.errors import SettingsError
from propbot.domain.instruments import VenueId
from propbot.domain.mode import Mode
from propbot.kit.clock import OffsetClock
from propbot.kit.crash import CrashPoints
from propbot.kit.disk import open_sqlite, replace_file_for_now
from propbot.kit.net import MemoryNetwork
from propbot.kit.threads import open_inline_worker
from propbot.kit.ws_clients import WS_CLIENTS
from propbot.replay.market import ReplayedMarket
from propbot.replay.result import AtEnd, BookAtEnd
from propbot.replay.sampler import run_sampler
from propbot.replay.trace import ReplayTrace
from propbot.seams import Seams, ServiceConfig
from propbot.service import Service
from propbot.settings import Settings
from propbot.simvenue.host import HostAccess, HostConfig, run_host

SEED = 20_261_128
BEGIN_S_MAX = 30.0
AGREE_S_MAX = 8.0
"""Books are given up after ten silent seconds: what is shown of the end is read before."""


@frozen
class ReplayPlan:
    settings: Settings
    """`house.data_dir` is where ledger and venue store go."""
    trace: ReplayTrace


async def run_replay(plan: ReplayPlan, market: ReplayedMarket) -> AtEnd:
    """Play `market` to its end, wind down, stop in order.

    RecordingError where a file goes wrong, SettingsError where the settings keep the service from ever beginning.
    """
    settings, data_dir = plan.settings, plan.settings.house.data_dir
    network = MemoryNetwork()
    host = HostConfig(
        venues=settings.trading.venues, fees=paper_fees(settings), latency_s=settings.paper.latency_s
    )
    async with trio.open_nursery() as nursery:
        access: HostAccess = await nursery.start(
            partial(
                run_host, host, network=network, source=market, store_path=data_dir / "simvenue.db",
                rng=random.Random(SEED), mono_ns=_virtual_ns, trace=plan.trace.venue, tls=False, ca_file=None,
            )
        )
        seams = Seams(
            network, OffsetClock(market.wall_ns), random.Random(SEED + 1), open_inline_worker, open_sqlite,
            plan.trace.bot, CrashPoints(), replace_file=replace_file_for_now,
            open_websocket=WS_CLIENTS[settings.house.ws_client],
        )
        config = ServiceConfig(settings, paper_configs(settings, access), data_dir)
        stop = Stop()
        ended = trio.Event()

        async def live(*, task_status: trio.TaskStatus[Service]) -> None:
            await run_service(config, seams, stop=stop, market_ended=access.ended, task_status=task_status)
            ended.set()

        service: Service = await nursery.start(live)
        for book in service.market.books.values():
            book.on_top = plan.trace.top
        await _wait_ready(service)
        nursery.start_soon(run_sampler, service, plan.trace)
        market.begin.set()
        await access.ended.wait()
        at_end = await _conclude(service)
        stop.request("the replay is over")
        await ended.wait()
        nursery.cancel_scope.cancel()
    return at_end


def _virtual_ns() -> int:
    return round(trio.current_time() * 1e9)


async def _wait_ready(service: Service) -> None:
    """Until both feeds listen and ledger and venues agree, so that no recorded frame is missed."""
    with trio.move_on_after(BEGIN_S_MAX):
        while not all(_is_ready(service, venue) for venue in service.venues):
            await service.news.wait_change()
        return
    raise SettingsError([f"the service did not get ready within {BEGIN_S_MAX:g} s of market: {service.why_not()}"])


def _is_ready(service: Service, venue: VenueId) -> bool:
    link = service.links[venue]
    return link.feed.connected and link.private_up and service.reconciler.state[venue].agreed_in_a_row > 0


async def _conclude(service: Service) -> AtEnd:
    """What the service shows after the last frame: the books at once, the rest when the HOLD that ends each recording
    has been wound down and every venue has agreed with the ledger again."""
    await trio.sleep(0.001)  # frames in memory arrive in no time, but not before somebody has run
    books = {venue: _book_at_end(service, venue) for venue in service.venues}
    await service.modes.level.wait(lambda view: view.mode is Mode.HOLD)
    with trio.move_on_after(AGREE_S_MAX):
        await service.winddown.done.wait()
        for venue in service.venues:
            await service.reconciler.check(venue)
    desk = ServiceDesk(service, service.keeper)
    pnl = desk.state_view().pnl
    total = None if pnl.realised is None or pnl.unrealised is None else pnl.realised + pnl.unrealised
    hold = service.modes.view.hold
    return AtEnd(
        books, total, pnl.fees, {venue: service.blotter.position(venue) for venue in service.venues},
        service.pipeline.decisions, "" if hold is None else hold.line(),
    )


def _book_at_end(service: Service, venue: VenueId) -> BookAtEnd:
    book = service.market.books[venue]
    top = book.top()
    return BookAtEnd(
        None if top is None else str(top.bid), None if top is None else str(top.ask), book.synced, book.resyncs
    )

