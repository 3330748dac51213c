"""The market that paper trades by default: books made of `prices`, published as Binance would publish them.

Time runs in steps of half a depth interval. Each step's book is a pure function of (seed, venue, step), its update id
a pure function of the step alone: a market that is opened again goes on where it would have been, with larger ids.
Every step publishes a book ticker; every second one also a depth update, under the ticker's own id.

A book is a best level, whose size changes with every step, and a grid of deeper levels, whose sizes change every
five seconds: so a diff names a handful of levels, not the whole book.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import trio
from attrs import frozen

from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM, VenueId
from propbot.domain.market import DepthDiff, DepthSnapshot, PriceLevel, TopOfBook
from propbot.simvenue.prices import mid_price, mix, unit
from propbot.simvenue.records import MarketFrame

SYMBOL = "BTCUSDT"
LEVELS_A_SIDE = 30
_QTY_EPOCH_NS = 5_000_000_000
_GRID_REMEMBERED_MAX = 5_000
_LATE_S_MAX = 1.0
"""After a longer pause (a suspended machine) the steps in between are left out."""


@frozen
class _Shape:
    """How one venue writes its book. Ticks and lots are integers throughout."""

    venue: VenueId
    ticks_per_unit: int
    price_zeros: str
    """What the venue writes behind the tick's digits."""
    lots_per_unit: int
    qty_zeros: str
    spread_ticks_max: int
    is_perp: bool

    @property
    def grid_ticks(self) -> int:
        """One quote unit between the deeper levels: 30 of them are 5 bps deep."""
        return self.ticks_per_unit

    def price(self, ticks: int) -> str:
        return _fixed(ticks, self.ticks_per_unit) + self.price_zeros

    def qty(self, lots: int) -> str:
        return _fixed(lots, self.lots_per_unit) + self.qty_zeros


def _fixed(count: int, per_unit: int) -> str:
    whole, rest = divmod(count, per_unit)
    return f"{whole}.{rest:0{len(str(per_unit)) - 1}d}"


_SHAPES = {
    BINANCE_UM: _Shape(BINANCE_UM, 10, "0", 1_000, "", 1, is_perp=True),
    BINANCE_SPOT: _Shape(BINANCE_SPOT, 100, "000000", 100_000, "000", 2, is_perp=False),
}


@frozen
class _Top:
    """The best prices in ticks with their lots, at one step."""

    update_id: int
    bid: int
    bid_lots: int
    ask: int
    ask_lots: int


@frozen
class _Book:
    """One venue's whole book at one step: price in ticks → quantity in lots, best first on either side."""

    top: _Top
    bids: dict[int, int]
    asks: dict[int, int]

    @property
    def update_id(self) -> int:
        return self.top.update_id


def _update_id(step: int, step_ns: int) -> int:
    """Grows by 64 a millisecond, whatever the step; the low bits only look alive."""
    return step * step_ns // 1_000_000 * 64 + mix(step) % 32


