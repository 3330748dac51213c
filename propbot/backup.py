"""`propbot backup` and `propbot restore`: ledger and runtime state as one file, and back.

A backup may be made while the service runs. The state is read before the ledger: the ledger only grows, so that it has
every journal row that this state knows. Secrets are no part of it, nor is what the embedded venues keep: a venue does
not go back in time.

A restored state is a HOLD that lasts, also in paper: the venues have gone on since, and somebody has to look. The new
state is put in place first, so that a kill at any moment leaves a HOLD or the old state.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from propbot import __version__
from propbot.control.modes import ModeView
from propbot.control.state_file import FILE_NAME as STATE
from propbot.control.state_file import BadStateFile, RuntimeState, decode_state, load_state, save_state
from propbot.domain.clock import iso_utc
from propbot.domain.errors import PropBotError
from propbot.domain.events import JournalCheck
from propbot.domain.mode import Cause, HoldRecord, Mode
from propbot.kit.crash import CrashPoints
from propbot.kit.disk import hold_directory, sync_folder
from propbot.ledger import chain
from propbot.ledger.beside import copy_ledger, count_rows, require_sound, verify_file

FORMAT = 1
LEDGER, MANIFEST = "ledger.db", "manifest.json"
SNAPSHOTS = "snapshots"
_NEIGHBOURS = (f"{LEDGER}-wal", f"{LEDGER}-shm")
GENERATION = "SELECT value FROM meta WHERE key = 'state_generation'"


class BackupError(PropBotError):
    """A backup that can't be made, can't be trusted or can't be put there; the message says why and what to do."""


@frozen
class Backup:
    """What an archive holds, checked."""

    path: Path
    manifest: Mapping[str, Any]
    journal: JournalCheck
    state: RuntimeState | None

    def describe(self) -> list[str]:
        rows = self.manifest["rows"]
        mode = "none" if self.state is None else str(self.state.view.mode)
        return [
            f"{self.path}: made {self.manifest['created']} by PropBot {self.manifest['propbot']}",
            f"  ledger  schema {self.manifest['ledger_schema']}; "
            + ", ".join(f"{rows.get(name, 0)} {name}" for name in ("intents", "orders", "fills", "lots")),
            f"  journal {self.journal.rows} rows, head {self.journal.head or 'none'}",
            f"  state   {mode}",
        ]


def make_backup(data_dir: Path, out: Path | None, now_ns: int) -> Backup:
    """The backup, durable under its name, readable by its owner alone. BackupError, LedgerError or OSError."""
    if out is None:
        folder = data_dir / SNAPSHOTS
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        out = folder / f"propbot-{iso_utc(now_ns).replace(':', '').replace('-', '').replace('.', '')}.tar"
    if out.exists():
        raise BackupError(f"{out} exists already: name another file with --out")
    with _folder_beside(out) as folder:
        state_bytes = _read_state(data_dir / STATE)
        copy_ledger(data_dir / LEDGER, folder / LEDGER)
        if state_bytes is not None:
            (folder / STATE).write_bytes(state_bytes)
        journal = _verify(folder)
        manifest = _manifest(folder, journal, now_ns)
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))
        _archive(folder, folder / "archive.tar", now_ns)
        os.replace(folder / "archive.tar", out)
        sync_folder(out.parent)
    state = None if state_bytes is None else decode_state(state_bytes)
    return Backup(out, manifest, journal, state)


