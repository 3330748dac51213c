"""Keeps filters and status of our symbol as its venue has them: read again every hour, and when an order was refused.

A venue changes tick sizes and minimums, halts a symbol or delists it, and tells nobody. A listing that can't be read
any more is one that we must not trade by: its status is UNREADABLE then, which guard `listing` turns into a HOLD.
"""

from __future__ import annotations

import trio
from attrs import asdict, evolve

from propbot.domain.errors import ProtocolViolation, VenueError
from propbot.domain.instruments import Instrument, VenueId
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
        take_listing(service, venue, evolve(service.instruments[venue], status=UNREADABLE))
        return False
    except VenueError as error:
        service.on_problem(venue, f"the listing could not be read: {error}")
        return False
    take_listing(service, venue, instrument)
    return True


def take_listing(service: Service, venue: VenueId, instrument: Instrument) -> None:
    """Filters and status as the venue has them now. What changed is told; the next decision uses it."""
    before = service.instruments.get(venue)
    service.instruments[venue] = instrument
    service.links[venue].listed_mono_s = service.seams.clock.mono_s()
    if before is None or before == instrument:
        return
    changed = asdict(instrument).items() - asdict(before).items()
    told = ", ".join(f"{name} {getattr(before, name)} → {value}" for name, value in sorted(changed))
    service.journal.say("WARN", "listing", f"{venue} {service.pair}: {told}", venue=venue, symbol=service.pair)
    service.pipeline.wake()
    listing = service.watches.get("listing")
    if listing is not None:
        listing.look()
