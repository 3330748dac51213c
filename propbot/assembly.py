"""The parts of the service put together: what each is given. Nothing runs yet, and nothing has been asked.

Every part gets the narrowest capability that serves it: guards can trip and not arm, feeds can publish and know
nothing else, the executor asks for the gate's state and can't change it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import trio

from propbot.books.book import OrderBook
from propbot.control.approvals import Approvals
from propbot.control.checks import DiskSeen, PreflightRules
from propbot.control.journal import Journal
from propbot.control.modes import ModeKeeper, ModeRules, ModeView
from propbot.control.preflight import PreflightRunner
from propbot.decision.decide import ExitRules
from propbot.domain.instruments import Fees, Instrument, VenueId
from propbot.domain.mode import Profile
from propbot.domain.pnl import PositionAccount
from propbot.execution.blotter import Blotter
from propbot.execution.bookkeeper import Bookkeeper
from propbot.execution.dead_man import DeadMan
from propbot.execution.executor import Executor
from propbot.execution.gateway import VenueGateway
from propbot.execution.reconcile import Reconciler
from propbot.execution.resolver import Resolver
from propbot.execution.sight import ExecutionRules
from propbot.execution.simulation import SimulatedExecutor, mark_simulated
from propbot.execution.winddown import WindDown
from propbot.hearing import on_access_refused, on_foreign_fills, on_recon
from propbot.kit.disk import check_directory, free_mb
from propbot.kit.ids import Ids
from propbot.kit.level import Level
from propbot.kit.switch import Switch
from propbot.kit.threads import Worker
from propbot.ledger.store import Ledger
from propbot.market import TradingMarket
from propbot.pipeline import Pipeline, TradeRules
from propbot.risk.limits import Limits
from propbot.seams import Seams, ServiceConfig
from propbot.service import Service, VenueLink
from propbot.settings import Settings
from propbot.spread.reference import MovingBasis
from propbot.status.board import Board
from propbot.status.day import TradingDay
from propbot.status.disk import DiskSpace
from propbot.status.incidents import Incidents
from propbot.status.slo import Slo, Windows
from propbot.telegram.health import Chat, ChatHealth
from propbot.watching import join_guards, order_rate_refusal


def assemble(
    config: ServiceConfig,
    seams: Seams,
    ledger: Ledger,
    gateways: Mapping[VenueId, VenueGateway],
    start: ModeView,
) -> Service:
    """Put the parts together; nothing runs yet, nothing was asked."""
    settings = config.settings
    base, quote = _split_pair(settings.trading.pair)
    clock = seams.clock
    switch = Switch()
    modes = ModeKeeper(
        Level(start), switch, ModeRules(settings.start.hold_exit, settings.start.hedge_deadline_s), clock, seams.trace
    )
    instruments: dict[VenueId, Instrument] = {}
    fees: dict[VenueId, Fees] = {}
    books = {venue: OrderBook(venue, settings.trading.pair) for venue in config.venues}
    market = TradingMarket(books, instruments, fees, clock, settings.risk.max_book_age_s)
    accounts = {
        venue: PositionAccount(venue, settings.trading.pair, each.dialect.kind, base, quote)
        for venue, each in config.venues.items()
    }
    service = Service(
        config, seams, ledger, gateways, Board(clock), Incidents(clock, seams.trace),
        Journal(seams.redactor.clean), modes, market,
        instruments, fees, {}, {}, {},
        MovingBasis(settings.trading.basis_halflife_s, settings.trading.basis_warmup_s),
        Blotter(accounts, clock, seams.trace), {venue: VenueLink() for venue in config.venues}, base, quote,
        trio.current_time(), settings.start.drain_timeout_s, trio.current_time(),
    )
    service.day = TradingDay(service.counters)
    service.disk = DiskSpace(config.data_dir, seams.free_bytes, clock, seams.open_worker)
    for gateway in gateways.values():
        gateway.on_unreadable = service.on_unreadable
        gateway.clean = seams.redactor.clean
    _join_execution(service)
    _join_pipeline(service)
    _join_slo(service)
    join_guards(service)
    if settings.telegram.on:
        service.chat = Chat(ChatHealth(clock.mono_s()))
    service.people = settings.people()
    service.approvals = Approvals(
        ledger, service.people, service.bond, clock, seams.rng, seams.trace, service.journal.say
    )
    modes.blockers = service.blockers
    modes.on_enter = service.begin_winddown
    modes.on_leave = service.on_leave_hold
    return service


def _split_pair(pair: str) -> tuple[str, str]:
    """(base, quote) of a symbol; ValueError for a quote that we don't trade against."""
    for quote in ("USDT", "USDC", "FDUSD", "BTC", "ETH"):
        if pair.endswith(quote) and len(pair) > len(quote):
            return pair[: -len(quote)], quote
    raise ValueError(f"can't tell base and quote of {pair}")


