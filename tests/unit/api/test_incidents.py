"""Incidents over the API: listed with their timelines, acknowledged by a person, once."""

from __future__ import annotations

import pytest


async def test_an_incident_is_acknowledged_with_a_note_and_the_first_one_stays(client, desk):
    answer = await client.post("/api/ui/incidents/1/ack", json={"note": " looking into it "})
    assert answer.status_code == 200
    incident = answer.json()
    assert (incident["acknowledged_by"], incident["note"]) == ("api", "looking into it")
    assert [step["step"] for step in incident["timeline"]] == ["opened", "acknowledged"]
    again = await client.post("/api/ui/incidents/1/ack", json={"note": "me too"})
    assert again.json()["note"] == "looking into it"


async def test_no_body_is_no_note(client):
    answer = await client.post("/api/ui/incidents/1/ack")
    assert (answer.status_code, answer.json()["note"]) == (200, "")


@pytest.mark.parametrize("id", ["2", "0", "-1", "x", "9" * 19, "1.0"])
async def test_an_incident_that_is_not_there_is_a_404(client, id):
    answer = await client.post(f"/api/ui/incidents/{id}/ack", json={})
    assert answer.status_code == 404
    assert "incident" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "field"),
    [({"note": "x" * 201}, "note"), ({"who": "me"}, "who"), ({"note": 1}, "note"), ({"note": None}, "note")],
)
async def test_a_wrong_body_is_named_and_changes_nothing(client, desk, body, field):
    answer = await client.post("/api/ui/incidents/1/ack", json=body)
    assert answer.status_code == 422
    assert list(answer.json()["error"]["fields"]) == [field]
    assert desk.incidents.get(1).acknowledged_by is None


async def test_an_acknowledgement_that_is_not_durable_says_so(client, desk):
    desk.ledger_error = "disk I/O error"
    answer = await client.post("/api/ui/incidents/1/ack")
    assert answer.status_code == 503


async def test_without_a_token_nobody_acknowledges(nobody, desk):
    assert (await nobody.post("/api/ui/incidents/1/ack")).status_code == 401
    assert desk.incidents.get(1).acknowledged_by is None


async def test_the_list_holds_the_whole_story(client):
    (item,) = (await client.get("/api/ui/incidents")).json()["items"]
    assert item["details"] == "binance-um.book_age_ms 1600"
    assert item["timeline"][0]["details"] == {"binance-um.book_age_ms": 1600}
    shown = (await client.get("/api/ui/status/components")).json()["incidents"]
    assert shown == [item]
