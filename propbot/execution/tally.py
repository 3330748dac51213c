"""How venues answer our orders: equal refusals in a row, for the breaker; round trips and outcomes, for the SLO.

The executor writes it, guards and status read it. Only a venue's own no counts as a rejection: what our risk, the gate
or a pause of ours keeps back never got that far, and a 429 has a guard of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from attrs import define, field, frozen

from propbot.domain.clock import Clock
from propbot.domain.errors import AccessRefused, ClockRefused, ProtocolViolation, VenueError, VenueRefused
from propbot.domain.instruments import VenueId
from propbot.domain.orders import OrderReport, OrderState

ANSWERS_KEPT_MAX = 2000


@frozen
class RejectionRun:
    """The same refusal of one venue, `count` times with no order taken in between."""

    what: str
    """The venue's code, or its words where it gave none."""
    count: int
    last_mono_s: float


@frozen
class Answer:
    """One order's answer. `rtt_s` from the first byte on."""

    mono_s: float
    rtt_s: float
    rejected: bool


@define(eq=False)
class OrderTally:
    """Synchronous. `on_rejection` hears of each venue's no at once: the breaker must not wait for its next look."""

    clock: Clock
    on_rejection: Callable[[], None] = lambda: None
    rejections: dict[VenueId, RejectionRun] = field(factory=dict)
    answers: deque[Answer] = field(factory=lambda: deque(maxlen=ANSWERS_KEPT_MAX))

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
            self.answers.append(Answer(now, now - sent_mono_s, rejected))


def _is_rejection(error: VenueError) -> bool:
    if isinstance(error, ProtocolViolation):
        return error.http_status is not None and 400 <= error.http_status < 500
    return isinstance(error, VenueRefused | AccessRefused | ClockRefused)
