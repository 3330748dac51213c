"""python-binance listens to the embedded USD-M venue: user data, streams one by one and multiplexed, depth caches."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal

from binance import FuturesDepthCacheManager
from python_binance_desk import PerpDesk, left_open, open_perp, refused
from verdicts import SYMBOL, Levels, amount, assert_chain, collect, judge, total


async def check_a_listen_key_stays_the_same_until_closed(desk: PerpDesk) -> None:
    key = await desk.later.futures_stream_get_listen_key()
    assert key == await desk.later.futures_stream_get_listen_key()
    await desk.later.futures_stream_keepalive(key)
    assert await desk.later.futures_stream_close(key) == {}
    with refused(-1125):
        await desk.later.futures_stream_keepalive(key)
    assert key != await desk.later.futures_stream_get_listen_key()


async def check_the_user_stream_tells_of_a_rest_order(desk: PerpDesk) -> None:
    socket = await left_open(desk.sockets.futures_user_socket())
    placed = desk.limit_buy(desk.far_below())
    desk.rest.futures_cancel_order(symbol=SYMBOL, orderId=placed["orderId"])
    bought = desk.market("BUY", "0.01")
    events = await collect(
        socket.recv,
        lambda found: bool(found) and found[-1]["e"] == "ACCOUNT_UPDATE"
        and amount(found[-1]["a"]["P"][0]["pa"]) == Decimal("0.01"),
    )
    reports = [event["o"] for event in events if event["e"] == "ORDER_TRADE_UPDATE"]
    mine = [order for order in reports if order["i"] == placed["orderId"]]
    assert [(order["x"], order["X"], order["c"]) for order in mine] == [
        ("NEW", "NEW", placed["clientOrderId"]), ("CANCELED", "CANCELED", placed["clientOrderId"])
    ]
    trades = [order for order in reports if order["x"] == "TRADE"]
    assert {order["i"] for order in trades} == {bought["orderId"]}
    assert total(amount(order["l"]) for order in trades) == amount(trades[-1]["z"]) == Decimal("0.01")
    assert trades[-1]["X"] == "FILLED"
    by_rest = desk.rest.futures_account_trades(symbol=SYMBOL, orderId=bought["orderId"])
    assert [(order["t"], amount(order["n"]), order["N"]) for order in trades] == [
        (trade["id"], amount(trade["commission"]), "USDT") for trade in by_rest
    ]
    account = [event["a"] for event in events if event["e"] == "ACCOUNT_UPDATE"][-1]
    assert account["m"] == "ORDER"
    assert {row["a"]: amount(row["wb"]) for row in account["B"]} == {"USDT": desk.wallet()}
    assert (account["P"][0]["s"], account["P"][0]["ps"]) == (SYMBOL, "BOTH")
    desk.market("SELL", "0.01", reduceOnly="true")


async def check_multiplexed_streams(desk: PerpDesk) -> None:
    streams = ["btcusdt@bookTicker", "btcusdt@depth@100ms", "btcusdt@trade"]
    async with desk.sockets.futures_multiplex_socket(streams, category="public") as socket:
        found = await collect(socket.recv, lambda seen: sum("@depth" in m["stream"] for m in seen) >= 5)
    by_stream = {name: [m["data"] for m in found if m["stream"] == name] for name in streams}
    assert all(by_stream.values()), {name: len(rows) for name, rows in by_stream.items()}
    assert_chain(by_stream["btcusdt@depth@100ms"])
    for row in by_stream["btcusdt@bookTicker"]:
        assert row["e"] == "bookTicker"
        assert amount(row["b"]) < amount(row["a"])
        assert abs(row["E"] - time.time() * 1000) < 5000


async def check_a_stream_on_the_wrong_route_is_silent(desk: PerpDesk) -> None:
    socket = await left_open(desk.sockets.futures_multiplex_socket(["btcusdt@bookTicker"], category="market"))
    try:
        message = await asyncio.wait_for(socket.recv(), 0.5)
    except TimeoutError:
        return
    raise AssertionError(f"bookTicker is no market stream since 2026: {message}")


async def check_single_streams(desk: PerpDesk) -> None:
    async with desk.sockets.symbol_ticker_futures_socket(SYMBOL) as socket:
        message = (await collect(socket.recv, bool))[0]
        assert message.get("data", message)["s"] == SYMBOL


async def check_the_depth_cache_shows_the_best_prices(desk: PerpDesk) -> None:
    """Its book is the partial stream's; at the same event time the ticker says the same."""
    shown: dict[int, tuple[Decimal, Decimal]] = {}
    told: dict[int, tuple[Decimal, Decimal]] = {}

    async def read_cache() -> None:
        for _ in range(10):
            cache = await manager.recv()
            bids, asks = cache.get_bids(), cache.get_asks()
            assert (len(bids), len(asks)) == (10, 10)
            shown[cache.update_time] = bids[0][0], asks[0][0]

    async def read_tickers() -> None:
        for _ in range(22):
            ticker = (await tickers.recv())["data"]
            told[ticker["E"]] = amount(ticker["b"]), amount(ticker["a"])

    manager = FuturesDepthCacheManager(desk.later, SYMBOL, bm=desk.sockets, conv_type=Decimal)
    streams = desk.sockets.futures_multiplex_socket(["btcusdt@bookTicker"], category="public")
    async with manager, streams as tickers:
        await asyncio.gather(read_cache(), read_tickers())
    both = shown.keys() & told.keys()
    assert len(both) >= 5, (sorted(shown), sorted(told))
    assert {at: shown[at] for at in both} == {at: told[at] for at in both}


async def check_a_book_kept_by_the_manual_stays_equal_to_the_snapshot(desk: PerpDesk) -> None:
    streams = desk.sockets.futures_multiplex_socket(["btcusdt@depth@100ms"], category="public")
    async with streams as socket:
        diffs = [(await socket.recv())["data"]]
        book = Levels(await desk.later.futures_order_book(symbol=SYMBOL, limit=1000))
        while diffs[-1]["u"] <= book.last_id or len(diffs) < 8:
            diffs.append((await asyncio.wait_for(socket.recv(), 5))["data"])
        kept = [diff for diff in diffs if diff["u"] >= book.last_id]
        assert kept[0]["U"] <= book.last_id <= kept[0]["u"] or kept[0]["pu"] == book.last_id, (book.last_id, kept[0])
        assert_chain(kept)
        for diff in kept:
            book.apply(diff)
        later = await desk.later.futures_order_book(symbol=SYMBOL, limit=1000)
        while book.last_id < later["lastUpdateId"]:
            book.apply((await asyncio.wait_for(socket.recv(), 5))["data"])
    if book.last_id == later["lastUpdateId"]:
        assert (book.bids, book.asks) == (Levels(later).bids, Levels(later).asks)


if __name__ == "__main__":
    judge("binance-um", open_perp, globals())
