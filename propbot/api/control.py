"""PATCH /api/ui/control: the one way to change anything over the API.

A HOLD comes first: it is entered as soon as the body can be read at all, synchronously, before anything else in it is
looked at, and whatever becomes of the rest. The rest is all or nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import trio
from attrs import frozen
from pydantic import ValidationError
from quart import Blueprint, Response, g, request
from quart_schema import document_request, document_response

from propbot.api import models, present
from propbot.api.auth import refuse_foreign_origin
from propbot.api.bodies import REASON_MAX, ControlBody
from propbot.api.describe import describe
from propbot.api.inputs import problems_of
from propbot.api.replies import ApiError, json_reply, said_of
from propbot.api.samples import APPROVAL, CONTROL
from propbot.api.strict_json import Body, read_body
from propbot.domain.errors import LedgerError
from propbot.domain.instruments import VenueId
from propbot.domain.mode import Mode
from propbot.status.desk import Change, Conflict, ControlOutcome, ControlPatch, Desk, Done, Forbidden, Pending, Unusable

CONTROL_ENDPOINT = "control.change_control"
IGNORED_FIELDS = {"pair": "loop_pair", "venues": "loop_venues"}
"""Names of an older release. The runbook promises that they are ignored; what is meant by them today."""
PREFLIGHT_S_MAX = 5.0
"""What leaving HOLD may take on top: the venues are asked first."""
_HOLD_IN_WORDS = re.compile(rb'"mode"\s*:\s*"HOLD"')
APPLY_S_MAX = 2.0
"""Shielded from the client's going away, so that a change is never half waited for; and bounded, for a hung disk."""


@frozen
class EnteredHold:
    before: Mode


def control_routes(desk: Desk) -> Blueprint:
    routes = Blueprint("control", __name__)

    @routes.patch("/api/ui/control")
    @describe(
        request={"mode": "HOLD", "reason": "spread looks wrong"},
        answers={
            200: {
                "control": CONTROL,
                "changes": {"mode": {"old": "RUN", "new": "HOLD"}},
                "ignored_fields": [],
                "warnings": ["smallest legal order is 0.002 BTC = 123 USDT"],
            },
            202: {"status": "pending_approval", "approval": APPROVAL, "ignored_fields": [], "warnings": []},
        },
        refuses=(409, 503),
    )
    @document_request(ControlBody)
    @document_response(models.ControlAnswer)
    @document_response(models.PendingAnswer, 202)
    async def change_control() -> Response:
        """Change mode, flags or parameters.

        Any subset, all or nothing. But a valid `"mode": "HOLD"` takes effect first, whatever becomes of the rest: then
        the refusal carries `"hold": "entered"`. Setting a safety and DRAIN from RUN are always allowed; leaving HOLD
        needs clear guards and a passed preflight (else 409), and under the Two-Man Rule another person (202)."""
        raw = await request.get_data(cache=False)
        assert isinstance(raw, bytes)
        try:
            body = read_body(raw)
        except ApiError as error:
            raise _with_hold(error, _enter_hold_unread(desk, raw, g.operator)) from None
        entered = _enter_hold(desk, body, g.operator)
        try:
            refuse_foreign_origin()
            if request.mimetype != "application/json":  # curl's -d says a form, where one forgets to say otherwise
                raise ApiError(415, "the body must be sent as Content-Type: application/json")
            return await _change(desk, body, entered)
        except ApiError as error:
            raise _with_hold(error, entered) from None
        except (LedgerError, trio.TooSlowError) as error:
            raise _with_hold(_not_durable(error), entered) from None

    return routes


def _enter_hold(desk: Desk, body: Body, operator: str) -> EnteredHold | None:
    """No checkpoint in here: from the decoded body to the HOLD in one step."""
    if not body.says("mode", "HOLD"):
        return None
    reason = body.fields.get("reason")
    said = reason.strip()[:REASON_MAX] if isinstance(reason, str) else ""
    exempt = body.says("safe_mode", True) or body.says("dry_run_only", True)
    return EnteredHold(desk.enter_hold(said or "no reason given", operator, winddown_exempt=exempt))


def _enter_hold_unread(desk: Desk, raw: bytes, operator: str) -> EnteredHold | None:
    """Of a body that is not what JSON allows (another encoding, a mark before it, something behind it) a person can
    still read that it is a HOLD."""
    if _HOLD_IN_WORDS.search(raw.replace(b"\0", b"")) is None:
        return None
    return EnteredHold(desk.enter_hold("the request was unreadable but for its HOLD", operator, winddown_exempt=False))


