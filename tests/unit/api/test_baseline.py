"""POST /api/ui/baseline: what is taken, what is refused, and how each outcome leaves."""

from __future__ import annotations

from decimal import Decimal

import pytest

from propbot.api import models
from propbot.domain.approvals import Approval
from propbot.domain.instruments import BINANCE_UM
from propbot.status.desk import BaselineMoved, Conflict, Pending, Unusable

PATH = "/api/ui/baseline"
BODY = {"venue": "binance-um", "asset": "BTC", "reason": "a trade by hand"}


@pytest.fixture
def accepting(desk):
    """The desk hears every request and answers with `outcome`."""
    desk.outcome = BaselineMoved(BINANCE_UM, "BTC", Decimal(0), Decimal("0.050"))
    return desk


async def test_a_moved_baseline_is_told_with_the_old_value(client, accepting):
    answer = await client.post(PATH, json=BODY)
    assert answer.status_code == 200
    moved = {"venue": "binance-um", "asset": "BTC", "old": "0", "new": "0.05", "written_off": []}
    assert answer.json() == moved
    assert accepting.heard == ["baseline by api: binance-um BTC a trade by hand"]


async def test_what_waits_for_another_person_is_answered_as_the_page_of_the_interface_says(client, accepting):
    accepting.outcome = Pending(Approval("a1", '{"baseline":{}}', "d", "ann", 0, 300_000_000_000))
    answer = await client.post(PATH, json=BODY)
    assert answer.status_code == 202
    models.PendingAnswer.model_validate(answer.json())
    assert answer.json()["approval"]["id"] == "a1"


@pytest.mark.parametrize(
    ("outcome", "status", "text"),
    [
        (Conflict(["a baseline moves in HOLD only: enter HOLD first"]), 409, "in HOLD only"),
        (Conflict(["needs approval: x"]), 409, "needs approval"),
        (Unusable({"asset": "one of BTC, USDT"}), 422, "one of BTC, USDT"),
    ],
)
async def test_what_the_desk_refuses_says_why(client, accepting, outcome, status, text):
    accepting.outcome = outcome
    answer = await client.post(PATH, json=BODY)
    assert answer.status_code == status
    assert text in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"venue": None}, "venue"), ({"asset": "btc"}, "asset"), ({"reason": "  "}, "reason"),
        ({"reason": "x" * 201}, "reason"), ({"qty": 1}, "qty"), ({"venue": "../x"}, "venue"),
    ],
)  # fmt: skip
async def test_a_body_that_is_not_whole_moves_nothing(client, accepting, change, field):
    answer = await client.post(PATH, json={**BODY, **change})
    assert answer.status_code == 422
    assert field in answer.json()["error"]["fields"]
    assert accepting.heard == []


async def test_a_reason_is_needed(client, accepting):
    answer = await client.post(PATH, json={"venue": "binance-um", "asset": "BTC"})
    assert "reason" in answer.json()["error"]["fields"]
    assert accepting.heard == []
