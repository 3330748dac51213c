"""Chromium, driven over its own pipe: what a page logs, what it asks of the network, and what stands in it.

The DevTools protocol by hand, since nothing else is needed for it: JSON messages that end in a zero byte, on the file
descriptors 3 and 4 of the browser's process.
"""

from __future__ import annotations

import base64
import json
import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--remote-debugging-pipe",
)
ANSWER_S_MAX = 60.0


def require_chromium() -> str:
    """Its path. Without it a test is skipped, and in CI fails."""
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is not installed: the report was not looked at")
        pytest.skip("chromium is not installed")
    return CHROMIUM


class Browser:
    """One tab. `requests` and `complaints` are what was heard so far."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._to, self._from = to_browser, from_browser
        self._heard = b""
        self._sent = 0
        self._session: str | None = None
        self._selector = selectors.DefaultSelector()
        self._selector.register(from_browser, selectors.EVENT_READ)
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer; events that come before it are noted."""
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        deadline_s = time.monotonic() + ANSWER_S_MAX
        while True:
            heard = self._next(deadline_s, method)
            if heard.get("id") == self._sent:
                assert "error" not in heard, (method, heard["error"])
                result: dict[str, Any] = heard["result"]
                return result
            self._note(heard)

    def evaluate(self, expression: str) -> Any:
        """The value of `expression` in the page, awaited if it is a promise."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def open(self, path: Path, until: str) -> None:
        """Show the file, and wait for `until` to hold in it."""
        url = path.absolute().as_uri()
        self.ask("Page.navigate", url=url)
        self.wait(f"location.href === {json.dumps(url)} && ({until})")

    def wait(self, condition: str) -> None:
        deadline_s = time.monotonic() + ANSWER_S_MAX
        while not self.evaluate(condition):
            assert time.monotonic() < deadline_s, (condition, self.complaints)
            time.sleep(0.05)

    def resize(self, width: int, height: int) -> None:
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def prefer(self, scheme: str) -> None:
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def photograph(self, path: Path) -> None:
        """The whole page."""
        shot = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _next(self, deadline_s: float, method: str) -> dict[str, Any]:
        while b"\0" not in self._heard:
            assert self._selector.select(max(deadline_s - time.monotonic(), 0)), f"{method}: no answer"
            part = os.read(self._from, 1 << 20)
            assert part, f"{method}: the browser is gone"
            self._heard += part
        message, _, self._heard = self._heard.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        match event.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Log.entryAdded":
                self.complaints.append(f"{params['entry']['level']}: {params['entry']['text']}")
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(params["exceptionDetails"])[:2000])
            case "Runtime.consoleAPICalled":
                self.complaints.append(f"console.{params['type']}: {json.dumps(params['args'])[:500]}")


@contextmanager
def open_browser(profile: Path) -> Iterator[Browser]:
    """Chromium with a profile of its own; ended, with all its processes, when this closes."""
    chromium = require_chromium()
    child_reads, to_browser = os.pipe()
    from_browser, child_writes = os.pipe()
    command = 'exec "$@" 3<&"$IN" 4>&"$OUT"'
    process = subprocess.Popen(
        ["bash", "-c", command, "bash", chromium, *FLAGS, f"--user-data-dir={profile}"],
        env={**os.environ, "IN": str(child_reads), "OUT": str(child_writes)}, pass_fds=(child_reads, child_writes),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )
    os.close(child_reads)
    os.close(child_writes)
    try:
        yield Browser(to_browser, from_browser)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(to_browser)
        os.close(from_browser)
