"""Accepting what an account holds: the one way to move a baseline (DESIGN section 6), in HOLD only and audited.

Somebody traded or transferred on the account, the recon guard holds, and an operator has looked: from now on what the
venue has of that asset beyond our own fills is not ours to explain. The ledger keeps the old value in the event that is
written in the same transaction.

What moved it may have been our own orders: those of the time after a backup that was restored. Lots that they closed
are open in this ledger still, and closing them again would open at the venue what nobody sees. So after a restore who
accepts a base asset has to say what became of the lots.
"""

from __future__ import annotations

from decimal import Decimal

import trio
from attrs import evolve, frozen

from propbot.domain.errors import VenueError
from propbot.domain.instruments import Kind, VenueId
from propbot.domain.lots import Lot, LotState
from propbot.domain.mode import Mode
from propbot.domain.money import ZERO, amount_text
from propbot.execution.differences import position_cost
from propbot.service import Service
from propbot.status.desk import BaselineMoved, BaselineOutcome, Conflict, LotsWord, Unusable

ASK_S_MAX = 6.0
KEEP, WRITE_OFF = "keep", "write_off"
WRITTEN_OFF = "WRITTEN_OFF"


@frozen
class _Held:
    """What the venue has of the asset, and what our own fills and funding did to it."""

    venue_qty: Decimal
    explained: Decimal
    cost_gap: Decimal | None = None
    """Of a perp's quote: the venue's cost of the position less ours."""


async def accept_baseline(
    service: Service, venue: VenueId, asset: str, reason: str, operator: str, lots: LotsWord | None = None
) -> BaselineOutcome:
    """Move the baseline so that the ledger equals the venue for this asset; `lots` is what becomes of those that have a
    leg there. LedgerError if it can't be recorded; durable when it returns."""
    unknown = _unknown(service, venue, asset)
    if unknown:
        return Unusable(unknown)
    refused = _refusal(service, venue)
    if refused is not None:
        return Conflict([refused])
    undecided = _undecided(service, venue, asset, lots)
    if undecided is not None:
        return Conflict([undecided])
    held: _Held | str = f"{venue} did not answer within {ASK_S_MAX:g} s"
    with trio.move_on_after(ASK_S_MAX):
        held = await _ask(service, venue, asset)
    if isinstance(held, str):
        return Conflict([held])
    refused = _refusal(service, venue)  # while the venue was asked, much may have happened
    if refused is not None:
        return Conflict([refused])
    old, new = service.baselines[(venue, asset)], held.venue_qty - held.explained
    if old == new:
        return Conflict([f"{venue} {asset}: ledger and venue agree already, nothing was moved"])
    await service.ledger.move_baseline(
        venue, asset, new, reason=reason, source=f"operator:{operator}", symbol=service.pair,
        meta={} if held.cost_gap is None else {cost_gap_key(venue): amount_text(held.cost_gap)},
    )
    service.baselines[(venue, asset)] = new
    if held.cost_gap is not None:
        service.cost_gaps[venue] = held.cost_gap
    service.seams.trace(
        "baseline", venue=venue, asset=asset, old=amount_text(old), new=amount_text(new), operator=operator
    )
    gone = await _write_off(service, venue, operator) if lots == WRITE_OFF else ()
    service.reconciler.look_now()
    return BaselineMoved(venue, asset, old, new, gone)


def baseline_problems(service: Service, venue: VenueId, asset: str, lots: LotsWord | None = None) -> list[str]:
    """Why it could not be moved now; empty when nothing is known to stand in the way."""
    unknown = _unknown(service, venue, asset)
    refused = _refusal(service, venue) or _undecided(service, venue, asset, lots) if not unknown else None
    return [f"{name}: {why}" for name, why in unknown.items()] + ([] if refused is None else [refused])


def _lots_at(service: Service, venue: VenueId) -> list[Lot]:
    return [lot for lot in service.blotter.lots.values() if venue in (lot.buy_venue, lot.sell_venue)]


