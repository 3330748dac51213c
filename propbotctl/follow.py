"""`events --follow`: what is new in the journal, as it happens, once each and in order, over lost connections too.

The stream tells that something is new; the list closes whatever gap lies between two connections. A service without a
stream is asked again and again instead.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import takewhile

import click

from propbotctl.failures import Foreign, NotNow, NotThere, Unreachable, clean
from propbotctl.journal import Event, as_event, read_pages
from propbotctl.options import Target

SILENCE_S_MAX = 60.0
"""The stream's heartbeats come more often; longer than this, and the connection is dead."""
POLL_S = 1.0
BACKOFF_S = (0.5, 1, 2, 5, 10)


@dataclass(frozen=True)
class ServerEvent:
    """One of a stream of server-sent events."""

    kind: str
    data: str
    id: str | None


def read_events(lines: Iterable[str]) -> Iterator[ServerEvent]:
    """As the HTML standard reads an event stream: comments are nothing, a blank line ends an event."""
    kind, data, id = "message", list[str](), None
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if line == "":
            if data:
                yield ServerEvent(kind, "\n".join(data), id)
            kind, data = "message", []
        elif name == "event":
            kind = value
        elif name == "data":
            data.append(value)
        elif name == "id":
            id = value


def split_lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Lines that end with LF or CRLF; the last one, not ended, is dropped as the standard wants it."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r").decode(errors="replace")


def _event_in(data: str) -> Event:
    try:
        return as_event(json.loads(data))
    except (ValueError, RecursionError):
        raise Foreign("the stream has events that are not PropBot's") from None


@dataclass
class Follower:
    """Prints from `begin` on, until interrupted. Raises only what trying again can't mend."""

    target: Target
    wanted: Mapping[str, str]
    print_event: Callable[[Event], None]
    sleep: Callable[[float], None] = time.sleep
    last_id: int = 0
    _stream_id: str | None = field(default=None, init=False)
    _can_stream: bool = field(default=True, init=False)

    def begin(self, first: int) -> None:
        """The newest `first` ones, oldest first."""
        newest = self.target.get("/api/ui/events", {"limit": "1"})["items"]
        self.last_id = newest[0]["id"] if newest else 0
        if first:
            params = {"limit": str(first), "cursor": str(self.last_id + 1), **self.wanted}
            self._print_all(reversed(self.target.get("/api/ui/events", params)["items"]))

    def run(self) -> None:
        failures = 0
        while True:
            try:
                for _ in self._turns():
                    failures = 0
            except (Unreachable, NotNow) as failure:
                pause_s = BACKOFF_S[min(failures, len(BACKOFF_S) - 1)]
                failures += 1
                click.echo(f"{clean(failure.message)}; again in {pause_s:g} s", err=True)
                self.sleep(pause_s)

    def _turns(self) -> Iterator[None]:
        """A turn each time that something was heard; ends with the connection."""
        if self._can_stream:
            try:
                yield from self._stream()
            except NotThere:
                click.echo("this service has no stream of events: asking it every second", err=True)
                self._can_stream = False
            else:
                return
        self.catch_up()
        yield
        self.sleep(POLL_S)

    def _stream(self) -> Iterator[None]:
        seen = {} if self._stream_id is None else {"Last-Event-ID": self._stream_id}
        headers = {"Accept": "text/event-stream", **seen}
        with self.target.open_stream("/api/ui/stream", more_headers=headers, timeout_s=SILENCE_S_MAX) as chunks:
            self.catch_up()
            yield
            for event in read_events(split_lines(chunks)):
                self._stream_id = event.id if event.id is not None else self._stream_id
                if event.kind == "event":
                    self._take(_event_in(event.data))
                yield
        raise Unreachable("the stream has ended")

    def _take(self, event: Event) -> None:
        if event["id"] > self.last_id + 1:  # the stream left something out: it drops what a slow reader does not take
            self.catch_up()
        if event["id"] > self.last_id:
            self.last_id = event["id"]
            if all(event[name] == value for name, value in self.wanted.items()):
                self.print_event(event)

    def catch_up(self) -> None:
        """Everything after the last one that was told."""
        newest = self.target.get("/api/ui/events", {"limit": "1"})["items"]
        if not newest or newest[0]["id"] <= self.last_id:
            return
        before = str(newest[0]["id"] + 1)
        pages = read_pages(self.target, self.wanted, before)
        missed = list(takewhile(lambda event: event["id"] > self.last_id, pages))
        self._print_all(reversed(missed))
        self.last_id = newest[0]["id"]

    def _print_all(self, events: Iterable[Event]) -> None:
        for event in events:
            self.print_event(event)
