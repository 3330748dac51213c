"""FAULTS section 1, rows 31 to 43: what goes wrong with private streams and accounts while the service trades.

Each scenario trades, has its fault, is left alone until the world is quiet (FAULTS section 2), and is then judged by
the invariant checker: every fill once, ledger equals venue, or a HOLD that names the difference. docs/faults.md maps
each row to its scenario.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from propbot.control.desk import ServiceDesk
from propbot.domain.mode import Mode
from propbot.domain.orders import Side
from propbot.service import Service
from propbot.simulate.checker import check
from propbot.simulate.truth import assert_invariants, evidence, read_ledger
from propbot.simulate.world import World, open_world
from propbot.simvenue.records import EngineEvent, NewOrder, OrderChanged, SimTif, SimType
from propbot.status.desk import ControlPatch, Done
from tests.scenarios.test_trading import assert_pnl_identity, hold_still
from tests.scenarios.weather import Weather

QUIET_S = 122.0
SLOW_MARKET = 2.0
"""Updates a second: enough to trade on, and the minutes pass quicker."""
VENUES = ("binance-um", "binance-spot")


async def trading(world: World, for_s: float = 8.0, **settings: str) -> Service:
    """A bot that has opened and closed something."""
    bot = await world.start_bot(**settings)
    with trio.fail_after(60):
        while len(world.of_kind("fill_booked")) < 4:
            await trio.sleep(0.2)
    await trio.sleep(for_s)
    return bot


async def wait_hold(bot: Service, within_s: float) -> str:
    """The HOLD's line."""
    with trio.fail_after(within_s):
        await bot.modes.level.wait(lambda view: view.mode is Mode.HOLD)
    assert bot.modes.view.hold is not None
    return bot.modes.view.hold.line()


async def resume(bot: Service, within_s: float = 60.0) -> None:
    """An operator resumes as soon as nothing stands in the way; no second HOLD follows at once."""
    desk = ServiceDesk(bot, bot.keeper)
    with trio.fail_after(within_s):
        while not isinstance(await desk.apply_control(ControlPatch(mode=Mode.RUN), "test"), Done):
            await trio.sleep(0.5)
    await trio.sleep(15)
    assert bot.modes.view.mode is Mode.RUN, bot.modes.view.hold


async def come_to_rest(world: World, *, pnl: bool = True) -> None:
    await hold_still(world)
    if pnl:
        assert_pnl_identity(world)
    await world.stop_bot()
    assert_invariants(world)


async def traded_on_and_rested(world: World, bot: Service, *, pnl: bool = True) -> None:
    """Without any HOLD: it was quiet, it traded at the end of it, and everything agrees."""
    before = len(world.of_kind("order_send"))
    await trio.sleep(QUIET_S)
    assert bot.modes.view.mode is Mode.RUN, bot.modes.view.hold
    assert len(world.of_kind("order_send")) > before, bot.pipeline.why_not
    await come_to_rest(world, pnl=pnl)


def on_trade(world: World, venue: str, act: Callable[[], None], *, times: int = 1) -> None:
    """`act` in the very moment of each of the next `times` trades there, before anybody was told."""
    left = [times]

    def listener(event: EngineEvent) -> None:
        if isinstance(event, OrderChanged) and event.trade is not None and left[0]:
            left[0] -= 1
            act()

    # first of all listeners: the private stream's must not have heard of it yet
    world.engine(venue)._clearing.listeners.insert(0, listener)


# --- 31


@pytest.mark.parametrize("told", [True, False], ids=["told", "silent"])
@pytest.mark.parametrize("venue", VENUES)
async def test_31_an_expired_key_is_replaced_and_nothing_is_missed(
    tmp_path: Path, autojump_clock: MockClock, venue: str, told: bool
) -> None:
    async with open_world(tmp_path, seed=31, updates_per_s=SLOW_MARKET) as world:
        bot = await trading(world)
        sessions = bot.links[venue].private.sessions  # type: ignore[index]
        on_trade(world, venue, lambda: world.inject(venue, "key_expired", params={"told": told}))
        before = len(world.of_kind("order_send"))
        await traded_on_and_rested(world, bot)
        assert len(world.of_kind("order_send")) > before
        if told:
            assert bot.links[venue].private.sessions == sessions + 1  # type: ignore[index]


# --- 32


