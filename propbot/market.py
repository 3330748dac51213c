"""The books of one pair as far as they can be trusted: what pricing and hedging may ask of the market."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from math import inf
from typing import Any

from attrs import define, field

from propbot.books.book import OrderBook
from propbot.decision.decide import compute_limit_price
from propbot.domain.clock import Clock
from propbot.domain.instruments import Fees, Instrument, Kind, VenueId
from propbot.domain.money import ZERO, amount_text
from propbot.domain.orders import Side
from propbot.spread.funding import FundingDue, compute_funding_bps

PRICE_BAND_BPS = 500.0
"""Mids of one pair on two venues are never so far apart for long: BTC's perp and spot parted by one or two percent in
the worst hours. What is further away is a wrong price, or a market for people; which of the two it is can't be told."""

JUMP_S = 60.0
"""How long a price is not believed that is further than that from the same venue's last sound one. Both venues may lie
at once, and alike; by then the book has been compared with a snapshot. A market that really jumps goes on after it."""


def is_absurd(mid: float, other_mid: float) -> bool:
    """Whether two mids, both above zero, lie further apart than `PRICE_BAND_BPS`."""
    return abs(mid - other_mid) * 20_000.0 > PRICE_BAND_BPS * (mid + other_mid)


@define
class TradingMarket:
    """The books of one pair, as far as they can be trusted; `execution.ports.Market`."""

    books: Mapping[VenueId, OrderBook]
    instruments: Mapping[VenueId, Instrument]
    fees: Mapping[VenueId, Fees]
    clock: Clock
    book_age_s_max: float
    funding: dict[VenueId, FundingDue] = field(factory=dict)
    """Of the perps, once it was read."""
    _sound: dict[VenueId, float] = field(factory=dict)
    """Each venue's mid, twice, when both were last believed."""
    _sound_mono_s: float = -inf

    def note_mids(self, venues: Sequence[VenueId], first: float, second: float, now_mono_s: float) -> bool:
        """Twice the mids of two synchronised books that agree with each other, at each frame; False if one of them has
        jumped."""
        sound = self._sound
        if now_mono_s - self._sound_mono_s <= JUMP_S and (
            is_absurd(first, sound[venues[0]]) or is_absurd(second, sound[venues[1]])
        ):
            return False
        sound[venues[0]], sound[venues[1]] = first, second
        self._sound_mono_s = now_mono_s
        return True

    def distrust(self, venue: VenueId) -> str | None:
        """Why the book of `venue` can't be traded on now."""
        book = self.books[venue]
        if not book.synced:
            return f"{venue}: the book is not synchronised"
        if book.crossed:
            return f"{venue}: the book is crossed"
        if book.venue_lag_ms is None:
            # a ticker may carry no time: the first frames of a new connection could be old, and would look fresh
            return f"{venue}: how late its frames come is not known yet"
        if book.stale(self.clock.mono_s(), self.book_age_s_max):
            late = book.venue_lag_ms > self.book_age_s_max * 1000
            told = "the venue's own time in its frames is older than" if late else "no frame for"
            return f"{venue}: {told} {self.book_age_s_max:g} s"
        return self._out_of_band(venue) or self._jumped(venue)

    def _jumped(self, venue: VenueId) -> str | None:
        sound = self._sound.get(venue)
        left_s = self._sound_mono_s + JUMP_S - self.clock.mono_s()
        if sound is not None and left_s >= 0 and is_absurd(self.books[venue].mid * 2, sound):
            return f"{venue}: its price moved by more than {PRICE_BAND_BPS / 100:g} % at once"
        return None

    def _out_of_band(self, venue: VenueId) -> str | None:
        mid = self.books[venue].mid
        for other, book in self.books.items():
            if other != venue and book.synced and is_absurd(book.mid, mid):
                return f"{venue}: its price is more than {PRICE_BAND_BPS / 100:g} % from the one at {other}"
        return None

    def funding_problem(self, venue: VenueId) -> str | None:
        """Why the cost of holding a position on `venue` can't be told now."""
        if self.instruments[venue].kind is not Kind.PERP:
            return None
        due = self.funding.get(venue)
        if due is None:
            return f"funding of {venue} is unknown"
        if due.outdated(self.clock.mono_s()):
            return f"funding of {venue} is unknown since its last settlement"
        return None

    def funding_bps(self, venue: VenueId, side: Side, holding_s_max: float) -> Decimal:
        """Zero where it is unknown: nothing is opened then. Almost always zero before any arithmetic."""
        due = self.funding.get(venue)
        return ZERO if due is None else compute_funding_bps(due, side, self.clock.mono_s(), holding_s_max)

    def mark(self, venue: VenueId) -> Decimal | None:
        """The mid; None while there is none, or while it is far from the other venues': which of them is wrong can't be
        told, and a loss that is none would be counted by it."""
        return None if self._out_of_band(venue) is not None else self.books[venue].exact_mid()

    def walk_limit(self, venue: VenueId, side: Side, qty: Decimal, slippage_bps: Decimal) -> Decimal | None:
        if self.distrust(venue) is not None:
            return None
        walk = self.books[venue].walk(side, qty)
        if walk is None:
            return None
        return compute_limit_price(walk.worst_price, side, self.instruments[venue], slippage_bps)

    def take(self, venue: VenueId, side: Side, qty: Decimal) -> tuple[tuple[Decimal, Decimal], ...] | None:
        """(price, quantity) level by level of what the trusted book would give; None if it can't be trusted."""
        return None if self.distrust(venue) is not None else self.books[venue].take(side, qty)

    def book_sights(self) -> Mapping[VenueId, Mapping[str, Any]]:
        """What each book says at its best now, and how far it is to be trusted: for traces."""
        now_s = self.clock.mono_s()
        sights: dict[VenueId, Mapping[str, Any]] = {}
        for venue, book in self.books.items():
            top, age_s = book.top(), book.age_s(now_s)
            sights[venue] = {
                "u": book.update_id, "synced": book.synced, "crossed": book.crossed,
                "age_s": None if age_s is None else round(age_s, 6),
                "bid": None if top is None else amount_text(top.bid),
                "ask": None if top is None else amount_text(top.ask),
            }
        return sights

    def book_ids(self) -> Mapping[VenueId, int]:
        return {venue: book.update_id for venue, book in self.books.items()}
