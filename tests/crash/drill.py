"""The crash drill's parts: what a life leaves behind when it is killed, and what the next one must not have lost.

The bot is `propbot run`, the venues are another process with faults on, and nothing here uses the bot's own code: the
ledger is read straight from SQLite, the state file is parsed and its checksum and the journal's hash chain computed
anew, orders are counted at the venues.
"""

from __future__ import annotations

import hashlib
import json
import random
import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
from attrs import define, field, frozen

from tests.e2e.processes import Bot, Venues, bot_fill_keys

RECOVERY_S_MAX = 30.0
"""Ledger equals venue, or a HOLD with a true reason."""
TRADING_S_MAX = 90.0
"""And something new is sent: a dozen starts a minute use up a rate limit, and one more waits for its window."""
VENUES = ("binance-um", "binance-spot")
TERMINAL = ("FILLED", "PARTIAL", "CANCELED", "REJECTED", "NEVER_SENT")
FAULTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("lost_ack", {}),
    ("delayed_ack", {"seconds": 1.0}),
    ("drop_request", {}),
    ("unknown_503", {"executed": True}),
    ("unknown_503", {"executed": False}),
    ("reject_order", {}),
    ("partial_fill", {"fraction": 0.5}),
    ("hide_order", {"seconds": 3.0}),
    ("depth_gap", {}),
    ("duplicate_fill", {}),
    ("private_cut", {"down_s": 1.0}),
    ("rate_limit_429", {"retry_after": 1.0}),
)
"""What the venues do to us while we are killed. None of them lasts longer than a start may take."""


@frozen
class Left:
    """What was durable when a life ended."""

    intents: frozenset[str]
    orders: frozenset[str]
    fills: frozenset[tuple[str, ...]]
    head: int
    """The journal's last row."""


