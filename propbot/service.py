"""The service as an object: its parts, the joints between them, and the views that more than one part needs.

Nothing runs here (tasks live in `app.py`); `assembly.py` says what each part is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

import trio
from attrs import define, field, frozen

from propbot.control.approvals import Approvals
from propbot.control.checks import Preflight
from propbot.control.counters import Counters
from propbot.control.journal import Journal
from propbot.control.keeper import StateKeeper
from propbot.control.modes import ModeKeeper
from propbot.control.operators import Operators
from propbot.control.parameters import Parameters
from propbot.control.preflight import PreflightRunner
from propbot.control.two_man import Bond, digest_settings
from propbot.decision.decide import compute_lot_step
from propbot.domain.events import Detail
from propbot.domain.instruments import Fees, Instrument, Kind, VenueId
from propbot.domain.mode import CancelResult, Mode
from propbot.domain.money import ZERO, amount_text
from propbot.domain.orders import (
    Side,
)
from propbot.domain.status import Health
from propbot.execution.blotter import Blotter
from propbot.execution.bookkeeper import Bookkeeper
from propbot.execution.dead_man import DeadMan
from propbot.execution.executor import Executor, Stuck
from propbot.execution.first_contact import Met
from propbot.execution.gateway import VenueGateway
from propbot.execution.reconcile import Reconciler, Verdict
from propbot.execution.resolver import Resolver
from propbot.execution.simulation import SimulatedExecutor
from propbot.execution.winddown import WindDown
from propbot.feeds.private import PrivateFeed
from propbot.feeds.session import FeedHealth
from propbot.guards.hedge import HedgeGuard
from propbot.guards.runaway_breaker import RunawayBreaker
from propbot.guards.watch import Watch
from propbot.guards.watchdog import Watchdog
from propbot.kit.lag import LoopLag
from propbot.kit.level import Level
from propbot.ledger.store import Ledger
from propbot.market import TradingMarket
from propbot.pipeline import Pipeline
from propbot.seams import Seams, ServiceConfig
from propbot.secrets.vault import VaultKeeper
from propbot.spread.reference import MovingBasis
from propbot.status.board import Board
from propbot.status.day import TradingDay
from propbot.status.disk import DiskSpace
from propbot.status.incidents import Incidents
from propbot.status.series import Series, Tier
from propbot.status.slo import Slo
from propbot.status.views import PnlView, SpreadView
from propbot.telegram.health import Chat

SPREAD_TIERS = (Tier(1, 600), Tier(10, 1080), Tier(60, 1440))
PNL_TIERS = (Tier(5, 360), Tier(60, 1440))
"""Minutes in the finest step, a day in the coarsest: four megabytes when all are full, at 0.8 KB a point."""
DEFAULT_LOT_STEP = Decimal("0.001")
"""What counts as exposure before any instrument is known."""


@define
class VenueLink:
    """What is known of the connection to one venue; written by its tasks, read by everyone."""

    met: Met | None = None
    meeting_error: str = "not met yet"
    met_once: trio.Event = field(factory=trio.Event)
    feed: FeedHealth = field(factory=FeedHealth)
    private: FeedHealth = field(factory=FeedHealth)
    private_up: bool = False
    private_reason: str = "not connected yet"
    access_refused: str = ""
    listed_mono_s: float | None = None
    """When the symbol's filters and status were read last."""
    recon_told: str = ""
    """The difference that the journal has; it is told again only when it is another one."""


@frozen
class DrainAsked:
    """Who asked for the drain that is under way, and within how long."""

    operator: str
    timeout_s: float


