"""What each command of the runbook promises. One entry a command: found by what it says, not by where it stands.

`prepare` brings about what the document assumes at that place; `check` runs the step and judges it. A command that no
entry knows fails its test, so that nobody adds one untested.
"""

from __future__ import annotations

import json
import os
import re
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.deploy_rules import compose_problems
from tests.runbook.documents import ROOT, Step
from tests.runbook.station import Done, Station, wait_quiet

OVERALL = ("OK", "WARN", "ERROR", "HOLD")
QUIET_S = 2.0
ORDER_MARGIN_NS = 50_000_000
"""From the answer to the last order's byte at the venue."""


@dataclass(frozen=True)
class Promise:
    pattern: str
    check: Callable[[Station, Step], None]
    prepare: Callable[[Station], None] = lambda station: None


def promise_of(step: Step) -> Promise:
    for promise in PROMISES:
        if re.search(promise.pattern, step.text, re.DOTALL):
            return promise
    pytest.fail(f"{step.name}: no promise is known for this command: {step.text}")


def keep(step: Step, station_of: Callable[[str], Station]) -> None:
    promise = promise_of(step)
    station = station_of(step.document)
    promise.prepare(station)
    promise.check(station, step)


def succeeded(station: Station, step: Step) -> Done:
    done = station.type(step)
    assert done.code == 0, f"{step.text}\nexit {done.code}\n{done.stdout}\n{done.stderr}"
    return done


def accepted(station: Station, step: Step) -> Done:
    """As an operator does it who is told 409: wait for what stands in the way, try again."""
    until = time.monotonic() + 60
    while True:
        done = station.type(step)
        refused = done.code == 1 or '"conflict"' in done.stdout
        if not refused or time.monotonic() > until:
            assert done.code == 0, (done.stdout, done.stderr)
            return done
        wait_quiet(0.5)


# --- looking


def opens_swagger(station: Station, step: Step) -> None:
    page = station.shell(f"curl -fsS https://{station.host}/docs")
    assert page.code == 0, page.stderr
    assert "swagger" in page.stdout.lower()
    listed = station.shell(f"curl -fsS https://{station.host}/openapi.json")
    assert {"/api/ui/control", "/api/ui/state", "/api/ui/status/overview"} <= set(listed.json()["paths"])


def shows_overview(station: Station, step: Step) -> None:
    overview = succeeded(station, step).json()
    assert overview["overall"] in OVERALL
    assert isinstance(overview["alerts"], list)


def shows_components(station: Station, step: Step) -> None:
    printed = succeeded(station, step).stdout
    rows = [json.loads(row) for row in re.findall(r"\{.*?\n\}", printed, re.DOTALL)]
    assert {"recon", "rate_limit", "runaway_breaker"} <= {row["id"] for row in rows}
    assert all(row["status"] in OVERALL and row["summary"] for row in rows)


def shows_incidents(station: Station, step: Step) -> None:
    assert isinstance(succeeded(station, step).json(), list)


def shows_limits(station: Station, step: Step) -> None:
    risk = succeeded(station, step).json()
    assert {"limits", "current", "positions", "flags", "dry_run"} <= set(risk)
    assert risk["flags"]["PROFILE"] == "paper"


def shows_control(station: Station, step: Step) -> None:
    control = succeeded(station, step).json()
    assert {"mode", "order_notional_usdt", "loop_venues", "preflight", "approvals", "hold"} <= set(control)


def gets_control_state(station: Station, step: Step) -> None:
    control = station.ask("/api/ui/control-state")
    assert control["order_notional_usdt"] == 100
    assert control["min_spread_bps"] == 1.2
    assert control["dry_run_only"] is True
    assert control["loop_venues"] == ["binance-um"]


def no_position_is_open(station: Station, step: Step) -> None:
    assert station.ask("/api/ui/state")["risk"]["positions"] == []


def prints_status(station: Station, step: Step) -> None:
    if step.section in (6, 7):
        prints_held_status(station, step)
        return
    lines = succeeded(station, step).stdout.splitlines()
    overview = station.ask("/api/ui/status/overview")
    assert lines[0] in {f"overall.status={word}" for word in OVERALL}
    assert f"mode={overview['mode']}" in lines
    assert max(map(len, lines)) <= 200


