"""The series behind charts: profit and loss, and the spread between the venues, as they were now and then.

Called by the status task four times a second; what is not due costs a division. Each value was measured at that moment,
or is None.
"""

from __future__ import annotations

from sys import intern

from propbot.domain.money import ZERO
from propbot.service import Service
from propbot.status.equity import compute_equity, compute_pnl, compute_unrealised
from propbot.status.views import PnlView, SpreadView

EDGE_BPS_MAX = 1e6
"""More than that is a book that can't fill the order, no edge."""


def note_series(service: Service) -> None:
    now_s = service.seams.clock.mono_s()
    if service.spreads.due(now_s):
        service.spreads.note(now_s, service.seams.clock.wall_ns(), view_spread(service))
    if service.pnl_points.due(now_s):
        service.pnl_points.note(now_s, service.seams.clock.wall_ns(), view_pnl(service))


def note_measures(service: Service) -> None:
    """What is sampled four times a second: the day's profit and loss, the books' ages."""
    now = service.seams.clock.mono_s()
    for age_s in service.book_ages_s().values():
        if age_s is not None:
            service.slo.book_age_s.note(now, age_s)
    service.day.note(compute_pnl(service.blotter.accounts.values(), service.market.mark), service.seams.clock.wall_ns())


def view_pnl(service: Service) -> PnlView:
    """Unknown where a mark is missing; fees in third assets make the sums unknown rather than wrong. Equity is also
    unknown before the baselines are."""
    accounts = service.blotter.accounts.values()
    if any(account.has_unvalued_fees for account in accounts):
        return PnlView(None, None, None, None, None, None)
    mark = service.market.mark
    met = all(link.met is not None for link in service.links.values())
    return PnlView(
        equity=compute_equity(accounts, service.free_balances(), mark) if met else None,
        realised=sum((account.realised_net for account in accounts), ZERO),
        unrealised=compute_unrealised(accounts, mark),
        fees=sum((account.fees_quote for account in accounts), ZERO),
        funding=sum((account.funding for account in accounts), ZERO),
        day=service.day.pnl_of(compute_pnl(accounts, mark)),
    )


def view_spread(service: Service) -> SpreadView:
    """Mids of trusted books alone; the spread needs both."""
    market, pipeline = service.market, service.pipeline
    mids = {venue: None if market.distrust(venue) else market.mark(venue) for venue in service.venues}
    known = [mid for mid in mids.values() if mid is not None]
    spread_bps = None
    if len(known) == len(mids) == 2:
        spread_bps = round(float((known[1] - known[0]) / (known[0] + known[1]) * 20_000), 3)
    edges = {
        intern(direction): round(edge, 3) if abs(edge) < EDGE_BPS_MAX else None
        for direction, edge in pipeline.measure_edges().items()
    }
    reference_bps = service.basis.value_bps
    return SpreadView(
        service.pair, mids, spread_bps, None if reference_bps is None else round(reference_bps, 3), edges,
        service.why_not() or None,
    )
