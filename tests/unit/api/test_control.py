"""PATCH /api/ui/control: the HOLD first, the rest all or nothing, every refusal with its reason."""

from __future__ import annotations

from decimal import Decimal

import pytest

from propbot.api import models
from propbot.domain.approvals import Approval
from propbot.domain.mode import Mode
from propbot.status.desk import Conflict, Forbidden, Pending, Unusable

PATH = "/api/ui/control"


async def patch_raw(client, text, content_type="application/json"):
    content = text if isinstance(text, bytes) else text.encode()
    return await client.patch(PATH, content=content, headers={"Content-Type": content_type})


async def test_hold_takes_effect_and_is_answered_with_the_change(client, desk):
    answer = await client.patch(PATH, json={"mode": "HOLD", "reason": "drill"})
    assert answer.status_code == 200
    body = answer.json()
    models.ControlAnswer.model_validate(body)
    assert body["changes"] == {"mode": {"old": "RUN", "new": "HOLD"}}
    assert body["control"]["mode"] == "HOLD"
    assert body["control"]["hold"]["source"] == "operator:api"
    assert body["control"]["hold"]["reason"] == "drill"
    assert desk.heard == ["hold", "apply by api"]


async def test_hold_with_safe_mode_in_the_same_request_lets_the_winddown_go_on(client, desk):
    await client.patch(PATH, json={"mode": "HOLD", "dry_run_only": True})
    assert desk.exempt is True
    assert desk.patches[0].dry_run_only is True


FAULTY_RESTS = [
    '{"mode": "HOLD", "order_notional_usdt": -1}',
    '{"mode": "HOLD", "no_such_field": 1}',
    '{"mode": "HOLD", "min_spread_bps": NaN}',
    '{"mode": "HOLD", "min_spread_bps": 1e999}',
    '{"mode": "HOLD", "safe_mode": true, "safe_mode": true}',
    '{"mode": "HOLD", "safe_mode": null}',
    '{"mode": "HOLD", "reason": 5}',
    '{"mode": "HOLD", "reason": "%s"}' % ("x" * 201),
    '{"mode": "HOLD", "reason": "\\ud800"}',
    '{"mode": "HOLD", "x": ' + "[" * 30 + "]" * 30 + "}",
    '{"mode": "RUN", "mode": "HOLD"}',
    '{"mode": "HOLD", "mode": "RUN"}',
    "{" + ", ".join(f'"k{n}": 1' for n in range(64)) + ', "mode": "HOLD"}',
]


@pytest.mark.parametrize("text", FAULTY_RESTS)
async def test_hold_takes_effect_even_if_the_rest_is_refused(client, desk, text):
    answer = await patch_raw(client, text)
    assert answer.status_code == 422
    assert answer.json()["hold"] == "entered"
    models.ErrorAnswer.model_validate(answer.json())
    assert desk.mode() is Mode.HOLD
    assert desk.heard == ["hold"], "nothing else was applied"


@pytest.mark.parametrize("outcome", [Forbidden("set safe_mode first"), Conflict(["recon"]), Unusable({"a": "b"})])
async def test_hold_takes_effect_even_if_the_desk_refuses_the_rest(client, desk, outcome):
    desk.outcome = outcome
    answer = await client.patch(PATH, json={"mode": "HOLD", "order_notional_usdt": 5})
    assert answer.json()["hold"] == "entered"
    assert desk.mode() is Mode.HOLD


async def test_hold_takes_effect_with_a_broken_disk(client, desk):
    desk.ledger_error = "disk full"
    answer = await client.patch(PATH, json={"mode": "HOLD"})
    assert (answer.status_code, answer.json()["hold"]) == (503, "entered")
    assert desk.mode() is Mode.HOLD


async def test_hold_takes_effect_with_a_hung_disk(client, desk, autojump_clock):
    desk.ledger_hangs = True
    answer = await client.patch(PATH, json={"mode": "HOLD"})
    assert (answer.status_code, answer.json()["hold"]) == (503, "entered")


BAD_BODIES = [
    ('{"order_notional_usdt": 0.5}', "order_notional_usdt"),
    ('{"order_notional_usdt": 1000001}', "order_notional_usdt"),
    ('{"order_notional_usdt": "100"}', "order_notional_usdt"),
    ('{"order_notional_usdt": true}', "order_notional_usdt"),
    ('{"order_notional_usdt": Infinity}', "order_notional_usdt"),
    ('{"order_notional_usdt": 1%s}' % ("0" * 60), "order_notional_usdt"),
    ('{"min_spread_bps": 100.01}', "min_spread_bps"),
    ('{"max_slippage_bps": 50.5}', "max_slippage_bps"),
    ('{"poll_interval_sec": 0.04}', "poll_interval_sec"),
    ('{"drain_timeout_sec": 3601}', "drain_timeout_sec"),
    ('{"safe_mode": "true"}', "safe_mode"),
    ('{"safe_mode": 1}', "safe_mode"),
    ('{"mode": "run"}', "mode"),
    ('{"mode": null}', "mode"),
    ('{"loop_pair": "btc"}', "loop_pair"),
    ('{"loop_venues": []}', "loop_venues"),
    ('{"loop_venues": ["binance-um", "binance-um"]}', "loop_venues"),
    ('{"loop_venues": "binance-um"}', "loop_venues"),
    ('{"loop_venues": [["binance-um"]]}', "loop_venues"),
    ('{"API_TOKEN": "x"}', "API_TOKEN"),
    ('{"": 1}', ""),
    ('{"safe_mode": true, "safe_mode": false}', "safe_mode"),
    ('{"two_man_rule": false}', "two_man_rule"),
]


