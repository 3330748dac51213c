"""How venues answer our orders: equal refusals in a row, for the breaker; round trips and outcomes, for the SLO.

The executor writes it, guards and status read it. Only a venue's own no counts as a rejection: what our risk, the gate
or a pause of ours keeps back never got that far, and a 429 has a guard of its own.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field, frozen

from propbot.domain.clock import Clock
from propbot.domain.errors import (
    AccessRefused,
    ClockRefused,
    ConnectFailed,
    OrderNotFound,
    ProtocolViolation,
    RateLimited,
    VenueError,
    VenueRefused,
)
from propbot.domain.instruments import VenueId
from propbot.domain.orders import OrderReport, OrderState
from propbot.kit.window import Window

MEASURED_S = 600.0
"""How far back the SLO looks."""


@frozen
class RejectionRun:
    """The same refusal of one venue, `count` times with no order taken in between."""

    what: str
    """The venue's code, or its words where it gave none."""
    count: int
    last_mono_s: float


@define(eq=False)
class OrderTally:
    """Synchronous. `on_rejection` hears of each venue's no at once: the breaker must not wait for its next look."""

    clock: Clock
    on_rejection: Callable[[], None] = lambda: None
    rejections: dict[VenueId, RejectionRun] = field(factory=dict)
    rtt_ms: Window = field(factory=lambda: Window(MEASURED_S))
    """First byte to answer, of every order that was answered."""
    rejected: Window = field(factory=lambda: Window(MEASURED_S))
    """1 for a venue's no, 0 for an order that it took."""
    cancel_failed: Window = field(factory=lambda: Window(MEASURED_S))
    """1 for a cancel that got no answer or a no, 0 for one that went through or came too late to matter."""

    def note_report(self, report: OrderReport, sent_mono_s: float | None) -> None:
        if report.state is OrderState.REJECTED:
            self._reject(report.venue, report.reason or "rejected", sent_mono_s)
            return
        self.rejections.pop(report.venue, None)
        self._answer(sent_mono_s, rejected=False)

    def note_error(self, venue: VenueId, error: VenueError, sent_mono_s: float | None) -> None:
        if _is_rejection(error):
            self._reject(venue, f"code {error.code}" if error.code is not None else error.message, sent_mono_s)

    def _reject(self, venue: VenueId, what: str, sent_mono_s: float | None) -> None:
        known = self.rejections.get(venue)
        count = known.count + 1 if known is not None and known.what == what else 1
        self.rejections[venue] = RejectionRun(what, count, self.clock.mono_s())
        self._answer(sent_mono_s, rejected=True)
        self.on_rejection()

    def _answer(self, sent_mono_s: float | None, *, rejected: bool) -> None:
        if sent_mono_s is not None:
            now = self.clock.mono_s()
            self.rtt_ms.note(now, (now - sent_mono_s) * 1000)
            self.rejected.note(now, float(rejected))

    def note_cancel(self, error: VenueError | None) -> None:
        """None: it went through. A venue that no byte reaches, or that wants to be left alone, refuses nothing: other
        guards hold for those, and an outage must not be held against the cancels for as long as a service level
        remembers."""
        if isinstance(error, ConnectFailed | RateLimited):
            return
        failed = error is not None and not isinstance(error, OrderNotFound)
        self.cancel_failed.note(self.clock.mono_s(), float(failed))


def _is_rejection(error: VenueError) -> bool:
    if isinstance(error, ProtocolViolation):
        return error.http_status is not None and 400 <= error.http_status < 500
    return isinstance(error, VenueRefused | AccessRefused | ClockRefused)
