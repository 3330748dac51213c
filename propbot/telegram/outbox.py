"""What waits to be told: bounded, the urgent first, a burst in few messages. Synchronous; nothing waits for it.

Pushes that wait together become one message, the urgent ones on top; what does not fit is counted there and can be
read elsewhere. An answer to a person is a message of its own. When it is full the least urgent goes, oldest first.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import trio
from attrs import define, field, frozen

NOTES_MAX = 200
ANSWERS_MAX = 20
"""Whoever asks faster than can be answered must not keep others from being told."""
TEXT_UNITS_MAX = 4096
"""Of a message. Reports differ on whether Telegram counts characters or UTF-16 units; units are the stricter."""
LATE_S = 60.0
"""An answer that leaves later than this says of when it is."""


class Rank(IntEnum):
    """The lower the sooner."""

    URGENT = 0
    ANSWER = 1
    WARNING = 2
    NOTE = 3


@frozen
class Note:
    rank: Rank
    text: str
    at: str
    """`03:12:09Z`, for people."""
    mono_s: float
    key: str = ""
    """A newer note of the same key takes its place."""


@frozen
class Letter:
    """One message, and the notes that it tells of."""

    text: str
    notes: Sequence[Note]
    untold: int = 0
    """How many lost notes it tells of."""


@define(eq=False)
class Outbox:
    dropped: int = 0
    """Notes that nobody was told, since there was no room or Telegram refused them."""
    _notes: list[Note] = field(factory=list)
    """In the order they are told in: by rank, the oldest first."""
    _untold: int = 0
    _grew: trio.Event = field(factory=trio.Event)

    @property
    def waiting(self) -> int:
        return len(self._notes)

    @property
    def next_rank(self) -> Rank | None:
        return self._notes[0].rank if self._notes else None

    def put(self, note: Note) -> None:
        if note.key:
            self._notes = [each for each in self._notes if each.key != note.key]
        self._insert([note])
        self._grew.set()

    async def wait(self) -> None:
        """Until there is something to tell."""
        while not self._notes:
            self._grew = trio.Event()
            await self._grew.wait()

    async def wait_more(self) -> None:
        """Until one more was put."""
        self._grew = trio.Event()
        await self._grew.wait()

    def take(self, now_mono_s: float) -> Letter:
        """The next message; whoever takes it gives it back if it could not be sent."""
        assert self._notes, "wait for something to tell"
        first = self._notes[0]
        if first.rank is Rank.ANSWER:
            del self._notes[0]
            late = f"(of {first.at}, told late)\n" if now_mono_s - first.mono_s > LATE_S else ""
            return Letter(cut(late + first.text), [first])
        taken = [note for note in self._notes if note.rank is not Rank.ANSWER]
        self._notes = [note for note in self._notes if note.rank is Rank.ANSWER]
        untold, self._untold = self._untold, 0
        return Letter(_join(taken, untold), taken, untold)

    def give_back(self, letter: Letter) -> None:
        """It was not sent. What has come meanwhile under the same key is newer."""
        self._untold += letter.untold
        keys = {note.key for note in self._notes if note.key}
        self._insert([note for note in letter.notes if note.key not in keys], oldest=True)
        self._grew.set()

    def give_up(self, letter: Letter) -> None:
        """It will never be taken."""
        self.dropped += len(letter.notes)

    def _insert(self, notes: Sequence[Note], *, oldest: bool = False) -> None:
        both = [*notes, *self._notes] if oldest else [*self._notes, *notes]
        self._notes = sorted(both, key=lambda note: note.rank)
        while sum(note.rank is Rank.ANSWER for note in self._notes) > ANSWERS_MAX:
            self._drop_oldest(Rank.ANSWER)
        while len(self._notes) > NOTES_MAX:
            self._drop_oldest(self._notes[-1].rank)

    def _drop_oldest(self, rank: Rank) -> None:
        del self._notes[next(at for at, note in enumerate(self._notes) if note.rank is rank)]
        self.dropped += 1
        self._untold += 1


def _join(notes: Sequence[Note], untold: int) -> str:
    """A line each, the urgent ones first, as many as fit; how many are left out stands at the end."""
    lost = f"{untold} more could not be told, there were too many" if untold else ""
    lines: list[str] = []
    room = TEXT_UNITS_MAX - 160  # for what may have to be said at the end
    for number, note in enumerate(notes):
        line = f"{note.at} {note.text}"
        size = units(line) + 1
        if size > room and lines:
            left = len(notes) - number
            lines.append(f"… and {left} more: propbotctl incidents, propbotctl events")
            break
        lines.append(line)
        room -= size
    return cut("\n".join(filter(None, [*lines, lost])))


def units(text: str) -> int:
    """UTF-16 code units."""
    return len(text) + sum(char > "\uffff" for char in text)


def cut(text: str, units_max: int = TEXT_UNITS_MAX) -> str:
    """As much of the beginning as fits, and an ellipsis where something is missing."""
    if units(text) <= units_max:
        return text
    room, kept = units_max - 1, []
    for char in text:
        room -= units(char)
        if room < 0:
            break
        kept.append(char)
    return "".join(kept).rstrip() + "…"
