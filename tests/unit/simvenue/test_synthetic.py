"""The synthetic market is a proper Binance market, repeats itself, goes on over a restart, and can be traded."""

from __future__ import annotations

import itertools
import json
from decimal import Decimal as D

import pytest
import trio

from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM, VenueId
from propbot.domain.market import DepthDiff, TopOfBook
from propbot.simvenue.instruments import INSTRUMENTS
from propbot.simvenue.prices import common_bps, mid_price
from propbot.simvenue.synthetic import SyntheticMarket
from propbot.simvenue.visible_book import VisibleBook

VENUES = (BINANCE_UM, BINANCE_SPOT)
EPOCH_NS = 1_700_000_000_000_000_000


def wall_ns() -> int:
    return EPOCH_NS + round(trio.current_time() * 1e9)


async def _frames_of(market: SyntheticMarket, seconds: float):
    frames = []
    with trio.move_on_after(seconds):
        await market.run(frames.append)
    return frames


def _books(market: SyntheticMarket) -> dict[VenueId, VisibleBook]:
    return {venue: VisibleBook(snapshot) for (venue, _), snapshot in market.snapshots.items()}


@pytest.mark.parametrize("venue", VENUES)
async def test_depth_is_an_unbroken_chain_from_the_snapshot_on(autojump_clock, venue):
    market = SyntheticMarket(VENUES, 7, wall_ns)
    last_id = market.snapshots[venue, "BTCUSDT"].last_id
    diffs = [f.event for f in await _frames_of(market, 10) if f.venue == venue and isinstance(f.event, DepthDiff)]
    assert len(diffs) >= 98
    for diff in diffs:
        assert diff.first_id == last_id + 1 <= diff.last_id
        assert diff.prev_id == (last_id if venue == BINANCE_UM else None)
        last_id = diff.last_id


async def test_depth_rebuilds_the_ticker_at_each_equal_id_and_never_crosses(autojump_clock):
    market = SyntheticMarket(VENUES, 3, wall_ns)
    depth_only = _books(market)
    tickers: dict[tuple[VenueId, int], TopOfBook] = {}
    equal = 0
    for frame in await _frames_of(market, 20):
        if isinstance(frame.event, TopOfBook):
            top = frame.event
            assert D(top.bid) < D(top.ask)
            tickers[frame.venue, top.update_id] = top
        elif isinstance(frame.event, DepthDiff):
            assert depth_only[frame.venue].apply(frame.event)
            book = depth_only[frame.venue].top()
            top = tickers[frame.venue, frame.event.last_id]
            assert (book.bid, book.bid_qty, book.ask, book.ask_qty) == (top.bid, top.bid_qty, top.ask, top.ask_qty)
            equal += 1
    assert equal >= 390


async def test_frames_are_binances_json_and_say_what_their_event_says(autojump_clock):
    for frame in await _frames_of(SyntheticMarket(VENUES, 3, wall_ns), 1):
        envelope = json.loads(frame.envelope)
        body = json.loads(frame.data)
        assert envelope == {"stream": frame.stream, "data": body}
        is_perp = frame.venue == BINANCE_UM
        match frame.event:
            case TopOfBook() as top:
                assert set(body) == set("usbBaA") | (set("eTE") if is_perp else set())
                assert (body["u"], body["b"], body["A"]) == (top.update_id, top.bid, top.ask_qty)
            case DepthDiff() as diff:
                assert set(body) == {"e", "E", "s", "U", "u", "b", "a"} | ({"T", "pu"} if is_perp else set())
                assert [tuple(level) for level in body["b"]] == diff.bids
                assert [tuple(level) for level in body["a"]] == diff.asks
            case None:
                assert body["e"] == "trade"


