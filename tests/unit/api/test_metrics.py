"""/metrics: who may read it, what it says, that the page about it tells of each and of nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from propbot.api.app import make_api
from propbot.api.auth import Auth
from propbot.api.metrics import FAMILIES
from propbot.control.operators import Operators
from tests.unit.api.conftest import TOKEN

DOCUMENT = Path(__file__).parents[3] / "docs" / "metrics.md"
SCRAPE = "m" * 40
LABEL_VALUES_MAX = 100


@pytest.fixture
def app(desk):
    return make_api(desk, auth=Auth(Operators.of(TOKEN)), metrics_token=SCRAPE)


async def scrape(client):
    """(name, *label values in the order of their names) → value; and the families."""
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = list(text_string_to_metric_families(answer.text))
    samples = {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}
    return samples, families


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


async def test_the_scrapers_token_opens_metrics_and_nothing_else(nobody):
    assert (await nobody.get("/metrics", headers=bearer(SCRAPE))).status_code == 200
    for path in ("/api/ui/state", "/api/ui/events", "/api/ui/stream", "/live-readiness"):
        assert (await nobody.get(path, headers=bearer(SCRAPE))).status_code == 401
    hold = await nobody.patch("/api/ui/control", headers=bearer(SCRAPE), json={"mode": "HOLD"})
    assert hold.status_code == 401


async def test_an_operators_token_does_too_and_no_other(client, nobody):
    assert (await client.get("/metrics")).status_code == 200
    for headers in ({}, bearer("x" * 40), bearer(""), {"Authorization": SCRAPE}, bearer("ж" * 40)):
        raw = {name: value.encode("utf-8") for name, value in headers.items()}
        assert (await nobody.get("/metrics", headers=raw)).status_code == 401


async def test_wrong_tokens_are_counted_here_as_anywhere(nobody):
    for _ in range(10):
        assert (await nobody.get("/metrics", headers=bearer("x" * 40))).status_code == 401
    assert (await nobody.get("/metrics", headers=bearer("x" * 40))).status_code == 429
    assert (await nobody.get("/metrics", headers=bearer(SCRAPE))).status_code == 200


async def test_without_a_scrapers_token_an_empty_one_opens_nothing(desk):
    app = make_api(desk, auth=Auth(Operators.of(TOKEN)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
        for headers in ({}, bearer(""), bearer("None")):
            assert (await client.get("/metrics", headers=headers)).status_code == 401


async def test_numbers_are_those_of_the_desk(client, desk):
    samples, _ = await scrape(client)
    assert samples["propbot_mode", "RUN"] == 1
    assert samples["propbot_mode", "HOLD"] == 0
    assert samples["propbot_overall_health",] == 1
    assert samples["propbot_component_health", "recon", "guards"] == 0
    assert samples["propbot_alerts", "P2"] == 1
    assert samples["propbot_incidents_open", "P1"] == 1
    assert samples["propbot_guard_trips_total", "recon"] == 2
    assert samples["propbot_guard_trips_total", "ledger"] == 0
    assert samples["propbot_slo_breached", "reject_rate"] == 1
    assert samples["propbot_orders_total", "FILLED", "binance-um"] == 3
    assert samples["propbot_orders_total", "REJECTED", "binance-um"] == 0
    assert samples["propbot_venue_sessions_total", "market", "binance-um"] == 3
    assert samples["propbot_venue_position_base", "binance-um"] == -0.016
    assert samples["propbot_book_age_seconds", "1"] == 0.05
    assert samples["propbot_book_age_seconds", "0.5"] == 0.02
    assert samples["propbot_api_requests_total",] == 17
    assert samples["propbot_equity_usdt",] == 223456.7
    assert samples["propbot_net_edge_bps", "binance-um>binance-spot"] == 25


async def test_what_is_unknown_has_no_sample(client):
    samples, families = await scrape(client)
    names = {name for name, *_ in samples}
    unknown = {"propbot_disk_free_bytes", "propbot_notional_usdt", "propbot_pnl_unrealised_usdt",
               "propbot_tick_to_order_seconds"}
    assert not names & unknown
    assert ("propbot_venue_book_age_seconds", "binance-spot") not in samples
    assert ("propbot_slo_breached", "day_drawdown") not in samples
    assert all(value == value for value in samples.values()), "no NaN"
    assert unknown <= {family.name for family in families}, "but what it would be is said"


async def test_the_process_is_measured(client):
    samples, _ = await scrape(client)
    assert samples["propbot_process_resident_memory_bytes",] > 10_000_000
    assert samples["propbot_process_open_fds",] > 2


async def test_two_applications_share_nothing(client, desk):
    """No registry of the process: a second one would be refused there."""
    again = make_api(desk, auth=Auth(Operators.of(TOKEN)), metrics_token=SCRAPE)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(again), base_url="http://x") as second:
        assert (await second.get("/metrics", headers=bearer(SCRAPE))).status_code == 200


async def test_asking_changes_nothing(client, desk):
    before = (desk.board.components(), desk.incidents.all(), desk.heard)
    first, _ = await scrape(client)
    second, _ = await scrape(client)
    moving = {"propbot_process_cpu_seconds_total", "propbot_process_resident_memory_bytes",
              "propbot_process_virtual_memory_bytes", "propbot_process_open_fds"}
    assert {key: value for key, value in first.items() if key[0] not in moving} == {
        key: value for key, value in second.items() if key[0] not in moving
    }
    assert (desk.board.components(), desk.incidents.all(), desk.heard) == before


def documented():
    """Name → (type, labels, text) of the rows of docs/metrics.md."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \| (.+) \|$", DOCUMENT.read_text(), re.MULTILINE)
    return {name: (kind, tuple(labels.replace("`", "").split(", ")) if labels else (), text)
            for name, kind, labels, text in rows}


def test_the_page_tells_of_each_family_what_the_scrape_tells():
    page = documented()
    for name, (text, labels) in FAMILIES.items():
        kind = "counter" if name.endswith("_total") else "gauge"
        assert page[name] == (kind, labels, text), name


async def test_the_page_tells_of_nothing_else(client):
    _, families = await scrape(client)
    scraped = {f"{family.name}_total" if family.type == "counter" else family.name for family in families}
    assert set(documented()) == scraped


def test_names_are_ours_and_say_their_unit():
    unit_free = {"propbot_build_info", "propbot_mode", "propbot_safe_mode", "propbot_dry_run_only", "propbot_alerts",
                 "propbot_incidents_open", "propbot_dead_tasks", "propbot_slo_breached", "propbot_venue_usable",
                 "propbot_venue_book_synced", "propbot_venue_private_up", "propbot_orders_in_flight",
                 "propbot_lots_open", "propbot_failed_spreads_in_a_row", "propbot_api_streams_open",
                 "propbot_ledger_backlog", "propbot_journal_queue", "propbot_overall_health",
                 "propbot_component_health"}
    units = ("_seconds", "_total", "_usdt", "_bps", "_base", "_bytes", "_ratio")
    for name in FAMILIES:
        assert name.startswith("propbot_")
        assert name.endswith(units) or name in unit_free, name


async def test_labels_are_few(client):
    _, families = await scrape(client)
    assert max(len(family.samples) for family in families) < LABEL_VALUES_MAX
