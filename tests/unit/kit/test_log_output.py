from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from propbot.kit.log_output import LogOutput


def test_lines_arrive_as_they_were_said(tmp_path: Path) -> None:
    with open(tmp_path / "log", "w", encoding="utf-8") as file:
        output = LogOutput(file)
        assert output.write("käse\n") == 5
        output.flush()
    assert (tmp_path / "log").read_text(encoding="utf-8") == "käse\n"


def test_a_stream_in_memory_is_written_to_as_well() -> None:
    stream = io.StringIO()
    LogOutput(stream).write("one\n")
    assert stream.getvalue() == "one\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_loses_lines_and_nothing_else() -> None:
    with open(os.open("/dev/full", os.O_WRONLY), "wb", buffering=0) as raw:
        output = LogOutput(io.TextIOWrapper(raw))
        output.write("lost\n")


def test_a_reader_that_has_gone_loses_lines_and_nothing_else() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as file:
        LogOutput(file).write("lost\n")


def test_a_closed_stream_loses_lines_and_nothing_else() -> None:
    stream = io.StringIO()
    output = LogOutput(stream)
    stream.close()
    output.write("lost\n")


def test_what_was_lost_is_said_once_when_lines_go_through_again() -> None:
    class Flaky(io.StringIO):
        full = True

        def write(self, text: str) -> int:
            if self.full:
                raise OSError(28, "No space left on device")
            return super().write(text)

    stream = Flaky()
    output = LogOutput(stream)
    for text in ("one\n", "two\n"):
        output.write(text)
    stream.full = False
    output.write("three\n")
    output.write("four\n")
    assert stream.getvalue() == "(2 writes to this log failed)\nthree\nfour\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_log_that_can_not_be_written_does_not_become_the_exit_code() -> None:
    code = "import sys; from propbot.kit.log_output import LogOutput; LogOutput(sys.stderr).write('x\\n' * 9000)"
    with open("/dev/full", "w", encoding="utf-8") as full:
        assert subprocess.run([sys.executable, "-c", code], stderr=full, timeout=30).returncode == 0


def test_a_reader_that_is_there_and_does_not_read_keeps_nobody_waiting() -> None:
    """Seen: 25 s of trading into a pipe that nobody read, and neither HOLD nor SIGTERM was heard any more."""
    reading, writing = os.pipe()
    with open(writing, "w", encoding="utf-8") as file, open(reading, "rb", buffering=0) as reader:
        output = LogOutput(file)
        for number in range(3000):
            output.write(f"{number} {'x' * 100}\n")
        output.write("y" * 10_000 + "\n")
        first = os.read(reading, 1 << 20)
        assert first.startswith(b"0 xxx")
        output.write("again\n")
        told = reader.read(1 << 20).decode()
        lost = 3001 - first.count(b"\n")
        assert f"({lost} writes to this log failed)\nagain\n" in told


def test_a_line_that_was_cut_is_ended_before_the_next_one() -> None:
    reading, writing = os.pipe()
    with open(writing, "w", encoding="utf-8") as file, open(reading, "rb", buffering=0):
        output = LogOutput(file)
        output.write("z" * 100_000 + "\n")
        torn = os.read(reading, 1 << 20)
        output.write("again\n")
        assert set(torn) == {ord("z")}
        assert os.read(reading, 1 << 20) == b"\n(1 writes to this log failed)\nagain\n"
