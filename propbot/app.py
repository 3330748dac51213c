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
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

import trio
from attrs import define, evolve, field

from propbot.assembly import assemble, join_preflight
from propbot.control.baseline import cost_gap_key
from propbot.control.keeper import StateKeeper, open_state_keeper
from propbot.control.modes import choose_start
from propbot.control.parameters import Chosen, apply_parameters, choose_parameters
from propbot.control.people_watch import PeopleWatch
from propbot.control.state_file import FILE_NAME
from propbot.domain.errors import AccessRefused, LedgerError, VenueError
from propbot.domain.instruments import Kind, VenueId
from propbot.domain.mode import Mode, Profile
from propbot.domain.money import amount_text, parse_amount
from propbot.execution.budget import Shares
from propbot.execution.first_contact import meet_venue
from propbot.execution.gateway import VenueGateway, open_gateway
from propbot.execution.pause_memory import remember_pauses
from propbot.execution.winddown import describe_half_done
from propbot.feeds.private import PrivateFeed
from propbot.feeds.public import PublicFeed
from propbot.kit.supervise import Backoff, describe, run_reporting_crash, run_restarting
from propbot.kit.threads import run_each
from propbot.ledger.store import open_ledger
from propbot.listing import run_listing
from propbot.reporting import report_parts
from propbot.sampling import note_series
from propbot.secrets.vault import VaultKeeper
from propbot.service import Seams, Service, ServiceConfig
from propbot.spread.funding import FundingDue
from propbot.status.incidents import KEPT_MAX

START_DEADLINE_S = 30.0
"""A start that has not reached "ledger equals venue" by then is a HOLD that says what is missing."""
SHUTDOWN_WINDDOWN_S = 3.0
LEDGER_PATIENCE_S = 0.5
STATE_GENERATION = "state_generation"
"""What the ledger remembers of the state file, so that an older copy of it is known for one."""
HEAD_TOLD_EVERY_S = 3600.0
KEYS_OF_THE_ENVIRONMENT = "no stored key is in force, those of the environment are: check and resume, or restart"
GOES_ON = frozenset({"state"})
"""Engine tasks that are begun again after their failure was told."""
GOES_ON_AFTER_S = 0.05
GOES_ON_EVERY_S = 1.0
"""After the first failure, and after each later one."""
FUNDING_EVERY_S = 60.0
FUNDING_RETRY_S = 1.0
"""While it is unknown nothing is opened; also how long after a settlement the next one is asked for."""



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
) -> None:
    """Run until asked to stop, then return. LedgerError if the ledger can't be opened. `market_ended` is set when a
    recording that we trade on has come to its end."""
    stop = stop or Stop()
    async with _open_service(config, seams) as service, trio.open_nursery() as root:
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
        await _wind_down_and_flush(service, stop.why)
        root.cancel_scope.cancel()


@asynccontextmanager
async def _open_service(config: ServiceConfig, seams: Seams) -> AsyncIterator[Service]:
    settings = config.settings
    async with AsyncExitStack() as stack:
        ledger = await stack.enter_async_context(
            open_ledger(
                config.data_dir / "ledger.db", clock=seams.clock, open_worker=seams.open_worker,
                open_connection=seams.open_sqlite, crash=seams.crash, synchronous=settings.house.ledger_sync,
            )
        )
        keeper = await stack.enter_async_context(
            open_state_keeper(
                config.data_dir, seams.open_worker, seams.crash, seams.trace, seams.replace_file,
                wall_ns=seams.clock.wall_ns,
            )
        )
        vault_worker = await stack.enter_async_context(seams.open_worker("secrets", run_each))
        gateways: dict[VenueId, VenueGateway] = {}
        for venue, each in config.venues.items():
            gateways[venue] = await stack.enter_async_context(
                open_gateway(
                    seams.network, each.endpoints, each.dialect, seams.clock,
                    Shares(settings.guarding.rate_pace_share, settings.guarding.rate_trip_share),
                )
            )
        stored = keeper.stored
        start = choose_start(
            configured=settings.start.mode, paper=settings.profile is Profile.PAPER,
            safe_mode=settings.start.safe_mode, dry_run_only=settings.start.dry_run_only,
            stored=None if stored is None else stored.view, now_ns=seams.clock.wall_ns(),
        )
        chosen = choose_parameters(settings, None if stored is None else stored.parameters)
        config = evolve(config, settings=apply_parameters(settings, chosen.parameters.patched))
        service = assemble(config, seams, ledger, gateways, start)
        service.secrets = VaultKeeper(
            config.keyring.vault, vault_worker, seams.crash, seams.replace_file, seams.clock
        )
        join_preflight(service, await stack.enter_async_context(seams.open_worker("preflight", run_each)))
        seams.trace("start", mode=str(start.mode))
        seams.trace("mode", mode=str(start.mode), source="startup", reason="")
        _take_up_state(service, keeper, chosen)
        await _load_ledger(service)
        await _compare_state(service)
        if keeper.problem is not None:
            service.trip(keeper.problem, "guard:state")
        if config.keyring.vault.problem is not None:
            service.trip(f"{config.keyring.vault.problem}; {KEYS_OF_THE_ENVIRONMENT}", "guard:secrets")
        for line in remember_pauses(gateways, service.counters):  # before the first byte to any venue
            service.journal.say("WARN", "rate_limit", line)
        await service.approvals.take_up(str(service.modes.view.mode))
        yield service


