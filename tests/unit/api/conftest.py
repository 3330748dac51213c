"""A desk with known content, and ways to call the API over it in memory."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache

import httpx
import pytest
import trio
from attrs import define, evolve, field
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from propbot.api.app import make_api
from propbot.api.auth import Auth
from propbot.control.operators import Operators
from propbot.domain.approvals import Approval
from propbot.domain.errors import LedgerError
from propbot.domain.events import EventRow, JournalCheck
from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM, VenueId
from propbot.domain.lots import FillRow, Lot, LotState, OrderRow
from propbot.domain.mode import CancelResult, Cause, HoldRecord, Mode, Profile
from propbot.domain.news import News, Place
from propbot.domain.orders import Balance, Fill, OrderRequest, OrderState, Purpose, Side
from propbot.domain.status import Health, Incident
from propbot.kit.redact import Redactor
from propbot.secrets.keyring import SecretRow
from propbot.status.board import Board
from propbot.status.desk import (
    ApprovalOutcome,
    BaselineOutcome,
    Change,
    ControlOutcome,
    ControlPatch,
    Decided,
    Done,
    EventQuery,
    LotsWord,
    SecretsOutcome,
    SecretsStored,
)
from propbot.status.incidents import Incidents
from propbot.status.measures import Distribution, LedgerMeasures, Measures, VenueMeasures
from propbot.status.series import Series, Tier
from propbot.status.slo import SloReading, SloState
from propbot.status.views import (
    BookView,
    ControlView,
    DustView,
    LoopView,
    PnlView,
    PositionView,
    PreflightView,
    RiskReason,
    RiskView,
    SpreadView,
    StateView,
    VenueView,
)

NOW_NS = 1_795_403_529_123_000_000
TOKEN = "t" * 40


@define
class FixedClock:
    now_ns: int = NOW_NS

    def wall_ns(self) -> int:
        return self.now_ns

    def mono_s(self) -> float:
        return self.now_ns / 1e9


def make_order(number: int) -> OrderRow:
    request = OrderRequest(
        f"pb{number}", BINANCE_UM, "BTCUSDT", Side.BUY, Purpose.OPEN, Decimal("0.016"), Decimal("61234.5")
    )
    return OrderRow(request, "i1", "l1", OrderState.FILLED, str(number), Decimal("0.016"), NOW_NS, NOW_NS)


def make_fill(number: int) -> FillRow:
    fill = Fill(
        venue=BINANCE_SPOT,
        symbol="BTCUSDT",
        order_id="900",
        client_order_id="pb900",
        trade_id=str(number),
        side=Side.SELL,
        qty=Decimal("0.016000"),
        price=Decimal("61234.56"),
        fee=Decimal("0.19595"),
        fee_asset="USDT",
        liquidity="taker",
        ts_ms=NOW_NS // 1_000_000,
    )
    return FillRow(fill, "l1", Purpose.OPEN, NOW_NS)


def make_lot(number: int) -> Lot:
    return Lot(
        f"l{number}",
        "BTCUSDT",
        LotState.CLOSED,
        BINANCE_UM,
        BINANCE_SPOT,
        Decimal("0.016"),
        NOW_NS,
        Decimal("3.25"),
        Decimal("-3.5"),
        closed_ns=NOW_NS,
        realised=Decimal("0.311"),
        exit_reason="edge gone",
    )


def make_event(number: int) -> EventRow:
    return EventRow(number, NOW_NS, "WARN", "feed", "book stale", venue="binance-um", details={"age_s": "1.6"})


def make_approval(number: int) -> Approval:
    return Approval(f"k{number}", '{"mode":"RUN"}', "d" * 64, "ann", NOW_NS, NOW_NS + 300_000_000_000)


def make_spread(number: int) -> SpreadView:
    mids = {BINANCE_UM: Decimal("61230.10"), BINANCE_SPOT: None}
    edges = {"binance-um>binance-spot": float(number), "binance-spot>binance-um": None}
    return SpreadView("BTCUSDT", mids, None, -3.5, edges, "HOLD: nothing is traded")


def make_measures() -> Measures:
    known = VenueMeasures(
        True, True, 0.05, 1, 100, 2, 3, 1, True, -0.0125, 0.25, 0.0, Decimal("-0.016"), 7
    )
    unknown = VenueMeasures(
        False, False, None, 0, 0, 0, 0, 0, False, None, None, 0.0, Decimal(0), 0
    )
    distributions = {
        "book_age": Distribution([0.01, 0.02, 0.05], 300), "tick_to_order": Distribution([], 0),
        "order_round_trip": Distribution([0.01], 4), "api_latency": Distribution([0.001, 0.002], 17),
        "loop_lag": Distribution([0.0], 600),
    }
    return Measures(
        {BINANCE_UM: known, BINANCE_SPOT: unknown}, distributions, {(BINANCE_UM, "FILLED"): 3}, 1, 2, 5, 0,
        Decimal("0.001"), None, Decimal("12.5"), 4, {"recon": 2, "ledger": 0}, 0,
        LedgerMeasures(0, 0.0, 0.0005, 0.02, 3), 0, 0, None,
    )


def make_pnl(number: int) -> PnlView:
    return PnlView(Decimal("223456.70"), Decimal(number), None, Decimal("0.4"), Decimal(0), Decimal("-1.50"))


def fill_series(series: Series, make, count: int) -> Series:
    """One point a second from NOW_NS on."""
    for number in range(1, count + 1):
        series.note(float(number), NOW_NS + (number - 1) * 10**9, make(number))
    return series


@define(eq=False)
class FakeDesk:
    """In memory; changes what it is asked to, and remembers in which order."""

    board: Board
    incidents: Incidents
    version: str = "0.1.0"
    profile: Profile = Profile.PAPER
    now_mode: Mode = Mode.RUN
    record: HoldRecord | None = None
    safe: bool = False
    dry: bool = False
    outcome: ControlOutcome | None = None
    heard: list[str] = field(factory=list)
    patches: list[ControlPatch] = field(factory=list)
    exempt: bool | None = None
    engine_turns: bool = True
    journal_rows: list[EventRow] = field(factory=lambda: [evolve(make_event(n), hash=f"{n:064x}") for n in (1, 2, 3)])
    fill_rows: list[tuple[int, FillRow]] = field(factory=lambda: [(1, make_fill(1))])
    ledger_error: str | None = None
    ledger_hangs: bool = False
    unready: tuple[str, ...] = ()
    asked_events: EventQuery | None = None
    approval_outcome: ApprovalOutcome | None = None
    notional: Decimal = Decimal(1000)
    latencies_ms: list[float] = field(factory=list)
    spreads: Series = field(factory=lambda: fill_series(Series((Tier(1, 900), Tier(10, 900))), make_spread, 25))
    pnl_points: Series = field(factory=lambda: fill_series(Series((Tier(5, 900), Tier(60, 900))), make_pnl, 25))
    redactor: Redactor = field(factory=Redactor)
    secret_rows: Sequence[SecretRow] = ()
    secrets_outcome: SecretsOutcome | None = None
    journal: JournalCheck = field(factory=lambda: JournalCheck(True, 17, "ab" * 32, None, ""))

    def now_ns(self) -> int:
        return NOW_NS

    def uptime_s(self) -> float:
        return 12.5

    def mode(self) -> Mode:
        return self.now_mode

    def hold(self) -> HoldRecord | None:
        return self.record

    def safe_mode(self) -> bool:
        return self.safe

    def dry_run_only(self) -> bool:
        return self.dry

    def state_view(self) -> StateView:
        position = PositionView(
            BINANCE_UM, "BTCUSDT", Decimal("-0.016"), Decimal("61234.5"), Decimal("61230"), Decimal("0.072")
        )
        return StateView(
            flags={"PROFILE": "paper", "MODE": "RUN", "SAFE_MODE": False, "DRY_RUN_ONLY": False, "TWO_MAN_RULE": False},
            risk=RiskView(
                limits={"max_position_usdt": Decimal(5000), "max_open_orders": 10},
                current={"max_position_usdt": Decimal("979.68"), "max_open_orders": 0},
                positions=[position],
                dust=[DustView(BINANCE_SPOT, "BTC", Decimal("0.0000001"))],
                breaches=[],
            ),
            risk_reasons=[RiskReason("max_position", "over the limit", Decimal(5000), Decimal("5000.1"))],
            loop=LoopView("BTCUSDT", [BINANCE_UM, BINANCE_SPOT], True, None, {"decisions": 3, "net_edge_bps": 1.5}),
            pnl=PnlView(Decimal("223456.7"), Decimal("1.5"), None, Decimal("0.4"), Decimal(0), Decimal("1.5")),
            venues={
                BINANCE_UM: VenueView(
                    True,
                    "",
                    "ok",
                    [Balance(BINANCE_UM, "USDT", Decimal("100000.00"))],
                    BookView(Decimal("61230.1"), Decimal("61230.2"), True, 0.05),
                ),
                BINANCE_SPOT: VenueView(False, "connecting", "unknown"),
            },
        )

    def control_view(self) -> ControlView:
        return ControlView(
            self.notional,
            Decimal("1.2"),
            Decimal(2),
            1.0,
            "BTCUSDT",
            [BINANCE_UM, BINANCE_SPOT],
            60.0,
            PreflightView(True),
        )

    def slo(self) -> Sequence[SloReading]:
        return (
            SloReading("reject_rate", "Orders refused", 0.25, 0.1, "ratio", 600.0, SloState.BREACH, 40, "P1"),
            SloReading("day_drawdown", "Loss", None, 500.0, "USDT", None, SloState.UNKNOWN, 0, "P0"),
        )

    def measures(self) -> Measures:
        return make_measures()

    def note_request(self, latency_ms: float) -> None:
        self.latencies_ms.append(latency_ms)

    def unready_reasons(self) -> Sequence[str]:
        return self.unready

    async def orders(self, limit: int, cursor: str | None) -> tuple[Sequence[OrderRow], str | None]:
        return await self._page([make_order(n) for n in (3, 2, 1)], limit, cursor)

    async def fills(self, limit: int, cursor: str | None) -> tuple[Sequence[FillRow], str | None]:
        return await self._page([make_fill(n) for n in (3, 2, 1)], limit, cursor)

    async def lots(self, limit: int, cursor: str | None) -> tuple[Sequence[Lot], str | None]:
        return await self._page([make_lot(n) for n in (3, 2, 1)], limit, cursor)

    async def events(
        self, limit: int, cursor: str | None, wanted: EventQuery
    ) -> tuple[Sequence[EventRow], str | None]:
        self.asked_events = wanted
        return await self._page([make_event(n) for n in (3, 2, 1)], limit, cursor)

    def newest_event_id(self) -> int:
        return len(self.journal_rows)

    async def newest_place(self) -> Place:
        await self._need_ledger()
        place = await self.find_place(len(self.journal_rows), len(self.fill_rows))
        assert place is not None
        return place

    async def find_place(self, event_id: int, fill_seq: int) -> Place | None:
        await self._need_ledger()
        if event_id > len(self.journal_rows) or fill_seq > len(self.fill_rows):
            return None
        if event_id == 0:
            return Place(fill_seq=fill_seq)
        event = self.journal_rows[event_id - 1]
        return Place(event_id, event.hash, event.ts_ns, fill_seq)

    async def news(self, after: Place, limit: int) -> News:
        await self._need_ledger()
        fills = [row for row in self.fill_rows if row[0] > after.fill_seq]
        return News(tuple(self.journal_rows[after.event_id :][:limit]), tuple(fills[:limit]))

    def happen(self, fills: int = 0) -> EventRow:
        """A new row in the journal; with it some fills."""
        event = evolve(make_event(len(self.journal_rows) + 1), hash=f"{len(self.journal_rows) + 1:064x}")
        self.journal_rows.append(event)
        for _ in range(fills):
            number = len(self.fill_rows) + 1
            self.fill_rows.append((number, make_fill(number)))
        return event

    async def _need_ledger(self) -> None:
        await self.ledger_answers()
        if self.ledger_error is not None:
            raise LedgerError(self.ledger_error)

    async def incidents_page(self, limit: int, cursor: str | None) -> tuple[Sequence[Incident], str | None]:
        return await self._page(self.incidents.all(), limit, cursor)

    async def acknowledge_incident(self, id: int, operator: str, note: str) -> Incident | None:
        await self.ledger_answers()
        if self.ledger_error is not None:
            raise LedgerError(self.ledger_error)
        return self.incidents.acknowledge(id, operator, note)

    async def _page(self, rows, limit, cursor):
        await self.ledger_answers()
        if self.ledger_error is not None:
            raise LedgerError(self.ledger_error)
        start = int(cursor or 0)
        end = start + limit
        return rows[start:end], str(end) if end < len(rows) else None

    async def verify_journal(self) -> JournalCheck:
        await self.ledger_answers()
        return self.journal

    def alive(self) -> bool:
        return self.engine_turns

    async def ledger_answers(self) -> bool:
        await trio.lowlevel.checkpoint()
        if self.ledger_hangs:
            await trio.sleep_forever()
        return self.ledger_error is None

    def enter_hold(self, reason: str, operator: str, *, winddown_exempt: bool) -> Mode:
        before, self.now_mode = self.now_mode, Mode.HOLD
        self.record = self.record or HoldRecord((Cause(reason, f"operator:{operator}", NOW_NS),), CancelResult(0, 0.01))
        self.exempt = winddown_exempt
        self.heard.append("hold")
        return before

    def secrets(self) -> Sequence[SecretRow]:
        return self.secret_rows

    def clean(self, text: str) -> str:
        return self.redactor.clean(text)

    async def store_secrets(self, values: Mapping[str, str], operator: str) -> SecretsOutcome:
        self.heard.append(f"secrets by {operator}: {', '.join(values)}")
        await trio.lowlevel.checkpoint()
        return self.secrets_outcome or SecretsStored(tuple(values), dict.fromkeys(values, True))

    async def accept_baseline(
        self, venue: VenueId, asset: str, reason: str, operator: str, lots: LotsWord | None = None
    ) -> BaselineOutcome:
        self.heard.append(f"baseline by {operator}: {venue} {asset} {reason}")
        assert self.outcome is not None
        return self.outcome

    async def apply_control(self, patch: ControlPatch, operator: str) -> ControlOutcome:
        self.heard.append(f"apply by {operator}")
        self.patches.append(patch)
        await self.ledger_answers()
        if self.ledger_error is not None:
            raise LedgerError(self.ledger_error)
        if self.outcome is not None:
            return self.outcome
        changes = {}
        if patch.mode is Mode.RUN:
            changes["mode"] = Change("HOLD", "RUN")
            self.now_mode, self.record = Mode.RUN, None
        if patch.order_notional_usdt is not None:
            changes["order_notional_usdt"] = Change(self.notional, patch.order_notional_usdt)
            self.notional = patch.order_notional_usdt
        return Done(changes)

    async def approvals(self, limit: int, cursor: str | None) -> tuple[Sequence[Approval], str | None]:
        return await self._page([make_approval(n) for n in (3, 2, 1)], limit, cursor)

    async def approve(self, id: str, operator: str) -> ApprovalOutcome:
        self.heard.append(f"{operator} approves {id}")
        await self.ledger_answers()
        return self.approval_outcome or Decided(make_approval(1), Done({"mode": Change("HOLD", "RUN")}))

    async def reject(self, id: str, operator: str, reason: str) -> ApprovalOutcome:
        self.heard.append(f"{operator} rejects {id}: {reason}")
        await self.ledger_answers()
        return self.approval_outcome or Decided(make_approval(1))

    def note_refused(self, operator: str, tried: str) -> None:
        self.heard.append(f"{operator} was refused {tried}")


def put_components(board: Board) -> None:
    board.put("recon", "Reconciliation", "guards", Health.OK, "ledger equals venue", {"age_s": 1.5}, severity="P0")
    board.put("feed_stale", "Market data", "guards", Health.WARN, "binance-um 1.6 s old", severity="P0")
    board.put("telegram", "Telegram", "channels", Health.OK, "off")


@cache
def documented() -> dict[tuple[str, str], set[int]]:
    """Method and path, as /openapi.json has it → the statuses that it tells of."""
    clock = FixedClock()
    app = make_api(FakeDesk(Board(clock), Incidents(clock)), auth=Auth(Operators.of(TOKEN)))
    paths = app.extensions["QUART_SCHEMA"].openapi_provider.schema()["paths"]
    return {
        (method.upper(), path): {int(status) for status in operation["responses"]}
        for path, methods in paths.items() for method, operation in methods.items()
    }


@pytest.fixture(autouse=True)
def documented_statuses(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever a test is answered is told of in /openapi.json. It fails afterwards, and stands in nobody's way before.
    A 500 is told of nowhere: a test that provokes one knows what it does."""
    seen: set[tuple[str, str, int]] = set()
    ask = httpx.ASGITransport.handle_async_request

    async def ask_and_note(self: httpx.ASGITransport, request: httpx.Request) -> httpx.Response:
        answer = await ask(self, request)
        paths = self.app.url_map.bind("")
        try:
            rule, _ = paths.match(request.url.path, method=request.method, return_rule=True)
        except HTTPException:
            return answer
        seen.add((request.method, re.sub("<(.+?)>", r"{\1}", rule.rule), answer.status_code))
        return answer

    monkeypatch.setattr(httpx.ASGITransport, "handle_async_request", ask_and_note)
    yield
    told = documented()
    untold = [each for each in seen if each[2] != 500 and each[2] not in told.get(each[:2], {each[2]})]
    assert not untold, f"statuses that /openapi.json does not tell of (refuses=… of @describe): {untold}"


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
def desk(clock: FixedClock) -> FakeDesk:
    board = Board(clock)
    put_components(board)
    incidents = Incidents(clock)
    incidents.open("P1", "stale", "feed_stale", "binance-um stale", {"binance-um.book_age_ms": 1600})
    return FakeDesk(board, incidents)


@pytest.fixture
def app(desk: FakeDesk) -> QuartTrio:
    return make_api(desk, auth=Auth(Operators.of(TOKEN)))


@pytest.fixture
async def nobody(app: QuartTrio) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a token."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://propbot") as client:
        yield client


@pytest.fixture
async def client(app: QuartTrio) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://propbot", headers=headers
    ) as client:
        yield client


@pytest.fixture
def held(desk: FakeDesk) -> FakeDesk:
    desk.now_mode = Mode.HOLD
    desk.record = HoldRecord((Cause("binance-um BTCUSDT ledger 0.012, venue 0.010", "guard:recon", NOW_NS),))
    desk.record = evolve(desk.record, cancel=CancelResult(0, 0.02))
    return desk
