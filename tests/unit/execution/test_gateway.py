"""The gateway against a scripted venue that speaks Binance: its law of errors, the clock, pauses, the counts."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import trio
from attrs import define, evolve, field

from propbot.domain.dialect import HttpCall, RateLimit
from propbot.domain.errors import (
    AccessRefused,
    AlreadyThere,
    Banned,
    ClockRefused,
    ConnectFailed,
    OrderNotFound,
    OutcomeUnknown,
    ProtocolViolation,
    RateLimited,
    VenueRefused,
    VenueRetry,
)
from propbot.domain.instruments import Credentials, Endpoints
from propbot.domain.orders import OrderRequest, OrderState, Purpose, Side
from propbot.execution.gateway import VenueGateway, open_gateway
from propbot.kit.clock import OffsetClock, VirtualClock
from propbot.kit.crash import CrashPoints
from propbot.kit.net import Address, MemoryNetwork
from propbot.venues.binance_spot import BinanceSpot
from propbot.venues.binance_um import BinanceUm

EPOCH_MS = 1_700_000_000_000
KEYS = Credentials("key", "secret")
ORDER = OrderRequest(
    "pb1", BinanceUm.venue, "BTCUSDT", Side.BUY, Purpose.OPEN, Decimal("0.010"), Decimal("60000.0")
)
FILLED = {
    "orderId": 7, "clientOrderId": "pb1", "symbol": "BTCUSDT", "side": "BUY", "status": "FILLED", "origQty": "0.010",
    "executedQty": "0.010", "price": "60000.0", "updateTime": EPOCH_MS, "timeInForce": "IOC", "type": "LIMIT",
    "avgPrice": "60000.0", "cumQuote": "600", "reduceOnly": False,
}  # fmt: skip


@define
class Asked:
    """A request as the venue got it."""

    method: str
    path: str
    query: dict[str, str]
    at_s: float


@define
class Answer:
    body: Any
    status: int = 200
    headers: dict[str, str] = field(factory=dict)
    delay_s: float = 0.0
    cut: bool = False
    """Close the connection instead of answering."""

    def encode(self) -> bytes:
        body = json.dumps(self.body).encode()
        lines = [f"HTTP/1.1 {self.status} X", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def error(status: int, code: int, text: str = "", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer({"code": code, "msg": text}, status, named)


class Venue:
    """Answers each path from its script, the last answer again and again; its clock is ours plus `clock.offset_ns`."""

    def __init__(self) -> None:
        self.network = MemoryNetwork()
        self.clock = VirtualClock(EPOCH_MS * 1_000_000)
        self.venue_clock = OffsetClock(self.clock.wall_ns)
        self.answers: dict[str, list[Answer]] = {}
        self.asked: list[Asked] = []

    def will(self, path: str, *answers: Answer) -> None:
        self.answers[path] = list(answers)

    def asked_at(self, path: str) -> list[Asked]:
        return [asked for asked in self.asked if asked.path == path]

    async def handle(self, stream: trio.abc.Stream) -> None:
        while True:
            received = b""
            while not received.endswith(b"\r\n\r\n"):
                part = await stream.receive_some(4096)
                if not part:
                    return
                received += part
            method, target, _ = received.decode().split(" ", 2)
            url = urlsplit(target)
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            self.asked.append(Asked(method, url.path, query, trio.current_time()))
            answer = self._answer(url.path)
            await trio.sleep(answer.delay_s)
            if answer.cut:
                return
            await stream.send_all(answer.encode())

    def _answer(self, path: str) -> Answer:
        script = self.answers.get(path)
        if script:
            return script.pop(0) if len(script) > 1 else script[0]
        assert path.endswith("/time"), f"no answer prepared for {path}"
        return Answer({"serverTime": self.venue_clock.wall_ns() // 1_000_000})


@pytest.fixture
async def venue(nursery: trio.Nursery) -> Venue:
    venue = Venue()
    await nursery.start(
        lambda task_status: venue.network.serve(venue.handle, "venue", 80, tls=None, task_status=task_status)
    )
    return venue


ENDPOINTS = Endpoints("http://venue", "ws://venue", "ws://venue/ws-api")
UM_ORDER, SPOT_ORDER = "/fapi/v1/order", "/api/v3/order"


@pytest.fixture
async def gateway(venue: Venue) -> AsyncIterator[VenueGateway]:
    async with open_gateway(venue.network, ENDPOINTS, BinanceUm(KEYS), venue.clock) as gateway:
        yield gateway


class Checks:
    """A last check that counts, and may refuse."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.count = 0
        self.refusal = refusal

    def __call__(self) -> None:
        self.count += 1
        if self.refusal is not None:
            raise self.refusal


