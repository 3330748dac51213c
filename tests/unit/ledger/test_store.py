"""What goes into the ledger comes out of it, exactly and once."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve

from propbot.domain.errors import LedgerError, TransitionRefused
from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM
from propbot.domain.lots import LotState
from propbot.domain.orders import Funding, OrderState, Purpose, Side, TimeInForce
from propbot.kit.crash import CrashPoints
from propbot.ledger import Ledger


async def test_an_intent_brings_its_orders_and_its_lot(ledger: Ledger, make: Any) -> None:
    spot = make.order("pb2", venue=BINANCE_SPOT, side=Side.SELL, limit_price=None, time_in_force=TimeInForce.FOK)
    perp = make.order("pb1", reduce_only=True)
    await ledger.commit_intent(make.intent(perp, spot), make.lot())
    rows = await ledger.unfinished_orders()
    assert [row.request for row in rows] == [perp, spot]
    assert {row.state for row in rows} == {OrderState.INTENT}
    assert {(row.intent_id, row.lot_id, row.order_id) for row in rows} == {("intent-pb1", "lot-1", "")}
    assert await ledger.live_lots() == (make.lot(),)


async def test_amounts_come_back_exactly_whatever_their_digits(ledger: Ledger, make: Any) -> None:
    qty = Decimal("123456789012345.000000000000000000012")
    await ledger.save_lot(make.lot(qty=qty, entry_bps=Decimal("1E-9"), realised=Decimal("-0.1")))
    (lot,) = await ledger.live_lots()
    assert (lot.qty, lot.entry_bps, lot.realised) == (qty, Decimal("0.000000001"), Decimal("-0.1"))


async def test_everything_is_there_after_opening_again(open_at: Any, make: Any) -> None:
    async with open_at() as first:
        await first.commit_intent(make.intent(), make.lot())
        await first.book_fills([make.fill()])
        await first.meta_put("key", "value")
    async with open_at() as second:
        assert [row.fill for row in await second.all_fills()] == [make.fill()]
        assert await second.meta_get("key") == "value"
        assert await second.meta_get("other") is None


async def test_a_lot_is_overwritten_by_its_id_and_keeps_its_place(ledger: Ledger, make: Any) -> None:
    await ledger.save_lot(make.lot("lot-1"))
    await ledger.save_lot(make.lot("lot-2"))
    closed = make.lot("lot-1", state=LotState.CLOSED, closed_ns=5, realised=Decimal("1.5"), exit_reason="edge")
    await ledger.save_lot(closed)
    assert [lot.id for lot in await ledger.live_lots()] == ["lot-2"]
    items, cursor = await ledger.lots_page(10)
    assert (items, cursor) == ((make.lot("lot-2"), closed), None)


async def test_an_order_moves_forward_and_keeps_what_it_learned(ledger: Ledger, make: Any) -> None:
    await ledger.commit_intent(make.intent())
    await ledger.record_order("pb1", OrderState.SENT)
    row = await ledger.record_order("pb1", OrderState.PARTIAL, order_id="900", filled_qty=Decimal("0.004"))
    assert (row.state, row.order_id, row.filled_qty) == (OrderState.PARTIAL, "900", Decimal("0.004"))
    assert await ledger.unfinished_orders() == ()
    assert [missing.request.client_order_id for missing in await ledger.orders_missing_fills()] == ["pb1"]


async def test_old_news_changes_no_state_but_may_bring_the_venue_id(ledger: Ledger, make: Any) -> None:
    await ledger.commit_intent(make.intent())
    await ledger.record_order("pb1", OrderState.FILLED, filled_qty=Decimal("0.010"))
    row = await ledger.record_order("pb1", OrderState.WORKING, order_id="900", filled_qty=Decimal("0.004"))
    assert (row.state, row.order_id, row.filled_qty) == (OrderState.FILLED, "900", Decimal("0.010"))


async def test_the_same_state_again_writes_nothing(ledger: Ledger, make: Any) -> None:
    await ledger.commit_intent(make.intent())
    first = await ledger.record_order("pb1", OrderState.CANCELED, reason="expired")
    assert await ledger.record_order("pb1", OrderState.CANCELED, reason="other words") == first


async def test_a_terminal_state_changes_only_by_a_journalled_correction(ledger: Ledger, make: Any) -> None:
    await ledger.commit_intent(make.intent())
    await ledger.record_order("pb1", OrderState.NEVER_SENT)
    with pytest.raises(TransitionRefused, match="NEVER_SENT does not become FILLED without a correction"):
        await ledger.record_order("pb1", OrderState.FILLED)
    row = await ledger.record_order(
        "pb1", OrderState.FILLED, filled_qty=Decimal("0.010"), reason="the venue has it", correction=True
    )
    assert row.state is OrderState.FILLED
    event = (await ledger.events_page(10))[0][0]
    assert (event.kind, event.details["from"], event.details["to"]) == ("order_correction", "NEVER_SENT", "FILLED")
    assert ledger.health.failed is None


async def test_an_order_does_not_change_its_venue_id(ledger: Ledger, make: Any) -> None:
    await ledger.commit_intent(make.intent())
    await ledger.record_order("pb1", OrderState.WORKING, order_id="900")
    with pytest.raises(LedgerError, match="is 900 at binance-um, not 901"):
        await ledger.record_order("pb1", OrderState.FILLED, order_id="901")
    with pytest.raises(LedgerError, match="no order pb9"):
        await ledger.record_order("pb9", OrderState.FILLED)


async def test_a_client_id_enters_only_once(ledger: Ledger, make: Any) -> None:
    await ledger.commit_intent(make.intent())
    with pytest.raises(LedgerError, match="UNIQUE"):
        await ledger.commit_intent(make.intent(id="intent-other"), make.lot())
    assert await ledger.live_lots() == ()


async def test_funding_counts_once_by_its_income_id(ledger: Ledger) -> None:
    funding = Funding(BINANCE_UM, "BTCUSDT", "USDT", Decimal("-0.12"), "77", 5)
    assert [await ledger.book_funding(funding), await ledger.book_funding(funding)] == [True, False]
    earlier = evolve(funding, income_id="78", ts_ms=4)
    await ledger.book_funding(earlier)
    assert await ledger.all_funding() == (earlier, funding)


async def test_a_baseline_is_recorded_at_first_contact_only(ledger: Ledger) -> None:
    await ledger.record_baselines({(BINANCE_SPOT, "BTC"): Decimal(2), (BINANCE_SPOT, "USDT"): Decimal("100000.00")})
    await ledger.record_baselines({(BINANCE_SPOT, "BTC"): Decimal(3), (BINANCE_UM, "USDT"): Decimal(1)})
    assert await ledger.baselines() == {
        (BINANCE_SPOT, "BTC"): Decimal(2),
        (BINANCE_SPOT, "USDT"): Decimal(100000),
        (BINANCE_UM, "USDT"): Decimal(1),
    }


async def test_simulated_rows_stay_out_of_the_accounts(ledger: Ledger, make: Any) -> None:
    await ledger.commit_intent(make.intent(simulated=True), make.lot(simulated=True))
    booked = await ledger.book_fills([make.fill()])
    assert [row.simulated for row in booked.new] == [True]
    assert await ledger.all_fills() == ()
    assert await ledger.live_lots() == ()
    assert await ledger.unfinished_orders() == ()
    assert await ledger.last_trade_id(BINANCE_UM, "BTCUSDT") is None
    assert len(await ledger.all_fills(simulated=True)) == len(await ledger.live_lots(simulated=True)) == 1
    assert len((await ledger.fills_page(5))[0]) == 1


async def test_a_probe_is_a_write_and_is_measured(ledger: Ledger) -> None:
    assert ledger.health.last_write_s is None
    await ledger.probe()
    assert ledger.health.last_write_s == ledger.health.slowest_write_s
    assert ledger.health.last_write_at_s is not None
    assert (ledger.waiting_s, ledger.backlog) == (0.0, 0)


async def test_a_closed_ledger_says_so(open_at: Any) -> None:
    async with open_at() as ledger:
        pass
    with pytest.raises(LedgerError, match="closed"):
        await ledger.probe()


@pytest.mark.parametrize("point", ["intent-commit:before", "intent-commit:after"])
async def test_crash_points_surround_the_commit(open_at: Any, make: Any, point: str) -> None:
    class Killed(Exception):
        pass

    def kill() -> None:
        raise Killed

    async with open_at(crash=CrashPoints(point, kill)) as ledger:
        with pytest.raises(Killed):
            await ledger.commit_intent(make.intent())
        assert len(await ledger.unfinished_orders()) == (point == "intent-commit:after")


async def test_fills_of_a_lot_are_found_by_it(ledger: Ledger, make: Any) -> None:
    await ledger.commit_intent(make.intent(make.order("pb1")))
    await ledger.commit_intent(make.intent(make.order("pb2", purpose=Purpose.CLOSE), lot_id="lot-2"))
    await ledger.book_fills([make.fill(), make.fill("8", client_order_id="pb2", order_id="901")])
    (row,) = await ledger.lot_fills("lot-2")
    assert (row.fill.trade_id, row.purpose, row.lot_id) == ("8", Purpose.CLOSE, "lot-2")


async def test_a_baseline_moves_with_its_event_and_what_belongs_to_it_or_not_at_all(ledger: Ledger) -> None:
    await ledger.record_baselines({(BINANCE_UM, "BTC"): Decimal(0)})
    event = await ledger.move_baseline(
        BINANCE_UM, "BTC", Decimal("0.05"), reason="by hand", source="operator:ann", symbol="BTCUSDT",
        meta={"cost_gap:binance-um": "3"},
    )  # fmt: skip
    assert await ledger.baselines() == {(BINANCE_UM, "BTC"): Decimal("0.05")}
    assert await ledger.meta_get("cost_gap:binance-um") == "3"
    assert (event.kind, event.source, event.venue) == ("baseline", "operator:ann", "binance-um")
    assert event.details == {"asset": "BTC", "old": "0", "new": "0.05"}
    assert event.message == "baseline of binance-um BTC: 0 -> 0.05: by hand"
    with pytest.raises(LedgerError, match="never met"):
        await ledger.move_baseline(
            BINANCE_SPOT, "BTC", Decimal(1), reason="x", source="operator:ann", symbol="", meta={"a": "b"}
        )
    assert await ledger.meta_get("a") is None
    assert len((await ledger.events_page(10))[0]) == 2, "the first baseline, and its move"