def _take_up_state(service: Service, keeper: StateKeeper, chosen: Chosen) -> None:
    """What an earlier life left beside the ledger."""
    service.keeper, service.parameters = keeper, chosen.parameters
    for text in chosen.told:
        service.journal.say("WARN", "config", text, source="startup")
    stored = keeper.stored
    if stored is not None:
        service.counters.load(stored.counters)
        if stored.basis is not None:
            service.basis.take_up(stored.basis, service.seams.clock.wall_ns())


async def _compare_state(service: Service) -> None:
    """State file and ledger belong together: where one is an older copy than the other, or is gone, nobody should
    trade before somebody has looked."""
    ledger, stored = service.ledger, service.keeper.stored
    told = await ledger.meta_get(STATE_GENERATION)
    problem = None
    if stored is None and service.keeper.problem is None and told is not None:
        problem = f"{FILE_NAME} is gone, though this ledger has been in use with one"
    elif stored is not None and told is not None and stored.generation < int(told):
        problem = f"{FILE_NAME} is an older copy than the ledger: generation {stored.generation}, not {told} or later"
    elif stored is not None and stored.head is not None and not await ledger.has_event(stored.head):
        problem = f"ledger.db is an older copy than {FILE_NAME}, or was cut: its journal has no row {stored.head.id}"
    if told is not None:
        service.keeper.go_on_from(int(told))
    if problem is not None:
        service.trip(f"{problem}; check mode, flags, parameters and positions, and resume", "guard:state")


async def _load_ledger(service: Service) -> None:
    """What an earlier life knew."""
    ledger = service.ledger
    unfinished = (*await ledger.unfinished_orders(), *await ledger.orders_missing_fills())
    service.blotter.load(
        await ledger.all_fills(), await ledger.live_lots(), unfinished, await ledger.all_funding()
    )
    service.simulator.load(await ledger.live_lots(simulated=True), await ledger.all_fills(simulated=True))
    service.baselines.update(await ledger.baselines())
    service.incidents.load(*await ledger.last_incidents(KEPT_MAX))
    for venue in service.venues:
        gap = await ledger.meta_get(cost_gap_key(venue))
        if gap is not None:
            service.cost_gaps[venue] = parse_amount(gap)
    rest = describe_half_done(service.blotter, service.base)
    if rest:
        service.journal.say("WARN", "startup", f"taken up from the last life: {rest}")


