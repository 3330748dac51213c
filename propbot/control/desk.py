"""The desk as the API sees it: views of the service's parts, and what an operator may change (`status.desk.Desk`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import trio
from attrs import Factory, define, evolve, field

from propbot import __version__
from propbot.control.baseline import accept_baseline, baseline_problems
from propbot.control.keeper import StateKeeper
from propbot.control.modes import ResumeRefused
from propbot.control.parameters import PARAMETERS
from propbot.control.rotation import Rotation
from propbot.control.two_man import change_of, needs_second_person, patch_of
from propbot.domain.approvals import Approval, Seconded
from propbot.domain.errors import LedgerError
from propbot.domain.events import EventRow, JournalCheck
from propbot.domain.instruments import VenueId
from propbot.domain.lots import FillRow, Lot, OrderRow
from propbot.domain.mode import HoldRecord, Mode, Profile
from propbot.domain.money import ZERO, amount_text
from propbot.domain.news import News, Place
from propbot.domain.orders import Balance
from propbot.domain.status import Incident
from propbot.execution.blotter import Blotter
from propbot.ledger.reads import EventFilter
from propbot.measuring import take_measures
from propbot.sampling import view_pnl
from propbot.secrets.keyring import SecretRow
from propbot.service import DrainAsked, Service
from propbot.status.board import Board
from propbot.status.desk import (
    ApprovalOutcome,
    BaselineMoved,
    BaselineOutcome,
    Change,
    Conflict,
    ControlOutcome,
    ControlPatch,
    Done,
    EventQuery,
    Forbidden,
    LotsWord,
    Pending,
    SecretsOutcome,
    Unusable,
)
from propbot.status.equity import compute_unrealised
from propbot.status.incidents import Incidents
from propbot.status.measures import Measures
from propbot.status.series import Series
from propbot.status.slo import SloReading
from propbot.status.views import (
    BookView,
    ControlView,
    DustView,
    FlagValue,
    LoopView,
    PnlView,
    PositionView,
    PreflightView,
    RiskReason,
    RiskView,
    SpreadView,
    StateView,
    Value,
    VenueView,
)

DURABLE_WAIT_S = 1.0
"""How long an answer waits for the disk; a HOLD is in force whether it answers or not."""

TRIED_MAX = 150
HEARTBEAT_S_MAX = 5.0
BASELINE = "baseline"
"""The name under which a baseline's move is proposed; no parameter of PATCH has it."""

