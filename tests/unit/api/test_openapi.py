"""/openapi.json is complete and true: what every route has to say of itself, and that its examples are legal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from propbot.api import rows
from propbot.api.app import make_api
from propbot.api.auth import Auth
from propbot.api.bodies import STREAM_TYPES
from propbot.api.describe import described, models_of, request_model_of
from propbot.api.export import write_csv
from propbot.api.stream import id_of
from propbot.control.operators import Operators
from propbot.domain.events import EventRow
from propbot.domain.news import Place
from propbot.status.board import Board
from propbot.status.incidents import Incidents
from tests.unit.api.conftest import NOW_NS, TOKEN, FakeDesk, FixedClock

HOW = (
    "{route}: {what}. Beside its route, give the function a docstring (its first line is the summary) and, under the "
    "line that names the path, @describe(answers={{200: {{…an example…}}}}, refuses=(…)), see propbot/api/describe.py; "
    "a route that is no part of the interface is marked @hide"
)
CSV_EVENT = EventRow(
    42, NOW_NS, "WARN", "feed", "book stale", venue="binance-um", symbol="BTCUSDT", details={"age_s": "1.6"}
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
        if not models_of(view) and not said.texts:
            missing.append(HOW.format(route=route, what="no answer (@document_response, or texts=…)"))
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


async def test_what_is_no_json_is_shown_by_its_media_type(document):
    paths = document["paths"]
    export = paths["/api/ui/events/export"]["get"]["responses"]["200"]["content"]
    assert export["text/csv"]["example"] == write_csv([CSV_EVENT], True, True)
    assert export["application/json"]["example"] == [rows.event(CSV_EVENT)]
    stream = paths["/api/ui/stream"]["get"]["responses"]["200"]["content"]
    assert list(stream) == ["text/event-stream"]
    metrics = paths["/metrics"]["get"]["responses"]["200"]["content"]
    assert list(metrics) == ["text/plain"]


async def test_the_parameters_of_the_stream_are_those_that_it_takes(document):
    asked = {each["name"].lower(): each for each in document["paths"]["/api/ui/stream"]["get"]["parameters"]}
    assert set(asked) == {"types", "last-event-id"}
    assert asked["last-event-id"]["in"] == "header"
    legal = re.compile(asked["last-event-id"]["schema"]["pattern"])
    assert legal.match(id_of(Place(3, "0f" * 32, NOW_NS, 1)))
    assert legal.match(id_of(Place())), "before anything happened"
    types = re.compile(asked["types"]["schema"]["pattern"])
    assert types.match(",".join(STREAM_TYPES))
    assert not types.match("overview,")


async def test_a_refusal_with_one_more_reason_says_it_where_it_is_given(document):
    told = document["paths"]["/api/ui/stream"]["get"]["responses"]["429"]
    assert "wrong tokens" in told["description"]
    assert "10 event streams are open already" in told["description"]
    assert "Retry-After" in told["headers"]


async def test_the_scrapers_token_is_shown_at_metrics_and_nowhere_else(desk):
    app = make_api(desk, auth=Auth(Operators.of(TOKEN)), metrics_token="m" * 40)
    document = app.extensions["QUART_SCHEMA"].openapi_provider.schema()
    bearer = {"type": "http", "scheme": "bearer"}
    assert document["components"]["securitySchemes"] == {"bearer": bearer, "metrics": bearer}
    assert document["security"] == [{"bearer": []}]
    own = {route: operation["security"] for route, operation in operations(document) if "security" in operation}
    assert own == {"GET /healthz": [], "GET /metrics": [{"metrics": []}, {"bearer": []}]}
    assert "m" * 40 not in json.dumps(document)


async def test_where_no_token_is_needed_the_document_asks_for_none(desk):
    app = make_api(desk, auth=Auth(Operators.of(None)), metrics_token="m" * 40)
    document = app.extensions["QUART_SCHEMA"].openapi_provider.schema()
    assert "securitySchemes" not in document["components"]
    assert "security" not in document
    assert [route for route, operation in operations(document) if operation.get("security")] == []


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
