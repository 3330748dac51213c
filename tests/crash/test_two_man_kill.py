"""SIGKILL around an approval's commit, in a real process: it is spent or never was, and the mode is still HOLD."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.processes import Bot

PEOPLE = {"ann": "operator", "bob": "approver", "cy": "admin"}


def bearer(who: str) -> dict[str, str]:
    return {"Authorization": f"Bearer token of {who}"}


def patch(bot: Bot, who: str, **change: Any) -> httpx.Response:
    return bot.http.patch("/api/ui/control", json=change, headers=bearer(who))


def propose(bot: Bot) -> str:
    """Until the guards and the wind-down let it: a proposal to leave HOLD."""
    answers: list[httpx.Response] = []

    def waits() -> bool:
        answers.append(patch(bot, "ann", mode="RUN"))
        return answers[-1].status_code == 202

    bot.wait(waits, "a pending approval")
    id: str = answers[-1].json()["approval"]["id"]
    return id


def approve(bot: Bot, id: str) -> httpx.Response:
    return bot.http.post(f"/api/ui/approvals/{id}/approve", headers=bearer("bob"))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("point", ["approval-commit:before", "approval-commit:after"])
def test_a_kill_around_an_approvals_commit_leaves_the_hold(tmp_path: Path, point: str) -> None:
    people = [
        {"name": name, "role": role, "token_sha256": hashlib.sha256(f"token of {name}".encode()).hexdigest()}
        for name, role in PEOPLE.items()
    ]
    (tmp_path / "operators.json").write_text(json.dumps(people))
    settings = {"TWO_MAN_RULE": "true", "OPERATORS_FILE": str(tmp_path / "operators.json")}
    bot = Bot(tmp_path / "bot", PROPBOT_CRASH_AT=point, **settings)
    bot.start()
    try:
        assert patch(bot, "ann", mode="HOLD", reason="drill").status_code == 200
        id = propose(bot)
        with pytest.raises(httpx.HTTPError):
            approve(bot, id)
        bot.wait_ended(10)

        del bot.settings["PROPBOT_CRASH_AT"]
        bot.start()
        bot.http.headers.update(bearer("cy"))
        assert bot.get("/api/ui/status/overview")["hold"]["reason"] == "drill"
        (spent,) = bot.items("/api/ui/approvals")
        assert (spent["id"], spent["state"]) == (id, "VOID")
        assert (spent["decided_by"], spent["reason"].startswith("approved by bob and spent")) == (
            ("bob", True) if point.endswith("after") else (None, False)
        )
        assert approve(bot, id).status_code == 409
        assert approve(bot, propose(bot)).status_code == 200
        assert bot.get("/api/ui/status/overview")["mode"] == "RUN"
    finally:
        bot.close()