def _start_tasks(root: trio.Nursery, service: Service) -> None:
    engine: dict[str, Callable[[], Awaitable[None]]] = {
        "startup": partial(_run_startup, service),
        "reconciler": partial(_run_reconciler, service),
        "resolver": service.resolver.run,
        "bookkeeper": service.bookkeeper.run,
        "fill_search": service.bookkeeper.run_fill_search,
        "order_log": service.blotter.log.run,
        "journal": partial(service.journal.run, service.ledger),
        "incidents": partial(service.incidents.run, service.ledger),
        "trading": partial(service.modes.switch.run_while_armed, partial(_run_trading, service)),
        "winddown": partial(_run_winddown, service),
        "drain": partial(_run_drain, service),
        "state": partial(_run_state, service),
        "status": partial(_run_status, service),
        "disk": service.disk.run,
        "watchdog": service.watchdog.run,
        "loop_lag": partial(service.lag.run, service.on_lag_sample),
        "head": partial(_run_head, service),
    }
    if service.config.settings.start.two_man_rule:
        engine["approvals"] = partial(service.approvals.run, service.report_approvals)
    else:
        service.report_approvals(())
    if service.config.settings.api.operators_file is not None:
        engine["operators"] = partial(_run_operators, service, service.config.settings.api.operators_file)
    for guard_id, watch in service.watches.items():
        engine[f"guard:{guard_id}"] = watch.run
    for venue in service.venues:
        engine[f"feed:{venue}"] = partial(_run_feed, service, venue)
        engine[f"private:{venue}"] = partial(_run_private, service, venue)
        engine[f"gateway:{venue}"] = partial(_run_gateway, service, venue)
        engine[f"listing:{venue}"] = partial(run_listing, service, venue)
        if venue in service.dead_men:
            engine[f"dead_man:{venue}"] = partial(_run_dead_man, service, venue)
        if service.config.venues[venue].dialect.kind is Kind.PERP:
            engine[f"funding:{venue}"] = partial(_run_funding, service, venue)
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


# --- venues


def _backoff(service: Service) -> Backoff:
    return Backoff(service.seams.rng)


async def _run_feed(service: Service, venue: VenueId) -> None:
    each, gateway = service.config.venues[venue], service.gateways[venue]
    feed = PublicFeed(
        network=service.seams.network, endpoints=each.endpoints, dialect=each.dialect, symbol=service.pair,
        book=service.market.books[venue], fetch_snapshot=partial(gateway.depth, service.pair),
        clock=service.seams.clock, rng=service.seams.rng, on_change=partial(service.pipeline.on_book, venue),
        on_problem=partial(service.on_problem, venue), venue_now_ms=gateway.venue_now_ms,
        open_websocket=service.seams.open_websocket, health=service.links[venue].feed,
    )
    await run_restarting(f"feed:{venue}", feed.run_session, backoff=_backoff(service), on_failure=_failed(service))


async def _run_private(service: Service, venue: VenueId) -> None:
    each, gateway = service.config.venues[venue], service.gateways[venue]
    await service.links[venue].met_once.wait()  # what is signed needs the venue's clock
    feed = service.private_feeds[venue] = PrivateFeed(
        network=service.seams.network, endpoints=each.endpoints, dialect=gateway.dialect, ask=gateway.ask,
        ts_ms=gateway.ts_ms, clock=service.seams.clock, on_event=partial(service.on_private_event, venue),
        on_up=partial(service.on_private_up, venue), on_down=partial(service.on_private_down, venue),
        on_problem=partial(service.on_problem, venue), open_websocket=service.seams.open_websocket,
        health=service.links[venue].private, on_unreadable=service.on_unreadable,
    )

    async def session(backoff: Backoff) -> None:
        await gateway.pace.wait_unpaused()  # the first request of a private session counts against us, on spot too
        await feed.run_session(backoff)

    await run_restarting(f"private:{venue}", session, backoff=_backoff(service), on_failure=_failed(service))


async def _run_gateway(service: Service, venue: VenueId) -> None:
    async def session(backoff: Backoff) -> None:
        await _meet(service, venue)
        backoff.reset()
        await service.gateways[venue].keep_warm()

    await run_restarting(f"gateway:{venue}", session, backoff=_backoff(service), on_failure=_failed(service))


async def _meet(service: Service, venue: VenueId) -> None:
    link = service.links[venue]
    if link.met is not None:
        return
    try:
        met = await meet_venue(venue, service.pair, service.gateways[venue], service.ledger)
    except AccessRefused as error:
        service.on_access_refused(venue, str(error))
        raise
    except (VenueError, LedgerError) as error:
        link.meeting_error = str(error)
        raise
    service.mark_met(venue, met)
    service.journal.say("INFO", "venue", f"{venue} met", venue=venue, taker_fee_bps=amount_text(met.fees.taker_bps))
    service.reconciler.look_now(venue)


