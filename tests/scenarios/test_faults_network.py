"""FAULTS section 1, rows 44 to 54: names, certificates, links, clocks and limits between the bot and its venues.

The road is `Weather`'s, the venues' own part of it (clock, limits, kicks) the fault box's. docs/faults.md maps each
row to its scenario.
"""

from __future__ import annotations

import re
import socket
import ssl
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

import propbot
from propbot.domain.instruments import VenueId
from propbot.domain.mode import Mode
from propbot.kit.net import Address
from propbot.service import Service
from propbot.simulate.world import World, open_world
from tests.scenarios.test_faults_account import (
    SLOW_MARKET,
    VENUES,
    resume,
    traded_on_and_rested,
    trading,
    wait_hold,
)
from tests.scenarios.weather import Weather

UM = VenueId("binance-um")


def bad_weather(world: World) -> Weather:
    """The road of every bot that is started from now on."""
    weather = Weather(world.network)
    world.network = weather  # type: ignore[assignment]
    return weather


async def quiet_moment(bot: Service) -> None:
    """No order is on its way: what breaks now leaves no outcome open."""
    with trio.fail_after(30):
        while bot.blotter.in_flight():
            await trio.sleep(0.01)


async def resume_if_held(bot: Service) -> None:
    if bot.modes.view.mode is Mode.HOLD:
        await resume(bot)


# --- 44


def no_such_name(_: Address) -> BaseException:
    return socket.gaierror(socket.EAI_NONAME, "Name or service not known")


async def test_44_while_names_do_not_resolve_open_connections_go_on_trading(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=44, updates_per_s=SLOW_MARKET) as world:
        weather = bad_weather(world)
        bot = await trading(world)
        weather.refuse = no_such_name
        began, before = trio.current_time(), len(world.of_kind("order_send"))
        await trio.sleep(25)
        assert len([r for r in world.of_kind("order_send")[before:] if r["t"] < began + 25]) > 0
        weather.refuse = lambda _: None
        assert not bot.dead_tasks
        await traded_on_and_rested(world, bot)


async def test_44_connections_lost_while_names_do_not_resolve_come_back_by_themselves(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=44, updates_per_s=SLOW_MARKET) as world:
        weather = bad_weather(world)
        bot = await trading(world)
        await quiet_moment(bot)
        weather.refuse = no_such_name
        weather.reset_all()
        await trio.sleep(0.5)
        why = bot.unusable(UM)
        assert why is not None
        assert "Name or service not known" in why, "the operator sees why"
        await trio.sleep(29.5)
        weather.refuse = lambda _: None
        assert not bot.dead_tasks
        await traded_on_and_rested(world, bot)


# --- 45


def expired(_: Address) -> BaseException:
    """As `TcpNetwork` raises it."""
    error = trio.BrokenResourceError("certificate verify failed: certificate has expired")
    error.__cause__ = ssl.SSLCertVerificationError("certificate verify failed: certificate has expired")
    return error


async def test_45_a_venue_with_a_bad_certificate_is_never_met_and_the_start_says_so(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=45, updates_per_s=SLOW_MARKET) as world:
        bad_weather(world).refuse = expired
        bot = await world.start_bot()
        line = await wait_hold(bot, 32)
        assert "certificate has expired" in line
        assert world.of_kind("order_send") == []
        await world.stop_bot()


async def test_45_a_certificate_that_goes_bad_makes_the_venue_unusable_at_once_and_a_hold_after_a_minute(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=45, updates_per_s=SLOW_MARKET) as world:
        weather = bad_weather(world)
        bot = await trading(world)
        await quiet_moment(bot)
        weather.refuse = expired
        weather.reset_all()
        await trio.sleep(0.3)
        why = bot.unusable(UM)
        assert why is not None
        assert "certificate has expired" in why
        sent = len(world.of_kind("order_send"))
        line = await wait_hold(bot, 65)
        assert "no fresh book from binance-" in line or "not compared for more than 60 s: binance-" in line
        assert len(world.of_kind("order_send")) == sent
        weather.refuse = lambda _: None
        await trio.sleep(20)  # until every feed's back-off is over
        await resume(bot)
        await traded_on_and_rested(world, bot)


