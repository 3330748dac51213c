"""Where an operator sits: a service on embedded venues, a proxy in front of it that speaks TLS, a shell, Telegram.

Everything real but the network's length: `propbot run` as its own process, bash, curl, jq and the installed propbotctl.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any

import httpx
import trustme

from tests.e2e.processes import Bot, clean_environ
from tests.runbook.documents import ROOT, Step
from tests.runbook.telegram import CHAT_ID, TELEGRAM_TOKEN, TelegramServer

TOKEN = "runbook-token-" + "7" * 32
NEW_SECRET = "a-secret-from-standard-input"
PLACEHOLDERS = {"<новый ключ>": "k" * 64, "<новый секрет>": "s" * 64, "<new key>": "k" * 64, "<new secret>": "s" * 64}
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Done:
    code: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        return json.loads(self.stdout)


class Station:
    """`work` is the project's root as an operator has it, with `deploy/` in it."""

    def __init__(self, work: Path, bot: Bot, host: str, ca_file: Path, telegram: TelegramServer) -> None:
        self.work, self.bot, self.host, self.telegram = work, bot, host, telegram
        self.environ = clean_environ(
            PATH=f"{work / 'bin'}:{BIN}:{os.environ['PATH']}", HOME=str(work), API_TOKEN=TOKEN, NEW_SECRET=NEW_SECRET,
            PROPBOT_BASE_URL=f"https://{host}", CURL_CA_BUNDLE=str(ca_file), SSL_CERT_FILE=str(ca_file), COLUMNS="80",
        )
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{bot.port}", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10
        )
        bot.http.close()
        bot.http = self.http

    def fill_in(self, text: str) -> str:
        """Host, values and the folder for temporary files, and nothing else."""
        filled = text.replace("<host>", self.host).replace("/tmp/", f"{self.work}/tmp/")
        for placeholder, value in PLACEHOLDERS.items():
            filled = filled.replace(placeholder, value)
        return filled

    def type(self, step: Step, within_s: float = 60.0) -> Done:
        """The step as it is written, in bash."""
        folder = self.work / "deploy" if "../data" in step.text else self.work
        return self.shell(self.fill_in(step.text), folder, within_s)

    def shell(self, command: str, folder: Path | None = None, within_s: float = 60.0) -> Done:
        ran = subprocess.run(
            ["bash", "-c", f"set -e -o pipefail\n{command}"], cwd=folder or self.work, env=self.environ, text=True,
            input=f"{TOKEN}\n", capture_output=True, timeout=within_s,
        )  # fmt: skip
        return Done(ran.returncode, ran.stdout, ran.stderr)

    def ask(self, path: str) -> Any:
        answer = self.http.get(path)
        answer.raise_for_status()
        return answer.json()

    def patch(self, **fields: Any) -> httpx.Response:
        return self.http.patch("/api/ui/control", json=fields)

    def set(self, **fields: Any) -> None:
        """Until it is granted: on a busy machine a guard may stand in the way for a while."""
        last: list[httpx.Response] = []

        def granted() -> bool:
            last.append(self.patch(**fields))
            return last[-1].status_code == 200

        try:
            self.wait(granted, str(fields))
        except AssertionError as error:
            raise AssertionError(f"{fields}: {last[-1].status_code} {last[-1].text}") from error

    @property
    def mode(self) -> str:
        return str(self.ask("/api/ui/status/overview")["mode"])

    def wait(self, holds: Callable[[], bool], what: str, within_s: float = 60.0) -> None:
        self.bot.wait(holds, what, within_s)

    # --- what must be so before a step is taken

    def trading(self) -> None:
        """RUN on both venues, nothing in the way of orders."""
        fields = {"dry_run_only": False, "loop_venues": ["binance-um", "binance-spot"], "order_notional_usdt": 1000}
        if any(self.ask("/api/ui/control-state")[name] != value for name, value in fields.items()):
            self.set(safe_mode=True)
            self.set(**fields)
        if self.mode != "RUN" or self.ask("/api/ui/status/overview")["safe_mode"]:
            self.set(mode="RUN", safe_mode=False)
        before = self.orders_at_venues()
        self.wait(lambda: self.orders_at_venues() > before, "an order at a venue")

    def held(self) -> None:
        if self.mode != "HOLD":
            self.set(mode="HOLD")

    def flat(self) -> None:
        """Nothing is open, and in HOLD."""
        if self.ask("/api/ui/state")["risk"]["positions"]:
            self.trading()
            self.set(mode="DRAIN")
            self.wait(lambda: self.mode == "HOLD", "the end of the drain", 70)
        self.held()

    def safe(self) -> None:
        if not self.ask("/api/ui/status/overview")["safe_mode"]:
            self.set(safe_mode=True)

    # --- what the venues saw

    def venue_orders(self) -> list[dict[str, Any]]:
        """Order requests as the embedded venues logged them; `mono_ns` is this machine's monotonic clock."""
        access = json.loads((self.bot.folder / "data" / "simvenue.json").read_text())
        rows = httpx.get(f"{access['admin']}/log", params={"since": 0}, timeout=20).json()["rows"]
        return [row for row in rows if row["kind"] == "order"]

    def orders_at_venues(self) -> int:
        orders = self.venue_orders()
        return max((row["mono_ns"] for row in orders), default=0)

    def opened_or_closed_after(self, moment_ns: int) -> list[str]:
        """Client ids of what was opened or closed; hedges and unwinds may follow a HOLD."""
        purposes = {order["client_order_id"]: order["purpose"] for order in self.bot.items("/api/ui/orders")}
        return [
            row["client_order_id"] for row in self.venue_orders()
            if row["mono_ns"] > moment_ns and purposes.get(row["client_order_id"]) in ("open", "close")
        ]

    def log(self) -> str:
        return self.bot.log.read_text(errors="replace")

    def restart(self) -> None:
        """What `down` and `up -d` do to the process, where there is no container engine."""
        code, _ = self.bot.terminate()
        assert code == 0, self.bot.log_tail()
        self.bot.start_unchecked()
        self.wait(lambda: self.ask("/healthz")["status"] == "ok", "the API", 90)