class Passages(CrashPoints):
    def __init__(self, on_passage: Callable[[str], None] | None = None) -> None:
        super().__init__()
        self.names: list[str] = []
        self._on_passage = on_passage

    def passage(self, name: str) -> None:
        super().passage(name)
        self.names.append(name)
        if self._on_passage is not None:
            self._on_passage(name)


Place = Callable[[VenueGateway], Awaitable[object]]


async def place(gateway: VenueGateway, checks: Checks | None = None) -> object:
    return await gateway.place(ORDER, checks or Checks(), CrashPoints())


# --- placing


async def test_an_order_is_checked_sent_once_and_answered(venue: Venue, gateway: VenueGateway) -> None:
    venue.will(UM_ORDER, Answer(FILLED, headers={"X-MBX-ORDER-COUNT-10S": "3", "X-MBX-USED-WEIGHT-1M": "40"}))
    checks, passages = Checks(), Passages()
    report = await gateway.place(ORDER, checks, passages)
    assert (report.state, report.filled_qty, report.order_id) == (OrderState.FILLED, Decimal("0.010"), "7")
    assert checks.count == 1
    assert passages.names == ["first-byte:before", "first-byte:after", "ack:before"]
    assert [(asked.method, asked.query["newClientOrderId"]) for asked in venue.asked] == [("POST", "pb1")]
    assert gateway.usage == {"orders_10s": 3, "weight_1m": 40}
    assert len(gateway.order_rtt_ms) == 1


async def test_a_last_check_that_refuses_keeps_every_byte_here(venue: Venue, gateway: VenueGateway) -> None:
    passages = Passages()
    with pytest.raises(LookupError):
        await gateway.place(ORDER, Checks(LookupError("gate")), passages)
    assert (venue.asked, passages.names) == ([], [])


async def test_the_round_trip_is_measured_from_the_first_byte(
    venue: Venue, gateway: VenueGateway, autojump_clock: trio.testing.MockClock
) -> None:
    venue.will(UM_ORDER, Answer(FILLED, delay_s=0.25))
    await place(gateway)
    assert list(gateway.order_rtt_ms) == pytest.approx([250.0])


async def test_without_a_connection_the_order_never_left(venue: Venue, gateway: VenueGateway) -> None:
    venue.network.refuse.add(("venue", 80))
    checks = Checks()
    with pytest.raises(ConnectFailed):
        await place(gateway, checks)
    assert checks.count == 0


@pytest.mark.parametrize(
    "answer", [Answer({}, cut=True), Answer({}, delay_s=60), error(503, -1006, "Unknown error, please check")],
    ids=["cut", "silence", "503 unknown"],
)  # fmt: skip
async def test_without_a_clear_answer_the_outcome_is_unknown(
    venue: Venue, gateway: VenueGateway, answer: Answer, autojump_clock: trio.testing.MockClock
) -> None:
    venue.will(UM_ORDER, answer)
    checks = Checks()
    with pytest.raises(OutcomeUnknown):
        await place(gateway, checks)
    assert checks.count == 1
    assert trio.current_time() <= 3.0
    assert len(venue.asked_at(UM_ORDER)) == 1, "never sent again"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (error(400, -2019, "Margin is insufficient."), VenueRefused),
        (error(400, -4116, "ClientOrderId is duplicated."), AlreadyThere),
        (error(401, -2015, "Invalid API-key, IP, or permissions for action."), AccessRefused),
        (error(503, -1008, "Server is currently overloaded"), VenueRetry),
        (Answer({"unexpected": True}), ProtocolViolation),
    ],
)
async def test_the_venues_own_answers_keep_their_meaning(
    venue: Venue, gateway: VenueGateway, answer: Answer, kind: type[Exception]
) -> None:
    venue.will(UM_ORDER, answer)
    with pytest.raises(kind):
        await place(gateway)
    assert len(venue.asked) == 1