@contextmanager
def open_backup(path: Path) -> Iterator[tuple[Backup, Path]]:
    """The archive, unpacked into a folder that is gone afterwards, every part of it checked; BackupError if not."""
    with tempfile.TemporaryDirectory(prefix=".propbot-restore-") as name:
        folder = Path(name)
        _unpack(path, folder)
        manifest = _read_manifest(path, folder)
        for each, kept in manifest["files"].items():
            if _sha256(folder / each) != kept["sha256"]:
                raise BackupError(f"{path}: {each} in it is not what was backed up (its SHA-256 differs)")
        version = require_sound(folder / LEDGER)
        if version != manifest["ledger_schema"]:
            raise BackupError(f"{path}: the ledger in it has schema {version}, its manifest says another")
        journal = _verify(folder)
        if not journal.ok:
            raise BackupError(f"{path}: the journal's first bad row is {journal.first_bad}: {journal.reason}")
        if journal.head != manifest["journal"]["head"]:
            raise BackupError(f"{path}: the journal in it ends with another row than its manifest says")
        state_bytes = _read_state(folder / STATE)
        yield Backup(path, manifest, journal, None if state_bytes is None else decode_state(state_bytes)), folder


def restore(path: Path, data_dir: Path, now_ns: int, *, force: bool) -> Backup:
    """Put the backup into `data_dir`; what was there is kept in a folder of its own if `force`, else it is refused.

    DataDirectoryBusy while a service runs on it.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open_backup(path) as (backup, folder), hold_directory(data_dir):
        there = [name for name in (STATE, LEDGER, *_NEIGHBOURS) if (data_dir / name).exists()]
        if there and not force:
            raise BackupError(
                f"{data_dir} is in use, it has {', '.join(there)}: restore into an empty folder, or give --force, "
                "which keeps what is there in a folder beside it"
            )
        state = _restored_state(backup, folder / LEDGER, _generation_there(data_dir), now_ns)
        fresh = data_dir / f"{LEDGER}.restoring"
        shutil.copyfile(folder / LEDGER, fresh)
        _sync_file(fresh)
        if there:
            _keep_aside(data_dir, there, now_ns)
        save_state(data_dir, state, CrashPoints())  # from here on whatever starts starts in HOLD
        for name in _NEIGHBOURS:  # an old log must never be read into the restored ledger
            (data_dir / name).unlink(missing_ok=True)
        os.replace(fresh, data_dir / LEDGER)
        sync_folder(data_dir)
    return evolve(backup, state=state)


def _generation_there(data_dir: Path) -> int:
    """Of the state that is replaced, so that the count goes on; 0 for one that is not there or can't be used."""
    try:
        there = load_state(data_dir)
    except BadStateFile:
        return 0
    return 0 if there is None else there.generation


def _restored_state(backup: Backup, ledger: Path, generation: int, now_ns: int) -> RuntimeState:
    """The HOLD that a restored service starts in; the ledger's journal says so as well, and is its head."""
    told = f"restored from {backup.path.name} of {backup.manifest['created']}"
    with closing(sqlite3.connect(ledger)) as connection:
        chain.note(connection, now_ns, "restore", told, {"rows": backup.journal.rows}, level="WARN", source="startup")
        connection.commit()
        head = chain.read_head(connection)
        known = connection.execute(GENERATION).fetchone()
    stored = backup.state or RuntimeState(ModeView(Mode.RUN, safe_mode=False, dry_run_only=False), None, 0)
    reason = f"{told}; the venues have gone on since: compare orders and positions, then resume"
    earlier = () if stored.view.hold is None else stored.view.hold.causes
    record = HoldRecord((Cause(reason, "startup", now_ns, lasting=True), *earlier))
    before = stored.view.before if stored.view.mode is Mode.HOLD else stored.view.mode
    generation = max(generation, stored.generation, 0 if known is None else int(known[0])) + 1
    view = evolve(stored.view, mode=Mode.HOLD, hold=record, before=before)
    return evolve(stored, view=view, basis=None, generation=generation, head=head, ended=True)


def _keep_aside(data_dir: Path, names: list[str], now_ns: int) -> None:
    """Under a second name first: the first one goes only when its successor comes."""
    aside = data_dir / f"before-restore-{now_ns // 1_000_000_000}"
    aside.mkdir(mode=0o700)
    for name in names:
        try:
            os.link(data_dir / name, aside / name)
        except OSError:  # a file system without links
            shutil.copy2(data_dir / name, aside / name)
    sync_folder(aside)


