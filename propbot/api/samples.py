"""Parts of the examples in /openapi.json that several routes show: one HOLD, at twelve minutes past three."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

TS = "2026-11-23T03:12:09.123Z"
_REASON = "binance-um BTCUSDT ledger 0.012, venue 0.010"
_CAUSE: Json = {"reason": _REASON, "source": "guard:recon", "since": TS}
HOLD: Json = {
    **_CAUSE,
    "causes": [_CAUSE],
    "cancel": {"left": 0, "seconds": 0.02, "not_read_back": []},
    "line": f"HOLD since 03:12:09Z by guard:recon: {_REASON}; 0 orders left",
}
COMPONENT: Json = {
    "id": "recon",
    "title": "Reconciliation",
    "group": "guards",
    "status": "ERROR",
    "summary": _REASON,
    "since": TS,
    "metrics": {"age_s": 1.5, "mismatches": 1},
}
INCIDENT: Json = {
    "id": 17,
    "ts": TS,
    "severity": "P0",
    "kind": "hold",
    "component_id": "recon",
    "summary": _REASON,
    "details": "",
    "acknowledged_by": "ann",
    "acknowledged_at": "2026-11-23T03:14:40.002Z",
    "note": "a manual trade; baseline follows",
    "resolved_at": None,
    "timeline": [{"ts": TS, "step": "opened", "text": _REASON, "details": {}}],
}
APPROVAL: Json = {
    "id": "7f3c19a0b2d4",
    "change": {"mode": "RUN"},
    "proposer": "ann",
    "proposed_at": "2026-11-23T03:20:00.000Z",
    "expires_at": "2026-11-23T03:25:00.000Z",
    "state": "PENDING",
    "decided_by": None,
    "decided_at": None,
    "reason": "",
}
POSITION: Json = {
    "venue": "binance-um",
    "symbol": "BTCUSDT",
    "qty": "-0.016",
    "avg_price": "61234.5",
    "mark": "61230",
    "unrealised_usdt": "0.072",
}
CONTROL: Json = {
    "mode": "HOLD",
    "reason": _REASON,
    "safe_mode": True,
    "dry_run_only": False,
    "order_notional_usdt": 1000,
    "min_spread_bps": 1,
    "max_slippage_bps": 2,
    "poll_interval_sec": 1,
    "loop_pair": "BTCUSDT",
    "loop_venues": ["binance-um", "binance-spot"],
    "drain_timeout_sec": 60,
    "approvals": [],
    "preflight": {"when": "2026-11-23T03:00:01.500Z", "ok": True, "reasons": []},
    "hold": HOLD,
}