def prints_held_status(station: Station, step: Step) -> None:
    """Before the stop and after the start, sections 6 and 7."""
    station.held()
    lines = succeeded(station, step).stdout.splitlines()
    assert "overall.status=HOLD" in lines
    assert "mode=HOLD" in lines
    assert any(line.startswith("HOLD since ") for line in lines)


def prints_component_table(station: Station, step: Step) -> None:
    printed = succeeded(station, step).stdout
    for id in ("recon", "rate_limit", "runaway_breaker"):
        assert re.search(rf"^{id} +(OK|WARN|ERROR|HOLD) ", printed, re.MULTILINE), printed
    assert max(map(len, printed.splitlines())) <= 80


def prints_something(word: str) -> Callable[[Station, Step], None]:
    def check(station: Station, step: Step) -> None:
        assert word in succeeded(station, step).stdout

    return check


def examines(station: Station, step: Step) -> None:
    """0 or 1 as the service is; every guard is among what was checked."""
    done = station.type(step)
    assert done.code in (0, 1), done.stderr
    assert ("FAILED" in done.stdout or "unknown" in done.stdout) is (done.code == 1)
    for id in ("recon", "kill_caps", "clock", "disk", "token"):
        assert id in done.stdout


def follows(station: Station, step: Step) -> None:
    done = station.shell(f"timeout -s INT 8 {step.text}")
    assert done.code in (0, 124), done.stderr
    assert len(done.stdout.splitlines()) > 20, "more than it begins with"


# --- steering


def enters_hold(station: Station, step: Step) -> None:
    succeeded(station, step)
    is_in_force(station, time.monotonic_ns())


def is_in_force(station: Station, answered_ns: int) -> None:
    overview = station.ask("/api/ui/status/overview")
    assert (overview["overall"], overview["mode"], overview["safe_mode"]) == ("HOLD", "HOLD", True)
    assert overview["hold"]["source"].startswith(("operator:", "guard:"))
    wait_quiet(QUIET_S)
    assert station.opened_or_closed_after(answered_ns + ORDER_MARGIN_NS) == []


def leaves_hold(station: Station, step: Step) -> None:
    before = time.monotonic_ns()
    accepted(station, step)
    assert station.mode == "RUN"
    station.set(safe_mode=False)
    station.wait(lambda: bool(station.opened_or_closed_after(before)), "an order after the resume")


def drains(station: Station, step: Step) -> None:
    accepted(station, step)
    station.wait(lambda: station.mode == "HOLD", "the end of the drain", 70)
    assert station.ask("/api/ui/state")["risk"]["positions"] == []