@define(eq=False)
class ServiceDesk:
    """One service's desk. Views read memory only."""

    service: Service
    keeper: StateKeeper
    rotation: Rotation = field(default=Factory(lambda self: Rotation(self.service), takes_self=True))

    # --- what it is

    @property
    def board(self) -> Board:
        return self.service.board

    @property
    def incidents(self) -> Incidents:
        return self.service.incidents

    @property
    def version(self) -> str:
        return __version__

    @property
    def profile(self) -> Profile:
        return self.service.config.settings.profile

    def now_ns(self) -> int:
        return self.service.seams.clock.wall_ns()

    def uptime_s(self) -> float:
        return self.service.seams.clock.mono_s() - self.service.started_mono_s

    # --- how it is

    def mode(self) -> Mode:
        return self.service.modes.view.mode

    def hold(self) -> HoldRecord | None:
        return self.service.modes.view.hold

    def safe_mode(self) -> bool:
        return self.service.modes.view.safe_mode

    def dry_run_only(self) -> bool:
        return self.service.modes.view.dry_run_only

    def state_view(self) -> StateView:
        service = self.service
        return StateView(
            flags=self._flag_view(),
            risk=self._risk_view(),
            risk_reasons=[
                RiskReason(refused.code, refused.message, refused.limit, refused.value)
                for refused in service.pipeline.refusals
            ],
            loop=self._loop_view(),
            pnl=view_pnl(service),
            venues={venue: self._venue_view(venue) for venue in service.venues},
        )

    def control_view(self) -> ControlView:
        service = self.service
        rules = service.pipeline.rules
        return ControlView(
            rules.order_notional, rules.min_spread_bps, rules.max_slippage_bps, rules.poll_interval_s, service.pair,
            rules.loop_venues, service.drain_timeout_s, self._preflight_view(), service.approvals.pending(),
        )

    def _preflight_view(self) -> PreflightView:
        last = self.service.preflight.last
        if last is None:
            return PreflightView(None)
        return PreflightView(last.ok, last.failures or last.warnings, last.when_ns)

    def unready_reasons(self) -> Sequence[str]:
        service = self.service
        reasons = [] if service.modes.ready else ["the start's reconciliation has not agreed yet"]
        return reasons + [reason for venue in service.venues if (reason := service.unusable(venue)) is not None]

    def measures(self) -> Measures:
        return take_measures(self.service)

    @property
    def spreads(self) -> Series[SpreadView]:
        return self.service.spreads

    @property
    def pnl_points(self) -> Series[PnlView]:
        return self.service.pnl_points

    def slo(self) -> Sequence[SloReading]:
        return self.service.slo.readings()

    def note_request(self, latency_ms: float) -> None:
        self.service.slo.api_ms.note(self.service.seams.clock.mono_s(), latency_ms)

    def secrets(self) -> Sequence[SecretRow]:
        return self.service.config.keyring.rows()

    def clean(self, text: str) -> str:
        return self.service.seams.redactor.clean(text)

    def _flag_view(self) -> Mapping[str, FlagValue]:
        settings = self.service.config.settings
        view = self.service.modes.view
        return {
            "PROFILE": str(settings.profile), "MODE": str(view.mode), "SAFE_MODE": view.safe_mode,
            "DRY_RUN_ONLY": view.dry_run_only, "TWO_MAN_RULE": settings.start.two_man_rule,
            "HOLD_EXIT": str(settings.start.hold_exit), "REFERENCE": settings.trading.reference,
            "LEDGER_SYNC": settings.house.ledger_sync,
        }

    def _risk_view(self) -> RiskView:
        service = self.service
        limits = service.pipeline.limits
        marks = {venue: service.market.mark(venue) for venue in service.venues}
        notionals = [
            abs(service.blotter.position(venue)) * mark for venue, mark in marks.items() if mark is not None
        ]
        known = len(notionals) == len(service.venues)
        current: dict[str, Value] = {
            "MAX_POSITION_USDT": max(notionals, default=ZERO) if known else None,
            "MAX_TOTAL_NOTIONAL_USDT": sum(notionals, ZERO) if known else None,
            "MAX_OPEN_ORDERS": len(service.blotter.in_flight()),
            "net_exposure_base": service.blotter.exposure(),
        }
        dust = service.blotter.dust()
        return RiskView(
            limits={
                "ORDER_NOTIONAL_USDT": limits.order_notional, "MAX_POSITION_USDT": limits.position,
                "MAX_TOTAL_NOTIONAL_USDT": limits.total_notional, "MAX_OPEN_ORDERS": limits.open_orders,
            },
            current=current,
            positions=self._positions(marks),
            dust=[DustView(self._dust_venue(), service.base, dust)] if dust else [],
            breaches=[
                RiskReason(refused.code, refused.message, refused.limit, refused.value)
                for refused in service.pipeline.refusals
            ],
        )

    def _dust_venue(self) -> VenueId:
        """Rounding leaves its rest where steps are finest."""
        instruments = self.service.instruments
        return min(instruments, key=lambda venue: instruments[venue].lot_step, default=self.service.venues[0])

    def _positions(self, marks: Mapping[VenueId, Decimal | None]) -> list[PositionView]:
        """Positions that are more than dust."""
        service = self.service
        views: list[PositionView] = []
        for venue, account in service.blotter.accounts.items():
            qty = service.blotter.position(venue)
            if abs(qty) < service.lot_step():
                continue
            mark = marks[venue]
            unrealised = None if mark is None else account.unrealised(mark)
            views.append(PositionView(venue, account.symbol, qty, account.avg_price, mark, unrealised))
        return views

    def _loop_view(self) -> LoopView:
        service = self.service
        halted = service.modes.switch.halted
        measured: dict[str, Value] = {
            "decisions": service.pipeline.decisions, "lots_open": len(service.blotter.lots),
            "reference_bps": service.basis.value_bps, "reference_warm": service.basis.warm,
            **self._measure_simulation(),
        }
        for direction, edge in service.pipeline.measure_edges().items():
            measured[f"net_edge_bps {direction}"] = round(edge, 3) if abs(edge) < 1e6 else None
        venues = service.pipeline.rules.loop_venues
        return LoopView(service.pair, venues, not halted, service.why_not() or None, measured)

    def _measure_simulation(self) -> dict[str, Value]:
        """What dry runs have done since the ledger began; in no other number of this page."""
        blotter = self.service.simulator.blotter
        return {
            "simulated_lots_open": len(blotter.lots),
            "simulated_fills": sum(blotter.fill_counts.values()),
            "simulated_realised_usdt": sum((each.realised_net for each in blotter.accounts.values()), ZERO),
            "simulated_unrealised_usdt": self._unrealised(blotter),
        }

    def _unrealised(self, blotter: Blotter) -> Decimal | None:
        """Over all accounts; unknown where an open position has no mark."""
        return compute_unrealised(blotter.accounts.values(), self.service.market.mark)

    def _venue_view(self, venue: VenueId) -> VenueView:
        service = self.service
        link, book = service.links[venue], service.market.books[venue]
        reason = service.unusable(venue) or service.market.distrust(venue)
        key_status = "refused" if link.access_refused else "ok" if link.met is not None else "unknown"
        balances = [
            Balance(venue, asset, qty) for (of, asset), qty in service.free_balances().items()
            if of == venue and link.met is not None
        ]
        top = book.top()
        age = service.book_ages_s()[venue]
        view = BookView(
            None if top is None else top.bid, None if top is None else top.ask, book.synced,
            None if age is None else round(age, 3), book.resyncs,
        )
        return VenueView(reason is None, reason or "", key_status, balances, view)

    # --- what happened

    async def orders(self, limit: int, cursor: str | None) -> tuple[Sequence[OrderRow], str | None]:
        return await self.service.ledger.orders_page(limit, cursor)

    async def fills(self, limit: int, cursor: str | None) -> tuple[Sequence[FillRow], str | None]:
        return await self.service.ledger.fills_page(limit, cursor)

    async def lots(self, limit: int, cursor: str | None) -> tuple[Sequence[Lot], str | None]:
        return await self.service.ledger.lots_page(limit, cursor)

    async def events(
        self, limit: int, cursor: str | None, wanted: EventQuery
    ) -> tuple[Sequence[EventRow], str | None]:
        chosen = EventFilter(
            wanted.since_ns, wanted.until_ns, wanted.level, wanted.kind, wanted.venue, wanted.symbol
        )
        return await self.service.ledger.events_page(limit, cursor, chosen)

    def newest_event_id(self) -> int:
        head = self.service.ledger.head
        return 0 if head is None else head.id

    async def newest_place(self) -> Place:
        return await self.service.ledger.newest_place()

    async def find_place(self, event_id: int, fill_seq: int) -> Place | None:
        return await self.service.ledger.find_place(event_id, fill_seq)

    async def news(self, after: Place, limit: int) -> News:
        return await self.service.ledger.news(after, limit)

    async def incidents_page(self, limit: int, cursor: str | None) -> tuple[Sequence[Incident], str | None]:
        return await self.service.ledger.incidents_page(limit, cursor)

    async def approvals(self, limit: int, cursor: str | None) -> tuple[Sequence[Approval], str | None]:
        rows, next_cursor = await self.service.ledger.approvals_page(limit, cursor)
        return [self.service.approvals.as_known(row) for row in rows], next_cursor

    async def verify_journal(self) -> JournalCheck:
        return await self.service.ledger.verify_journal()

    # --- whether it lives

    def alive(self) -> bool:
        """The loop turns, or nobody could ask; and the engine has reported its components lately."""
        return self.service.seams.clock.mono_s() - self.service.heartbeat_mono_s < HEARTBEAT_S_MAX

    async def ledger_answers(self) -> bool:
        try:
            await self.service.ledger.meta_get("answers")  # a read: asking after health changes nothing
        except LedgerError:
            return False
        return True

    # --- what an operator does

    def enter_hold(self, reason: str, operator: str, *, winddown_exempt: bool) -> Mode:
        before = self.service.modes.view.mode
        words = self.clean(reason) or "no reason given"
        source = f"operator:{operator}"
        self.service.modes.hold(words, source, winddown_exempt=winddown_exempt)
        if before is Mode.HOLD:  # no new HOLD whose line the journal would have: it has to know who asked, and why
            self.service.journal.say("WARN", "hold", f"HOLD asked for again: {words}", source=source)
        return before

    async def apply_control(self, patch: ControlPatch, operator: str) -> ControlOutcome:
        patch = evolve(patch, reason=self.clean(patch.reason))
        refusal = self._refusal(patch)
        if refusal is not None:
            return refusal
        two_man_rule = self.service.config.settings.start.two_man_rule
        if two_man_rule and needs_second_person(patch, self.service.modes.view):
            if patch.mode is Mode.HOLD:  # in force already; durable before the answer, as ever
                await self._is_durable()
            return await self._propose(change_of(patch), operator)
        return await self._apply(patch, operator)

    async def _propose(self, change: Mapping[str, Any], operator: str) -> Pending | Conflict:
        """What another person has to approve; what could not take effect now is not worth their while."""
        problems = await self.problems(change)
        if problems:
            return Conflict(problems)
        proposed = await self.service.approvals.propose(change, operator)
        return proposed if isinstance(proposed, Conflict) else Pending(proposed)

    async def problems(self, change: Mapping[str, Any]) -> Sequence[str]:
        """Why an approved `change` could not take effect now (`approvals.Applier`)."""
        if BASELINE in change:
            asked = change[BASELINE]
            return baseline_problems(self.service, VenueId(asked["venue"]), asked["asset"], asked.get("lots"))
        patch = patch_of(change)
        refusal = self._refusal(patch)
        if refusal is not None:
            return [_words(refusal)]
        if patch.mode is None:
            return []
        came_in = await self._preflight(patch.mode)
        return self.service.modes.resume_problems(patch.mode) if came_in is None else came_in.reasons

    async def apply(self, change: Mapping[str, Any], proposer: str, seconded: Seconded) -> Done | Conflict:
        """A change that another person has approved (`approvals.Applier`)."""
        if BASELINE in change:
            return await self._apply_baseline(change[BASELINE], proposer)
        patch = patch_of(change)
        refusal = self._refusal(patch)
        if refusal is not None:
            return Conflict([_words(refusal)])
        return await self._apply(patch, proposer, seconded)

    async def approve(self, id: str, operator: str) -> ApprovalOutcome:
        return await self.service.approvals.approve(id, operator, self)

    async def reject(self, id: str, operator: str, reason: str) -> ApprovalOutcome:
        return await self.service.approvals.reject(id, operator, self.clean(reason))

    def note_refused(self, operator: str, tried: str) -> None:
        shown = self.clean(tried)[:TRIED_MAX]  # cut after it was cleaned: half a secret is not found
        text = f"{operator} tried {shown}, which their role does not allow"
        self.service.journal.say("WARN", "access", text, source=f"operator:{operator}")

    async def _apply(self, patch: ControlPatch, operator: str, seconded: Seconded | None = None) -> Done | Conflict:
        before = self._in_force()
        if patch.mode is Mode.DRAIN:
            timeout_s = patch.drain_timeout_sec or self.service.drain_timeout_s
            self.service.drain_asked = DrainAsked(operator, timeout_s)
        if patch.mode in (Mode.RUN, Mode.DRAIN):
            # an approved change had its preflight before the approval was spent: no checkpoint from there to here
            came_in = None if seconded is not None else await self._preflight(patch.mode)
            if came_in is not None:
                return came_in
            try:
                self.service.modes.resume(operator, patch.mode, seconded)
            except ResumeRefused as refused:
                return Conflict(refused.reasons)
            if before["mode"] == str(Mode.HOLD):
                self.service.note_resumed(operator)
        self.service.modes.set_flags(safe_mode=patch.safe_mode, dry_run_only=patch.dry_run_only)
        self._set_parameters(patch)
        self.service.approvals.look()  # what was proposed under other parameters is void
        self.service.pipeline.wake()
        after = self._in_force()
        changes = {name: Change(before[name], after[name]) for name in before if before[name] != after[name]}
        people = {} if seconded is None else {"approved_by": seconded.by, "approval": seconded.id}
        for name, change in changes.items():
            moved = f"{name}: {_said(change.old)} -> {_said(change.new)}"
            self.service.journal.say("INFO", "control", moved, source=f"operator:{operator}", **people)
        warnings = self._warnings()
        if not await self._is_durable():
            late = f"in force, but not durable after {DURABLE_WAIT_S:g} s: the disk does not answer"
            if changes:
                raise LedgerError(late)
            warnings.append(late)  # a HOLD that was entered before: it holds whatever the disk does
        elif not await self._is_journalled():
            warnings.append("in force and kept, but not yet in the journal: the ledger does not answer")
        return Done(changes, warnings)

    async def store_secrets(self, values: Mapping[str, str], operator: str) -> SecretsOutcome:
        return await self.rotation.store(values, operator)

    async def accept_baseline(
        self, venue: VenueId, asset: str, reason: str, operator: str, lots: LotsWord | None = None
    ) -> BaselineOutcome:
        reason = self.clean(reason)
        if not self.service.config.settings.start.two_man_rule:
            return await accept_baseline(self.service, venue, asset, reason, operator, lots)
        asked = {"venue": str(venue), "asset": asset, "reason": reason}
        change = {BASELINE: asked if lots is None else {**asked, "lots": lots}}
        problems = await self.problems(change)
        if problems:
            return Conflict(problems)
        proposed = await self.service.approvals.propose(change, operator)
        return proposed if isinstance(proposed, Conflict) else Pending(proposed)

    async def _apply_baseline(self, asked: Mapping[str, Any], operator: str) -> Done | Conflict:
        """Approved by another person."""
        venue, asset = VenueId(asked["venue"]), asked["asset"]
        outcome = await accept_baseline(
            self.service, venue, asset, asked["reason"], operator, asked.get("lots")
        )
        match outcome:
            case BaselineMoved(old=old, new=new):
                return Done({f"baseline {venue} {asset}": Change(amount_text(old), amount_text(new))})
            case Conflict():
                return outcome
            case Unusable(fields=fields):
                return Conflict([f"{name}: {why}" for name, why in fields.items()])
            case Pending():
                raise AssertionError("one approval asks for no other")

    async def _preflight(self, mode: Mode) -> Conflict | None:
        """Before HOLD is left, and only if nothing else stands in the way: no venue is asked in vain. What fails is a
        blocker by its guard; a HOLD that is asked for meanwhile wins."""
        modes = self.service.modes
        if modes.view.mode is not Mode.HOLD:
            return None
        others = [reason for reason in modes.resume_problems(mode) if not reason.startswith("guard:preflight ")]
        if others:
            return Conflict(modes.resume_problems(mode))
        asked = modes.holds
        result = await self.service.run_preflight("resume")
        if result.ok and modes.holds != asked:
            return Conflict(["a HOLD was asked for while the preflight ran: look at its reason and resume again"])
        return None

    def _refusal(self, patch: ControlPatch) -> Forbidden | Unusable | None:
        service = self.service
        fields: dict[str, str] = {}
        if patch.loop_pair is not None and patch.loop_pair != service.pair:
            fields["loop_pair"] = f"this version trades the pair it was started with, {service.pair}: restart to change"
        strangers = [venue for venue in patch.loop_venues or () if venue not in service.venues]
        if strangers:
            started = f"this service was started with {', '.join(service.venues)}"
            fields["loop_venues"] = f"{started}: restart with LOOP_VENUES to trade on {', '.join(strangers)}"
        if fields:
            return Unusable(fields)
        view = service.modes.view
        changing = [name for name in PARAMETERS if getattr(patch, name) is not None]
        if patch.mode is Mode.DRAIN and "drain_timeout_sec" in changing:
            changing.remove("drain_timeout_sec")  # part of the order to drain
        if patch.dry_run_only is False and view.dry_run_only:
            changing.append("dry_run_only")
        shown_safe = view.safe_mode or view.mode is Mode.HOLD or patch.safe_mode is True
        if changing and (self.profile is Profile.LIVE or not shown_safe):
            where = "not with PROFILE=live" if self.profile is Profile.LIVE else "first set safe_mode or mode HOLD"
            return Forbidden(f"{', '.join(changing)}: {where}")
        return None

    def _set_parameters(self, patch: ControlPatch) -> None:
        pipeline = self.service.pipeline
        rules = pipeline.rules
        wanted = patch.loop_venues
        if wanted is not None:  # in the order of the start, so that another order is no change
            patch = evolve(patch, loop_venues=tuple(venue for venue in self.service.venues if venue in wanted))
        pipeline.rules = evolve(
            rules,
            order_notional=rules.order_notional if patch.order_notional_usdt is None else patch.order_notional_usdt,
            min_spread_bps=rules.min_spread_bps if patch.min_spread_bps is None else patch.min_spread_bps,
            max_slippage_bps=rules.max_slippage_bps if patch.max_slippage_bps is None else patch.max_slippage_bps,
            poll_interval_s=rules.poll_interval_s if patch.poll_interval_sec is None else patch.poll_interval_sec,
            loop_venues=rules.loop_venues if patch.loop_venues is None else patch.loop_venues,
        )
        pipeline.limits = evolve(pipeline.limits, order_notional=pipeline.rules.order_notional)
        pipeline.wake()
        if patch.drain_timeout_sec is not None and patch.mode is not Mode.DRAIN:
            self.service.drain_timeout_s = patch.drain_timeout_sec
        asked = {name: value for name in PARAMETERS if (value := getattr(patch, name)) is not None}
        if patch.mode is Mode.DRAIN:
            asked.pop("drain_timeout_sec", None)  # of this drain alone
        if asked:
            self.service.parameters = self.service.parameters.patch(asked)
            self.service.modes.level.touch()  # wakes who keeps them

    def _in_force(self) -> dict[str, object]:
        view, control = self.service.modes.view, self.control_view()
        values: dict[str, object] = {
            "mode": str(view.mode), "safe_mode": view.safe_mode, "dry_run_only": view.dry_run_only,
        }
        return values | {name: getattr(control, name) for name in PARAMETERS}

    async def _is_durable(self) -> bool:
        """Waits for the disk, but not for ever."""
        service = self.service
        with trio.move_on_after(DURABLE_WAIT_S) as scope:
            await self.keeper.wait_saved(lambda: service.modes.view, lambda: service.parameters)
        return not scope.cancelled_caught

    async def _is_journalled(self) -> bool:
        with trio.move_on_after(DURABLE_WAIT_S / 2) as scope:
            await self.service.journal.wait_written()
        return not scope.cancelled_caught

    def _warnings(self) -> list[str]:
        """What should be said with the answer."""
        pipeline = self.service.pipeline
        return [problem for problem in (pipeline.too_few_venues(), pipeline.size_problem()) if problem is not None]

    async def acknowledge_incident(self, id: int, operator: str, note: str) -> Incident | None:
        """Durable when it returns; LedgerError if the disk does not answer (it counts in memory all the same)."""
        incident = self.service.incidents.acknowledge(id, operator, self.clean(note))
        if incident is None:
            return None
        with trio.move_on_after(DURABLE_WAIT_S) as scope:
            await self.service.incidents.wait_saved(id)
        if scope.cancelled_caught:
            raise LedgerError(f"incident {id} is acknowledged, but not durable after {DURABLE_WAIT_S:g} s")
        return self.service.incidents.get(id)


def _said(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _words(refusal: Forbidden | Unusable) -> str:
    if isinstance(refusal, Forbidden):
        return refusal.message
    return "; ".join(f"{name}: {why}" for name, why in refusal.fields.items())
