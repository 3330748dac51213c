"""A recording as a replay plays it: it waits until somebody listens, keeps a pace if asked to, tells how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import trio
from attrs import define, field, frozen

from propbot.domain.instruments import VenueId
from propbot.domain.market import DepthSnapshot
from propbot.simvenue.recording import RecordedMarket
from propbot.simvenue.records import MarketFrame

PROGRESS_EVERY_FRAMES = 500


@frozen
class Pace:
    """Holds the process back, so that people can watch: market time runs `speed` times as fast as theirs.

    It blocks the whole run on purpose. Time is virtual, so nothing in the run can notice, and the trace is the same at
    every speed.
    """

    speed: float
    now_s: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _began_s: float = field(init=False)

    @_began_s.default
    def _begin(self) -> float:
        return self.now_s()

    def keep(self, market_s: float) -> None:
        ahead_s = market_s / self.speed - (self.now_s() - self._began_s)
        if ahead_s > 0:
            self.sleep(ahead_s)


@define(eq=False)
class ReplayedMarket:
    """A `MarketSource` over `recorded`: nothing is published before `begin` is set."""

    recorded: RecordedMarket
    pace: Callable[[float], None]
    """Gets the market seconds so far, before each frame."""
    tell: Callable[[float, float], None]
    """Progress, now and then: (how much of the files is read, 0 to 1; market seconds)."""
    frames: int = 0
    begin: trio.Event = field(factory=trio.Event)

    @property
    def snapshots(self) -> Mapping[tuple[VenueId, str], DepthSnapshot]:
        return self.recorded.snapshots

    def wall_ns(self) -> int:
        return self.recorded.wall_ns()

    async def run(self, publish: Callable[[MarketFrame], None]) -> None:
        await self.begin.wait()

        def paced(frame: MarketFrame) -> None:
            self.pace(self.recorded.played_s)
            self.frames += 1
            publish(frame)
            if self.frames % PROGRESS_EVERY_FRAMES == 0:
                self.tell(self.recorded.share_read, self.recorded.played_s)

        await self.recorded.run(paced)
        self.tell(1.0, self.recorded.played_s)
