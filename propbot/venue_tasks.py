"""What runs for each venue as long as the service lives: its streams, its order connection, what is read again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import trio

from propbot.domain.errors import AccessRefused, LedgerError, VenueError
from propbot.domain.instruments import Kind, VenueId
from propbot.domain.money import amount_text
from propbot.execution.first_contact import meet_venue
from propbot.feeds.private import PrivateFeed
from propbot.feeds.public import PublicFeed
from propbot.hearing import mark_met, on_access_refused, on_private_down, on_private_event, on_private_up
from propbot.kit.supervise import Backoff, describe, run_restarting
from propbot.listing import run_listing
from propbot.service import Service
from propbot.spread.funding import FundingDue

FUNDING_EVERY_S = 60.0
FUNDING_RETRY_S = 1.0
"""While it is unknown nothing is opened; also how long after a settlement the next one is asked for."""


def venue_tasks(service: Service, venue: VenueId) -> Mapping[str, Callable[[], Awaitable[None]]]:
    """By name; those that end in failure are begun again, each by itself."""
    tasks: dict[str, Callable[[], Awaitable[None]]] = {
        f"feed:{venue}": partial(_run_feed, service, venue),
        f"private:{venue}": partial(_run_private, service, venue),
        f"gateway:{venue}": partial(_run_gateway, service, venue),
        f"listing:{venue}": partial(run_listing, service, venue),
    }
    if venue in service.dead_men:
        tasks[f"dead_man:{venue}"] = partial(_run_dead_man, service, venue)
    if service.config.venues[venue].dialect.kind is Kind.PERP:
        tasks[f"funding:{venue}"] = partial(_run_funding, service, venue)
    return tasks


def _backoff(service: Service) -> Backoff:
    return Backoff(service.seams.rng)


async def _run_feed(service: Service, venue: VenueId) -> None:
    each, gateway = service.config.venues[venue], service.gateways[venue]
    feed = PublicFeed(
        network=service.seams.network, endpoints=each.endpoints, dialect=each.dialect, symbol=service.pair,
        book=service.market.books[venue], fetch_snapshot=partial(gateway.depth, service.pair),
        clock=service.seams.clock, rng=service.seams.rng, on_change=partial(service.pipeline.on_book, venue),
        on_problem=partial(service.on_problem, venue), venue_now_ms=gateway.venue_now_ms,
        open_websocket=service.seams.open_websocket, health=service.links[venue].feed,
    )
    await run_restarting(f"feed:{venue}", feed.run_session, backoff=_backoff(service), on_failure=_failed(service))


async def _run_private(service: Service, venue: VenueId) -> None:
    each, gateway = service.config.venues[venue], service.gateways[venue]
    await service.links[venue].met_once.wait()  # what is signed needs the venue's clock
    feed = service.private_feeds[venue] = PrivateFeed(
        network=service.seams.network, endpoints=each.endpoints, dialect=gateway.dialect, ask=gateway.ask,
        ts_ms=gateway.ts_ms, clock=service.seams.clock, on_event=partial(on_private_event, service, venue),
        on_up=partial(on_private_up, service, venue), on_down=partial(on_private_down, service, venue),
        on_problem=partial(service.on_problem, venue), open_websocket=service.seams.open_websocket,
        health=service.links[venue].private, on_unreadable=service.on_unreadable,
    )

    async def session(backoff: Backoff) -> None:
        await gateway.pace.wait_unpaused()  # the first request of a private session counts against us, on spot too
        await feed.run_session(backoff)

    await run_restarting(f"private:{venue}", session, backoff=_backoff(service), on_failure=_failed(service))


async def _run_gateway(service: Service, venue: VenueId) -> None:
    async def session(backoff: Backoff) -> None:
        await _meet(service, venue)
        backoff.reset()
        await service.gateways[venue].keep_warm()

    await run_restarting(f"gateway:{venue}", session, backoff=_backoff(service), on_failure=_failed(service))


async def _meet(service: Service, venue: VenueId) -> None:
    link = service.links[venue]
    if link.met is not None:
        return
    try:
        met = await meet_venue(venue, service.pair, service.gateways[venue], service.ledger)
    except AccessRefused as error:
        on_access_refused(service, venue, str(error))
        raise
    except (VenueError, LedgerError) as error:
        link.meeting_error = str(error)
        raise
    mark_met(service, venue, met)
    service.journal.say("INFO", "venue", f"{venue} met", venue=venue, taker_fee_bps=amount_text(met.fees.taker_bps))
    service.reconciler.look_now(venue)


async def _run_dead_man(service: Service, venue: VenueId) -> None:
    await service.links[venue].met_once.wait()  # what is signed needs the venue's clock
    await service.dead_men[venue].run()


async def _run_funding(service: Service, venue: VenueId) -> None:
    """Keep the expected funding fresh; one that can't be read is kept until it is outdated."""
    gateway, told = service.gateways[venue], ""
    await service.links[venue].met_once.wait()
    while True:
        try:
            outlook = await gateway.funding_outlook(service.pair)
        except VenueError as error:
            if told != str(error):
                told = str(error)
                service.on_problem(venue, f"{venue}: funding could not be read: {told}")
            await trio.sleep(FUNDING_RETRY_S if service.market.funding_problem(venue) else FUNDING_EVERY_S / 4)
            continue
        told = ""
        assert outlook is not None, "only perps have this task"
        now_s = service.seams.clock.mono_s()
        due = service.market.funding[venue] = FundingDue.of(outlook, gateway.ts_ms(), now_s)
        service.pipeline.wake()
        await trio.sleep(min(max(due.due_mono_s - now_s, 0.0) + FUNDING_RETRY_S, FUNDING_EVERY_S))


def _failed(service: Service) -> Callable[[str, BaseException], None]:
    return lambda name, error: service.session_failed(name, error, describe(error))
