"""Samples of what the service shows, for the report: every quarter of a second of market time."""

from __future__ import annotations

import trio

from propbot.control.desk import ServiceDesk
from propbot.domain.money import amount_text
from propbot.replay.trace import ReplayTrace
from propbot.service import Service

EVERY_S = 0.25
KEPT_DIGITS = 4


async def run_sampler(service: Service, trace: ReplayTrace) -> None:
    """Until cancelled. It reads what anybody may read, and changes nothing."""
    desk = ServiceDesk(service, service.keeper)
    while True:
        pnl = desk.state_view().pnl
        trace.sample(
            {
                "mids": {venue: _number(book.mid) for venue, book in service.market.books.items()},
                "edges_bps": {way: _number(edge) for way, edge in service.pipeline.measure_edges().items()},
                "reference_bps": _number(service.basis.value_bps),
                "ages_s": {venue: _number(age) for venue, age in service.book_ages_s().items()},
                "lots_open": len(service.blotter.lots),
                "why_not": service.why_not(),
                "mode": str(service.modes.view.mode),
                "equity_usdt": None if pnl.equity is None else amount_text(pnl.equity),
                "realised_usdt": None if pnl.realised is None else amount_text(pnl.realised),
                "unrealised_usdt": None if pnl.unrealised is None else amount_text(pnl.unrealised),
                "fees_usdt": None if pnl.fees is None else amount_text(pnl.fees),
            }
        )
        await trio.sleep(EVERY_S)


def _number(value: float | None) -> float | None:
    """None for what is unknown: NaN while a book is not synchronised, and no edge where a book is too thin."""
    if value is None or not -1e9 < value < 1e9:
        return None
    return round(value, KEPT_DIGITS)
