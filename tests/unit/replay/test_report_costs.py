"""Where a lot's realised P&L came from: the parts add up to the ledger's amount, however the lot went."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM
from propbot.domain.lots import FillRow, Lot, LotState
from propbot.domain.orders import Fill, Purpose, Side
from propbot.domain.pnl import lot_realised
from propbot.replay.report.costs import Phase, price_fills
from propbot.replay.report.lots import LotLine, lot_lines, sum_up
from propbot.replay.report.reading import Decision, Recorded, read_folder
from tests.unit.replay.made_up import HEAD, ORIGIN_NS, SPOT, UM, busy_replay

D = Decimal


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    busy_replay().write(tmp_path)
    return read_folder(tmp_path, HEAD.venues, simulated=False)


@pytest.fixture
def lines(recorded: Recorded) -> Sequence[LotLine]:
    return lot_lines(recorded)


def test_the_parts_of_every_closed_lot_add_up_to_what_the_ledger_has(lines: Sequence[LotLine]) -> None:
    checked = [line for line in lines if line.closed and line.costs is not None]
    assert [line.number for line in checked] == [1, 2, 3, 4]
    for line in checked:
        assert line.costs is not None
        assert line.lot.realised is not None
        assert abs(line.costs.realised - line.lot.realised) < D("1e-8"), line.number


def test_slippage_is_a_cost_where_positive_and_is_told_by_phase(lines: Sequence[LotLine]) -> None:
    costs = lines[0].costs
    assert costs is not None
    assert (costs.gross, costs.slippage_entry, costs.slippage_exit) == (D("0.32"), D("0.016"), D("-0.016"))
    assert (costs.hedging, costs.fees, costs.dust) == (0, 0, 0)
    buy, sell, out_sell, out_buy = lines[0].legs
    assert (buy.phase, buy.venue, buy.side, buy.decision_price, buy.fill_price) == (
        Phase.ENTRY, UM, Side.BUY, D(60000), D(60001)
    )
    assert buy.slippage == D("0.016")
    assert buy.slippage_bps is not None
    assert round(buy.slippage_bps, 3) == D("0.167")
    assert (sell.slippage, out_sell.slippage, out_buy.slippage) == (0, 0, D("-0.016"))


def test_a_hedge_is_held_against_the_price_of_the_leg_that_missed(lines: Sequence[LotLine]) -> None:
    costs = lines[1].costs
    assert costs is not None
    assert (costs.hedging, costs.slippage_entry, costs.slippage_exit) == (D("0.128"), 0, 0)
    hedged = next(leg for leg in lines[1].legs if leg.hedged_qty)
    assert (hedged.phase, hedged.venue, hedged.side, hedged.slippage) == (Phase.ENTRY, UM, Side.SELL, D("0.128"))


def test_dust_is_small_and_named_where_fees_are_taken_in_base(lines: Sequence[LotLine]) -> None:
    costs = lines[2].costs
    assert costs is not None
    assert 0 < abs(costs.dust) < D("0.0001")
    assert costs.fees == D("0.51") + D("0.000002") * 60001 + D("0.0000012") * 60003
    entry = lines[2].legs[0]
    assert (entry.fills, entry.qty) == (2, D("0.01601"))
    assert entry.fill_price == (D("0.01") * 60001 + D("0.00601") * 60003) / D("0.01601")


def test_an_unwound_lot_made_no_spread_and_lost_what_unwinding_cost(lines: Sequence[LotLine]) -> None:
    costs = lines[3].costs
    assert costs is not None
    assert (costs.gross, costs.hedging, costs.slippage_entry) == (0, D("0.16"), 0)
    assert lines[3].lot.realised == D("-0.16")


def test_a_lot_that_did_not_fill_is_none_and_an_open_one_has_no_result(lines: Sequence[LotLine]) -> None:
    missed, still_open = lines[4], lines[5]
    assert not missed.filled
    assert missed.costs is None
    assert [(leg.fills, leg.decision_price) for leg in missed.legs] == [(0, D(60000)), (0, D(60040))]
    assert still_open.filled
    assert (still_open.closed, still_open.lot.realised, still_open.held_s) == (False, None, None)
    assert still_open.costs is not None
    assert still_open.costs.slippage_entry == D("0.032")


def test_skew_is_the_sell_leg_after_the_buy_leg(lines: Sequence[LotLine]) -> None:
    plain, hedged = lines[0], lines[1]
    assert plain.entry_skew.trade_ms == pytest.approx(2)  # bought on the first venue, sold two milliseconds later
    assert plain.exit_skew.trade_ms == pytest.approx(-2)  # now the first venue sells
    assert hedged.entry_skew.trade_ms == pytest.approx(15)  # the hedge's trade counts as its leg's
    assert hedged.entry_skew.arrival_ms == 0
    assert lines[3].exit_skew.trade_ms is None


def test_sums_leave_out_what_never_filled(lines: Sequence[LotLine]) -> None:
    totals = sum_up(lines)
    assert (totals.opened, totals.closed, totals.still_open, totals.not_filled, totals.won) == (5, 4, 1, 1, 2)
    assert totals.realised == sum(line.lot.realised for line in lines if line.lot.realised is not None)
    assert totals.slippage == sum(line.costs.slippage for line in lines if line.costs is not None)
    assert totals.skews_ms == tuple(sorted(totals.skews_ms))


def test_the_wall_clock_at_virtual_zero_is_found_exactly(recorded: Recorded, lines: Sequence[LotLine]) -> None:
    assert recorded.origin_ns == ORIGIN_NS
    assert [line.opened_s for line in lines] == pytest.approx([2, 4, 5, 6, 7, 8])


prices = st.decimals("100", "70000", places=2)
amounts = st.decimals("0.001", "2", places=5)
one_fill = st.tuples(
    st.sampled_from([UM, SPOT]), st.sampled_from(list(Side)), st.sampled_from(list(Purpose)), amounts, prices,
    st.decimals("0", "0.0009", places=7), st.sampled_from(["USDT", "BTC", "BNB"]),
)


@given(fills=st.lists(one_fill, max_size=12), decided=st.lists(prices, min_size=4, max_size=4))
def test_the_parts_add_up_after_any_fills(fills: list[tuple], decided: list[Decimal]) -> None:
    lot = Lot("lot-1", "BTCUSDT", LotState.CLOSED, UM, SPOT, D(1), 0, D(1), D(0))
    rows = [
        FillRow(
            Fill(venue, "BTCUSDT", "o", "pb", str(i), side, qty, price, fee, asset, "taker", i), "lot-1", purpose, 0
        )
        for i, (venue, side, purpose, qty, price, fee, asset) in enumerate(fills)
    ]
    decisions = [
        Decision("lot-1", Purpose.OPEN, 0.0, 0, {(UM, Side.BUY): decided[0], (SPOT, Side.SELL): decided[1]}),
        Decision("lot-1", Purpose.CLOSE, 1.0, 1, {(UM, Side.SELL): decided[2], (SPOT, Side.BUY): decided[3]}),
    ]
    costs = price_fills(lot, rows, decisions, {}).costs()
    assert costs is not None
    assert abs(costs.realised - lot_realised(rows)) < D("1e-8")


def test_nothing_is_said_of_costs_where_nothing_was_decided() -> None:
    lot = Lot("lot-1", "BTCUSDT", LotState.CLOSED, BINANCE_UM, BINANCE_SPOT, D(1), 0, D(1), D(0))
    fill = Fill(UM, "BTCUSDT", "o", "pb", "1", Side.BUY, D(1), D(100), D(0), "USDT", "taker", 0)
    priced = price_fills(lot, [FillRow(fill, "lot-1", Purpose.OPEN, 0)], (), {})
    assert priced.costs() is None
    assert priced.legs()[0].slippage is None
