"""Every scenario is repeatable: Trio schedules deterministically and its batches are shuffled from a fixed seed."""

from __future__ import annotations

import pytest
import trio._core._run as trio_run


@pytest.fixture(autouse=True)
def repeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    """In tests only: production must not know the order in which tasks run."""
    monkeypatch.setattr(trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
    trio_run._r.seed(20261123)
