"""The data directory: files replaced whole or not at all, one instance at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from propbot.domain.errors import DataDirectoryBusy
from propbot.kit.crash import CrashPoints
from propbot.kit.disk import check_directory, hold_directory, open_sqlite, replace_file


class Killed(BaseException):
    """What a simulation raises where the process would have died."""


def _die() -> None:
    raise Killed


def test_a_file_is_made_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    replace_file(path, b"one", CrashPoints())
    replace_file(path, b"two", CrashPoints())
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("point", "left"), [("state-rename:before", b"old"), ("state-rename:after", b"new")])
def test_a_kill_leaves_the_old_file_or_the_new_one(tmp_path: Path, point: str, left: bytes) -> None:
    path = tmp_path / "state.json"
    replace_file(path, b"old", CrashPoints())
    with pytest.raises(Killed):
        replace_file(path, b"new", CrashPoints(point, _die))
    assert path.read_bytes() == left
    replace_file(path, b"next", CrashPoints())
    assert path.read_bytes() == b"next"


def test_a_disk_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    replace_file(path, b"old", CrashPoints())

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        replace_file(path, b"new", CrashPoints(), fsync=full)
    assert path.read_bytes() == b"old"


def test_a_held_directory_names_its_holder_and_is_free_again_afterwards(tmp_path: Path) -> None:
    with hold_directory(tmp_path):
        with pytest.raises(DataDirectoryBusy, match=f"process {os.getpid()}"), hold_directory(tmp_path):
            pass
        with pytest.raises(DataDirectoryBusy), hold_directory(tmp_path):
            pass
    with hold_directory(tmp_path):
        pass


def test_another_process_is_kept_out_and_a_dead_one_keeps_nobody_out(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from propbot.kit.disk import hold_directory\n"
        "with hold_directory(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(DataDirectoryBusy, match=f"process {child.pid}"), hold_directory(tmp_path):
            pass
    finally:
        child.kill()
        child.communicate()
    with hold_directory(tmp_path):
        assert (tmp_path / "instance.lock").read_text() == str(os.getpid())


def test_sqlite_opens_in_autocommit_for_a_worker_of_another_thread(tmp_path: Path) -> None:
    connection = open_sqlite(tmp_path / "x.db")
    try:
        connection.execute("CREATE TABLE t (a)")
        assert not connection.in_transaction
    finally:
        connection.close()


def test_a_data_directory_is_made_for_its_owner_alone_and_left_as_it_is_afterwards(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    assert check_directory(folder) == []
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o750)
    assert check_directory(folder) == []
    assert folder.stat().st_mode & 0o777 == 0o750
