"""Real processes for tests: `propbot run` and `propbot venues` on loopback, and a venue client of our own.

The client signs by itself (hmac and httpx), so that what it reads at the venue owes nothing to the bot's code.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx

PROPBOT = (sys.executable, "-m", "propbot")
START_S_MAX = 30.0
API_S_MAX = 90.0
"""For a first answer on a machine that does other things: imports alone may take a minute while a disk is busy. How
quickly it starts is the benchmark's question."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def clean_environ(**more: str) -> dict[str, str]:
    """The environment without any setting of ours that the machine may have."""
    names = ("PATH", "HOME", "LANG", "PYTHONPATH", "VIRTUAL_ENV")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    return {**kept, **more}


class Bot:
    """One `propbot run`, in a folder of its own, so that no `.env` of somebody else is read."""

    def __init__(self, folder: Path, *, log_to: Path | None = None, **settings: str) -> None:
        self.folder = folder
        self.log = log_to or folder / "bot.log"
        self.port = free_port()
        self.settings = {"DATA_DIR": str(folder / "data"), "API_PORT": str(self.port), **settings}
        self.process: subprocess.Popen[bytes] | None = None
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=10)

    def start(self) -> None:
        self.start_unchecked()
        self.wait(lambda: self.get("/healthz")["status"] == "ok", "the API", API_S_MAX)

    def start_unchecked(self) -> None:
        """Begun, and perhaps on its way to a crash point."""
        self.folder.mkdir(parents=True, exist_ok=True)
        log = open(self.log, "ab")  # noqa: SIM115 (the process keeps it)
        with log:
            self.process = subprocess.Popen(
                [*PROPBOT, "run"], cwd=self.folder, env=clean_environ(**self.settings), stdout=log, stderr=log
            )

    def get(self, path: str, **params: Any) -> Any:
        answer = self.http.get(path, params=params)
        return answer.json()

    def control(self, **patch: Any) -> httpx.Response:
        return self.http.patch("/api/ui/control", json=patch)

    def items(self, path: str) -> list[dict[str, Any]]:
        """Every item of a list, oldest first."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            page = self.get(path, limit=1000, **({"cursor": cursor} if cursor else {}))
            found += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found[::-1]

    def closed_lots(self) -> list[dict[str, Any]]:
        lots = self.items("/api/ui/lots")
        return [lot for lot in lots if lot["state"] == "CLOSED" and lot["exit_reason"] != "NOT_FILLED"]

    def wait(self, holds: Any, what: str, within_s: float = START_S_MAX) -> float:
        """Seconds until `holds()`; AssertionError with the log's end if it does not come true."""
        began = time.monotonic()
        while True:
            with contextlib.suppress(httpx.HTTPError, KeyError, json.JSONDecodeError):
                if holds():
                    return time.monotonic() - began
            assert self.process is None or self.process.poll() is None, f"the bot ended: {self.log_tail()}"
            assert time.monotonic() - began < within_s, f"{what} did not come within {within_s} s: {self.log_tail()}"
            time.sleep(0.05)

    def log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-3000:] if self.log.is_file() else f"(its log went to {self.log})"

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def wait_ended(self, within_s: float) -> None:
        """Until it has killed itself."""
        assert self.process is not None
        assert self.process.wait(within_s) == -signal.SIGKILL, self.log_tail()

    def terminate(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """(exit code, seconds that it took)."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(20)
        return code, time.monotonic() - began

    def close(self) -> None:
        self.http.close()
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


@contextlib.contextmanager
def running_bot(folder: Path, *, log_to: Path | None = None, **settings: str) -> Iterator[Bot]:
    bot = Bot(folder, log_to=log_to, **settings)
    try:
        bot.start()
        yield bot
    finally:
        bot.close()


class Venue:
    """One embedded venue, asked over its signed REST."""

    def __init__(self, name: str, access: dict[str, str], ca_file: str) -> None:
        self.name = name
        self._secret = access["api_secret"].encode()
        context = ssl.create_default_context(cafile=ca_file)
        self._http = httpx.Client(
            base_url=access["rest"], verify=context, headers={"X-MBX-APIKEY": access["api_key"]}, timeout=10
        )
        self._perp = name == "binance-um"

    def signed(self, path: str, method: str = "GET", **params: Any) -> Any:
        clock = "/fapi/v1/time" if self._perp else "/api/v3/time"
        params["timestamp"] = self._http.get(clock).json()["serverTime"]
        query = urlencode(params)
        signature = hmac.new(self._secret, query.encode(), hashlib.sha256).hexdigest()
        answer = self._http.request(method, f"{path}?{query}&signature={signature}")
        answer.raise_for_status()
        return answer.json()

    def trades(self) -> list[dict[str, Any]]:
        path = "/fapi/v1/userTrades" if self._perp else "/api/v3/myTrades"
        found: list[dict[str, Any]] = []
        from_id = 0
        while True:
            page = self.signed(path, symbol="BTCUSDT", fromId=from_id, limit=1000)
            found += page
            if len(page) < 1000:
                return found
            from_id = page[-1]["id"] + 1

    def all_orders(self) -> list[dict[str, Any]]:
        """Every order that the venue ever took from this account, oldest first."""
        path = "/fapi/v1/allOrders" if self._perp else "/api/v3/allOrders"
        found: list[dict[str, Any]] = []
        from_id = 1
        while True:
            page = self.signed(path, symbol="BTCUSDT", orderId=from_id, limit=1000)
            found += page
            if len(page) < 1000:
                return found
            from_id = page[-1]["orderId"] + 1

    def fill_keys(self) -> set[tuple[str, ...]]:
        """What identifies a fill and what it did."""
        return {
            (
                self.name, str(trade["orderId"]), str(trade["id"]), _plain(trade["qty"]), _plain(trade["price"]),
                _plain(trade["commission"]), trade["commissionAsset"],
            )
            for trade in self.trades()
        }

    def balances(self) -> dict[str, Decimal]:
        """Asset → total; on the perp the wallet balance."""
        if self._perp:
            return {row["asset"]: Decimal(row["balance"]) for row in self.signed("/fapi/v2/balance")}
        rows = self.signed("/api/v3/account")["balances"]
        return {row["asset"]: Decimal(row["free"]) + Decimal(row["locked"]) for row in rows}

    def position(self) -> tuple[Decimal, Decimal]:
        """(signed quantity, unrealised profit at the venue's mark)."""
        rows = self.signed("/fapi/v2/positionRisk", symbol="BTCUSDT")
        return Decimal(rows[0]["positionAmt"]), Decimal(rows[0]["unRealizedProfit"])

    def mid(self) -> Decimal:
        path = "/fapi/v1/ticker/bookTicker" if self._perp else "/api/v3/ticker/bookTicker"
        row = self._http.get(path, params={"symbol": "BTCUSDT"}).json()
        return (Decimal(row["bidPrice"]) + Decimal(row["askPrice"])) / 2

    def market_order(self, side: str, qty: str) -> Any:
        """A trade by somebody else's hand on the same account."""
        path = "/fapi/v1/order" if self._perp else "/api/v3/order"
        return self.signed(path, "POST", symbol="BTCUSDT", side=side, type="MARKET", quantity=qty)

    def close(self) -> None:
        self._http.close()


def _plain(number: str) -> str:
    return format(Decimal(number).normalize(), "f")


def bot_fill_keys(bot: Bot) -> set[tuple[str, ...]]:
    return {
        (
            fill["venue"], fill["order_id"], fill["trade_id"], _plain(fill["qty"]), _plain(fill["price"]),
            _plain(fill["fee"]), fill["fee_asset"],
        )
        for fill in bot.items("/api/ui/fills")
    }


class Venues:
    """`propbot venues` in a process of its own."""

    def __init__(self, folder: Path, *arguments: str, **settings: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.file = folder / "venues.json"
        with open(folder / "venues.log", "ab") as log:
            self.process = subprocess.Popen(
                [*PROPBOT, "venues", "--data-dir", str(folder / "data"), *arguments],
                cwd=folder, env=clean_environ(**settings), stdout=subprocess.PIPE, stderr=log,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, (folder / "venues.log").read_text()
        self.file.write_bytes(line)
        self.access = json.loads(line)

    def venue(self, name: str) -> Venue:
        return Venue(name, self.access["venues"][name], self.access["ca_file"])

    def fault(self, venue: str, fault: str, **params: Any) -> None:
        body = {"venue": venue, "fault": fault, "after": 0, "count": 1, "params": params}
        httpx.post(f"{self.access['admin']}/faults", json=body).raise_for_status()

    def log_rows(self, since: int = 0) -> dict[str, Any]:
        answer: dict[str, Any] = httpx.get(f"{self.access['admin']}/log", params={"since": since}, timeout=20).json()
        return answer

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextlib.contextmanager
def running_venues(folder: Path, *arguments: str, **settings: str) -> Iterator[Venues]:
    venues = Venues(folder, *arguments, **settings)
    try:
        yield venues
    finally:
        venues.close()
