"""`propbot operators`: the people of OPERATORS_FILE. A token is made here, shown once, and kept as its digest only.

The file is replaced whole or not at all, for its owner alone; a running service reads it again within two seconds.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import click
from dotenv import dotenv_values

from propbot.control.operators import (
    BadOperators,
    Operator,
    Operators,
    Role,
    digest_token,
    parse_operators,
    read_operators,
)
from propbot.kit.disk import replace_private

FAILED = 1
TOKEN_BYTES = 32
IN_FORCE = "a running service takes it up within two seconds"


def _setting(name: str) -> str | None:
    """As `propbot run` finds it; the other settings do not matter here, and may be wrong or absent."""
    return os.environ.get(name) or dotenv_values(".env", interpolate=False).get(name) or None


_file = click.option(
    "--file", "path", type=click.Path(path_type=Path, dir_okay=False), default=lambda: _setting("OPERATORS_FILE"),
    help="The list.  [default: OPERATORS_FILE]",
)


@click.group()
def operators() -> None:
    """Who may do what: people with tokens of their own."""


@operators.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice([str(role) for role in Role]), default="operator", show_default=True)
@click.option("--telegram-id", type=int, help="The person's Telegram user id, a whole number.")
@_file
def add(name: str, role: str, telegram_id: int | None, path: Path | None) -> None:
    """Add a person. Stdout has the token, once: nobody can look it up again."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    with _changing(path) as (listed, write):
        write([*listed, Operator(name, Role(role), digest_token(token.encode()), telegram_id)])
    click.echo(f"{name} is {role}; {IN_FORCE}. This token is shown once, hand it over safely:", err=True)
    click.echo(token)
    _warn_of_too_few(path)


@operators.command("list")
@_file
def show(path: Path | None) -> None:
    """List everybody who is let in; no token, no digest."""
    listed = _read(_required(path))
    everybody = Operators.of(_setting("API_TOKEN"), listed, by_file=True).people
    for each in everybody:
        telegram = "" if each.telegram_id is None else f"  telegram {each.telegram_id}"
        source = "  (API_TOKEN)" if each.name == "api" else ""
        click.echo(f"{each.name:32} {each.role:9}{'  approves' if each.can_approve else ''}{telegram}{source}".rstrip())
    _warn_of_too_few(path)


@operators.command("revoke")
@click.argument("name")
@_file
def revoke(name: str, path: Path | None) -> None:
    """Take a person off the list: their token stops working, and what they proposed is void."""
    with _changing(_existing(path)) as (listed, write):
        rest = [each for each in listed if each.name != name]
        if len(rest) == len(listed):
            _refuse(f"{name} is not in the list; `propbot operators list` shows who is")
        write(rest)
    click.echo(f"{name} is no longer let in; {IN_FORCE}", err=True)
    _warn_of_too_few(path)


def _required(path: Path | None) -> Path:
    if path is None:
        raise click.UsageError("OPERATORS_FILE is not set: set it, or name the file with --file")
    return path


def _existing(path: Path | None) -> Path:
    found = _required(path)
    if not found.exists():
        _refuse(f"{found}: there is no such file")
    return found


def _read(path: Path) -> tuple[Operator, ...]:
    token = _setting("API_TOKEN")
    try:
        return read_operators(path, None if token is None else digest_token(token.encode()))[1]
    except BadOperators as error:
        _refuse(*(f"{path}: {problem}" for problem in error.problems))


@contextmanager
def _changing(path: Path | None) -> Iterator[tuple[tuple[Operator, ...], _Write]]:
    """The list and how to replace it, while nobody else changes it; two administrators do not undo one another."""
    found = _required(path)
    try:
        lock = os.open(found.parent, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield (_read(found) if found.exists() else ()), _Write(found)
        finally:
            os.close(lock)
    except OSError as error:
        _refuse(f"{error.filename or found}: {error.strerror or error}")


class _Write:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, people: Sequence[Operator]) -> None:
        """Only a list that the service would take."""
        entries = [
            {
                "name": each.name, "role": str(each.role), "token_sha256": each.token_digest.hex(),
                "telegram_id": each.telegram_id,
            }
            for each in people
        ]
        content = json.dumps(entries, indent=2).encode() + b"\n"
        token = _setting("API_TOKEN")
        try:
            parse_operators(content, None if token is None else digest_token(token.encode()))
        except BadOperators as error:
            _refuse(*error.problems)
        replace_private(self._path, content)


def _warn_of_too_few(path: Path | None) -> None:
    """Under the Two-Man Rule a start with fewer than two is refused, and a running service could not leave HOLD."""
    listed = _read(_required(path))
    approvers = Operators.of(_setting("API_TOKEN"), listed, by_file=True).approvers
    if (_setting("TWO_MAN_RULE") or "").lower() in ("true", "1", "yes", "on") and len(approvers) < 2:
        who = ", ".join(approvers) or "nobody"
        click.echo(
            f"warning: TWO_MAN_RULE is on and fewer than two people can approve ({who}): add one with --role approver, "
            "else nobody can leave HOLD and the next start is refused", err=True,
        )


def _refuse(*problems: str) -> NoReturn:
    for problem in problems:
        click.echo(f"propbot: {problem}", err=True)
    sys.exit(FAILED)
