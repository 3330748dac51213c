"""Faults of what a venue sends out: frames lost, doubled, late, crossed, absurd or of a frozen time, and words changed.

`Hub` asks for market frames, `PrivateFeed` and `RestFace` for their own; a venue with no fault armed pays one look.
What the venue itself has (its book, its orders) is never touched: only what its clients are told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

from attrs import define, evolve, field

from propbot.domain.market import DepthDiff, TopOfBook
from propbot.simvenue.faces.core import Core
from propbot.simvenue.records import MarketFrame

_TIMES = re.compile(r'"(E|T)":\d+')
_TICKER_PRICE = re.compile(r'"(a|b)":"([\d.]+)"')
_BIDS = re.compile(r'"b":\[')
_ABOVE = Decimal("1.01")
"""How far beyond the best ask a crossed book's bid stands."""


def rewritten(core: Core, where: str, text: str, path: str = "") -> str:
    """`text` as fault `rewrite` lets it go out to `where` (rest, private, public); `path` is the REST call's."""
    if not core.faults.armed(core.venue):
        return text
    asked = core.faults.lasting(core.venue, "rewrite", occasion=False)
    if asked is None or asked["where"] != where or not path.endswith(asked["path"] or ""):
        return text
    return text.replace(asked["find"], asked["to"])


@define(eq=False)
class FrameFaults:
    """What becomes of one venue's market frames on their way out."""

    core: Core
    _held: MarketFrame | None = field(default=None, init=False)
    """A depth frame that goes out after the next one."""
    _frozen_ms: int | None = field(default=None, init=False)

    def late_s(self) -> float:
        """How much later than they should be frames go out now, seconds."""
        late = self.core.faults.lasting(self.core.venue, "late_frames")
        return 0.0 if late is None else float(late["late_s"])

    def pass_on(self, frame: MarketFrame) -> Iterator[MarketFrame]:
        """What goes out in `frame`'s place: nothing, itself, or others."""
        faults, venue, is_depth = self.core.faults, self.core.venue, isinstance(frame.event, DepthDiff)
        if faults.lasting(venue, "silent_feed") is not None:
            return
        if is_depth and faults.strike(venue, "depth_gap") is not None:
            return
        frame = self._changed(frame)
        if is_depth:
            yield from self._jumbled(frame)
            if faults.strike(venue, "bad_neighbour") is not None:
                yield self._neighbour(frame)
        else:
            yield frame

    def _jumbled(self, frame: MarketFrame) -> Iterator[MarketFrame]:
        held, self._held = self._held, None
        asked = self.core.faults.lasting(self.core.venue, "mangled_depth")
        fate = 3 if asked is None or not asked["share"] else int(self.core.rng.random() / asked["share"])
        if fate == 0:
            pass  # lost
        elif fate == 1:
            yield from (frame, frame)
        elif fate == 2 and held is None:
            self._held = frame
        else:
            yield frame
        if held is not None:
            yield held

    def _changed(self, frame: MarketFrame) -> MarketFrame:
        faults, venue = self.core.faults, self.core.venue
        frozen = faults.lasting(venue, "frozen_time")
        if frozen is None:
            self._frozen_ms = None
        else:
            if self._frozen_ms is None:
                self._frozen_ms = self.core.wall_ms()
            frame = _replaced(frame, _TIMES, rf'"\1":{self._frozen_ms}')
        if isinstance(frame.event, TopOfBook):
            absurd = faults.lasting(venue, "absurd_price")
            if absurd is not None:
                frame = _scaled(frame, Decimal(str(absurd["factor"])))
            if faults.strike(venue, "crossed_ticker") is not None:
                frame = _crossed(frame)
        elif isinstance(frame.event, DepthDiff) and faults.strike(venue, "crossed_depth") is not None:
            ask = Decimal(self.core.engine.depth(frame.symbol, 1).asks[0][0])
            row = f'["{(ask * _ABOVE).quantize(ask)}","1.000"]'
            frame = _replaced(frame, _BIDS, f'"b":[{row},' if frame.event.bids else f'"b":[{row}')
        text = rewritten(self.core, "public", frame.data)
        return frame if text is frame.data else _with_data(frame, text)

    @staticmethod
    def _neighbour(frame: MarketFrame) -> MarketFrame:
        """Another symbol's diff, of which nothing is right: its ids run backwards and its price is none."""
        data = '{"e":"depthUpdate","E":1,"s":"NOSUCHUSDT","U":9,"u":2,"pu":7,"b":[["nan","-1"]],"a":[]}'
        return _with_data(evolve(frame, stream="nosuchusdt@depth"), data)


def _with_data(frame: MarketFrame, data: str) -> MarketFrame:
    return evolve(frame, data=data, envelope=f'{{"stream":"{frame.stream}","data":{data}}}')


def _replaced(frame: MarketFrame, found: re.Pattern[str], to: str) -> MarketFrame:
    return _with_data(frame, found.sub(to, frame.data))


def _scaled(frame: MarketFrame, factor: Decimal) -> MarketFrame:
    def scale(found: re.Match[str]) -> str:
        price = Decimal(found[2])
        return f'"{found[1]}":"{(price * factor).quantize(price)}"'

    return _with_data(frame, _TICKER_PRICE.sub(scale, frame.data))


def _crossed(frame: MarketFrame) -> MarketFrame:
    assert isinstance(frame.event, TopOfBook), "a ticker"
    swapped = {"a": frame.event.bid, "b": frame.event.ask}
    return _with_data(frame, _TICKER_PRICE.sub(lambda found: f'"{found[1]}":"{swapped[found[1]]}"', frame.data))
