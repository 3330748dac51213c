"""What PropBot's answers are made of, as far as the commands read it; `answers` holds each answer to it.

What is not named is let through: newer services say more. Decimal stands for a text that is a number.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NotRequired, TypedDict


class Cause(TypedDict):
    reason: str
    source: str
    since: str


class Hold(TypedDict):
    line: str
    source: str
    causes: list[Cause]


class Alert(TypedDict):
    severity: str
    msg: str
    component_id: str


class Component(TypedDict):
    id: str
    group: str
    status: str
    summary: str
    since: str


class Step(TypedDict):
    ts: str
    step: str
    text: str
    details: dict[str, Any]


class Incident(TypedDict):
    id: int
    ts: str
    severity: str
    component_id: str
    summary: str
    acknowledged_by: str | None
    acknowledged_at: str | None
    note: str
    resolved_at: str | None
    timeline: list[Step]


class OverallStatus(TypedDict):
    status: str
    reason: str
    source: str
    since: str | None


class Overview(TypedDict):
    ts: str | None
    overall: str
    overall_status: OverallStatus
    mode: str
    profile: str
    safe_mode: bool
    dry_run_only: bool
    hold: Hold | None
    alerts: list[Alert]
    components: list[Component]
    version: str
    uptime_s: float


class Components(TypedDict):
    components: list[Component]
    incidents: list[Incident]


class Level(TypedDict):
    title: str
    value: float | None
    unit: str
    state: str
    threshold: float
    samples: int


class Levels(TypedDict):
    metrics: dict[str, Level]


class Position(TypedDict):
    venue: str
    symbol: str
    qty: Decimal
    avg_price: Decimal | None
    mark: Decimal | None
    unrealised_usdt: Decimal | None


class Risk(TypedDict):
    positions: list[Position]


class Reason(TypedDict):
    code: str
    message: str


class Loop(TypedDict):
    pair: str
    venues: list[str]
    why_not: str | None
    simulated_lots_open: NotRequired[int]
    simulated_fills: NotRequired[int]
    simulated_realised_usdt: NotRequired[Decimal]
    simulated_unrealised_usdt: NotRequired[Decimal | None]


class Pnl(TypedDict):
    equity: Decimal | None
    realised: Decimal | None
    unrealised: Decimal | None
    fees: Decimal | None
    funding: Decimal | None
    day: Decimal | None


class Balance(TypedDict):
    total: Decimal


class Book(TypedDict):
    bid: Decimal | None
    ask: Decimal | None
    age_s: float | None


class Venue(TypedDict):
    balances: dict[str, Balance]
    key_status: str
    usable: bool
    reason: str
    book: Book | None


class Flags(TypedDict):
    PROFILE: str


class State(TypedDict):
    ts: str
    mode: str
    safe_mode: bool
    dry_run: bool
    flags: Flags
    risk: Risk
    risk_blocked: bool
    risk_reasons: list[Reason]
    loop: Loop
    pnl: Pnl
    venues: dict[str, Venue]


class Preflight(TypedDict):
    ok: bool | None
    reasons: list[str]


class Approval(TypedDict):
    id: str
    change: dict[str, Any]
    proposer: str
    expires_at: str
    state: str
    decided_by: str | None
    reason: str


class Control(TypedDict):
    mode: str
    safe_mode: bool
    approvals: list[Any]
    preflight: Preflight
    hold: Hold | None


class Change(TypedDict):
    old: Any
    new: Any


class Changed(TypedDict):
    control: Control
    changes: dict[str, Change]
    warnings: list[str]


class Waiting(TypedDict):
    approval: Approval


class Approved(Changed):
    approval: Approval


class Order(TypedDict):
    ts: str
    venue: str
    symbol: str
    purpose: str
    side: str
    qty: Decimal
    limit_price: Decimal | None
    state: str
    reason: NotRequired[str]
    simulated: bool


class Fill(TypedDict):
    ts: str
    venue: str
    symbol: str
    purpose: str
    side: str
    qty: Decimal
    price: Decimal
    fee: Decimal
    fee_asset: str
    simulated: bool


class Leg(TypedDict):
    venue: str
    side: str


class Lot(TypedDict):
    pair: str
    opened_at: str
    state: str
    qty: Decimal
    legs: list[Leg]
    edge_bps: float
    realised_usdt: Decimal | None
    exit_reason: str
    simulated: bool


class Event(TypedDict):
    id: int
    ts: str
    level: str
    kind: str
    venue: str
    symbol: str
    source: str
    message: str


class Secret(TypedDict):
    name: str
    version: int | None
    ts: str | None
    source: str


class Stored(TypedDict):
    status: str
    updated: list[str]
    checked: dict[str, bool]
    warnings: NotRequired[list[str]]


class Accepted(TypedDict):
    venue: str
    asset: str
    old: str
    new: str
    written_off: NotRequired[list[str]]


class JournalCheck(TypedDict):
    ok: bool
    rows: int
    head: str | None
    first_bad: int | None
    reason: NotRequired[str]
