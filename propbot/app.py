"""The nursery tree: every task that lives, and what outlives what. Nesting is shutdown order.

    run_service
    └─ ledger, state, secrets, gateways          (async with: they outlive everything below)
       └─ root nursery
          ├─ feed:<venue>, private:<venue>       restarted with jittered back-off
          ├─ gateway:<venue>                     keeps the order connection warm, measures the venue's clock
          ├─ meet:<venue>, startup               first contact; then trading may be armed
          ├─ listing:<venue>                     filters and status of the symbol, read again
          ├─ dead_man:<venue>                    the venue's dead-man switch, armed while orders of ours rest
          ├─ funding:<venue>                     perps: what funding is expected next
          ├─ guard:<id>                          a guard that trips, crashes, hangs or returns: HOLD
          ├─ watchdog, loop_lag                  who watches the guards; how late the loop is, and who watches that
          ├─ reconciler, resolver                ledger ⇄ venue; the one outcome of UNKNOWN orders
          ├─ bookkeeper, fill_search             what is known becomes durable
          ├─ order_log                           the life of each order, line by line, in the log
          ├─ journal, incidents                  so does what happened, and what went wrong
          ├─ trading                             while armed: the execution scope, the spread loop
          ├─ winddown, drain                     after a HOLD: hedges and cancels, bounded; DRAIN's deadline
          ├─ state                               mode and basis to disk
          ├─ status, disk                        components and what is measured for them; room in the data directory
          ├─ approvals, operators                proposals expire; OPERATORS_FILE is read again
          ├─ head                                the journal's head into the log, hourly
          ├─ market                              a recording that is traded on ends: HOLD
          ├─ api                                 hypercorn; its death is an incident and a HOLD
          ├─ telegram                            where there is a chat; its death is a WARN, never a HOLD
          └─ signals                             SIGTERM, SIGINT: HOLD, wind down, stop
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import trio
from attrs import define, field

from propbot.control.keeper import FULL_DISK
from propbot.control.people_watch import PeopleWatch
from propbot.control.state_file import FILE_NAME
from propbot.domain.errors import LedgerError
from propbot.kit.supervise import describe, run_reporting_crash
from propbot.mode_tasks import run_drain, run_reconciler, run_startup, run_trading, run_winddown
from propbot.opening import STATE_GENERATION, open_service
from propbot.reporting import report_approvals, report_engine, report_operators, report_parts
from propbot.sampling import note_measures, note_series
from propbot.seams import Seams, ServiceConfig
from propbot.service import Service
from propbot.venue_tasks import venue_tasks
from propbot.watching import on_lag_sample

SHUTDOWN_WINDDOWN_S = 3.0
FLUSH_S = 0.8
LEDGER_PATIENCE_S = 0.5
HEAD_TOLD_EVERY_S = 3600.0
GOES_ON = frozenset({"state"})
"""Engine tasks that are begun again after their failure was told."""
GOES_ON_AFTER_S = 0.05
GOES_ON_EVERY_S = 1.0
"""After the first failure, and after each later one."""


class ServeApi(Protocol):
    async def __call__(
        self, service: Service, shutdown: trio.Event, *, task_status: trio.TaskStatus[object]
    ) -> None:
        """Serves until cancelled, `started` once it listens; ends its clients by itself once `shutdown` is set."""
        ...


@define(eq=False)
class Stop:
    """Ask the service to stop, from anywhere in the loop: `request` returns at once."""

    requested: trio.Event = field(factory=trio.Event)
    why: str = "stopped"

    def request(self, why: str = "stopped") -> None:
        self.why = why
        self.requested.set()


async def run_service(
    config: ServiceConfig,
    seams: Seams,
    *,
    serve_api: ServeApi | None = None,
    stop: Stop | None = None,
    market_ended: trio.Event | None = None,
    with_signals: bool = False,
    task_status: trio.TaskStatus[Service] = trio.TASK_STATUS_IGNORED,
) -> Sequence[str]:
    """Run until asked to stop, then return: what could not be kept on disk, a line each; nothing where all was.
    LedgerError if the ledger can't be opened. `market_ended` is set when a recording that we trade on has come to its
    end."""
    stop = stop or Stop()
    lost: Sequence[str] = ()
    async with open_service(config, seams) as service, trio.open_nursery() as root:
        api_stop = trio.Event()
        if serve_api is not None:  # first: an address that is taken ends the start before anything trades
            await root.start(_run_api, service, serve_api, api_stop)
        _start_tasks(root, service)
        if service.chat is not None:
            from propbot.messaging import run_telegram  # brings httpx along: an eighth of a second, for who wants it

            root.start_soon(run_telegram, service, service.chat, name="telegram")
        if market_ended is not None:
            root.start_soon(_watch_market, service, market_ended)
        if with_signals:
            root.start_soon(_watch_signals, service, stop)
        task_status.started(service)
        await stop.requested.wait()
        api_stop.set()
        lost = await _wind_down_and_flush(service, stop.why)
        root.cancel_scope.cancel()
    return lost


def _start_tasks(root: trio.Nursery, service: Service) -> None:
    engine: dict[str, Callable[[], Awaitable[None]]] = {
        "startup": partial(run_startup, service),
        "reconciler": partial(run_reconciler, service),
        "resolver": service.resolver.run,
        "bookkeeper": service.bookkeeper.run,
        "fill_search": service.bookkeeper.run_fill_search,
        "order_log": service.blotter.log.run,
        "journal": partial(service.journal.run, service.ledger),
        "incidents": partial(service.incidents.run, service.ledger),
        "trading": partial(service.modes.switch.run_while_armed, partial(run_trading, service)),
        "winddown": partial(run_winddown, service),
        "drain": partial(run_drain, service),
        "state": partial(_run_state, service),
        "status": partial(_run_status, service),
        "disk": service.disk.run,
        "watchdog": service.watchdog.run,
        "loop_lag": partial(service.lag.run, partial(on_lag_sample, service)),
        "head": partial(_run_head, service),
    }
    if service.config.settings.start.two_man_rule:
        engine["approvals"] = partial(service.approvals.run, partial(report_approvals, service))
    else:
        report_approvals(service, ())
    if service.config.settings.api.operators_file is not None:
        engine["operators"] = partial(_run_operators, service, service.config.settings.api.operators_file)
    for guard_id, watch in service.watches.items():
        engine[f"guard:{guard_id}"] = watch.run
    for venue in service.venues:
        engine |= venue_tasks(service, venue)
    for name, task in engine.items():
        root.start_soon(_engine_task, service, name, task, name=name)


async def _engine_task(service: Service, name: str, task: Callable[[], Awaitable[None]]) -> None:
    """A task that must not end: its end, for whatever reason, is a HOLD that names it."""

    told: str | None = None

    def ended(task_name: str, error: BaseException | None) -> None:
        nonlocal told
        story = "it returned" if error is None else describe(error)
        if (name != "startup" or error is not None) and story != told:  # one that goes on may fail so for hours
            told = story
            service.task_ended(task_name, error, story)

    await run_reporting_crash(name, task, on_crash=ended)
    again_s = GOES_ON_AFTER_S
    while name in GOES_ON:  # it stays accused, and HOLD can't be left; but the HOLD itself must become durable
        await trio.sleep(again_s)
        await run_reporting_crash(name, task, on_crash=ended)
        again_s = GOES_ON_EVERY_S


async def _run_api(
    service: Service, serve_api: ServeApi, shutdown: trio.Event, *, task_status: trio.TaskStatus[object]
) -> None:
    """An address that can't be listened on ends the start; an API that dies later is an incident and a HOLD."""
    listening = False

    class Started:
        def started(self, value: object = None) -> None:
            nonlocal listening
            listening = True
            task_status.started(value)

    def ended(name: str, error: BaseException | None) -> None:
        if error is not None and not listening:
            raise error
        service.task_ended(name, error, "it returned" if error is None else describe(error))

    await run_reporting_crash("api", lambda: serve_api(service, shutdown, task_status=Started()), on_crash=ended)


