"""What runs by the mode: the start until trading is armed, trading, the wind-down of each HOLD, DRAIN's deadline."""

from __future__ import annotations

import trio

from propbot.domain.errors import LedgerError
from propbot.domain.mode import Mode
from propbot.domain.money import amount_text
from propbot.service import Service

START_DEADLINE_S = 30.0
"""A start that has not reached "ledger equals venue" by then is a HOLD that says what is missing."""


async def run_startup(service: Service) -> None:
    """Arm trading once every venue agrees with the ledger and no order's outcome is open; say so when it takes long.
    The only engine task that may return."""
    with trio.move_on_after(START_DEADLINE_S) as scope:
        await _wait_agreement(service)
    if scope.cancelled_caught:
        reason = f"the start did not reach 'ledger equals venue' in {START_DEADLINE_S:g} s: {_missing(service)}"
        service.modes.hold(reason, "startup")
        service.journal.say("ERROR", "startup", reason)
        await _wait_agreement(service)
    passed = await service.run_preflight("start")  # one that failed is a HOLD by its guard before anything is armed
    service.modes.let_trade()
    for incident in service.incidents.open_ones():
        if incident.kind == "crash" and incident.component_id.removeprefix("task:") not in service.dead_tasks:
            service.incidents.resolve(incident.id, "the service was started again, and the task runs")
    if passed.ok:
        service.journal.say("INFO", "startup", "ledger equals venue; orders may be sent as far as the mode allows")


async def _wait_agreement(service: Service) -> None:
    while _missing(service):
        await service.news.wait_change()


def _missing(service: Service) -> str:
    """What still keeps trading from being armed."""
    for venue in service.venues:
        link = service.links[venue]
        if link.met is None:
            return f"{venue}: {link.meeting_error}"
    uncertain = [order for order in service.blotter.orders.values() if order.uncertain]
    if uncertain:
        return f"the outcome of {len(uncertain)} orders is unknown, first {uncertain[0].request.client_order_id}"
    for venue in service.venues:
        state = service.reconciler.state[venue]
        if state.agreed_in_a_row < 1:
            reason = service.unusable(venue) or "not reconciled yet"
            return reason
    return ""


async def run_reconciler(service: Service) -> None:
    for link in service.links.values():
        await link.met_once.wait()
    await service.reconciler.run()


async def run_trading(service: Service) -> None:
    """The execution scope's task. A ledger that fails is a HOLD, which cancels this scope."""
    try:
        await service.pipeline.run()
    except LedgerError as error:
        service.on_ledger_failure(str(error))


async def run_winddown(service: Service) -> None:
    """Once for every HOLD: hedge, cancel, read back."""
    modes, winddown = service.modes, service.winddown
    while True:
        await modes.level.wait(lambda view: view.mode is Mode.HOLD and modes.episode != winddown.episode)
        winddown.episode = modes.episode
        service.journal.say("WARN", "hold", _hold_line(service), source=_hold_source(service))
        service.incidents.note("hold", _hold_line(service))
        await winddown.run_once(modes.rules.hedge_deadline_s)
        service.incidents.note("winddown", "the wind-down has ended", service.situation())
        service.journal.say("INFO", "hold", _hold_line(service), source=_hold_source(service))
        if not winddown.cleared:
            await _clear_rest(service)


async def _clear_rest(service: Service) -> None:
    """A venue that could not be read back is asked again until it says what is left, or the HOLD is another one."""
    modes, winddown = service.modes, service.winddown
    async with trio.open_nursery() as nursery:

        async def end_with_hold() -> None:
            await modes.level.wait(lambda view: view.mode is not Mode.HOLD or modes.episode != winddown.episode)
            nursery.cancel_scope.cancel()

        nursery.start_soon(end_with_hold)
        await winddown.clear_rest()
        service.journal.say("INFO", "hold", _hold_line(service), source=_hold_source(service))
        nursery.cancel_scope.cancel()


def _hold_line(service: Service) -> str:
    hold = service.modes.view.hold
    return "HOLD was left" if hold is None else hold.line()


def _hold_source(service: Service) -> str:
    hold = service.modes.view.hold
    return "" if hold is None else hold.first.source


async def run_drain(service: Service) -> None:
    """DRAIN's deadline: what is still open by then is named in a HOLD."""
    level = service.modes.level
    while True:
        await level.wait(lambda view: view.mode is Mode.DRAIN)
        service.pipeline.wake()
        asked = service.drain_asked
        timeout_s = service.drain_timeout_s if asked is None else asked.timeout_s
        with trio.move_on_after(timeout_s):
            await level.wait(lambda view: view.mode is not Mode.DRAIN)
        if service.modes.view.mode is Mode.DRAIN:
            lots = service.blotter.lots
            left = ", ".join(f"{lot.id} {amount_text(lot.qty)} {service.base}" for lot in lots.values())
            if service.exposed():
                left = ", ".join(filter(None, [left, f"net exposure {amount_text(service.blotter.exposure())}"]))
            reason = f"DRAIN's {timeout_s:g} s are over; left: {left or 'nothing'}"
            service.trip(reason, "guard:drain")
