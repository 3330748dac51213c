"""What needs two people, that a change is written down whole, and what breaks its bond."""

from __future__ import annotations

from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propbot.control.modes import ModeView
from propbot.control.two_man import Bond, change_of, digest_change, digest_settings, needs_second_person, patch_of
from propbot.domain.approvals import canonical_change
from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM
from propbot.domain.mode import Cause, HoldRecord, Mode
from propbot.risk.limits import Limits
from propbot.status.desk import ControlPatch

HELD = HoldRecord((Cause("x", "startup", 0),))
FLAGS = (None, True, False)


@pytest.mark.parametrize("mode", Mode)
def test_only_what_loosens_needs_a_second_person(mode: Mode) -> None:
    hold = HELD if mode is Mode.HOLD else None
    for asked, safe, dry, is_safe, is_dry in product((None, *Mode), FLAGS, FLAGS, (True, False), (True, False)):
        loosens = mode is Mode.HOLD and asked in (Mode.RUN, Mode.DRAIN)
        loosens = loosens or (safe is False and is_safe) or (dry is False and is_dry)
        patch = ControlPatch(mode=asked, safe_mode=safe, dry_run_only=dry)
        assert needs_second_person(patch, ModeView(mode, is_safe, is_dry, hold)) is loosens


amounts = st.decimals(min_value=0, max_value=10**6, allow_nan=False, places=6)
patches = st.builds(
    ControlPatch,
    mode=st.sampled_from([None, Mode.RUN, Mode.DRAIN]),
    reason=st.text(max_size=20),
    safe_mode=st.sampled_from(FLAGS),
    dry_run_only=st.sampled_from(FLAGS),
    order_notional_usdt=st.none() | amounts,
    min_spread_bps=st.none() | amounts,
    max_slippage_bps=st.none() | amounts,
    poll_interval_sec=st.none() | st.floats(0.05, 60),
    loop_pair=st.none() | st.just("BTCUSDT"),
    loop_venues=st.none() | st.just((BINANCE_UM, BINANCE_SPOT)),
    drain_timeout_sec=st.none() | st.floats(1, 3600),
)


@given(patches)
def test_what_is_approved_is_exactly_what_was_proposed(patch: ControlPatch) -> None:
    import json

    assert patch_of(json.loads(canonical_change(change_of(patch)))) == patch


def test_a_hold_is_no_part_of_a_proposal() -> None:
    assert change_of(ControlPatch(mode=Mode.HOLD, reason="now", safe_mode=False)) == {"safe_mode": False}


def test_the_digest_moves_with_every_limit_and_with_the_change() -> None:
    limits = Limits(Decimal(1000), Decimal(5000), Decimal(20000), 10)
    seen = {digest_settings(limits=limits, drain=60.0)}
    assert digest_settings(drain=60.0, limits=limits) in seen, "not with the order of the names"
    changed: list[dict[str, Any]] = [
        {"limits": Limits(Decimal(1001), Decimal(5000), Decimal(20000), 10), "drain": 60.0},
        {"limits": Limits(Decimal(1000), Decimal(5000), Decimal(20000), 11), "drain": 60.0},
        {"limits": limits, "drain": 61.0},
    ]
    for groups in changed:
        seen.add(digest_settings(**groups))
    assert len(seen) == 4
    assert digest_change('{"mode":"RUN"}', "s") != digest_change('{"mode":"DRAIN"}', "s")


def test_a_bond_breaks_with_a_hold_a_mode_or_a_setting() -> None:
    bond = Bond(1, 0, Mode.HOLD, "d")
    assert bond.broken_by(Bond(1, 0, Mode.HOLD, "d")) == ""
    assert "HOLD came" in bond.broken_by(Bond(2, 0, Mode.HOLD, "d"))
    assert "safe_mode or dry_run_only" in bond.broken_by(Bond(1, 1, Mode.HOLD, "d"))
    assert "mode changed to RUN" in bond.broken_by(Bond(1, 0, Mode.RUN, "d"))
    assert "limits or parameters" in bond.broken_by(Bond(1, 0, Mode.HOLD, "e"))