async def _run_state(service: Service) -> None:
    """Mode and parameters at once, the rest every second. A disk that fails is a HOLD, said once until it is over."""
    keeper, told, mode, reserve_told = service.keeper, "", None, False
    while True:
        view, parameters, ending = service.modes.view, service.parameters, service.keeper.ending
        try:
            await keeper.save(
                view, service.basis.state(service.seams.clock.wall_ns()),
                counters=service.counters.all(), parameters=parameters, head=service.ledger.head,
            )
            told = ""
            if keeper.reserve_used and not reserve_told:
                reserve_told = True
                service.trip(FULL_DISK, "guard:ledger")
            if view.mode is not mode:
                mode = view.mode
                await _remember_generation(service)
        except OSError:
            if keeper.failed is not None and told != keeper.failed:
                told = keeper.failed
                service.trip(f"the state can't be kept: {told}", "guard:ledger")
        changed = service.modes.view is not view or service.parameters is not parameters or keeper.ending != ending
        if not changed:  # no checkpoint from here to the wait
            with trio.move_on_after(1.0):
                await service.modes.level.wait_change()


async def _remember_generation(service: Service) -> None:
    with trio.move_on_after(LEDGER_PATIENCE_S):
        try:
            await service.ledger.meta_put(STATE_GENERATION, str(service.keeper.generation))
        except LedgerError:
            pass  # its guard knows; the next start just knows an older generation


