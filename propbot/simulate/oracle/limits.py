"""I2 and I9, from what the venues saw: every order within the limits, no exposure left standing."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from decimal import Decimal

from attrs import define, field

from propbot.simulate.oracle.evidence import Evidence, Row, Violation, number
from propbot.simulate.oracle.modes import Modes

ZERO = Decimal(0)
PRICE_TOLERANCE = Decimal("1.01")
"""The bot values a position at its mid, the oracle at the order's own price."""
IN_FLIGHT_S = 2.9
"""An order without an answer (a fault ate it) counts as open for so long: its receive window is over then, so that a
venue that had not taken it never will."""
RECOVERY_S = 30.0


@define
class _VenueSide:
    """One venue's view of our orders."""

    position: Decimal = ZERO
    open: dict[str, tuple[float, Decimal, bool]] = field(factory=dict)
    """Client id → since, signed remaining quantity, whether it rests there."""

    def expire(self, t: float) -> None:
        self.open = {key: each for key, each in self.open.items() if each[2] or t - each[0] <= IN_FLIGHT_S}

    def worst(self) -> Decimal:
        """The largest absolute position that our open orders could still make."""
        longs = sum((qty for _, qty, _ in self.open.values() if qty > 0), ZERO)
        shorts = sum((qty for _, qty, _ in self.open.values() if qty < 0), ZERO)
        return max(abs(self.position + longs), abs(self.position + shorts))


def check_limits(evidence: Evidence) -> Iterator[Violation]:
    """I2."""
    sides = {venue: _VenueSide() for venue in evidence.venues}
    recent: deque[float] = deque()
    for row in evidence.of_venues("order", "order_reply", "order_end", "cancel", "trade"):
        side = sides[row["venue"]]
        if row["kind"] != "order":
            _move(evidence, side, row)
            continue
        recent.append(row["t"])
        while recent[0] <= row["t"] - 60:
            recent.popleft()
        for told in _judge_order(evidence, sides, row):
            yield Violation("I2", row["t"], f"{row['venue']} {row['client_order_id']}: {told}")
        if len(recent) == evidence.limits.orders_per_min + 1:
            yield Violation("I2", row["t"], f"{len(recent)} orders in a minute")


def _move(evidence: Evidence, side: _VenueSide, row: Row) -> None:
    client_order_id = str(row["client_order_id"])
    known = side.open.get(client_order_id)
    if row["kind"] == "trade":
        side.position += evidence.base_change(row["venue"], row)
        if known is not None:
            since, left, rests = known
            left -= number(row["qty"]).copy_sign(left)
            if left:
                side.open[client_order_id] = (since, left, rests)
            else:
                del side.open[client_order_id]
    elif row["kind"] == "order_reply" and known is not None and row.get("status") in ("NEW", "PARTIALLY_FILLED"):
        side.open[client_order_id] = (known[0], known[1], True)
    elif known is not None:
        del side.open[client_order_id]


def _judge_order(evidence: Evidence, sides: dict[str, _VenueSide], row: Row) -> Iterator[str]:
    limits, side = evidence.limits, sides[row["venue"]]
    qty = number(row["qty"])
    price = None if row.get("price") is None else number(row["price"])
    if not qty.is_finite() or qty <= 0 or (price is not None and (not price.is_finite() or price <= 0)):
        yield f"{qty} at {price} is no order"
        return
    for each in sides.values():
        each.expire(row["t"])
    before = side.worst()
    held = side.position
    signed = qty if row["side"] == "BUY" else -qty
    reduces = held * signed < 0 and qty <= abs(held)
    side.open[str(row["client_order_id"])] = (row["t"], signed, False)
    count = sum(len(each.open) for each in sides.values())
    if count > limits.open_orders:
        yield f"{count} open orders, {limits.open_orders} allowed"
    if price is None:
        return
    if qty * price > limits.order_notional and not reduces:
        yield f"notional {qty * price} above {limits.order_notional}"
    worst = side.worst()
    if worst <= before:
        return
    if worst * price > limits.position_notional * PRICE_TOLERANCE:
        yield f"position up to {worst * price} above {limits.position_notional}"
    total = sum((each.worst() for each in sides.values()), ZERO) * price
    if total > limits.total_notional * PRICE_TOLERANCE:
        yield f"total notional up to {total} above {limits.total_notional}"


def check_exposure(evidence: Evidence) -> Iterator[Violation]:
    """I9: |net base| above a lot step (and the dust of fees) for the hedge deadline at most; else a HOLD by then.

    While no bot is alive nobody can hedge; a start has 30 s to know what it has, and then the deadline.
    """
    modes = Modes()
    exposure, dust = ZERO, max(evidence.limits.lot_steps.values()) + evidence.limits.dust_base
    due: float | None = None
    hedge_s = evidence.limits.hedge_deadline_s + evidence.limits.exposure_slack_s
    bought: set[str] = set()
    for row in [*evidence.rows, {"t": evidence.end_s, "who": "end", "kind": "end"}]:
        t, kind = float(row["t"]), row["kind"]
        if due is not None and t > due:
            if modes.mode is not None and modes.mode != "HOLD":
                yield Violation("I9", due, f"exposure {exposure} stood too long in {modes.mode}")
            due = None if modes.mode is not None else due
        if row["who"] == "bot":
            before = modes.mode
            modes.feed(row)
            if kind == "start" and abs(exposure) > dust:
                due = t + RECOVERY_S + hedge_s
            elif kind == "mode" and modes.mode != "HOLD" and abs(exposure) > dust:
                # whoever leaves HOLD gives what stood there its time anew, also shortly after a start
                due = t + hedge_s if due is None or before == "HOLD" else due
        elif kind == "trade" and evidence.is_ours(row.get("client_order_id")):
            dust += _fee_dust(evidence, row, bought)
            was_exposed = abs(exposure) > dust
            exposure += evidence.base_change(row["venue"], row)
            if abs(exposure) <= dust:
                due = None
            elif not was_exposed:
                due = t + hedge_s


def _fee_dust(evidence: Evidence, trade: Row, bought: set[str]) -> Decimal:
    """A spot buy asks for its fee on top, rounded up to the venue's step: at most one such step is left over."""
    client_order_id = str(trade["client_order_id"])
    end = evidence.venues[trade["venue"]]
    if end.kind != "spot" or trade["side"] != "BUY" or client_order_id in bought:
        return ZERO
    bought.add(client_order_id)
    return evidence.limits.lot_steps[trade["venue"]]