class _BookMaker:
    """One venue's books, each a pure function of its step. The grid's sizes are remembered until they change: they
    would be half the work."""

    def __init__(self, shape: _Shape, seed: int, step_ns: int) -> None:
        self.shape = shape
        self._seed = seed
        self._salt = mix(seed, len(shape.venue))
        self._step_ns = step_ns
        self._grid: dict[int, tuple[int, int]] = {}

    def top(self, step: int) -> _Top:
        mid_ticks = mid_price(self._seed, self.shape.venue, step * self._step_ns / 1e9) * self.shape.ticks_per_unit
        bid = int(mid_ticks)
        ask = bid + 1 + mix(self._salt, 1, step) % self.shape.spread_ticks_max
        return _Top(_update_id(step, self._step_ns), bid, self._best_lots(2, step), ask, self._best_lots(3, step))

    def book(self, step: int) -> _Book:
        top, grid, at_ns = self.top(step), self.shape.grid_ticks, step * self._step_ns
        bids, asks = {top.bid: top.bid_lots}, {top.ask: top.ask_lots}
        first_bid, first_ask = (top.bid - 1) // grid, -(-(top.ask + 1) // grid)
        for rung in range(first_bid, first_bid - LEVELS_A_SIDE, -1):
            bids[rung * grid] = self._grid_lots(rung, at_ns)
        for rung in range(first_ask, first_ask + LEVELS_A_SIDE):
            asks[rung * grid] = self._grid_lots(rung, at_ns)
        if len(self._grid) > _GRID_REMEMBERED_MAX:
            self._grid.clear()
        return _Book(top, bids, asks)

    def _best_lots(self, channel: int, step: int) -> int:
        """0.25 to 4.25 coins, more often little."""
        return int((0.25 + 4.0 * unit(self._salt, channel, step) ** 2) * self.shape.lots_per_unit)

    def _grid_lots(self, rung: int, at_ns: int) -> int:
        """0.3 to 2.3 coins for five seconds; each level changes at a moment of its own."""
        until_ns, lots = self._grid.get(rung, (0, 0))
        if not until_ns - _QTY_EPOCH_NS <= at_ns < until_ns:
            shift_ns = mix(self._salt, rung) % _QTY_EPOCH_NS
            epoch = (at_ns + shift_ns) // _QTY_EPOCH_NS
            lots = int((0.3 + 2.0 * unit(self._salt, 4, rung, epoch)) * self.shape.lots_per_unit)
            self._grid[rung] = (epoch + 1) * _QTY_EPOCH_NS - shift_ns, lots
        return lots


class SyntheticMarket:
    """A `MarketSource` for both Binance venues, BTCUSDT. Deterministic for one seed and one clock."""

    def __init__(
        self,
        venues: Sequence[VenueId],
        seed: int,
        wall_ns: Callable[[], int],
        updates_per_s: float = 10.0,
    ) -> None:
        """`updates_per_s` depth updates, and twice as many tickers, a venue. ValueError for a venue it can't play."""
        unknown = [venue for venue in venues if venue not in _SHAPES]
        if unknown:
            raise ValueError(f"no synthetic market for {', '.join(unknown)}; there are {', '.join(_SHAPES)}")
        if not 0.01 <= updates_per_s <= 100.0:
            raise ValueError(f"updates_per_s must lie in 0.01..100, not {updates_per_s}")
        self._wall_ns = wall_ns
        self._step_ns = round(1e9 / (2 * updates_per_s))
        first = wall_ns() // self._step_ns // 2 * 2  # an even step: one that has a depth update
        self._makers = [_BookMaker(_SHAPES[venue], seed, self._step_ns) for venue in venues]
        self._published = {maker.shape.venue: maker.book(first) for maker in self._makers}
        """The book that the last depth update of each venue led to."""
        self._snapshots = {(venue, SYMBOL): _snapshot(_SHAPES[venue], book) for venue, book in self._published.items()}

    @property
    def snapshots(self) -> Mapping[tuple[VenueId, str], DepthSnapshot]:
        return self._snapshots

    def wall_ns(self) -> int:
        return self._wall_ns()

    async def run(self, publish: Callable[[MarketFrame], None]) -> None:
        """Publish each step at its time until cancelled. Paced by the monotonic clock, so that a stepped wall clock
        neither stops nor floods the market."""
        step = self._wall_ns() // self._step_ns
        start_s = trio.current_time() - (self._wall_ns() - step * self._step_ns) / 1e9
        first, step_s = step, self._step_ns / 1e9
        while True:
            step += 1
            due_s = start_s + (step - first) * step_s
            late_s = trio.current_time() - due_s
            if late_s > _LATE_S_MAX:
                step += int(late_s / step_s)
                due_s = start_s + (step - first) * step_s
            await trio.sleep_until(due_s)
            for maker in self._makers:
                for frame in self._frames(maker, step):
                    publish(frame)

    def _frames(self, maker: _BookMaker, step: int) -> Iterator[MarketFrame]:
        shape, now_ms = maker.shape, self._wall_ns() // 1_000_000
        before = self._published[shape.venue]
        if step % 2:
            yield _ticker_frame(shape, maker.top(step), now_ms)
            return
        book = maker.book(step)
        yield _ticker_frame(shape, book.top, now_ms)
        if book.update_id > before.update_id:
            self._published[shape.venue] = book
            yield _trade_frame(shape, book.top, step, now_ms)
            yield _depth_frame(shape, before, book, now_ms)


