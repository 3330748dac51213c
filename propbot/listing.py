"""Keeps filters and status of our symbol as its venue has them: read again every hour, and when an order was refused.

A venue changes tick sizes and minimums, halts a symbol or delists it, and tells nobody. A listing that can't be read
any more is one that we must not trade by: its status is UNREADABLE then, which guard `listing` turns into a HOLD.
"""

from __future__ import annotations

import trio
from attrs import evolve

from propbot.domain.errors import ProtocolViolation, VenueError
from propbot.domain.instruments import VenueId
from propbot.service import Service

READ_EVERY_S = 3600.0
RETRY_S = 60.0
"""While it could not be read, or while the symbol is not traded."""
DOUBT_PAUSE_S = 5.0
"""However many orders are refused: a listing weighs more than an order."""
UNREADABLE = "UNREADABLE"


async def run_listing(service: Service, venue: VenueId) -> None:
    """Until cancelled, once the venue has been met."""
    gateway = service.gateways[venue]
    await service.links[venue].met_once.wait()
    was_read = True
    while True:
        with trio.move_on_after(READ_EVERY_S if was_read and service.instruments[venue].tradable else RETRY_S):
            await gateway.listing_doubted.wait()
        gateway.listing_doubted = trio.Event()
        was_read = await _read(service, venue)
        await trio.sleep(DOUBT_PAUSE_S)


async def _read(service: Service, venue: VenueId) -> bool:
    try:
        instrument = await service.gateways[venue].instrument(service.pair)
    except ProtocolViolation as error:
        service.on_problem(venue, f"the listing can't be read: {error}")
        service.take_listing(venue, evolve(service.instruments[venue], status=UNREADABLE))
        return False
    except VenueError as error:
        service.on_problem(venue, f"the listing could not be read: {error}")
        return False
    service.take_listing(venue, instrument)
    return True
