"""Faults of accounts, private streams and limits, seen from the client that they happen to."""

from __future__ import annotations

from decimal import Decimal

import pytest
import trio
from trio_websocket import ConnectionClosed

from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM
from propbot.kit.http1 import AnswerLost
from propbot.simvenue.faults import FaultError

UM, SPOT = BINANCE_UM, BINANCE_SPOT
SYMBOL = "BTCUSDT"


async def buy(world, venue=UM, qty="0.002", **params):
    return await world.order(venue, "BUY", qty, "60000.10", newOrderRespType="RESULT", **params)


async def um_private(world):
    session = await world.websocket(world.access.venues[UM].ws, f"/private/ws?listenKey={await world.listen_key()}")
    await trio.sleep(0.1)
    return session


@pytest.mark.parametrize("told", [True, False])
async def test_an_expired_key_is_told_or_only_falls_silent(world, told, autojump_clock):
    um, spot = await um_private(world), await world.subscribe_spot()
    for venue in (UM, SPOT):
        world.inside.faults.inject(venue, "key_expired", params={"told": told})
    if told:
        assert (await world.hear(um))["e"] == "listenKeyExpired"
        assert (await world.hear(spot))["event"]["e"] == "eventStreamTerminated"
    for venue in (UM, SPOT):
        await buy(world, venue)
    assert await world.hears_nothing(um)
    assert await world.hears_nothing(spot)
    assert (await world.ask(UM, "PUT", "/fapi/v1/listenKey")).body["code"] == -1125


async def test_a_slow_login_is_granted_late(world, autojump_clock):
    for venue in (UM, SPOT):
        world.inside.faults.inject(venue, "slow_login", params={"seconds": 7})
        began = trio.current_time()
        await (world.listen_key() if venue == UM else world.subscribe_spot())
        assert 7 <= trio.current_time() - began < 7.1


async def test_fills_are_told_again_to_who_logs_in(world, autojump_clock):
    for venue in (UM, SPOT):
        await buy(world, venue)
        await buy(world, venue)
        world.inside.faults.inject(venue, "replay_fills", params={"fills": 1})
    newest = {venue: world.inside.engines[venue].trades(SYMBOL)[-1].trade_id for venue in (UM, SPOT)}
    um = await um_private(world)
    assert (await world.hear(um))["o"]["t"] == newest[UM]
    assert await world.hears_nothing(um)
    spot = await world.websocket(world.access.venues[SPOT].ws_api, "")
    first = await world.call_ws(spot, "userDataStream.subscribe.signature")
    assert first["event"]["t"] == newest[SPOT]  # even before the login's own answer
    assert (await world.hear(spot))["status"] == 200


async def test_an_account_moves_without_a_trade(world, autojump_clock):
    world.inside.faults.inject(UM, "adjust_account", params={"asset": "BTC", "amount": "-0.010"})
    world.inside.faults.inject(SPOT, "adjust_account", params={"asset": "USDT", "amount": "-12.5"})
    rows = (await world.signed(UM, "GET", "/fapi/v3/positionRisk", symbol=SYMBOL)).body
    assert rows[0]["positionAmt"] == "-0.010"
    assert sum(world.inside.engines[SPOT].balances()["USDT"]) == Decimal("99987.5")
    assert world.inside.engines[UM].trades(SYMBOL) == []


@pytest.mark.parametrize(("adl", "named"), [(False, "autoclose-"), (True, "adl_autoclose")])
async def test_a_liquidation_closes_the_position_under_the_venues_own_id(world, adl, named, autojump_clock):
    with pytest.raises(FaultError, match="no position"):
        world.inside.faults.inject(UM, "liquidation")
    await buy(world)
    world.inside.faults.inject(UM, "liquidation", params={"adl": adl})
    assert world.inside.engines[UM].position(SYMBOL)[0] == 0
    assert world.inside.engines[UM].trades(SYMBOL)[-1].client_order_id.startswith(named)


async def test_fees_can_be_taken_in_another_asset(world, autojump_clock):
    world.inside.faults.inject(SPOT, "fee_asset", params={"asset": "BNB", "price": "600"})
    await buy(world, SPOT, "0.010")
    trade = world.inside.engines[SPOT].trades(SYMBOL)[-1]
    assert trade.fee_asset == "BNB"
    assert trade.fee == Decimal("0.00020000")  # 2 bps of 600 USDT, at 600 USDT
    balances = {asset: sum(parts) for asset, parts in world.inside.engines[SPOT].balances().items()}
    assert balances["BTC"] == Decimal("2.010")
    assert balances["BNB"] == -trade.fee


async def test_history_ends_where_its_window_ends(world, autojump_clock):
    await buy(world)
    await trio.sleep(100)
    await buy(world)
    world.inside.faults.inject(UM, "history_window", params={"window_s": 60})
    trades = (await world.signed(UM, "GET", "/fapi/v1/userTrades", symbol=SYMBOL, fromId=0)).body
    assert len(trades) == 1
    incomes = (await world.signed(UM, "GET", "/fapi/v1/income", symbol=SYMBOL)).body
    assert {row["tradeId"] for row in incomes} == {str(trades[0]["id"])}


async def test_positions_of_zero_are_listed_for_every_side(world, autojump_clock):
    world.inside.faults.inject(UM, "zero_positions")
    rows = (await world.signed(UM, "GET", "/fapi/v3/positionRisk", symbol=SYMBOL)).body
    assert [(row["positionSide"], Decimal(row["positionAmt"])) for row in rows] == [
        ("BOTH", 0), ("LONG", 0), ("SHORT", 0)
    ]


async def test_a_dripping_reply_never_ends_in_time(world, autojump_clock):
    fault = world.inside.faults.inject(UM, "drip_body")
    began = trio.current_time()
    with pytest.raises(AnswerLost):
        await world.ask(UM, "GET", "/fapi/v1/time")
    assert trio.current_time() - began == 60
    world.inside.faults.clear(fault)
    assert (await world.ask(UM, "GET", "/fapi/v1/time")).status == 200


async def test_a_ban_says_until_when_and_means_it(world, autojump_clock):
    world.inside.faults.inject(UM, "ban_418", params={"retry_after": 30})
    banned = await world.ask(UM, "GET", "/fapi/v1/time")
    assert (banned.status, banned.headers["retry-after"]) == (418, "30")
    await trio.sleep(29)
    assert (await world.ask(UM, "GET", "/fapi/v1/time")).status == 418
    await trio.sleep(1)
    assert (await world.ask(UM, "GET", "/fapi/v1/time")).status == 200


async def test_headers_tell_of_what_others_used(world, autojump_clock):
    world.inside.faults.inject(UM, "inflated_weight", params={"share": 0.5})
    headers = (await world.ask(UM, "GET", "/fapi/v1/time")).headers
    assert headers["x-mbx-used-weight-1m"] == "1200"


async def test_kicked_sessions_are_closed_with_1008(world, autojump_clock):
    private, public = await um_private(world), await world.websocket(
        world.access.venues[UM].ws, "/public/ws/btcusdt@bookTicker"
    )
    await trio.sleep(0.1)
    world.inside.faults.inject(UM, "kick_1008")
    for session in (private, public):
        with pytest.raises(ConnectionClosed) as closed:
            await session.get_message()
        assert closed.value.reason.code == 1008
