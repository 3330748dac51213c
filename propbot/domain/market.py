"""What venues say about prices. Levels stay the venue's own text until a decision needs exact numbers.

These are msgspec structs, not attrs classes: one is made for each market frame, and a frozen attrs object costs
about five times as much to make.
"""

from __future__ import annotations

from msgspec import Struct

from propbot.domain.instruments import VenueId

PriceLevel = tuple[str, str]
"""(price, quantity) exactly as the venue wrote them; quantity is absolute, "0…" deletes the level."""


class DepthDiff(Struct, frozen=True, gc=False):
    """One depth update. `prev_id` is the venue's previous `u` (USD-M `pu`), None where the venue sends none (spot)."""

    venue: VenueId
    symbol: str
    first_id: int
    last_id: int
    prev_id: int | None
    bids: list[PriceLevel]
    asks: list[PriceLevel]
    event_ms: int | None
    """Venue wall clock."""


class TopOfBook(Struct, frozen=True, gc=False):
    """A book ticker: the best bid and ask at `update_id`, in the same id space as depth. Spot sends no time."""

    venue: VenueId
    symbol: str
    update_id: int
    bid: str
    bid_qty: str
    ask: str
    ask_qty: str
    event_ms: int | None


class DepthSnapshot(Struct, frozen=True):
    """A REST depth answer; best levels first. Levels outside it are unknown until a diff touches them."""

    venue: VenueId
    symbol: str
    last_id: int
    bids: list[PriceLevel]
    asks: list[PriceLevel]


class VenueNotice(Struct, frozen=True):
    """A control frame of a public stream: an error answer, an announced shutdown. `fatal` ends the session."""

    venue: VenueId
    text: str
    fatal: bool = False


PublicEvent = DepthDiff | TopOfBook | VenueNotice
