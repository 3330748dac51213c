"""Faults of what a venue tells: frames, answers and words; what it has itself stays true."""

from __future__ import annotations

import itertools
import json

import pytest
import trio

from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM
from propbot.domain.market import DepthDiff
from propbot.simvenue.faults import FaultError
from propbot.simvenue.records import MarketFrame

UM, SPOT = BINANCE_UM, BINANCE_SPOT
SYMBOL = "BTCUSDT"


def publish_depth(market, *, price="59990.00"):
    """A diff as the venue writes it, one bid changed."""
    market.last_id += 1
    this, now_ms = market.last_id, market.wall_ns() // 1_000_000
    text = (
        f'{{"e":"depthUpdate","E":{now_ms},"T":{now_ms},"s":"{SYMBOL}","U":{this},"u":{this},"pu":{this - 1},'
        f'"b":[["{price}","1.000"]],"a":[]}}'
    )
    event = DepthDiff(UM, SYMBOL, this, this, this - 1, [(price, "1.000")], [], now_ms)
    stream = "btcusdt@depth@0ms"
    market.publish(MarketFrame(UM, SYMBOL, stream, f'{{"stream":"{stream}","data":{text}}}', text, event))
    return text


async def listen(world, stream="btcusdt@depth"):
    session = await world.websocket(world.access.venues[UM].ws, f"/public/ws/{stream}")
    await trio.sleep(0.1)
    return session


async def test_mangled_depth_loses_doubles_and_swaps_about_as_many_as_asked(world, autojump_clock):
    session = await listen(world)
    world.inside.faults.inject(UM, "mangled_depth", params={"share": 0.1})
    heard = []

    async def hear():
        while True:
            heard.append(json.loads(await session.get_message())["u"])

    world.nursery.start_soon(hear)
    for _ in range(500):
        publish_depth(world.market)
        await trio.sleep(0.01)
    await trio.sleep(1)
    lost = 500 - len(set(heard))
    doubled = len(heard) - len(set(heard))
    swapped = sum(later < earlier for earlier, later in itertools.pairwise(heard))
    assert 25 <= lost <= 80
    assert 25 <= doubled <= 80
    assert 15 <= swapped <= 80


async def test_delayed_snapshot_tells_late_what_the_book_was(world, autojump_clock):
    world.inside.faults.inject(UM, "delayed_snapshot", params={"seconds": 2})
    answers = []

    async def ask():
        answers.append(await world.ask(UM, "GET", "/fapi/v1/depth", symbol=SYMBOL))

    started_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.sleep(1)
        publish_depth(world.market)
    assert trio.current_time() - started_s == pytest.approx(2.0, abs=0.1)
    assert answers[0].body["lastUpdateId"] == 100
    assert (await world.ask(UM, "GET", "/fapi/v1/depth", symbol=SYMBOL)).body["lastUpdateId"] == 101


async def test_frozen_time_keeps_every_frame_at_the_moment_when_it_began(world, autojump_clock):
    session = await listen(world)
    world.inside.faults.inject(UM, "frozen_time", params={"seconds": 5})
    times = []
    for _ in range(4):
        publish_depth(world.market)
        frame = json.loads(await session.get_message())
        times.append((frame["E"], frame["T"]))
        await trio.sleep(2)
    assert len(set(times[:3])) == 1
    assert times[3][0] == times[0][0] + 6000


async def test_bad_neighbour_sends_another_symbols_nonsense_after_a_diff(world, autojump_clock):
    session = await listen(world)
    world.inside.faults.inject(UM, "bad_neighbour")
    sent = publish_depth(world.market)
    assert await session.get_message() == sent
    assert json.loads(await session.get_message())["s"] == "NOSUCHUSDT"


async def test_crossed_depth_shows_a_bid_above_the_ask_that_the_venue_does_not_have(world, autojump_clock):
    session = await listen(world)
    world.inside.faults.inject(UM, "crossed_depth")
    publish_depth(world.market)
    frame = json.loads(await session.get_message())
    assert frame["b"][0] == ["60600.10", "1.000"]
    assert frame["b"][1] == ["59990.00", "1.000"]
    assert world.inside.engines[UM].top(SYMBOL).bid == "60000.00"


