"""A small JSON body of a POST, as its model; what can't be taken is a 422 that names every field."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from quart import request

from propbot.api.replies import ApiError, said_of
from propbot.api.strict_json import read_body

M = TypeVar("M", bound=BaseModel)


async def read_pairs() -> tuple[tuple[tuple[str, Any], ...], dict[str, str]]:
    """The fields of the request at hand, as often as they came, and what is wrong with some; a body that is not there
    has none. ApiError 400, 415 or 422."""
    raw = await request.get_data(cache=False)
    assert isinstance(raw, bytes)
    if raw and request.mimetype != "application/json":
        raise ApiError(415, "the body must be sent as Content-Type: application/json")
    body = read_body(raw or b"{}")
    if body.refused is not None:
        raise ApiError(422, f"nothing was done: the body {body.refused}", fields={"body": body.refused})
    problems = dict(body.problems)
    for name, given in body.pairs:
        if given is None:
            problems.setdefault(name, "null is no value; leave the field out")
    return body.pairs, problems


async def read_input(model: type[M]) -> M:
    """The body of the request at hand as `model`. ApiError 400, 415 or 422."""
    pairs, problems = await read_pairs()
    try:
        asked = model.model_validate({name: given for name, given in pairs if name not in problems})
    except ValidationError as error:
        problems.update(problems_of(error))
    if problems:
        raise ApiError(422, f"nothing was done: {said_of(problems)}", fields=problems)
    return asked


def problems_of(error: ValidationError) -> dict[str, str]:
    """Field → what is wrong with it, the first complaint of each."""
    found: dict[str, str] = {}
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        name = str(item["loc"][0]) if item["loc"] else "body"
        found.setdefault(name, "unknown field" if item["type"] == "extra_forbidden" else item["msg"])
    return found
