"""Books that the benchmark moves: USD-M and spot BTCUSDT around one price, tick by tick.

The spot book stands still. The perpetual has two places: level with spot, where an open lot's edge has closed, and
ten bps above, where buying spot against it pays. A tick is a book ticker, as nine of ten recorded frames are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import trio

from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM, VenueId
from propbot.domain.market import DepthDiff, DepthSnapshot, TopOfBook
from propbot.simvenue.records import MarketFrame

SYMBOL = "BTCUSDT"
PAYING_BPS = 10.0
LEVELS = 50
_QTY = 500
"""Coins on each level: what our orders take is never missed."""
FIRST_ID = 1_000_000


class BenchMarket:
    """A `MarketSource` that publishes only what it is told to."""

    def __init__(self, wall_ns: Callable[[], int], price: float = 60_000.0, um: DepthSnapshot | None = None) -> None:
        """`um` is the perpetual's book where another one than the benchmark's own is wanted."""
        self._wall_ns = wall_ns
        self.price = price
        self._ids = {BINANCE_UM: FIRST_ID if um is None else um.last_id, BINANCE_SPOT: FIRST_ID}
        self._snapshots = {
            (BINANCE_UM, SYMBOL): um or _snapshot(BINANCE_UM, price, 0.1, "{:.2f}", "{:.3f}"),
            (BINANCE_SPOT, SYMBOL): _snapshot(BINANCE_SPOT, price, 0.01, "{:.8f}", "{:.8f}"),
        }
        self._depth_ids = dict(self._ids)
        self._publish: Callable[[MarketFrame], None] | None = None
        self.paying = False
        """Where the perpetual stands."""

    @property
    def snapshots(self) -> Mapping[tuple[VenueId, str], DepthSnapshot]:
        return self._snapshots

    def wall_ns(self) -> int:
        return self._wall_ns()

    async def run(self, publish: Callable[[MarketFrame], None]) -> None:
        self._publish = publish
        await trio.sleep_forever()

    def publish(self, frame: MarketFrame) -> None:
        assert self._publish is not None, "the host runs its source before anybody asks"
        self._publish(frame)

    def um_tick(self, *, paying: bool) -> MarketFrame:
        """The perpetual's next ticker; another quantity each time, so that none is a repetition."""
        self.paying = paying
        bid = round(self.price * (1 + (PAYING_BPS / 10_000 if paying else 0.0)), 1)
        return self.um_ticker(bid)

    def um_ticker(self, bid: float) -> MarketFrame:
        number, now_ms = self._next(BINANCE_UM), self._wall_ns() // 1_000_000
        prices = (f"{bid:.2f}", f"{_QTY + number % 97}.000", f"{bid + 0.1:.2f}", f"{_QTY + number % 89}.000")
        body = _body(number, prices)
        data = f'{{"e":"bookTicker",{body},"T":{now_ms},"E":{now_ms}}}'
        return _frame(BINANCE_UM, data, TopOfBook(BINANCE_UM, SYMBOL, number, *prices, now_ms))

    def spot_tick(self) -> MarketFrame:
        number = self._next(BINANCE_SPOT)
        prices = (
            f"{self.price:.8f}", f"{_QTY + number % 97}.00000000", f"{self.price + 0.01:.8f}",
            f"{_QTY + number % 89}.00000000",
        )
        data = f"{{{_body(number, prices)}}}"
        return _frame(BINANCE_SPOT, data, TopOfBook(BINANCE_SPOT, SYMBOL, number, *prices, None))

    def depth(self, venue: VenueId) -> MarketFrame:
        """A diff of one level far from the top: what a book needs to synchronise. Until the venue's next ticker it is
        the depth that says what is best, and there the perpetual stands level with spot: send one right after."""
        number, now_ms = self._next(venue), self._wall_ns() // 1_000_000
        before, self._depth_ids[venue] = self._depth_ids[venue], number
        price, _ = self._snapshots[venue, SYMBOL].bids[-1]
        qty = f"{_QTY + number % 83}.000"
        ids = f'"U":{before + 1},"u":{number}'
        is_perp = venue == BINANCE_UM
        if is_perp:
            ids += f',"pu":{before}'
        data = f'{{"e":"depthUpdate","E":{now_ms},"T":{now_ms},"s":"{SYMBOL}",{ids},"b":[["{price}","{qty}"]],"a":[]}}'
        prev_id = before if is_perp else None
        event = DepthDiff(venue, SYMBOL, before + 1, number, prev_id, [(price, qty)], [], now_ms)
        return _frame(venue, data, event, "depth@100ms")

    def _next(self, venue: VenueId) -> int:
        self._ids[venue] += 1
        return self._ids[venue]


def _body(number: int, prices: tuple[str, str, str, str]) -> str:
    bid, bid_qty, ask, ask_qty = prices
    return f'"u":{number},"s":"{SYMBOL}","b":"{bid}","B":"{bid_qty}","a":"{ask}","A":"{ask_qty}"'


def _frame(
    venue: VenueId, data: str, event: TopOfBook | DepthDiff, stream: str = "bookTicker"
) -> MarketFrame:
    stream = f"{SYMBOL.lower()}@{stream}"
    return MarketFrame(venue, SYMBOL, stream, f'{{"stream":"{stream}","data":{data}}}', data, event)


def _snapshot(venue: VenueId, price: float, tick: float, price_as: str, qty_as: str) -> DepthSnapshot:
    qty = qty_as.format(_QTY)
    bids = [(price_as.format(price - tick * 10 * n), qty) for n in range(LEVELS)]
    asks = [(price_as.format(price + tick * (1 + 10 * n)), qty) for n in range(LEVELS)]
    return DepthSnapshot(venue, SYMBOL, FIRST_ID, bids, asks)
