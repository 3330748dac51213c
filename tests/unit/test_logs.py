"""The log of a process as another one sees it: no secret in whatever way it was said, and one form for all."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SECRET = "canary-Zk3vQ9xW7LmT2rYb8NpD4sHc"
SET_UP = f"""
import logging, sys, threading, warnings
import structlog
from propbot.kit.redact import Redactor
from propbot.logs import set_up_logging
secret = {SECRET!r}
set_up_logging("FORMAT", "INFO", Redactor([secret]))
log = structlog.get_logger("propbot")

def failing():
    token = secret
    raise ValueError("refused " + token)
"""


def said(code: str, log_format: str = "console") -> str:
    """Standard error, and nothing but that."""
    ran = subprocess.run(
        [sys.executable, "-c", SET_UP.replace("FORMAT", log_format) + code], capture_output=True, text=True, timeout=60
    )
    assert ran.stdout == ""
    return ran.stderr


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_a_secret_is_in_nothing_that_is_said_in_whatever_way(log_format: str) -> None:
    told = said(
        """
log.info("key is " + secret, token=secret, deep={"of": [secret]}, octets=secret.encode())
log.info("in hex", hex=secret.encode().hex())
logging.getLogger("some.library").warning("GET /bot%s/getUpdates", secret)
warnings.warn("a warning with " + secret)
try:
    failing()
except ValueError:
    log.error("it failed", exc_info=True)
    logging.getLogger("some.library").exception("it failed too")
class Ending:
    def __del__(self): failing()
Ending()
thread = threading.Thread(target=failing)
thread.start(); thread.join()
failing()
""",
        log_format,
    )
    assert told.count("[redacted]") >= 11
    for at in range(0, len(SECRET) - 7, 8):
        assert SECRET[at : at + 8] not in told
    assert SECRET.encode().hex() not in told
    assert told.count("ValueError") >= 5, "what happened is told all the same"


def test_in_json_every_line_that_is_no_crash_of_the_process_is_an_object() -> None:
    told = said(
        """
log.info("ours", client_order_id="pb1")
logging.getLogger("some.library").warning("a library's")
warnings.warn("a warning")
try:
    failing()
except ValueError:
    log.error("it failed", exc_info=True)
""",
        "json",
    )
    lines = [json.loads(line) for line in told.splitlines()]
    assert [line["level"] for line in lines] == ["info", "warning", "warning", "error"]
    assert lines[0]["event"] == "ours"
    assert lines[0]["client_order_id"] == "pb1"
    assert lines[1]["logger"] == "some.library"
    assert "ValueError: refused [redacted]" in lines[3]["exception"]
    assert all(line["timestamp"].endswith("Z") for line in lines)


def test_http_clients_do_not_tell_their_urls() -> None:
    told = said(
        """
for name in ("httpx", "httpcore.connection"):
    logging.getLogger(name).info("HTTP Request: GET https://api.telegram.org/bot123/getMe")
    logging.getLogger(name).warning("heard")
"""
    )
    assert "telegram" not in told
    assert told.count("heard") == 2