async def test_crossed_ticker_exchanges_bid_and_ask(world, autojump_clock):
    session = await listen(world, "btcusdt@bookTicker")
    world.inside.faults.inject(UM, "crossed_ticker")
    world.market.ticker(UM, "60000.00", "60000.10")
    frame = json.loads(await session.get_message())
    assert (frame["b"], frame["a"]) == ("60000.10", "60000.00")


@pytest.mark.parametrize(("factor", "bid"), [(10, "600000.00"), (0, "0.00")])
async def test_absurd_price_scales_what_the_ticker_says(world, factor, bid, autojump_clock):
    session = await listen(world, "btcusdt@bookTicker")
    world.inside.faults.inject(UM, "absurd_price", params={"factor": factor})
    world.market.ticker(UM, "60000.00", "60000.10")
    assert json.loads(await session.get_message())["b"] == bid
    assert world.inside.engines[UM].top(SYMBOL).bid == "60000.00"


async def test_late_frames_keep_their_own_time_and_their_order(world, autojump_clock):
    session = await listen(world)
    world.inside.faults.inject(UM, "late_frames", params={"late_s": 3, "seconds": 10})
    sent_ms = world.now_ms()
    texts = [publish_depth(world.market) for _ in range(2)]
    assert [await session.get_message() for _ in range(2)] == texts
    assert world.now_ms() - sent_ms == pytest.approx(3000, abs=10)
    assert json.loads(texts[0])["E"] == sent_ms


async def test_stream_cut_closes_who_hears_the_market_with_the_code_asked_for(world, autojump_clock):
    session = await listen(world)
    world.inside.faults.inject(UM, "stream_cut", params={"code": 1008})
    with pytest.raises(Exception, match="1008"):
        await session.get_message()
    publish_depth(world.market)
    again = await listen(world)
    assert await world.hears_nothing(again)


async def test_odd_answer_comes_instead_of_a_question_and_never_of_an_order(world, autojump_clock):
    world.inside.faults.inject(UM, "odd_answer", params={"status": 504, "code": -1007, "msg": "Timeout."})
    placed = await world.order(UM, "BUY", "0.002", "60000.10")
    assert placed.status == 200
    odd = await world.ask(UM, "GET", "/fapi/v1/time")
    assert (odd.status, odd.body) == (504, {"code": -1007, "msg": "Timeout."})
    world.inside.faults.inject(SPOT, "odd_answer")
    page = await world.ask(SPOT, "GET", "/api/v3/time")
    assert (page.status, page.body) == (502, "<html><h1>502 Bad Gateway</h1></html>")


async def test_rewrite_changes_the_words_of_one_road_and_one_path(world, autojump_clock):
    session = await listen(world)
    params = {"where": "rest", "find": '"tickSize":', "to": '"tick":', "path": "/exchangeInfo", "seconds": 10}
    fault = world.inside.faults.inject(UM, "rewrite", params=params)
    info = await world.ask(UM, "GET", "/fapi/v1/exchangeInfo")
    assert "tick" in json.dumps(info.body)
    assert "tickSize" not in json.dumps(info.body)
    assert "serverTime" in (await world.ask(UM, "GET", "/fapi/v1/time")).body
    world.inside.faults.clear(fault)
    params = {"where": "public", "find": "depthUpdate", "to": "bookUpdate"}
    world.inside.faults.inject(UM, "rewrite", params=params)
    publish_depth(world.market)
    assert json.loads(await session.get_message())["e"] == "bookUpdate"
    with pytest.raises(FaultError, match=r"params\.where"):
        world.inside.faults.inject(UM, "rewrite", params={"where": "sideways", "find": "a", "to": "b"})


async def test_blackhole_swallows_both_ways_closes_nothing_and_kills_the_connections_it_met(world, autojump_clock):
    session = await listen(world)
    world.inside.faults.inject(UM, "blackhole", params={"seconds": 20})
    publish_depth(world.market)
    assert await world.hears_nothing(session, 5)
    with trio.move_on_after(5) as asking:
        await world.ask(UM, "GET", "/fapi/v1/time")
    assert asking.cancelled_caught
    await trio.sleep(11)
    assert (await world.ask(UM, "GET", "/fapi/v1/time")).status == 200
    publish_depth(world.market)
    assert await world.hears_nothing(session, 5)