@pytest.mark.parametrize("venue", VENUES)
async def test_32_a_fill_while_the_stream_is_down_and_its_answer_is_lost_is_found_by_asking(
    tmp_path: Path, autojump_clock: MockClock, venue: str
) -> None:
    async with open_world(tmp_path, seed=32, updates_per_s=SLOW_MARKET) as world:
        bot = await trading(world)
        link = bot.links[venue]  # type: ignore[index]
        sessions = link.private.sessions
        world.inject(venue, "lost_ack", count=1)
        on_trade(world, venue, lambda: world.inject(venue, "private_cut", params={"down_s": 20.0}))
        with trio.fail_after(90):  # until it trades, the cut, and the last pause before it tries again
            while link.private.sessions == sessions or not link.private_up:
                await trio.sleep(0.1)
        await traded_on_and_rested(world, bot)


async def test_32_fifty_trades_of_somebody_else_while_the_stream_is_down_are_found_once_each(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=33, updates_per_s=SLOW_MARKET) as world:
        bot = await trading(world)
        world.inject("binance-um", "private_cut", params={"down_s": 30.0})
        await trio.sleep(0.5)
        for number in range(50):
            side = "BUY" if number % 2 else "SELL"
            world.inject("binance-um", "foreign_trade", params={"side": side, "qty": "0.002"})
            await trio.sleep(0.5)
        trades = world.engine("binance-um").trades("BTCUSDT", limit=1000)
        foreign = {str(each.trade_id) for each in trades if each.client_order_id.startswith("web_")}
        await trio.sleep(20)
        found = [fill.trade_id for fill in await bot.ledger.foreign_fills()]
        assert len(found) == len(set(found))
        assert set(found) == foreign
        line = bot.modes.view.hold.line() if bot.modes.view.hold else ""
        assert "guard:recon" in line, line
        assert "binance-um BTCUSDT" in line
        await trio.sleep(QUIET_S)
        await world.stop_bot()
        assert_invariants(world)


# --- 33


@pytest.mark.parametrize("venue", VENUES)
async def test_33_nothing_is_sent_before_a_slow_login_is_granted_and_the_venue_is_compared_again(
    tmp_path: Path, autojump_clock: MockClock, venue: str
) -> None:
    async with open_world(tmp_path, seed=34, updates_per_s=SLOW_MARKET) as world:
        bot = await trading(world)
        slow_s = {"binance-um": 2.5, "binance-spot": 6.0}[venue]  # REST may take 3 s, the stream 10
        world.inject(venue, "slow_login", params={"seconds": slow_s})
        world.inject(venue, "private_cut")
        await trio.sleep(0.1)
        cut_at = trio.current_time()
        link = bot.links[venue]  # type: ignore[index]
        assert not link.private_up
        with trio.fail_after(15):
            while not link.private_up:
                await trio.sleep(0.05)
        up_at = trio.current_time()
        assert up_at - cut_at > slow_s
        opened = [r for r in world.of_kind("order_send") if cut_at < r["t"] < up_at and r["purpose"] == "open"]
        assert opened == []
        await trio.sleep(1)
        assert any(r["t"] >= up_at - 0.1 and r["venue"] == venue for r in world.of_kind("recon")), "compared again"
        await traded_on_and_rested(world, bot)


# --- 34


async def test_34_fills_that_are_told_twice_or_again_after_a_login_count_once(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=35, updates_per_s=SLOW_MARKET) as world:
        bot = await trading(world)
        for venue in VENUES:
            world.inject(venue, "duplicate_fill", count=None)
            world.inject(venue, "replay_fills", count=3)
            world.inject(venue, "private_cut", params={"down_s": 2.0})
        await trio.sleep(30)
        await world.kill_bot()
        bot = await world.start_bot()
        await traded_on_and_rested(world, bot)


# --- 36


@pytest.mark.parametrize("venue", VENUES)
async def test_36_a_fill_that_comes_before_its_answer_is_booked_under_its_order(
    tmp_path: Path, autojump_clock: MockClock, venue: str
) -> None:
    async with open_world(tmp_path, seed=36, updates_per_s=SLOW_MARKET) as world:
        bot = await trading(world)
        world.inject(venue, "delayed_ack", count=1, params={"seconds": 2.0})
        with trio.fail_after(60):
            while not (late := _acts(world, "delayed_ack")):
                await trio.sleep(0.05)
        await trio.sleep(1.0)
        states = [r["state"] for r in world.of_kind("order_state") if r["client_order_id"] == late]
        replies = [r for r in world.rows if r["kind"] == "order_reply" and r["client_order_id"] == late]
        assert states[-1] == "FILLED"
        assert replies == []
        await traded_on_and_rested(world, bot)


def _acts(world: World, fault: str) -> str | None:
    """The client order id that the fault last acted on."""
    rows = [r for r in world.rows if r["kind"] == "fault" and r.get("fault") == fault and r["what"] == "acts"]
    return rows[-1]["client_order_id"] if rows else None


