"""POST and GET /api/ui/secret: what operators store. No value goes out again, in no refusal either."""

from __future__ import annotations

import re

import trio
from quart import Blueprint, Response, g, request
from quart_schema import document_querystring, document_request, document_response

from propbot.api import models, rows
from propbot.api.bodies import PageArgs, SecretBody
from propbot.api.describe import describe
from propbot.api.inputs import read_pairs
from propbot.api.query import read_page
from propbot.api.replies import ApiError, json_reply, said_of
from propbot.api.samples import TS
from propbot.control.operators import Role
from propbot.secrets.names import STORABLE, value_problem
from propbot.status.desk import Conflict, Desk, SecretsStored, Unusable

ADMIN_ENDPOINTS = {"secrets.store": Role.ADMIN}
"""Who gives the bot other keys decides whose account it trades."""
STORE_S_MAX = 9.0
_KEY, _SECRET = "BINANCE_UM_API_KEY_TESTNET", "BINANCE_UM_API_SECRET_TESTNET"
"""Of the examples."""
_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,49}")
NO_NAME = "(no name of a secret)"
"""What is shown in place of one: it may be a value that was sent as a name."""


def secret_routes(desk: Desk) -> Blueprint:
    routes = Blueprint("secrets", __name__)

    @routes.get("/api/ui/secret")
    @describe(answers={200: {
        "items": [
            {"name": _KEY, "version": 2, "ts": TS, "source": "stored"},
            {"name": "TELEGRAM_BOT_TOKEN", "version": None, "ts": None, "source": "environment"},
        ],
        "next_cursor": None,
    }})
    @document_querystring(PageArgs)
    @document_response(models.Secrets)
    async def secrets() -> Response:
        """Which secrets there are and where they come from, by name.

        Never their values. `source` venue: the embedded venue made it for itself."""
        page = read_page(request.args)
        return json_reply(rows.slice_page([rows.secret(row) for row in desk.secrets()], page.limit, page.cursor))

    @routes.post("/api/ui/secret")
    @describe(
        request={_KEY: "the-new-key", _SECRET: "the-new-secret"},
        answers={200: {
            "status": "ok", "updated": [_KEY, _SECRET], "checked": {_KEY: True, _SECRET: True}, "warnings": [],
        }},
        refuses=(409, 503),
    )
    @document_request(SecretBody)
    @document_response(models.SecretsAnswer)
    async def store() -> Response:
        """Store secrets by name; no answer ever repeats a value.

        Keys of the active profile are checked by a signed read at their venue, and sign from then on; when the check
        fails it is a 422 and the old ones stay. Keys of another profile are stored, `"checked": false`. Needs the role
        admin."""
        values = await _read_secrets()
        with trio.fail_after(STORE_S_MAX, shield=True):  # never half waited for, and bounded
            outcome = await desk.store_secrets(values, g.operator)
        match outcome:
            case SecretsStored(updated=updated, checked=checked, warnings=warnings):
                done = {"status": "ok", "updated": list(updated), "checked": dict(checked)}
                return json_reply({**done, "warnings": list(warnings)})
            case Conflict(reasons=reasons):
                raise ApiError(409, "not possible now: " + "; ".join(reasons), extra={"reasons": list(reasons)})
            case Unusable(fields=fields):
                raise ApiError(422, f"nothing was stored: {said_of(fields)}", fields=fields)

    return routes


async def _read_secrets() -> dict[str, str]:
    """Names and values, each legal; ApiError 400, 415 or 422, which names the fields and repeats no value."""
    pairs, problems = await read_pairs()
    found = {_shown(name): why for name, why in problems.items()}
    values: dict[str, str] = {}
    for name, value in pairs:
        shown = _shown(name)
        if name not in STORABLE:
            found.setdefault(shown, "can't be stored: there are <VENUE>_API_KEY, _API_SECRET and _API_PASSPHRASE, each "
                             "also with _TESTNET, and TELEGRAM_BOT_TOKEN")
        elif (why := value_problem(name, value)) is not None:
            found.setdefault(shown, why)
        else:
            values[name] = value
    if not pairs and not found:
        found["body"] = "names no secret"
    if found:
        raise ApiError(422, f"nothing was stored: {said_of(found)}", fields=found)
    return values


def _shown(name: str) -> str:
    return name if name == "body" or _NAME.fullmatch(name) else NO_NAME
