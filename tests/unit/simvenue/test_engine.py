"""Matching, refusals, queues and taken liquidity, as tables over one small book."""

from __future__ import annotations

from decimal import Decimal as D

import pytest

from propbot.domain.orders import Side
from propbot.simvenue.records import AccountMoved, OrderChanged, Refusal, Refused, SimStatus, SimTif

BUY, SELL = Side.BUY, Side.SELL
IOC, GTC, FOK, POST_ONLY = SimTif.IOC, SimTif.GTC, SimTif.FOK, SimTif.POST_ONLY


@pytest.mark.parametrize(
    ("side", "qty", "price", "trades", "status"),
    [
        (BUY, "0.3", "60000.10", [("60000.10", "0.3")], SimStatus.FILLED),
        (BUY, "0.8", "60001.00", [("60000.10", "0.5"), ("60001.00", "0.3")], SimStatus.FILLED),
        (BUY, "0.8", "60000.50", [("60000.10", "0.5")], SimStatus.EXPIRED),
        (BUY, "0.8", "59999.00", [], SimStatus.EXPIRED),
        (SELL, "1.5", "59999.00", [("60000.00", "1"), ("59999.00", "0.5")], SimStatus.FILLED),
        (SELL, "1.5", "60000.00", [("60000.00", "1")], SimStatus.EXPIRED),
        (BUY, "1", None, [("60000.10", "0.5"), ("60001.00", "0.5")], SimStatus.FILLED),
    ],
)
def test_an_ioc_takes_the_visible_levels_within_its_limit_one_trade_each(perp, side, qty, price, trades, status):
    order = perp.place(side, qty, price)
    assert [(trade.price, trade.qty) for trade in order.trades] == [(D(p), D(q)) for p, q in trades]
    assert order.status is status
    assert order.filled_qty == sum((D(q) for _, q in trades), D(0))
    assert order.quote_qty == sum((D(p) * D(q) for p, q in trades), D(0))


def test_an_order_is_told_as_new_then_its_trades_with_the_account_then_its_end(perp):
    perp.place(BUY, "0.8", "60000.50")
    told = [event.what if isinstance(event, OrderChanged) else event.reason for event in perp.events]
    assert told == ["NEW", "TRADE", "ORDER", "EXPIRED"]
    moved = perp.events[2]
    assert isinstance(moved, AccountMoved)
    assert moved.position == ("BTCUSDT", D("0.5"), D("60000.10"))


def test_listeners_hear_of_a_trade_only_once_it_is_stored(perp):
    seen = []
    perp.engine.listen(lambda _: seen.append(len(perp.engine.trades("BTCUSDT"))))
    perp.place(BUY, "0.8", "60001.00")
    assert set(seen) == {2}


def test_what_was_taken_stays_taken_until_the_level_is_updated(perp):
    assert perp.place(BUY, "0.5", "60000.10").filled_qty == D("0.5")
    assert perp.place(BUY, "0.2", "60000.10").filled_qty == 0
    perp.diff([], [("60001.00", "3.000")])  # another level
    assert perp.place(BUY, "0.2", "60000.10").filled_qty == 0
    perp.diff([], [("60000.10", "0.300")])
    assert perp.place(BUY, "0.4", "60000.10").filled_qty == D("0.3")


def test_a_ticker_gives_back_only_a_level_that_it_changes(perp):
    perp.place(BUY, "0.5", "60000.10")
    perp.ticker("60000.00", "0.900", "60000.10", "0.500")  # only the bid is news
    assert perp.place(BUY, "0.2", "60000.10").filled_qty == 0
    perp.ticker("60000.00", "0.900", "60000.10", "0.600")
    assert perp.place(BUY, "0.7", "60000.10").filled_qty == D("0.6")


def test_a_newer_ticker_hides_the_depth_that_is_better_than_it(perp):
    perp.ticker("59999.50", "0.100", "60001.00", "0.700")
    order = perp.place(BUY, "1", "60001.00")
    assert [(trade.price, trade.qty) for trade in order.trades] == [(D("60001.00"), D("0.7"))]
    assert perp.engine.top("BTCUSDT").ask == "60001.00"
    assert perp.engine.depth("BTCUSDT", 1).asks == [("60000.10", "0.500")], "depth says what depth said"


def test_depth_that_is_as_new_as_the_ticker_takes_over(perp):
    perp.ticker("59999.50", "0.100", "60001.00", "0.700")
    perp.last_id -= 1  # the diff that carries the ticker's own id
    perp.diff([("60000.00", "0.000"), ("59999.50", "0.100")], [("60000.10", "0.000"), ("60001.00", "0.800")])
    assert perp.engine.top("BTCUSDT").ask_qty == "0.800"
    assert perp.engine.depth("BTCUSDT", 5).last_id == 101


