"""The routes that only look: status, state and whether the service lives. Memory only, but for the health check."""

from __future__ import annotations

import trio
from quart import Blueprint, Response
from quart_schema import document_response

from propbot.api import models, present
from propbot.api.describe import describe
from propbot.api.replies import json_reply
from propbot.api.samples import COMPONENT, CONTROL, HOLD, INCIDENT, POSITION, TS
from propbot.domain.mode import Mode
from propbot.status.desk import Desk

LEDGER_ANSWER_S_MAX = 2.0
OVERVIEW = {
    "ts": TS,
    "overall": "HOLD",
    "overall_status": {"status": "HOLD", "reason": HOLD["reason"], "source": HOLD["source"], "since": TS},
    "mode": "HOLD",
    "profile": "paper",
    "safe_mode": True,
    "dry_run_only": False,
    "hold": HOLD,
    "alerts": [
        {"severity": "P0", "title": "Reconciliation", "msg": HOLD["reason"], "since": TS, "component_id": "recon"},
    ],
    "scores": {"guards": 0.93, "venues": 1.0},
    "components": [COMPONENT],
    "version": "0.1.0",
    "uptime_s": 86412.5,
}
SLO = {
    "ts": TS,
    "metrics": {
        "reject_rate": {
            "title": "Orders refused by venues", "value": 0.0, "threshold": 0.1, "unit": "ratio", "window_s": 600,
            "state": "OK", "samples": 40, "severity": "P1",
        },
        "day_drawdown": {
            "title": "Loss from the day's peak", "value": None, "threshold": 500, "unit": "USDT", "window_s": None,
            "state": "unknown", "samples": 0, "severity": "P0",
        },
    },
}
STATE = {
    "ts": TS,
    "mode": "HOLD",
    "safe_mode": True,
    "dry_run": False,
    "flags": {
        "PROFILE": "paper", "MODE": "HOLD", "SAFE_MODE": False, "DRY_RUN_ONLY": False, "TWO_MAN_RULE": False,
    },
    "risk": {
        "limits": {"max_position_usdt": "5000", "max_open_orders": 10},
        "current": {"max_position_usdt": "979.68", "max_open_orders": 0},
        "positions": [POSITION],
        "dust": [{"venue": "binance-spot", "asset": "BTC", "qty": "0.0000001"}],
        "breaches": [],
    },
    "risk_blocked": True,
    "risk_reasons": [{"code": "hold", "message": "no order is sent in HOLD", "limit": None, "value": None}],
    "loop": {"pair": "BTCUSDT", "venues": ["binance-um", "binance-spot"], "running": False, "why_not": HOLD["line"]},
    "pnl": {
        "equity": "223456.7", "realised": "1.5", "unrealised": "0.072", "fees": "0.4", "funding": "0", "day": "1.5",
    },
    "venues": {
        "binance-um": {
            "balances": {"USDT": {"free": "100000", "locked": "0", "total": "100000"}},
            "key_status": "ok",
            "usable": True,
            "reason": "",
            "book": {"bid": "61230.1", "ask": "61230.2", "synced": True, "age_s": 0.05, "resyncs": 0},
        },
    },
}


def look_routes(desk: Desk) -> Blueprint:
    routes = Blueprint("looks", __name__)

    @routes.get("/healthz")
    @describe(answers={200: {"status": "ok"}, 503: {"status": "failing", "reasons": ["the ledger does not answer"]}})
    @document_response(models.Healthy)
    @document_response(models.Failing, 503)
    async def healthz() -> Response:
        """Whether the process does its work: the event loop turns and the ledger answers.

        A HOLD is healthy. Asks for no token and tells nothing else."""
        reasons = [] if desk.alive() else ["the engine's tasks do not turn"]
        if not await _ledger_answers(desk):
            reasons.append("the ledger does not answer")
        if reasons:
            return json_reply({"status": "failing", "reasons": reasons}, 503)
        return json_reply({"status": "ok"})

    @routes.get("/live-readiness")
    @describe(answers={200: {"ready": True, "reasons": []}, 503: {"ready": False, "reasons": [HOLD["line"]]}})
    @document_response(models.Readiness)
    @document_response(models.Readiness, 503)
    async def live_readiness() -> Response:
        """Whether it may trade now, and if not, why.

        Never in HOLD."""
        record = desk.hold()
        held = [record.line() if record is not None else "HOLD"] if desk.mode() is Mode.HOLD else []
        reasons = [*held, *desk.unready_reasons()]
        return json_reply({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    @routes.get("/api/ui/status/overview")
    @describe(answers={200: OVERVIEW})
    @document_response(models.Overview)
    async def overview() -> Response:
        """The whole service at a glance.

        `overall` is HOLD over ERROR over WARN over OK; a value that was not measured is unknown."""
        return json_reply(present.overview(desk))

    @routes.get("/api/ui/status/components")
    @describe(answers={200: {"ts": TS, "components": [COMPONENT], "incidents": [INCIDENT]}})
    @document_response(models.Components)
    async def components() -> Response:
        """Every component with what it measured, and the incidents."""
        return json_reply(present.components(desk))

    @routes.get("/api/ui/status/slo")
    @describe(answers={200: SLO})
    @document_response(models.Slo)
    async def slo() -> Response:
        """Each service level: what was measured over its window, against its threshold."""
        return json_reply(present.slo(desk))

    @routes.get("/api/ui/state")
    @describe(answers={200: STATE})
    @document_response(models.State)
    async def state() -> Response:
        """Flags, risk, positions, loop, P&L and venues."""
        return json_reply(present.state(desk))

    @routes.get("/api/ui/control-state")
    @describe(answers={200: CONTROL})
    @document_response(models.Control)
    async def control_state() -> Response:
        """The parameters in force, under the names that PATCH /api/ui/control takes."""
        return json_reply(present.control(desk))

    return routes


async def _ledger_answers(desk: Desk) -> bool:
    with trio.move_on_after(LEDGER_ANSWER_S_MAX):
        return await desk.ledger_answers()
    return False
