"""Foreign judges: clients that other people wrote trade on `propbot venues`, unchanged but for host and CA.

They are built on asyncio, so they live in an interpreter of their own (`tox -e judges` makes it and names it in
PROPBOT_JUDGES_PYTHON) and each judge is a process; nothing of theirs is imported here. A judge's checks are found by
reading its source, so that each is a test with a name. Where a judge fails, the embedded venue is wrong.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.processes import clean_environ, running_venues

HERE = Path(__file__).parent
JUDGES = (
    "python_binance_spot", "python_binance_spot_refusals", "python_binance_spot_streams",
    "python_binance_um", "python_binance_um_refusals", "python_binance_um_streams",
    "modular_sdk_spot", "modular_sdk_um",
)
JUDGE_S_MAX = 100.0

Verdicts = Mapping[str, Mapping[str, Any]]
"""Check → what came of it."""


def checks_of(judge: str) -> list[str]:
    tree = ast.parse((HERE / f"{judge}.py").read_text())
    return [
        part.name
        for part in tree.body
        if isinstance(part, ast.AsyncFunctionDef) and part.name.startswith("check_")
    ]


def judges_python() -> str:
    python = os.environ.get("PROPBOT_JUDGES_PYTHON")
    if python:
        return python
    why = "PROPBOT_JUDGES_PYTHON names no interpreter with the foreign clients; `tox -e judges` makes one"
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A judge's verdicts, on venues and an account of its own; each judge runs once."""
    said: dict[str, Verdicts] = {}

    def of(judge: str) -> Verdicts:
        python = judges_python()
        if judge not in said:
            said[judge] = {}  # one that dies is not called again for each of its checks
            said[judge] = run_judge(judge, python, tmp_path_factory.mktemp(judge))
        return said[judge]

    return of


def run_judge(judge: str, python: str, folder: Path) -> Verdicts:
    with running_venues(folder) as venues:
        ca_file = venues.access["ca_file"]
        ours = ("PYTHONPATH", "VIRTUAL_ENV")  # of this interpreter, not of the judges'
        kept = {name: value for name, value in clean_environ().items() if name not in ours}
        environ = {**kept, "SSL_CERT_FILE": ca_file, "REQUESTS_CA_BUNDLE": ca_file}
        with open(folder / "judge.log", "wb") as log:
            judged = subprocess.run(
                [python, str(HERE / f"{judge}.py"), str(venues.file)],
                cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=log, timeout=JUDGE_S_MAX, check=False,
            )
        assert judged.returncode == 0, (folder / "judge.log").read_text(errors="replace")[-3000:]
        assert venues.process.poll() is None, (folder / "venues.log").read_text(errors="replace")[-3000:]
    verdicts = [json.loads(line) for line in judged.stdout.splitlines()]
    return {verdict["check"]: verdict for verdict in verdicts}


@pytest.mark.parametrize(("judge", "check"), [(judge, check) for judge in JUDGES for check in checks_of(judge)])
def test_a_foreign_client_finds_the_venue_as_it_should_be(judge: str, check: str, verdicts: Any) -> None:
    said = verdicts(judge)
    assert check in said, f"{judge} ended before {check}"
    assert said[check]["ok"], said[check]["why"]
