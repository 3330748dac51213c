"""A lot as the report shows it: its costs, its edge against what came of it, and how far apart its legs were."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal

from attrs import frozen

from propbot.domain.lots import Lot, LotState
from propbot.domain.money import BPS, ZERO
from propbot.domain.orders import Side
from propbot.replay.report.costs import LegCost, LotCosts, Phase, price_fills
from propbot.replay.report.reading import Recorded

NOT_FILLED = "NOT_FILLED"
_SentOf = dict[tuple[str, Side], list[str]]
"""A lot's client order ids, by venue and side."""


@frozen
class Skew:
    """How much later the sell side's order was than the buy side's, in ms of virtual time; negative is earlier."""

    arrival_ms: float | None
    """When the orders reached their venues."""
    trade_ms: float | None
    """When they first traded there; a hedge's trade counts as its leg's. None where a leg did not trade."""


@frozen
class LotLine:
    number: int
    """From 1, in the order of opening: what tables and plots call it."""
    lot: Lot
    costs: LotCosts | None
    legs: tuple[LegCost, ...]
    entry_skew: Skew
    exit_skew: Skew
    opened_s: float
    """Virtual, as is `closed_s`."""
    closed_s: float | None

    @property
    def filled(self) -> bool:
        """Whether it ever held anything, and so counts as an opened spread."""
        return self.lot.exit_reason != NOT_FILLED

    @property
    def closed(self) -> bool:
        return self.lot.state is LotState.CLOSED

    @property
    def held_s(self) -> float | None:
        return None if self.lot.closed_ns is None else (self.lot.closed_ns - self.lot.opened_ns) / 1e9

    @property
    def entry_notional(self) -> Decimal | None:
        """Quote, of one leg: what a bps of this lot is a bps of."""
        entries = [leg for leg in self.legs if leg.phase is Phase.ENTRY and leg.decision_price]
        prices = [leg.decision_price for leg in entries if leg.decision_price is not None]
        return self.lot.qty * sum(prices, ZERO) / len(prices) if prices else None

    @property
    def realised_bps(self) -> Decimal | None:
        if self.lot.realised is None or not self.entry_notional:
            return None
        return self.lot.realised / self.entry_notional / BPS

    def fill_price(self, phase: Phase, venue: str) -> Decimal | None:
        return next((leg.fill_price for leg in self.legs if (leg.phase, leg.venue) == (phase, venue)), None)


def lot_lines(recorded: Recorded) -> tuple[LotLine, ...]:
    sent: dict[str, _SentOf] = {}
    for order in recorded.orders.values():
        of_lot = sent.setdefault(order.lot_id, {})
        of_lot.setdefault((order.request.venue, order.request.side), []).append(order.request.client_order_id)
    return tuple(_line(number, lot, recorded, sent.get(lot.id, {})) for number, lot in enumerate(recorded.lots, 1))


def _line(number: int, lot: Lot, recorded: Recorded, sent: _SentOf) -> LotLine:
    fills = recorded.fills.get(lot.id, ())
    priced = price_fills(lot, fills, recorded.decisions.get(lot.id, ()), recorded.orders)
    return LotLine(
        number=number,
        lot=lot,
        costs=priced.costs() if fills else None,
        legs=priced.legs(),
        entry_skew=_skew(recorded, sent, (lot.sell_venue, Side.SELL), (lot.buy_venue, Side.BUY)),
        exit_skew=_skew(recorded, sent, (lot.buy_venue, Side.SELL), (lot.sell_venue, Side.BUY)),
        opened_s=recorded.virtual_s(lot.opened_ns),
        closed_s=None if lot.closed_ns is None else recorded.virtual_s(lot.closed_ns),
    )


def _skew(
    recorded: Recorded, sent: _SentOf, sell: tuple[str, Side], buy: tuple[str, Side]
) -> Skew:
    def apart_ms(times_s: Mapping[str, float]) -> float | None:
        first_sell, first_buy = (
            min((times_s[order] for order in sent.get(leg, ()) if order in times_s), default=None)
            for leg in (sell, buy)
        )
        return None if first_sell is None or first_buy is None else (first_sell - first_buy) * 1000

    return Skew(apart_ms(recorded.arrived_s), apart_ms(recorded.traded_s))


@frozen
class Totals:
    """Over the lots that were filled; amounts in quote. None is unknown, or nothing to measure."""

    opened: int
    closed: int
    still_open: int
    not_filled: int
    won: int
    realised: Decimal
    fees: Decimal | None
    gross: Decimal | None
    slippage: Decimal | None
    slippage_bps: Decimal | None
    """Of the notional that was traded."""
    edge_bps: Decimal | None
    """Average net edge decided on, of the closed ones."""
    realised_bps: Decimal | None
    skews_ms: tuple[float, ...]
    """Without sign, entries and exits, of first trades; ascending."""


def sum_up(lines: Sequence[LotLine]) -> Totals:
    filled = [line for line in lines if line.filled]
    closed = [line for line in filled if line.closed]
    costs = [line.costs for line in filled]
    known = [cost for cost in costs if cost is not None]
    complete = bool(filled) and len(known) == len(costs)
    traded = sum((leg.fill_price * leg.qty for line in filled for leg in line.legs if leg.fill_price), ZERO)
    slippage = sum((cost.slippage for cost in known), ZERO) if complete else None
    skews = [skew.trade_ms for line in filled for skew in (line.entry_skew, line.exit_skew)]
    return Totals(
        opened=len(filled),
        closed=len(closed),
        still_open=len(filled) - len(closed),
        not_filled=len(lines) - len(filled),
        won=sum(1 for line in closed if (line.lot.realised or ZERO) > 0),
        realised=sum((line.lot.realised or ZERO for line in closed), ZERO),
        fees=sum((cost.fees for cost in known), ZERO) if complete else None,
        gross=sum((cost.gross for cost in known), ZERO) if complete else None,
        slippage=slippage,
        slippage_bps=slippage / traded / BPS if slippage is not None and traded else None,
        edge_bps=_mean([line.lot.edge_bps for line in closed]),
        realised_bps=_mean([line.realised_bps for line in closed]),
        skews_ms=tuple(sorted(abs(skew) for skew in skews if skew is not None)),
    )


def _mean(amounts: Sequence[Decimal | None]) -> Decimal | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known, ZERO) / len(known) if known and len(known) == len(amounts) else None


def share_of(values: Sequence[float], share: float) -> float | None:
    """The smallest of `values` (ascending) that `share` of them don't exceed; None of none."""
    if not values:
        return None
    return values[max(math.ceil(len(values) * share), 1) - 1]
