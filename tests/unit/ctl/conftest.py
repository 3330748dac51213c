"""A small HTTP server in a thread that answers like the API, and a runner of the commands against it."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl

import pytest
from click.testing import CliRunner

from propbotctl.commands import propbotctl

SINCE = "2026-11-23T03:12:09.123Z"
HOLD = {
    "reason": "binance-um BTCUSDT ledger 0.012, venue 0.010",
    "source": "guard:recon",
    "since": SINCE,
    "causes": [
        {"reason": "binance-um BTCUSDT ledger 0.012, venue 0.010", "source": "guard:recon", "since": SINCE},
        {"reason": "lunch", "source": "operator:api", "since": SINCE},
    ],
    "cancel": {"left": 0, "seconds": 0.01},
    "line": "HOLD since 03:12:09Z by guard:recon: binance-um BTCUSDT ledger 0.012, venue 0.010; 0 orders left",
}
OVERVIEW = {
    "ts": SINCE,
    "overall": "HOLD",
    "overall_status": {"status": "HOLD", "reason": HOLD["reason"], "source": "guard:recon", "since": SINCE},
    "mode": "HOLD",
    "profile": "paper",
    "safe_mode": True,
    "dry_run_only": False,
    "hold": HOLD,
    "alerts": [
        {"severity": "P0", "title": "Recon", "msg": "differs\x1b[2J", "since": SINCE, "component_id": "recon"}
    ],
    "scores": {"guards": 0.5},
    "components": [],
    "version": "0.1.0",
    "uptime_s": 12.5,
}
COMPONENTS = {
    "ts": SINCE,
    "components": [
        {
            "id": "maintenance_calendar",
            "title": "Maintenance",
            "group": "guards",
            "status": "ERROR",
            "summary": "binance-um is inside of its window [bold]until[/bold] 04:00Z; nothing is opened there before",
            "since": SINCE,
            "metrics": {},
        }
    ],
    "incidents": [
        {
            "id": 7,
            "ts": SINCE,
            "severity": "P0",
            "kind": "trip",
            "component_id": "recon",
            "summary": "differs",
            "details": "exposure_base 0",
            "acknowledged_by": None,
            "acknowledged_at": None,
            "note": "",
            "resolved_at": None,
            "timeline": [
                {"ts": SINCE, "step": "opened", "text": "differs", "details": {"exposure_base": "0"}},
                {"ts": SINCE, "step": "cancel", "text": "0 orders left after 0.02 s", "details": {}},
            ],
        }
    ],
}
CONTROL = {
    "mode": "RUN",
    "reason": None,
    "safe_mode": False,
    "dry_run_only": False,
    "order_notional_usdt": 1000,
    "min_spread_bps": 1.2,
    "max_slippage_bps": 2,
    "poll_interval_sec": 1.0,
    "loop_pair": "BTCUSDT",
    "loop_venues": ["binance-um", "binance-spot"],
    "drain_timeout_sec": 60.0,
    "approvals": [],
    "preflight": {"ok": None, "reasons": [], "when": None},
    "hold": None,
}
STATE = {
    "ts": SINCE,
    "mode": "RUN",
    "safe_mode": False,
    "dry_run": False,
    "flags": {"PROFILE": "paper"},
    "risk": {
        "limits": {},
        "current": {},
        "positions": [
            {
                "venue": "binance-spot",
                "symbol": "BTCUSDT",
                "qty": "-0.01612345",
                "avg_price": "61234.56789",
                "mark": None,
                "unrealised_usdt": "-12.345678",
            }
        ],
        "dust": [],
        "breaches": [],
    },
    "risk_blocked": True,
    "risk_reasons": [{"code": "max_position", "message": "too much", "limit": "1", "value": "2"}],
    "loop": {"pair": "BTCUSDT", "venues": ["binance-um"], "running": True, "why_not": "book stale"},
    "pnl": {"equity": "1", "realised": "2", "unrealised": None, "fees": "0", "funding": "0", "day": "2"},
    "venues": {
        "binance-um": {
            "balances": {"USDT": {"free": "100000.12345678", "locked": "0", "total": "100000.12345678"}},
            "key_status": "ok",
            "usable": False,
            "reason": "stale",
            "book": {"bid": "61234.5", "ask": "61234.6", "synced": True, "age_s": 0.05, "resyncs": 0},
        }
    },
}
SLO = {
    "ts": SINCE,
    "metrics": {
        "tick_to_order_p95": {
            "title": "Tick to order, p95", "value": 463.8533, "threshold": 50.0, "unit": "ms", "window_s": 600.0,
            "state": "BREACH", "samples": 60, "severity": "P1",
        },
        "cancel_failure_rate": {
            "title": "Cancel failures", "value": None, "threshold": 0.5, "unit": "ratio", "window_s": 600.0,
            "state": "unknown", "samples": 0, "severity": "P0",
        },
    },
}
ITEMS = {
    "orders": {
        "ts": SINCE,
        "venue": "binance-spot",
        "symbol": "BTCUSDT",
        "purpose": "unwind",
        "side": "SELL",
        "qty": "0.01612345",
        "limit_price": "61234.56",
        "state": "NEVER_SENT",
        "simulated": False,
    },
    "fills": {
        "ts": SINCE,
        "venue": "binance-spot",
        "symbol": "BTCUSDT",
        "purpose": "unwind",
        "side": "SELL",
        "qty": "0.01612345",
        "price": "61234.56",
        "fee": "0.00000322",
        "fee_asset": "BTC",
        "simulated": False,
    },
    "lots": {
        "pair": "BTCUSDT",
        "opened_at": SINCE,
        "state": "CLOSED",
        "qty": "0.016",
        "legs": [{"side": "BUY", "venue": "binance-spot"}, {"side": "SELL", "venue": "binance-um"}],
        "edge_bps": 3.25,
        "realised_usdt": "-0.31123456",
        "exit_reason": "edge gone",
        "simulated": False,
    },
    "positions": STATE["risk"]["positions"][0],
    "events": {
        "id": 12,
        "ts": SINCE,
        "level": "WARN",
        "kind": "feed_stale",
        "source": "",
        "venue": "binance-um",
        "symbol": "",
        "message": "no frame for 1.6 s, which is longer than the 1.5 s that are allowed for it",
    },
}

APPROVAL = {
    "id": "k3f9x2ab",
    "change": {"mode": "RUN", "order_notional_usdt": "250.5", "loop_venues": ["binance-um", "binance-spot"]},
    "proposer": "konstantin.konstantinopolsky",
    "proposed_at": SINCE,
    "expires_at": SINCE,
    "state": "VOID",
    "decided_by": None,
    "decided_at": None,
    "reason": "limits or parameters changed in between",
}
ITEMS["approvals"] = APPROVAL


class FakeApi:
    """`answers` by path or method: (status, body), or what makes it of the query; `asked` keeps what came."""

    def __init__(self):
        self.asked = []
        self.answers = {
            "/api/ui/status/overview": (200, OVERVIEW),
            "/api/ui/status/components": (200, COMPONENTS),
            "/api/ui/state": (200, STATE),
            "/api/ui/control-state": (200, CONTROL),
            "/api/ui/status/slo": (200, SLO),
            "/healthz": (200, {"status": "ok"}),
            **{f"/api/ui/{name}": (200, {"items": [item], "next_cursor": "5"}) for name, item in ITEMS.items()},
        }
        self.url = ""
        self.headers = {}
        self.date = "Mon, 23 Nov 2026 03:12:09 GMT"

    def refuse(self, status, message, **more):
        self.answers["PATCH"] = (status, {"error": {"code": "x", "message": message}, **more})

    def accept(self, changes, control=None):
        answer = {"control": {**CONTROL, **(control or {})}, "changes": changes, "ignored_fields": [], "warnings": []}
        self.answers["PATCH"] = (200, answer)

    def answer(self, method, target, headers, body):
        path, _, query = target.partition("?")
        self.asked.append(
            {"method": method, "path": path, "query": query, "token": headers.get("Authorization"), "body": body}
        )
        nothing = (404, {"error": {"code": "not_found", "message": "nothing here"}})
        found = self.answers.get("*") or self.answers.get(method) or self.answers.get(path, nothing)
        return found(dict(parse_qsl(query))) if callable(found) else found


@pytest.fixture
def api():
    fake = FakeApi()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self):
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body = fake.answer(self.command, self.path, self.headers, json.loads(raw) if raw else None)
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in fake.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PATCH = do_POST = handle_any

        def date_time_string(self, timestamp=None):
            return fake.date

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        fake.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005})
        thread.start()
        yield fake
        server.shutdown()
        thread.join()


@pytest.fixture
def run(api):
    """Run a command against the fake API; environment variables by name."""

    def run(*args, stdin=None, **env):
        runner = CliRunner(env={"PROPBOT_BASE_URL": api.url, "API_TOKEN": None, "COLUMNS": "80", **env})
        return runner.invoke(propbotctl, args, input=stdin)

    return run
