"""One instrument's order book: snapshot and diffs by the venue's sequence rules, with the book ticker laid over them.

The feed's reader calls `apply` for each event; pricing reads `best_bid`, `best_ask`, `screen_avg` (floats, they
screen) and `top`, `walk` (exact, they decide). Nothing here waits, and nothing a venue sends raises.

A diff tells all changes from its base (the venue's previous id, or on spot the id before its first) to its last id,
in absolute quantities. So a snapshot taken anywhere between the base of the first and the end of the last of an
unbroken row of diffs, with these diffs applied, is the book at that end. Both venue rules (spot: first kept has
U ≤ lastUpdateId+1 ≤ u; USD-M: U ≤ lastUpdateId ≤ u; recorded edge cases: U = lastUpdateId+1, u = lastUpdateId) are
this rule. On USD-M it also takes a snapshot between pu and U, where nothing of the book changed; the documented
wording would ask for another one, again and again in a quiet market.

The ticker is newer than the depth most of the time. It never changes the levels: while its update id is the newer
one, it is the top, and levels as good or better are skipped. So bid and ask always come from one moment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from decimal import Decimal
from math import inf, nan

from attrs import frozen

from propbot.books.ladder import Ladder, take_exactly, walk_exactly, walk_roughly
from propbot.books.ladder import Walk as Walk
from propbot.domain.instruments import VenueId
from propbot.domain.market import DepthDiff, DepthSnapshot, PriceLevel, PublicEvent, TopOfBook
from propbot.domain.orders import Side

RECENT_DIFFS = 600
"""Diffs kept to bridge a snapshot: half a minute of the busiest stream. A snapshot that took longer is too old."""

TopSeen = Callable[[VenueId, str, int, str | None, str | None], None]
"""(venue, `depth` or `ticker`, update id, bid, ask): what that source alone says is best, in the venue's own text; None
for an empty side."""


@frozen
class TopPrices:
    bid: Decimal
    bid_qty: Decimal
    ask: Decimal
    ask_qty: Decimal
    update_id: int


def _base_id(diff: DepthDiff) -> int:
    """The id of the book that `diff` starts from."""
    return diff.first_id - 1 if diff.prev_id is None else diff.prev_id


class OrderBook:
    """Without prices until a snapshot and the diffs around it fit together; without prices again once they don't."""

    def __init__(self, venue: VenueId, symbol: str) -> None:
        self.venue = venue
        self.symbol = symbol
        self.synced = False
        """The sequence is whole and both sides have a price."""
        self.best_bid = 0.0
        self.best_ask = inf
        self.resyncs = 0
        """How often a synchronised book was lost, other than with its connection."""
        self.malformed = 0
        """Frames ignored because of what they say."""
        self.snapshot_checks = 0
        self.snapshot_mismatches = 0
        self.loss_reason = ""
        """Why it was lost last."""
        self.last_frame_mono_s: float | None = None
        self.venue_lag_ms: float | None = None
        """Venue's clock at arrival minus the frame's own time; None until a frame carried one."""
        self._timed_mono_s = 0.0
        """When that frame arrived."""
        self.on_top: TopSeen | None = None
        """Hears of every frame that carries prices; for traces."""
        self._bids, self._asks = Ladder(1), Ladder(-1)
        self._best_bid_qty = self._best_ask_qty = 0.0
        self._chained = False
        """Snapshot and diffs fit together without a hole up to `_depth_id`."""
        self._depth_id = 0
        self._ticker: TopOfBook | None = None
        self._ticker_floats = (0.0, 0.0, inf, 0.0)
        self._recent: deque[DepthDiff] = deque(maxlen=RECENT_DIFFS)
        """An unbroken row of diffs, the newest last: to bridge a snapshot before, to check one after."""
        self._snapshot: DepthSnapshot | None = None
        """Newer than all diffs so far: decided by the diff that reaches it."""

    # --- what the feed calls

    def apply(self, event: PublicEvent) -> None:
        """Take a diff or a ticker; what is old, foreign or carries no prices changes nothing."""
        if isinstance(event, TopOfBook):
            if event.symbol == self.symbol:
                self._apply_ticker(event)
        elif isinstance(event, DepthDiff) and event.symbol == self.symbol:
            self._apply_diff(event)

    def apply_snapshot(self, snapshot: DepthSnapshot) -> None:
        """Synchronise on `snapshot`, now or as soon as the diffs reach it. Too old a one is dropped: `needs_snapshot`
        stays true."""
        if not self._chained:
            self._snapshot = snapshot
            self._bridge()

    def check_against(self, snapshot: DepthSnapshot) -> bool | None:
        """Whether the book is what `snapshot` and the diffs since then make it; if not, it is lost at once.

        Both are compared at the same id, wherever both know all levels. None: the diffs have not come so far yet (the
        one that gets there decides; see the counters), or the snapshot is older than all that are kept. A book that
        agrees goes on with the snapshot's levels: they reach further than its own after the market has moved.
        """
        if not self._chained:
            return None
        if snapshot.last_id > self._depth_id:
            self._snapshot = snapshot
            return None
        self._snapshot = None
        if snapshot.last_id < _base_id(self._recent[0]):
            return None
        rebuilt = self._rebuild(snapshot)
        if rebuilt is None:
            return None
        self.snapshot_checks += 1
        if not (self._bids.agrees_with(rebuilt[0]) and self._asks.agrees_with(rebuilt[1])):
            self.snapshot_mismatches += 1
            self._lose(f"differs from the venue's snapshot {snapshot.last_id}")
            return False
        self._bids, self._asks = rebuilt
        self._refresh()
        return True

    def touch(self, now_mono_s: float, venue_lag_ms: float | None = None) -> None:
        """A frame arrived, of whatever kind."""
        self.last_frame_mono_s = now_mono_s
        if venue_lag_ms is not None:
            self.venue_lag_ms, self._timed_mono_s = venue_lag_ms, now_mono_s

    def disconnected(self) -> None:
        """The stream ended: what was known may be wrong from here on."""
        self._chained = False
        self._recent.clear()
        self._snapshot = None
        self._ticker = None
        self.venue_lag_ms = None
        self._refresh()

    # --- what can be asked

    @property
    def needs_snapshot(self) -> bool:
        """Whether the feed should fetch one: diffs are coming in, and no snapshot is there for them."""
        return not self._chained and self._snapshot is None and bool(self._recent)

    @property
    def update_id(self) -> int:
        """The newest of depth and ticker."""
        return self._depth_id if self._ticker is None else max(self._depth_id, self._ticker.update_id)

    @property
    def mid(self) -> float:
        """NaN while unsynchronised."""
        return (self.best_bid + self.best_ask) / 2 if self.synced else nan

    @property
    def crossed(self) -> bool:
        return self.best_bid >= self.best_ask

    def age_s(self, now_mono_s: float) -> float | None:
        """How old what we know of the venue is: how late the last frame came that told its time, and how long there
        has been none such since. A frame without a time (spot's ticker) may have been seconds on its way, and makes
        nothing fresh. None before the first frame; the time since the last one while none has told its time."""
        if self.last_frame_mono_s is None:
            return None
        if self.venue_lag_ms is None:
            return now_mono_s - self.last_frame_mono_s
        return now_mono_s - self._timed_mono_s + max(self.venue_lag_ms, 0.0) / 1000

    def stale(self, now_mono_s: float, max_age_s: float) -> bool:
        age_s = self.age_s(now_mono_s)
        return age_s is None or age_s > max_age_s

    def top(self) -> TopPrices | None:
        """The exact best prices; None while unsynchronised."""
        if not self.synced:
            return None
        bid, bid_qty = next(self._bids.walk(self._ticker_level(Side.SELL)))
        ask, ask_qty = next(self._asks.walk(self._ticker_level(Side.BUY)))
        return TopPrices(Decimal(bid), Decimal(bid_qty), Decimal(ask), Decimal(ask_qty), self.update_id)

    def exact_mid(self) -> Decimal | None:
        """Between the exact best prices; None while unsynchronised."""
        if not self.synced:
            return None
        ticker = self._ticker
        if ticker is not None and ticker.update_id > self._depth_id:
            return (Decimal(ticker.bid) + Decimal(ticker.ask)) / 2
        bid, ask = self._bids.best_text, self._asks.best_text
        assert bid is not None, "synchronised without bids"
        assert ask is not None, "synchronised without asks"
        return (Decimal(bid) + Decimal(ask)) / 2

    def walk(self, side: Side, qty: Decimal) -> Walk | None:
        """What `side` of `qty` (> 0) would take at once; None if all that is visible can't fill it."""
        assert qty > 0, qty
        return walk_exactly(self._levels(side), qty) if self.synced else None

    def take(self, side: Side, qty: Decimal) -> tuple[tuple[Decimal, Decimal], ...] | None:
        """`walk` level by level: the (price, quantity) that `side` of `qty` (> 0) would get from each, best first."""
        assert qty > 0, qty
        return take_exactly(self._levels(side), qty) if self.synced else None

    def _levels(self, taker: Side) -> Iterator[PriceLevel]:
        """What an order of `taker` meets, best first."""
        ladder = self._asks if taker is Side.BUY else self._bids
        return ladder.walk(self._ticker_level(taker))

    def screen_avg(self, side: Side, qty: float) -> float:
        """The average price of `walk`, in floats; NaN if it can't be filled."""
        if not self.synced:
            return nan
        if side is Side.BUY:
            ladder, best, best_qty = self._asks, self.best_ask, self._best_ask_qty
        else:
            ladder, best, best_qty = self._bids, self.best_bid, self._best_bid_qty
        if qty <= best_qty:
            return best
        return walk_roughly(ladder.walk(self._ticker_level(side)), qty)

    # --- the ticker

    def _ticker_level(self, taker: Side) -> PriceLevel | None:
        """The ticker's level that `taker` would take, while it is newer than the depth."""
        ticker = self._ticker
        if ticker is None or ticker.update_id <= self._depth_id:
            return None
        return (ticker.ask, ticker.ask_qty) if taker is Side.BUY else (ticker.bid, ticker.bid_qty)

    def _apply_ticker(self, ticker: TopOfBook) -> None:
        if self.on_top is not None:
            self.on_top(self.venue, "ticker", ticker.update_id, ticker.bid, ticker.ask)
        if self._ticker is not None and ticker.update_id <= self._ticker.update_id:
            return
        try:
            bid, bid_qty = float(ticker.bid), float(ticker.bid_qty)
            ask, ask_qty = float(ticker.ask), float(ticker.ask_qty)
        except ValueError:
            self.malformed += 1
            return
        if not (0.0 < bid < inf and 0.0 < ask < inf and 0.0 <= bid_qty < inf and 0.0 <= ask_qty < inf):
            self.malformed += 1
            return
        if bid >= ask:
            self.malformed += 1
            self._lose(f"the ticker is crossed: bid {ticker.bid}, ask {ticker.ask}")
            return
        self._ticker = ticker
        self._ticker_floats = (bid, bid_qty, ask, ask_qty)
        if self._chained and ticker.update_id > self._depth_id:
            self._show_ticker()
            self.synced = True

    def _show_ticker(self) -> None:
        self.best_bid, self._best_bid_qty, self.best_ask, self._best_ask_qty = self._ticker_floats

    # --- the depth

    def _apply_diff(self, diff: DepthDiff) -> None:
        recent = self._recent
        if recent and diff.last_id <= recent[-1].last_id:
            return  # delivered twice, or overtaken
        if recent and _base_id(diff) != recent[-1].last_id:
            missing = f"a diff is missing between {recent[-1].last_id} and {diff.first_id}"
            recent.clear()
            self._lose(missing)
        recent.append(diff)
        if not self._chained:
            self._bridge()
            return
        if self._put_levels(self._bids, self._asks, diff):
            self._depth_id = diff.last_id
            self._tell_depth(diff, self._bids, self._asks)
            self._refresh()
            if self._snapshot is not None and self._snapshot.last_id <= diff.last_id:
                self.check_against(self._snapshot)

    def _bridge(self) -> None:
        """Become synchronised if the waiting snapshot lies within the kept diffs."""
        snapshot, recent = self._snapshot, self._recent
        if snapshot is None or not recent or recent[-1].last_id < snapshot.last_id:
            return
        self._snapshot = None
        if snapshot.last_id < _base_id(recent[0]):
            return
        rebuilt = self._rebuild(snapshot, self._tell_depth)
        if rebuilt is None:
            return
        self._bids, self._asks = rebuilt
        self._depth_id = recent[-1].last_id
        self._chained = True
        self._refresh()

    def _rebuild(
        self, snapshot: DepthSnapshot, tell: Callable[[DepthDiff, Ladder, Ladder], None] | None = None
    ) -> tuple[Ladder, Ladder] | None:
        """Both sides after the newest diff, from `snapshot` and the diffs after it; None if it is malformed. `tell`
        hears of both sides after each diff."""
        try:
            bids, asks = Ladder(1, snapshot.bids), Ladder(-1, snapshot.asks)
        except ValueError:
            self.malformed += 1
            return None
        for diff in self._recent:
            if diff.last_id <= snapshot.last_id:
                continue
            if not self._put_levels(bids, asks, diff):
                return None
            if tell is not None:
                tell(diff, bids, asks)
        return bids, asks

    def _tell_depth(self, diff: DepthDiff, bids: Ladder, asks: Ladder) -> None:
        if self.on_top is not None:
            self.on_top(self.venue, "depth", diff.last_id, bids.best_text, asks.best_text)

    def _put_levels(self, bids: Ladder, asks: Ladder, diff: DepthDiff) -> bool:
        """False if `diff` can't be read: then it is a hole in the row, and the row begins after it."""
        try:
            bids.put(diff.bids)
            asks.put(diff.asks)
        except ValueError as error:
            self.malformed += 1
            self._recent.clear()
            self._lose(f"diff {diff.last_id} can't be read: {error}")
            return False
        return True

    def _refresh(self) -> None:
        """The best prices again, after the depth changed; a crossed book is lost."""
        if not self._chained:
            self.synced = False
            self.best_bid, self.best_ask = 0.0, inf
            self._best_bid_qty = self._best_ask_qty = 0.0
            return
        bids, asks = self._bids, self._asks
        if bids.best >= asks.best:
            self._lose(f"the book is crossed: bid {bids.best}, ask {asks.best}")
            return
        if self._ticker is not None and self._ticker.update_id > self._depth_id:
            self._show_ticker()
        else:
            self.best_bid, self.best_ask = bids.best, asks.best
            self._best_bid_qty = float(bids.levels[bids.keys[-1]][1]) if bids.keys else 0.0
            self._best_ask_qty = float(asks.levels[asks.keys[-1]][1]) if asks.keys else 0.0
        self.synced = self.best_bid > 0.0 and self.best_ask < inf

    def _lose(self, reason: str) -> None:
        self._snapshot = None
        if self._chained:
            self._chained = False
            self.resyncs += 1
            self.loss_reason = reason
        self._refresh()