@define
class Drill:
    bot: Bot
    venues: Venues
    rng: random.Random
    left: Left | None = None
    kills: int = 0
    unaided: int = 0
    waits_s: list[float] = field(factory=list)
    """From each start until it trades, or is in HOLD."""
    agreed_s: list[float] = field(factory=list)
    """Until ledger and venues agreed, in those that did not go into HOLD before."""
    held: Counter[str] = field(factory=Counter)
    faults: Counter[str] = field(factory=Counter)

    # --- one life

    def strike(self, *, faults: int) -> None:
        """Faults at random venues, as a bad day has them."""
        for _ in range(faults):
            name, params = self.rng.choice(FAULTS)
            self.venues.fault(self.rng.choice(VENUES), name, **params)
            self.faults[name] += 1

    def kill(self) -> None:
        self.bot.kill()
        self.look_at_what_is_left()

    def look_at_what_is_left(self) -> None:
        """Right after the end of a life: files whole, chain whole, nothing gone that an earlier life had."""
        self.kills += 1
        check_state_file(self.bot.folder / "data")
        now = read_left(self.bot.folder / "data")
        if self.left is not None:
            for name in ("intents", "orders", "fills"):
                gone = getattr(self.left, name) - getattr(now, name)
                assert not gone, f"after kill {self.kills}: {name} that were durable are gone: {sorted(gone)[:5]}"
            assert now.head >= self.left.head, "the journal is shorter than it was"
        self.left = now

    def start(self, **settings: str) -> str | None:
        """The next life; None once it trades again unaided, else the line of the HOLD that it is in."""
        before = self.bot.settings
        self.bot.settings = {**before, **settings}
        began = time.monotonic()
        try:
            self.bot.start()
        finally:
            self.bot.settings = before
        reason = self._recover(began)
        self.waits_s.append(time.monotonic() - began)
        return reason

    def recover_and_note(self) -> None:
        """Start after a kill, count whether it went on by itself, and do what the operator would do if it did not."""
        reason = self.start()
        if reason is None:
            self.unaided += 1
        else:
            self.held[reason.partition(" by ")[2].partition(":")[0] + ": " + reason.split(": ")[-1][:60]] += 1
            self.check_hold_is_true(reason)
            self.resume()
        print(f"kill {self.kills}: {self.waits_s[-1]:.1f} s, {reason or 'trading again'}", flush=True)

    def _recover(self, began: float) -> str | None:
        """In RUN with recon agreeing in this life within 30 s, and then trading; or the line of the HOLD."""
        opened, agreed = len(self.bot.items("/api/ui/orders")), False
        while time.monotonic() - began < (TRADING_S_MAX if agreed else RECOVERY_S_MAX):
            overview = self.bot.get("/api/ui/status/overview")
            if overview["mode"] == "HOLD":
                return str(overview["hold"]["line"])
            recon = next((c for c in overview["components"] if c["id"] == "recon"), None)
            if not agreed and recon is not None and recon["status"] == "OK":
                agreed = True
                self.agreed_s.append(time.monotonic() - began)
            if agreed and len(self.bot.items("/api/ui/orders")) > opened:
                return None
            time.sleep(0.1)
        wanted = "in RUN and agreeing, but it does not trade" if agreed else "neither RUN that agrees nor HOLD"
        raise AssertionError(f"{wanted} after {time.monotonic() - began:.0f} s: {self.bot.log_tail()}")

    def check_hold_is_true(self, line: str) -> None:
        """A HOLD names a guard that says so itself, or what the start still waits for."""
        if " by guard:" in line:
            guard = line.partition(" by guard:")[2].partition(":")[0]
            incidents = self.bot.get("/api/ui/status/components")["incidents"]
            assert any(each["component_id"] == guard for each in incidents), f"{line}: no incident of {guard}"
        assert "orders left" in line or "being read back" in line, line

    def resume(self) -> None:
        """Acknowledge what there is, wait until the guards have cleared, and resume."""

        def resumed() -> bool:
            for incident in self.bot.get("/api/ui/status/components")["incidents"]:
                if incident["acknowledged_by"] is None and incident["resolved_at"] is None:
                    self.bot.http.post(f"/api/ui/incidents/{incident['id']}/ack", json={"note": "the drill"})
            answer = self.bot.control(mode="RUN")
            if answer.status_code == 409 and "mode DRAIN is possible" in answer.text:
                self.bot.control(mode="DRAIN")
            return answer.status_code == 200

        self.bot.wait(resumed, "a resume", 90)

    # --- the end

    def compare(self) -> None:
        """At a quiet moment: the same fills, each order once, every outcome known, positions equal."""
        self.venues_clear()
        time.sleep(15)
        assert self.bot.control(mode="HOLD", reason="compare").status_code == 200
        self.bot.wait(self._all_terminal, "an outcome for every order", 60)
        booked = bot_fill_keys(self.bot)
        at_venues: set[tuple[str, ...]] = set()
        for name in VENUES:
            client = self.venues.venue(name)
            at_venues |= client.fill_keys()
            ids = Counter(order["clientOrderId"] for order in client.all_orders())
            client.close()
            twice = [id for id, count in ids.items() if count > 1 and id.startswith("pb")]
            assert not twice, f"{name} has orders twice: {twice}"
        assert booked == at_venues
        ids = Counter(order["client_order_id"] for order in self.bot.items("/api/ui/orders"))
        assert max(ids.values(), default=1) == 1

    def _all_terminal(self) -> bool:
        return all(order["state"] in TERMINAL for order in self.bot.items("/api/ui/orders"))

    def venues_clear(self) -> None:
        httpx.delete(f"{self.venues.access['admin']}/faults").raise_for_status()

    def report(self) -> str:
        median_s = sorted(self.waits_s)[len(self.waits_s) // 2]
        slowest_s = max(self.waits_s)
        return (
            f"{self.kills} kills, {self.unaided} unaided; agreed after {max(self.agreed_s, default=0):.1f} s at most;"
            f" trading or held after {slowest_s:.1f} s at most, median {median_s:.1f} s;"
            f" held: {dict(self.held)}; faults: {dict(self.faults)}"
        )


def read_left(data_dir: Path) -> Left:
    """Of a bot that is dead. Reading may take up its WAL, as the next start would."""
    with closing(sqlite3.connect(f"file:{data_dir / 'ledger.db'}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        assert [row[0] for row in connection.execute("PRAGMA quick_check(1)")] == ["ok"]

        def column(sql: str) -> frozenset[str]:
            return frozenset(str(row[0]) for row in connection.execute(sql))

        fills = frozenset(
            tuple(str(part) for part in row)
            for row in connection.execute("SELECT venue, symbol, order_id, trade_id, qty, price FROM fills")
        )
        head = check_chain(connection)
        return Left(
            column("SELECT id FROM intents WHERE simulated = 0"),
            column("SELECT client_order_id FROM orders WHERE simulated = 0"), fills, head,
        )


def check_chain(connection: sqlite3.Connection) -> int:
    """Computed anew, from DESIGN section 13: SHA-256 over the hash before and the row's canonical JSON. The last id."""
    previous, last = "0" * 64, 0
    for row in connection.execute("SELECT * FROM events ORDER BY id"):
        assert row["id"] == last + 1, f"event {row['id']} follows {last}"
        fields = [row[name] for name in ("id", "ts_ns", "level", "kind", "message", "venue", "symbol", "source")]
        text = json.dumps([*fields, row["details"]], separators=(",", ":"), ensure_ascii=False)
        assert row["prev_hash"] == previous, f"event {row['id']} does not follow the one before"
        hashed = hashlib.sha256(f"{previous}\n{text}".encode()).hexdigest()
        assert row["hash"] == hashed, f"event {row['id']} was changed"
        previous, last = row["hash"], row["id"]
    return last


def check_state_file(data_dir: Path) -> dict[str, Any]:
    """Whole, with its own checksum; a life that was killed before it ever saved has none."""
    path = data_dir / "runtime_state.json"
    if not path.exists():
        return {}
    body: dict[str, Any] = json.loads(path.read_text())
    checksum = body.pop("checksum")
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    assert hashlib.sha256(canonical).hexdigest() == checksum, "the state file is torn"
    return body
