"""Fifty seeds of six minutes, and the same seed in two processes: `tox -e simulation`, and `propbot simulate` for more.

What a seed finds becomes a scenario of its own (`tests/scenarios/test_found.py`), so that it is kept when plans change.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from propbot.simulate.run import run_seed

HOURS = 0.1
SEEDS = range(1, 51)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_holds_every_invariant(seed: int) -> None:
    result = run_seed(seed, HOURS)
    assert not result.violations, f"propbot simulate --seed {seed} --hours {HOURS:g}\n" + "\n".join(result.violations)
    assert result.orders > 0, "a seed that never traded proves nothing"


@pytest.mark.timeout(600)
def test_the_same_seed_makes_the_same_trace_in_another_process_with_another_hash_seed() -> None:
    hashes = {
        json.loads(
            subprocess.run(
                [sys.executable, "-m", "propbot", "simulate", "--seed", "3", "--hours", "0.05", "--json"],
                env={**os.environ, "PYTHONHASHSEED": hash_seed}, capture_output=True, check=True,
            ).stdout
        )["trace_sha256"]
        for hash_seed in ("1", "77")
    }
    assert len(hashes) == 1
