"""Places in the ledger and what came after one: each event and each fill once, in order."""

from __future__ import annotations

from typing import Any

import pytest

from propbot.domain.events import GENESIS_HASH
from propbot.domain.news import Place
from propbot.ledger import Ledger


async def _trade(ledger: Ledger, make: Any, count: int) -> None:
    await ledger.commit_intent(make.intent(make.order()), make.lot())
    for number in range(count):
        await ledger.book_fills([make.fill(str(number + 1), order_id="900")])


async def test_an_empty_ledger_is_a_place_too(ledger: Ledger) -> None:
    place = await ledger.newest_place()
    assert (place.event_id, place.event_hash, place.fill_seq) == (0, GENESIS_HASH, 0)
    assert await ledger.find_place(0, 0) == place
    assert (await ledger.news(place, 10)).events == ()


@pytest.mark.parametrize("limit", [1, 2, 3, 1000])
async def test_pieces_of_any_size_have_everything_once(ledger: Ledger, make: Any, limit: int) -> None:
    await _trade(ledger, make, 5)
    place, events, fills = Place(), [], []
    while True:
        news = await ledger.news(place, limit)
        if not news.events and not news.fills:
            break
        assert len(news.events) <= limit
        assert len(news.fills) <= limit
        events += news.events
        fills += [row for _, row in news.fills]
        place = Place(
            events[-1].id, events[-1].hash, events[-1].ts_ns, news.fills[-1][0] if news.fills else place.fill_seq
        )
    assert events == list(reversed((await ledger.events_page(1000))[0]))
    assert fills == list(await ledger.all_fills())
    assert place == await ledger.newest_place()


async def test_each_fill_comes_with_an_event_of_its_own(ledger: Ledger, make: Any) -> None:
    """Whoever looks only when there is a new event misses no fill."""
    await ledger.commit_intent(make.intent(make.order()), make.lot())
    for number in range(3):
        before = await ledger.newest_place()
        await ledger.book_fills([make.fill(str(number), order_id="900")])
        news = await ledger.news(before, 10)
        assert (len(news.fills), len(news.events) >= 1) == (1, True)


async def test_a_place_is_found_again_and_one_beyond_the_end_is_not(ledger: Ledger, make: Any) -> None:
    await _trade(ledger, make, 2)
    newest = await ledger.newest_place()
    assert await ledger.find_place(newest.event_id, newest.fill_seq) == newest
    assert await ledger.find_place(newest.event_id + 1, newest.fill_seq) is None
    assert await ledger.find_place(newest.event_id, newest.fill_seq + 1) is None


async def test_a_bound_is_a_bound(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="limit must be"):
        await ledger.news(Place(), 0)
