"""What all faces of one venue share: its engine, its only account's keys, its clock, its faults."""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import Decimal

from attrs import define, field

from propbot.domain.instruments import Instrument, VenueId
from propbot.simvenue.engine_api import Engine
from propbot.simvenue.faces.errors import bad_symbol
from propbot.simvenue.faces.limits import Counters
from propbot.simvenue.faults import FaultBox
from propbot.simvenue.keys import AccountKeys
from propbot.simvenue.records import EngineEvent, OrderChanged
from propbot.simvenue.trace import VenueTrace

_ID_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


@define(eq=False)
class Core:
    """One venue, seen from its faces. `latency_s` is one way."""

    engine: Engine
    keys: AccountKeys
    counters: Counters
    faults: FaultBox
    trace: VenueTrace
    rng: random.Random
    latency_s: float
    funding_rate: Decimal
    """What every settlement pays, as a fraction of the notional; perps only."""
    wall_ms: Callable[[], int]
    hidden_until_s: dict[str, float] = field(factory=dict)
    """Client order ids that queries do not find yet (fault hide_order); Trio's clock."""
    cancel_ids: dict[int, str] = field(factory=dict)
    """Order id → the id that a cancel on its way gave itself."""

    dual_side: bool = False
    """Hedge mode of positions (fault position_mode); perps only."""

    def __attrs_post_init__(self) -> None:
        self.engine.listen(self._on_event)

    @property
    def venue(self) -> VenueId:
        return self.engine.venue

    def instrument(self, symbol: str) -> Instrument:
        for instrument in self.engine.instruments():
            if instrument.symbol == symbol:
                return instrument
        raise bad_symbol()

    def still_listed(self, ts_ms: int) -> bool:
        """Whether history goes back that far (fault history_window)."""
        window = self.faults.lasting(self.venue, "history_window", occasion=False)
        return window is None or ts_ms >= self.wall_ms() - window["window_s"] * 1000

    def make_id(self, length: int) -> str:
        return "".join(self.rng.choice(_ID_LETTERS) for _ in range(length))

    def _on_event(self, event: EngineEvent) -> None:
        if not isinstance(event, OrderChanged):
            return
        if event.what == "NEW":
            self.counters.order_accepted()
        trade = event.trade
        if trade is None:
            if event.what != "NEW":  # also one that nobody asked to cancel: it expired, or a countdown ran out
                client_order_id = event.order.request.client_order_id
                status = str(event.status)
                self.trace.row(self.venue, "out", "order_end", client_order_id=client_order_id, status=status)
            return
        if event.filled_qty == trade.qty:
            self.counters.order_first_filled()
        self.trace.row(
            self.venue,
            "out",
            "trade",
            client_order_id=trade.client_order_id,
            order_id=trade.order_id,
            trade_id=trade.trade_id,
            side=trade.side.value,
            qty=str(trade.qty),
            price=str(trade.price),
            fee=str(trade.fee),
            fee_asset=trade.fee_asset,
            maker=trade.maker,
        )


def venue_clock(venue: VenueId, engine_now_ms: Callable[[], int], faults: FaultBox) -> Callable[[], int]:
    """The clock that the venue shows and judges by: the engine's, off by a clock_offset fault."""

    def wall_ms() -> int:
        off = faults.lasting(venue, "clock_offset")
        return engine_now_ms() + (0 if off is None else round(off["ms"]))

    return wall_ms