@pytest.mark.parametrize("cancel_at_s", [0.0, 0.01, 0.2])
async def test_cancelled_in_the_middle_cancelled_comes_out(
    venue: Venue, gateway: VenueGateway, cancel_at_s: float, autojump_clock: trio.testing.MockClock
) -> None:
    venue.will(UM_ORDER, Answer(FILLED, delay_s=1))
    seen: list[type[BaseException]] = []

    async def send(checks: Checks) -> None:
        try:
            await place(gateway, checks)
        except BaseException as error:
            seen.append(type(error))
            raise

    checks = Checks()
    with trio.move_on_after(cancel_at_s):
        await send(checks)
    assert seen == [trio.Cancelled]
    assert len(venue.asked) in (checks.count, 0)


async def test_a_crash_at_a_point_comes_at_that_point(venue: Venue, gateway: VenueGateway) -> None:
    venue.will(UM_ORDER, Answer(FILLED))

    def stop_at(wanted: str) -> Passages:
        def stop(name: str) -> None:
            if name == wanted:
                raise KeyboardInterrupt

        return Passages(stop)

    with pytest.raises(KeyboardInterrupt):
        await gateway.place(ORDER, Checks(), stop_at("first-byte:before"))
    assert venue.asked == []
    with pytest.raises(KeyboardInterrupt):
        await gateway.place(ORDER, Checks(), stop_at("first-byte:after"))
    with pytest.raises(KeyboardInterrupt):
        await gateway.place(ORDER, Checks(), stop_at("ack:before"))
    assert len(venue.asked) == 2


async def test_orders_and_cancels_that_left_are_counted_for_a_minute_whatever_became_of_them(
    venue: Venue, gateway: VenueGateway, autojump_clock: trio.testing.MockClock
) -> None:
    venue.will(UM_ORDER, Answer(FILLED), error(400, -2019, "Margin is insufficient."), error(400, -2011, "Unknown"))
    await place(gateway)
    with pytest.raises(LookupError):
        await gateway.place(ORDER, Checks(LookupError("gate")), CrashPoints())
    await trio.sleep(30)
    with pytest.raises(VenueRefused):
        await place(gateway)
    with pytest.raises(OrderNotFound):
        await gateway.cancel("BTCUSDT", "pb1")
    assert (gateway.orders_last_minute(), gateway.cancels_last_minute()) == (2, 1)
    await trio.sleep(31)
    assert (gateway.orders_last_minute(), gateway.cancels_last_minute()) == (1, 1)
    await trio.sleep(31)
    assert (gateway.orders_last_minute(), gateway.cancels_last_minute()) == (0, 0)


# --- questions


async def test_a_question_without_an_answer_may_be_asked_again(
    venue: Venue, gateway: VenueGateway, autojump_clock: trio.testing.MockClock
) -> None:
    venue.will(UM_ORDER, Answer({}, cut=True), error(503, -1007, "Timeout"), error(400, -2013, "no"), Answer(FILLED))
    for kind in (VenueRetry, VenueRetry, OrderNotFound):
        with pytest.raises(kind) as caught:
            await gateway.query("BTCUSDT", "pb1")
        assert not isinstance(caught.value, OutcomeUnknown)
    assert (await gateway.query("BTCUSDT", "pb1")).state is OrderState.FILLED
    venue.will("/fapi/v3/balance", Answer([], delay_s=10))
    before = trio.current_time()
    with pytest.raises(VenueRetry, match=r"within 0\.5 s"):
        await gateway.balances(timeout_s=0.5)
    assert trio.current_time() - before == pytest.approx(0.5)
    assert "balance" in gateway.last_error


async def test_each_question_goes_to_its_own_place(venue: Venue, gateway: VenueGateway) -> None:
    venue.will("/fapi/v3/balance", Answer([{"asset": "USDT", "balance": "100.5"}]))
    venue.will("/fapi/v3/positionRisk", Answer([{"symbol": "BTCUSDT", "positionAmt": "-0.5", "entryPrice": "60000"}]))
    venue.will("/fapi/v1/commissionRate", Answer({"makerCommissionRate": "0.0002", "takerCommissionRate": "0.0004"}))
    venue.will("/fapi/v1/openOrders", Answer([FILLED | {"status": "NEW", "executedQty": "0"}]))
    venue.will("/fapi/v1/depth", Answer({"lastUpdateId": 5, "bids": [["1", "2"]], "asks": [["3", "4"]]}))
    venue.will(UM_ORDER, Answer(FILLED | {"status": "CANCELED", "executedQty": "0"}))
    assert [(each.asset, each.total) for each in await gateway.balances()] == [("USDT", Decimal("100.5"))]
    assert [each.qty for each in await gateway.positions("BTCUSDT")] == [Decimal("-0.5")]
    assert (await gateway.fees("BTCUSDT")).taker_bps == 4
    assert [each.state for each in await gateway.open_orders("BTCUSDT")] == [OrderState.WORKING]
    assert (await gateway.depth("BTCUSDT")).last_id == 5
    assert (await gateway.cancel("BTCUSDT", "pb1")).state is OrderState.CANCELED
    assert [asked.method for asked in venue.asked_at(UM_ORDER)] == ["DELETE"]
    assert gateway.last_answer_mono_s is not None


