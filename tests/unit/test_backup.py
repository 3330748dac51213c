"""Backup and restore: one file that is whole or refused, and a restored directory that starts in HOLD."""

from __future__ import annotations

import io
import json
import sqlite3
import tarfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from propbot import backup as backup_module
from propbot.backup import BackupError, make_backup, open_backup, restore
from propbot.cli import main
from propbot.control.modes import ModeView, choose_start
from propbot.control.parameters import Parameters
from propbot.control.state_file import FILE_NAME, RuntimeState, load_state, save_state
from propbot.domain.errors import DataDirectoryBusy, LedgerError
from propbot.domain.mode import Cause, HoldRecord, Mode
from propbot.kit.clock import SystemClock
from propbot.kit.crash import CrashPoints
from propbot.kit.disk import hold_directory, open_sqlite
from propbot.kit.threads import open_inline_worker
from propbot.ledger import Ledger, open_ledger
from propbot.ledger.beside import verify_file

NOW_NS = 1_795_403_529_123_000_000
Open = Callable[[Path], Any]


def _open(folder: Path) -> Any:
    folder.mkdir(exist_ok=True)
    return open_ledger(
        folder / "ledger.db", clock=SystemClock(), open_worker=open_inline_worker, open_connection=open_sqlite,
        crash=CrashPoints(), synchronous="normal",
    )


async def _write(ledger: Ledger, count: int) -> None:
    for number in range(count):
        await ledger.append_event("INFO", "tick", f"number {number}")


def _state(ledger: Ledger, **changes: Any) -> RuntimeState:
    given = {"view": ModeView(Mode.RUN, True, False), "basis": None, "generation": 41, "head": ledger.head}
    parameters = Parameters({"min_spread_bps": "1"}, {"min_spread_bps": "3"})
    return RuntimeState(**{**given, "counters": {"day_peak_usdt": "7"}, "parameters": parameters, **changes})


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[tuple[Path, Ledger]]:
    """A data directory whose ledger is open, as while the service runs, with files that are no part of a backup."""
    folder = tmp_path / "data"
    async with _open(folder) as ledger:
        await _write(ledger, 5)
        await ledger.meta_put("state_generation", "44")
        save_state(folder, _state(ledger), CrashPoints())
        (folder / "secrets.enc").write_bytes(b"canary-of-the-secrets")
        (folder / "simvenue.db").write_bytes(b"the venue's own")
        yield folder, ledger


