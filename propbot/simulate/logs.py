"""The log of a simulated run, caught instead of printed: nobody reads it, but no secret may stand in it either."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog

LINES_KEPT_MAX = 50_000


@contextmanager
def captured_log() -> Iterator[list[str]]:
    """Inside, what is logged through structlog goes into the list, one line each, and nowhere else."""
    before = structlog.get_config()
    lines: list[str] = []

    def keep(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
        if len(lines) < LINES_KEPT_MAX:
            lines.append(json.dumps({**event, "level": method}, default=str))
        raise structlog.DropEvent

    structlog.configure(processors=[keep], cache_logger_on_first_use=False)
    logging.disable(logging.CRITICAL)  # what libraries say of refused requests is no news here
    try:
        yield lines
    finally:
        logging.disable(logging.NOTSET)
        structlog.configure(**before)
