"""A venue to trade on in one line: small fixed books, a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from attrs import define, field

from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM, VenueId
from propbot.domain.market import DepthDiff, DepthSnapshot, PriceLevel, TopOfBook
from propbot.domain.orders import Side
from propbot.simvenue.engine import MatchingEngine
from propbot.simvenue.instruments import DEFAULT_FEES, INSTRUMENTS, STARTING_BALANCES
from propbot.simvenue.records import EngineEvent, MarketFrame, NewOrder, SimTif, SimType
from propbot.simvenue.store import VenueStore, open_store

SYMBOL = "BTCUSDT"
BIDS: list[PriceLevel] = [("60000.00", "1.000"), ("59999.00", "2.000"), ("59990.00", "5.000")]
ASKS: list[PriceLevel] = [("60000.10", "0.500"), ("60001.00", "2.000"), ("60010.00", "5.000")]


@define
class Bench:
    """One engine with what a test wants to do to it."""

    engine: MatchingEngine
    events: list[EngineEvent] = field(factory=list)
    last_id: int = 100
    orders: int = 0

    def place(
        self,
        side: Side,
        qty: str,
        price: str | None = None,
        tif: SimTif = SimTif.IOC,
        *,
        client_order_id: str | None = None,
        reduce_only: bool = False,
        fill_at_most: str | None = None,
    ):
        self.orders += 1
        order = NewOrder(
            client_order_id=client_order_id or f"pb{self.orders}",
            symbol=SYMBOL,
            side=side,
            type=SimType.MARKET if price is None else SimType.LIMIT,
            tif=tif,
            qty=Decimal(qty),
            limit_price=None if price is None else Decimal(price),
            reduce_only=reduce_only,
        )
        return self.engine.place(order, fill_at_most=None if fill_at_most is None else Decimal(fill_at_most))

    def diff(self, bids: list[PriceLevel], asks: list[PriceLevel]) -> None:
        self.last_id += 1
        event = DepthDiff(self.engine.venue, SYMBOL, self.last_id, self.last_id, self.last_id - 1, bids, asks, 0)
        self.frame("depth@100ms", event)

    def ticker(self, bid: str, bid_qty: str, ask: str, ask_qty: str) -> None:
        self.last_id += 1
        self.frame("bookTicker", TopOfBook(self.engine.venue, SYMBOL, self.last_id, bid, bid_qty, ask, ask_qty, 0))

    def trade(self, price: str, qty: str, *, buyer_is_maker: bool) -> None:
        flag = "true" if buyer_is_maker else "false"
        self.frame("trade", None, f'{{"e":"trade","p":"{price}","q":"{qty}","m":{flag}}}')

    def frame(self, kind: str, event: DepthDiff | TopOfBook | None, data: str = "{}") -> None:
        self.engine.on_market(MarketFrame(self.engine.venue, SYMBOL, f"btcusdt@{kind}", "", data, event))


OpenBench = Callable[..., Bench]


def make_bench(venue: VenueId, store: VenueStore, wall_ms: int = 1_700_000_000_000) -> Bench:
    snapshot = DepthSnapshot(venue, SYMBOL, 100, list(BIDS), list(ASKS))
    engine = MatchingEngine(
        venue,
        INSTRUMENTS[venue],
        DEFAULT_FEES[venue],
        store,
        lambda: wall_ms * 1_000_000,
        {(venue, SYMBOL): snapshot},
        STARTING_BALANCES[venue],
    )
    bench = Bench(engine)
    engine.listen(bench.events.append)
    return bench


@pytest.fixture
def bench_on() -> OpenBench:
    """A bench over a store that the test opened itself."""
    return make_bench


@pytest.fixture
def perp() -> Iterator[Bench]:
    with open_store(None) as store:
        yield make_bench(BINANCE_UM, store)


@pytest.fixture
def spot() -> Iterator[Bench]:
    with open_store(None) as store:
        yield make_bench(BINANCE_SPOT, store)


@pytest.fixture
def recordings() -> dict[VenueId, Path]:
    """The recorded files of August 2024, which lie beside the checkout and are never copied into it."""
    folder = Path(__file__).parents[4] / "shared" / "recordings" / "binance"
    paths = {
        BINANCE_UM: folder / "usdm_btcusdt_20240808.gz",
        BINANCE_SPOT: folder / "spot_btcusdt_20240808.gz",
    }
    for path in paths.values():
        if not path.exists():
            pytest.skip(f"the recording {path.name} is not beside this checkout")
    return paths