async def test_spot_has_no_positions_and_is_not_asked_for_them(venue: Venue) -> None:
    async with open_gateway(venue.network, ENDPOINTS, BinanceSpot(KEYS), venue.clock) as spot:
        assert await spot.positions("BTCUSDT") == ()
    assert venue.asked == []


async def test_the_instrument_brings_the_rate_limits(venue: Venue, gateway: VenueGateway) -> None:
    filters = [
        {"filterType": "PRICE_FILTER", "tickSize": "0.10", "minPrice": "1", "maxPrice": "1000000"},
        {"filterType": "LOT_SIZE", "stepSize": "0.001", "minQty": "0.001", "maxQty": "1000"},
        {"filterType": "MIN_NOTIONAL", "notional": "100"},
    ]
    symbol = {
        "symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT", "filters": filters,
        "contractType": "PERPETUAL", "marginAsset": "USDT",
    }  # fmt: skip
    limits = [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2400}]
    venue.will("/fapi/v1/exchangeInfo", Answer({"symbols": [symbol], "rateLimits": limits}))
    instrument = await gateway.instrument("BTCUSDT")
    assert instrument.tick_size == Decimal("0.10")
    assert [(limit.key, limit.limit) for limit in gateway.rate_limits] == [("weight_1m", 2400)]
    await gateway.measure_clock()
    assert [(use.key, use.used, use.limit) for use in gateway.pace.uses()] == [("weight_1m", 3, 2400)]


def trade(trade_id: int) -> dict[str, Any]:
    return {
        "id": trade_id, "orderId": 1, "symbol": "BTCUSDT", "side": "BUY", "qty": "1", "price": "2", "commission": "0",
        "commissionAsset": "USDT", "time": EPOCH_MS, "maker": False, "buyer": True, "quoteQty": "2", "realizedPnl": "0",
        "positionSide": "BOTH",
    }  # fmt: skip


async def test_trades_are_read_page_after_page_to_the_end(venue: Venue, gateway: VenueGateway) -> None:
    pages = [[trade(n) for n in range(5, 1005)], [trade(n) for n in range(1005, 2005)], [trade(2005)]]
    venue.will("/fapi/v1/userTrades", *(Answer(page) for page in pages))
    fills = await gateway.trades("BTCUSDT", 5)
    assert [int(fill.trade_id) for fill in fills] == list(range(5, 2006))
    assert [asked.query["fromId"] for asked in venue.asked] == ["5", "1005", "2005"]
    venue.asked.clear()
    venue.will("/fapi/v1/userTrades", Answer(pages[0]))
    assert len(await gateway.trades("BTCUSDT", None)) == 1000
    assert ["fromId" in asked.query for asked in venue.asked] == [False], "the most recent page only"
    with pytest.raises(ProtocolViolation, match="older"):
        await gateway.trades("BTCUSDT", 90_000)
    venue.will("/fapi/v1/userTrades", Answer([trade(9)]))
    assert [fill.trade_id for fill in await gateway.order_trades("BTCUSDT", "1")] == ["9"]
    assert venue.asked[-1].query["orderId"] == "1"


async def test_ask_gives_the_reply_of_whatever_status(venue: Venue, gateway: VenueGateway) -> None:
    venue.will("/fapi/v1/listenKey", Answer({"listenKey": "L"}), error(400, -1125))
    call = BinanceUm(KEYS).call_private_key()
    assert call is not None
    assert (await gateway.ask(call)).status == 200
    assert (await gateway.ask(call)).status == 400


# --- the clock