def _join_execution(service: Service) -> None:
    seams, settings = service.seams, service.config.settings
    ids = Ids(seams.clock, seams.rng)
    service.bookkeeper = Bookkeeper(
        service.blotter, service.ledger, service.gateways, seams.crash, seams.trace, partial(on_foreign_fills, service),
        service.on_ledger_failure,
    )
    rules = ExecutionRules(
        settings.trading.max_slippage_bps, max(settings.trading.stop_bps, settings.trading.max_slippage_bps),
        settings.start.hedge_deadline_s,
    )
    service.executor = Executor(
        service.gateways, service.ledger, service.blotter, service.market, service.modes.gate_state,
        partial(on_access_refused, service), rules, ids, seams.clock, seams.trace, seams.crash, service.free_balances,
        service.reduces_at_venue, partial(order_rate_refusal, service),
    )
    service.executor.tally.on_rejection = partial(service.look_now, "runaway_breaker")
    accounts = {
        venue: PositionAccount(venue, account.symbol, account.kind, account.base, account.quote)
        for venue, account in service.blotter.accounts.items()
    }
    dry = Blotter(accounts, seams.clock, mark_simulated(seams.trace), log=service.blotter.log.of_simulated())
    service.simulator = SimulatedExecutor(service.ledger, dry, service.market, seams.clock)
    service.reconciler = Reconciler(
        service.blotter, service.ledger, service.gateways, service.instruments, service.baselines,
        service.first_trade_ids, lambda: service.bookkeeper.idle, seams.clock, seams.trace,
        settings.risk.recon_interval_s, partial(on_recon, service), service.first_contact_ms,
        cost_gaps=service.cost_gaps, rng=seams.rng,
    )
    service.resolver = Resolver(
        service.blotter, service.gateways, service.reconciler.check, seams.clock, seams.trace,
        read_trades=service.reconciler.read_trades,
    )
    service.dead_men = {
        venue: DeadMan(gateway, service.pair, partial(_may_rest, service, venue), seams.clock)
        for venue, gateway in service.gateways.items()
        if gateway.has_dead_man
    }
    service.winddown = WindDown(
        service.blotter, service.executor, service.gateways, service.pair, seams.clock, seams.trace,
        service.on_stuck, service.on_ledger_failure, service.note_cancel, service.executor.tally.note_cancel,
    )


def _may_rest(service: Service, venue: VenueId) -> bool:
    """What is immediate-or-cancel has ended long before a second is over."""
    return service.orders_open(venue, older_than_s=1.0) > 0


def _join_pipeline(service: Service) -> None:
    trading, risk = service.config.settings.trading, service.config.settings.risk
    rules = TradeRules(
        order_notional=trading.order_notional_usdt,
        min_spread_bps=trading.min_spread_bps,
        max_slippage_bps=trading.max_slippage_bps,
        expected_slippage_bps=trading.expected_slippage_bps,
        exits=ExitRules(trading.exit_edge_bps, trading.stop_bps, trading.max_spread_age_s),
        poll_interval_s=trading.poll_interval_s,
        moving_reference=_moves(trading.reference, service.config),
        loop_venues=trading.venues,
    )
    limits = Limits(
        trading.order_notional_usdt, risk.max_position_usdt_of(trading.pair), risk.max_total_notional_usdt,
        risk.max_open_orders, service.config.settings.guarding.orders_per_min_max,
    )
    service.pipeline = Pipeline(
        service.pair, service.venues, service.market, service.basis, rules, limits, service.executor,
        service.simulator, service.modes.gate_state, service.unusable, service.free_balances, service.on_stuck,
        service.on_drained, service.on_failed_pairs,
        service.seams.clock, service.executor.ids, service.seams.trace, service.orders_last_minute,
    )


def _join_slo(service: Service) -> None:
    tally, settings = service.executor.tally, service.config.settings
    service.executor.on_first_byte = service.pipeline.note_first_byte
    windows = Windows(
        service.pipeline.tick_to_order_ms, tally.rtt_ms, tally.rejected, tally.cancel_failed, service.lag.window
    )
    service.slo = Slo(
        service.seams.clock.mono_s, windows, lambda: service.day.drawdown, settings.guarding.daily_loss_usdt_max,
        settings.risk.max_book_age_s,
    )


def preflight_rules(settings: Settings) -> PreflightRules:
    return PreflightRules(
        settings.trading.pair, settings.guarding.clock_skew_trip_s * 1000, settings.guarding.disk_free_mb_min,
        withdraw_refused=settings.profile is Profile.LIVE,
    )


async def look_at_disk(folder: Path, worker: Worker) -> DiskSeen:
    """In a thread of its own: a disk that hangs keeps nobody but this waiting."""

    def look() -> DiskSeen:
        problems = check_directory(folder)
        try:
            free = free_mb(folder)
        except OSError as error:
            return DiskSeen("; ".join([*problems, f"DATA_DIR={folder}: {error.strerror}"]), None)
        return DiskSeen("; ".join(problems) or None, free)

    return await worker.call(look)


def join_preflight(service: Service, disk: Worker) -> None:
    service.preflight = PreflightRunner(
        service.gateways, preflight_rules(service.config.settings), lambda: service.pipeline.rules.order_notional,
        service.market.mark, partial(look_at_disk, service.config.data_dir, disk), service.seams.clock,
    )


def _moves(reference: str, config: ServiceConfig) -> bool:
    """auto: zero between equal instruments, a moving basis between unlike ones."""
    if reference == "auto":
        return len({each.dialect.kind for each in config.venues.values()}) > 1
    return reference == "moving"
