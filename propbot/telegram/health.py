"""How the chat does, measured, and what the status page says of it. Written by poller and sender; the rest is pure."""

from __future__ import annotations

from attrs import define, field

from propbot.domain.status import Health, Metric
from propbot.telegram.outbox import Outbox

SILENT_S_MAX = 60.0
"""A poll is answered every 25 s at the latest: two of them in a row were not."""
FAILURE_SHOWN_S = 300.0
CONFLICT_S = 60.0
"""How long after the last 409 another poller is taken to be there still."""


@define(eq=False)
class ChatHealth:
    """Times are monotonic seconds."""

    started_mono_s: float
    polled_mono_s: float | None = None
    """When a poll was answered last."""
    polls: int = 0
    poll_error: str = ""
    """Why the last poll failed; empty since one was answered."""
    send_error: str = ""
    send_failing_mono_s: float | None = None
    """Since when nothing can be sent; None since something was."""
    sent: int = 0
    told: int = 0
    """Notes in the messages that were sent."""
    conflict_mono_s: float | None = None
    key_refused: str = ""
    failure: str = ""
    """A part that failed, and is begun again: a bug, whatever it says."""
    failed_mono_s: float | None = None
    commands: int = 0
    ignored: int = 0
    """Messages of people and chats that we do not know."""

    def in_conflict(self, now_s: float) -> bool:
        return self.conflict_mono_s is not None and now_s - self.conflict_mono_s < CONFLICT_S

    def metrics(self, now_s: float, waiting: int, dropped: int) -> dict[str, Metric]:
        age_s = None if self.polled_mono_s is None else round(now_s - self.polled_mono_s, 1)
        return {
            "last_poll_age_s": age_s, "polls": self.polls, "commands": self.commands, "ignored": self.ignored,
            "queue": waiting, "messages_sent": self.sent, "notes_told": self.told, "notes_dropped": dropped,
            "last_error": self.send_error or self.poll_error or None,
        }

    def judge(self, now_s: float) -> tuple[Health, str]:
        if self.key_refused:
            return Health.ERROR, f"TELEGRAM_BOT_TOKEN is refused: {self.key_refused}; set the right one and restart"
        if self.in_conflict(now_s):
            words = "another poller takes this bot's updates, commands may not arrive here: stop it, or its webhook"
            return Health.ERROR, words
        if self.failed_mono_s is not None and now_s - self.failed_mono_s < FAILURE_SHOWN_S:
            return Health.WARN, f"a part of it failed and was begun again: {self.failure}"
        silent_s = now_s - (self.started_mono_s if self.polled_mono_s is None else self.polled_mono_s)
        why = f": {self.poll_error}" if self.poll_error else ""
        if silent_s > SILENT_S_MAX:
            return Health.WARN, f"commands do not arrive: no poll was answered for {silent_s:.0f} s{why}"
        if self.send_failing_mono_s is not None and now_s - self.send_failing_mono_s > SILENT_S_MAX:
            return Health.WARN, f"nothing can be told for {now_s - self.send_failing_mono_s:.0f} s: {self.send_error}"
        if self.polled_mono_s is None:
            return Health.OK, f"connecting; no poll was answered yet{why}"
        return Health.OK, f"listens; a poll was answered {silent_s:.0f} s ago"


@define(eq=False)
class Chat:
    """What the rest of the service may know of the chat."""

    health: ChatHealth
    outbox: Outbox = field(factory=Outbox)
