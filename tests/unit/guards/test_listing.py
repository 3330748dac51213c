"""The listing guard: a symbol that is not traded any more, or can't be read, is a HOLD that names it."""

from __future__ import annotations

from typing import Any

import pytest

from propbot.domain.status import Health
from propbot.guards.listing import ListingGuard, ListingSeen


@pytest.fixture
def venues() -> dict[str, ListingSeen]:
    return {"binance-um": ListingSeen("TRADING", 4.0), "binance-spot": ListingSeen("TRADING", 5.0)}


@pytest.fixture
def listing(watched: Any, venues: dict[str, ListingSeen]) -> Any:
    return watched(ListingGuard(lambda: venues, "BTCUSDT"))


@pytest.mark.parametrize("status", ["BREAK", "HALT", "SETTLING", "UNREADABLE", "a word of next year"])
def test_any_status_but_trading_is_a_hold_at_once_that_names_venue_and_symbol(
    listing: Any, venues: dict[str, ListingSeen], status: str
) -> None:
    venues["binance-um"] = ListingSeen(status, 1.0)
    listing.run_s(5)
    assert listing.trips == [(f"binance-um BTCUSDT is {status}: no order is sent there", "guard:listing")]
    assert listing.last.metrics["binance-um.status"] == status


def test_it_clears_when_the_symbol_is_traded_again(listing: Any, venues: dict[str, ListingSeen]) -> None:
    venues["binance-spot"] = ListingSeen("BREAK", 1.0)
    listing.watch.look()
    assert "BREAK" in listing.watch.blocker
    venues["binance-spot"] = ListingSeen("TRADING", 1.0)
    listing.watch.look()
    assert listing.watch.blocker is None
    assert listing.last.health is Health.OK


def test_what_was_never_read_is_unknown_and_no_trip(listing: Any, venues: dict[str, ListingSeen]) -> None:
    venues["binance-um"] = ListingSeen(None, None)
    listing.watch.look()
    assert listing.trips == []
    assert listing.last.health is Health.WARN
    assert "unknown" in listing.last.summary
