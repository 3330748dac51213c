"""What a route says of itself in /openapi.json, beside the shapes that quart-schema reads off it.

    @routes.get("/api/ui/orders")
    @describe(answers={200: {"items": [ORDER], "next_cursor": None}}, refuses=(503,))
    @document_querystring(PageArgs)
    @document_response(models.Orders)
    async def orders() -> Response:
        \"\"\"Every order, newest first.\"\"\"

The docstring's first line is the summary, what follows is the description. Refusals that hang on the kind of the route
(no token, wrong role, a body, a query) are added here for all of them; `refuses` names the others. An answer that is
no JSON (a file, a stream) is told of by `texts`, beside or instead of a model. A route without docstring or examples
fails tests/unit/api/test_openapi.py, which says what to add.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from attrs import frozen
from quart_schema.openapi import OpenAPIProvider
from quart_schema.validation import (
    QUART_SCHEMA_HEADERS_ATTRIBUTE,
    QUART_SCHEMA_QUERYSTRING_ATTRIBUTE,
    QUART_SCHEMA_REQUEST_ATTRIBUTE,
    QUART_SCHEMA_RESPONSE_ATTRIBUTE,
)
from werkzeug.routing.rules import Rule

from propbot.api import models
from propbot.api.replies import BODY_KIB_MAX, CODES

F = TypeVar("F", bound=Callable[..., Any])
Json = Mapping[str, Any]
Example = Json | Sequence[Json]

LOOKS = ("GET", "HEAD", "OPTIONS")
_DESCRIBED = "_propbot_described"
_REFUSALS: Mapping[int, tuple[str, Json]] = {
    400: ("No request that can be understood: not JSON, not UTF-8, or a Host that is not ours.", {
        "error": {"code": CODES[400], "message": "the body is not JSON: Expecting value: line 1 column 1 (char 0)"},
    }),
    401: ("No token, or none that is known.", {
        "error": {"code": CODES[401], "message": "a bearer token is needed: Authorization: Bearer <API_TOKEN>"},
    }),
    403: ("The role, the profile or the state does not allow it; or a page of another site asks.", {
        "error": {"code": CODES[403], "message": "vic is viewer; this needs the role operator"},
    }),
    404: ("There is no such thing.", {
        "error": {"code": CODES[404], "message": "there is no incident 17 among the open and the latest ones"},
    }),
    409: ("Not possible now; each reason names what has to be mended first.", {
        "error": {"code": CODES[409], "message": "not possible now: recon: ledger 0.012, venue 0.010"},
        "reasons": ["recon: ledger 0.012, venue 0.010"],
    }),
    413: ("The body is too large.", {
        "error": {"code": CODES[413], "message": f"the body is larger than {BODY_KIB_MAX} KiB"},
    }),
    415: ("The body is not JSON by its Content-Type.", {
        "error": {"code": CODES[415], "message": "the body must be sent as Content-Type: application/json"},
    }),
    422: ("A field or parameter that can't be taken; every one is named, nothing was done.", {
        "error": {
            "code": CODES[422],
            "message": "limit: a whole number, 1 to 1000",
            "fields": {"limit": "a whole number, 1 to 1000"},
        },
    }),
    429: ("Too many wrong tokens from this address, or too many answers at once without any; a valid one is never "
          "refused. `Retry-After` says for how long.", {
        "error": {"code": CODES[429], "message": "too many wrong tokens from this address"},
    }),
    503: ("The ledger does not answer, or not in time.", {
        "error": {"code": CODES[503], "message": "the ledger did not answer in time; see /healthz"},
    }),
}
"""Status → when, and an example. What never became a request (431, 501, 505) is told in the document's head."""
_HEADERS: Mapping[int, Json] = {
    401: {"WWW-Authenticate": {"description": "Bearer", "schema": {"type": "string"}}},
    429: {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}},
}


@frozen
class Described:
    answers: Mapping[int, Example] = {}
    request: Json | None = None
    refuses: Sequence[int] = ()
    path: Mapping[str, tuple[str, str]] = {}
    texts: Mapping[str, str] = {}
    also: Mapping[int, tuple[str, str]] = {}


def describe(
    *,
    answers: Mapping[int, Example] | None = None,
    request: Json | None = None,
    refuses: Sequence[int] = (),
    path: Mapping[str, tuple[str, str]] | None = None,
    texts: Mapping[str, str] | None = None,
    also: Mapping[int, tuple[str, str]] | None = None,
) -> Callable[[F], F]:
    """`answers`: an example for each status that has a model of its own. `request`: one of the body. `path`: name of a
    part of the path → what it is, and an example. `texts`: media type of a 200 that is no JSON → an example. `also`:
    a refusal that has one more reason here → that reason, and what it says."""

    def decorate(view: F) -> F:
        setattr(view, _DESCRIBED, Described(answers or {}, request, refuses, path or {}, texts or {}, also or {}))
        return view

    return decorate


def described(view: Callable[..., Any]) -> Described | None:
    return getattr(view, _DESCRIBED, None)


def models_of(view: Callable[..., Any]) -> dict[int, Any]:
    """Status → the model of its answer, refusals left out."""
    found: Mapping[int, tuple[Any, Any]] = getattr(view, QUART_SCHEMA_RESPONSE_ATTRIBUTE, {})
    return {status: model for status, (model, _) in found.items() if model is not models.ErrorAnswer}


