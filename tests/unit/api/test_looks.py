"""The looking routes: shapes, and that looking changes nothing."""

from __future__ import annotations

import pytest
from quart_schema.openapi import OpenAPIProvider

from propbot.api import models
from propbot.domain.status import Health

LOOKS = {
    "/live-readiness": models.Readiness,
    "/api/ui/status/overview": models.Overview,
    "/api/ui/status/components": models.Components,
    "/api/ui/status/slo": models.Slo,
    "/api/ui/state": models.State,
    "/api/ui/control-state": models.Control,
    "/api/ui/orders": models.Orders,
    "/api/ui/fills": models.Fills,
    "/api/ui/lots": models.Lots,
    "/api/ui/positions": models.Positions,
    "/api/ui/events": models.Events,
    "/api/ui/pnl": models.PnlPoints,
    "/api/ui/spreads": models.SpreadPoints,
}


@pytest.mark.parametrize("path", LOOKS)
async def test_an_answer_is_what_the_documentation_says(client, path):
    answer = await client.get(path)
    assert answer.status_code == 200
    LOOKS[path].model_validate(answer.json())


@pytest.mark.parametrize("path", LOOKS)
async def test_an_answer_in_hold_is_what_the_documentation_says(client, held, path):
    LOOKS[path].model_validate((await client.get(path)).json())


async def test_looking_changes_nothing(client, desk):
    before = (desk.board.components(), desk.incidents.all(), desk.mode())
    for path in LOOKS:
        await client.get(path)
    assert (desk.board.components(), desk.incidents.all(), desk.mode()) == before
    assert desk.heard == []


async def test_overview_in_hold_names_reason_source_and_time(client, held):
    overview = (await client.get("/api/ui/status/overview")).json()
    assert overview["overall"] == "HOLD"
    assert overview["overall_status"]["source"] == "guard:recon"
    assert overview["hold"]["line"].startswith("HOLD since 03:12:09Z by guard:recon: binance-um BTCUSDT")
    assert overview["hold"]["cancel"] == {"left": 0, "seconds": 0.02, "not_read_back": []}
    assert overview["safe_mode"] is True, "shown as on in HOLD too"
    assert overview["ts"] == "2026-11-23T03:12:09.123Z"


async def test_overview_outside_of_hold_names_the_worst_component(client, desk):
    overview = (await client.get("/api/ui/status/overview")).json()
    assert (overview["overall"], overview["hold"]) == ("WARN", None)
    assert overview["overall_status"]["source"] == "feed_stale"
    assert [alert["component_id"] for alert in overview["alerts"]] == ["feed_stale"]
    assert overview["scores"] == {"guards": 0.5, "channels": 1.0}


async def test_safe_mode_alone_is_ok(client, desk):
    desk.safe = True
    desk.board.put("feed_stale", "Market data", "guards", Health.OK, "fresh")
    overview = (await client.get("/api/ui/status/overview")).json()
    assert (overview["overall"], overview["safe_mode"]) == ("OK", True)


async def test_state_has_money_as_strings_and_unknown_as_null(client):
    state = (await client.get("/api/ui/state")).json()
    assert state["risk"]["positions"][0]["qty"] == "-0.016"
    assert state["risk"]["limits"] == {"max_position_usdt": "5000", "max_open_orders": 10}
    assert state["pnl"]["unrealised"] is None
    assert state["risk_blocked"] is True
    assert state["risk_reasons"][0]["value"] == "5000.1"
    assert state["loop"]["why_not"] is None
    assert state["venues"]["binance-um"]["balances"]["USDT"]["total"] == "100000"
    assert state["venues"]["binance-spot"]["book"] is None


async def test_control_state_is_flat_and_its_settings_are_numbers(client):
    control = (await client.get("/api/ui/control-state")).json()
    assert control["order_notional_usdt"] == 1000
    assert control["min_spread_bps"] == 1.2
    assert control["loop_venues"] == ["binance-um", "binance-spot"]
    assert control["preflight"] == {"ok": True, "reasons": [], "when": None}


async def test_healthz_is_ok_while_the_engine_turns_and_the_ledger_answers(nobody, held):
    answer = await nobody.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("break_it", [{"engine_turns": False}, {"ledger_error": "disk"}, {"ledger_hangs": True}])
async def test_healthz_is_503_when_something_does_not_turn(nobody, desk, break_it, autojump_clock):
    for name, value in break_it.items():
        setattr(desk, name, value)
    answer = await nobody.get("/healthz")
    assert answer.status_code == 503
    assert answer.json()["status"] == "failing"


async def test_live_readiness_is_never_ready_in_hold(client, held):
    answer = await client.get("/live-readiness")
    assert answer.status_code == 503
    assert answer.json()["reasons"][0].startswith("HOLD since")


async def test_live_readiness_names_what_is_missing(client, desk):
    desk.unready = ("recon has not agreed yet",)
    answer = await client.get("/live-readiness")
    assert (answer.status_code, answer.json()) == (503, {"ready": False, "reasons": ["recon has not agreed yet"]})


async def test_the_first_page_says_where_to_look(nobody):
    answer = await nobody.get("/")
    assert answer.status_code == 200
    assert "/docs" in answer.text


async def test_docs_load_nothing_from_elsewhere(nobody):
    page = (await nobody.get("/docs")).text
    assert "swagger-ui" in page
    assert "://" not in page
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert f"/docs/assets/{asset}" in page
        answer = await nobody.get(f"/docs/assets/{asset}")
        assert answer.status_code == 200
        assert len(answer.content) > 10_000
    assert (await nobody.get("/docs/assets/..%2findex.html")).status_code in (401, 404)


async def test_openapi_is_made_once(nobody, monkeypatch):
    first = await nobody.get("/openapi.json")
    monkeypatch.setattr(OpenAPIProvider, "schema", None)
    again = await nobody.get("/openapi.json")
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["Content-Type"] == "application/json"


async def test_openapi_lists_every_path_with_its_shapes(nobody):
    document = (await nobody.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert {*LOOKS, "/api/ui/stream", "/api/ui/events/export", "/metrics"} <= set(document["paths"])
    export = document["paths"]["/api/ui/events/export"]["get"]["parameters"]
    assert {"format", "limit", "cursor", "since", "until", "level", "kind", "venue", "symbol"} == {
        each["name"] for each in export
    }
    patch = document["paths"]["/api/ui/control"]["patch"]
    schema = patch["requestBody"]["content"]["application/json"]["schema"]
    assert schema["properties"]["order_notional_usdt"]["maximum"] == 1_000_000
    assert schema["additionalProperties"] is False


async def test_service_levels_are_named_measured_or_unknown(client):
    metrics = (await client.get("/api/ui/status/slo")).json()["metrics"]
    assert metrics["reject_rate"]["state"] == "BREACH"
    assert (metrics["day_drawdown"]["state"], metrics["day_drawdown"]["value"]) == ("unknown", None)


async def test_every_answer_is_timed_but_those_to_nobody(client, nobody, desk):
    """What the gate refuses costs next to nothing, and a flood of it would hide how long the others took."""
    await client.get("/api/ui/state")
    await nobody.get("/api/ui/state")
    await client.get("/no/such/page")
    assert len(desk.latencies_ms) == 2
    assert all(ms >= 0 for ms in desk.latencies_ms)