def _undecided(service: Service, venue: VenueId, asset: str, lots: LotsWord | None) -> str | None:
    """After a restore, with lots open: what has to be said first."""
    if asset != service.base:
        return None if lots is None else f"lots: only of {service.base}, which they are made of"
    hold, live = service.modes.view.hold, _lots_at(service, venue)
    restored = hold is not None and any(cause.lasting for cause in hold.causes)
    if lots is not None or not live or not restored:
        return None
    names = ", ".join(f"{lot.id} ({amount_text(lot.qty)} {service.base})" for lot in live[:5])
    return (
        f"this ledger was restored with {len(live)} lots open on {venue}: {names}. Look at the venue's position and say"
        f" what became of them: lots={WRITE_OFF} if they were closed there since the backup, lots={KEEP} if they are"
        " still there. Those that are kept will be closed by orders"
    )


async def _write_off(service: Service, venue: VenueId, operator: str) -> tuple[str, ...]:
    """Ids of the lots with a leg at `venue`, closed in the ledger alone: nobody knows what they earned."""
    gone: list[str] = []
    for lot in _lots_at(service, venue):
        closed = evolve(
            lot, state=LotState.CLOSED, closed_ns=service.seams.clock.wall_ns(), realised=None, exit_reason=WRITTEN_OFF
        )
        await service.ledger.save_lot(closed)
        service.blotter.put_lot(closed)
        service.seams.trace("lot", lot_id=lot.id, state=str(closed.state), qty=amount_text(closed.qty))
        gone.append(lot.id)
    if gone:
        told = f"lots written off, closed at {venue} as {operator} says: {', '.join(gone)}"
        service.journal.say("WARN", "baseline", told, venue=venue, source=f"operator:{operator}")
    return tuple(gone)


def cost_gap_key(venue: VenueId) -> str:
    """Where the ledger keeps it, beside the baseline."""
    return f"cost_gap:{venue}"


def _unknown(service: Service, venue: VenueId, asset: str) -> dict[str, str]:
    if venue not in service.venues:
        return {"venue": f"one of {', '.join(service.venues)}"}
    if (venue, asset) not in service.baselines:
        known = sorted(each for of, each in service.baselines if of == venue)
        return {"asset": f"one of {', '.join(known)}" if known else f"{venue} has not been met yet"}
    return {}


def _refusal(service: Service, venue: VenueId) -> str | None:
    if service.modes.view.mode is not Mode.HOLD:
        return "a baseline moves in HOLD only: enter HOLD first"
    if not service.winddown.done.is_set():
        return "the wind-down of this HOLD is still under way, a few seconds at most"
    # one that is presumed dead can't be proved so while ledger and venue differ: it does not lock this way out
    if any(not order.presumed_dead for order in service.blotter.in_flight(venue)):
        return f"the outcome of orders on {venue} is still open: what they fill is not to be taken for the account's"
    return None


async def _ask(service: Service, venue: VenueId, asset: str) -> _Held | str:
    """Why not, in words, where the answer would prove nothing."""
    await service.reconciler.check(venue)  # fills and funding of ours that were merely missed are booked first
    before = service.blotter.activity
    gateway, instrument = service.gateways[venue], service.instruments[venue]
    try:
        positions = await gateway.positions(service.pair)
        balances = {balance.asset: balance.total for balance in await gateway.balances()}
    except VenueError as error:
        return str(error)
    if service.blotter.activity != before or not service.bookkeeper.idle:
        return "fills were on their way: try again"
    account = service.blotter.accounts[venue]
    if asset != instrument.base:
        cost_gap = None
        if instrument.kind is Kind.PERP:
            cost_gap = position_cost(positions, service.pair) - account.cost
        return _Held(balances.get(asset, ZERO), account.quote_change, cost_gap)
    if instrument.kind is Kind.PERP:
        return _Held(sum((each.qty for each in positions if each.symbol == service.pair), ZERO), account.qty)
    return _Held(balances.get(asset, ZERO), account.qty)