async def _run_dead_man(service: Service, venue: VenueId) -> None:
    await service.links[venue].met_once.wait()  # what is signed needs the venue's clock
    await service.dead_men[venue].run()


async def _run_funding(service: Service, venue: VenueId) -> None:
    """Keep the expected funding fresh; one that can't be read is kept until it is outdated."""
    gateway, told = service.gateways[venue], ""
    await service.links[venue].met_once.wait()
    while True:
        try:
            outlook = await gateway.funding_outlook(service.pair)
        except VenueError as error:
            if told != str(error):
                told = str(error)
                service.on_problem(venue, f"{venue}: funding could not be read: {told}")
            await trio.sleep(FUNDING_RETRY_S if service.market.funding_problem(venue) else FUNDING_EVERY_S / 4)
            continue
        told = ""
        assert outlook is not None, "only perps have this task"
        now_s = service.seams.clock.mono_s()
        due = service.market.funding[venue] = FundingDue.of(outlook, gateway.ts_ms(), now_s)
        service.pipeline.wake()
        await trio.sleep(min(max(due.due_mono_s - now_s, 0.0) + FUNDING_RETRY_S, FUNDING_EVERY_S))


def _failed(service: Service) -> Callable[[str, BaseException], None]:
    return lambda name, error: service.session_failed(name, error, describe(error))


# --- start, trading, stop


async def _run_startup(service: Service) -> None:
    """Arm trading once every venue agrees with the ledger and no order's outcome is open; say so when it takes long.
    The only engine task that may return."""
    with trio.move_on_after(START_DEADLINE_S) as scope:
        await _wait_agreement(service)
    if scope.cancelled_caught:
        reason = f"the start did not reach 'ledger equals venue' in {START_DEADLINE_S:g} s: {_missing(service)}"
        service.modes.hold(reason, "startup")
        service.journal.say("ERROR", "startup", reason)
        await _wait_agreement(service)
    passed = await service.run_preflight("start")  # one that failed is a HOLD by its guard before anything is armed
    service.modes.let_trade()
    for incident in service.incidents.open_ones():
        if incident.kind == "crash" and incident.component_id.removeprefix("task:") not in service.dead_tasks:
            service.incidents.resolve(incident.id, "the service was started again, and the task runs")
    if passed.ok:
        service.journal.say("INFO", "startup", "ledger equals venue; orders may be sent as far as the mode allows")


async def _wait_agreement(service: Service) -> None:
    while _missing(service):
        await service.news.wait_change()


def _missing(service: Service) -> str:
    """What still keeps trading from being armed."""
    for venue in service.venues:
        link = service.links[venue]
        if link.met is None:
            return f"{venue}: {link.meeting_error}"
    uncertain = [order for order in service.blotter.orders.values() if order.uncertain]
    if uncertain:
        return f"the outcome of {len(uncertain)} orders is unknown, first {uncertain[0].request.client_order_id}"
    for venue in service.venues:
        state = service.reconciler.state[venue]
        if state.agreed_in_a_row < 1:
            reason = service.unusable(venue) or "not reconciled yet"
            return reason
    return ""


async def _run_reconciler(service: Service) -> None:
    for link in service.links.values():
        await link.met_once.wait()
    await service.reconciler.run()


async def _run_trading(service: Service) -> None:
    """The execution scope's task. A ledger that fails is a HOLD, which cancels this scope."""
    try:
        await service.pipeline.run()
    except LedgerError as error:
        service.on_ledger_failure(str(error))


async def _run_winddown(service: Service) -> None:
    """Once for every HOLD: hedge, cancel, read back."""
    modes, winddown = service.modes, service.winddown
    while True:
        await modes.level.wait(lambda view: view.mode is Mode.HOLD and modes.episode != winddown.episode)
        winddown.episode = modes.episode
        service.journal.say("WARN", "hold", _hold_line(service), source=_hold_source(service))
        service.incidents.note("hold", _hold_line(service))
        await winddown.run_once(modes.rules.hedge_deadline_s)
        service.incidents.note("winddown", "the wind-down has ended", service.situation())
        service.journal.say("INFO", "hold", _hold_line(service), source=_hold_source(service))
        if not winddown.cleared:
            await _clear_rest(service)