def _verify(folder: Path) -> JournalCheck:
    state_bytes = _read_state(folder / STATE)
    known = None if state_bytes is None else decode_state(state_bytes).head
    return verify_file(folder / LEDGER, known)


def _read_state(path: Path) -> bytes | None:
    """Its bytes, if it can be used; None if there is none."""
    if not path.exists():
        return None
    content = path.read_bytes()
    try:
        decode_state(content)
    except BadStateFile as error:
        raise BackupError(f"{path}: {error}; start the service once, which keeps it aside, and try again") from None
    return content


def _manifest(folder: Path, journal: JournalCheck, now_ns: int) -> dict[str, Any]:
    names = [name for name in (LEDGER, STATE) if (folder / name).exists()]
    return {
        "format": FORMAT,
        "propbot": __version__,
        "created": iso_utc(now_ns),
        "ledger_schema": require_sound(folder / LEDGER),
        "files": {
            name: {"sha256": _sha256(folder / name), "bytes": (folder / name).stat().st_size} for name in names
        },
        "journal": {"ok": journal.ok, "rows": journal.rows, "head": journal.head, "first_bad": journal.first_bad},
        "rows": count_rows(folder / LEDGER),
    }


def _read_manifest(path: Path, folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        if manifest["format"] != FORMAT:
            raise BackupError(f"{path} has format {manifest['format']!r}, this PropBot knows {FORMAT}")
        named = set(manifest["files"])
        if not {LEDGER} <= named <= {LEDGER, STATE}:
            raise BackupError(f"{path}: its manifest names {', '.join(sorted(named))}")
        read = {
            "created": str(manifest["created"]), "propbot": str(manifest["propbot"]),
            "ledger_schema": int(manifest["ledger_schema"]), "rows": dict(manifest["rows"]),
            "journal": {"head": manifest["journal"]["head"]},
            "files": {name: {"sha256": str(each["sha256"])} for name, each in manifest["files"].items()},
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackupError(f"{path}: no backup of PropBot: {type(error).__name__}: {error}") from None
    missing = [name for name in named if not (folder / name).is_file()]
    if missing:
        raise BackupError(f"{path}: {', '.join(missing)} is missing from it")
    return read


def _archive(folder: Path, target: Path, now_ns: int) -> None:
    with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        with tarfile.open(fileobj=file, mode="w") as tar:
            for name in (MANIFEST, LEDGER, STATE):
                if (folder / name).exists():
                    info = tar.gettarinfo(folder / name, name)
                    info.mode, info.mtime, info.uid, info.gid = 0o600, now_ns // 1_000_000_000, 0, 0
                    info.uname = info.gname = ""
                    with open(folder / name, "rb") as content:
                        tar.addfile(info, content)
        file.flush()
        os.fsync(file.fileno())


def _unpack(path: Path, folder: Path) -> None:
    """Only the files that a backup has, by their names: nothing in an archive chooses where it goes."""
    try:
        with tarfile.open(path, mode="r:") as tar:
            for member in tar:
                if member.name not in (MANIFEST, LEDGER, STATE) or not member.isreg():
                    raise BackupError(f"{path}: no backup of PropBot: it has {member.name!r}")
                content = tar.extractfile(member)
                assert content is not None
                with open(folder / member.name, "xb") as file:
                    shutil.copyfileobj(content, file)
    except (tarfile.TarError, EOFError, FileExistsError) as error:
        raise BackupError(f"{path}: no whole backup of PropBot: {error}") from None


@contextmanager
def _folder_beside(out: Path) -> Iterator[Path]:
    """On the same file system as `out`, so that what is ready only has to be renamed."""
    folder = Path(tempfile.mkdtemp(prefix=".propbot-backup-", dir=out.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_file(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
