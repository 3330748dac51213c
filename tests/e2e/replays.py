"""`propbot replay` over the recorded BTCUSDT pair, as a process, each set of options once for all tests and workers."""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import json
import os
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.e2e.processes import PROPBOT, clean_environ

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings" / "binance"
FILES = {
    "binance-um": RECORDINGS / "usdm_btcusdt_20240808.gz", "binance-spot": RECORDINGS / "spot_btcusdt_20240808.gz",
}
MISSING = "../shared/recordings is not beside this checkout"
REPLAY_S_MAX = 400


@frozen
class Replayed:
    """One finished replay: the object that it printed, and the folder of its report."""

    told: Mapping[str, Any]
    folder: Path

    def trace(self, kind: str) -> Iterator[dict[str, Any]]:
        with open(self.folder / "trace.jsonl", "rb") as file:
            for line in file:
                row = json.loads(line)
                if row["kind"] == kind:
                    yield row

    def trace_hash(self) -> str:
        return hashlib.sha256((self.folder / "trace.jsonl").read_bytes()).hexdigest()

    def rows(self, database: str, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.folder / database)) as connection:
            return connection.execute(sql).fetchall()


def assigned(settings: Mapping[str, str]) -> list[str]:
    return [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]


def replay_command(folder: Path, files: Mapping[str, Path], *options: str) -> list[str]:
    markets = [word for venue, path in files.items() for word in ("--market", f"{venue}={path}")]
    return [*PROPBOT, "replay", *markets, "--json", "--report", str(folder / "report"), *options]


def run_replay(
    folder: Path, files: Mapping[str, Path], *options: str, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Whatever its exit code; the report goes to `folder`/report, and it runs where no `.env` lies."""
    folder.mkdir(parents=True, exist_ok=True)
    return subprocess.run(
        replay_command(folder, files, *options), cwd=folder, env=clean_environ(**environ), capture_output=True,
        text=True, timeout=REPLAY_S_MAX, check=False,
    )


def _hear_ctrl_c() -> None:
    """Tests that run in the background of a shell script inherit SIGINT as ignored, and so would what they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def started_replay(folder: Path, files: Mapping[str, Path], *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """One that is still running; ended in any case."""
    process = subprocess.Popen(
        replay_command(folder, files, *options), cwd=folder, env=clean_environ(), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, preexec_fn=_hear_ctrl_c,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def replayed(folder: Path, files: Mapping[str, Path], settings: Mapping[str, str], **environ: str) -> Replayed:
    done = run_replay(folder, files, *assigned(settings), **environ)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1, done.stdout
    return Replayed(json.loads(done.stdout), folder / "report")


def shared_replays(shared: Path) -> Callable[..., Replayed]:
    """`replay(name, **settings)`, run by the first who asks for `name`, of whatever test worker."""

    def replay(name: str, **settings: str) -> Replayed:
        shared.mkdir(parents=True, exist_ok=True)
        with open(shared / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            kept = shared / name / "told.json"
            if not kept.exists():
                done = replayed(shared / name, FILES, settings, PYTHONHASHSEED=str(len(name)))
                kept.write_text(json.dumps(done.told))
            return Replayed(json.loads(kept.read_text()), shared / name / "report")

    return replay


def cut_recordings(folder: Path, seconds: float) -> dict[str, Path]:
    """The first `seconds` of both recordings."""
    folder.mkdir(parents=True, exist_ok=True)
    cut: dict[str, Path] = {}
    for venue, path in FILES.items():
        cut[venue] = folder / path.name
        first = None
        with gzip.open(path, "rb") as source, gzip.open(cut[venue], "wb", compresslevel=1) as target:
            for line in source:
                at = int(line.partition(b" ")[0])
                first = first or at
                if at - first > seconds * 1e9:
                    break
                target.write(line)
    return cut


def plain(text: str) -> str:
    return format(Decimal(text).normalize(), "f")


def shared_folder(tmp_path_factory: Any) -> Path:
    """One for all workers of a run of tests."""
    base: Path = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "replays"