async def test_a_backup_of_a_running_service_holds_ledger_and_state_and_nothing_else(
    live: tuple[Path, Ledger]
) -> None:
    folder, ledger = live
    made = make_backup(folder, None, NOW_NS)
    assert made.path == folder / "snapshots" / "propbot-20261123T031209123Z.tar"
    assert (made.path.stat().st_mode & 0o777, made.path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [each.name for each in made.path.parent.iterdir()] == [made.path.name], "nothing is left beside it"
    with tarfile.open(made.path) as tar:
        assert tar.getnames() == ["manifest.json", "ledger.db", FILE_NAME]
    assert b"canary" not in made.path.read_bytes()
    await _write(ledger, 3)  # goes on
    with open_backup(made.path) as (found, unpacked):
        assert found.journal.rows == 5
        assert found.manifest["rows"]["events"] == 5
        assert found.state == load_state(folder)
        assert not list(unpacked.glob("*-wal"))
    assert not unpacked.exists()


async def test_a_restored_directory_starts_in_hold_that_lasts_with_all_that_was_kept(
    live: tuple[Path, Ledger], tmp_path: Path
) -> None:
    folder, _ = live
    target = tmp_path / "new"
    restore(make_backup(folder, None, NOW_NS).path, target, NOW_NS, force=False)
    state = load_state(target)
    assert state is not None
    hold = state.view.hold
    assert hold is not None
    assert (hold.first.source, hold.first.lasting) == ("startup", True)
    assert "restored from propbot-20261123T031209123Z.tar" in hold.first.reason
    assert (state.view.safe_mode, state.view.before, state.generation) == (True, Mode.RUN, 45)
    assert (state.counters, state.parameters.patched) == ({"day_peak_usdt": "7"}, {"min_spread_bps": "3"})
    assert state.head is not None
    checked = verify_file(target / "ledger.db", state.head)
    assert (checked.ok, checked.rows, state.head.id) == (True, 6, 6)
    stored: ModeView | None = state.view
    for _ in range(3):  # start, Ctrl-C, start, Ctrl-C …: in paper too
        start = choose_start(
            configured=Mode.RUN, paper=True, safe_mode=False, dry_run_only=False, stored=stored, now_ns=NOW_NS
        )
        assert start.mode is Mode.HOLD
        stored = ModeView(Mode.HOLD, False, False, HoldRecord((*start.hold.causes, Cause("stop", "shutdown", 1))))
    async with _open(target) as ledger:
        assert (await ledger.events_page(1))[0][0].kind == "restore"
        await _write(ledger, 1)
        assert (await ledger.verify_journal()).ok


async def test_the_causes_of_a_hold_that_was_backed_up_are_not_lost(live: tuple[Path, Ledger], tmp_path: Path) -> None:
    folder, ledger = live
    held = ModeView(Mode.HOLD, False, False, HoldRecord((Cause("mismatch", "guard:recon", 3),)), Mode.DRAIN)
    save_state(folder, _state(ledger, view=held), CrashPoints())
    state = restore(make_backup(folder, None, NOW_NS).path, tmp_path / "new", NOW_NS, force=False).state
    assert state is not None
    assert state.view.hold is not None
    assert [cause.source for cause in state.view.hold.causes] == ["startup", "guard:recon"]
    assert state.view.before is Mode.DRAIN


async def test_a_backup_without_a_state_restores_to_a_hold(live: tuple[Path, Ledger], tmp_path: Path) -> None:
    folder, _ = live
    (folder / FILE_NAME).unlink()
    state = restore(make_backup(folder, None, NOW_NS).path, tmp_path / "new", NOW_NS, force=False).state
    assert state is not None
    assert (state.view.mode, state.generation) == (Mode.HOLD, 45)


async def test_a_directory_that_is_in_use_is_refused_and_with_force_kept_aside(
    live: tuple[Path, Ledger], tmp_path: Path
) -> None:
    folder, _ledger = live
    archive = make_backup(folder, None, NOW_NS).path
    with hold_directory(folder), pytest.raises(DataDirectoryBusy):
        restore(archive, folder, NOW_NS, force=True)
    target = tmp_path / "other"
    async with _open(target) as other:
        await _write(other, 9)
        save_state(target, _state(other), CrashPoints())
    old = {name: (target / name).read_bytes() for name in ("ledger.db", FILE_NAME)}
    with pytest.raises(BackupError, match="--force"):
        restore(archive, target, NOW_NS, force=False)
    assert {name: (target / name).read_bytes() for name in old} == old
    (target / "ledger.db-wal").write_bytes(b"an old log")
    restore(archive, target, NOW_NS, force=True)
    (aside,) = target.glob("before-restore-*")
    assert {name: (aside / name).read_bytes() for name in old} == old
    assert (aside / "ledger.db-wal").read_bytes() == b"an old log"
    assert not (target / "ledger.db-wal").exists()
    assert verify_file(target / "ledger.db", None).rows == 6


STEPS = ("_keep_aside", "save_state", "sync_folder")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("after", [False, True])
async def test_a_kill_in_the_middle_of_a_restore_leaves_the_old_state_or_a_hold(
    live: tuple[Path, Ledger], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    class Killed(BaseException):
        pass

    folder, _ = live
    archive = make_backup(folder, None, NOW_NS).path
    target = tmp_path / "other"
    async with _open(target) as other:
        await _write(other, 9)
        save_state(target, _state(other), CrashPoints())
    old_state = load_state(target)
    real = getattr(backup_module, step)

    def killed(*args: Any, **kwargs: Any) -> None:
        if after:
            real(*args, **kwargs)
        raise Killed

    monkeypatch.setattr(backup_module, step, killed)
    with pytest.raises(Killed):
        restore(archive, target, NOW_NS, force=True)
    state = load_state(target)
    assert state is not None
    if state != old_state:
        assert state.view.hold is not None
        assert state.view.hold.first.lasting
    rows = verify_file(target / "ledger.db", None).rows
    assert rows == 9 if state == old_state else rows in (6, 9)


def _rebuild(archive: Path, target: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    with tarfile.open(archive) as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    change(files)
    with tarfile.open(target, "w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def _put_manifest(files: dict[str, bytes], **changes: Any) -> None:
    files["manifest.json"] = json.dumps({**json.loads(files["manifest.json"]), **changes}).encode()


CHANGES: list[tuple[Callable[[dict[str, bytes]], Any], str]] = [
    (lambda files: files.update({"ledger.db": files["ledger.db"][:-1] + b"x"}), "SHA-256"),
    (lambda files: files.update({FILE_NAME: files[FILE_NAME] + b" "}), "SHA-256"),
    (lambda files: files.update({"../evil": b"x"}), "evil"),
    (lambda files: files.pop("ledger.db"), "ledger.db is missing"),
    (lambda files: files.pop(FILE_NAME), f"{FILE_NAME} is missing"),
    (lambda files: files.pop("manifest.json"), "no backup of PropBot"),
    (lambda files: files.update({"manifest.json": b"[]"}), "no backup of PropBot"),
    (lambda files: _put_manifest(files, format=2), "format 2, this PropBot knows 1"),
    (lambda files: _put_manifest(files, ledger_schema=1), "its manifest says another"),
    (lambda files: _put_manifest(files, journal={"head": "ab"}), "ends with another row"),
]


@pytest.mark.parametrize(("change", "said"), CHANGES, ids=range(len(CHANGES)))
async def test_an_archive_that_is_not_what_was_backed_up_is_refused(
    live: tuple[Path, Ledger], tmp_path: Path, change: Any, said: str
) -> None:
    folder, _ = live
    _rebuild(make_backup(folder, None, NOW_NS).path, tmp_path / "changed.tar", change)
    with pytest.raises(BackupError, match=said):
        restore(tmp_path / "changed.tar", tmp_path / "new", NOW_NS, force=False)
    assert not list((tmp_path / "new").glob("ledger*"))


async def test_an_archive_that_is_cut_anywhere_is_refused(live: tuple[Path, Ledger], tmp_path: Path) -> None:
    folder, _ = live
    content = make_backup(folder, None, NOW_NS).path.read_bytes()
    cut = tmp_path / "cut.tar"
    for length in [0, 1, 511, 512, 700, 1024, *range(2048, len(content) - 10_240, 20_480)]:
        cut.write_bytes(content[:length])
        with pytest.raises(BackupError), open_backup(cut):
            pass


async def test_a_journal_that_was_edited_is_backed_up_as_evidence_and_not_restored(
    live: tuple[Path, Ledger], tmp_path: Path
) -> None:
    folder, ledger = live
    connection = sqlite3.connect(folder / "ledger.db")
    connection.execute("UPDATE events SET message = 'x' WHERE id = 2")
    connection.commit()
    connection.close()
    ran = CliRunner().invoke(main, ["backup", "--data-dir", str(folder), "--out", str(tmp_path / "b.tar")])
    assert ran.exit_code == 1
    assert "first bad row is 2" in ran.stderr
    with pytest.raises(BackupError, match="first bad row is 2"):
        restore(tmp_path / "b.tar", tmp_path / "new", NOW_NS, force=False)
    assert ledger.backlog == 0


async def test_what_can_not_be_backed_up_is_said_and_leaves_no_file(live: tuple[Path, Ledger], tmp_path: Path) -> None:
    folder, _ = live
    with pytest.raises(LedgerError, match="there is no ledger"):
        make_backup(tmp_path, tmp_path / "x.tar", NOW_NS)
    (folder / FILE_NAME).write_bytes(b"{")
    with pytest.raises(BackupError, match="not a runtime state"):
        make_backup(folder, None, NOW_NS)
    (tmp_path / "taken.tar").touch()
    with pytest.raises(BackupError, match="exists already"):
        make_backup(folder, tmp_path / "taken.tar", NOW_NS)
    assert list((folder / "snapshots").iterdir()) == []
    assert not (tmp_path / "x.tar").exists()


# --- as commands


async def test_the_commands_say_what_they_did_and_end_with_their_code(
    live: tuple[Path, Ledger], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = live
    monkeypatch.setenv("DATA_DIR", str(folder))
    run = CliRunner().invoke
    archive = str(tmp_path / "b.tar")
    made = run(main, ["backup", "--out", archive])
    assert made.exit_code == 0, made.output
    assert "journal 5 rows" in made.output
    checked = run(main, ["restore", archive, "--verify"])
    assert (checked.exit_code, "whole" in checked.output) == (0, True)
    assert run(main, ["restore", archive]).exit_code == 1, "the directory is in use"
    with hold_directory(folder):
        assert run(main, ["restore", archive, "--force"]).exit_code == 3
        assert run(main, ["backup"]).exit_code == 0, "a running service is no obstacle"
    new = str(tmp_path / "new")
    assert run(main, ["restore", archive, "--data-dir", new]).exit_code == 0
    ok = run(main, ["audit", "verify", "--data-dir", new])
    assert (ok.exit_code, ok.output.splitlines()[0].startswith("ok: 6 rows")) == (0, True)
    for missing in (["restore", str(tmp_path / "none.tar")], ["audit", "verify", "--data-dir", str(tmp_path)]):
        failed = run(main, missing)
        assert failed.exit_code == 1
        assert failed.stderr.startswith("propbot: ")


async def test_audit_verify_names_the_first_bad_row_and_a_tail_that_is_gone(live: tuple[Path, Ledger]) -> None:
    folder, _ = live

    def run(sql: str) -> Any:
        connection = sqlite3.connect(folder / "ledger.db")
        connection.execute(sql)
        connection.commit()
        connection.close()
        return CliRunner().invoke(main, ["audit", "verify", "--data-dir", str(folder)])

    cut = run("DELETE FROM events WHERE id > 3")
    assert cut.exit_code == 1
    assert "first bad row: 4: the journal ends at row 3, and row 5 was known" in cut.output
    (folder / FILE_NAME).unlink()
    unknown = run("SELECT 1")
    assert unknown.exit_code == 0
    assert "would not show" in unknown.output
    edited = run("UPDATE events SET message = 'x' WHERE id = 2")
    assert (edited.exit_code, "first bad row: 2: row 2 is not what was written" in edited.output) == (1, True)