@pytest.mark.parametrize(("text", "name"), BAD_BODIES)
async def test_a_bad_field_is_named_and_nothing_is_changed(client, desk, text, name):
    answer = await patch_raw(client, text)
    assert answer.status_code == 422
    assert name in answer.json()["error"]["fields"]
    assert "hold" not in answer.json()
    assert desk.heard == []


async def test_every_bad_field_is_named_at_once(client):
    answer = await client.patch(PATH, json={"min_spread_bps": -1, "loop_pair": "", "what": 1})
    assert set(answer.json()["error"]["fields"]) == {"min_spread_bps", "loop_pair", "what"}


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("", 400),
        ("{", 400),
        ("nonsense", 400),
        (b"\xff{}", 400),
        ('{"a": 1} {}', 400),
        ("[]", 422),
        ("5", 422),
        ("NaN", 422),
        ('"HOLD"', 422),
        ("[" * 8_000, 422),
        ("{" + '"a":[' * 1_600, 422),
        ('{"a":' * 1_000 + "1" + "}" * 1_000, 422),
        ('{"reason": "[[[', 400),
        ('{"reason": "%s"}' % ("x" * 66_000), 413),
    ],
)
async def test_what_is_no_object_is_refused(client, desk, text, status):
    answer = await patch_raw(client, text)
    assert answer.status_code == status
    assert set(answer.json()) == {"error"}
    assert desk.heard == []


async def test_a_body_of_64_kib_is_still_read(client):
    head = '{"safe_mode": true, "pair": "'
    text = head + "x" * (64 * 1024 - len(head) - 2) + '"}'
    assert (await patch_raw(client, text)).status_code == 200
    assert (await patch_raw(client, text + " ")).status_code == 413


def keys(count):
    return "{" + ",".join(f'"k{n}":1' for n in range(count)) + "}"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (keys(65), {"body": "has more than 64 keys"}),
        (keys(800), {"body": "has more than 64 keys"}),
        ('{"a": ' + keys(65) + "}", {"a": "has more than 64 keys"}),
    ],
)
async def test_an_object_of_more_than_64_keys_is_refused(client, desk, text, named):
    answer = await patch_raw(client, text)
    assert answer.status_code == 422
    assert named.items() <= answer.json()["error"]["fields"].items()
    assert desk.heard == []


async def test_an_error_names_20_fields_and_counts_the_others(client):
    error = (await patch_raw(client, keys(64))).json()["error"]
    assert list(error["fields"]) == [f"k{n}" for n in range(20)]
    assert error["message"].endswith("k19: unknown field; and 44 more")


async def test_what_is_wrong_with_several_fields_is_said_once_and_counted_right(client):
    error = (await patch_raw(client, keys(2))).json()["error"]
    assert error["message"] == "nothing was changed: k0, k1: unknown field"


async def test_the_reason_of_a_hold_among_too_many_keys_forges_no_log_line(client, held):
    text = '{"mode": "HOLD", "reason": "a\\nb", ' + keys(64)[1:]
    held.record = None
    assert (await patch_raw(client, text)).json()["hold"] == "entered"
    assert held.record.causes[0].reason == "a\N{REPLACEMENT CHARACTER}b"


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_only_json_is_taken(client, desk, content_type):
    answer = await patch_raw(client, '{"dry_run_only":true,"mode":"RUN"}', content_type)
    assert answer.status_code == 415
    assert desk.heard == []


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_a_hold_is_taken_under_any_content_type_and_the_rest_refused(client, desk, content_type):
    """curl's -d says a form where the header was forgotten, at three in the morning."""
    answer = await patch_raw(client, '{"safe_mode":true,"mode":"HOLD"}', content_type)
    assert answer.status_code == 415
    assert answer.json()["hold"] == "entered"
    assert desk.heard == ["hold"]


