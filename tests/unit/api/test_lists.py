"""The lists: pages, what a bad query is told, and a ledger that does not answer."""

from __future__ import annotations

import pytest

LISTS = ["orders", "fills", "lots", "events", "positions"]


@pytest.mark.parametrize("name", ["orders", "fills", "lots", "events"])
async def test_pages_follow_one_another_to_the_end(client, name):
    first = (await client.get(f"/api/ui/{name}", params={"limit": 2})).json()
    rest = (await client.get(f"/api/ui/{name}", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [len(first["items"]), len(rest["items"])] == [2, 1]
    assert rest["next_cursor"] is None


async def test_positions_page_from_memory(client):
    answer = (await client.get("/api/ui/positions", params={"limit": 1})).json()
    assert [item["symbol"] for item in answer["items"]] == ["BTCUSDT"]
    assert answer["next_cursor"] is None
    assert (await client.get("/api/ui/positions", params={"cursor": "1"})).json()["items"] == []


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("limit", "0"),
        ("limit", "1001"),
        ("limit", "-1"),
        ("limit", "ten"),
        ("limit", "1.5"),
        ("limit", ""),
        ("limit", "١"),
        ("limit", "9" * 5000),
        ("cursor", "x"),
        ("cursor", "-1"),
        ("cursor", "9" * 19),
        ("cursor", "1; drop table"),
    ],
)
async def test_a_bad_query_is_a_422_that_names_the_field(client, name, field, value):
    answer = await client.get(f"/api/ui/{name}", params={field: value})
    assert answer.status_code == 422
    assert list(answer.json()["error"]["fields"]) == [field]


@pytest.mark.parametrize("name", [*LISTS, "events/export", "pnl", "spreads", "stream", "secret", "approvals"])
@pytest.mark.parametrize("field", ["limits", "Limit", "", "x" * 500, "\x1b[2J"])
async def test_a_parameter_that_there_is_not_is_named_and_nothing_is_shown(client, name, field):
    answer = await client.get(f"/api/ui/{name}", params={field: "5"})
    assert answer.status_code == 422
    ((shown, why),) = answer.json()["error"]["fields"].items()
    assert len(shown) <= 50
    assert shown.isprintable()
    assert shown == field or len(field) > 50 or not field.isprintable()
    assert why.startswith("unknown; there is ")


async def test_fill_ids_are_strings_and_amounts_plain(client):
    fill = (await client.get("/api/ui/fills")).json()["items"][0]
    assert (fill["order_id"], fill["trade_id"], fill["qty"], fill["fee"]) == ("900", "3", "0.016", "0.19595")
    assert fill["ts"] == "2026-11-23T03:12:09.123Z"


async def test_a_lot_shows_both_legs(client):
    lot = (await client.get("/api/ui/lots")).json()["items"][0]
    assert [(leg["venue"], leg["side"]) for leg in lot["legs"]] == [("binance-um", "BUY"), ("binance-spot", "SELL")]
    assert (lot["edge_bps"], lot["realised_usdt"]) == (3.25, "0.311")


@pytest.mark.parametrize(
    ("since", "ns"),
    [
        ("2026-11-23T03:12:09Z", 1_795_403_529_000_000_000),
        ("2026-11-23T03:12:09.123456Z", 1_795_403_529_123_456_000),
        ("2026-11-23T05:12:09+02:00", 1_795_403_529_000_000_000),
        ("2026-11-23 03:12:09", 1_795_403_529_000_000_000),
    ],
)
async def test_event_times_are_read_exactly(client, desk, since, ns):
    assert (await client.get("/api/ui/events", params={"since": since})).status_code == 200
    assert desk.asked_events.since_ns == ns


async def test_event_filters_reach_the_ledger(client, desk):
    await client.get("/api/ui/events?kind=feed&level=WARN&venue=binance-um&symbol=BTCUSDT&until=2026-11-23")
    wanted = desk.asked_events
    assert (wanted.kind, wanted.level, wanted.venue, wanted.symbol) == ("feed", "WARN", "binance-um", "BTCUSDT")
    assert wanted.until_ns is not None


@pytest.mark.parametrize(
    "query",
    [
        "since=0001-01-01",
        "until=9999-12-31T23:59:59Z",
        "until=2262-04-12",
        "since=1677-09-21",
    ],
)
async def test_a_time_that_the_ledger_cannot_hold_is_named(client, desk, query):
    answer = await client.get(f"/api/ui/events?{query}")
    assert answer.status_code == 422
    assert list(answer.json()["error"]["fields"]) == [query.partition("=")[0]]
    assert desk.asked_events is None


@pytest.mark.parametrize("query", ["since=1677-09-22", "until=2262-04-11"])
async def test_the_outermost_times_are_taken(client, query):
    assert (await client.get(f"/api/ui/events?{query}")).status_code == 200


@pytest.mark.parametrize("query", ["since=yesterday", "until=", "kind=", "kind=%00", "level=" + "x" * 101])
async def test_a_bad_event_filter_is_named(client, query):
    answer = await client.get(f"/api/ui/events?{query}")
    assert answer.status_code == 422
    assert list(answer.json()["error"]["fields"]) == [query.partition("=")[0]]


async def test_a_ledger_that_fails_is_a_503(client, desk):
    desk.ledger_error = "disk I/O error"
    answer = await client.get("/api/ui/fills")
    assert answer.status_code == 503
    assert "disk I/O error" in answer.json()["error"]["message"]


async def test_a_ledger_that_hangs_is_a_503_within_its_deadline(client, desk, autojump_clock):
    desk.ledger_hangs = True
    assert (await client.get("/api/ui/fills")).status_code == 503
    assert (await client.get("/api/ui/state")).status_code == 200, "memory answers while the disk hangs"
