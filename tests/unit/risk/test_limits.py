"""Risk: only it approves, each limit refuses by its name, and what it approves never breaks a cap."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve
from hypothesis import example, given
from hypothesis import strategies as st

from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM, Instrument, Kind, VenueId
from propbot.domain.lots import Intent
from propbot.domain.money import ZERO
from propbot.domain.orders import OrderRequest, Purpose, Side
from propbot.risk.limits import Approved, Holdings, Limits, Refused, check_intent

MARK = Decimal(60_000)
INSTRUMENTS = {
    BINANCE_UM: Instrument(
        BINANCE_UM, "BTCUSDT", Kind.PERP, "BTC", "USDT", Decimal("0.1"), Decimal("0.001"), Decimal("0.001"),
        Decimal(1000), Decimal(100),
    ),
    BINANCE_SPOT: Instrument(
        BINANCE_SPOT, "BTCUSDT", Kind.SPOT, "BTC", "USDT", Decimal("0.01"), Decimal("0.00001"), Decimal("0.00001"),
        Decimal(9000), Decimal(5),
    ),
}  # fmt: skip
LIMITS = Limits(order_notional=Decimal(1000), position=Decimal(5000), total_notional=Decimal(20_000), open_orders=10)
FLAT = Holdings(
    positions={}, free={
        (BINANCE_UM, "USDT"): Decimal(100_000), (BINANCE_SPOT, "USDT"): Decimal(100_000),
        (BINANCE_SPOT, "BTC"): Decimal(2),
    }, marks={BINANCE_UM: MARK, BINANCE_SPOT: MARK}, open_orders=0,
)  # fmt: skip


def _leg(venue: VenueId = BINANCE_UM, side: Side = Side.BUY, **changes: Any) -> OrderRequest:
    plain = OrderRequest("pb1", venue, "BTCUSDT", side, Purpose.OPEN, Decimal("0.016"), MARK)
    return evolve(plain, **changes)


def _intent(*legs: OrderRequest, purpose: Purpose = Purpose.OPEN) -> Intent:
    chosen = legs or (_leg(BINANCE_SPOT), _leg(BINANCE_UM, Side.SELL))
    return Intent(
        "intent-1", "BTCUSDT", purpose, "lot-1", tuple(evolve(leg, purpose=purpose) for leg in chosen), 1
    )


def _code(intent: Intent, holdings: Holdings = FLAT, limits: Limits = LIMITS) -> str:
    verdict = check_intent(intent, INSTRUMENTS, holdings, limits)
    return verdict.code if isinstance(verdict, Refused) else "approved"


def test_a_plain_opening_is_approved_as_it_is() -> None:
    intent = _intent()
    verdict = check_intent(intent, INSTRUMENTS, FLAT, LIMITS)
    assert isinstance(verdict, Approved)
    assert verdict.intent is intent


def test_nothing_but_risk_builds_an_approval() -> None:
    with pytest.raises(TypeError):
        Approved(_intent(), object())
    with pytest.raises(TypeError):
        Approved(_intent())  # type: ignore[call-arg]
    approved = check_intent(_intent(), INSTRUMENTS, FLAT, LIMITS)
    assert isinstance(approved, Approved)
    with pytest.raises(TypeError):
        evolve(approved, by=None)


@pytest.mark.parametrize(
    ("intent", "holdings", "limits", "code"),
    [
        (_intent(_leg(qty=Decimal("0.0005"))), FLAT, LIMITS, "order_qty"),
        (_intent(_leg(qty=Decimal(1001))), FLAT, LIMITS, "order_qty"),
        (_intent(_leg(qty=Decimal("0.001"))), FLAT, LIMITS, "order_minimum"),
        (_intent(_leg(BINANCE_SPOT, qty=Decimal("0.00008"))), FLAT, LIMITS, "order_minimum"),
        (_intent(_leg(qty=Decimal("0.018"))), FLAT, LIMITS, "order_notional"),
        (_intent(_leg(limit_price=Decimal(66_000))), FLAT, LIMITS, "order_notional"),
        (_intent(), evolve(FLAT, positions={BINANCE_UM: Decimal("-0.07")}), LIMITS, "max_position"),
        (_intent(), evolve(FLAT, positions={BINANCE_SPOT: Decimal("0.07")}), LIMITS, "max_position"),
        (_intent(), evolve(FLAT, open_orders=9), LIMITS, "max_open_orders"),
        (_intent(), FLAT, evolve(LIMITS, open_orders=1), "max_open_orders"),
        (_intent(), FLAT, evolve(LIMITS, total_notional=Decimal(1919)), "max_total_notional"),
        (_intent(), evolve(FLAT, free={}), LIMITS, "balance"),
        (
            _intent(_leg(BINANCE_SPOT, Side.SELL)),
            evolve(FLAT, free={(BINANCE_SPOT, "BTC"): Decimal("0.0159"), (BINANCE_SPOT, "USDT"): Decimal(9999)}),
            LIMITS, "balance",
        ),
        (_intent(_leg()), evolve(FLAT, free={(BINANCE_UM, "USDT"): Decimal(47)}), LIMITS, "balance"),
        (_intent(_leg()), evolve(FLAT, free={(BINANCE_UM, "USDT"): Decimal(48)}), LIMITS, "approved"),
        (_intent(), evolve(FLAT, positions={BINANCE_UM: Decimal("0.07")}), LIMITS, "approved"),
    ],
)  # fmt: skip
def test_each_limit_refuses_by_its_name(intent: Intent, holdings: Holdings, limits: Limits, code: str) -> None:
    assert _code(intent, holdings, limits) == code


def test_a_refusal_says_limit_and_value_and_where() -> None:
    verdict = check_intent(
        _intent(), INSTRUMENTS, evolve(FLAT, positions={BINANCE_SPOT: Decimal("0.08")}), LIMITS
    )
    assert isinstance(verdict, Refused)
    assert (verdict.code, verdict.limit, verdict.value) == ("max_position", "5000.00", "5760.00")
    assert verdict.message.startswith("binance-spot BTCUSDT: ")


@pytest.mark.parametrize("bad", ["NaN", "sNaN", "Infinity", "-Infinity", "0", "-0.016"])
@pytest.mark.parametrize("field", ["qty", "limit_price"])
@pytest.mark.parametrize("purpose", Purpose)
def test_what_is_no_amount_is_refused_and_never_raises(bad: str, field: str, purpose: Purpose) -> None:
    intent = _intent(_leg(**{field: Decimal(bad)}), purpose=purpose)
    assert _code(intent) == "not_finite"


@pytest.mark.parametrize("bad", ["NaN", "sNaN", "Infinity", "-Infinity", "-1"])
@pytest.mark.parametrize("field", ["order_notional", "position", "total_notional"])
def test_a_limit_is_a_finite_number(bad: str, field: str) -> None:
    with pytest.raises(ValueError, match="finite"):
        evolve(LIMITS, **{field: Decimal(bad)})


@pytest.mark.parametrize("purpose", [Purpose.CLOSE, Purpose.HEDGE, Purpose.UNWIND])
def test_what_reduces_is_not_kept_from_reducing(purpose: Purpose) -> None:
    """Beyond every limit, with nothing free: refusing would keep the risk on."""
    full = evolve(FLAT, positions={BINANCE_UM: Decimal(-5), BINANCE_SPOT: Decimal(5)}, free={}, open_orders=99)
    intent = _intent(_leg(BINANCE_SPOT, Side.SELL), _leg(BINANCE_UM, Side.BUY, reduce_only=True), purpose=purpose)
    assert _code(intent, full) == "approved"


@pytest.mark.parametrize(
    ("held", "qty", "mark", "code"),
    [
        ("-0.016", "0.016", 60_000, "approved"),
        ("0", "0.016", 60_000, "approved"),  # within the order cap: what is held may not be known yet
        ("-0.1", "0.1", 60_000, "approved"),  # more than the cap, and held
        ("-0.1", "0.102", 60_000, "approved"),  # the fee on top
        ("-0.016", "0.016", 90_000, "approved"),  # its price has risen above the cap
        ("-0.016", "16", 60_000, "order_notional"),
        ("0.1", "0.1", 60_000, "order_notional"),  # held on the other side
    ],
)
def test_more_than_is_held_is_closed_only_within_the_order_cap(held: str, qty: str, mark: int, code: str) -> None:
    price = Decimal(mark)
    holdings = evolve(FLAT, positions={BINANCE_UM: Decimal(held)}, marks={BINANCE_UM: price, BINANCE_SPOT: price})
    leg = _leg(qty=Decimal(qty), limit_price=price, reduce_only=True)
    assert _code(_intent(leg, purpose=Purpose.CLOSE), holdings) == code


def test_reduce_only_is_exempt_from_the_venues_smallest_order() -> None:
    small = _leg(qty=Decimal("0.001"))
    assert _code(_intent(small, purpose=Purpose.CLOSE)) == "order_minimum"
    assert _code(_intent(evolve(small, reduce_only=True), purpose=Purpose.CLOSE)) == "approved"


QTYS = st.decimals(Decimal("-0.05"), Decimal("0.05"), places=5)
PRICES = st.decimals(Decimal(50_000), Decimal(70_000), places=1)
SIZES = st.decimals(Decimal("0.001"), Decimal("0.03"), places=5)
LEGS = st.lists(
    st.tuples(st.sampled_from([BINANCE_UM, BINANCE_SPOT]), st.sampled_from(Side), SIZES, PRICES),
    min_size=1, max_size=2, unique_by=lambda leg: leg[0],
)  # fmt: skip
HOLDINGS = st.builds(
    lambda um, spot, mark, quote, base, resting: Holdings(
        {BINANCE_UM: um, BINANCE_SPOT: spot},
        {(BINANCE_UM, "USDT"): quote, (BINANCE_SPOT, "USDT"): quote, (BINANCE_SPOT, "BTC"): base},
        {BINANCE_UM: mark, BINANCE_SPOT: mark}, resting,
    ),
    QTYS, QTYS, PRICES, st.decimals(500, 5000, places=2), st.decimals(0, Decimal("0.1"), places=5), st.integers(0, 6),
)  # fmt: skip
CAPS = st.builds(
    Limits, st.decimals(500, 3000, places=0), st.decimals(500, 6000, places=0), st.decimals(1000, 12_000, places=0),
    st.integers(0, 12),
)  # fmt: skip


@given(LEGS, HOLDINGS, CAPS)
@example(
    [(BINANCE_UM, Side.SELL, Decimal("0.01"), MARK), (BINANCE_SPOT, Side.BUY, Decimal("0.01"), MARK)], FLAT, LIMITS
)
def test_an_approved_opening_breaks_no_cap(
    chosen: list[tuple[VenueId, Side, Decimal, Decimal]], holdings: Holdings, limits: Limits
) -> None:
    """Recomputed here from the venue's point of view."""
    legs = [_leg(venue, side, qty=qty, limit_price=price) for venue, side, qty, price in chosen]
    if not isinstance(check_intent(_intent(*legs), INSTRUMENTS, holdings, limits), Approved):
        return
    after = dict.fromkeys(INSTRUMENTS, ZERO) | dict(holdings.positions)
    for leg in legs:
        assert leg.limit_price is not None
        worth = leg.qty * leg.limit_price
        assert worth <= limits.order_notional * Decimal("1.05")
        assert worth >= INSTRUMENTS[leg.venue].notional_min
        after[leg.venue] += leg.qty if leg.side is Side.BUY else -leg.qty
        assert abs(after[leg.venue]) * holdings.marks[leg.venue] <= limits.position
        if leg.venue == BINANCE_SPOT:
            spent, asset = (worth, "USDT") if leg.side is Side.BUY else (leg.qty, "BTC")
            assert spent <= holdings.free[(BINANCE_SPOT, asset)]
    assert sum((abs(qty) * holdings.marks[venue] for venue, qty in after.items()), ZERO) <= limits.total_notional
    assert holdings.open_orders + len(legs) <= limits.open_orders


@pytest.mark.parametrize(("sent", "refused"), [(0, False), (298, False), (299, True), (600, True)])
def test_opening_ends_at_half_of_the_orders_that_the_breaker_allows(sent: int, refused: bool) -> None:
    limits = evolve(LIMITS, orders_per_min=600)
    verdict = check_intent(_intent(), INSTRUMENTS, evolve(FLAT, orders_last_minute=sent), limits)
    assert isinstance(verdict, Refused) is refused
    if isinstance(verdict, Refused):
        assert (verdict.code, verdict.limit, verdict.value) == ("order_rate", "300", str(sent + 2))