# --- 37


async def test_37_an_order_whose_connection_broke_in_the_middle_of_it_is_never_sent_again(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=37, updates_per_s=SLOW_MARKET) as world:
        weather = Weather(world.network)
        world.network = weather  # type: ignore[assignment]
        bot = await trading(world)
        broken: list[bytes] = []

        def in_the_middle(data: bytes) -> int | None:
            if not broken and data.startswith(b"POST /fapi/v1/order?"):
                broken.append(data)
                return len(data) // 2
            return None

        weather.cut_in = in_the_middle
        with trio.fail_after(60):
            while not broken:
                await trio.sleep(0.1)
        await trio.sleep(20)
        sent = [row["client_order_id"] for row in world.of_kind("order_send")]
        assert len(sent) == len(set(sent))
        (name,) = [each for each in sent if each.encode() in broken[0]]
        arrived = [r for r in world.rows if r["kind"] == "order" and r["client_order_id"] == name]
        assert arrived == []
        states = [r["state"] for r in world.of_kind("order_state") if r["client_order_id"] == name]
        assert states[-1] == "NEVER_SENT"
        await traded_on_and_rested(world, bot)


# --- 38


@pytest.mark.parametrize(
    ("venue", "asset", "amount", "named"),
    [
        ("binance-um", "BTC", "0.013", "binance-um BTCUSDT ledger"),
        ("binance-um", "USDT", "-25", "binance-um BTCUSDT USDT ledger"),
        ("binance-spot", "BTC", "-0.5", "binance-spot BTCUSDT BTC ledger"),
        ("binance-spot", "USDT", "0.01", "binance-spot BTCUSDT USDT ledger"),
    ],
)
async def test_38_an_account_that_moved_without_us_is_a_hold_that_names_the_difference(
    tmp_path: Path, autojump_clock: MockClock, venue: str, asset: str, amount: str, named: str
) -> None:
    async with open_world(tmp_path, seed=38, updates_per_s=SLOW_MARKET) as world:
        bot = await trading(world)
        world.inject(venue, "adjust_account", params={"asset": asset, "amount": amount})
        line = await wait_hold(bot, 10)
        assert "guard:recon" in line
        assert named in line
        assert any(f"guard:recon has not cleared: {named}" in reason for reason in bot.blockers())
        sent = len(world.of_kind("order_send"))
        await trio.sleep(30)
        opened = [row for row in world.of_kind("order_send")[sent:] if row["purpose"] in ("open", "close")]
        assert opened == []
        if (venue, asset) == ("binance-um", "BTC"):  # its average price is another one for good, and so its profits
            await trio.sleep(QUIET_S)
            await world.stop_bot()
            assert [each for each in check(evidence(world)) if each.invariant != "I8"] == []
            return
        back = amount[1:] if amount.startswith("-") else f"-{amount}"
        world.inject(venue, "adjust_account", params={"asset": asset, "amount": back})
        await resume(bot)
        await trio.sleep(QUIET_S)
        await come_to_rest(world, pnl=False)


