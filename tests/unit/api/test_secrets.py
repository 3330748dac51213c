"""POST and GET /api/ui/secret: what is taken, what is refused, and that no value ever comes back."""

from __future__ import annotations

import json

import pytest

from propbot.api import models
from propbot.api.replies import FIELDS_MAX, said_of
from propbot.domain.status import Health
from propbot.kit.redact import REDACTED
from propbot.secrets.keyring import SecretRow, Source
from propbot.status.desk import Conflict, SecretsStored, Unusable
from tests.unit.api.conftest import NOW_NS

SECRET = "/api/ui/secret"
KEY = "BINANCE_UM_API_KEY_TESTNET"
CANARY = "canary0123456789abcdef"


async def test_what_was_stored_is_named_and_the_values_are_not(client, desk):
    desk.secrets_outcome = SecretsStored((KEY,), {KEY: True}, ["take the old one back"])
    answer = await client.post(SECRET, json={KEY: CANARY})
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok", "updated": [KEY], "checked": {KEY: True}, "warnings": ["take the old one back"],
    }
    assert desk.heard == [f"secrets by api: {KEY}"]


async def test_the_list_has_names_versions_dates_and_sources(client, desk):
    desk.secret_rows = [
        SecretRow(KEY, Source.STORED, 2, NOW_NS), SecretRow("OKX_PERP_API_KEY", Source.ENVIRONMENT, None, None),
    ]
    answer = (await client.get(SECRET)).json()
    models.Secrets.model_validate(answer)
    assert answer == {
        "items": [
            {"name": KEY, "version": 2, "ts": "2026-11-23T03:12:09.123Z", "source": "stored"},
            {"name": "OKX_PERP_API_KEY", "version": None, "ts": None, "source": "environment"},
        ],
        "next_cursor": None,
    }
    first = (await client.get(SECRET, params={"limit": 1})).json()
    assert len(first["items"]) == 1
    assert len((await client.get(SECRET, params={"cursor": first["next_cursor"]})).json()["items"]) == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"API_TOKEN": CANARY}, "API_TOKEN"),
        ({"KRAKEN_API_KEY": CANARY}, "KRAKEN_API_KEY"),
        ({KEY: "short"}, KEY),
        ({KEY: CANARY + "\n"}, KEY),
        ({KEY: f" {CANARY}"}, KEY),
        ({KEY: "ключключключ"}, KEY),
        ({KEY: 12345678901234}, KEY),
        ({KEY: None}, KEY),
        ({KEY: [CANARY]}, KEY),
        ({KEY: "x" * 513}, KEY),
        ({CANARY: KEY}, "(no name of a secret)"),
        ({}, "body"),
    ],
)
async def test_anything_else_is_a_422_that_names_the_field_and_repeats_no_value(client, desk, body, field):
    answer = await client.post(SECRET, json={"BINANCE_SPOT_API_KEY": CANARY, **body} if body else body)
    assert answer.status_code == 422
    assert set(answer.json()["error"]["fields"]) == {field}
    assert CANARY not in answer.text
    assert desk.heard == [], "nothing of such a request is stored"


async def test_a_name_that_comes_twice_is_refused(client, desk):
    body = f'{{"{KEY}": "{CANARY}", "{KEY}": "{CANARY}2"}}'
    answer = await client.post(SECRET, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert CANARY not in answer.text
    assert desk.heard == []


async def test_a_form_is_refused(client, desk):
    answer = await client.post(SECRET, content=json.dumps({KEY: CANARY}), headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415


async def test_a_refused_check_names_the_field_and_a_missing_key_is_a_conflict(client, desk):
    desk.secrets_outcome = Unusable({KEY: "binance-um refuses it"})
    refused = await client.post(SECRET, json={KEY: CANARY})
    assert (refused.status_code, refused.json()["error"]["fields"]) == (422, {KEY: "binance-um refuses it"})
    desk.secrets_outcome = Conflict(["there is no key to seal secrets with"])
    answer = await client.post(SECRET, json={KEY: CANARY})
    assert answer.status_code == 409
    assert "no key to seal" in answer.json()["error"]["message"]


async def test_a_secret_leaves_in_no_answer_whatever_brought_it_there(client, desk):
    desk.board.put("recon", "Reconciliation", "guards", Health.WARN, f"the venue said {CANARY}")
    desk.redactor.register(CANARY)
    answer = await client.get("/api/ui/status/components")
    assert answer.status_code == 200
    assert CANARY not in answer.text
    assert f"the venue said {REDACTED}" in answer.text
    assert int(answer.headers["Content-Length"]) == len(answer.content)


def test_a_reason_that_several_fields_share_is_said_once():
    fields = {"KEY": "refused", "SECRET": "refused", "OTHER": "too short"}
    assert said_of(fields) == "KEY, SECRET: refused; OTHER: too short"
    many = {f"F{number}": "wrong" for number in range(FIELDS_MAX + 2)}
    assert said_of(many).endswith(": wrong; and 2 more")
