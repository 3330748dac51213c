"""The desk: everything that the API can see and do, and nothing else.

The application implements it; the API is handed it and never sees the application. Views are synchronous and read
memory only, so that they answer while the disk hangs; lists come from the ledger and may wait or raise LedgerError.
Reading changes nothing. What changes anything are `enter_hold`, `apply_control` and `acknowledge_incident`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, Protocol

from attrs import Factory, frozen

from propbot.domain.approvals import Approval
from propbot.domain.events import EventRow, JournalCheck
from propbot.domain.instruments import VenueId
from propbot.domain.lots import FillRow, Lot, OrderRow
from propbot.domain.mode import HoldRecord, Mode, Profile
from propbot.domain.news import News, Place
from propbot.domain.status import Incident
from propbot.secrets.keyring import SecretRow
from propbot.status.board import Board
from propbot.status.incidents import Incidents
from propbot.status.measures import Measures
from propbot.status.series import Series
from propbot.status.slo import SloReading
from propbot.status.views import ControlView, PnlView, SpreadView, StateView


@frozen
class EventQuery:
    """Which events; None is "any". Times are wall nanoseconds, inclusive."""

    since_ns: int | None = None
    until_ns: int | None = None
    level: str | None = None
    kind: str | None = None
    venue: str | None = None
    symbol: str | None = None


@frozen
class ControlPatch:
    """What an operator asks for, each value legal by itself; None is "leave it". Whether it is allowed now is the
    desk's business."""

    mode: Mode | None = None
    reason: str = ""
    safe_mode: bool | None = None
    dry_run_only: bool | None = None
    order_notional_usdt: Decimal | None = None
    min_spread_bps: Decimal | None = None
    max_slippage_bps: Decimal | None = None
    poll_interval_sec: float | None = None
    loop_pair: str | None = None
    loop_venues: tuple[VenueId, ...] | None = None
    drain_timeout_sec: float | None = None


@frozen
class Change:
    """A parameter before and after."""

    old: Any
    new: Any


@frozen
class Done:
    """All of the patch is durable and in force by the next decision. `changes` names only what really changed."""

    changes: Mapping[str, Change] = Factory(dict)
    warnings: Sequence[str] = ()


@frozen
class Pending:
    """Nothing changed yet: another person has to approve."""

    approval: Approval


@frozen
class Conflict:
    """Not possible now (409): each reason names what has to be mended first. Nothing of the patch was applied, but a
    HOLD stays one."""

    reasons: Sequence[str]


@frozen
class Forbidden:
    """Not allowed in this profile or state (403); `message` says what to do first."""

    message: str


@frozen
class Unusable:
    """A value that is well-formed but can't be used here (422), such as a venue that does not exist."""

    fields: Mapping[str, str]


@frozen
class Decided:
    """A person's word on a proposal is durable. Of one that was approved: what changed, and what should be said."""

    approval: Approval
    done: Done = Done()


@frozen
class Unknown:
    """There is no such thing (404)."""

    message: str


ControlOutcome = Done | Pending | Conflict | Forbidden | Unusable
ApprovalOutcome = Decided | Conflict | Forbidden | Unknown


LotsWord = Literal["keep", "write_off"]
"""What becomes of the lots that have a leg where a baseline moves."""


@frozen
class BaselineMoved:
    """Durable. `old` stays in the journal."""

    venue: VenueId
    asset: str
    old: Decimal
    new: Decimal
    written_off: tuple[str, ...] = ()
    """Ids of lots that were closed with it, in the ledger alone."""


@frozen
class SecretsStored:
    """Durable, and in force where `checked` says so. No value is in here."""

    updated: Sequence[str]
    checked: Mapping[str, bool]
    """Whether the venue took it for a signed read."""
    warnings: Sequence[str] = ()


SecretsOutcome = SecretsStored | Conflict | Unusable
BaselineOutcome = BaselineMoved | Pending | Conflict | Unusable


