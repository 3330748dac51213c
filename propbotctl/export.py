"""`export-log`: the journal into a file that is there whole or not at all, and that its owner alone may read."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from propbotctl.failures import Failure
from propbotctl.journal import Event

COLUMNS = ("id", "ts", "level", "kind", "venue", "symbol", "source", "message", "details")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A cell that begins so would be run by a spreadsheet."""
TOLD_EVERY_ROWS = 1000


def format_of(out: str | None, given: str | None) -> str:
    """json or csv: as asked for, else by the suffix, else json."""
    return given or ("csv" if out is not None and out.lower().endswith(".csv") else "json")


def write_export(rows: Iterable[Event], out: str | None, format: str, about: str) -> int:
    """How many rows were written; to stdout without `out`. Failure if the file can't be written; an older file of that
    name stays then, and nothing half is left behind."""
    if out is None:
        return _write(rows, sys.stdout, format)
    path = Path(out)
    try:
        with _whole_file(path) as file:
            return _write(_counted(rows, about), file, format)
    except OSError as error:
        raise Failure(f"{path}: {error.strerror or error}", "another place: --out FILE") from None


@contextmanager
def _whole_file(path: Path) -> Iterator[TextIO]:
    """Written beside it under another name, synced, and renamed when it is complete."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.is_dir():
        raise IsADirectoryError(0, "is a folder")
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _write(rows: Iterable[Event], file: TextIO, format: str) -> int:
    return _write_csv(rows, file) if format == "csv" else _write_json(rows, file)


def _write_json(rows: Iterable[Event], file: TextIO) -> int:
    """A bare array, one event a line."""
    count = 0
    for row in rows:
        file.write(("[\n" if count == 0 else ",\n") + json.dumps(row, ensure_ascii=False, separators=(",", ":")))
        count += 1
    file.write("[]\n" if count == 0 else "\n]\n")
    return count


def _write_csv(rows: Iterable[Event], file: TextIO) -> int:
    sheet = csv.writer(file, lineterminator="\n")
    sheet.writerow(COLUMNS)
    count = 0
    for row in rows:
        sheet.writerow([_cell(name, row.get(name)) for name in COLUMNS])
        count += 1
    return count


def _cell(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        value = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value
    return value


def _counted(rows: Iterable[Event], about: str) -> Iterator[Event]:
    """The same rows; on a terminal it shows how many there were so far."""
    if not sys.stderr.isatty():
        yield from rows
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}: {task.completed} rows"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(about, total=None)
        for count, row in enumerate(rows, start=1):
            yield row
            if count % TOLD_EVERY_ROWS == 0:
                progress.update(task, completed=count)