async def _change(desk: Desk, body: Body, entered: EnteredHold | None) -> Response:
    patch, ignored = _read_patch(body)
    more_s = PREFLIGHT_S_MAX if patch.mode in (Mode.RUN, Mode.DRAIN) else 0.0
    with trio.fail_after(APPLY_S_MAX + more_s, shield=True):
        outcome = await desk.apply_control(patch, g.operator)
    warnings = [f"{name} is ignored; the parameter is {IGNORED_FIELDS[name]}" for name in ignored]
    return _reply(desk, outcome, ignored, warnings, entered)


def _read_patch(body: Body) -> tuple[ControlPatch, list[str]]:
    """What is asked for, and the ignored names; ApiError 422 that names every field that can't be taken."""
    if body.refused is not None:
        raise ApiError(422, f"nothing was changed: the body {body.refused}", fields={"body": body.refused})
    ignored = sorted({name for name, _ in body.pairs if name in IGNORED_FIELDS})
    fields = {name: given for name, given in body.pairs if name not in IGNORED_FIELDS}
    problems = {name: why for name, why in body.problems.items() if name not in IGNORED_FIELDS}
    for name, given in fields.items():
        if given is None:
            problems.setdefault(name, "null is no value; leave the field out")
    try:
        asked = ControlBody.model_validate({name: given for name, given in fields.items() if name not in problems})
    except ValidationError as error:
        problems.update(problems_of(error))
    if problems:
        raise ApiError(422, f"nothing was changed: {said_of(problems)}", fields=problems)
    return _patch(asked), ignored


def _patch(asked: ControlBody) -> ControlPatch:
    return ControlPatch(
        mode=None if asked.mode is None else Mode(asked.mode),
        reason=(asked.reason or "").strip(),
        safe_mode=asked.safe_mode,
        dry_run_only=asked.dry_run_only,
        order_notional_usdt=asked.order_notional_usdt,
        min_spread_bps=asked.min_spread_bps,
        max_slippage_bps=asked.max_slippage_bps,
        poll_interval_sec=_float(asked.poll_interval_sec),
        loop_pair=asked.loop_pair,
        loop_venues=None if asked.loop_venues is None else tuple(VenueId(name) for name in asked.loop_venues),
        drain_timeout_sec=_float(asked.drain_timeout_sec),
    )


def _float(number: Decimal | None) -> float | None:
    return None if number is None else float(number)


def _reply(
    desk: Desk, outcome: ControlOutcome, ignored: list[str], warnings: list[str], entered: EnteredHold | None
) -> Response:
    match outcome:
        case Done(changes=changes, warnings=more):
            answer = {
                "control": present.control(desk),
                "changes": _changes(changes, entered),
                "ignored_fields": ignored,
                "warnings": [*warnings, *more],
            }
            return json_reply(answer)
        case Pending(approval=approval):
            answer = {
                "status": "pending_approval",
                "approval": present.approval(approval),
                "ignored_fields": ignored,
                "warnings": warnings,
            }
            if entered is not None:
                answer["hold"] = "entered"
            return json_reply(answer, 202)
        case Conflict(reasons=reasons):
            raise ApiError(409, "not possible now: " + "; ".join(reasons), extra={"reasons": list(reasons)})
        case Forbidden(message=message):
            raise ApiError(403, message)
        case Unusable(fields=fields):
            raise ApiError(422, f"nothing was changed: {said_of(fields)}", fields=fields)


def _changes(changes: Mapping[str, Change], entered: EnteredHold | None) -> dict[str, Any]:
    """The desk's, and the HOLD that was entered before it was asked."""
    shown = present.changes(changes)
    if entered is not None and entered.before is not Mode.HOLD:
        shown["mode"] = {"old": str(entered.before), "new": str(Mode.HOLD)}
    return shown


def _with_hold(error: ApiError, entered: EnteredHold | None) -> ApiError:
    if entered is not None:
        error.extra["hold"] = "entered"
    return error


def _not_durable(error: Exception) -> ApiError:
    why = "no answer in time" if isinstance(error, trio.TooSlowError) else str(error)
    return ApiError(503, f"the change could not be made durable ({why}); look at /api/ui/control-state")
