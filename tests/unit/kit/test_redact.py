"""What is registered is in no text any more, however it is spelled; what is not stays as it is."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from propbot.kit.redact import REDACTED, Redactor

SECRET = 'canary/key+"\\ü%20'  # every kind of character that some spelling changes
RAW = SECRET.encode()


@pytest.mark.parametrize(
    "spelled",
    [
        SECRET, RAW.hex(), RAW.hex().upper(), quote(SECRET, safe=""), quote(SECRET), json.dumps(SECRET), repr(SECRET),
        json.dumps(SECRET, ensure_ascii=False), base64.b64encode(RAW).decode(), base64.urlsafe_b64encode(RAW).decode(),
    ],
)
def test_every_spelling_is_taken_out(spelled: str) -> None:
    cleaned = Redactor([SECRET]).clean(f"before {spelled} after")
    assert cleaned.replace('"', "").replace("'", "").replace("=", "") == f"before {REDACTED} after"


@given(before=st.binary(max_size=9), after=st.binary(max_size=9))
def test_in_base64_of_more_bytes_not_eight_characters_are_left(before: bytes, after: bytes) -> None:
    secret = "Zk3vQ9xW7LmT2rYb8NpD4sHc"
    cleaned = Redactor([secret]).clean(base64.b64encode(before + secret.encode() + after).decode())
    assert REDACTED in cleaned
    for at in range(len(secret) - 7):
        for shift in range(3):
            piece = base64.b64encode(b"\0" * shift + secret[at : at + 8].encode()).decode()[4 if shift else 0 : -4]
            assert len(piece) < 8 or piece not in cleaned


def test_the_longer_of_two_is_taken_out_whole() -> None:
    assert Redactor(["secret", "secretive"]).clean("a secretive one") == f"a {REDACTED} one"


def test_what_is_known_later_is_taken_out_from_then_on() -> None:
    redactor = Redactor()
    assert redactor.clean("key-canary") == "key-canary"
    redactor.register("key-canary")
    assert redactor.clean("key-canary") == REDACTED


def test_what_is_too_short_to_be_told_from_a_word_is_left_alone() -> None:
    assert Redactor(["", "a", "one"]).clean("one a day") == "one a day"
