"""Reading a body: the depth without walking characters, and the time that the worst bodies take."""

from __future__ import annotations

import pytest

from propbot.api.replies import ApiError
from propbot.api.strict_json import _STRING, ITEMS_MAX, VALUES_MAX, _depth, read_body


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        ("", 0),
        ("1", 0),
        ("{}", 1),
        ('{"a": [1, {"b": []}], "c": {}}', 4),
        ("]]][[", 0),
        ('"[[["', 0),
        ('"\\"[[["', 0),
        ('["\\\\", [1]]', 2),
        ('["\\\\\\"[", [1]]', 2),
        ('["[[[', 1),
        ('["[\\', 1),
        ('["a\n\\\n[", []]', 2),
    ],
)
def test_brackets_in_strings_are_no_depth(text, depth):
    assert _depth(_STRING.sub("", text)) == depth


WORST = [
    "[" * 60_000,
    '"' * 60_000,
    '"' + "\\" * 60_000,
    '{"a":"' + '\\"' * 30_000 + '"}',
    '{"a":"' + "\x7f" * 60_000 + '"}',
    "{" + ",".join(f'"{n}":1' for n in range(6_000)) + "}",
    "{" + ",".join('"a":1' for n in range(10_000)) + "}",
    '{"a":{' + ",".join(f'"{n}":1' for n in range(6_000)) + "}}",
]


@pytest.mark.parametrize("text", WORST)
def test_the_worst_bodies_are_read_or_refused(text):
    """Several times as long as any that is let in; how long they take is the benchmark's business."""
    statuses = []
    try:
        read_body(text.encode())
    except ApiError as error:
        statuses.append(error.status)
    assert set(statuses) <= {400, 413, 422}


def test_of_a_body_of_more_values_than_anybody_needs_only_the_top_is_looked_at():
    inside = ",".join(["1"] * (VALUES_MAX - 1))
    assert read_body(f'{{"a":[{inside}]}}'.encode()).problems == {"a": f"has more than {ITEMS_MAX} items"}
    body = read_body(f'{{"mode":"HOLD","a":[{inside}],"b":{{"mode":"DRAIN"}},"mode":"RUN"}}'.encode())
    assert body.refused == "has more than 4096 values"
    assert body.says("mode", "HOLD")
    assert body.says("mode", "RUN")
    assert not body.says("mode", "DRAIN")
    with pytest.raises(ApiError, match="must be a JSON object") as refused:
        read_body(f'[{{"mode":"HOLD"}},{inside},1]'.encode())
    assert refused.value.status == 422
    with pytest.raises(ApiError, match="not JSON"):
        read_body(f'{{"mode":"HOLD","a":[{inside},1]'.encode())


def test_commas_and_brackets_in_text_are_no_values():
    assert read_body(('{"reason":"' + ",[{" * 10_000 + '"}').encode()).problems == {}


def test_a_list_is_walked_up_to_its_bound():
    assert read_body(f'{{"a":{[1] * ITEMS_MAX}}}'.encode()).problems == {}
    assert read_body(f'{{"a":{[1] * (ITEMS_MAX + 1)}}}'.encode()).problems == {"a": f"has more than {ITEMS_MAX} items"}