def _snapshot(shape: _Shape, book: _Book) -> DepthSnapshot:
    bids, asks = ([(shape.price(p), shape.qty(q)) for p, q in side.items()] for side in (book.bids, book.asks))
    return DepthSnapshot(shape.venue, SYMBOL, book.update_id, bids, asks)


def _frame(shape: _Shape, stream: str, data: str, event: DepthDiff | TopOfBook | None) -> MarketFrame:
    stream = f"{SYMBOL.lower()}@{stream}"
    return MarketFrame(shape.venue, SYMBOL, stream, f'{{"stream":"{stream}","data":{data}}}', data, event)


def _ticker_frame(shape: _Shape, top: _Top, now_ms: int) -> MarketFrame:
    bid_px, ask_px = shape.price(top.bid), shape.price(top.ask)
    bid_qty, ask_qty = shape.qty(top.bid_lots), shape.qty(top.ask_lots)
    body = f'"u":{top.update_id},"s":"{SYMBOL}","b":"{bid_px}","B":"{bid_qty}","a":"{ask_px}","A":"{ask_qty}"'
    data = f'{{"e":"bookTicker",{body},"T":{now_ms},"E":{now_ms}}}' if shape.is_perp else f"{{{body}}}"
    event_ms = now_ms if shape.is_perp else None
    event = TopOfBook(shape.venue, SYMBOL, top.update_id, bid_px, bid_qty, ask_px, ask_qty, event_ms)
    return _frame(shape, "bookTicker", data, event)


def _depth_frame(shape: _Shape, before: _Book, after: _Book, now_ms: int) -> MarketFrame:
    bids, asks = _changes(shape, before.bids, after.bids), _changes(shape, before.asks, after.asks)
    first, last, prev = before.update_id + 1, after.update_id, before.update_id
    head = f'"e":"depthUpdate","E":{now_ms},'
    head += f'"T":{now_ms},"s":"{SYMBOL}"' if shape.is_perp else f'"s":"{SYMBOL}"'
    ids = f'"U":{first},"u":{last}' + (f',"pu":{prev}' if shape.is_perp else "")
    data = f'{{{head},{ids},"b":{_levels_json(bids)},"a":{_levels_json(asks)}}}'
    event = DepthDiff(shape.venue, SYMBOL, first, last, prev if shape.is_perp else None, bids, asks, now_ms)
    return _frame(shape, "depth@100ms", data, event)


def _changes(shape: _Shape, before: dict[int, int], after: dict[int, int]) -> list[PriceLevel]:
    gone = [(shape.price(price), shape.qty(0)) for price in before if price not in after]
    return gone + [(shape.price(price), shape.qty(q)) for price, q in after.items() if before.get(price) != q]


def _levels_json(levels: Sequence[PriceLevel]) -> str:
    return "[" + ",".join(f'["{price}","{qty}"]' for price, qty in levels) + "]"


def _trade_frame(shape: _Shape, top: _Top, step: int, now_ms: int) -> MarketFrame:
    """A small trade at the best price of one side."""
    buyer_is_maker = bool(mix(step, 5) % 2)
    price = top.bid if buyer_is_maker else top.ask
    qty = shape.qty(shape.lots_per_unit // 1000 * (1 + mix(step, 6) % 50))
    flag = "true" if buyer_is_maker else "false"
    body = f'"t":{top.update_id},"p":"{shape.price(price)}","q":"{qty}"'
    head = f'"e":"trade","E":{now_ms},'
    if shape.is_perp:
        data = f'{{{head}"T":{now_ms},"s":"{SYMBOL}",{body},"X":"MARKET","m":{flag}}}'
    else:
        data = f'{{{head}"s":"{SYMBOL}",{body},"T":{now_ms},"m":{flag},"M":true}}'
    return _frame(shape, "trade", data, None)
