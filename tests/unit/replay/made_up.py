"""A replay's folder made by hand: a short trace and a ledger whose lots ended in every way that a lot can."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from attrs import evolve

from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM, Fees, VenueId
from propbot.domain.lots import FillRow, Intent, Lot, LotState
from propbot.domain.orders import Fill, OrderRequest, Purpose, Side
from propbot.domain.pnl import lot_realised
from propbot.ledger import rows
from propbot.ledger.schema import open_checked
from propbot.replay.report.head import ReportHead
from propbot.replay.result import AtEnd, BookAtEnd, Counted, ReplayResult

ORIGIN_NS = 1_723_161_255_206_373_055
UM, SPOT = BINANCE_UM, BINANCE_SPOT
NASTY = "</script><img src=x onerror=alert(1)>&\"'"


class MadeUp:
    """Collects trace rows and ledger rows; `write` makes the folder of them."""

    def __init__(self) -> None:
        self.trace: list[dict[str, Any]] = []
        self.ledger: list[tuple[str, dict[str, Any]]] = []
        self._made = 0

    def write(self, folder: Path) -> None:
        lines = sorted(self.trace, key=lambda row: row["t"])
        (folder / "trace.jsonl").write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in lines))
        connection = open_checked(folder / "ledger.db", sqlite3.connect, "normal")
        for table, row in self.ledger:
            names = ", ".join(row)
            marks = ", ".join("?" for _ in row)
            connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(row.values()))
        connection.commit()
        connection.close()

    def row(self, t: float, kind: str, who: str = "bot", **fields: Any) -> None:
        self.trace.append({"t": t, "who": who, "kind": kind, **fields})

    def sample(self, t: float, why_not: str, spread_bps: float | None = 4.0, lots_open: int = 0) -> None:
        um = 60_000.0
        known = spread_bps is not None
        mids = {UM: um if known else None, SPOT: um * (1 + spread_bps / 1e4) if spread_bps is not None else None}
        edge = -1.0 if known else None
        self.row(
            t, "sample", mids=mids, edges_bps={f"{UM}>{SPOT}": edge, f"{SPOT}>{UM}": edge},
            reference_bps=3.5 if known else None, ages_s={UM: 0.01 if known else None, SPOT: 0.0}, lots_open=lots_open,
            why_not=why_not, mode="RUN", equity_usdt="200000" if known else None, realised_usdt="0.5",
            unrealised_usdt="0", fees_usdt="0.1",
        )
        for venue, mid in mids.items():
            if mid is not None:
                self.row(t, "top", venue=venue, src="ticker", u=int(t * 1000), bid=str(mid - 1), ask=str(mid + 1))

    def event(self, t: float, kind: str, source: str, message: str) -> None:
        self._made += 1
        self.ledger.append(("events", {
            "id": self._made, "ts_ns": ORIGIN_NS + round(t * 1e9), "level": "ERROR", "kind": kind, "message": message,
            "venue": "", "symbol": "", "source": source, "details": "{}", "prev_hash": "", "hash": "",
        }))

    def lot(self, number: int, t: float, buy: VenueId, sell: VenueId) -> MadeUpLot:
        return MadeUpLot(self, Lot(
            f"lot-{number}", "BTCUSDT", LotState.OPEN, buy, sell, Decimal("0.016"), ORIGIN_NS + round(t * 1e9),
            Decimal("1.25"), Decimal("3.5"), Decimal("2.2"),
        ))


class MadeUpLot:
    def __init__(self, world: MadeUp, lot: Lot) -> None:
        self.world, self.lot = world, lot
        self.fills: list[FillRow] = []

    def intent(
        self, t: float, purpose: Purpose, legs: Sequence[tuple[VenueId, Side, str | None]]
    ) -> dict[tuple[VenueId, Side], str]:
        """Decided (an open or a close) and sent; the legs' client order ids. A leg's text is its expected price."""
        world, number = self.world, len(self.world.ledger)
        requests = [
            OrderRequest(f"pb{number}{i}", venue, "BTCUSDT", side, purpose, Decimal("0.016"), Decimal(60_000))
            for i, (venue, side, _) in enumerate(legs)
        ]
        created_ns = ORIGIN_NS + round(t * 1e9)
        intent = Intent(f"intent-{number}", "BTCUSDT", purpose, self.lot.id, tuple(requests), created_ns)
        world.ledger.append(("intents", rows.intent_row(intent)))
        world.ledger += [("orders", rows.order_row(request, intent)) for request in requests]
        if purpose in (Purpose.OPEN, Purpose.CLOSE):
            world.row(
                t, "decision", intent_id=intent.id, lot_id=self.lot.id, purpose=str(purpose), edge_bps="1.25",
                exit_reason="", legs=[
                    {"client_order_id": r.client_order_id, "venue": r.venue, "side": str(r.side), "qty": "0.016",
                     "limit": "60000", "expected_price": expected}
                    for r, (_, _, expected) in zip(requests, legs, strict=True)
                ],
            )
        for request in requests:
            world.row(t, "order", "venue", venue=request.venue, client_order_id=request.client_order_id)
        return {(request.venue, request.side): request.client_order_id for request in requests}

    def fill(
        self, t: float, order: str, venue: VenueId, side: Side, purpose: Purpose, qty: str, price: str,
        fee: str = "0", fee_asset: str = "USDT",
    ) -> None:
        number = len(self.world.ledger)
        wall_ns = ORIGIN_NS + round(t * 1e9)
        fill = Fill(
            venue, "BTCUSDT", f"o{order}", order, f"t{number}", side, Decimal(qty), Decimal(price), Decimal(fee),
            fee_asset, "taker", wall_ns // 1_000_000,
        )
        row = FillRow(fill, self.lot.id, purpose, wall_ns)
        self.fills.append(row)
        self.world.ledger.append(("fills", rows.fill_row(row)))
        self.world.row(t, "trade", "venue", venue=venue, client_order_id=order)

    def end(self, state: LotState, t: float | None = None, reason: str = "") -> Lot:
        closed = t is not None
        lot = evolve(
            self.lot, state=state, exit_reason=reason, closed_ns=None if t is None else ORIGIN_NS + round(t * 1e9),
            realised=lot_realised(self.fills) if closed else None,
        )
        self.world.ledger.append(("lots", rows.lot_row(lot)))
        return lot

    def open_both(self, t: float, expected: Mapping[VenueId, str], filled: Mapping[VenueId, str]) -> None:
        self._both(t, Purpose.OPEN, {self.lot.buy_venue: Side.BUY, self.lot.sell_venue: Side.SELL}, expected, filled)

    def close_both(self, t: float, expected: Mapping[VenueId, str], filled: Mapping[VenueId, str]) -> None:
        self._both(t, Purpose.CLOSE, {self.lot.buy_venue: Side.SELL, self.lot.sell_venue: Side.BUY}, expected, filled)

    def _both(
        self, t: float, purpose: Purpose, sides: Mapping[VenueId, Side], expected: Mapping[VenueId, str],
        filled: Mapping[VenueId, str],
    ) -> None:
        orders = self.intent(t, purpose, [(venue, side, expected[venue]) for venue, side in sides.items()])
        for i, ((venue, side), order) in enumerate(orders.items()):
            if venue in filled:
                self.fill(t + 0.005 + 0.002 * i, order, venue, side, purpose, "0.016", filled[venue])


def busy_replay() -> MadeUp:
    """Six lots: plain; hedged at entry; fees in base that leave dust; unwound; not filled; still open."""
    world = MadeUp()
    world.row(0.0, "mode", mode="RUN", source="startup", reason="")
    for i in range(40):
        reason = ("the reference basis is warming up", f"net edge -{i}.25 bps below 1.2 bps", "", NASTY)[i // 10]
        world.sample(i * 0.25, reason, None if i == 3 else 4.0 + i % 5, lots_open=i % 3)

    plain = world.lot(1, 2.0, UM, SPOT)
    plain.open_both(2.0, {UM: "60000", SPOT: "60040"}, {UM: "60001", SPOT: "60040"})
    plain.close_both(3.0, {UM: "60010", SPOT: "60030"}, {UM: "60010", SPOT: "60029"})
    plain.end(LotState.CLOSED, 3.01, "EXIT_EDGE: gap -0.36 bps " + NASTY)

    hedged = world.lot(2, 4.0, SPOT, UM)
    hedged.open_both(4.0, {SPOT: "60000", UM: "60020"}, {SPOT: "60000"})
    order = hedged.intent(4.01, Purpose.HEDGE, [(UM, Side.SELL, None)])[UM, Side.SELL]
    hedged.fill(4.02, order, UM, Side.SELL, Purpose.HEDGE, "0.016", "60012")
    hedged.close_both(4.5, {SPOT: "60005", UM: "60010"}, {SPOT: "60005", UM: "60010"})
    hedged.end(LotState.CLOSED, 4.6, "MAX_AGE: 300 s")

    dusty = world.lot(3, 5.0, SPOT, UM)
    orders = dusty.intent(5.0, Purpose.OPEN, [(SPOT, Side.BUY, "60000"), (UM, Side.SELL, "60030")])
    spot_order = orders[SPOT, Side.BUY]
    dusty.fill(5.005, spot_order, SPOT, Side.BUY, Purpose.OPEN, "0.01", "60001", "0.000002", "BTC")
    dusty.fill(5.005, spot_order, SPOT, Side.BUY, Purpose.OPEN, "0.00601", "60003", "0.0000012", "BTC")
    dusty.fill(5.005, orders[UM, Side.SELL], UM, Side.SELL, Purpose.OPEN, "0.016", "60030", "0.16")
    orders = dusty.intent(5.5, Purpose.CLOSE, [(SPOT, Side.SELL, "60020"), (UM, Side.BUY, "60025")])
    dusty.fill(5.505, orders[SPOT, Side.SELL], SPOT, Side.SELL, Purpose.CLOSE, "0.016", "60020", "0.19")
    dusty.fill(5.505, orders[UM, Side.BUY], UM, Side.BUY, Purpose.CLOSE, "0.016", "60026", "0.16")
    dusty.end(LotState.CLOSED, 5.51, "EXIT_EDGE: gap -0.01 bps")

    unwound = world.lot(4, 6.0, UM, SPOT)
    unwound.open_both(6.0, {UM: "60000", SPOT: "60040"}, {UM: "60000"})
    order = unwound.intent(6.01, Purpose.UNWIND, [(UM, Side.SELL, None)])[UM, Side.SELL]
    unwound.fill(6.02, order, UM, Side.SELL, Purpose.UNWIND, "0.016", "59990")
    unwound.end(LotState.CLOSED, 6.05, "UNWOUND")

    missed = world.lot(5, 7.0, UM, SPOT)
    missed.open_both(7.0, {UM: "60000", SPOT: "60040"}, {})
    missed.end(LotState.CLOSED, 7.05, "NOT_FILLED")

    still_open = world.lot(6, 8.0, UM, SPOT)
    still_open.open_both(8.0, {UM: "60000", SPOT: "60040"}, {UM: "60000", SPOT: "60038"})
    still_open.end(LotState.OPEN)

    world.event(9.0, "guard_trip", "guard:feed_stale", f"no frame for 2 s {NASTY}")
    world.row(9.0, "mode", mode="HOLD", source="guard:feed_stale", reason=f"no frame for 2 s {NASTY}")
    world.row(9.1, "hold_cause", source="shutdown", reason="the replay is over")
    return world


def idle_replay() -> MadeUp:
    """Nothing was opened."""
    world = MadeUp()
    world.row(0.0, "mode", mode="RUN", source="startup", reason="")
    for i in range(8):
        world.sample(i * 0.25, "net edge -0.25 bps below 1.2 bps" if i else "the reference basis is warming up")
    return world


HEAD = ReportHead(
    pair="BTCUSDT", venues=(UM, SPOT), files={UM: f"um{NASTY}.gz", SPOT: "spot.gz"},
    given={"MIN_SPREAD_BPS": "1.2", "REFERENCE": NASTY},
    fees={UM: Fees(Decimal(0), Decimal("1.7")), SPOT: Fees(Decimal(1), Decimal(2))},
    order_notional_usdt=Decimal(1000), min_spread_bps=Decimal("1.2"), exit_edge_bps=Decimal("0.5"),
    stop_bps=Decimal(20), moving_reference=True, latency_ms=5.0, book_age_ms_max=1500.0,
    simulated=False, version="0.0.0",
)

RESULT = ReplayResult(
    frames=1000, market_s=10.0, wall_s=0.5,
    at_end=AtEnd(
        books={UM: BookAtEnd("59999", "60001", True, 0), SPOT: BookAtEnd(None, None, False, 1)}, pnl_usdt=None,
        fees_usdt=Decimal("0.51"), positions={UM: Decimal("0.016"), SPOT: Decimal("-0.0159")}, decisions=9,
        reason=f"HOLD since 00:00:01Z by guard:feed_stale: {NASTY}",
    ),
    counted=Counted(9, 18, 15, 5, 4), trace_sha256="ab" * 32,
)