async def test_prices_and_sizes_lie_on_the_venues_steps_and_are_written_its_way(autojump_clock):
    market = SyntheticMarket(VENUES, 5, wall_ns)
    for venue, price_digits, qty_digits in ((BINANCE_UM, 2, 3), (BINANCE_SPOT, 8, 8)):
        instrument = INSTRUMENTS[venue][0]
        snapshot = market.snapshots[venue, "BTCUSDT"]
        assert len(snapshot.bids) > 20
        assert [D(p) for p, _ in snapshot.bids] == sorted((D(p) for p, _ in snapshot.bids), reverse=True)
        assert [D(p) for p, _ in snapshot.asks] == sorted(D(p) for p, _ in snapshot.asks)
        for price, qty in snapshot.bids + snapshot.asks:
            assert (len(price.partition(".")[2]), len(qty.partition(".")[2])) == (price_digits, qty_digits)
            assert D(price) % instrument.tick_size == 0
            assert D(qty) % instrument.lot_step == 0
            assert D(qty) >= D("0.2")


async def test_the_same_seed_and_clock_make_the_same_market(autojump_clock):
    first = await _frames_of(SyntheticMarket(VENUES, 11, lambda: EPOCH_NS), 2)
    second = await _frames_of(SyntheticMarket(VENUES, 11, lambda: EPOCH_NS), 2)
    other = await _frames_of(SyntheticMarket(VENUES, 12, lambda: EPOCH_NS), 2)
    assert first == second
    assert first != other


async def test_a_restart_goes_on_where_the_market_would_have_been(autojump_clock):
    before = SyntheticMarket(VENUES, 9, wall_ns)
    frames = await _frames_of(before, 5.03)
    after = SyntheticMarket(VENUES, 9, wall_ns)
    for venue in VENUES:
        last = [f.event for f in frames if f.venue == venue and isinstance(f.event, DepthDiff)][-1]
        snapshot = after.snapshots[venue, "BTCUSDT"]
        assert snapshot.last_id == last.last_id, "the very step that was last published"
        book = _books(before)[venue]
        for frame in frames:
            if frame.venue == venue and frame.event is not None:
                book.apply(frame.event)
        assert snapshot == book.depth(1000)
    more = await _frames_of(after, 1)
    assert min(f.event.last_id for f in more if isinstance(f.event, DepthDiff)) > last.last_id


async def test_a_suspended_machine_leaves_steps_out_but_not_the_chain(autojump_clock):
    market = SyntheticMarket((BINANCE_UM,), 9, wall_ns)
    frames = []

    def publish(frame):
        frames.append(frame)
        if len(frames) == 20:
            autojump_clock.jump(60)

    with trio.move_on_after(65):
        await market.run(publish)
    diffs = [f.event for f in frames if isinstance(f.event, DepthDiff)]
    assert 45 < len(diffs) < 60  # five seconds' worth, not sixty-five's
    assert all(b.prev_id == a.last_id for a, b in itertools.pairwise(diffs))
    assert diffs[-1].event_ms == pytest.approx(EPOCH_NS / 1e6 + 65_000, abs=200)


def test_the_common_price_wanders_but_never_jumps():
    steps = [common_bps(4, 1_700_000_000 + i * 0.1) for i in range(6000)]
    assert max(abs(b - a) for a, b in itertools.pairwise(steps)) < 2
    assert max(abs(bps) for bps in steps) < 60


@pytest.mark.parametrize("seed", [0, 1, 42])
def test_every_minute_has_at_least_ten_round_trips_that_pay(seed):
    """A naive trader over the mids: 7.4 bps of fees, half a bps of slippage, half a bps of crossing, one to earn."""
    needed_bps = 7.4 + 0.5 + 0.5 + 1.0
    reference, opened, directions, is_out = -3.5, 0, set(), False
    for i in range(600):
        t_s = 1_700_000_000 + i * 0.1
        perp, spot = mid_price(seed, BINANCE_UM, t_s), mid_price(seed, BINANCE_SPOT, t_s)
        deviation = (perp / spot - 1) * 1e4 - reference
        if not is_out and abs(deviation) > needed_bps:
            is_out = True
            opened += 1
            directions.add(deviation > 0)
        elif is_out and abs(deviation) < 1:
            is_out = False
    assert opened >= 10
    assert directions == {True, False}


def test_a_venue_that_it_cannot_play_is_named():
    with pytest.raises(ValueError, match="okx-perp"):
        SyntheticMarket((VenueId("okx-perp"),), 1, lambda: EPOCH_NS)
    with pytest.raises(ValueError, match="updates_per_s"):
        SyntheticMarket(VENUES, 1, lambda: EPOCH_NS, updates_per_s=0)