@define(eq=False)
class Service:
    """All parts. Methods here are the joints between them: callbacks, and views that more than one part needs."""

    config: ServiceConfig
    seams: Seams
    ledger: Ledger
    gateways: Mapping[VenueId, VenueGateway]
    board: Board
    incidents: Incidents
    journal: Journal
    modes: ModeKeeper
    market: TradingMarket
    instruments: dict[VenueId, Instrument]
    fees: dict[VenueId, Fees]
    baselines: dict[tuple[VenueId, str], Decimal]
    first_trade_ids: dict[VenueId, int]
    first_contact_ms: dict[VenueId, int]
    """Of the venues that pay funding."""
    basis: MovingBasis
    blotter: Blotter
    links: dict[VenueId, VenueLink]
    base: str
    quote: str
    started_mono_s: float
    drain_timeout_s: float
    """The parameter; `drain_asked` may hold another one for the drain that is under way."""
    heartbeat_mono_s: float
    """When the engine last reported its components."""
    # set in `assemble`, since they call back into the joints below
    bookkeeper: Bookkeeper = field(init=False)
    executor: Executor = field(init=False)
    simulator: SimulatedExecutor = field(init=False)
    resolver: Resolver = field(init=False)
    reconciler: Reconciler = field(init=False)
    winddown: WindDown = field(init=False)
    pipeline: Pipeline = field(init=False)
    dead_men: dict[VenueId, DeadMan] = field(factory=dict, init=False)
    """Of the venues that have such a switch."""
    preflight: PreflightRunner = field(init=False)
    watches: dict[str, Watch] = field(factory=dict, init=False)
    watchdog: Watchdog = field(init=False)
    watchdog_watch: Watchdog = field(init=False)
    lag: LoopLag = field(factory=LoopLag, init=False)
    breaker: RunawayBreaker = field(init=False)
    """The one guard that is also asked: before each order."""
    keeper: StateKeeper = field(init=False)
    secrets: VaultKeeper = field(init=False)
    private_feeds: dict[VenueId, PrivateFeed] = field(factory=dict, init=False)
    """Of the venues that were met."""
    people: Operators = field(init=False)
    approvals: Approvals = field(init=False)
    cost_gaps: dict[VenueId, Decimal] = field(factory=dict, init=False)
    """By venue, where a baseline was accepted beside a foreign perp position (`Reconciler.cost_gaps`)."""
    counters: Counters = field(factory=Counters, init=False)
    day: TradingDay = field(init=False)
    parameters: Parameters = field(factory=Parameters, init=False)
    """What the environment said at the start, and what operators have set; durable with the mode."""
    slo: Slo = field(init=False)
    disk: DiskSpace = field(init=False)
    chat: Chat | None = field(default=None, init=False)
    """The operators' chat; None where there is none."""
    api_url: str | None = field(default=None, init=False)
    """Where the API listens; None while it does not."""
    drain_asked: DrainAsked | None = field(default=None, init=False)
    trips: dict[str, int] = field(factory=dict, init=False)
    """How often each guard, or what acts as one, has tripped in this life."""
    dead_tasks: set[str] = field(factory=set, init=False)
    """Engine tasks that ended; only a restart brings them back."""
    spreads: Series[SpreadView] = field(factory=lambda: Series(SPREAD_TIERS), init=False)
    pnl_points: Series[PnlView] = field(factory=lambda: Series(PNL_TIERS), init=False)
    news: Level[None] = field(factory=lambda: Level(None), init=False)
    """Touched when a venue was met or reconciled."""

    @property
    def pair(self) -> str:
        return self.config.settings.trading.pair

    @property
    def venues(self) -> tuple[VenueId, ...]:
        return tuple(self.config.venues)

    # --- views that several parts need

    def lot_step(self) -> Decimal:
        return compute_lot_step(tuple(self.instruments.values())) if self.instruments else DEFAULT_LOT_STEP

    def exposed(self) -> bool:
        return abs(self.blotter.exposure()) >= self.lot_step()

    def free_balances(self, simulated: bool = False) -> Mapping[tuple[VenueId, str], Decimal]:
        """What the ledger says that each account can spend: baseline plus what our fills did, and `simulated` ones
        would have done."""
        free: dict[tuple[VenueId, str], Decimal] = {}
        blotters = (self.blotter, self.simulator.blotter) if simulated else (self.blotter,)
        for account in (account for blotter in blotters for account in blotter.accounts.values()):
            changes = {self.quote: account.quote_change}
            if account.kind is Kind.SPOT:
                changes[self.base] = account.qty
            for asset, change in changes.items():
                key = (account.venue, asset)
                free[key] = free.get(key, self.baselines.get(key, ZERO)) + change
        return free

    def reduces_at_venue(self, venue: VenueId, side: Side, qty: Decimal) -> bool:
        """Whether an order lowers the account's whole position, which an accepted baseline may be a part of."""
        position = self.blotter.position(venue) + self.baselines.get((venue, self.base), ZERO)
        return position * side.sign < 0 and abs(position) >= qty

    def unusable(self, venue: VenueId) -> str | None:
        """Why `venue` can't be traded on now, beyond its book."""
        link = self.links[venue]
        if link.access_refused:
            return f"{venue} refuses our key: {link.access_refused}"
        if link.met is None:
            return f"{venue}: {link.meeting_error}"
        if not self.instruments[venue].tradable:
            return f"{venue}: {self.pair} is {self.instruments[venue].status}"
        if not link.feed.connected:
            why = f": {link.feed.last_error}" if link.feed.last_error else ""
            return f"{venue}: market data is not connected{why}"
        if not link.private_up:
            return f"{venue}: private stream is down: {link.private_reason}"
        pause_s = self.gateways[venue].paused_s
        if pause_s > 0:
            return f"{venue}: paused by the venue for {pause_s:.1f} s more"
        no_room = self.gateways[venue].pace.no_room_for_orders()
        if no_room is not None:
            return f"{venue}: {no_room}"
        return self._unreconciled(venue)

    def _unreconciled(self, venue: VenueId) -> str | None:
        last = self.reconciler.state[venue].last
        if last is None:
            return f"{venue}: not reconciled yet"
        if last.verdict is Verdict.DIFFERS:
            return "; ".join(last.differences)
        if last.verdict is Verdict.UNREACHABLE:
            return f"{venue}: can't be reconciled: {last.detail}"
        return None

    def why_not(self) -> str:
        """Why the loop sends nothing now; empty when nothing stands in its way."""
        if self.modes.view.hold is not None:
            return "HOLD: nothing is traded"
        if self.modes.switch.halted:
            return "starting: ledger and venues have not been compared yet"
        return self.pipeline.why_not

    def book_ages_s(self) -> Mapping[str, float | None]:
        """None for a book that is not in sync."""
        now = self.seams.clock.mono_s()
        return {venue: book.age_s(now) if book.synced else None for venue, book in self.market.books.items()}

    def orders_open(self, venue: VenueId, older_than_s: float = 0.0) -> int:
        """Orders of ours at `venue` that may still execute: by what we know, or by what the venue said last."""
        before_mono_s = self.seams.clock.mono_s() - older_than_s
        ours = sum(
            order.uncertain and order.sent_mono_s is not None and order.sent_mono_s <= before_mono_s
            for order in self.blotter.in_flight(venue)
        )
        return max(ours, self.reconciler.state[venue].own_orders)

    def orders_last_minute(self) -> int:
        return sum(gateway.orders_last_minute() for gateway in self.gateways.values())

    async def run_preflight(self, why: str) -> Preflight:
        """Within five seconds; the guard of that name trips or clears by what it found."""
        before = self.preflight.last
        result = await self.preflight.run()
        if result is before:  # just asked: nothing new to tell
            return result
        self.watches["preflight"].look()
        self.seams.trace("preflight", why=why, ok=result.ok, failures=list(result.failures))
        level, story = ("INFO", "every check passed") if result.ok else ("ERROR", "; ".join(result.failures))
        if result.ok and result.warnings:
            level, story = "WARN", "passed; " + "; ".join(result.warnings)
        self.journal.say(level, "preflight", f"preflight ({why}): {story}")
        return result

    def blockers(self, mode: Mode = Mode.RUN) -> Sequence[str]:
        """Why HOLD can't be left for `mode` now. DRAIN is the way out of an exposure that no wind-down could close: it
        hedges and closes, so the exposure alone does not block it."""
        for watch in self.watches.values():
            watch.look()
        blocking = {id: watch.blocker for id, watch in self.watches.items() if watch.blocker is not None}
        exposed = blocking.pop("hedge", None)
        reasons = list(blocking.values())
        if not self.winddown.done.is_set():
            reasons.append("the wind-down of this HOLD is still under way, a few seconds at most")
        reasons += [f"task {name} is dead: restart the service" for name in sorted(self.dead_tasks)]
        if exposed is not None and mode is not Mode.DRAIN:
            way_out = "" if reasons else "; mode DRAIN is possible: it hedges and closes, opens nothing"
            reasons = [exposed + way_out, *reasons]
        if self.modes.view.mode is Mode.DRAIN and self.exposed():  # no way around the guard: HOLD, DRAIN, RUN
            reasons.append("DRAIN is still closing an exposure")
        return reasons

    def bond(self) -> Bond:
        """What a proposal is bound to, as it is now."""
        settings, pipeline = self.config.settings, self.pipeline
        digest = digest_settings(
            limits=pipeline.limits, rules=pipeline.rules, risk=settings.risk, guarding=settings.guarding,
            start=settings.start, drain_timeout_s=self.drain_timeout_s,
        )
        return Bond(self.modes.holds, self.modes.safeties, self.modes.view.mode, digest)

    def on_leave_hold(self, mode: Mode) -> None:
        """Part of the step out of HOLD: the exposure that DRAIN is to close has its time anew."""
        watch = self.watches.get("hedge")
        if mode is Mode.DRAIN and watch is not None and isinstance(watch.guard, HedgeGuard):
            watch.guard.begin_anew()
            watch.tripped = None

    def begin_winddown(self) -> None:
        """Part of the step into HOLD: this HOLD's wind-down has not ended yet."""
        self.winddown.done = trio.Event()

    # --- what happens: callbacks, all synchronous

    def look_now(self, guard_id: str) -> None:
        """Something happened that this guard must not learn at its next look only."""
        watch = self.watches.get(guard_id)
        if watch is not None:
            watch.look()

    def trip(self, reason: str, source: str) -> None:
        """A guard tripped: HOLD first, then the record of it."""
        self.modes.hold(reason, source)
        guard = source.partition(":")[2]
        self.trips[guard] = self.trips.get(guard, 0) + 1
        self.incidents.open("P0", "guard_trip", guard, reason, self.situation())
        self.journal.say("ERROR", "guard_trip", reason, source=source)

    def situation(self) -> Mapping[str, Detail]:
        """How things stand at this moment, as an incident keeps it. Memory only; amounts as text, None is unknown."""
        details: dict[str, Detail] = {
            "mode": str(self.modes.view.mode),
            "exposure_base": amount_text(self.blotter.exposure()),
            "orders_open": len(self.blotter.in_flight()),
            "lots_live": len(self.blotter.lots),
            "ledger_waiting_ms": round(self.ledger.waiting_s * 1000),
        }
        ages_s = self.book_ages_s()
        for venue in self.venues:
            age_s = ages_s[venue]
            details[f"{venue}.book_age_ms"] = None if age_s is None else round(age_s * 1000)
            details[f"{venue}.position_base"] = amount_text(self.blotter.position(venue))
        first_open = [order.request.client_order_id for order in self.blotter.in_flight()][:5]
        if first_open:
            details["first_open_orders"] = ", ".join(first_open)
        return details

    def note_cancel(self, result: CancelResult) -> None:
        """What the venues say was left after the cancels of this HOLD."""
        self.modes.note_cancel(result)
        self.incidents.note("cancel", f"{result.words()} after {result.seconds:g} s, as the venues say")

    def note_resumed(self, operator: str) -> None:
        """An operator left HOLD: what no guard watches any more is over with it."""
        self.incidents.note("resumed", f"{self.modes.view.mode} by {operator}")
        for incident in self.incidents.open_ones():
            id = incident.component_id
            if id not in self.watches and id.removeprefix("task:") not in self.dead_tasks:
                self.incidents.resolve(incident.id, f"HOLD was left by {operator}")

    def task_ended(self, name: str, error: BaseException | None, story: str) -> None:
        """An engine task failed or returned: HOLD, never silence."""
        self.dead_tasks.add(name)
        self.modes.hold(f"task {name} ended: {story}", f"crash:{name}")
        self.board.put(f"task:{name}", name, "tasks", Health.ERROR, story)
        self.incidents.open("P0", "crash", f"task:{name}", f"task {name} ended: {story}", self.situation())
        self.journal.say("ERROR", "crash", f"task {name} ended: {story}", source=f"crash:{name}")

    def session_failed(self, name: str, error: BaseException, story: str) -> None:
        """A supervised session ended; it is started again."""
        self.journal.say("WARN", "session", f"{name}: {story}; it is started again", source=name)

    def on_problem(self, venue: VenueId, text: str) -> None:
        """Something about a stream that did not end its session."""
        self.journal.say("WARN", "feed", text, venue=venue)

    def on_stuck(self, stuck: Stuck) -> None:
        reason = f"lot {stuck.lot_id} has a naked {amount_text(stuck.exposure)} {self.base}: {stuck.reason}"
        self.trip(reason, "guard:hedge")

    def on_ledger_failure(self, story: str) -> None:
        self.trip(f"the ledger can't be written: {story}", "guard:ledger")

    def on_unreadable(self, story: str) -> None:
        """The venue changed its language: what an unknown word means for our orders is not guessed."""
        self.trip(f"what a venue says of our orders can't be read: {story}", "guard:protocol")

    def on_failed_pairs(self, count: int) -> None:
        if count >= self.config.settings.guarding.failed_spreads_max:
            self.look_now("kill_caps")  # before the next pair is decided

    def on_drained(self) -> None:
        asked = self.drain_asked
        source = "guard:drain" if asked is None else f"operator:{asked.operator}"
        self.modes.hold("drained: flat, no lot is open", source)
        self.journal.say("INFO", "drained", "drained: flat, no lot is open")