def request_model_of(view: Callable[..., Any]) -> Any:
    return getattr(view, QUART_SCHEMA_REQUEST_ATTRIBUTE, (None, None))[0]


class Provider(OpenAPIProvider):
    """quart-schema's, with what `describe` said and the refusals that every route of a kind shares."""

    open_endpoints: frozenset[str] = frozenset()
    """Those that ask for no token."""
    schemes: ClassVar[Mapping[str, Sequence[str]]] = {}
    """Those that take one of these schemes instead of the usual one."""

    def schema(self) -> dict[str, Any]:
        document: dict[str, Any] = super().schema()
        refusal = self.build_response_object(models.ErrorAnswer, None)
        shared = document["components"]["responses"] = {}
        document["components"]["schemas"] |= {**refusal[1], "ErrorAnswer": _schema_of(refusal[0])}
        for status, (text, example) in _REFUSALS.items():
            content = {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}, "example": example}
            shared[CODES[status]] = {"description": text, "content": {"application/json": content}}
            if status in _HEADERS:
                shared[CODES[status]]["headers"] = _HEADERS[status]
        _drop_null_defaults(document["paths"])
        _drop_null_defaults(document["components"]["schemas"])
        return document

    def build_paths(self, rule: Rule) -> tuple[dict[str, Any], dict[str, Any]]:
        paths, components = super().build_paths(rule)
        view = self._app.view_functions[rule.endpoint]
        for methods in paths.values():
            for method, operation in methods.items():
                methods[method] = self._complete(rule, method.upper(), view, operation)
        return paths, components

    def _complete(self, rule: Rule, method: str, view: Callable[..., Any], operation: dict[str, Any]) -> dict[str, Any]:
        said = described(view) or Described()
        responses = dict(operation["responses"])
        for status, example in said.answers.items():
            if status in responses:
                responses[status] = {**responses[status], "description": _when(status)}
                responses[status]["content"]["application/json"]["example"] = example
        if said.texts:
            told = responses.setdefault(200, {"description": _when(200), "content": {}})["content"]
            told |= {kind: {"schema": {"type": "string"}, "example": text} for kind, text in said.texts.items()}
        for status in self._refusals(rule, method, view, said):
            responses[status] = _refusal(status, said)
        completed = {
            **operation,
            "summary": operation.get("summary", "").rstrip("."),
            "tags": operation.get("tags") or [rule.endpoint.partition(".")[0]],
            "description": operation.get("description", "").strip(),
            "responses": {str(status): responses[status] for status in sorted(responses)},
            "parameters": [_named(each, said) for each in operation["parameters"]],
        }
        if rule.endpoint in self.open_endpoints:
            completed["security"] = []
        elif rule.endpoint in self.schemes:
            completed["security"] = [{scheme: []} for scheme in self.schemes[rule.endpoint]]
        if said.request is not None and "requestBody" in operation:
            completed["requestBody"]["content"]["application/json"]["example"] = said.request
        return completed

    def _refusals(self, rule: Rule, method: str, view: Callable[..., Any], said: Described) -> list[int]:
        found = [400, 429, *said.refuses, *said.also]
        if rule.endpoint not in self.open_endpoints:
            found += [401]
        if method not in LOOKS:
            found += [403]
        if request_model_of(view) is not None:
            found += [413, 415, 422]
        asks = (QUART_SCHEMA_QUERYSTRING_ATTRIBUTE, QUART_SCHEMA_HEADERS_ATTRIBUTE)
        if any(getattr(view, each, None) is not None for each in asks):
            found += [422]
        return found


def _refusal(status: int, said: Described) -> Json:
    """The one that all routes share; in its own words where it has one more reason here."""
    if status not in said.also:
        return {"$ref": f"#/components/responses/{CODES[status]}"}
    reason, message = said.also[status]
    schema = {"$ref": "#/components/schemas/ErrorAnswer"}
    example = {"error": {"code": CODES[status], "message": message}}
    told: dict[str, Any] = {
        "description": f"{_REFUSALS[status][0]} Also: {reason}",
        "content": {"application/json": {"schema": schema, "example": example}},
    }
    if status in _HEADERS:
        told["headers"] = _HEADERS[status]
    return told


def _drop_null_defaults(part: Any) -> None:
    """pydantic says of a field that may be absent that null is its default, which its type does not allow."""
    if isinstance(part, dict):
        if part.get("default", part) is None:
            del part["default"]
        for each in part.values():
            _drop_null_defaults(each)
    elif isinstance(part, list):
        for each in part:
            _drop_null_defaults(each)


def _schema_of(response: Mapping[str, Any]) -> Any:
    return response["content"]["application/json"]["schema"]


def _when(status: int) -> str:
    return {200: "It is so, or it is done.", 202: "Nothing changed yet: another person has to approve."}.get(
        status, "The answer is no; it says why."
    )


def _named(parameter: dict[str, Any], said: Described) -> dict[str, Any]:
    """A part of the path, with what it is; those of the query have it from their model."""
    if parameter["in"] != "path" or parameter["name"] not in said.path:
        return parameter
    text, example = said.path[parameter["name"]]
    return {**parameter, "description": text, "example": example}
