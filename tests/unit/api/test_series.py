"""The series behind charts: shapes, steps, pages, bad questions."""

from __future__ import annotations

import pytest

PATHS = ["/api/ui/pnl", "/api/ui/spreads"]


async def test_a_spread_point_has_mids_as_text_and_measurements_as_numbers(client):
    answer = (await client.get("/api/ui/spreads", params={"limit": 1})).json()
    point = answer["items"][0]
    assert point == {
        "ts": "2026-11-23T03:12:33.123Z",
        "pair": "BTCUSDT",
        "mids": {"binance-um": "61230.1", "binance-spot": None},
        "spread_bps": None,
        "reference_bps": -3.5,
        "net_edge_bps": {"binance-um>binance-spot": 25.0, "binance-spot>binance-um": None},
        "why_not": "HOLD: nothing is traded",
    }
    assert answer["now"] == point
    assert (answer["step_s"], answer["steps_s"], answer["next_cursor"]) == (1, [1, 10], "25")


async def test_pnl_has_what_is_so_now_and_what_was(client):
    answer = (await client.get("/api/ui/pnl", params={"limit": 2})).json()
    assert answer["now"] == (await client.get("/api/ui/state")).json()["pnl"]
    assert [item["realised"] for item in answer["items"]] == ["25", "20"]
    assert answer["items"][0]["unrealised"] is None
    assert answer["items"][0]["day"] == "-1.5"


async def test_a_coarser_step_is_asked_for_by_its_seconds(client):
    answer = (await client.get("/api/ui/spreads", params={"step": 10})).json()
    assert (answer["step_s"], len(answer["items"]), answer["next_cursor"]) == (10, 3, None)


async def test_pages_follow_one_another_and_times_are_filtered(client):
    first = (await client.get("/api/ui/spreads", params={"limit": 20})).json()
    rest = (await client.get("/api/ui/spreads", params={"limit": 20, "cursor": first["next_cursor"]})).json()
    assert [len(first["items"]), len(rest["items"]), rest["next_cursor"]] == [20, 5, None]
    chosen = {"since": "2026-11-23T03:12:10.123Z", "until": "2026-11-23T03:12:12.123Z"}
    assert len((await client.get("/api/ui/spreads", params=chosen)).json()["items"]) == 3


async def test_before_anything_was_measured_they_are_empty(client, desk):
    desk.spreads = type(desk.spreads)(desk.spreads.tiers)
    answer = (await client.get("/api/ui/spreads")).json()
    assert (answer["items"], answer["now"], answer["next_cursor"]) == ([], None, None)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("field", "value"),
    [("step", "2"), ("step", "0"), ("step", "x"), ("limit", "1001"), ("cursor", "x"), ("since", "soon")],
)
async def test_a_bad_question_is_a_422_that_names_the_field(client, path, field, value):
    answer = await client.get(path, params={field: value})
    assert answer.status_code == 422
    assert list(answer.json()["error"]["fields"]) == [field]