def test_frames_older_than_the_snapshot_are_no_news(perp):
    perp.last_id = 50
    perp.diff([("60000.00", "0.000")], [])
    perp.ticker("1.00", "1.000", "2.00", "1.000")
    assert perp.engine.top("BTCUSDT").bid == "60000.00"


def test_a_gtc_remainder_rests_and_is_filled_when_the_other_side_comes_to_it(perp):
    order = perp.place(BUY, "0.8", "60000.50", GTC)
    assert order.status is SimStatus.PARTIALLY_FILLED
    perp.ticker("59998.00", "1.000", "60000.30", "0.200")
    assert order.filled_qty == D("0.7")
    last = order.trades[-1]
    assert (last.price, last.qty, last.maker, last.fee) == (D("60000.50"), D("0.2"), True, D(0))
    perp.ticker("59998.00", "1.000", "60000.30", "0.900")
    assert order.status is SimStatus.FILLED
    assert perp.engine.open_orders() == []


def test_a_passive_order_waits_behind_the_queue_that_it_found(perp):
    order = perp.place(BUY, "0.5", "60000.00", GTC)  # 1.0 stands before it
    perp.trade("60000.00", "0.700", buyer_is_maker=True)
    assert order.filled_qty == 0
    perp.trade("60000.00", "0.400", buyer_is_maker=False)  # a buyer meets the asks, not us
    assert order.filled_qty == 0
    perp.trade("60000.00", "0.400", buyer_is_maker=True)
    assert order.filled_qty == D("0.1")
    perp.trade("59999.00", "9.000", buyer_is_maker=True)  # through our price
    assert order.status is SimStatus.FILLED


def test_the_queue_is_never_longer_than_the_level(perp):
    order = perp.place(BUY, "0.5", "60000.00", GTC)
    perp.diff([("60000.00", "0.200")], [])
    perp.trade("60000.00", "0.300", buyer_is_maker=True)
    assert order.filled_qty == D("0.1")


def test_the_better_price_is_filled_first_then_the_older_order(perp):
    low = perp.place(BUY, "0.1", "59999.50", GTC)
    first = perp.place(BUY, "0.1", "59999.60", GTC)
    second = perp.place(BUY, "0.1", "59999.60", GTC)
    perp.ticker("59990.00", "1.000", "59999.00", "0.150")
    assert (first.filled_qty, second.filled_qty, low.filled_qty) == (D("0.1"), D("0.05"), D(0))


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        ((BUY, "0.01", "60000.05"), Refusal.TICK),
        ((BUY, "0.01", "-1.00"), Refusal.TICK),
        ((BUY, "0.0105", "60000.10"), Refusal.STEP),
        ((BUY, "0", "60000.10"), Refusal.QTY),
        ((BUY, "1001", "60000.10"), Refusal.QTY),
        ((BUY, "NaN", "60000.10"), Refusal.QTY),
        ((BUY, "0.001", "60000.10"), Refusal.NOTIONAL),
        ((BUY, "0.001", None), Refusal.NOTIONAL),
        ((BUY, "40", "60000.10"), Refusal.INSUFFICIENT),
        ((BUY, "0.01", "60000.10", POST_ONLY), Refusal.WOULD_MATCH),
        ((BUY, "0.6", "60000.10", FOK), Refusal.FOK_KILLED),
    ],
)
def test_a_refusal_names_its_rule_and_changes_nothing(perp, arguments, refusal):
    before = perp.engine.balances()
    with pytest.raises(Refused) as refused:
        perp.place(*arguments)
    assert refused.value.refusal is refusal
    assert perp.engine.balances() == before
    assert perp.engine.all_orders("BTCUSDT") == []
    assert perp.events == []


def test_a_fillable_fok_fills_whole(perp):
    assert perp.place(BUY, "0.5", "60000.10", FOK).status is SimStatus.FILLED


def test_spot_keeps_a_record_of_a_killed_fok(spot):
    order = spot.place(BUY, "0.6", "60000.10", FOK)
    assert (order.status, order.trades) == (SimStatus.EXPIRED, [])


def test_post_only_rests_when_it_meets_nobody(perp):
    assert perp.place(BUY, "0.01", "60000.00", POST_ONLY).status is SimStatus.NEW


def test_a_client_id_is_unique_among_open_orders_only(perp):
    perp.place(BUY, "0.01", "59000.00", GTC, client_order_id="x")
    with pytest.raises(Refused) as refused:
        perp.place(BUY, "0.01", "59000.00", GTC, client_order_id="x")
    assert refused.value.refusal is Refusal.DUPLICATE_ID
    perp.engine.cancel("BTCUSDT", client_order_id="x")
    again = perp.place(BUY, "0.01", "60000.10", client_order_id="x")
    assert perp.engine.find("BTCUSDT", client_order_id="x").order_id == again.order_id