async def test_the_offset_is_the_best_of_three_by_round_trip(
    venue: Venue, gateway: VenueGateway, autojump_clock: trio.testing.MockClock
) -> None:
    venue.venue_clock.offset_ns = 500_000_000
    assert (gateway.offset_ms, gateway.clock_age_s, gateway.venue_now_ms()) == (None, None, None)

    def said(at_ms: float, delay_s: float) -> Answer:
        return Answer({"serverTime": round(EPOCH_MS + at_ms)}, delay_s=delay_s)

    # asked at 0, 800 and 900 ms; the second one is the quickest: 100 ms, and said 1300 in its middle (850)
    venue.will("/fapi/v1/time", said(900, 0.8), said(1350, 0.1), said(2000, 0.5))
    assert await gateway.measure_clock() == pytest.approx(500.0)
    assert gateway.clock_age_s == 0
    assert gateway.ts_ms() == round(EPOCH_MS + trio.current_time() * 1000 + 500)
    await trio.sleep(7)
    assert gateway.clock_age_s == pytest.approx(7)


@pytest.mark.parametrize("step_s", [-3600, 0, 3600])
async def test_frames_are_aged_by_the_later_of_two_clocks(
    venue: Venue, gateway: VenueGateway, step_s: int, autojump_clock: trio.testing.MockClock
) -> None:
    """Set back, our wall clock would make old frames look fresh; ahead, as after a suspension, it makes them old."""
    venue.venue_clock.offset_ns = 500_000_000
    await gateway.measure_clock()
    venue.clock.step_ns(step_s * 10**9)
    await trio.sleep(2)
    now_ms = gateway.venue_now_ms()
    assert now_ms == pytest.approx(EPOCH_MS + 500 + trio.current_time() * 1000 + max(step_s, 0) * 1000, abs=1)


async def test_a_question_refused_for_its_timestamp_is_asked_once_more_with_a_better_one(
    venue: Venue, gateway: VenueGateway, autojump_clock: trio.testing.MockClock
) -> None:
    venue.venue_clock.offset_ns = 5_000_000_000
    venue.will("/fapi/v3/balance", error(400, -1021, "Timestamp for this request is outside"), Answer([]))
    assert await gateway.balances() == ()
    first, second = (int(asked.query["timestamp"]) for asked in venue.asked_at("/fapi/v3/balance"))
    assert second - first == pytest.approx(5000, abs=1000)  # what else it is: how long the machine took
    venue.will("/fapi/v3/balance", error(400, -1021, "again"))
    with pytest.raises(ClockRefused):
        await gateway.balances()
    assert len(venue.asked_at("/fapi/v3/balance")) == 4


