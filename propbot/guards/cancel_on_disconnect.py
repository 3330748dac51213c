"""Trips when a venue's private stream or order path is lost for five seconds while orders of ours are open there: what
we can't hear of and can't cancel is no order of ours any more. Clears when connected and reconciled.

It also shows the venue's dead-man switch, which `execution.dead_man` keeps armed for exactly that case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import define, field, frozen

from propbot.domain.status import Health, Metric
from propbot.guards.watch import Finding

DEAD_MAN_AGE_S_WARN = 15.0
"""It is refreshed every ten seconds and runs out after thirty."""


@frozen
class DeadManSeen:
    """What was last known of a venue's switch."""

    age_s: float | None
    """Since it was last armed; None while it is off."""
    resting: int
    foreign: int
    problem: str


@frozen
class DisconnectSeen:
    private_lost: bool
    order_path_lost: bool
    """No call has been answered since one was not."""
    open_orders: int
    """Of ours, resting or of unknown outcome."""
    reconciled: bool
    dead_man: DeadManSeen | None = None
    """None where the venue has no such switch."""

    @property
    def lost(self) -> str:
        """In words; empty where nothing is lost."""
        names = (("private stream", self.private_lost), ("order path", self.order_path_lost))
        return " and ".join(name for name, is_lost in names if is_lost)


@define(eq=False)
class CancelOnDisconnectGuard:
    seen: Callable[[], Mapping[str, DisconnectSeen]]
    now_s: Callable[[], float]
    patience_s: float = 5.0
    _since: dict[str, float] = field(factory=dict, init=False)
    """Venue → since when something has been lost with orders open."""
    _reasons: dict[str, str] = field(factory=dict, init=False)
    id: str = field(default="cancel_on_disconnect", init=False)
    title: str = field(default="Orders we can't reach", init=False)
    interval_s: float = field(default=0.2, init=False)

    def look(self) -> Finding:
        venues, now_s = self.seen(), self.now_s()
        for venue, seen in venues.items():
            self._note(venue, seen, now_s)
        metrics = _metrics(venues)
        clear = all(not seen.lost and seen.reconciled for seen in venues.values())
        if self._reasons:
            text = "; ".join(self._reasons.values())
            return Finding(Health.ERROR, text, metrics, text, clear=False)
        return Finding(*_words(venues), metrics, clear=clear)

    def _note(self, venue: str, seen: DisconnectSeen, now_s: float) -> None:
        if not (seen.lost and seen.open_orders):
            self._since.pop(venue, None)
            self._reasons.pop(venue, None)
        elif now_s - self._since.setdefault(venue, now_s) >= self.patience_s:
            # as it was when this trip began: what else is lost meanwhile is no new cause
            words = f"{venue}: {seen.lost} lost for {self.patience_s:g} s with orders open"
            self._reasons.setdefault(venue, words)


def _words(venues: Mapping[str, DisconnectSeen]) -> tuple[Health, str]:
    lost = [f"{venue}: {seen.lost} lost, {seen.open_orders} orders open" for venue, seen in venues.items() if seen.lost]
    if lost:
        return Health.WARN, "; ".join(lost)
    doubts = [f"{venue}: {doubt}" for venue, seen in venues.items() if (doubt := _doubt(seen.dead_man))]
    if doubts:
        return Health.WARN, "; ".join(doubts)
    armed = [venue for venue, seen in venues.items() if seen.dead_man is not None and seen.dead_man.age_s is not None]
    switch = f"dead-man switch armed at {', '.join(armed)}" if armed else "nothing rests, dead-man switch off"
    return Health.OK, f"private streams and order paths are up; {switch}"


def _doubt(dead_man: DeadManSeen | None) -> str:
    if dead_man is None:
        return ""
    if dead_man.resting and dead_man.foreign:
        return f"dead-man switch off: it would cancel {dead_man.foreign} foreign orders too"
    if dead_man.problem:
        return f"dead-man switch not refreshed: {dead_man.problem}"
    if dead_man.age_s is not None and dead_man.age_s > DEAD_MAN_AGE_S_WARN:
        return "dead-man switch not refreshed in time"
    return ""


def _metrics(venues: Mapping[str, DisconnectSeen]) -> dict[str, Metric]:
    metrics: dict[str, Metric] = {}
    for venue, seen in venues.items():
        metrics[f"{venue}.open_orders"] = seen.open_orders
        metrics[f"{venue}.lost"] = seen.lost or "nothing"
        if seen.dead_man is not None:
            age_s = seen.dead_man.age_s
            metrics[f"{venue}.dead_man"] = "off" if age_s is None else "armed"
            metrics[f"{venue}.dead_man_age_s"] = None if age_s is None else round(age_s, 1)
    return metrics
