"""The one line that says why a HOLD is one, and the timestamps in it and everywhere."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from propbot.domain.clock import iso_utc
from propbot.domain.mode import CancelResult, Cause, HoldRecord

AT_NS = 1_795_403_529_123_999_999
"""2026-11-23T03:12:09.123999999Z."""
FIRST = Cause("binance-um BTCUSDT ledger 0.012, venue 0.010", "guard:recon", AT_NS)


def test_the_line_is_the_designs() -> None:
    record = HoldRecord((FIRST,), CancelResult(left=0, seconds=0.2))
    expected = "HOLD since 03:12:09Z by guard:recon: binance-um BTCUSDT ledger 0.012, venue 0.010; 0 orders left"
    assert record.line() == expected


def test_before_the_venues_answered_the_line_claims_nothing_about_orders() -> None:
    assert HoldRecord((FIRST,)).line().endswith("; open orders being read back")


def test_later_causes_do_not_change_who_held_first() -> None:
    later = evolve(FIRST, reason="stop", source="shutdown", since_ns=AT_NS + 10**9)
    assert HoldRecord((FIRST, later)).line() == HoldRecord((FIRST,)).line()


def test_a_hold_without_a_cause_can_not_be_made() -> None:
    with pytest.raises(ValueError, match="without a cause"):
        HoldRecord(())


def test_a_timestamp_is_cut_to_milliseconds_not_rounded_up() -> None:
    assert iso_utc(AT_NS) == "2026-11-23T03:12:09.123Z"
    assert iso_utc(0) == "1970-01-01T00:00:00.000Z"


@given(st.integers(min_value=0, max_value=4_000_000_000 * 10**9))
def test_a_timestamp_reads_back_as_the_same_millisecond(wall_ns: int) -> None:
    stamp = datetime.fromisoformat(iso_utc(wall_ns))
    whole_ms = round((stamp - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)
    assert whole_ms == wall_ns // 1_000_000


@given(st.integers(min_value=0, max_value=4_000_000_000 * 10**9), st.integers(min_value=0, max_value=10**18))
def test_later_timestamps_sort_later_as_text(wall_ns: int, by_ns: int) -> None:
    assert iso_utc(wall_ns) <= iso_utc(min(wall_ns + by_ns, 4_000_000_000 * 10**9 + 10**9)) or by_ns == 0