def test_a_cancel_ends_an_open_order_once(perp):
    order = perp.place(BUY, "0.01", "59000.00", GTC)
    assert perp.engine.cancel("BTCUSDT", order_id=order.order_id).status is SimStatus.CANCELED
    with pytest.raises(Refused) as refused:
        perp.engine.cancel("BTCUSDT", order_id=order.order_id)
    assert refused.value.refusal is Refusal.UNKNOWN_ORDER
    perp.ticker("58000.00", "1.000", "58001.00", "1.000")
    assert order.filled_qty == 0


def test_reduce_only_never_opens_and_is_clipped_to_the_position(perp):
    with pytest.raises(Refused) as refused:
        perp.place(SELL, "0.01", "60000.00", reduce_only=True)
    assert refused.value.refusal is Refusal.REDUCE_ONLY
    perp.place(BUY, "0.3", "60000.10")
    order = perp.place(SELL, "0.5", "60000.00", reduce_only=True)
    assert (order.request.qty, order.status) == (D("0.3"), SimStatus.FILLED)
    assert perp.engine.position("BTCUSDT") == (D(0), D(0))


def test_reduce_only_is_exempt_from_the_smallest_notional(perp):
    perp.place(BUY, "0.002", "60000.10")
    assert perp.place(SELL, "0.001", "60000.00", reduce_only=True).status is SimStatus.FILLED


def test_a_resting_reduce_only_order_ends_with_the_position(perp):
    perp.place(BUY, "0.3", "60000.10")
    resting = perp.place(SELL, "0.3", "60005.00", GTC, reduce_only=True)
    perp.place(SELL, "0.3", "60000.00")
    perp.ticker("60006.00", "1.000", "60007.00", "1.000")
    assert (resting.status, resting.filled_qty) == (SimStatus.EXPIRED, D(0))


def test_the_partial_fill_fault_caps_what_an_ioc_gets(perp):
    order = perp.place(BUY, "0.4", "60000.10", fill_at_most="0.1")
    assert (order.filled_qty, order.status) == (D("0.1"), SimStatus.EXPIRED)


def test_spot_locks_what_rests_and_refuses_what_is_not_free(spot):
    spot.place(SELL, "1.5", "61000.00", GTC)
    assert spot.engine.balances()["BTC"] == (D("0.5"), D("1.5"))
    with pytest.raises(Refused) as refused:
        spot.place(SELL, "0.6", "60000.00")
    assert refused.value.refusal is Refusal.INSUFFICIENT
    spot.place(BUY, "1", "59000.00", GTC)
    assert spot.engine.balances()["USDT"] == (D("41000.00"), D("59000.00"))


def test_a_symbol_that_does_not_trade_is_refused(perp):
    perp.engine.set_status("BTCUSDT", "BREAK")
    with pytest.raises(Refused) as refused:
        perp.place(BUY, "0.01", "60000.10")
    assert refused.value.refusal is Refusal.NOT_TRADING
    with pytest.raises(Refused) as refused:
        perp.engine.find("ETHUSDT", order_id=1)
    assert refused.value.refusal is Refusal.BAD_SYMBOL


def test_a_foreign_trade_has_a_client_id_that_is_not_ours(perp):
    trade = perp.engine.foreign_trade("BTCUSDT", SELL, D("0.05"))
    assert not trade.client_order_id.startswith("pb")
    assert perp.engine.position("BTCUSDT")[0] == D("-0.05")


def test_trades_and_orders_are_listed_oldest_first(perp):
    placed = [perp.place(BUY, "0.01", "60000.10") for _ in range(4)]
    ids = [order.trades[0].trade_id for order in placed]
    assert ids == sorted(ids)
    listed = perp.engine.trades("BTCUSDT", from_trade_id=ids[1], limit=2)
    assert [trade.trade_id for trade in listed] == ids[1:3]
    assert [trade.trade_id for trade in perp.engine.trades("BTCUSDT", limit=2)] == ids[2:]
    mine = perp.engine.trades("BTCUSDT", order_id=placed[2].order_id)
    assert mine == placed[2].trades
    orders = perp.engine.all_orders("BTCUSDT", from_order_id=placed[2].order_id)
    assert [order.order_id for order in orders] == [placed[2].order_id, placed[3].order_id]


def test_the_last_public_trade_is_known(perp):
    assert perp.engine.last_trade_price("BTCUSDT") is None
    perp.trade("60000.10", "0.100", buyer_is_maker=False)
    assert perp.engine.last_trade_price("BTCUSDT") == D("60000.10")