def patches_hold_and_dry_run(station: Station, step: Step) -> None:
    _, path, body = step.text.split(" ", 2)
    answer = station.http.patch(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 200, answer.text
    control = station.ask("/api/ui/control-state")
    assert (control["mode"], control["dry_run_only"]) == ("HOLD", True)


def patches_parameters(station: Station, step: Step) -> None:
    answer = succeeded(station, step).json()
    asked = json.loads(re.search(r"-d '(\{.*\})'", step.text, re.DOTALL)[1])
    for name, value in asked.items():
        assert answer["control"][name] == value
    ignored = station.patch(pair="ETHUSDT", venues=["okx-perp"])
    assert (ignored.status_code, sorted(ignored.json()["ignored_fields"])) == (200, ["pair", "venues"])
    assert ignored.json()["control"]["loop_pair"] == asked["loop_pair"]


def sets_by_command(station: Station, step: Step) -> None:
    succeeded(station, step)
    own_flag = station.ask("/api/ui/state")["flags"]["SAFE_MODE"]  # in HOLD safe_mode is shown as on, whoever set it
    control = {**station.ask("/api/ui/control-state"), "safe_mode": own_flag}
    for name, value in re.findall(r"(\w+)=(\S+)", step.text.partition("control set")[2]):
        assert str(control[name]).lower() in (value, f"{value}.0"), (name, control[name])


# --- secrets, exports


def leaves_key_file(station: Station, step: Step) -> None:
    succeeded(station, step)
    path = station.work / "tmp" / "keys.json"
    assert len(json.loads(path.read_text())) == 2
    if "umask 077" in step.text:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def key_file_is_gone(station: Station, step: Step) -> None:
    succeeded(station, step)
    assert not (station.work / "tmp" / "keys.json").exists()


def with_key_file(station: Station) -> None:
    path = station.work / "tmp" / "keys.json"
    names = ("BINANCE_UM_API_KEY_TESTNET", "BINANCE_UM_API_SECRET_TESTNET")
    path.write_text(json.dumps(dict(zip(names, station.newest_pair().values(), strict=True))))


def gives_out_a_pair(station: Station, step: Step) -> None:
    assert set(succeeded(station, step).json()) == {"api_key", "api_secret"}


def stores_secrets(station: Station, step: Step) -> None:
    """Checked at the venue, in force from now on, and shown nowhere."""
    done = succeeded(station, step)
    said = done.stdout
    assert '"status":"ok"' in said.replace(" ", "") or "status=ok" in said
    assert '"BINANCE_UM_API_SECRET_TESTNET":true' in said.replace(" ", "") or (
        "BINANCE_UM_API_SECRET_TESTNET: stored, checked with a signed read" in said
    )
    listed = station.ask("/api/ui/secret")["items"]
    sources = {item["name"]: item["source"] for item in listed}
    assert sources["BINANCE_UM_API_SECRET_TESTNET"] == "stored"
    shown = station.log() + said + done.stderr + json.dumps(listed)
    for pair in station.given_out:
        assert not [half for half, value in pair.items() if value in shown]


def exports_csv(station: Station, step: Step) -> None:
    succeeded(station, step)
    lines = (station.work / "propbot-events.csv").read_text().splitlines()
    assert lines[0] == "id,ts,level,kind,venue,symbol,source,message,details"
    assert len(lines) > 1


def exports_json(station: Station, step: Step) -> None:
    succeeded(station, step)
    path = station.work / "logs" / "propbot-events.json"
    rows = json.loads(path.read_text())
    assert [row["id"] for row in rows] == list(range(rows[0]["id"], 0, -1)), "every event, newest first"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


# --- Telegram


def told(station: Station, text: str, wanted: str) -> str:
    """What the chat is answered: the first message after `text` that says what is `wanted`; pushes may come between."""
    before = len(station.telegram.sent)
    station.telegram.type(text)

    def answers() -> list[str]:
        return [said for said in station.telegram.sent[before:] if re.search(wanted, said)]

    station.wait(lambda: bool(answers()), f"an answer by Telegram with {wanted!r}", 20)
    return answers()[0]


def pauses_by_telegram(station: Station, step: Step) -> None:
    told(station, step.text, "^HOLD since .* by operator:")
    is_in_force(station, time.monotonic_ns())


def resumes_by_telegram(station: Station, step: Step) -> None:
    """It clears SAFE_MODE as well, since nobody else has to approve."""
    until = time.monotonic() + 60
    while station.mode != "RUN":
        assert time.monotonic() < until, station.telegram.sent
        told(station, step.text, "")
        wait_quiet(0.5)
    assert station.ask("/api/ui/status/overview")["safe_mode"] is False


def tells_status_by_telegram(station: Station, step: Step) -> None:
    said = told(station, step.text, "^PropBot ")
    assert station.mode in said


# --- container, files


def stops_and_starts(station: Station, step: Step) -> None:
    """The files that it names are right (a container engine runs them in tests/deploy); the process is stopped and
    started in its place, and what held before holds after."""
    assert compose_problems(ROOT / "deploy" / "docker-compose.prod.yml") == []
    assert "-f deploy/docker-compose.prod.yml --env-file .env" in step.text
    if " down" in step.text or " exec " in step.text:
        return
    station.restart()
    assert station.mode == "HOLD"


def makes_the_data_folder(station: Station, step: Step) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives a folder to another user")
    succeeded(station, step)
    made = (station.work / "data").stat()
    assert (made.st_uid, made.st_gid, stat.S_IMODE(made.st_mode)) == (1000, 1000, 0o770)


def copies_the_example(station: Station, step: Step) -> None:
    succeeded(station, step)
    copied = station.work / ".env"
    assert copied.read_text() == (ROOT / "deploy" / "env.example.prod").read_text()
    assert stat.S_IMODE(copied.stat().st_mode) == 0o600


def runs(station: Station, step: Step) -> None:
    succeeded(station, step)


def with_an_incident(station: Station) -> None:
    """A trade by somebody else's hand: ledger and venue differ until its baseline is accepted."""
    if station.ask("/api/ui/incidents")["items"]:
        return
    from tests.e2e.processes import Venue

    access: Any = json.loads((station.bot.folder / "data" / "simvenue.json").read_text())
    venue = Venue("binance-um", access["venues"]["binance-um"], access["ca_file"])
    venue.market_order("BUY", "0.050")
    station.wait(lambda: bool(station.ask("/api/ui/incidents")["items"]), "an incident")
    station.held()

    def agreed() -> bool:
        for asset in ("BTC", "USDT"):
            asked = {"venue": "binance-um", "asset": asset, "reason": "the runbook's own trade"}
            station.http.post("/api/ui/baseline", json=asked)
        components = station.ask("/api/ui/status/components")["components"]
        return any(each["id"] == "recon" and each["status"] == "OK" for each in components)

    station.wait(agreed, "an agreement of ledger and venue")
    venue.close()


PROMISES = (
    Promise(r"^docker compose", stops_and_starts, Station.held),
    Promise(r"^sudo mkdir", makes_the_data_folder),
    Promise(r"^cp deploy/env.example.prod", copies_the_example),
    Promise(r"^export PROPBOT_BASE_URL", runs),
    Promise(r"^(https://<host>)?/docs$", opens_swagger),
    Promise(r"^/pause", pauses_by_telegram, Station.trading),
    Promise(r"^/resume", resumes_by_telegram, Station.about_to_trade),
    Promise(r"^/status", tells_status_by_telegram),
    Promise(r"^curl .*status/overview", shows_overview),
    Promise(r"^curl .*status/components.*incidents", shows_incidents),
    Promise(r"^curl .*status/components", shows_components),
    Promise(r"^curl .*api/ui/state", shows_limits),
    Promise(r"^curl .*control-state", shows_control),
    Promise(r'^curl .*-d \'\{"mode": "HOLD"\}', enters_hold, Station.trading),
    Promise(r'^curl .*-d \'\{"mode": "RUN"\}', leaves_hold, Station.about_to_trade),
    Promise(r"^curl .*order_notional_usdt", patches_parameters, Station.safe),
    Promise(r"^curl .*api/ui/secret", stores_secrets, with_key_file),
    Promise(r"^curl .*events/export", exports_csv),
    Promise(r"^GET /api/ui/control-state", gets_control_state),
    Promise(r"^GET /api/ui/state", no_position_is_open, Station.flat),
    Promise(r"^PATCH /api/ui/control", patches_hold_and_dry_run, Station.trading),
    Promise(r"cat <<JSON", leaves_key_file),
    Promise(r"^rm ", key_file_is_gone, with_key_file),
    Promise(r"^curl .*simvenue\.json", gives_out_a_pair),
    Promise(r"rotate-key < ", stores_secrets, with_key_file),
    Promise(r"rotate-key", stores_secrets, Station.another_secret),
    Promise(r"^propbotctl .*\bsecrets$", prints_something("BINANCE_UM_API_SECRET_TESTNET")),
    Promise(r"^propbotctl .*export-log", exports_json),
    Promise(r"^propbotctl .*audit verify", prints_something("ok: ")),
    Promise(r"^propbotctl .*control set", sets_by_command, Station.safe),
    Promise(r"^propbotctl .*control get", prints_something("order_notional_usdt=")),
    Promise(r"^propbotctl .*approvals list", prints_something("nothing was proposed")),
    Promise(r"^propbotctl .*incidents (show|ack)", prints_something("incident 1 P0"), with_an_incident),
    Promise(r"^propbotctl .*incidents", prints_something("standing"), with_an_incident),
    Promise(r"^propbotctl .*events --follow", follows, Station.trading),
    Promise(r"^propbotctl .*drain", drains, Station.trading),
    Promise(r"^propbotctl .*positions", prints_something("")),
    Promise(r"^propbotctl .*doctor", examines),
    Promise(r"^propbotctl .*\btop", prints_something("P&L USDT")),
    Promise(r"^propbotctl .*\bslo", prints_something("day_drawdown")),
    Promise(r"^propbotctl .*components", prints_component_table),
    Promise(r"^propbotctl (.* )?pause", enters_hold, Station.trading),
    Promise(r"^propbotctl (.* )?resume", leaves_hold, Station.about_to_trade),
    Promise(r"^propbotctl .*status", prints_status),
)
