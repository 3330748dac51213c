"""The commands that look at a data directory, and keep or bring back what is in it: no service has to run, none is
disturbed by it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from propbot.control.state_file import BadStateFile, RuntimeState, load_state
from propbot.domain.errors import PropBotError
from propbot.ledger.beside import verify_file

FAILED = 1
_data_dir = click.option(
    "--data-dir", type=click.Path(path_type=Path, file_okay=False), default=Path("data"), show_default=True,
    envvar="DATA_DIR", help="The data directory.",
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
    except PropBotError as error:
        click.echo(f"propbot: {error}", err=True)
        sys.exit(FAILED)
    except OSError as error:
        click.echo(f"propbot: {error.filename or ''}: {error.strerror or error}", err=True)
        sys.exit(FAILED)
