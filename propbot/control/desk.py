"""The desk that API and Telegram hold (`status.desk.Desk`): one service, as they may see it and change it.

`looking.py` says how it is, `changes.py` and `rotation.py` change it. Here is what ties them together, and the one
thing that is never refused and never waits: HOLD.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import Factory, define, field

from propbot import __version__
from propbot.control.changes import Changes
from propbot.control.keeper import StateKeeper
from propbot.control.looking import view_control, view_state
from propbot.control.rotation import Rotation
from propbot.domain.approvals import Approval
from propbot.domain.errors import LedgerError
from propbot.domain.events import EventRow, JournalCheck
from propbot.domain.instruments import VenueId
from propbot.domain.lots import FillRow, Lot, OrderRow
from propbot.domain.mode import HoldRecord, Mode, Profile
from propbot.domain.news import News, Place
from propbot.domain.status import Incident
from propbot.ledger.reads import EventFilter
from propbot.measuring import take_measures
from propbot.secrets.keyring import SecretRow
from propbot.service import Service
from propbot.status.board import Board
from propbot.status.desk import (
    ApprovalOutcome,
    BaselineOutcome,
    ControlOutcome,
    ControlPatch,
    EventQuery,
    LotsWord,
    SecretsOutcome,
)
from propbot.status.incidents import Incidents
from propbot.status.measures import Measures
from propbot.status.series import Series
from propbot.status.slo import SloReading
from propbot.status.views import ControlView, PnlView, SpreadView, StateView

HEARTBEAT_S_MAX = 5.0
TRIED_MAX = 150


@define(eq=False)
class ServiceDesk:
    """One service's desk. Views read memory only."""

    service: Service
    keeper: StateKeeper
    changes: Changes = field(default=Factory(lambda self: Changes(self.service, self.keeper), takes_self=True))
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
        return view_state(self.service)

    def control_view(self) -> ControlView:
        return view_control(self.service)

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
        return await self.changes.apply_control(patch, operator)

    async def approve(self, id: str, operator: str) -> ApprovalOutcome:
        return await self.service.approvals.approve(id, operator, self.changes)

    async def reject(self, id: str, operator: str, reason: str) -> ApprovalOutcome:
        return await self.service.approvals.reject(id, operator, self.clean(reason))

    def note_refused(self, operator: str, tried: str) -> None:
        shown = self.clean(tried)[:TRIED_MAX]  # cut after it was cleaned: half a secret is not found
        text = f"{operator} tried {shown}, which their role does not allow"
        self.service.journal.say("WARN", "access", text, source=f"operator:{operator}")

    async def store_secrets(self, values: Mapping[str, str], operator: str) -> SecretsOutcome:
        return await self.rotation.store(values, operator)

    async def accept_baseline(
        self, venue: VenueId, asset: str, reason: str, operator: str, lots: LotsWord | None = None
    ) -> BaselineOutcome:
        return await self.changes.accept_baseline(venue, asset, reason, operator, lots)

    async def acknowledge_incident(self, id: int, operator: str, note: str) -> Incident | None:
        return await self.changes.acknowledge_incident(id, operator, note)
