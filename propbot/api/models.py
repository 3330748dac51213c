"""The answers as pydantic models: they document /openapi.json, and a test holds what `present` makes to them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, RootModel

from propbot.api.bodies import Absent, ModeName
from propbot.domain.status import Metric


class Output(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ErrorDetail(Output):
    code: str
    message: str
    fields: dict[str, str] | Absent = None


class ErrorAnswer(Output):
    error: ErrorDetail
    hold: Literal["entered"] | Absent = None
    reasons: list[str] | Absent = None


class Cause(Output):
    reason: str
    source: str
    since: str


class CancelResult(Output):
    left: int | None
    seconds: float
    not_read_back: list[str]


class Hold(Cause):
    causes: list[Cause]
    cancel: CancelResult | None
    line: str


class ComponentItem(Output):
    id: str
    title: str
    group: str
    status: Literal["OK", "WARN", "ERROR", "HOLD"]
    summary: str
    since: str
    metrics: dict[str, Metric]


class AlertItem(Output):
    severity: str
    title: str
    msg: str
    since: str
    component_id: str


class IncidentStepItem(Output):
    ts: str
    step: str
    text: str
    details: dict[str, Metric]


class IncidentItem(Output):
    id: int
    ts: str
    severity: str
    kind: str
    component_id: str
    summary: str
    details: str
    acknowledged_by: str | None
    acknowledged_at: str | None
    note: str
    resolved_at: str | None
    timeline: list[IncidentStepItem]


class OverallStatus(Output):
    status: Literal["OK", "WARN", "ERROR", "HOLD"]
    reason: str
    source: str
    since: str | None


class Overview(Output):
    ts: str
    overall: Literal["OK", "WARN", "ERROR", "HOLD"]
    overall_status: OverallStatus
    mode: ModeName
    profile: Literal["paper", "testnet", "live"]
    safe_mode: bool
    dry_run_only: bool
    hold: Hold | None
    alerts: list[AlertItem]
    scores: dict[str, float]
    components: list[ComponentItem]
    version: str
    uptime_s: float


class Components(Output):
    ts: str
    components: list[ComponentItem]
    incidents: list[IncidentItem]


class SloItem(Output):
    title: str
    value: float | None
    threshold: float
    unit: str
    window_s: float | None
    state: Literal["OK", "BREACH", "unknown"]
    samples: int
    severity: str


class Slo(Output):
    ts: str
    metrics: dict[str, SloItem]


class Position(Output):
    venue: str
    symbol: str
    qty: str
    avg_price: str | None
    mark: str | None
    unrealised_usdt: str | None


class Dust(Output):
    venue: str
    asset: str
    qty: str


class RiskReason(Output):
    code: str
    message: str
    limit: Metric
    value: Metric


class Risk(Output):
    limits: dict[str, Metric]
    current: dict[str, Metric]
    positions: list[Position]
    dust: list[Dust]
    breaches: list[RiskReason]


class Loop(Output):
    model_config = ConfigDict(extra="allow")

    pair: str
    venues: list[str]
    running: bool
    why_not: str | None


class Pnl(Output):
    equity: str | None
    realised: str | None
    unrealised: str | None
    fees: str | None
    funding: str | None
    day: str | None


class AssetBalance(Output):
    free: str
    locked: str
    total: str


class Book(Output):
    bid: str | None
    ask: str | None
    synced: bool
    age_s: float | None
    resyncs: int


class Venue(Output):
    balances: dict[str, AssetBalance]
    key_status: str
    usable: bool
    reason: str
    book: Book | None


class State(Output):
    ts: str
    mode: ModeName
    safe_mode: bool
    dry_run: bool
    flags: dict[str, Metric]
    risk: Risk
    risk_blocked: bool
    risk_reasons: list[RiskReason]
    loop: Loop
    pnl: Pnl
    venues: dict[str, Venue]


class Preflight(Output):
    when: str | None
    ok: bool | None
    reasons: list[str]


class ApprovalItem(Output):
    id: str
    change: dict[str, Any]
    proposer: str
    proposed_at: str
    expires_at: str
    state: Literal["PENDING", "APPROVED", "REJECTED", "EXPIRED", "VOID"]
    decided_by: str | None
    decided_at: str | None
    reason: str


class Control(Output):
    mode: ModeName
    reason: str | None
    safe_mode: bool
    dry_run_only: bool
    order_notional_usdt: float
    min_spread_bps: float
    max_slippage_bps: float
    poll_interval_sec: float
    loop_pair: str
    loop_venues: list[str]
    drain_timeout_sec: float
    approvals: list[ApprovalItem]
    preflight: Preflight
    hold: Hold | None


class ChangeItem(Output):
    old: Any
    new: Any


class ControlAnswer(Output):
    control: Control
    changes: dict[str, ChangeItem]
    ignored_fields: list[str]
    warnings: list[str]


class PendingAnswer(Output):
    status: Literal["pending_approval"]
    approval: ApprovalItem
    ignored_fields: list[str]
    warnings: list[str]
    hold: Literal["entered"] | Absent = None


class Approvals(Output):
    items: list[ApprovalItem]
    next_cursor: str | None


class ApprovedAnswer(Output):
    approval: ApprovalItem
    control: Control
    changes: dict[str, ChangeItem]
    warnings: list[str]


class RejectedAnswer(Output):
    approval: ApprovalItem


class Order(Output):
    ts: str
    updated_at: str
    venue: str
    symbol: str
    order_id: str
    client_order_id: str
    intent_id: str
    lot_id: str
    purpose: Literal["open", "close", "hedge", "unwind"]
    side: Literal["BUY", "SELL"]
    qty: str
    limit_price: str | None
    time_in_force: str
    reduce_only: bool
    state: str
    filled_qty: str
    reason: str
    simulated: bool


class Fill(Output):
    ts: str
    venue: str
    symbol: str
    order_id: str
    client_order_id: str
    trade_id: str
    side: Literal["BUY", "SELL"]
    qty: str
    price: str
    fee: str
    fee_asset: str
    liquidity: str
    lot_id: str
    purpose: Literal["open", "close", "hedge", "unwind"]
    simulated: bool


class Leg(Output):
    venue: str
    side: Literal["BUY", "SELL"]
    qty: str


class LotItem(Output):
    id: str
    pair: str
    state: Literal["OPENING", "OPEN", "CLOSING", "CLOSED"]
    opened_at: str
    closed_at: str | None
    qty: str
    legs: list[Leg]
    edge_bps: float
    realised_usdt: str | None
    exit_reason: str
    simulated: bool


class EventItem(Output):
    id: int
    ts: str
    level: str
    kind: str
    venue: str
    symbol: str
    source: str
    message: str
    details: dict[str, Metric]


class EventArray(RootModel[list[EventItem]]):
    """The export as JSON: no page, no cursor."""


class Orders(Output):
    items: list[Order]
    next_cursor: str | None


class Fills(Output):
    items: list[Fill]
    next_cursor: str | None


class Lots(Output):
    items: list[LotItem]
    next_cursor: str | None


class Positions(Output):
    items: list[Position]
    next_cursor: str | None


class Events(Output):
    items: list[EventItem]
    next_cursor: str | None


class PnlPoint(Pnl):
    ts: str


class PnlPoints(Output):
    ts: str
    now: Pnl
    step_s: int
    steps_s: list[int]
    items: list[PnlPoint]
    next_cursor: str | None


class SpreadPoint(Output):
    ts: str
    pair: str
    mids: dict[str, str | None]
    spread_bps: float | None
    reference_bps: float | None
    net_edge_bps: dict[str, float | None]
    why_not: str | None


class SpreadPoints(Output):
    ts: str
    now: SpreadPoint | None
    step_s: int
    steps_s: list[int]
    items: list[SpreadPoint]
    next_cursor: str | None


class IncidentPage(Output):
    items: list[IncidentItem]
    next_cursor: str | None


class SecretItem(Output):
    name: str
    version: int | None
    ts: str | None
    source: Literal["stored", "environment", "venue"]


class Secrets(Output):
    items: list[SecretItem]
    next_cursor: str | None


class SecretsAnswer(Output):
    status: Literal["ok"]
    updated: list[str]
    checked: dict[str, bool]
    warnings: list[str]


class BaselineAnswer(Output):
    venue: str
    asset: str
    old: str
    new: str
    written_off: list[str]


class JournalChecked(Output):
    ok: bool
    rows: int
    head: str | None
    first_bad: int | None
    reason: str | None = None


class Healthy(Output):
    status: Literal["ok"]


class Failing(Output):
    status: Literal["failing"]
    reasons: list[str]


class Readiness(Output):
    ready: bool
    reasons: list[str]
