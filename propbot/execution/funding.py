"""Funding that nobody told us of: paid while the bot was down, or while the private stream was cut.

The venue's list is dear (weight 30 on USD-M), so it is asked for only after a connection, when payments may have been
missed, and when the quote balance differs from the books. Each payment counts once, by its income id.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field

from propbot.domain.clock import Clock
from propbot.domain.instruments import VenueId
from propbot.execution.blotter import Blotter
from propbot.execution.ports import OrderGateway

OVERLAP_MS = 24 * 3_600_000
"""Asked for again before the last payment that is known: one before it may have been missed."""
ASK_EVERY_S = 3.0
"""A difference that stays is no reason to spend the venue's weight on it every second."""
LAG_MS = 30_000
"""The wallet moves first; the list names the payment a moment later (seen in hummingbot#3346)."""
HOUR_MS = 3_600_000


@define(eq=False)
class FundingSearch:
    """`first_contact_ms` has the venues that pay funding, once they were met (venue clock)."""

    blotter: Blotter
    gateways: Mapping[VenueId, OrderGateway]
    first_contact_ms: Mapping[VenueId, int]
    clock: Clock
    _connections: dict[VenueId, int] = field(factory=dict)
    _caught_up: dict[VenueId, int] = field(factory=dict)
    """The connection, counted, whose missed payments were asked for."""
    _asked_mono_s: dict[VenueId, float] = field(factory=dict)

    def note_connected(self, venue: VenueId) -> None:
        """Its private stream is up (again): what was paid meanwhile was not told."""
        self._connections[venue] = self._connections.get(venue, 0) + 1

    async def catch_up(self, venue: VenueId, symbol: str) -> None:
        """Book what was missed, unless that was done since the last connection. VenueError if it can't be asked."""
        connection = self._connections.get(venue, 0)
        if venue in self.first_contact_ms and self._caught_up.get(venue) != connection:
            await self._ask(venue, symbol)
            self._caught_up[venue] = connection  # not of one that came meanwhile

    async def explain(self, venue: VenueId, symbol: str) -> None:
        """The quote balance differs: book what the venue lists by now. VenueError if it can't be asked."""
        asked = self._asked_mono_s.get(venue)
        recently = asked is not None and self.clock.mono_s() - asked < ASK_EVERY_S
        if venue in self.first_contact_ms and not recently:
            self._asked_mono_s[venue] = self.clock.mono_s()
            await self._ask(venue, symbol)

    def may_lag(self, venue: VenueId) -> bool:
        """Whether a payment may be in the balance already and not in the list yet: right after a full hour, by the
        venue's clock (every interval ends on one)."""
        return venue in self.first_contact_ms and self.gateways[venue].ts_ms() % HOUR_MS < LAG_MS

    async def _ask(self, venue: VenueId, symbol: str) -> None:
        last_ms = self.blotter.funding_last_ms.get(venue)
        first_ms = self.first_contact_ms[venue]
        since_ms = first_ms if last_ms is None else max(first_ms, last_ms - OVERLAP_MS)
        for payment in await self.gateways[venue].funding_payments(symbol, since_ms):
            self.blotter.observe_funding(payment)