async def _run_head(service: Service) -> None:
    """The journal's head into the log, where no edit of the data directory reaches it."""
    while True:
        head = service.ledger.head
        if head is not None:
            service.journal.say("INFO", "audit", f"journal head {head.id} {head.hash}", source="ledger")
        await trio.sleep(HEAD_TOLD_EVERY_S)


async def _run_status(service: Service) -> None:
    rounds = 0
    while True:
        note_measures(service)
        note_series(service)
        report_engine(service)
        if rounds % 4 == 0:
            report_parts(service)
        rounds += 1
        service.heartbeat_mono_s = service.seams.clock.mono_s()
        await trio.sleep(0.25)


async def _run_operators(service: Service, path: Path) -> None:
    """Who is let in, in step with the file: a token that was taken out stops working."""

    watch = PeopleWatch(
        path, service.people, service.seams.open_worker, service.journal.say, partial(report_operators, service),
        service.approvals.look,
    )
    await watch.run()


async def _watch_market(service: Service, ended: trio.Event) -> None:
    await ended.wait()
    service.trip("the recording ended: there is no market any more", "guard:market")


async def _watch_signals(service: Service, stop: Stop) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            stop.request(f"stopped by {signal.Signals(number).name}")
            _hold_for_good(service, stop.why)  # now, before anybody else has run


def _hold_for_good(service: Service, why: str) -> None:
    """This life's last HOLD, which is kept as that."""
    service.keeper.ending = True
    service.modes.hold(why, "shutdown")
    service.modes.level.touch()  # a cause that was known before changes nothing, and has to be kept all the same


async def _wind_down_and_flush(service: Service, why: str) -> Sequence[str]:
    """HOLD, hedge what is naked within 3 s, and keep the mode; the ledger is closed after everything else. Returns what
    could not be kept."""
    _hold_for_good(service, why)
    with trio.move_on_after(SHUTDOWN_WINDDOWN_S) as cut:
        await service.winddown.done.wait()
    rest = service.winddown.describe_rest(service.base)
    if rest:
        when = f"the wind-down was cut short after {SHUTDOWN_WINDDOWN_S:g} s" if cut.cancelled_caught else "it stopped"
        service.journal.say("WARN", "shutdown", f"{when}; left for the next start: {rest}")
    with trio.move_on_after(FLUSH_S):
        await service.keeper.wait_saved(lambda: service.modes.view)
        while not service.bookkeeper.idle:
            await service.blotter.wait_change()
        await service.journal.wait_written()
    return _not_kept(service)


def _not_kept(service: Service) -> list[str]:
    view, keeper = service.modes.view, service.keeper
    lost: list[str] = []
    if keeper.lacks(view, service.parameters):
        why = keeper.failed or f"{FILE_NAME}: the disk does not answer"
        lost.append(f"{view.mode} was not kept ({why}): the next start goes on from an older state")
    if view.hold is not None and lost:
        lost += [f"not kept of this HOLD: {each.source}: {each.reason}" for each in view.hold.causes]
    incidents, rows = service.incidents.unsaved, service.journal.unwritten
    if incidents or (lost and rows):  # rows alone may still be on their way
        lost.append(f"not in the ledger: incidents: {incidents}, rows of the journal: {rows}; the log has them")
    return lost


