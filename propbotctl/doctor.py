"""`doctor`: is the service well, can this command reach and steer it, and what should be done next where not.

Every line is a measurement of this moment. What could not be asked is unknown, and that is no OK.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import urlsplit

from propbotctl.failures import Failure, Unauthorised, Unreachable
from propbotctl.options import Target, is_loopback

SKEW_S_WARN, SKEW_S_BAD = 1.0, 30.0
"""Between this machine and the service: times in the journal and in a shell are then no longer comparable."""
SLOW_S = 1.0


class Result(StrEnum):
    OK = "ok"
    WARN = "WARN"
    FAILED = "FAILED"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Check:
    check: str
    result: Result
    found: str
    next: str = ""


NEXT_STEPS: Mapping[str, str] = {
    "recon": "find out who traded; when the venue is right: propbotctl baseline accept VENUE ASSET --reason TEXT",
    "rate_limit": "wait until the ban or the window is over; look for another program on the same key",
    "runaway_breaker": "propbotctl orders: what did the venue refuse, and why so many?",
    "clock_skew": "set this host's clock by NTP",
    "feed_stale": "look at the venue's status page and at the network; it reconnects by itself",
    "book_integrity": "wait a minute without a resync; if it goes on, look at the network",
    "cancel_on_disconnect": "look at the venue's status page; check open orders there",
    "kill_caps": "propbotctl pnl: understand the loss, then propbotctl incidents ack ID --note TEXT",
    "hedge": "propbotctl drain: it closes and hedges, and opens nothing",
    "maintenance_calendar": "wait until the window is over",
    "ledger": "is the disk full or slow? df, dmesg; trading waits until it can write",
    "loop_lag": "what else runs on this host? top, iostat",
    "preflight": "propbotctl control get names what failed",
    "disk": "make room under DATA_DIR",
    "telegram": "/pause does not work there now: use propbotctl",
    "approvals": "propbotctl approvals list",
    "config": "correct the names in .env, then restart",
    "api": "restart the service",
    "operators": "mend OPERATORS_FILE: the older list is in force",
    "loop": "propbotctl state says why nothing is opened",
}
NOT_HEALTHY = "read the service's log; restart it if it stays so"
LOOK_IT_UP = "docs/incidents.md lists every reason and what to do"


@dataclass
class Doctor:
    """`examine` asks and never raises for what it finds; `checks` keeps what was found, in order."""

    target: Target
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    checks: list[Check] = field(default_factory=list)

    @property
    def well(self) -> bool:
        """Whether nothing failed and nothing is unknown; a WARN still lets it trade."""
        return all(each.result in (Result.OK, Result.WARN) for each in self.checks)

    def to_json(self) -> dict[str, Any]:
        return {"ok": self.well, "checks": [asdict(each) for each in self.checks]}

    def examine(self) -> None:
        if not self._reachable():
            self._unknown("everything else", "the service was not reached")
            return
        overview = self._overview()
        if overview is None:
            self._unknown("status, guards, disk", "the service was not asked")
            return
        self._say_version(overview["version"])
        self._say_hold(overview)
        for component in overview["components"]:
            self._say_component(component)
        self._ask("service levels", "/api/ui/status/slo", self._say_levels)
        self._ask("venues", "/api/ui/state", self._say_venues)
        self._ask("incidents", "/api/ui/incidents", self._say_incidents)

    def _say(self, check: str, result: Result, found: str, next: str = "") -> None:
        self.checks.append(Check(check, result, found, "" if result is Result.OK else next))

    def _unknown(self, check: str, why: str) -> None:
        self._say(check, Result.UNKNOWN, why, "mend what stands above, then ask again")

    # --- whether and as whom it is reached

    def _reachable(self) -> bool:
        url = self.target.base_url
        try:
            answer = self.target.ask("GET", "/healthz")
        except Failure as failure:
            self._say("reachable", Result.FAILED, failure.message, "; ".join(failure.next_steps) or NOT_HEALTHY)
            return not isinstance(failure, Unreachable)
        slow = answer.took_s > SLOW_S
        self._say(
            "reachable", Result.WARN if slow else Result.OK, f"{url} answers in {answer.took_s * 1000:.0f} ms",
            "is the network slow, or the host busy?",
        )
        if not is_loopback(url):
            bare = urlsplit(url).scheme == "http"
            told = "http: the token is sent in the clear" if bare else "TLS"
            self._say("transport", Result.FAILED if bare else Result.OK, told, "use the https address")
        return True

    def _overview(self) -> Mapping[str, Any] | None:
        try:
            answer = self.target.ask("GET", "/api/ui/status/overview")
        except Failure as failure:
            name = "token" if isinstance(failure, Unauthorised) else "overview"
            self._say(name, Result.FAILED, failure.message, "; ".join(failure.next_steps))
            return None
        with_token = "accepted" if self.target.token is not None else "none is needed"
        self._say("token", Result.OK, with_token)
        self._say_clock(answer.body.get("ts"), answer.date, answer.took_s)
        return answer.body

    def _say_clock(self, ts: Any, date: str, took_s: float) -> None:
        """The answer's own time lies about half a round trip back; a Date header knows whole seconds only."""
        theirs, coarse_s = _time_of(ts, date)
        if theirs is None:
            self._say("clock", Result.UNKNOWN, "the answer bears no time", "is it PropBot that runs at that URL?")
            return
        skew_s = (self.now() - theirs).total_seconds() - took_s / 2
        certain_s = max(abs(skew_s) - took_s / 2 - coarse_s, 0.0)
        result = Result.OK if certain_s < SKEW_S_WARN else Result.WARN if certain_s < SKEW_S_BAD else Result.FAILED
        side = "ahead of" if skew_s >= 0 else "behind"
        self._say("clock", result, f"this machine is {abs(skew_s):.2f} s {side} the service", "set both clocks by NTP")

    def _say_version(self, theirs: str) -> None:
        try:
            ours = version("propbot")
        except PackageNotFoundError:
            ours = "unknown"
        same = ours == theirs
        self._say(
            "version", Result.OK if same else Result.WARN, f"service {theirs}, this command {ours}",
            f"install propbotctl of version {theirs}",
        )

    # --- how the service is

    def _say_hold(self, overview: Mapping[str, Any]) -> None:
        hold = overview.get("hold")
        if hold is None:
            told = f"mode {overview['mode']}" + (", SAFE_MODE is on" if overview["safe_mode"] else "")
            self._say("mode", Result.OK, told)
            return
        by_itself = hold["source"].partition(":")[0] in ("guard", "crash")
        result = Result.FAILED if by_itself else Result.WARN
        self._say("mode", result, hold["line"], LOOK_IT_UP if by_itself else "propbotctl resume, when it shall trade")

    def _say_component(self, component: Mapping[str, Any]) -> None:
        if component["id"] == "mode":  # said with its HOLD
            return
        result = {"OK": Result.OK, "WARN": Result.WARN}.get(component["status"], Result.FAILED)
        name = component["id"] if component["group"] != "guards" else f"guard {component['id']}"
        self._say(name, result, component["summary"], NEXT_STEPS.get(component["id"], LOOK_IT_UP))

    def _ask(self, name: str, path: str, say: Callable[[Mapping[str, Any]], None]) -> None:
        try:
            say(self.target.get(path))
        except Failure as failure:
            self._say(name, Result.UNKNOWN, failure.message, "; ".join(failure.next_steps) or "ask again")

    def _say_levels(self, slo: Mapping[str, Any]) -> None:
        breached = [
            f"{each['title']} {each['value']} {each['unit']}" for each in slo["metrics"].values()
            if each["state"] == "BREACH"
        ]
        self._say(
            "service levels", Result.WARN if breached else Result.OK, ", ".join(breached) or "none is breached",
            "propbotctl slo",
        )

    def _say_venues(self, state: Mapping[str, Any]) -> None:
        for name, venue in state["venues"].items():
            key = f"key {venue['key_status']}"
            if venue["usable"] and venue["key_status"] not in ("ok", "unknown"):
                self._say(f"key {name}", Result.FAILED, key, "propbotctl rotate-key")
            elif not venue["usable"]:
                told = f"not usable: {venue['reason']}; {key}"
                self._say(f"book {name}", Result.WARN, told, NEXT_STEPS["feed_stale"])
        if state["risk_blocked"]:
            reasons = "; ".join(reason["message"] for reason in state["risk_reasons"])
            self._say("risk", Result.WARN, reasons, "runbook, section 4")

    def _say_incidents(self, page: Mapping[str, Any]) -> None:
        open_ones = [str(each["id"]) for each in page["items"] if each["resolved_at"] is None]
        self._say(
            "incidents", Result.WARN if open_ones else Result.OK,
            f"open: {', '.join(open_ones)}" if open_ones else "none is open", "propbotctl incidents show ID",
        )


def _time_of(ts: Any, date: str) -> tuple[datetime | None, float]:
    """(time, how far it may be off by its own resolution); None where there is none that can be read."""
    for read, text, off_by_s in ((datetime.fromisoformat, str(ts), 0.0), (parsedate_to_datetime, date, 1.0)):
        try:
            found = read(text)
        except ValueError:
            continue
        if found.tzinfo is not None:  # without a zone it can be anybody's time
            return found, off_by_s
    return None, 0.0
