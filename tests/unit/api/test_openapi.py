"""/openapi.json is complete and true: what every route has to say of itself, and that its examples are legal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from propbot.api.app import make_api
from propbot.api.auth import Auth
from propbot.api.describe import described, models_of, request_model_of
from propbot.control.operators import Operators
from propbot.status.board import Board
from propbot.status.incidents import Incidents
from tests.unit.api.conftest import TOKEN, FakeDesk, FixedClock

HOW = (
    "{route}: {what}. Beside its route, give the function a docstring (its first line is the summary) and, under the "
    "line that names the path, @describe(answers={{200: {{…an example…}}}}, refuses=(…)), see propbot/api/describe.py; "
    "a route that is no part of the interface is marked @hide"
)
METHODS = ("get", "post", "patch", "put", "delete")


@pytest.fixture(scope="module")
def app():
    clock = FixedClock()
    return make_api(FakeDesk(Board(clock), Incidents(clock)), auth=Auth(Operators.of(TOKEN)))


@pytest.fixture
async def document(nobody) -> dict[str, Any]:
    return (await nobody.get("/openapi.json")).json()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method in METHODS:
                yield f"{method.upper()} {path}", operation


def shown_views(app) -> Iterator[tuple[str, Any]]:
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        if not getattr(view, "_quart_schema_hidden", False):
            yield rule.rule, view


def test_every_route_says_what_it_is_and_gives_an_example(app):
    missing = []
    for route, view in shown_views(app):
        said = described(view)
        if not (view.__doc__ or "").strip():
            missing.append(HOW.format(route=route, what="no docstring"))
        if said is None:
            missing.append(HOW.format(route=route, what="no example"))
            continue
        for status in set(models_of(view)) - set(said.answers):
            missing.append(HOW.format(route=route, what=f"no example of its answer {status}"))
        if request_model_of(view) is not None and said.request is None:
            missing.append(HOW.format(route=route, what="no example of its body (request=…)"))
    assert not missing, "\n".join(missing)


def test_every_example_is_what_its_model_takes(app):
    for route, view in shown_views(app):
        said = described(view)
        for status, model in models_of(view).items():
            assert model.model_validate_json(json.dumps(said.answers[status])), (route, status)
        if said.request is not None:
            assert request_model_of(view).model_validate(said.request), route


def resolved(document, part):
    """`part`, with what it only refers to."""
    while "$ref" in part:
        found = document
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        part = found
    return part


async def test_every_example_in_the_document_is_legal_by_its_schema(document):
    checked = 0
    for _, operation in operations(document):
        parts = [resolved(document, each) for each in operation["responses"].values()]
        if "requestBody" in operation:
            parts.append(operation["requestBody"])
        for part in parts:
            for content in part["content"].values():
                schema = {**content["schema"], "components": document["components"]}
                jsonschema_rs.Draft202012Validator(schema).validate(content["example"])
                checked += 1
    assert checked > 100


async def test_every_parameter_is_described_and_bounded(document):
    for route, operation in operations(document):
        for parameter in operation["parameters"]:
            where = (route, parameter["name"])
            assert parameter.get("description"), where
            schema = parameter["schema"]
            assert "default" not in schema, where
            if parameter["in"] == "path":
                assert parameter["required"], where
                assert parameter["example"], where
            elif schema["type"] == "integer":
                assert {"minimum", "maximum"} <= set(schema), where
            else:
                assert {"pattern", "format", "maxLength", "enum"} & set(schema), where


async def test_every_operation_has_its_own_id_a_group_and_its_refusals(document):
    ids = [operation["operationId"] for _, operation in operations(document)]
    assert len(set(ids)) == len(ids)
    for route, operation in operations(document):
        assert operation["summary"], route
        assert not operation["summary"].endswith("."), route
        assert operation["tags"], route
        needed = {"400"}
        if operation.get("security") != []:
            needed |= {"401", "429"}
        if not route.startswith("GET"):
            needed |= {"403"}
        if "requestBody" in operation:
            needed |= {"413", "415", "422"}
        assert needed <= set(operation["responses"]), route
    assert document["components"]["securitySchemes"] == {"bearer": {"type": "http", "scheme": "bearer"}}
    assert document["security"] == [{"bearer": []}]


async def test_a_route_without_words_fails_with_what_to_add(desk):
    app = make_api(desk, auth=Auth(Operators.of(TOKEN)))

    async def silent() -> str:
        return ""

    app.add_url_rule("/api/ui/silent", "silent", silent)
    with pytest.raises(AssertionError, match=r"/api/ui/silent: no docstring.*@describe"):
        test_every_route_says_what_it_is_and_gives_an_example(app)


async def test_docs_are_a_page_whose_policy_runs_only_what_is_served_here(nobody):
    answer = await nobody.get("/docs")
    assert "<script>" not in answer.text
    assert "style=" not in answer.text
    assert "://" not in answer.text
    policy = answer.headers["Content-Security-Policy"]
    assert "script-src" not in policy, "so default-src holds for scripts"
    assert "default-src 'self'" in policy
