"""Room in the data directory: measured, failed, or older than it should be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trio

from propbot.kit.clock import VirtualClock
from propbot.kit.disk import free_bytes
from propbot.kit.threads import open_inline_worker
from propbot.status.disk import DiskSpace


async def test_it_is_measured_again_and_again_and_a_failure_is_told(
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: Any
) -> None:
    answers: list[int | OSError] = [5_000_000_000, OSError(5, "I/O error"), 4_000_000_000]

    def free(folder: Path) -> int:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    disk = DiskSpace(tmp_path, free, VirtualClock(0), open_inline_worker)
    assert (disk.free_bytes, disk.measured_mono_s) == (None, None)
    nursery.start_soon(disk.run)
    seen = []
    for _ in range(3):
        await trio.sleep(9)
        seen.append((disk.free_bytes, bool(disk.problem)))
        await trio.sleep(1)
    nursery.cancel_scope.cancel()
    assert seen == [(5_000_000_000, False), (None, True), (4_000_000_000, False)]


def test_a_real_folder_has_room(tmp_path: Path) -> None:
    assert free_bytes(tmp_path) > 0
