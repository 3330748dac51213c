"""python-binance listens to the embedded spot venue: user data, streams one by one and multiplexed, depth caches."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from binance import DepthCacheManager
from binance.exceptions import BinanceAPIException
from python_binance_desk import SpotDesk, open_spot
from verdicts import SYMBOL, Levels, amount, assert_book, assert_chain, collect, judge, total


async def check_the_old_listen_key_is_gone(desk: SpotDesk) -> None:
    try:
        desk.rest.stream_get_listen_key()
    except BinanceAPIException as refusal:
        assert refusal.status_code == 410
    else:
        raise AssertionError("listen keys ended in 2026")


async def check_the_user_stream_tells_of_a_rest_order(desk: SpotDesk) -> None:
    async with desk.sockets.user_socket() as socket:
        placed = await desk.later.order_limit_buy(symbol=SYMBOL, quantity="0.01", price=desk.far_below())
        await desk.later.cancel_order(symbol=SYMBOL, orderId=placed["orderId"])
        sold = await desk.later.order_market_sell(symbol=SYMBOL, quantity="0.01")
        events = await collect(
            socket.recv,
            lambda found: bool(found) and (found[-1].get("i"), found[-1].get("X")) == (sold["orderId"], "FILLED"),
        )
        events += await collect(socket.recv, bool)  # the balances after it
    reports = [event for event in events if event["e"] == "executionReport"]
    mine = [event for event in reports if event["i"] == placed["orderId"]]
    assert [(event["x"], event["X"]) for event in mine] == [("NEW", "NEW"), ("CANCELED", "CANCELED")]
    assert mine[0]["c"] == mine[1]["C"] == placed["clientOrderId"]
    assert mine[1]["c"] != placed["clientOrderId"]
    trades = [event for event in reports if event["x"] == "TRADE"]
    assert {event["i"] for event in trades} == {sold["orderId"]}
    assert [event["t"] for event in trades] == [fill["tradeId"] for fill in sold["fills"]]
    assert total(amount(event["l"]) for event in trades) == amount(trades[-1]["z"]) == Decimal("0.01")
    assert amount(trades[-1]["Z"]) == amount(sold["cummulativeQuoteQty"])
    assert all(event["N"] == "USDT" and amount(event["n"]) > 0 for event in trades)
    accounts = [event for event in events if event["e"] == "outboundAccountPosition"]
    told = {row["a"]: (amount(row["f"]), amount(row["l"])) for row in accounts[-1]["B"]}
    assert told == desk.balances()


async def check_multiplexed_streams(desk: SpotDesk) -> None:
    streams = ["btcusdt@bookTicker", "btcusdt@depth@100ms", "btcusdt@trade"]
    async with desk.sockets.multiplex_socket(streams) as socket:
        found = await collect(socket.recv, lambda seen: sum("@depth" in m["stream"] for m in seen) >= 5)
    by_stream = {name: [m["data"] for m in found if m["stream"] == name] for name in streams}
    assert all(by_stream.values()), {name: len(rows) for name, rows in by_stream.items()}
    assert_chain(by_stream["btcusdt@depth@100ms"])
    for row in by_stream["btcusdt@bookTicker"]:
        assert amount(row["b"]) < amount(row["a"])
        assert set(row) == {"u", "s", "b", "B", "a", "A"}
    updates = [row["u"] for row in by_stream["btcusdt@bookTicker"]]
    assert updates == sorted(updates)
    assert {row["e"] for row in by_stream["btcusdt@trade"]} == {"trade"}


async def check_single_streams(desk: SpotDesk) -> None:
    async with desk.sockets.symbol_book_ticker_socket(SYMBOL) as socket:
        assert (await collect(socket.recv, bool))[0]["s"] == SYMBOL
    async with desk.sockets.trade_socket(SYMBOL) as socket:
        assert amount((await collect(socket.recv, bool))[0]["p"]) > 0
    async with desk.sockets.depth_socket(SYMBOL, depth="5") as socket:
        books = await collect(socket.recv, lambda found: len(found) == 3)
    for book in books:
        assert (len(book["bids"]), len(book["asks"])) == (5, 5)
        assert_book(book["bids"], book["asks"])
    assert [book["lastUpdateId"] for book in books] == sorted({book["lastUpdateId"] for book in books})


async def check_the_depth_cache_syncs_and_shows_the_best_prices(desk: SpotDesk) -> None:
    """The cache starts over whenever a number is missing; it must not, and its top is what the ticker said."""
    snapshots = 0
    ask = desk.later.get_order_book

    async def counted(**params: object) -> object:
        nonlocal snapshots
        snapshots += 1
        return await ask(**params)

    shown: dict[int, tuple[Decimal, Decimal]] = {}
    told: dict[int, tuple[Decimal, Decimal]] = {}

    async def read_cache() -> None:
        for _ in range(12):
            cache = await manager.recv()
            shown[manager._last_update_id] = cache.get_bids()[0][0], cache.get_asks()[0][0]

    async def read_tickers() -> None:
        for _ in range(24):
            ticker = await tickers.recv()
            told[ticker["u"]] = amount(ticker["b"]), amount(ticker["a"])

    manager = DepthCacheManager(desk.later, SYMBOL, bm=desk.sockets, ws_interval=100, limit=1000, conv_type=Decimal)
    desk.later.get_order_book = counted
    try:
        async with manager, desk.sockets.symbol_book_ticker_socket(SYMBOL) as tickers:
            await asyncio.gather(read_cache(), read_tickers())
    finally:
        desk.later.get_order_book = ask
    assert snapshots <= 2, f"{snapshots} snapshots: the sequence broke"
    both = sorted(shown.keys() & told.keys())[1:]  # the first may stand on the snapshot that was too early
    assert len(both) >= 5, (sorted(shown), sorted(told))
    assert [shown[number] for number in both] == [told[number] for number in both]


async def check_a_book_kept_by_the_manual_stays_equal_to_the_snapshot(desk: SpotDesk) -> None:
    async with desk.sockets.multiplex_socket(["btcusdt@depth@100ms"]) as socket:
        first = (await socket.recv())["data"]
        book = Levels(await desk.later.get_order_book(symbol=SYMBOL, limit=5000))
        diffs = [first]
        while diffs[-1]["u"] <= book.last_id or len(diffs) < 8:
            diffs.append((await asyncio.wait_for(socket.recv(), 5))["data"])
        kept = [diff for diff in diffs if diff["u"] > book.last_id]
        assert kept[0]["U"] <= book.last_id + 1 <= kept[0]["u"], (book.last_id, kept[0])
        assert_chain(kept)
        for diff in kept:
            book.apply(diff)
        later = await desk.later.get_order_book(symbol=SYMBOL, limit=5000)
        while book.last_id < later["lastUpdateId"]:
            book.apply((await asyncio.wait_for(socket.recv(), 5))["data"])
    if book.last_id == later["lastUpdateId"]:
        assert (book.bids, book.asks) == (Levels(later).bids, Levels(later).asks)


if __name__ == "__main__":
    judge("binance-spot", open_spot, globals())