async def _clear_rest(service: Service) -> None:
    """A venue that could not be read back is asked again until it says what is left, or the HOLD is another one."""
    modes, winddown = service.modes, service.winddown
    async with trio.open_nursery() as nursery:

        async def end_with_hold() -> None:
            await modes.level.wait(lambda view: view.mode is not Mode.HOLD or modes.episode != winddown.episode)
            nursery.cancel_scope.cancel()

        nursery.start_soon(end_with_hold)
        await winddown.clear_rest()
        service.journal.say("INFO", "hold", _hold_line(service), source=_hold_source(service))
        nursery.cancel_scope.cancel()


def _hold_line(service: Service) -> str:
    hold = service.modes.view.hold
    return "HOLD was left" if hold is None else hold.line()


def _hold_source(service: Service) -> str:
    hold = service.modes.view.hold
    return "" if hold is None else hold.first.source


async def _run_drain(service: Service) -> None:
    """DRAIN's deadline: what is still open by then is named in a HOLD."""
    level = service.modes.level
    while True:
        await level.wait(lambda view: view.mode is Mode.DRAIN)
        service.pipeline.wake()
        asked = service.drain_asked
        timeout_s = service.drain_timeout_s if asked is None else asked.timeout_s
        with trio.move_on_after(timeout_s):
            await level.wait(lambda view: view.mode is not Mode.DRAIN)
        if service.modes.view.mode is Mode.DRAIN:
            lots = service.blotter.lots
            left = ", ".join(f"{lot.id} {amount_text(lot.qty)} {service.base}" for lot in lots.values())
            if service.exposed():
                left = ", ".join(filter(None, [left, f"net exposure {amount_text(service.blotter.exposure())}"]))
            reason = f"DRAIN's {timeout_s:g} s are over; left: {left or 'nothing'}"
            service.trip(reason, "guard:drain")


async def _run_state(service: Service) -> None:
    """Mode and parameters at once, the rest every second. A disk that fails is a HOLD, said once until it is over."""
    keeper, told, mode = service.keeper, "", None
    while True:
        view, parameters = service.modes.view, service.parameters
        try:
            await keeper.save(
                view, service.basis.state(service.seams.clock.wall_ns()),
                counters=service.counters.all(), parameters=parameters, head=service.ledger.head,
            )
            told = ""
            if view.mode is not mode:
                mode = view.mode
                await _remember_generation(service)
        except OSError:
            if keeper.failed is not None and told != keeper.failed:
                told = keeper.failed
                service.trip(f"the state can't be kept: {told}", "guard:ledger")
        if service.modes.view is view and service.parameters is parameters:  # no checkpoint from here to the wait
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
        service.note_measures()
        note_series(service)
        service.report_components()
        if rounds % 4 == 0:
            report_parts(service)
        rounds += 1
        service.heartbeat_mono_s = service.seams.clock.mono_s()
        await trio.sleep(0.25)


async def _run_operators(service: Service, path: Path) -> None:
    """Who is let in, in step with the file: a token that was taken out stops working."""

    watch = PeopleWatch(
        path, service.people, service.seams.open_worker, service.journal.say, service.report_operators,
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
            service.modes.hold(stop.why, "shutdown")  # now, before anybody else has run


async def _wind_down_and_flush(service: Service, why: str) -> None:
    """HOLD, hedge what is naked within 3 s, and keep the mode; the ledger is closed after everything else."""
    service.modes.hold(why, "shutdown")
    with trio.move_on_after(SHUTDOWN_WINDDOWN_S) as cut:
        await service.winddown.done.wait()
    rest = service.winddown.describe_rest(service.base)
    if rest:
        when = f"the wind-down was cut short after {SHUTDOWN_WINDDOWN_S:g} s" if cut.cancelled_caught else "it stopped"
        service.journal.say("WARN", "shutdown", f"{when}; left for the next start: {rest}")
    with trio.move_on_after(0.3):
        await service.keeper.wait_saved(lambda: service.modes.view)
        while not service.bookkeeper.idle:
            await service.blotter.wait_change()
        await service.journal.wait_written()