async def test_an_order_refused_for_its_timestamp_is_not_sent_again_but_the_clock_is_measured(
    venue: Venue, gateway: VenueGateway, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    nursery.start_soon(gateway.keep_warm)
    await trio.sleep(2)
    venue.venue_clock.offset_ns = 5_000_000_000
    venue.will(UM_ORDER, error(400, -1021))
    with pytest.raises(ClockRefused):
        await place(gateway)
    await trio.sleep(0.1)
    assert gateway.offset_ms == pytest.approx(5000, abs=1)
    assert len(venue.asked_at(UM_ORDER)) == 1


async def test_it_keeps_connections_warm_and_the_clock_young_through_an_outage(
    venue: Venue, gateway: VenueGateway, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    nursery.start_soon(gateway.keep_warm)
    await trio.sleep(35)
    assert {round(asked.at_s) for asked in venue.asked} == {0, 10, 20, 30}
    assert gateway.clock_age_s == pytest.approx(5)
    venue.network.refuse.add(("venue", 80))
    venue.will("/fapi/v1/time", Answer({}, cut=True))
    await trio.sleep(60)
    assert gateway.clock_age_s == pytest.approx(65)
    assert gateway.last_error
    venue.network.refuse.clear()
    del venue.answers["/fapi/v1/time"]
    await trio.sleep(11)
    assert gateway.clock_age_s is not None
    assert gateway.clock_age_s < 11


# --- pauses


@pytest.mark.parametrize(
    ("status", "code", "kind", "pause_s"),
    [(429, -1003, RateLimited, 7.0), (418, -1003, Banned, 7.0)],
)
async def test_after_too_many_requests_not_a_byte_leaves_before_the_venue_allows(
    venue: Venue, gateway: VenueGateway, status: int, code: int, kind: type[RateLimited], pause_s: float,
    autojump_clock: trio.testing.MockClock,
) -> None:  # fmt: skip
    venue.will(UM_ORDER, error(status, code, "Too many requests", Retry_After="7"), Answer(FILLED))
    with pytest.raises(kind) as caught:
        await place(gateway)
    assert caught.value.retry_after_s == pause_s
    assert gateway.paused_s == pytest.approx(pause_s)
    await trio.sleep(pause_s - 0.01)
    checks = Checks()
    refused: list[Callable[[], Awaitable[object]]] = [
        lambda: place(gateway, checks), lambda: gateway.cancel("BTCUSDT", "pb1"), gateway.balances,
        gateway.measure_clock, lambda: gateway.depth("BTCUSDT"),
    ]  # fmt: skip
    for ask in refused:
        with pytest.raises(kind, match="not asked"):
            await ask()
    assert (len(venue.asked), checks.count) == (1, 0)
    await trio.sleep(0.02)
    await place(gateway)
    assert len(venue.asked) == 2


async def test_an_order_that_waited_for_a_connection_hears_of_a_pause_meanwhile(
    venue: Venue, gateway: VenueGateway, autojump_clock: trio.testing.MockClock
) -> None:
    venue.will("/fapi/v3/balance", error(429, -1003, "Too many", Retry_After="9"))
    connect = venue.network.connect
    delays_s = [1.0, 0.0]

    async def connect_slowly_at_first(address: Address) -> trio.abc.Stream:
        await trio.sleep(delays_s.pop(0))
        return await connect(address)

    venue.network.connect = connect_slowly_at_first  # type: ignore[method-assign]
    checks = Checks()
    outcome: list[str] = []

    async def send() -> None:
        try:
            await place(gateway, checks)
        except RateLimited as refusal:
            outcome.append(str(refusal))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await trio.sleep(0.1)
        with pytest.raises(RateLimited):
            await gateway.balances()
    assert len(outcome) == 1
    assert "not asked" in outcome[0]
    assert (checks.count, venue.asked_at(UM_ORDER)) == (0, [])


async def test_a_raw_ask_pauses_too_with_a_default_where_no_time_is_named(
    venue: Venue, gateway: VenueGateway, autojump_clock: trio.testing.MockClock
) -> None:
    venue.will("/fapi/v1/listenKey", error(418, -1003))
    call = BinanceUm(KEYS).call_private_key()
    assert call is not None
    assert (await gateway.ask(call)).status == 418
    assert gateway.paused_s == pytest.approx(120)
    with pytest.raises(Banned):
        await gateway.ask(call)


# --- the rate budget


LIMITS = (RateLimit("weight_1m", 100, 60.0), RateLimit("orders_10s", 5, 10.0))
HEDGE = evolve(ORDER, purpose=Purpose.HEDGE)


def use_up(gateway: VenueGateway, weight: int) -> None:
    """As if so much had been asked and answered just now."""
    budget = gateway.pace.budget
    budget.set_limits(LIMITS)
    budget.answered(budget.let_go(HttpCall("GET", "/", weight=weight)), {}, gateway.clock.mono_s())


async def test_reading_waits_for_room_in_the_pace_share_and_is_stamped_when_it_leaves(
    venue: Venue, gateway: VenueGateway, autojump_clock: trio.testing.MockClock
) -> None:
    venue.will("/fapi/v3/balance", Answer([]))
    use_up(gateway, 78)
    await trio.sleep(58)
    await gateway.balances()
    assert trio.current_time() == pytest.approx(60.1, abs=0.1)
    (asked,) = venue.asked
    assert int(asked.query["timestamp"]) >= EPOCH_MS + 2000  # the wall clock began at the first look, at 58 s


async def test_reading_that_would_wait_past_its_deadline_is_refused_at_once_and_names_the_window(
    venue: Venue, gateway: VenueGateway, autojump_clock: trio.testing.MockClock
) -> None:
    use_up(gateway, 80)
    with pytest.raises(VenueRetry, match="weight_1m of 100") as caught:
        await gateway.balances()
    assert trio.current_time() == 0
    assert caught.value.retry_after_s == pytest.approx(60.1)
    assert venue.asked == []


async def test_above_the_pace_share_orders_are_refused_before_any_byte_while_hedges_queries_and_cancels_go_out(
    venue: Venue, gateway: VenueGateway, autojump_clock: trio.testing.MockClock
) -> None:
    venue.will(UM_ORDER, Answer(FILLED))
    use_up(gateway, 0)
    for _ in range(4):
        await place(gateway)
    checks = Checks()
    with pytest.raises(RateLimited, match="orders_10s of 5"):
        await place(gateway, checks)
    assert (checks.count, len(venue.asked), gateway.paused_s) == (0, 4, 0)
    assert gateway.pace.no_room_for_orders() is not None
    with pytest.raises(RateLimited):  # 5 of 5 would be more than 95 %
        await gateway.place(HEDGE, checks, CrashPoints())
    await trio.sleep(11)
    use_up(gateway, 90)
    await gateway.place(HEDGE, checks, CrashPoints())
    await gateway.query("BTCUSDT", "pb1")
    use_up(gateway, 9)
    with pytest.raises(VenueRetry, match="no room"):
        await gateway.query("BTCUSDT", "pb1")
    assert [asked.method for asked in venue.asked[4:]] == ["POST", "GET"]


async def test_a_cancel_may_use_all_of_the_limit_and_not_more(
    venue: Venue, gateway: VenueGateway, autojump_clock: trio.testing.MockClock
) -> None:
    venue.will(UM_ORDER, Answer(FILLED | {"status": "CANCELED"}))
    use_up(gateway, 99)
    await gateway.cancel("BTCUSDT", "pb1")
    with pytest.raises(VenueRetry, match="no room"):
        await gateway.cancel("BTCUSDT", "pb1")
    assert len(venue.asked) == 1


async def test_an_order_that_the_gate_stops_gives_its_room_back(venue: Venue, gateway: VenueGateway) -> None:
    use_up(gateway, 0)
    for _ in range(10):
        with pytest.raises(LookupError):
            await place(gateway, Checks(LookupError("gate")))
    assert [use.used for use in gateway.pace.uses()] == [0, 0]


async def test_a_cancelled_order_still_counts_once_its_first_byte_left(
    venue: Venue, gateway: VenueGateway, autojump_clock: trio.testing.MockClock
) -> None:
    venue.will(UM_ORDER, Answer(FILLED, delay_s=1))
    use_up(gateway, 0)
    with trio.move_on_after(0.5):
        await place(gateway)
    assert [use.used for use in gateway.pace.uses()] == [0, 1]


async def test_how_long_a_venue_has_not_been_reached_is_known_until_it_answers(
    venue: Venue, gateway: VenueGateway, autojump_clock: trio.testing.MockClock
) -> None:
    venue.will("/fapi/v3/balance", Answer([], cut=True), Answer([], cut=True), Answer([]))
    for _ in range(2):
        with pytest.raises(VenueRetry):
            await gateway.balances()
        await trio.sleep(1)
    assert gateway.lost_since_mono_s == pytest.approx(trio.current_time() - 2, abs=0.1)
    await gateway.balances()
    assert gateway.lost_since_mono_s is None


# --- what an answer makes doubtful


@pytest.mark.parametrize(
    ("answer", "doubted", "told"),
    [
        (Answer({"code": -4014, "msg": "Price not increased by tick size."}, 400), True, 0),
        (Answer({"code": -1111, "msg": "Precision is over the maximum."}, 400), True, 0),
        (Answer({**FILLED, "status": "OF_NEXT_YEAR"}), True, 1),
        (Answer({name: value for name, value in FILLED.items() if name != "executedQty"}), True, 1),
        (Answer({"code": -1007, "msg": "Timeout."}, 408), False, 0),
    ],
)
async def test_a_refusal_makes_the_listing_doubtful_and_an_unknown_word_is_told(
    venue: Venue, gateway: VenueGateway, answer: Answer, doubted: bool, told: int
) -> None:
    heard: list[str] = []
    gateway.on_unreadable = heard.append
    venue.will(UM_ORDER, answer)
    with pytest.raises((VenueRefused, ProtocolViolation, OutcomeUnknown)):
        await place(gateway)
    assert gateway.listing_doubted.is_set() is doubted
    assert len(heard) == told


async def test_an_unknown_word_in_the_answer_to_a_query_is_told_too(venue: Venue, gateway: VenueGateway) -> None:
    heard: list[str] = []
    gateway.on_unreadable = heard.append
    venue.will(UM_ORDER, Answer({**FILLED, "status": "OF_NEXT_YEAR"}))
    with pytest.raises(ProtocolViolation):
        await gateway.query("BTCUSDT", "pb1")
    assert len(heard) == 1
    assert "OF_NEXT_YEAR" in heard[0]
