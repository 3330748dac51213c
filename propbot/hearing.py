"""What is heard of the venues, and what follows from it: met, refused, private streams, what reconciliation found.

`venue_tasks.py` and `assembly.py` hand these to the parts that hear of it. All of it happens at once: there is no
checkpoint in here, so whoever looks afterwards sees all of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from propbot.domain.instruments import Kind, VenueId
from propbot.domain.money import amount_text
from propbot.domain.orders import AccountChanged, Fill, Funding, OrderReport, PrivateEvent
from propbot.execution.first_contact import Met
from propbot.execution.reconcile import ReconResult, Verdict
from propbot.kit.ids import is_ours
from propbot.listing import take_listing
from propbot.service import Service


def mark_met(service: Service, venue: VenueId, met: Met) -> None:
    """The venue answered for the first time in this life."""
    service.links[venue].met = met
    service.links[venue].access_refused = ""
    take_listing(service, venue, met.instrument)
    for asset, qty in met.baselines.items():
        service.baselines[(venue, asset)] = qty
    if met.first_trade_id is not None:
        service.first_trade_ids[venue] = met.first_trade_id
    if met.instrument.kind is Kind.PERP:
        service.first_contact_ms[venue] = met.first_contact_ms
    service.fees[venue] = met.fees  # last: the pipeline begins when it knows every venue's fees
    service.links[venue].met_once.set()
    service.news.touch()


def on_access_refused(service: Service, venue: VenueId, story: str) -> None:
    service.links[venue].access_refused = story
    service.watches["preflight"].look()  # trips, now


def on_private_up(service: Service, venue: VenueId) -> None:
    link = service.links[venue]
    link.private_up, link.private_reason = True, ""
    service.reconciler.funding.note_connected(venue)
    service.reconciler.look_now(venue)
    service.pipeline.wake()


def on_private_down(service: Service, venue: VenueId, reason: str) -> None:
    link = service.links[venue]
    link.private_up, link.private_reason = False, reason


def on_private_event(service: Service, venue: VenueId, event: PrivateEvent) -> None:
    match event:
        case OrderReport():
            known = service.blotter.observe_report(event)
            if not known and not is_ours(event.client_order_id) and event.fills:
                service.reconciler.note_foreign(event.fills)
            service.pipeline.wake()
        case Funding():
            service.blotter.observe_funding(event)
        case AccountChanged():
            pass  # `cw` is no available balance, and a change that no fill explains shows in reconciliation
        case _:
            pass  # ready and ended are the session's own business


def on_recon(service: Service, result: ReconResult) -> None:
    link, told = service.links[result.venue], "; ".join(result.differences)
    if result.verdict is Verdict.AGREES:
        link.access_refused = link.recon_told = ""  # signed reads go through again
        service.reconciler.state[result.venue].foreign = []  # in the baseline now
    began = result.verdict is Verdict.DIFFERS and service.reconciler.state[result.venue].differed_in_a_row == 1
    service.slo.recon_differed.note(service.seams.clock.mono_s(), float(began))
    if told and told != link.recon_told:
        link.recon_told = told
        service.journal.say("WARN", "recon", told, venue=result.venue)
    recon = service.watches.get("recon")
    if recon is not None:
        recon.look()
    service.news.touch()
    service.pipeline.wake()


def on_foreign_fills(service: Service, fills: Sequence[Fill]) -> None:
    for fill in fills:
        text = (
            f"foreign trade: {fill.venue} {fill.symbol} {fill.side} {amount_text(fill.qty)}"
            f" at {amount_text(fill.price)}"
        )
        service.journal.say("ERROR", "foreign_fill", text, venue=fill.venue, symbol=fill.symbol)
    service.reconciler.note_foreign(fills)