def test_45_nothing_in_the_house_switches_verification_off() -> None:
    off = re.compile(r"verify\s*=\s*False|CERT_NONE|check_hostname\s*=\s*False|_create_unverified_context")
    sources = Path(propbot.__file__).parent.rglob("*.py")
    assert [str(path) for path in sources if off.search(path.read_text())] == []


# --- 46


async def test_46_after_a_short_outage_it_trades_on_with_fresh_books(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=46, updates_per_s=SLOW_MARKET) as world:
        weather = bad_weather(world)
        bot = await trading(world)
        await quiet_moment(bot)
        weather.link_down()
        down_at = trio.current_time()
        await trio.sleep(20)
        weather.link_up()
        stale = [r for r in world.of_kind("order_send") if down_at + 1.6 < r["t"]]
        assert stale == [], "a book of before the outage is too old"
        await traded_on_and_rested(world, bot)


async def test_46_an_outage_of_two_minutes_is_a_hold_and_what_lay_in_the_kernel_is_refused_by_its_window(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """The link dies with the first byte of an order: the venue gets it two minutes later, and must not execute it."""
    async with open_world(tmp_path, seed=46, updates_per_s=SLOW_MARKET) as world:
        weather = bad_weather(world)
        bot = await trading(world)
        held: list[bytes] = []

        def at_an_order(data: bytes) -> int | None:
            if data.startswith((b"POST /fapi/v1/order?", b"POST /api/v3/order?")) and not held:
                held.append(data)
                weather.link_down()
            return None

        weather.cut_in = at_an_order
        with trio.fail_after(60):
            while not held:
                await trio.sleep(0.05)
        down_at = trio.current_time()
        await wait_hold(bot, 70)
        await trio.sleep(down_at + 120 - trio.current_time())
        orders = [r for r in world.of_kind("order_send") if r["t"] > down_at + 8]
        assert orders == []
        weather.link_up()
        await trio.sleep(30)
        names = [r["client_order_id"] for r in world.of_kind("order_send") if r["client_order_id"].encode() in held[0]]
        rows = [r for r in world.rows if r["kind"] == "trade" and r["client_order_id"] in names]
        assert rows == [], "it never executed"
        states = [r["state"] for r in world.of_kind("order_state") if r["client_order_id"] in names]
        assert states[-1] in ("NEVER_SENT", "REJECTED", "CANCELED")
        await resume(bot)
        await traded_on_and_rested(world, bot)


# --- 47


@pytest.mark.parametrize("venue", VENUES)
async def test_47_replies_that_drip_are_given_up_at_their_deadline(
    tmp_path: Path, autojump_clock: MockClock, venue: str
) -> None:
    async with open_world(tmp_path, seed=47, updates_per_s=SLOW_MARKET) as world:
        bot = await trading(world)
        began = trio.current_time()
        world.inject(venue, "drip_body", params={"seconds": 30.0})
        await trio.sleep(35)
        late = [r for r in world.of_kind("order_send") if began < r["t"] < began + 30]
        states = {r["client_order_id"]: r for r in world.of_kind("order_state") if r["state"] in ("FILLED", "UNKNOWN")}
        for row in late:  # known from the stream, or given up: within the call's deadline
            assert states[row["client_order_id"]]["t"] - row["t"] < 4
        assert not bot.dead_tasks
        await resume_if_held(bot)
        await traded_on_and_rested(world, bot)


# --- 48


@pytest.mark.parametrize(("ms", "venue"), [  # each clock and each venue once; the other pairs: tox -e day
    (500.0, "binance-um"), (-500.0, "binance-spot"),
    pytest.param(-500.0, "binance-um", marks=pytest.mark.thorough),
    pytest.param(500.0, "binance-spot", marks=pytest.mark.thorough),
])
async def test_48_half_a_second_of_skew_is_made_up_for(
    tmp_path: Path, autojump_clock: MockClock, venue: str, ms: float
) -> None:
    async with open_world(tmp_path, seed=48, updates_per_s=SLOW_MARKET) as world:
        bot = await trading(world)
        world.inject(venue, "clock_offset", params={"ms": ms})
        await trio.sleep(12)
        assert abs(bot.gateways[VenueId(venue)].offset_ms - ms) < 20  # type: ignore[operator]
        shown = bot.board.component("clock_skew")
        assert shown is not None
        assert shown.status == "WARN"
        await traded_on_and_rested(world, bot)


@pytest.mark.parametrize(
    "ms", [pytest.param(-10_000.0, marks=pytest.mark.thorough), -2_000.0, 2_000.0,
           pytest.param(10_000.0, marks=pytest.mark.thorough)]
)
async def test_48_more_than_a_second_of_skew_is_a_hold_until_it_is_over(
    tmp_path: Path, autojump_clock: MockClock, ms: float
) -> None:
    async with open_world(tmp_path, seed=48, updates_per_s=SLOW_MARKET) as world:
        bot = await trading(world)
        world.inject("binance-um", "clock_offset", params={"ms": ms, "seconds": 30.0})
        line = await wait_hold(bot, 15)
        assert "guard:clock_skew" in line
        assert "binance-um" in line
        await resume(bot, 90)
        await traded_on_and_rested(world, bot)


# --- 49


@pytest.mark.parametrize("hours", [1, -1])
async def test_49_a_step_of_our_wall_clock_is_a_hold_and_no_duration_is_wrong(
    tmp_path: Path, autojump_clock: MockClock, hours: int
) -> None:
    async with open_world(tmp_path, seed=49, updates_per_s=SLOW_MARKET) as world:
        ours = world.bot_clock
        bot = await trading(world)
        await quiet_moment(bot)
        ours.offset_ns = hours * 3_600_000_000_000
        line = await wait_hold(bot, 15)
        assert "guard:clock_skew" in line
        await trio.sleep(2)  # frames that were read by the clock as it is known now
        ages = bot.book_ages_s()
        assert all(age is not None and 0 <= age < 2 for age in ages.values()), ages
        ours.offset_ns = 0
        await resume(bot, 90)
        await traded_on_and_rested(world, bot)


@pytest.mark.parametrize("hours", [1, -1])
async def test_49_a_step_between_two_lives_is_named_and_nothing_is_taken_up_from_the_future(
    tmp_path: Path, autojump_clock: MockClock, hours: int
) -> None:
    async with open_world(tmp_path, seed=49, updates_per_s=SLOW_MARKET) as world:
        ours = world.bot_clock
        await trading(world)
        await world.stop_bot()
        ours.offset_ns = hours * 3_600_000_000_000
        bot = await world.start_bot()
        assert "clock" in await wait_hold(bot, 15), "named by the start's preflight, or by the guard"
        ours.offset_ns = 0
        await resume(bot, 90)
        await traded_on_and_rested(world, bot)


# --- 50


async def test_50_after_a_pause_of_thirty_seconds_every_book_is_stale_and_nothing_is_sent_on_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """As a suspended machine wakes: time has gone on, and nobody has run."""
    async with open_world(tmp_path, seed=50, updates_per_s=SLOW_MARKET) as world:
        bot = await trading(world)
        await quiet_moment(bot)
        before = len(world.of_kind("order_send"))
        applied = {venue: bot.links[VenueId(venue)].feed.frames for venue in VENUES}
        autojump_clock.jump(30)
        assert all(bot.market.distrust(VenueId(venue)) is not None for venue in VENUES)
        await trio.sleep(0)
        for _ in range(200):
            await trio.sleep(0.005)
            fresh = all(bot.links[VenueId(venue)].feed.frames > count for venue, count in applied.items())
            if fresh:
                break
            assert len(world.of_kind("order_send")) == before
        await trio.sleep(30)
        if bot.modes.view.hold is not None:
            assert "loop_lag" in bot.modes.view.hold.line()
        await resume_if_held(bot)
        await traded_on_and_rested(world, bot)


# --- 51


@pytest.mark.parametrize(("fault", "for_s", "venue"), [
    ("rate_limit_429", 20.0, "binance-um"), ("ban_418", 45.0, "binance-spot"),
    pytest.param("rate_limit_429", 20.0, "binance-spot", marks=pytest.mark.thorough),
    pytest.param("ban_418", 45.0, "binance-um", marks=pytest.mark.thorough),
])
async def test_51_not_a_request_before_retry_after_is_over(
    tmp_path: Path, autojump_clock: MockClock, venue: str, fault: str, for_s: float
) -> None:
    async with open_world(tmp_path, seed=51, updates_per_s=SLOW_MARKET) as world:
        bot = await trading(world)
        world.inject(venue, fault, params={"retry_after": for_s})
        with trio.fail_after(30):
            while not (refused := _refusals(world, venue)):
                await trio.sleep(0.01)
        told_at = refused[0]["t"] + 0.02  # what was on its way when we were told
        await trio.sleep(for_s + 10)
        asked = [r for r in world.rows if r["kind"] == "request" and r["venue"] == venue]
        early = [r for r in asked if told_at < r["t"] < refused[0]["t"] + for_s - 0.01]
        assert early == []
        assert len([r for r in _refusals(world, venue) if r["t"] > told_at]) == 0
        await resume_if_held(bot)
        await traded_on_and_rested(world, bot)


def _refusals(world: World, venue: str) -> list[dict[str, object]]:
    return [
        r for r in world.rows
        if r["kind"] == "reply" and r.get("venue") == venue and r.get("status") in (418, 429)
    ]  # fmt: skip


async def test_51_a_ban_is_a_hold_until_it_is_over(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, seed=51, updates_per_s=SLOW_MARKET) as world:
        bot = await trading(world)
        world.inject("binance-um", "ban_418", params={"retry_after": 45.0})
        line = await wait_hold(bot, 15)
        assert "guard:rate_limit" in line
        assert "binance-um" in line
        await resume(bot, 90)


# --- 52


async def test_52_a_weight_that_others_used_up_counts_against_us(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, seed=52, updates_per_s=SLOW_MARKET) as world:
        bot = await trading(world)
        world.inject("binance-um", "inflated_weight", params={"share": 0.97, "seconds": 40.0})
        line = await wait_hold(bot, 20)
        assert "guard:rate_limit" in line
        assert "binance-um" in line
        await resume(bot, 180)


# --- 53


async def test_53_twenty_flaps_leave_one_session_a_stream_and_come_back_paced(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=53, updates_per_s=SLOW_MARKET) as world:
        weather = bad_weather(world)
        bot = await trading(world)
        await trio.sleep(35)
        open_before = len(live(weather))
        for _ in range(20):
            await quiet_moment(bot)
            weather.reset_all()
            await trio.sleep(1.5)
        # four sessions and two venues' REST: each comes back once a flap, and REST when it is asked
        assert len(weather.connects) < 20 * (4 + 2 * 3) + 40
        await trio.sleep(60)
        assert len(live(weather)) <= open_before + 2
        sessions = [bot.links[VenueId(venue)] for venue in VENUES]
        assert all(link.feed.sessions <= 22 and link.private.sessions <= 22 for link in sessions)
        assert not bot.dead_tasks
        await resume_if_held(bot)
        await traded_on_and_rested(world, bot)


def live(weather: Weather) -> list[object]:
    return [each for each in weather._streams if not each._closed]


# --- 54


async def test_54_who_is_kicked_for_too_many_messages_comes_back_slower_and_trades_on(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=54, updates_per_s=SLOW_MARKET) as world:
        weather = bad_weather(world)
        bot = await trading(world)
        before = len(weather.connects)
        for _ in range(100):  # kicked as soon as it is back, for ten seconds
            world.inject("binance-um", "kick_1008")
            await trio.sleep(0.1)
        kicked = len(weather.connects) - before
        assert kicked < 60, kicked
        problems = [bot.links[UM].feed.last_error, bot.links[UM].private.last_error]
        assert any("1008" in text for text in problems), problems
        await trio.sleep(30)
        await resume_if_held(bot)
        await traded_on_and_rested(world, bot)
