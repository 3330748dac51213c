"""The public trades that a venue remembers: bounded, and a day by the minute."""

from __future__ import annotations

from decimal import Decimal

from propbot.domain.instruments import BINANCE_SPOT
from propbot.simvenue.faces.tape import TRADES_KEPT, Day, Tape, Tapes
from propbot.simvenue.records import MarketFrame

DAY_MS = 24 * 3600 * 1000


def printed(number: int, ts_ms: int, price: str = "100", qty: str = "1", stream: str = "trade") -> MarketFrame:
    data = f'{{"t":{number},"p":"{price}","q":"{qty}","T":{ts_ms},"m":false}}'
    return MarketFrame(BINANCE_SPOT, "BTCUSDT", f"btcusdt@{stream}", "", data, None)


def test_only_the_newest_trades_are_kept_but_all_of_the_day_are_counted():
    tape = Tape()
    for number in range(2 * TRADES_KEPT + 500):
        tape.see(printed(number, ts_ms=number * 100))
    kept = tape.last_trades(5000)
    assert [kept[0].trade_id, kept[-1].trade_id] == [TRADES_KEPT + 500, 2 * TRADES_KEPT + 499]
    assert tape.day(now_ms=250_000).count == 2 * TRADES_KEPT + 500


def test_a_trade_leaves_the_day_after_24_hours():
    tape = Tape()
    tape.see(printed(1, ts_ms=0, price="50"))
    tape.see(printed(2, ts_ms=DAY_MS // 2, price="80"))
    assert tape.day(DAY_MS // 2).low == 50
    later = tape.day(DAY_MS + 60_000)
    assert (later.first_id, later.open, later.low, later.count) == (2, 80, 80, 1)
    assert tape.day(2 * DAY_MS) == Day()


def test_asking_for_a_day_changes_nothing():
    tape = Tape()
    for number in range(3):
        tape.see(printed(number, ts_ms=number * 60_000, price=str(100 + number)))
    assert tape.day(180_000) == tape.day(180_000)
    assert tape.day(180_000).quote_qty == Decimal(303)


def test_other_streams_are_no_trades():
    tapes = Tapes()
    tapes.see(printed(1, 0, stream="aggTrade"))
    assert tapes.of("BTCUSDT").last_trades(10) == []


def test_a_trade_that_can_not_be_read_is_left_out():
    tape = Tape()
    tape.see(printed(1, 0, price="dear"))
    tape.see(MarketFrame(BINANCE_SPOT, "BTCUSDT", "btcusdt@trade", "", "{}", None))
    tape.see(printed(2, 0))
    assert [trade.trade_id for trade in tape.last_trades(10)] == [2]