@pytest.mark.parametrize(
    "raw",
    [
        '{"mode":"HOLD","reason":"стоп"}'.encode("cp1251"),
        b'\xef\xbb\xbf{"mode":"HOLD"}',
        '{"mode":"HOLD"}'.encode("utf-16"),
        b'{"mode": "HOLD","reason":"a\tb"}',
        b'{"mode":"HOLD","reason":"C:\\dir"}',
        b'{"mode":"HOLD"}\0',
        b'{"mode":"HOLD",}',
        b'{"mode":"HOLD","x":' + b"[" * 201 + b"]" * 201 + b"}",
        b'[{"mode":"HOLD"}]',
    ],
    ids=["cp1251", "bom", "utf-16", "tab", "escape", "nul", "comma", "deep", "list"],
)
async def test_a_hold_that_a_person_can_read_is_one_whatever_is_wrong_with_the_body(client, desk, raw):
    answer = await client.patch(PATH, content=raw, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.json()["hold"] == "entered"
    assert desk.heard == ["hold"]


@pytest.mark.parametrize("raw", [b'{"mode":"RUN",}', b'{"mode":"HOL', b'{"Mode":"HOLD",}', b'\xff"mode" "HOLD"'])
async def test_what_is_unreadable_and_no_hold_does_nothing(client, desk, raw):
    answer = await client.patch(PATH, content=raw, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert "hold" not in answer.json()
    assert desk.heard == []


@pytest.mark.parametrize("number", ["1e1000000000000000000", "-1E+99999999999999999999", "1e-9999999999999999999"])
async def test_an_exponent_beyond_decimals_is_a_problem_of_its_field_and_the_hold_is_taken(client, desk, number):
    answer = await patch_raw(client, f'{{"mode":"HOLD","min_spread_bps":{number}}}')
    assert answer.status_code == 422
    assert answer.json()["error"]["fields"] == {"min_spread_bps": "out of any range"}
    assert answer.json()["hold"] == "entered"
    assert desk.heard == ["hold"]


async def test_a_hold_among_more_values_than_are_read_is_a_hold(client, desk):
    answer = await patch_raw(client, '{"a":[' + "1," * 5000 + '1],"mode":"HOLD"}')
    assert answer.status_code == 422
    assert answer.json()["hold"] == "entered"
    assert answer.json()["error"]["fields"] == {"body": "has more than 4096 values"}
    assert desk.heard == ["hold"]


async def test_pair_and_venues_are_ignored_with_a_warning(client, desk):
    answer = await client.patch(PATH, json={"pair": "ETHUSDT", "venues": ["x"], "order_notional_usdt": 100})
    body = answer.json()
    assert body["ignored_fields"] == ["pair", "venues"]
    assert "loop_pair" in body["warnings"][0]
    assert body["changes"] == {"order_notional_usdt": {"old": 1000, "new": 100}}


async def test_the_runbooks_patch_is_understood(client, desk):
    body = {
        "order_notional_usdt": 100,
        "min_spread_bps": 1.2,
        "dry_run_only": True,
        "loop_pair": "BTCUSDT",
        "loop_venues": ["binance-um"],
    }
    assert (await client.patch(PATH, json=body)).status_code == 200
    patch = desk.patches[0]
    assert (patch.order_notional_usdt, patch.min_spread_bps) == (Decimal(100), Decimal("1.2"))
    assert (patch.loop_pair, patch.loop_venues, patch.dry_run_only) == ("BTCUSDT", ("binance-um",), True)
    assert patch.mode is None


async def test_run_is_refused_with_every_reason(client, held):
    held.outcome = Conflict(["guard:recon has not cleared", "preflight failed"])
    answer = await client.patch(PATH, json={"mode": "RUN"})
    assert answer.status_code == 409
    assert answer.json()["reasons"] == ["guard:recon has not cleared", "preflight failed"]
    assert "guard:recon has not cleared; preflight failed" in answer.json()["error"]["message"]


async def test_run_can_wait_for_another_person(client, held):
    held.outcome = Pending(Approval("a1", '{"mode":"RUN"}', "d", "ann", 0, 300_000_000_000))
    answer = await client.patch(PATH, json={"mode": "RUN"})
    assert answer.status_code == 202
    models.PendingAnswer.model_validate(answer.json())
    assert answer.json()["approval"]["id"] == "a1"
    assert answer.json()["approval"]["change"] == {"mode": "RUN"}
    assert "hold" not in answer.json()


async def test_a_hold_whose_rest_waits_for_another_person_says_that_it_was_entered(client, desk):
    desk.outcome = Pending(Approval("a1", '{"safe_mode":false}', "d", "ann", 0, 300_000_000_000))
    answer = await client.patch(PATH, json={"mode": "HOLD", "safe_mode": False})
    assert answer.status_code == 202
    models.PendingAnswer.model_validate(answer.json())
    assert answer.json()["hold"] == "entered"


async def test_run_leaves_hold(client, held):
    answer = await client.patch(PATH, json={"mode": "RUN"})
    assert answer.json()["changes"] == {"mode": {"old": "HOLD", "new": "RUN"}}
    assert answer.json()["control"]["hold"] is None


async def test_an_empty_patch_changes_nothing(client):
    answer = await client.patch(PATH, json={})
    assert (answer.status_code, answer.json()["changes"]) == (200, {})


async def test_a_page_of_another_site_changes_nothing(client, desk):
    answer = await client.patch(PATH, json={"mode": "RUN"}, headers={"Origin": "http://evil.example"})
    assert answer.status_code == 403
    own = await client.patch(PATH, json={}, headers={"Origin": "http://propbot"})
    assert own.status_code == 200


async def test_numbers_are_taken_exactly_as_written(client, desk):
    await patch_raw(client, '{"min_spread_bps": 0.1000000000000000055511151231257827}')
    assert desk.patches[0].min_spread_bps == Decimal("0.1000000000000000055511151231257827")
