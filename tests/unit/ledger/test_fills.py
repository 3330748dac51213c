"""Fills: exactly once, whoever brings them and in whatever order; those of others apart."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM
from propbot.domain.orders import OrderState, Side
from propbot.ledger import Booked, Ledger


async def test_a_fill_that_comes_again_is_booked_once(ledger: Ledger, make: Any) -> None:
    await ledger.commit_intent(make.intent())
    first = await ledger.book_fills([make.fill(), make.fill()])
    assert [row.fill for row in first.new] == [make.fill()]
    assert await ledger.book_fills([make.fill(client_order_id="")]) == Booked()
    assert len(await ledger.all_fills()) == 1


async def test_one_trade_id_may_belong_to_two_orders(ledger: Ledger, make: Any) -> None:
    await ledger.commit_intent(make.intent(make.order("pb1"), make.order("pb2")))
    booked = await ledger.book_fills([make.fill(), make.fill(client_order_id="pb2", order_id="901")])
    assert len(booked.new) == 2


async def test_a_fill_before_the_ack_teaches_the_order_its_venue_id(ledger: Ledger, make: Any) -> None:
    await ledger.commit_intent(make.intent())
    await ledger.book_fills([make.fill("7"), make.fill("8", qty=Decimal("0.006"))])
    row = await ledger.order("pb1")
    assert row is not None
    assert (row.state, row.order_id, row.filled_qty) == (OrderState.INTENT, "900", Decimal("0.010"))
    after = await ledger.record_order("pb1", OrderState.SENT)
    assert (after.state, after.filled_qty) == (OrderState.SENT, Decimal("0.010"))


async def test_a_fill_without_client_id_is_ours_by_the_venues_order_id(ledger: Ledger, make: Any) -> None:
    await ledger.commit_intent(make.intent())
    await ledger.record_order("pb1", OrderState.FILLED, order_id="900", filled_qty=Decimal("0.004"))
    booked = await ledger.book_fills([make.fill(client_order_id="")])
    assert [row.fill.client_order_id for row in booked.new] == ["pb1"]
    assert await ledger.orders_missing_fills() == ()


async def test_a_nameless_fill_waits_while_an_order_of_ours_may_be_its_own(ledger: Ledger, make: Any) -> None:
    await ledger.commit_intent(make.intent())
    nameless = make.fill(client_order_id="")
    assert await ledger.book_fills([nameless]) == Booked(unplaced=(nameless,))
    assert await ledger.last_trade_id(BINANCE_UM, "BTCUSDT") is None
    await ledger.record_order("pb1", OrderState.WORKING, order_id="900")
    assert len((await ledger.book_fills([nameless])).new) == 1


async def test_a_fill_of_nobody_we_know_is_foreign_and_reported_once(ledger: Ledger, make: Any) -> None:
    await ledger.commit_intent(make.intent())
    foreign = make.fill("99", client_order_id="web_1", order_id="5")
    other_side = make.fill("98", client_order_id="", order_id="6", side=Side.SELL)
    booked = await ledger.book_fills([foreign, other_side])
    assert booked == Booked(foreign=(foreign, other_side))
    assert await ledger.book_fills([foreign]) == Booked()
    assert await ledger.foreign_fills() == (foreign, other_side)
    assert await ledger.all_fills() == ()
    assert await ledger.last_trade_id(BINANCE_UM, "BTCUSDT") == 99


async def test_a_second_order_under_our_client_id_is_not_ours(ledger: Ledger, make: Any) -> None:
    await ledger.commit_intent(make.intent())
    await ledger.record_order("pb1", OrderState.FILLED, order_id="900")
    again = make.fill(order_id="901")
    assert (await ledger.book_fills([again])).foreign == (again,)


async def test_our_client_id_at_another_venue_is_not_ours(ledger: Ledger, make: Any) -> None:
    await ledger.commit_intent(make.intent())
    elsewhere = make.fill(venue=BINANCE_SPOT)
    assert (await ledger.book_fills([elsewhere])).foreign == (elsewhere,)


async def test_a_correction_that_names_the_order_adopts_its_fills(ledger: Ledger, make: Any) -> None:
    await ledger.commit_intent(make.intent())
    await ledger.record_order("pb1", OrderState.NEVER_SENT)
    nameless = make.fill(client_order_id="")
    assert (await ledger.book_fills([nameless])).foreign == (nameless,)
    await ledger.record_order("pb1", OrderState.PARTIAL, order_id="900", correction=True)
    (row,) = await ledger.all_fills()
    assert (row.fill.client_order_id, row.lot_id) == ("pb1", "lot-1")
    assert await ledger.foreign_fills() == ()


async def test_a_named_fill_brings_the_nameless_ones_of_its_order_along(ledger: Ledger, make: Any) -> None:
    await ledger.commit_intent(make.intent())
    await ledger.record_order("pb1", OrderState.NEVER_SENT)
    await ledger.book_fills([make.fill("7", client_order_id="")])
    booked = await ledger.book_fills([make.fill("8")])
    assert {row.fill.trade_id for row in booked.new} == {"7", "8"}
    row = await ledger.order("pb1")
    assert row is not None
    assert row.filled_qty == Decimal("0.008")


async def test_a_fill_of_an_order_that_ended_without_one_is_booked_and_journalled(ledger: Ledger, make: Any) -> None:
    await ledger.commit_intent(make.intent())
    await ledger.record_order("pb1", OrderState.CANCELED)
    assert len((await ledger.book_fills([make.fill()])).new) == 1
    event = (await ledger.events_page(10))[0][0]
    assert (event.kind, event.level, event.details["trade_id"]) == ("late_fill", "ERROR", "7")


async def test_the_watermark_is_the_highest_number_not_the_last_text(ledger: Ledger, make: Any) -> None:
    await ledger.commit_intent(make.intent())
    await ledger.book_fills([make.fill("99"), make.fill("100"), make.fill("20"), make.fill("not-a-number")])
    assert await ledger.last_trade_id(BINANCE_UM, "BTCUSDT") == 100
    assert await ledger.last_trade_id(BINANCE_SPOT, "BTCUSDT") is None
    assert await ledger.last_trade_id(BINANCE_UM, "ETHUSDT") is None
