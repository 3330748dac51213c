"""How a command ends when it does not end well: an exit code that scripts can rely on, and what to do next.

    0 ok   1 refused or failed   2 usage   3 unreachable   4 unauthorised   5 waits for another person's approval
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any

import click

PENDING = 5


class Failure(click.ClickException):
    """Refused, or failed. Said on stderr: the message, then one line each of what to do next."""

    exit_code = 1

    def __init__(self, message: str, *next_steps: str) -> None:
        super().__init__(message)
        self.next_steps: Sequence[str] = next_steps

    def show(self, file: IO[Any] | None = None) -> None:
        self._say(f"error: {self.message}", file)

    def _say(self, first: str, file: IO[Any] | None) -> None:
        click.echo(clean(first), file=file, err=True)
        for step in self.next_steps:
            click.echo(f"  {clean(step)}", file=file, err=True)


class Conflicting(Failure):
    """409: not as things are now; somebody has to mend what stands in the way."""


class Held(Failure):
    """The request's HOLD took effect, and something else of it was refused, or is not sure. `answer` is the body."""

    def __init__(self, why: str, answer: Mapping[str, Any], *next_steps: str) -> None:
        super().__init__(f"the HOLD took effect; {why}", *next_steps)
        self.answer = answer

    def show(self, file: IO[Any] | None = None) -> None:
        self._say(self.message, file)


class Unusable(Failure):
    """422: what was asked for can't be taken."""


class NotThere(Failure):
    """404: no such thing, or a service that is older than this command."""


class NotNow(Failure):
    """503, or a stream's 429: the same may be granted a little later."""


class Foreign(Failure):
    """Something answered, and it was not PropBot; or a release of it that this command does not know."""

    def __init__(self, message: str, *next_steps: str) -> None:
        where = "is it PropBot that runs at that URL? --base-url URL, or PROPBOT_BASE_URL"
        super().__init__(message, where, *next_steps)


class Misused(Failure):
    exit_code = 2


class Unreachable(Failure):
    exit_code = 3


class Unauthorised(Failure):
    """401; or 429, after too many wrong tokens."""

    exit_code = 4


@contextmanager
def reader_may_leave() -> Iterator[None]:
    """For what prints: `| head` that has seen enough is no failure. What is printed afterwards goes nowhere."""
    try:
        yield
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # the interpreter flushes at its end, and would fail again
        os.close(nowhere)


@contextmanager
def otherwise(next_steps: Sequence[str], *kinds: type[Failure]) -> Iterator[None]:
    """A Failure of these kinds from inside says them as well: what to do is often the command's own to know."""
    try:
        yield
    except kinds as failure:
        failure.next_steps = [*failure.next_steps, *next_steps]
        raise


def clean(text: str) -> str:
    """What came over the wire must not steer the terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)
