"""Every scenario is repeatable: Trio schedules deterministically and its batches are shuffled from a fixed seed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from propbot.kit.virtual import repeatable_scheduling


@pytest.fixture(autouse=True)
def repeatable() -> Iterator[None]:
    with repeatable_scheduling():
        yield
