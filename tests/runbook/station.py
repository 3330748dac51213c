"""Where an operator sits: a service on embedded venues, a proxy in front of it that speaks TLS, a shell, Telegram.

Everything real but the network's length: `propbot run` as its own process, bash, curl, jq and the installed propbotctl.
"""

from __future__ import annotations

import json
import os
import secrets
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
KEY_PLACES = ("<новый ключ>", "<new key>")
SECRET_PLACES = ("<новый секрет>", "<new secret>", "новый-секрет", "new-secret")
HOST_NAME = "propbot.example.com"
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
            PATH=f"{work / 'bin'}:{BIN}:{os.environ['PATH']}", HOME=str(work), API_TOKEN=TOKEN,
            PROPBOT_BASE_URL=f"https://{host}", CURL_CA_BUNDLE=str(ca_file), SSL_CERT_FILE=str(ca_file), COLUMNS="80",
        )
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{bot.port}", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10
        )
        bot.http.close()
        bot.http = self.http
        self.given_out: list[dict[str, str]] = []
        """Pairs of the embedded binance-um, the newest last: what it gave to the operator."""

    def fill_in(self, text: str) -> str:
        """Host, values and where files lie, and nothing else."""
        filled = text.replace("<host>", self.host).replace("/tmp/", f"{self.work}/tmp/")
        filled = filled.replace("data/simvenue.json", f"{self.bot.folder}/data/simvenue.json")
        for places, half in ((KEY_PLACES, "api_key"), (SECRET_PLACES, "api_secret")):
            for place in places:
                if place in filled:
                    filled = filled.replace(place, self.newest_pair()[half])
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

    def tradable(self) -> None:
        """The parameters are those of real orders on both venues; the mode stays."""
        fields = {"dry_run_only": False, "loop_venues": ["binance-um", "binance-spot"], "order_notional_usdt": 1000}
        if any(self.ask("/api/ui/control-state")[name] != value for name, value in fields.items()):
            self.set(safe_mode=True)
            self.set(**fields)

    def trading(self) -> None:
        """RUN, and an order has left. A guard that trips meanwhile (this machine may be busy) is waited for."""
        self.tradable()
        before = self.orders_at_venues()

        def ordered() -> bool:
            overview = self.ask("/api/ui/status/overview")
            if overview["mode"] != "RUN" or overview["safe_mode"]:
                self.set(mode="RUN", safe_mode=False)
            return self.orders_at_venues() > before

        self.wait(ordered, "an order at a venue", 120)

    def about_to_trade(self) -> None:
        """In HOLD, with nothing else in the way of orders."""
        self.tradable()
        self.held()

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

    # --- keys, as an operator makes them at the venue

    def newest_pair(self) -> dict[str, str]:
        if not self.given_out:
            self._make_pair({})
        return self.given_out[-1]

    def another_secret(self) -> None:
        """The key in force gets another secret at the venue, and the shell has it in NEW_SECRET. In HOLD: the bot's
        requests are refused until it is told."""
        self.held()
        if not any(item["source"] == "stored" for item in self.ask("/api/ui/secret")["items"]):
            names = ("BINANCE_UM_API_KEY_TESTNET", "BINANCE_UM_API_SECRET_TESTNET")
            answer = self.http.post("/api/ui/secret", json=dict(zip(names, self.newest_pair().values(), strict=True)))
            assert answer.status_code == 200, answer.text
        self._make_pair({"api_key": self.newest_pair()["api_key"], "api_secret": secrets.token_hex(32)})
        self.environ["NEW_SECRET"] = self.newest_pair()["api_secret"]

    def _make_pair(self, halves: dict[str, str]) -> None:
        answer = httpx.post(f"{self._venue_access()['admin']}/keys", json={"venue": "binance-um", **halves}, timeout=20)
        answer.raise_for_status()
        self.given_out.append({half: answer.json()[half] for half in ("api_key", "api_secret")})

    # --- what the venues saw

    def _venue_access(self) -> Any:
        return json.loads((self.bot.folder / "data" / "simvenue.json").read_text())

    def venue_orders(self) -> list[dict[str, Any]]:
        """Order requests as the embedded venues logged them; `mono_ns` is this machine's monotonic clock."""
        rows = httpx.get(f"{self._venue_access()['admin']}/log", params={"since": 0}, timeout=20).json()["rows"]
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
            work / "bot", API_TOKEN=TOKEN, API_ALLOWED_HOSTS=HOST_NAME, TRUSTED_PROXY="127.0.0.1", HOME=str(work),
            TELEGRAM_API_BASE=telegram.url,
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
    authority.issue_cert("127.0.0.1", HOST_NAME, f"other.{HOST_NAME}").configure_cert(context)

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