class Desk(Protocol):
    # what it is
    @property
    def board(self) -> Board: ...
    @property
    def incidents(self) -> Incidents: ...
    @property
    def version(self) -> str: ...
    @property
    def profile(self) -> Profile: ...
    def now_ns(self) -> int:
        """The service's wall clock."""
        ...

    def uptime_s(self) -> float: ...

    # how it is: memory only
    def mode(self) -> Mode: ...
    def hold(self) -> HoldRecord | None: ...
    def safe_mode(self) -> bool:
        """As it is set. The API shows it as on in HOLD too."""
        ...

    def dry_run_only(self) -> bool: ...
    def state_view(self) -> StateView: ...
    def control_view(self) -> ControlView: ...
    def unready_reasons(self) -> Sequence[str]:
        """Why it is not ready to trade, beside a HOLD; empty when it is."""
        ...

    def slo(self) -> Sequence[SloReading]: ...
    def measures(self) -> Measures:
        """The numbers that monitoring takes; measured already, or None."""
        ...

    @property
    def spreads(self) -> Series[SpreadView]: ...
    @property
    def pnl_points(self) -> Series[PnlView]: ...

    def note_request(self, latency_ms: float) -> None:
        """The API answered a request after so long: a measurement, no state."""
        ...

    def secrets(self) -> Sequence[SecretRow]:
        """Names, versions and sources of the secrets in force."""
        ...

    def clean(self, text: str) -> str:
        """`text` without any secret that is known."""
        ...

    # what happened: the ledger. Newest first; a cursor is what the page before gave out (digits, 18 at most)
    async def orders(self, limit: int, cursor: str | None) -> tuple[Sequence[OrderRow], str | None]: ...
    async def fills(self, limit: int, cursor: str | None) -> tuple[Sequence[FillRow], str | None]: ...
    async def lots(self, limit: int, cursor: str | None) -> tuple[Sequence[Lot], str | None]: ...
    async def events(
        self, limit: int, cursor: str | None, wanted: EventQuery
    ) -> tuple[Sequence[EventRow], str | None]: ...

    # for those who follow: places in the ledger, and what came after one, oldest first
    def newest_event_id(self) -> int:
        """Of what is durable; memory only. Nothing comes into the ledger without an event."""
        ...

    async def newest_place(self) -> Place: ...
    async def find_place(self, event_id: int, fill_seq: int) -> Place | None:
        """None where this ledger does not reach so far."""
        ...

    async def news(self, after: Place, limit: int) -> News: ...
    async def incidents_page(self, limit: int, cursor: str | None) -> tuple[Sequence[Incident], str | None]: ...
    async def approvals(self, limit: int, cursor: str | None) -> tuple[Sequence[Approval], str | None]: ...
    async def verify_journal(self) -> JournalCheck:
        """Walks the whole journal, which takes a while when it is long; may be cancelled."""
        ...

    # whether it lives
    def alive(self) -> bool:
        """Whether the engine's tasks turn; the event loop turns or nobody could ask."""
        ...

    async def ledger_answers(self) -> bool:
        """Whether a read of the ledger comes back; the caller sets the deadline."""
        ...

    # what an operator does
    def enter_hold(self, reason: str, operator: str, *, winddown_exempt: bool) -> Mode:
        """Enter HOLD now, synchronously; the mode before. Cannot be refused. Source: `operator:<operator>`."""
        ...

    async def accept_baseline(
        self, venue: VenueId, asset: str, reason: str, operator: str, lots: LotsWord | None
    ) -> BaselineOutcome:
        """Move the baseline of one asset so that the ledger equals the venue; in HOLD only."""
        ...

    async def store_secrets(self, values: Mapping[str, str], operator: str) -> SecretsOutcome:
        """By legal names (`secrets.names`), each a legal secret. All or nothing; those of the active profile are
        checked at their venue first. Durable when it returns."""
        ...

    async def apply_control(self, patch: ControlPatch, operator: str) -> ControlOutcome:
        """All of the patch or nothing. A `mode` HOLD was entered by `enter_hold` already: here it is made durable."""
        ...

    async def acknowledge_incident(self, id: int, operator: str, note: str) -> Incident | None:
        """The incident, with its first acknowledgement; None if there is none of this id. Durable when it returns."""
        ...

    async def approve(self, id: str, operator: str) -> ApprovalOutcome:
        """What another person proposed, once; a refusal for a passing reason leaves it pending."""
        ...

    async def reject(self, id: str, operator: str, reason: str) -> ApprovalOutcome: ...

    def note_refused(self, operator: str, tried: str) -> None:
        """Someone asked for what their role does not allow; nothing was done."""
        ...
