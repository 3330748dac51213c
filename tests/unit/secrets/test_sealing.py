"""The file of secrets: it opens whole with its own key, and in no other way."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propbot.secrets.sealing import BadSecrets, Secret, open_sealed, parse_key, seal

KEY = bytes(range(32))
HELD = [
    Secret("BINANCE_UM_API_KEY", 3, 1_790_000_000_000_000_000, "canary-key-of-um"),
    Secret("BINANCE_UM_API_SECRET", 3, 1_790_000_000_000_000_000, "canary-secret-of-um"),
    Secret("TELEGRAM_BOT_TOKEN", 1, 1_790_000_001_000_000_000, "canary-token"),
]


def sealed() -> dict[str, Any]:
    body: dict[str, Any] = json.loads(seal(HELD, KEY, os.urandom))
    return body


def opened(body: Any) -> dict[str, Secret]:
    return open_sealed(json.dumps(body).encode(), KEY)


def test_what_was_sealed_opens_with_its_key() -> None:
    assert opened(sealed()) == {each.name: each for each in HELD}
    assert open_sealed(seal([], KEY, os.urandom), KEY) == {}


def test_no_value_is_in_the_file_or_in_a_repr() -> None:
    assert b"canary" not in seal(HELD, KEY, os.urandom)
    assert "canary" not in repr(HELD)


def test_no_nonce_is_used_twice() -> None:
    bodies = [sealed() for _ in range(50)]
    nonces = [row["nonce"] for body in bodies for row in (*body["records"], body["list"])]
    assert len(set(nonces)) == len(nonces)


def test_another_key_is_told_from_a_changed_file() -> None:
    with pytest.raises(BadSecrets, match="another key"):
        open_sealed(seal(HELD, KEY, os.urandom), bytes(32))


def exchange_values(body: dict[str, Any]) -> None:
    one, other = body["records"][:2]
    for part in ("nonce", "sealed"):
        one[part], other[part] = other[part], one[part]


def exchange_names(body: dict[str, Any]) -> None:
    one, other = body["records"][:2]
    one["name"], other["name"] = other["name"], one["name"]


def take_out(body: dict[str, Any]) -> None:
    del body["records"][1]


def put_twice(body: dict[str, Any]) -> None:
    body["records"].append(body["records"][0])


def raise_version(body: dict[str, Any]) -> None:
    body["records"][0]["version"] = 9


def change_date(body: dict[str, Any]) -> None:
    body["records"][0]["ts_ns"] += 1


def take_an_older_record(body: dict[str, Any]) -> None:
    older = [Secret(HELD[0].name, 2, 1, "canary-older"), *HELD[1:]]
    body["records"][0] = json.loads(seal(older, KEY, os.urandom))["records"][0]


@pytest.mark.parametrize(
    "change",
    [exchange_values, exchange_names, take_out, put_twice, raise_version, change_date, take_an_older_record],
)
def test_what_somebody_changed_does_not_open(change: Any) -> None:
    body = sealed()
    change(body)
    with pytest.raises(BadSecrets) as refused:
        opened(body)
    assert "canary" not in str(refused.value)


@given(cut=st.integers(min_value=0, max_value=400), junk=st.binary(max_size=40))
def test_whatever_is_no_such_file_is_refused_by_name(cut: int, junk: bytes) -> None:
    with pytest.raises(BadSecrets):
        open_sealed(seal(HELD, KEY, os.urandom)[:cut] + junk, KEY)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{}", b'{"schema": true}', b'{"schema": 2}', b"[" * 100_000])
def test_a_foreign_file_is_refused_by_name(content: bytes) -> None:
    with pytest.raises(BadSecrets):
        open_sealed(content, KEY)


@pytest.mark.parametrize("text", ["", "ab" * 31, "zz" * 32, "schlüssel", "a" * 43 + "!"])
def test_a_text_that_spells_no_key_is_refused_without_saying_it(text: str) -> None:
    with pytest.raises(ValueError, match="32 bytes") as refused:
        parse_key(text)
    assert not text or text not in str(refused.value)
