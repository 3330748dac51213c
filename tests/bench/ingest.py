"""Ingest: socket → book updated → screened. The real bot (`propbot run`) takes recorded frames as fast as it can.

The venues' process sends 72 thousand depth and book-ticker frames of the BTCUSDT perpetual, framed beforehand, without
a pause. Spot stands still, so that both directions of the spread are screened after each frame and none pays. The
last frame is a marker that does pay: the order that it leads to is the proof, seen from outside, that every frame
before it is in the book. Afterwards the bot must have counted every frame, and its book must say what the marker says;
anything else is a failure and no figure.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.bench.rig import (
    UM_RECORDING,
    Bench,
    BenchBot,
    BenchFailure,
    BenchVenues,
    Metric,
    cpu_s,
    interleaved,
    median,
    running_bench_bot,
    running_child,
    running_venues,
)

NAME = "ingest"
ROUNDS = 3
SETTINGS = {"MIN_SPREAD_BPS": "100", "LEDGER_SYNC": "normal"}
"""The recorded perpetual moves by 40 bps, the marker by 300."""
CLIENTS = {"websockets": "", "trio-websocket": "_trio_websocket"}
"""The WebSocket clients, the default first; what is measured with the other one has its name."""

_count = itertools.count()


@frozen
class Flooded:
    frames: int
    seconds: float
    cpu_s: float

    @property
    def frames_a_second(self) -> float:
        return self.frames / self.seconds

    @property
    def cpu_us_a_frame(self) -> float:
        return self.cpu_s / self.frames * 1e6


def measure(bench: Bench) -> Iterable[Metric]:
    if not UM_RECORDING.exists():
        bench.say(f"left out: the recording {UM_RECORDING.name} is not beside this checkout")
        return
    folder = bench.folder / "ingest"
    recording = ("--recording", str(UM_RECORDING))
    with (
        running_venues(folder / "tls", *recording) as tls,
        running_venues(folder / "plain", "--plain", *recording) as plain,
    ):
        roads = {"tls": tls, "plain": plain}
        variants: dict[str, Callable[[], Flooded]] = {}
        for road, venues in roads.items():
            for client, suffix in CLIENTS.items():
                variants[f"ingest{suffix}.{road}"] = partial(_flood_bot, bench, folder, venues, client)
                variants[f"floor.ws_layer{suffix}.{road}"] = partial(_flood_reader, folder, venues, client)
            variants[f"floor.bare_frames.{road}"] = partial(_flood_reader, folder, venues, "bare")
        for name, rounds in interleaved(ROUNDS, variants).items():
            n = rounds[0].frames
            yield Metric(f"{name}.frames_per_s", median([each.frames_a_second for each in rounds]), "frames/s", n)
            yield Metric(f"{name}.cpu_us_per_frame", median([each.cpu_us_a_frame for each in rounds]), "us", n)
    yield from _memory_loops(folder)


def _flood_bot(bench: Bench, folder: Path, venues: BenchVenues, client: str) -> Flooded:
    """A fresh bot each time: after the marker it trades on a price that no venue has."""
    armed = venues.ask({"do": "arm"})
    with running_bench_bot(folder / f"bot{next(_count)}", bench, venues, WS_CLIENT=client, **SETTINGS) as bot:
        bot.wait_trading()
        used_s = cpu_s(bot.pid)
        told = venues.ask({"do": "flood"}, within_s=90)
        used_s = cpu_s(bot.pid) - used_s
        _check(bot, armed, told)
    return Flooded(armed["frames"], (told["order_ns"] - told["first_byte_ns"]) / 1e9, used_s)


def _check(bot: BenchBot, armed: dict[str, Any], told: dict[str, Any]) -> None:
    wanted = armed["prefix"] + told["pulses"] + armed["frames"]
    frames, book = 0, {}
    for _ in range(20):
        parts = {part["id"]: part for part in bot.get("/api/ui/status/overview")["components"]}
        frames = parts["venue:binance-um"]["metrics"]["frames"]
        book = bot.get("/api/ui/state")["venues"]["binance-um"]["book"]
        if frames == wanted and told["order_ns"] is not None:
            break
        time.sleep(0.1)
    if told["order_ns"] is None:
        raise BenchFailure(f"the marker led to no order; {frames} of {wanted} frames: {bot.log_tail()}")
    if frames != wanted or book["resyncs"] or float(book["bid"]) != float(armed["marker_bid"]):
        raise BenchFailure(f"{frames} of {wanted} frames arrived, the book says {book}, the marker {armed}")


def _flood_reader(folder: Path, venues: BenchVenues, kind: str) -> Flooded:
    armed = venues.ask({"do": "arm"})
    access = folder / "reader.json"
    access.write_text(json.dumps({**venues.access, **armed}))
    arguments = ("reader", "--access", str(access), "--kind", kind, "--frames", str(armed["frames"]))
    with running_child("tests.bench.loops", *arguments, log=folder / "loops.log") as reader:
        reader.answer()
        venues.tell({"do": "flood"})
        took = reader.answer()
        told = venues.answer()
    flooded = took["frames"] - told["pulses"]  # the reader counts whatever comes after the prefix
    return Flooded(flooded, (took["last_ns"] - told["first_byte_ns"]) / 1e9, took["cpu_s"])


def _memory_loops(folder: Path) -> Iterable[Metric]:
    def run() -> dict[str, Any]:
        arguments = ("memory", "--recording", str(UM_RECORDING))
        with running_child("tests.bench.loops", *arguments, log=folder / "loops.log") as loops:
            return loops.answer()

    rounds: list[dict[str, Any]] = interleaved(ROUNDS, {"memory": run})["memory"]
    names = {"decode_us": "decode", "book_us": "decode_book", "screen_us": "decode_book_edge"}
    for name, metric in names.items():
        figure = median([each[name] for each in rounds])
        yield Metric(f"floor.{metric}.cpu_us_per_frame", figure, "us", rounds[0]["frames"])