async def test_38_an_order_with_our_prefix_that_we_never_made_is_named_and_not_touched_while_trading(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """As another instance on the same account would leave it (row 59 too)."""
    async with open_world(tmp_path, seed=39, updates_per_s=SLOW_MARKET) as world:
        bot = await trading(world)
        name = world.of_kind("order_send")[0]["client_order_id"]
        other = name[:-6] + "zzzzzz"
        engine = world.engine("binance-um")
        price = (engine.mark_price("BTCUSDT") * 9 // 10).quantize(engine.instruments()[0].tick_size)
        qty = engine.instruments()[0].lot_step * 10
        engine.place(NewOrder(other, "BTCUSDT", Side.BUY, SimType.LIMIT, SimTif.GTC, qty, price))
        line = await wait_hold(bot, 12)
        assert "guard:recon" in line
        assert other in line


# --- 39


@pytest.mark.parametrize("venue", VENUES)
async def test_39_an_order_that_is_hidden_for_a_minute_gets_its_true_outcome_in_the_end(
    tmp_path: Path, autojump_clock: MockClock, venue: str
) -> None:
    """Accepted and filled, its answer lost, its events never told, and for a minute the venue does not know it."""
    async with open_world(tmp_path, seed=32, updates_per_s=SLOW_MARKET) as world:
        bot = await trading(world)
        world.inject(venue, "hide_order", count=1, params={"seconds": 60.0})
        world.inject(venue, "lost_ack", count=1)
        world.inject(venue, "silent_private", params={"seconds": 70.0})
        with trio.fail_after(60):
            while not (name := _acts(world, "lost_ack")):
                await trio.sleep(0.05)
        await trio.sleep(75)
        states = [r["state"] for r in world.of_kind("order_state") if r["client_order_id"] == name]
        assert "NEVER_SENT" not in states
        assert "REJECTED" not in states
        assert states[-1] == "FILLED"
        # The venue lists a trade that may be its, so that it is not taken for dead and hedged; the exposure is named.
        assert "guard:hedge" in await wait_hold(bot, 1)
        sources = {cause.source for cause in bot.modes.view.hold.causes} if bot.modes.view.hold else set()
        assert sources <= {"guard:recon", "guard:hedge"}
        await trio.sleep(QUIET_S)
        await world.stop_bot()
        assert_invariants(world)


# --- 40


@pytest.mark.parametrize("adl", [False, True], ids=["liquidation", "adl"])
async def test_40_a_forced_close_by_the_venue_is_a_hold_that_names_it(
    tmp_path: Path, autojump_clock: MockClock, adl: bool
) -> None:
    async with open_world(tmp_path, seed=41, updates_per_s=SLOW_MARKET, EXIT_EDGE_BPS="-100") as world:
        bot = await trading(world, for_s=2)
        with trio.fail_after(60):
            while not world.engine("binance-um").position("BTCUSDT")[0] or bot.blotter.in_flight():
                await trio.sleep(0.05)
        qty = abs(world.engine("binance-um").position("BTCUSDT")[0])
        world.inject("binance-um", "liquidation", params={"adl": adl})
        line = await wait_hold(bot, 6)
        assert "guard:recon" in line
        assert "binance-um BTCUSDT ledger" in line
        assert "foreign trade" in line
        assert str(qty.normalize()) in line
        await trio.sleep(QUIET_S)
        await world.stop_bot()
        assert_invariants(world)


# --- 41


@pytest.mark.parametrize("asset", ["BNB", "USDT", "BTC"])
async def test_41_whatever_asset_takes_the_fee_position_and_exposure_stay_true(
    tmp_path: Path, autojump_clock: MockClock, asset: str
) -> None:
    price = {"BNB": "600", "USDT": "1", "BTC": "60000"}[asset]
    async with open_world(tmp_path, seed=42, updates_per_s=SLOW_MARKET) as world:
        bot = await trading(world)
        world.inject("binance-spot", "adjust_account", params={"asset": "BNB", "amount": "10"})
        world.inject("binance-spot", "fee_asset", params={"asset": asset, "price": price})
        await trio.sleep(60)
        assert {row["fee_asset"] for row in world.of_kind("fill_booked") if row["venue"] == "binance-spot"} >= {asset}
        assert abs(bot.blotter.dust()) < bot.lot_step()
        before = len(world.of_kind("order_send"))
        await trio.sleep(QUIET_S)
        assert bot.modes.view.mode is Mode.RUN, bot.modes.view.hold
        assert len(world.of_kind("order_send")) > before, bot.pipeline.why_not
        await hold_still(world)
        if asset == "BNB":
            assert any(account.has_unvalued_fees for account in bot.blotter.accounts.values())
        else:
            assert_pnl_identity(world)
        await world.stop_bot()
        # The oracle's I8 takes it for a bug of the venue that a fee is not in what was received: here it is the fault.
        assert [each for each in check(evidence(world)) if each.invariant != "I8"] == []


# --- 42


async def test_42_a_venue_that_has_forgotten_our_trades_is_compared_by_our_own_ledger(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, seed=43, updates_per_s=SLOW_MARKET, EXIT_EDGE_BPS="-100") as world:
        bot = await trading(world)
        await hold_still(world)
        lots = set(bot.blotter.lots)
        assert lots
        await world.stop_bot()
        for venue in VENUES:
            world.inject(venue, "history_window", params={"window_s": 60.0})
        await trio.sleep(300)
        bot = await world.start_bot(EXIT_EDGE_BPS="0")
        with trio.fail_after(30):
            while not bot.modes.ready:
                await trio.sleep(0.1)
        assert lots <= set(bot.blotter.lots)
        if bot.modes.view.mode is Mode.HOLD:
            await resume(bot)
        await traded_on_and_rested(world, bot)


# --- 43


async def test_43_positions_of_zero_are_no_positions(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with open_world(tmp_path, seed=44, updates_per_s=SLOW_MARKET) as world:
        world.inject("binance-um", "zero_positions")
        bot = await trading(world)
        await traded_on_and_rested(world, bot)
        assert all(row["agrees"] or row["verdict"] == "inconclusive" for row in world.of_kind("recon"))
        assert read_ledger(world).fills
