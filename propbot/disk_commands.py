"""The commands that look at a data directory, and keep or bring back what is in it: no service has to run, none is
disturbed by it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from dotenv import dotenv_values

from propbot.backup import make_backup, open_backup
from propbot.backup import restore as restore_backup
from propbot.control.state_file import BadStateFile, RuntimeState, load_state
from propbot.domain.errors import DataDirectoryBusy, PropBotError
from propbot.ledger.beside import verify_file

FAILED, BUSY = 1, 3


def _default_data_dir() -> str:
    """As `propbot run` finds it; the other settings do not matter here, and may be wrong or absent."""
    return os.environ.get("DATA_DIR") or dotenv_values(".env", interpolate=False).get("DATA_DIR") or "data"


_data_dir = click.option(
    "--data-dir", type=click.Path(path_type=Path, file_okay=False), default=_default_data_dir,
    help="The data directory.  [default: DATA_DIR, else data]",
)


@click.group()
def audit() -> None:
    """The journal: is it the one that was written?"""


@audit.command("verify")
@_data_dir
def verify(data_dir: Path) -> None:
    """Walk the journal's hash chain. Exit 0 if it is whole, 1 with the first bad row if not.

    Reads only, also beside a running service. The last row that runtime_state.json knows must be there.
    """
    with _problems_told():
        state = _state_of(data_dir)  # before the ledger, which only grows: what the state knows must be in it
        found = verify_file(data_dir / "ledger.db", None if state is None else state.head)
    if found.ok:
        click.echo(f"ok: {found.rows} rows, head {found.head or 'none'}")
        known = None if state is None else state.head
        click.echo(
            "no head is known outside of the ledger: a tail that was cut would not show" if known is None
            else f"row {known.id}, which runtime_state.json knows, is in it"
        )
    else:
        click.echo(f"first bad row: {found.first_bad}: {found.reason}")
        click.echo(f"{found.rows} rows before it are as they were written")
        sys.exit(FAILED)


@click.command()
@_data_dir
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="The file.  [default: one in DATA_DIR/snapshots]"
)
def backup(data_dir: Path, out: Path | None) -> None:
    """Keep ledger and runtime state in one file, also while the service runs. Secrets are no part of it."""
    with _problems_told():
        made = make_backup(data_dir, out, time.time_ns())
    click.echo("\n".join(made.describe()))
    if not made.journal.ok:
        click.echo(f"propbot: the journal's first bad row is {made.journal.first_bad}: {made.journal.reason}", err=True)
        click.echo("propbot: the backup was made as evidence; it can't be restored", err=True)
        sys.exit(FAILED)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@_data_dir
@click.option("--verify", "only_verify", is_flag=True, help="Only check the file and say what it holds.")
@click.option("--force", is_flag=True, help="Replace what is there; it is kept in a folder of its own.")
def restore(file: Path, data_dir: Path, only_verify: bool, force: bool) -> None:
    """Put a backup into a data directory where no service runs. What starts on it starts in HOLD."""
    with _problems_told():
        if only_verify:
            with open_backup(file) as (found, _):
                click.echo("\n".join([*found.describe(), "whole: every part of it is what was backed up"]))
            return
        made = restore_backup(file, data_dir, time.time_ns(), force=force)
    click.echo("\n".join([*made.describe(), f"restored into {data_dir}: start it, compare with the venues, resume"]))


def _state_of(data_dir: Path) -> RuntimeState | None:
    """None, with a word about it, where there is none that can be read."""
    try:
        return load_state(data_dir)
    except BadStateFile as error:
        click.echo(f"propbot: {error}", err=True)
        return None


@contextmanager
def _problems_told() -> Iterator[None]:
    """Ours and the system's errors as one line each, and exit 1."""
    try:
        yield
    except DataDirectoryBusy as error:
        click.echo(f"propbot: {error}: stop it first", err=True)
        sys.exit(BUSY)
    except PropBotError as error:
        click.echo(f"propbot: {error}", err=True)
        sys.exit(FAILED)
    except OSError as error:
        click.echo(f"propbot: {error.filename or ''}: {error.strerror or error}", err=True)
        sys.exit(FAILED)
