"""Where log lines and the banner go: a file, a pipe or a terminal that may be full, gone, or there and not read (a
pager, Ctrl-S, a log driver that hangs), which must stop nobody: this is called by the loop that trades.

A line that can't be written is dropped and counted; the first one that goes through again says how many there were.
What happened is in the journal all the same. What goes out has been through `clean`, which takes secrets out: here,
behind every formatter, since none of them can be trusted to know.
"""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Callable
from typing import TextIO

PIECE_BYTES = select.PIPE_BUF
"""What a pipe that says it can be written takes without waiting (POSIX, poll)."""


class LogOutput:
    """`stream` as `structlog.PrintLogger` and `logging.StreamHandler` want it; no call raises.

    Written past the stream's own buffer where there is a descriptor: what a failed write leaves in a buffer fails
    again at the next flush, the last of them as the interpreter ends, where it becomes the exit code.
    """

    def __init__(self, stream: TextIO, clean: Callable[[str], str] = lambda text: text) -> None:
        self._stream = stream
        self._clean = clean
        self._lost = 0
        try:
            self._fd: int | None = stream.fileno()
        except (OSError, ValueError):  # a stream in memory, or one that is closed
            self._fd = None
        self._writable = select.poll()
        if self._fd is not None:
            self._writable.register(self._fd, select.POLLOUT)
        self._torn = False
        """The last line was written in part."""

    def write(self, text: str) -> int:
        told = f"({self._lost} writes to this log failed)\n" if self._lost and text.strip() else ""
        told = "\n" + told if self._torn and told else told
        try:
            self._put(told + self._clean(text))
        except (OSError, ValueError):
            self._lost += 1
        else:
            if told:
                self._lost = 0
        return len(text)

    def flush(self) -> None:
        """Nothing waits: each write is whole, or lost."""

    def _put(self, text: str) -> None:
        if self._fd is None:
            self._stream.write(text)
            self._stream.flush()
            return
        rest = memoryview(text.encode("utf-8", "backslashreplace"))
        self._torn = False
        while rest:
            if not self._writable.poll(0):
                raise BlockingIOError(errno.EAGAIN, "nobody reads this log")
            rest = rest[os.write(self._fd, rest[:PIECE_BYTES]):]
            self._torn = len(rest) > 0
