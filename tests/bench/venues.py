"""The embedded venues in a process of their own, commanded over a pipe: one JSON line in, one out.

    python -m tests.bench.venues --folder F [--plain] [--recording FILE]

    {"do": "ticks", "kind": "one" | "burst_last" | "burst_first", "count": N, "settle_ms": [a, b]}
        N cycles: a tick that pays, its orders, a tick that closes, its orders; answers with their rows
    {"do": "trade", "settle_ms": [a, b]}, {"do": "stop"}
        the same without end until stopped
    {"do": "rest", "id": "…"}
        an order of that id at each venue, far from the market: one that the bot's prefix makes its own
    {"do": "stand", "paying": true}
        moves the perpetual, and leaves it there
    {"do": "rows"}
        every row but frames since the last answer that held rows
    {"do": "arm"}, {"do": "flood"}
        recorded frames for the next client; then the flood, and when its marker's order came

The process is a venue like any: same host, faces and trace as `propbot venues`. It knows when it was answered because
the trace's sink hears every row.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import trio
from attrs import define, field

from propbot.domain.instruments import BINANCE_SPOT, BINANCE_UM, Fees
from propbot.domain.money import ZERO, floor_to_step
from propbot.domain.orders import Side
from propbot.simvenue.access import HostAccess
from propbot.simvenue.faces.limits import Limit
from propbot.simvenue.host import HostConfig, run_host
from propbot.simvenue.records import MarketFrame, NewOrder, SimTif, SimType
from tests.bench import recorded
from tests.bench.market import BenchMarket
from tests.bench.trace import first_order_ns
from tests.bench.wire import BenchNetwork, Flood

VENUES = (BINANCE_UM, BINANCE_SPOT)
NO_LIMITS = (Limit("REQUEST_WEIGHT", "MINUTE", 1, 10**9), Limit("ORDERS", "MINUTE", 1, 10**9))
LATENCY_S = 0.001
"""One way, inside of the venue: after the row that says that an order arrived."""
BURST = 20
LEGS = 2
ANSWER_S_MAX = 1.0
TRADE_ANSWER_S_MAX = 0.05
"""Who trades without end goes on when nobody answers any more: that is what a HOLD looks like from here."""
HEARTBEAT_S = 0.1
AHEAD_MS = 600_000
"""Recorded events begin so far in the future that none is late, however slowly they are taken."""
MARKER_FACTOR = 1.03


@define(eq=False)
class Venues:
    market: BenchMarket
    network: BenchNetwork
    rng: random.Random
    recording: recorded.Recorded | None
    access: HostAccess | None = None
    busy: bool = False
    """A cycle is under way: no heartbeat may come between a tick and its order."""
    _replies: int = 0
    _news: trio.Event = field(factory=trio.Event)
    _since: int = 0
    _trading: trio.CancelScope | None = None
    _trading_ended: trio.Event = field(factory=trio.Event)

    def sink(self, kind: str, **fields: Any) -> None:
        """Hears every row of the trace."""
        if kind == "order_reply":
            self._replies += 1
        if kind in ("order_reply", "order"):
            self._news.set()

    async def answer(self, command: dict[str, Any], nursery: trio.Nursery) -> dict[str, Any]:
        match command["do"]:
            case "ticks":
                self.rows()
                for _ in range(command["count"]):
                    await self.cycle(command["kind"], command["settle_ms"])
                return {"rows": self.rows()}
            case "trade":
                self._trading_ended = trio.Event()
                nursery.start_soon(self._trade, command["settle_ms"])
                return {}
            case "stop":
                if self._trading is not None:
                    self._trading.cancel()
                    await self._trading_ended.wait()
                return {}
            case "rest":
                self._rest(command["id"])
                return {}
            case "stand":
                self.market.publish(self.market.um_tick(paying=command["paying"]))
                return {}
            case "rows":
                return {"rows": self.rows()}
            case "arm":
                return await self._arm()
            case "flood":
                return await self._flood()
        raise ValueError(f"no such command: {command}")

    def rows(self) -> list[dict[str, Any]]:
        assert self.access is not None
        assert self.access.inside is not None
        rows, self._since = self.access.inside.trace.since(self._since)
        return [row for row in rows if row["kind"] != "frame"]

    def _rest(self, client_order_id: str) -> None:
        assert self.access is not None
        assert self.access.inside is not None
        for engine in self.access.inside.engines.values():
            (instrument,) = (each for each in engine.instruments() if each.symbol == "BTCUSDT")
            price = floor_to_step(engine.mark_price("BTCUSDT") * Decimal("0.97"), instrument.tick_size)
            engine.place(
                NewOrder(client_order_id, "BTCUSDT", Side.BUY, SimType.LIMIT, SimTif.GTC, Decimal("0.01"), price)
            )

    # --- ticks

    async def cycle(self, kind: str, settle_ms: tuple[float, float]) -> None:
        """Open and close one lot; the moments between are random, so that no timer of the bot keeps in step."""
        self.busy = True
        try:
            for paying in (True, False):
                await trio.sleep(self.rng.uniform(*settle_ms) / 1000)
                await self._tick(self._burst(kind, paying), "open" if paying else "close")
                self.market.publish(self.market.spot_tick())
        finally:
            self.busy = False

    def _burst(self, kind: str, paying: bool) -> list[MarketFrame]:
        """Ticks of one write. `burst_last`: only the last one changes the price; `burst_first`: the first one does."""
        tick = self.market.um_tick
        match kind:
            case "one":
                return [tick(paying=paying)]
            case "burst_last":
                return [tick(paying=not paying) for _ in range(BURST - 1)] + [tick(paying=paying)]
            case "burst_first":
                return [tick(paying=paying) for _ in range(BURST)]
        raise ValueError(f"no such tick: {kind}")

    async def _tick(self, frames: list[MarketFrame], what: str, within_s: float = ANSWER_S_MAX) -> None:
        """Send them, and wait until both orders were answered; or no longer, and the row stands without its orders."""
        assert self.access is not None
        assert self.access.inside is not None
        wanted = self._replies + LEGS
        self.network.gate.hold(len(frames))
        for frame in frames:
            self.market.publish(frame)
        with trio.CancelScope(shield=True):  # a tick that has begun leaves whole: half of one would end the connection
            sent_ns = await self.network.gate.release()
        self.access.inside.trace.row(BINANCE_UM, "out", "tick", mono_ns=sent_ns, n=len(frames), what=what)
        with trio.move_on_after(within_s):
            while self._replies < wanted:
                self._news = trio.Event()
                await self._news.wait()

    async def _trade(self, settle_ms: tuple[float, float]) -> None:
        with trio.CancelScope() as self._trading:
            while True:
                self.busy = True
                for paying in (True, False):
                    await trio.sleep(self.rng.uniform(*settle_ms) / 1000)
                    tick = self.market.um_tick(paying=paying)
                    await self._tick([tick], "open" if paying else "close", TRADE_ANSWER_S_MAX)
                    self.market.publish(self.market.spot_tick())
        self.busy = False
        self._trading_ended.set()

    async def heartbeat(self) -> None:
        """Both books stay fresh, whatever the benchmark does elsewhere."""
        while True:
            await trio.sleep(HEARTBEAT_S)
            if not self.busy:
                self._refresh()

    def _refresh(self) -> None:
        market = self.market
        market.publish(market.depth(BINANCE_SPOT))
        market.publish(market.spot_tick())
        if self.recording is None:
            market.publish(market.depth(BINANCE_UM))
            market.publish(market.um_tick(paying=market.paying))

    # --- the flood

    async def _arm(self) -> dict[str, Any]:
        assert self.recording is not None
        last_id, price = self.recording.last_id + 1000, round(self.recording.mid * MARKER_FACTOR, 1)
        now_ms = self.market.wall_ns() // 1_000_000 + AHEAD_MS
        data = (
            f'{{"e":"bookTicker","u":{last_id},"s":"BTCUSDT","b":"{price:.2f}","B":"5.000","a":"{price + 0.1:.2f}",'
            f'"A":"5.000","T":{now_ms},"E":{now_ms}}}'
        )
        marker = f'{{"stream":"btcusdt@bookTicker","data":{data}}}'.encode()
        prefix = self.recording.prefix
        pulse = recorded.text_frame(prefix[-1])
        flood = Flood(recorded.chunks(prefix), pulse, recorded.chunks([*self.recording.flood, marker]))
        self.network.flood = flood
        return {
            "prefix": len(prefix), "frames": len(self.recording.flood) + 1, "marker_id": last_id,
            "marker_bid": f"{price:.2f}",
        }

    async def _flood(self) -> dict[str, Any]:
        """From the first byte until the order that the marker, the last frame, makes pay; None if it never comes."""
        flood = self.network.flood
        assert flood is not None
        self.rows()
        with trio.fail_after(30):
            await flood.connected.wait()
        flood.go.set()
        order_ns: int | None = None
        with trio.move_on_after(60):
            await flood.sent.wait()
            with trio.move_on_after(3):
                while order_ns is None:
                    self._news = trio.Event()
                    await self._news.wait()
                    order_ns = first_order_ns(self.rows(), flood.first_byte_ns)
        return {
            "first_byte_ns": flood.first_byte_ns, "last_byte_ns": flood.last_byte_ns, "order_ns": order_ns,
            "pulses": flood.pulses,
        }


async def run(options: argparse.Namespace) -> None:
    wall_ns = time.time_ns
    recording = None
    if options.recording is not None:
        recording = recorded.load(options.recording, wall_ns() // 1_000_000 + AHEAD_MS)
    market = (
        BenchMarket(wall_ns) if recording is None else BenchMarket(wall_ns, round(recording.mid, 1), recording.snapshot)
    )
    network = BenchNetwork()
    venues = Venues(market, network, random.Random(1), recording)
    free = Fees(maker_bps=ZERO, taker_bps=ZERO)
    config = HostConfig(
        venues=VENUES, fees=dict.fromkeys(VENUES, free), latency_s=LATENCY_S, limits=dict.fromkeys(VENUES, NO_LIMITS),
        funding_rate=ZERO,
    )
    async with trio.open_nursery() as nursery:
        venues.access = await nursery.start(
            partial(
                run_host, config, network=network, source=market, store_path=None, rng=random.SystemRandom(),
                mono_ns=time.monotonic_ns, trace=venues.sink, tls=not options.plain,
                ca_file=None if options.plain else options.folder / "ca.pem",
            )
        )
        nursery.start_soon(venues.heartbeat)
        _say({"access": json.loads(venues.access.to_json())})
        async for command in _commands():
            try:
                _say(await venues.answer(command, nursery))
            except (trio.TooSlowError, AssertionError, ValueError) as error:
                _say({"error": f"{command}: {type(error).__name__}: {error}"})
        nursery.cancel_scope.cancel()


async def _commands() -> Any:
    """Lines of stdin until whoever started us closes it."""
    left = b""
    async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as stream:
        async for data in stream:
            *lines, left = (left + data).split(b"\n")
            for line in lines:
                yield json.loads(line)


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--plain", action="store_true", help="no TLS")
    parser.add_argument("--recording", type=Path, help="the flood's frames; the perpetual is this recording's")
    trio.run(run, parser.parse_args())


if __name__ == "__main__":
    main()