@contextmanager
def open_station(work: Path) -> Iterator[Station]:
    shutil.copytree(ROOT / "deploy", work / "deploy", dirs_exist_ok=True)
    for folder in ("tmp", "bin"):
        (work / folder).mkdir(parents=True)
    sudo = work / "bin" / "sudo"
    sudo.write_text('#!/bin/sh\nexec "$@"\n')
    sudo.chmod(0o755)
    with TelegramServer() as telegram:
        bot = Bot(
            work / "bot", API_TOKEN=TOKEN, HOME=str(work), TELEGRAM_API_BASE=telegram.url,
            TELEGRAM_BOT_TOKEN=TELEGRAM_TOKEN, TELEGRAM_CHAT_ID=str(CHAT_ID),
        )
        try:
            bot.start_unchecked()
            bot.wait(lambda: httpx.get(f"http://127.0.0.1:{bot.port}/healthz").status_code == 200, "the API", 90)
            with _tls_proxy(bot.port, work) as (host, ca_file):
                yield Station(work, bot, host, ca_file, telegram)
        finally:
            bot.close()


@contextmanager
def _tls_proxy(port: int, folder: Path) -> Iterator[tuple[str, Path]]:
    """(host and port, CA file): what stands in front of the container."""
    authority = trustme.CA()
    ca_file = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    class Connection(BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)) as inside:
                outside = context.wrap_socket(self.request, server_side=True)
                back = threading.Thread(target=_pump, args=(inside, outside), daemon=True)
                back.start()
                _pump(outside, inside)
                back.join(10)
                outside.close()

    ThreadingTCPServer.allow_reuse_address = True
    with ThreadingTCPServer(("127.0.0.1", 0), Connection) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}", ca_file
        finally:
            server.shutdown()
            thread.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(65536):
            sink.sendall(chunk)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def wait_quiet(seconds: float) -> None:
    """Real time has to pass for "no new order" to mean anything."""
    time.sleep(seconds)
