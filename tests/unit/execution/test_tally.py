"""What counts as a venue's no, and what ends a row of them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from propbot.domain.errors import (
    AccessRefused,
    ClockRefused,
    ConnectFailed,
    OrderNotFound,
    OutcomeUnknown,
    ProtocolViolation,
    RateLimited,
    VenueError,
    VenueRefused,
    VenueRetry,
)
from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM
from propbot.domain.orders import OrderReport, OrderState, Side
from propbot.execution.tally import OrderTally

ONE = Decimal(1)


class Seconds:
    now = 10.0

    def mono_s(self) -> float:
        return self.now

    def wall_ns(self) -> int:
        return 0


def margin() -> VenueError:
    return VenueRefused("binance-um", "margin is insufficient", code=-2019, http_status=400)


def report(state: OrderState) -> OrderReport:
    return OrderReport(BINANCE_UM, "BTCUSDT", "a", "1", Side.BUY, state, Decimal(1), Decimal(0), 1, ())


@pytest.fixture
def tally() -> OrderTally:
    return OrderTally(Seconds())


def test_equal_refusals_are_counted_and_an_order_that_was_taken_ends_the_row(tally: OrderTally) -> None:
    told: list[int] = []
    tally.on_rejection = lambda: told.append(tally.rejections[BINANCE_UM].count)
    for _ in range(3):
        tally.note_error(BINANCE_UM, margin(), 9.5)
    assert told == [1, 2, 3]
    assert tally.rtt_ms.values(10.0) == [500.0] * 3
    tally.note_report(report(OrderState.CANCELED), 9.5)
    assert tally.rejections == {}
    assert tally.rejected.values(10.0) == [1.0, 1.0, 1.0, 0.0]


def test_another_reason_begins_another_row(tally: OrderTally) -> None:
    tally.note_error(BINANCE_UM, margin(), 9.5)
    tally.note_error(BINANCE_UM, VenueRefused("binance-um", "precision", code=-1111, http_status=400), 9.5)
    assert (tally.rejections[BINANCE_UM].what, tally.rejections[BINANCE_UM].count) == ("code -1111", 1)


def test_venues_have_rows_of_their_own(tally: OrderTally) -> None:
    tally.note_error(BINANCE_UM, margin(), 9.5)
    other = OrderReport(BINANCE_SPOT, "BTCUSDT", "b", "2", Side.SELL, OrderState.FILLED, ONE, ONE, 1, ())
    tally.note_report(other, 9.5)
    assert tally.rejections[BINANCE_UM].count == 1


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (AccessRefused("v", "keys", code=-2015, http_status=401), True),
        (ClockRefused("v", "timestamp", code=-1021, http_status=400), True),
        (ProtocolViolation("v", "no such field", http_status=400), True),
        (ProtocolViolation("v", "unreadable", http_status=200), False),
        (RateLimited("v", "slow down", retry_after_s=1.0, code=-1003, http_status=429), False),
        (ConnectFailed("v", "refused"), False),
        (OutcomeUnknown("v", "lost"), False),
    ],
)
def test_only_a_definite_no_of_the_venue_counts(tally: OrderTally, error: VenueError, counts: bool) -> None:
    tally.note_error(BINANCE_UM, error, 9.5)
    assert bool(tally.rejections) is counts


def test_an_order_that_the_venue_reports_as_rejected_counts(tally: OrderTally) -> None:
    tally.note_report(report(OrderState.REJECTED), 9.5)
    assert tally.rejections[BINANCE_UM].count == 1


def test_a_cancel_that_comes_too_late_or_reaches_nobody_is_no_failure(tally: OrderTally) -> None:
    tally.note_cancel(None)
    tally.note_cancel(OrderNotFound("binance-um", "no such order", code=-2011, http_status=400))
    tally.note_cancel(ConnectFailed("binance-um", "refused"))
    tally.note_cancel(RateLimited("binance-um", "not asked", retry_after_s=2.0, code=None, http_status=429))
    tally.note_cancel(VenueRetry("binance-um", "no answer"))
    assert tally.cancel_failed.values(10.0) == [0.0, 0.0, 1.0]
